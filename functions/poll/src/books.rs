//! Once a day: are the books of all accounts right?

use std::time::Duration;

use futures_util::future::try_join_all;
use jiff::SignedDuration;
use shared::backend::Backend;
use shared::ids::AccountId;
use shared::messages::{Message, Outgoing};
use shared::metrics::{self, Sample};
use shared::reconcile::Reconciliation;
use shared::store::StoreError;

use crate::Error;

/// Accounts in one message.
const ACCOUNTS: usize = 10;
/// Accounts in one page of the list.
const PAGE: i32 = 100;
/// For one message: less than the function has.
const TIME_LIMIT: Duration = Duration::from_secs(50);

/// Sends a message for every few accounts. That all were sent is counted: an alarm tells when it was not for longer than a day.
pub(crate) async fn every_account(backend: &Backend) -> Result<(), Error> {
    let mut cursor: Option<String> = None;
    loop {
        let Some(page) = backend.store.account_ids(cursor.as_deref(), PAGE).await? else { break };
        try_join_all(page.items.chunks(ACCOUNTS).map(|accounts| send(backend, accounts))).await?;
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    backend.measure(&[Sample::count(metrics::DAILY_LOOKS, &[])]);
    Ok(())
}

/// Looks at some accounts, and says in the log what is wrong. Credits that have ended are taken away first. What there is no time for is left to
/// another message. Nothing is counted of a look that failed, since its message comes again.
pub(crate) async fn look(backend: &Backend, accounts: &[AccountId]) -> Result<(), Error> {
    let mut totals = Totals::default();
    let all = async {
        for account in accounts {
            look_at(backend, *account, &mut totals).await?;
        }
        Ok::<_, Error>(())
    };
    let outcome = tokio::time::timeout(TIME_LIMIT, all).await;
    match (outcome, accounts.get(totals.accounts..)) {
        (Ok(outcome), _) => outcome?,
        (Err(_), Some([too_large, rest @ ..])) if totals.accounts == 0 => {
            tracing::error!(account = %too_large, "the books are too large to be read in time");
            totals.unread += 1;
            send(backend, rest).await?;
        }
        (Err(_), rest) => send(backend, rest.unwrap_or_default()).await?,
    }
    backend.measure(&[totals.sample()]);
    let Totals { accounts: done, with_findings, findings, unread, entries, generations, .. } = totals;
    tracing::info!(accounts = done, with_findings, findings, unread, entries, generations, "the books were looked at");
    Ok(())
}

async fn look_at(backend: &Backend, account: AccountId, totals: &mut Totals) -> Result<(), Error> {
    let found = match backend.store.expire_credits(account, backend.now()).await {
        Ok(()) => backend.reconcile(account).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(Some(found)) => {
            totals.add(&found);
            report(&found);
        }
        Ok(None) => totals.accounts += 1,
        // One record that this version cannot read must not hide the other accounts.
        Err(error @ StoreError::Encoding(_)) => {
            totals.accounts += 1;
            totals.unread += 1;
            tracing::error!(error = &error as &dyn std::error::Error, %account, "the books cannot be read");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn send(backend: &Backend, accounts: &[AccountId]) -> Result<(), Error> {
    if accounts.is_empty() {
        return Ok(());
    }
    let message = Message::Reconcile { accounts: accounts.to_vec() };
    Ok(backend.send(&Outgoing { message, delay: SignedDuration::ZERO, group: "reconcile".to_owned() }).await?)
}

#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    accounts: usize,
    with_findings: u64,
    findings: u64,
    /// Accounts, and generations in doubt, that could not be looked at.
    unread: u64,
    entries: u64,
    generations: u64,
    open_holds: u64,
    oldest_hold: Option<SignedDuration>,
}

impl Totals {
    fn add(&mut self, found: &Reconciliation) {
        self.accounts += 1;
        self.with_findings += u64::from(found.findings_total > 0);
        self.findings += found.findings_total;
        self.unread += found.unchecked;
        self.entries += found.entries;
        self.generations += found.generations;
        self.open_holds += found.open_holds_total;
        self.oldest_hold = self.oldest_hold.max(found.open_holds.first().map(|hold| SignedDuration::from_secs(hold.age_s)));
    }

    /// What could not be looked at counts as found: the books are not known to be right.
    #[allow(clippy::cast_precision_loss, reason = "a metric")]
    fn sample(&self) -> Sample {
        let findings = (self.findings + self.unread) as f64;
        let mut values = vec![(metrics::RECONCILE_FINDINGS, findings), (metrics::HOLDS_OPEN, self.open_holds as f64)];
        values.extend(self.oldest_hold.map(|age| (metrics::OLDEST_HOLD_SECONDS, metrics::seconds(age))));
        Sample::of(&[], values)
    }
}

/// One line an account.
fn report(found: &Reconciliation) {
    if found.is_clean() {
        return;
    }
    let account = found.account;
    let told: Vec<String> =
        found.findings.iter().map(|own| format!("{} {}: {}", own.kind.word(), own.about, own.detail)).collect();
    tracing::error!(%account, findings = found.findings_total, unchecked = found.unchecked, found = told.join("; "), "the books are wrong");
}
