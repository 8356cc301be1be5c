//! `darkroom ledger`: every change of an account's balance.

use anyhow::Result;
use serde_json::Value;
use shared::api::LedgerView;

use super::answer::{Asked, Paging, or_dash, path};
use super::models::print_table;

/// Arguments of `darkroom ledger`.
#[derive(clap::Args)]
#[command(after_help = "Example: darkroom ledger acct_… --limit 50")]
pub(super) struct Ledger {
    /// Whose.
    account: String,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    asked: Asked,
}

pub(super) async fn run(ledger: Ledger) -> Result<()> {
    let path = ledger.paging.of(&path(&[&ledger.account, "ledger"])?);
    let answer: Value = ledger.asked.running.call(async |client| client.get(&path).await).await?;
    ledger.asked.show(answer, |LedgerView { entries, next_cursor }| {
        let titles = ["AT", "KIND", "AVAILABLE", "HELD", "BALANCE", "GENERATION", "REASON"].map(str::to_owned);
        let rows = entries.into_iter().map(|entry| {
            [
                entry.created_at.to_string(),
                entry.kind.word().to_owned(),
                format!("{:+}", entry.available_change),
                format!("{:+}", entry.held_change),
                entry.balance_after.to_string(),
                or_dash(entry.generation_id),
                or_dash(entry.reason),
            ]
        });
        print_table(&std::iter::once(titles).chain(rows).collect::<Vec<_>>());
        Paging::more(next_cursor.as_deref());
    })
}
