//! The lines of an account's history.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::credits::Credits;
use crate::ids::{AccountId, ApiKeyId, GenerationId};

/// What an entry records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// Credits given to the account.
    Grant,
    /// Credits set aside for a generation.
    Hold,
    /// Held credits spent.
    Charge,
    /// Held credits given back.
    Release,
    /// An operator's correction, up or down.
    Adjust,
    /// Credits that were not spent before their end.
    Expire,
}

impl EntryKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Grant, Self::Hold, Self::Charge, Self::Release, Self::Adjust, Self::Expire];

    /// The word used in entry ids and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Hold => "hold",
            Self::Charge => "charge",
            Self::Release => "release",
            Self::Adjust => "adjust",
            Self::Expire => "expire",
        }
    }
}

/// Who changed an account by hand, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The API key that was used; none for the product itself.
    pub by: Option<ApiKeyId>,
    /// In the operator's words; at most [`Note::REASON_CHARS`] characters.
    pub reason: String,
}

impl Note {
    /// The longest reason, in characters.
    pub const REASON_CHARS: usize = 500;
}

/// One immutable line of an account's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Deterministic: the kind, `#`, and what it is about. Unique within the account.
    pub id: String,
    /// Whose.
    pub account: AccountId,
    /// What happened.
    pub kind: EntryKind,
    /// How many credits it is about; never negative.
    pub amount: Credits,
    /// What it did to `available`.
    pub available_change: i64,
    /// What it did to `held`.
    pub held_change: i64,
    /// `available` after it.
    pub balance_after: Credits,
    /// `held` after it.
    pub held_after: Credits,
    /// The generation it belongs to; none for grants and corrections.
    pub generation: Option<GenerationId>,
    /// The API key that asked for a hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ApiKeyId>,
    /// Until when a grant can be spent; none: for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// Who did it by hand, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
    /// 1, 2, 3… without gaps, in the order in which the account changed.
    pub sequence: u64,
    /// When it was decided; never before the entry before it.
    pub created_at: Timestamp,
}
