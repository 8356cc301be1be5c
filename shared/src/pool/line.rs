//! The line of those who wait for a slot, fair between accounts, and the changes of a pool as values.
//!
//! Start-time fair queueing: whoever joins gets a round, one after the later of the pool's served round and the last round of the same
//! account; the pool's served round is that of who was served last. So each account has one place in each round: ten jobs of one account
//! are served one for one with those of another account that has hundreds waiting.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{KeyId, Taken};
use crate::ids::{AccountId, GenerationId};

/// A place in a provider's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Whose line.
    pub provider: String,
    /// Who pays for the work.
    pub account: AccountId,
    /// `{round}#{generation}`, the round in twenty digits: sorted as text, places are in the order of service.
    pub place: String,
}

impl Waiting {
    /// A place in this round.
    pub fn new(provider: &str, account: AccountId, round: u64, generation: GenerationId) -> Self {
        Self { provider: provider.to_owned(), account, place: format!("{round:020}#{generation}") }
    }

    /// The round of the place.
    pub fn round(&self) -> u64 {
        self.parts().0.parse().unwrap_or(0)
    }

    /// The text after the round: the generation.
    #[cfg(any(test, feature = "io"))]
    pub(crate) fn generation_text(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.place.split_once('#').unwrap_or_default()
    }
}

/// One of those who wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// The work.
    pub generation: GenerationId,
    /// Who pays for it.
    pub account: AccountId,
    /// Its place, as in [`Waiting::place`].
    pub place: String,
}

/// A place that is reserved, and taken once the plan is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinPlan {
    /// Who joins.
    pub generation: GenerationId,
    /// The place: the first one, if the generation stands in this line already.
    pub waiting: Waiting,
}

/// A change of a pool, to be written in one transaction with the generation that it is for. No two of one transaction may be about the
/// same key or, for one generation, about the same line: DynamoDB takes one write for each item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolChange {
    /// Takes the place; refused when the key has changed since it was read.
    Take { provider: String, key: KeyId, taken: Box<Taken> },
    /// Lets a lease run until then; never refused. Only for takes with a lease.
    Renew { provider: String, key: KeyId, holder: String, until: Timestamp },
    /// Gives a slot back; never refused, also when it is gone. Only for takes with a lease.
    Release { provider: String, key: KeyId, holder: String },
    /// Joins the line; refused when the generation has another place in it.
    Join(JoinPlan),
    /// Leaves the line; never refused, also when the place is gone.
    Leave { waiting: Waiting },
}
