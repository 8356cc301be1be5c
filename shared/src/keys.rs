//! API keys: what one opens. The key itself is told once and kept nowhere.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, ApiKeyId};
use crate::ledger::SpendingLimits;

/// What every API key starts with.
const PREFIX: &str = "dk_";
/// So many characters of a key are shown, to tell it from others.
const SHOWN_CHARS: usize = 11;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Everything with the account's own: upload, generate, cancel, erase, read.
    User,
    /// Reads the account's own.
    Read,
    /// `/v1/admin/…`, which is about all accounts; nothing of the account's own.
    Admin,
}

impl Scope {
    /// The word used in JSON and in the authorizer's context.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    /// The scope with this word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::User, Self::Read, Self::Admin].into_iter().find(|scope| scope.word() == word)
    }
}

/// What an API key opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose it is.
    pub account: AccountId,
    /// Its first characters.
    pub prefix: String,
    /// The operator's own name for it.
    pub name: Option<String>,
    /// What it may do; never empty.
    pub scopes: Vec<Scope>,
    /// What it may spend; what counts is in the account.
    pub limits: SpendingLimits,
    /// Requests a second; none or 0: only the account's own limit.
    pub requests_per_second: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From this moment on it opens nothing; none: until it is revoked.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The key in whose place it was made.
    pub replaces: Option<ApiKeyId>,
}

impl ApiKey {
    /// From when on it opens nothing.
    pub fn ends_at(&self) -> Option<Timestamp> {
        [self.expires_at, self.revoked_at].into_iter().flatten().min()
    }

    /// It opens nothing any more.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.ends_at().is_some_and(|end| end <= now)
    }
}

/// A new key from 24 random bytes: 192 bits, more than can be guessed, so that a plain hash of it is safe to keep.
pub fn key_of(random: [u8; 24]) -> String {
    format!("{PREFIX}{}", hex::encode(random))
}

/// What is shown of a key.
pub fn shown(key: &str) -> String {
    key.chars().take(SHOWN_CHARS).collect()
}
