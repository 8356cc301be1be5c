//! `darkroom reconcile`: whether the books of a running darkroom are right.

use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::json;
use shared::api::ReconciliationList;
use shared::ids::AccountId;
use shared::reconcile::Reconciliation;

use super::catalog_remote::Running;
use super::client::Client;

/// Something is wrong.
const FINDINGS: u8 = 1;
/// It could not be found out.
const UNKNOWN: u8 = 2;

/// Arguments of `darkroom reconcile`.
#[derive(clap::Args)]
pub(super) struct Reconcile {
    /// Only this account; all of them unless given.
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    /// Print JSON, for alarms.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    running: Running,
}

/// What was found, and what was not looked at.
#[derive(Default)]
struct Found {
    reconciliations: Vec<Reconciliation>,
    unchecked: Vec<AccountId>,
}

impl Found {
    fn exit_code(&self) -> ExitCode {
        if self.reconciliations.iter().any(|own| own.findings_total > 0) {
            ExitCode::from(FINDINGS)
        } else if !self.unchecked.is_empty() || self.reconciliations.iter().any(|own| !own.is_clean()) {
            ExitCode::from(UNKNOWN)
        } else {
            ExitCode::SUCCESS
        }
    }
}

/// 0: all is right. 1: something is wrong. 2: it could not be found out.
pub(super) async fn run(arguments: &Reconcile) -> ExitCode {
    match look(arguments).await {
        Ok(found) => {
            if arguments.json {
                println!("{:#}", json!({ "reconciliations": found.reconciliations, "unchecked": found.unchecked }));
            } else {
                table(&found);
            }
            found.exit_code()
        }
        Err(error) => {
            eprintln!("darkroom: {:#}", arguments.running.explain(error));
            ExitCode::from(UNKNOWN)
        }
    }
}

async fn look(arguments: &Reconcile) -> Result<Found> {
    let client = arguments.running.client()?;
    let Some(account) = &arguments.account else { return all(&client).await };
    let Ok(account) = account.parse::<AccountId>() else { bail!("`{account}` is not an account's id: give `acct_…`") };
    let one = client.get(&format!("/v1/admin/accounts/{account}/reconciliation")).await?;
    Ok(Found { reconciliations: vec![one], unchecked: Vec::new() })
}

async fn all(client: &Client) -> Result<Found> {
    let mut found = Found::default();
    let mut cursor = String::new();
    loop {
        let page: ReconciliationList = client.get(&format!("/v1/admin/reconciliations?limit=20{cursor}")).await?;
        found.reconciliations.extend(page.reconciliations);
        found.unchecked.extend(page.unchecked);
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(found),
        }
    }
}

fn table(found: &Found) {
    println!(
        "{:<37} {:>9} {:>11} {:>12} {:>10} {:>6} {:>6} {:>8}",
        "ACCOUNT", "ENTRIES", "GENERATIONS", "AVAILABLE", "HELD", "OPEN", "LATE", "FINDINGS"
    );
    for own in &found.reconciliations {
        println!(
            "{:<37} {:>9} {:>11} {:>12} {:>10} {:>6} {:>6} {:>8}",
            own.account.to_string(),
            own.entries,
            own.generations,
            own.available.get(),
            own.held.get(),
            own.open_holds_total,
            own.late_successes_total,
            own.findings_total
        );
    }
    for own in &found.reconciliations {
        for finding in &own.findings {
            println!("{}: {}: {}: {}", own.account, finding.kind.word(), finding.about, finding.detail);
        }
        let more = own.findings_total.saturating_sub(u64::try_from(own.findings.len()).unwrap_or(u64::MAX));
        if more > 0 {
            println!("{}: {more} more", own.account);
        }
        if own.unchecked > 0 {
            println!("{}: {} generations in doubt were not looked at", own.account, own.unchecked);
        }
    }
    for account in &found.unchecked {
        println!("{account}: not looked at, it is too large for a request; see the log of the daily look");
    }
    let wrong = found.reconciliations.iter().filter(|own| own.findings_total > 0).count();
    println!("{} accounts looked at, {wrong} with findings", found.reconciliations.len());
}
