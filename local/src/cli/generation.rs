//! `darkroom generation show | retry | release | charge`: one generation of a running darkroom, by hand.

use anyhow::{Context, Result};
use shared::api::{OperatorsGeneration, WithReason};
use shared::clock::random_bytes;
use shared::ids::GenerationId;

use super::catalog_remote::Running;

#[derive(clap::Subcommand)]
pub(super) enum Generation {
    /// Show everything that is known of it.
    Show(Show),
    /// Let it go on at once. One that is unconfirmed is submitted again: make sure that the provider does not have it. One that has ended is
    /// made once more, as a new generation at the same price.
    Retry(ByHand),
    /// End it and give its credits back.
    Release(ByHand),
    /// End it and charge its full price.
    Charge(ByHand),
}

#[derive(clap::Args)]
pub(super) struct Show {
    /// Its id: `gen_…`.
    id: String,
    #[command(flatten)]
    running: Running,
}

#[derive(clap::Args)]
pub(super) struct ByHand {
    /// Its id: `gen_…`.
    id: String,
    /// Why; 1 to 500 characters. The customer is shown it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    running: Running,
}

pub(super) async fn run(command: Generation) -> Result<()> {
    match command {
        Generation::Show(show) => show_it(&show).await,
        Generation::Retry(by_hand) => act(&by_hand, "retry").await,
        Generation::Release(by_hand) => act(&by_hand, "release").await,
        Generation::Charge(by_hand) => act(&by_hand, "charge").await,
    }
}

fn path(id: &str) -> Result<String> {
    let id: GenerationId = id.parse().context("give the id of a generation")?;
    Ok(format!("/v1/admin/generations/{id}"))
}

async fn show_it(show: &Show) -> Result<()> {
    let seen: Result<OperatorsGeneration> = show.running.client()?.get(&path(&show.id)?).await;
    let seen = seen.map_err(|error| show.running.explain(error))?;
    println!("{}", serde_json::to_string_pretty(&seen)?);
    Ok(())
}

async fn act(by_hand: &ByHand, what: &str) -> Result<()> {
    let body = WithReason { reason: by_hand.reason.clone() };
    let key = hex::encode(random_bytes::<16>());
    let path = format!("{}/{what}", path(&by_hand.id)?);
    let done: Result<OperatorsGeneration> = by_hand.running.client()?.post(&path, &body, &[("idempotency-key", &key)]).await;
    let done = done.map_err(|error| by_hand.running.explain(error))?;
    let generation = &done.generation;
    let again = generation.retry_of.map(|ended| format!(", made once more for {ended}")).unwrap_or_default();
    let charged = generation.charge.as_ref().map(|charge| format!(", {} credits charged", charge.credits)).unwrap_or_default();
    println!("{} is {}{charged}{again}", generation.id, generation.phase);
    Ok(())
}
