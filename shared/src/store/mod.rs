//! The table: one conditional transaction for each transition, and the few reads that the steps need.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::api::CreatedGeneration;
use crate::ids::AccountId;
use crate::ledger::{Account, Refusal};
use crate::sdk::Lazy;
use aws_sdk_dynamodb::Client;

mod accounts;
mod assets;
mod books;
mod boxes;
mod catalog;
mod commit;
mod erasure;
mod items;
mod keys;
mod ledger;
mod pool;
mod rate_limits;
mod read;
mod transact;

pub use assets::{AssetChange, AssetFilter, AssetMade};
pub use books::EntryCursor;
pub use boxes::BoxMade;
pub use commit::ByHand;
pub use erasure::Owned;
pub use keys::{Action, FiledKey, USE_NOTED_EVERY};
pub use ledger::LedgerFilter;
pub use rate_limits::Bucket;
pub use read::{Due, DueCursor, DueJob, DueRecord, Page};

/// The table and the counters of accounts that this process has seen last.
#[derive(Clone)]
pub struct Store {
    client: Lazy<Client>,
    table: String,
    due_shards: u32,
    accounts: Gates,
    races: Arc<AtomicU64>,
    rates: rate_limits::Shares,
}

/// One gate for each account. Postings of one process to one account go through it one after the other and remember the counters:
/// the next posting then needs no read, and parallel requests do not make each other's transactions fail. Other processes are held off
/// by the condition on the account's version alone.
type Gates = Arc<Mutex<HashMap<AccountId, Gate>>>;
type Gate = Arc<tokio::sync::Mutex<Memory>>;

/// What is remembered of an account.
#[derive(Debug, Default)]
enum Memory {
    #[default]
    Nothing,
    /// The counters after our last posting; nobody else was seen to post.
    Trusted(Account),
    /// Somebody else posted in between: a read costs less than a transaction that fails, so the counters are read until they
    /// are found as they were left.
    Shared(Account),
}

/// Beyond this many accounts the memory is emptied.
const MAX_REMEMBERED_ACCOUNTS: usize = 10_000;

/// Why the table could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The table did not do what was asked, for a reason that may pass.
    #[error("the table could not {action}")]
    Table {
        action: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record that cannot be written or read.
    #[error("a record has an unexpected shape")]
    Encoding(#[source] serde_dynamo::Error),
    /// A request with the same `Idempotency-Key` is being written at this moment, again and again.
    #[error("a request with the same key is in progress: gave up after {tries} tries")]
    InFlight { tries: u32 },
    /// Others changed the same records again and again.
    #[error("the records are too busy: gave up after {tries} tries")]
    TooBusy { tries: u32 },
    /// The account would not be right after the posting: nothing was written.
    #[error("the account {account} refuses a settlement")]
    Books {
        account: AccountId,
        #[source]
        refusal: Refusal,
    },
    /// A record that has to be there is not.
    #[error("there is no {what}")]
    Missing { what: String },
    /// More than an item of the table takes.
    #[error("{what} has {bytes} bytes, at most {most} can be stored; make it shorter")]
    TooLarge { what: String, bytes: usize, most: usize },
}

impl StoreError {
    fn encoding(error: serde_dynamo::Error) -> Self {
        Self::Encoding(error)
    }

    fn table(action: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Table { action, source: source.into() }
    }
}

/// Why a decision was not written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody changed the generation since it was loaded: load it again and decide again.
    #[error("the generation has changed meanwhile")]
    Stale,
    /// The provider's pool has changed since it was looked at; the generation has not.
    #[error("the provider's pool has changed meanwhile")]
    PoolChanged,
    /// The same request of an operator was written meanwhile.
    #[error("the same request was written meanwhile")]
    Repeated,
    /// The table failed; whether it wrote is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of a new generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// Written, with its hold.
    New(CreatedGeneration),
    /// The same request was accepted before.
    Replayed(CreatedGeneration),
    /// The key belongs to another request.
    KeyReused,
    /// The account cannot pay, or may not.
    Refused(Refusal),
}

/// What became of a change of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// Written: the account now.
    Done(Box<Account>),
    /// What was to be written is there already: nothing was changed.
    AlreadySo,
    /// The account does not allow it: nothing was changed.
    Refused(Refusal),
}

impl Store {
    /// A store over an existing table. The due index is spread over `due_shards` partitions, the same number in every process.
    pub fn new(client: impl Into<Lazy<Client>>, table: String, due_shards: u32) -> Self {
        Self {
            client: client.into(),
            table,
            due_shards,
            accounts: Gates::default(),
            races: Arc::default(),
            rates: rate_limits::Shares::default(),
        }
    }

    /// The same table by another client, with the same memory of its accounts: another function in one process.
    pub fn over(&self, client: impl Into<Lazy<Client>>) -> Self {
        Self { client: client.into(), ..self.clone() }
    }

    /// How often a posting of this process had to be decided anew, since another process had posted to the account meanwhile.
    pub fn races(&self) -> u64 {
        self.races.load(Ordering::Relaxed)
    }

    fn count_race(&self) {
        self.races.fetch_add(1, Ordering::Relaxed);
    }

    fn gate(&self, account: AccountId) -> Gate {
        let mut gates = self.accounts.lock().expect("no panic while it is held");
        if gates.len() >= MAX_REMEMBERED_ACCOUNTS {
            gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        }
        Arc::clone(gates.entry(account).or_default())
    }
}
