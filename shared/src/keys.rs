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

/// What a new key is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTerms {
    pub name: Option<String>,
    /// Not empty.
    pub scopes: Vec<Scope>,
    pub limits: SpendingLimits,
    pub requests_per_second: Option<u32>,
    pub expires_at: Option<Timestamp>,
    /// The key in whose place it is made.
    pub replaces: Option<ApiKeyId>,
}

impl KeyTerms {
    /// A key without limits, end and name.
    pub fn plain(scopes: Vec<Scope>) -> Self {
        let limits = SpendingLimits::default();
        Self { name: None, scopes, limits, requests_per_second: None, expires_at: None, replaces: None }
    }
}

impl ApiKey {
    /// The key `text` of an account, on these terms.
    pub fn new(id: ApiKeyId, account: AccountId, text: &str, terms: KeyTerms, now: Timestamp) -> Self {
        let KeyTerms { name, scopes, limits, requests_per_second, expires_at, replaces } = terms;
        let prefix = shown(text);
        Self {
            id,
            account,
            prefix,
            name,
            scopes,
            limits,
            requests_per_second,
            created_at: now,
            expires_at,
            revoked_at: None,
            replaces,
        }
    }

    /// The key as it is when it is revoked; none: it has ended already.
    pub fn revoked(&self, now: Timestamp) -> Option<Self> {
        (!self.has_ended(now)).then(|| Self { revoked_at: Some(now), ..self.clone() })
    }

    /// The key as it is when it ends at `end`, or sooner if it was to; none: it has ended already.
    pub fn ending(&self, end: Timestamp, now: Timestamp) -> Option<Self> {
        let expires_at = Some(self.expires_at.map_or(end, |own| own.min(end)));
        (!self.has_ended(now)).then(|| Self { expires_at, ..self.clone() })
    }

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
fn shown(key: &str) -> String {
    key.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_key_ends_once_and_never_later_than_it_was_to() {
        let at = |hours| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        let text = key_of([7; 24]);
        let (id, account) = (ApiKeyId::from_parts(1, [1; 10]), AccountId::from_parts(1, [1; 10]));
        let key = ApiKey::new(id, account, &text, KeyTerms::plain(vec![Scope::User]), at(0));
        assert!(text.starts_with(&key.prefix) && key.prefix.len() < text.len() / 2);
        let ending = key.ending(at(5), at(1)).expect("it has not ended");
        assert_eq!(ending.ending(at(9), at(1)).and_then(|key| key.ends_at()), Some(at(5)));
        assert!(!ending.has_ended(at(4)) && ending.has_ended(at(5)));
        let revoked = ending.revoked(at(2)).expect("it has not ended");
        assert_eq!(revoked.ends_at(), Some(at(2)));
        assert_eq!((revoked.revoked(at(3)), revoked.ending(at(9), at(3)), ending.revoked(at(5))), (None, None, None));
    }
}
