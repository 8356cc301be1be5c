//! The money: an account's two counters and the immutable entries that explain them.
//!
//! A *hold* moves credits from available to held; it is closed exactly once, by a *charge* (credits leave; what was held beyond the
//! charge is released) or by a *release* (credits return). Entry ids are deterministic (`hold#gen_…`), so the table itself refuses
//! to write the same entry twice. Invariants: available + held = sum of (available_change + held_change) over all entries;
//! neither counter is ever below zero; what ends is never more than what is available.
//!
//! A grant may end. Credits that end soonest are spent first; what a hold took of them and does not spend returns to where it came from, or
//! expires at once when its end has passed meanwhile.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::credits::Credits;
use crate::ids::{AccountId, ApiKeyId, GenerationId};

mod entry;
mod limits;
mod lots;
mod post;
mod settings;
#[cfg(test)]
mod tests;

pub use entry::{Entry, EntryKind, Note};
pub use limits::{LimitReached, SpendingLimits, Spent, Usage};
pub use lots::{Lot, Lots, Taken};
pub use settings::{AccountChange, LimitsChange};

/// One customer: the counters, and everything that decides whether a hold is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Whose.
    pub id: AccountId,
    /// The operator's own name for it.
    pub name: Option<String>,
    /// Nothing new is accepted.
    pub suspended: bool,
    /// What can be spent, and what has ended since the last posting: see [`Account::spendable`].
    pub available: Credits,
    /// What is set aside for generations that have not ended.
    pub held: Credits,
    /// The part of `available` that ends.
    pub lots: Lots,
    /// Of all its keys together.
    pub limits: SpendingLimits,
    /// Requests a second, of all its keys together; none: the deployment's own limit, 0: no limit.
    pub requests_per_second: Option<u32>,
    /// What is under way and spent.
    pub usage: Usage,
    /// Every API key that may spend, with its own limits. A key that is not here has ended.
    pub keys: BTreeMap<ApiKeyId, KeyUse>,
    /// Number of entries so far; each entry takes the next one as its sequence.
    pub entries: u64,
    /// Raised by each write; a write is conditional on it.
    pub version: u64,
    /// The time of the last posting: no entry is older than the one before it, whatever the clocks of two processes say.
    pub posted_at: Timestamp,
    /// When it was opened.
    pub created_at: Timestamp,
}

/// What one API key may spend, and has spent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// Of this key alone.
    pub limits: SpendingLimits,
    /// What is under way and spent by it.
    pub usage: Usage,
    /// From this moment on it may not spend any more.
    pub ends_at: Option<Timestamp>,
}

/// A hold that was posted: what is needed to close it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// For which generation.
    pub generation: GenerationId,
    /// How much.
    pub amount: Credits,
    /// The API key that asked for it; none when an operator did.
    pub key: Option<ApiKeyId>,
    /// When.
    pub held_at: Timestamp,
    /// The part of it that came from credits with an end.
    pub from: Vec<Taken>,
}

/// A change asked of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posting {
    /// Give `amount`, until `ends_at` or for good; `reference` makes it unique: a second grant with the same reference is the same grant.
    Grant { reference: String, amount: Credits, ends_at: Option<Timestamp>, note: Option<Note> },
    /// Set `amount` aside for a generation.
    Hold { generation: GenerationId, amount: Credits, key: Option<ApiKeyId> },
    /// Close the hold by spending `charge` of it and giving back the rest.
    Charge { hold: Hold, charge: Credits },
    /// Close the hold by giving it all back.
    Release { hold: Hold },
    /// Correct what is available by `change`, up or down, but not below zero; `reference` makes it unique.
    Adjust { reference: String, change: i64, note: Note },
    /// Take away what has ended.
    Expire,
}

/// Whose limit refused a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Account,
    Key,
}

/// Why an account refuses a posting. Of several reasons the first in this order is given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An operator has suspended it.
    #[error("the account is suspended")]
    Suspended,
    /// The key was revoked or its time is over.
    #[error("the API key has ended")]
    KeyEnded,
    /// A limit would be passed.
    #[error("{reached}")]
    Limit { whose: Whose, reached: LimitReached },
    /// The customer cannot pay.
    #[error("the account has {available} credits available and {needed} are needed")]
    InsufficientCredits { available: Credits, needed: Credits },
    /// The balance would pass [`Credits::MAX`].
    #[error("the balance would be above {max} credits", max = Credits::MAX)]
    Overflow,
    /// Too many grants with an end at once.
    #[error("the account has {max} grants with an end already, which is the most at once", max = Lots::MAX)]
    TooManyEndingGrants,
    /// Too many keys at once.
    #[error("the account has {max} API keys already, which is the most; revoke one", max = Account::MAX_KEYS)]
    TooManyKeys,
    /// The grant would have ended before it was given.
    #[error("the grant would have ended at {ends_at}")]
    EndedGrant { ends_at: Timestamp },
    /// More would be charged than was held: prices are fixed when a generation is accepted.
    #[error("a charge of {charge} credits is above the hold of {held}")]
    ChargeAboveHold { held: Credits, charge: Credits },
    /// The account holds less than the hold to be closed: the books are wrong, nothing may be written.
    #[error("the account holds {held} credits in all, less than the hold of {closing} to be closed")]
    HeldTooLow { held: Credits, closing: Credits },
}

/// An account after a posting, with the entries to be written together with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The new counters.
    pub account: Account,
    /// Those of credits that had ended, then one, or two for a charge below its hold, then one if what it gave back had ended.
    pub entries: Vec<Entry>,
    /// What a hold took from credits with an end.
    pub taken: Vec<Taken>,
    /// When it counts as posted: not before any earlier posting.
    pub at: Timestamp,
}

impl Account {
    /// An account has so many keys that may spend at most.
    pub const MAX_KEYS: usize = 50;

    /// A new account without credits.
    pub fn open(id: AccountId, now: Timestamp) -> Self {
        Self {
            id,
            name: None,
            suspended: false,
            available: Credits::ZERO,
            held: Credits::ZERO,
            lots: Lots::default(),
            limits: SpendingLimits::default(),
            requests_per_second: None,
            usage: Usage::default(),
            keys: BTreeMap::new(),
            entries: 0,
            version: 0,
            posted_at: now,
            created_at: now,
        }
    }

    /// A request that looked at the clock first may be written second, by another process with a clock of its own: it is posted at the time of
    /// the one before it. Otherwise what has ended would come back, and yesterday's spending would take the place of today's. A clock
    /// that is wrong by more than that is not followed.
    pub fn time_of_posting(&self, now: Timestamp) -> Timestamp {
        const CLOCKS_DIFFER_AT_MOST: SignedDuration = SignedDuration::from_mins(5);
        let is_close = self.posted_at.duration_since(now) <= CLOCKS_DIFFER_AT_MOST;
        if is_close { now.max(self.posted_at) } else { now }
    }

    /// What can be spent at `now`.
    pub fn spendable(&self, now: Timestamp) -> Credits {
        self.available.minus(self.lots.ended(now)).unwrap_or(Credits::ZERO)
    }

    /// When something of it ends that nobody has to ask for.
    pub fn due_at(&self) -> Option<Timestamp> {
        self.lots.next_end()
    }
}
