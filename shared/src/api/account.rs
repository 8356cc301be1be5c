//! The balance and its history.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::credits::Credits;
use crate::ids::{AccountId, GenerationId};
use crate::ledger::{Account, Entry, EntryKind};

/// `GET /v1/account`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AccountView {
    #[schema(value_type = String)]
    pub id: AccountId,
    /// What can be spent.
    #[schema(value_type = u64)]
    pub available: Credits,
    /// What is set aside for generations that have not ended.
    #[schema(value_type = u64)]
    pub held: Credits,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        Self { id: account.id, available: account.available, held: account.held, created_at: account.created_at }
    }
}

/// `GET /v1/account/ledger`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LedgerView {
    /// Newest first.
    pub entries: Vec<EntryView>,
    /// Give it as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EntryView {
    pub id: String,
    pub kind: EntryKind,
    /// How many credits; never negative: the kind says where they went.
    #[schema(value_type = u64)]
    pub amount: Credits,
    /// What it did to `available`.
    pub available_change: i64,
    /// What it did to `held`.
    pub held_change: i64,
    #[schema(value_type = Option<String>)]
    pub generation_id: Option<GenerationId>,
    /// `available` after it.
    #[schema(value_type = u64)]
    pub balance_after: Credits,
    /// `held` after it.
    #[schema(value_type = u64)]
    pub held_after: Credits,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        Self {
            id: entry.id,
            kind: entry.kind,
            amount: entry.amount,
            available_change: entry.available_change,
            held_change: entry.held_change,
            generation_id: entry.generation,
            balance_after: entry.balance_after,
            held_after: entry.held_after,
            created_at: entry.created_at,
        }
    }
}
