//! `darkroom providers`: how the providers of a running darkroom stand.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use serde_json::json;
use shared::api::{KeyHealth, KeyHealthView, ProviderList, ProviderSource, ProviderView};
use shared::catalog::manifest::{Billed, Billing};
use shared::http_guard::{Outbound, Policy};

use super::catalog_remote::Running;

/// How long a provider may take to answer at all.
const REACH_LIMIT: Duration = Duration::from_secs(5);

/// Arguments of `darkroom providers`.
#[derive(clap::Args)]
pub(super) struct Providers {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    running: Running,
}

pub(super) async fn run(arguments: &Providers) -> Result<()> {
    let list: Result<ProviderList> = arguments.running.client()?.get("/v1/admin/providers").await;
    let ProviderList { providers } = list.map_err(|error| arguments.running.explain(error))?;
    let outbound = Outbound::new(Policy { allow_loopback: true });
    let reached = join_all(providers.iter().map(|provider| reachable(&outbound, provider))).await;
    if arguments.json {
        let rows = providers.iter().zip(&reached).map(|(provider, reachable)| {
            let mut row = serde_json::to_value(provider)?;
            row["reachable"] = json!(reachable);
            Ok(row)
        });
        let rows = rows.collect::<Result<Vec<_>>>()?;
        println!("{}", serde_json::to_string_pretty(&json!({ "providers": rows }))?);
        return Ok(());
    }
    table(&providers, &reached);
    Ok(())
}

/// Whether anything answers HTTP there, seen from this machine; none when it is not reached over HTTP.
async fn reachable(outbound: &Outbound, provider: &ProviderView) -> Option<bool> {
    let url = provider.base_url_override.as_ref().or(provider.base_url.as_ref())?;
    let Ok(url) = outbound.check(url) else { return Some(false) };
    Some(outbound.api().get(url).timeout(REACH_LIMIT).send().await.is_ok())
}

fn table(providers: &[ProviderView], reached: &[Option<bool>]) {
    println!(
        "{:<13} {:>3} {:<9} {:<22} {:<9} {:<18} {:>9} {:>7}  {:<22} {:<16} {:>6}  ADDRESS",
        "PROVIDER", "VER", "SOURCE", "KEYS", "REACHABLE", "LIMITS PER KEY", "IN FLIGHT", "WAITING", "HEALTH", "BILLS", "MODELS"
    );
    for (provider, reachable) in providers.iter().zip(reached) {
        let source = match provider.source {
            ProviderSource::BuiltIn => "built-in",
            ProviderSource::RunTime => "run-time",
        };
        let reachable = match reachable {
            Some(true) => "yes",
            Some(false) => "no",
            None => "-",
        };
        println!(
            "{:<13} {:>3} {source:<9} {:<22} {reachable:<9} {:<18} {:>9} {:>7}  {:<22} {:<16} {:>6}  {}",
            provider.name,
            provider.version,
            keys(provider),
            limits(provider),
            provider.in_flight.map_or_else(|| "-".to_owned(), |jobs| jobs.to_string()),
            provider.waiting,
            health(&provider.health),
            bills(provider.billing),
            provider.models.len(),
            address(provider),
        );
    }
    for provider in providers {
        if let Some(problem) = &provider.keys_problem {
            println!("{}: {problem}", provider.name);
        }
    }
    println!("\nBILLS: jobs that failed, were refused as unfit, were canceled: yes, no or ? where the provider does not say.");
}

fn keys(provider: &ProviderView) -> String {
    match (&provider.key_env, provider.keys) {
        (None, _) => "needs none".to_owned(),
        (Some(_), 0) if provider.keys_problem.is_some() => "see below".to_owned(),
        (Some(name), 0) => format!("set {name}"),
        (Some(_), count) => count.to_string(),
    }
}

fn limits(provider: &ProviderView) -> String {
    let limits = &provider.limits;
    let parts = [(limits.concurrency, "at once"), (limits.per_minute, "/min"), (limits.per_day, "/day")];
    let parts: Vec<String> = parts.into_iter().filter_map(|(limit, unit)| Some(format!("{} {unit}", limit?))).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ").replace(" /", "/") }
}

fn health(keys: &[KeyHealthView]) -> String {
    let Some(worst) = keys.iter().filter(|key| key.health != KeyHealth::Ok).max_by_key(|key| key.until) else {
        return if keys.is_empty() { "-".to_owned() } else { "ok".to_owned() };
    };
    let unwell = keys.iter().filter(|key| key.health != KeyHealth::Ok).count();
    let word = match worst.health {
        KeyHealth::Ok => "ok",
        KeyHealth::Paused => "paused",
        KeyHealth::OutOfOrder => "out of order",
    };
    let until = worst.until.map_or_else(String::new, |until| format!(" until {}", until.strftime("%H:%M:%SZ")));
    if keys.len() == 1 { format!("{word}{until}") } else { format!("{unwell}/{} {word}{until}", keys.len()) }
}

fn bills(billing: Billing) -> String {
    let word = |billed: Billed| match billed {
        Billed::Yes => "yes",
        Billed::No => "no",
        Billed::Unknown => "?",
    };
    format!("{}/{}/{}", word(billing.failures), word(billing.moderated), word(billing.canceled))
}

fn address(provider: &ProviderView) -> String {
    match (&provider.base_url, &provider.base_url_override) {
        (_, Some(other)) => format!("{other} (override)"),
        (Some(own), None) => own.clone(),
        (None, None) => "in this process".to_owned(),
    }
}
