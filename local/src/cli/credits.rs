//! `darkroom credits`: credits given and taken by hand.

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use serde_json::Value;
use shared::api::{AddCredits, AddedCredits};
use shared::clock::random_bytes;

use super::answer::{Asked, path};

/// Commands of `darkroom credits`.
#[derive(Subcommand)]
pub(super) enum Credits {
    /// Give an account credits, or take some with an amount below zero.
    #[command(
        after_help = "Examples:\n  darkroom credits add acct_… 500 --reason \"invoice 17\"\n  darkroom credits add acct_… 50 --reason \"trial\" --ends-at 2030-01-31T00:00:00Z\n  darkroom credits add acct_… -20 --reason \"given twice\" --idempotency-key correction-1"
    )]
    Add(Add),
}

#[derive(Args)]
pub(super) struct Add {
    /// Whose.
    account: String,
    /// How many; below zero to take.
    #[arg(allow_negative_numbers = true)]
    amount: i64,
    /// Why; the customer sees it in the ledger.
    #[arg(long)]
    reason: String,
    /// From this moment on what is left of them cannot be spent.
    #[arg(long, value_name = "TIME")]
    ends_at: Option<String>,
    /// Names this change: the same key again cannot do it twice. A new one is made, and printed first, unless given.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

pub(super) async fn run(Credits::Add(add): Credits) -> Result<()> {
    let Add { account, amount, reason, ends_at, idempotency_key, asked } = add;
    let key = idempotency_key.unwrap_or_else(|| {
        let key = hex::encode(random_bytes::<16>());
        // Before anything is sent: whoever gets no answer needs it.
        eprintln!("idempotency key: {key}");
        key
    });
    let body = AddCredits { amount, reason, ends_at };
    let path = path(&[&account, "credits"])?;
    let headers = [("idempotency-key", key.as_str())];
    let answer = asked.running.call(async |client| client.post::<Value>(&path, &body, &headers).await).await;
    let answer = answer.with_context(|| format!("to try again without doing it twice, add `--idempotency-key {key}`"))?;
    asked.show(answer, |AddedCredits { entry, available, held, .. }| {
        println!("{} {:+} credits: {}", entry.kind.word(), entry.available_change, entry.reason.unwrap_or_default());
        if let Some(ends_at) = entry.ends_at {
            println!("what is left of them ends at {ends_at}");
        }
        println!("{available} available, {held} held after it");
    })
}
