//! What a look at an account's books found.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::credits::Credits;
use crate::ids::{AccountId, GenerationId};

/// One account's books, as they were at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reconciliation {
    #[schema(value_type = String)]
    pub account: AccountId,
    #[schema(value_type = String, format = DateTime)]
    pub checked_at: Timestamp,
    /// Entries that were read.
    pub entries: u64,
    /// Generations that were read.
    pub generations: u64,
    #[schema(value_type = u64)]
    pub available: Credits,
    #[schema(value_type = u64)]
    pub held: Credits,
    /// How many things are wrong; none: the books are right.
    pub findings_total: u64,
    /// The first of them, at most 100.
    pub findings: Vec<Finding>,
    /// Generations in doubt beyond 1,000, which were not looked at one by one.
    pub unchecked: u64,
    /// How many generations have not ended.
    pub open_holds_total: u64,
    /// The oldest of them, at most 100.
    pub open_holds: Vec<OpenHold>,
    /// How many successes came after the end: stored, not charged.
    pub late_successes_total: u64,
    /// The newest of them, at most 100.
    #[schema(value_type = Vec<String>)]
    pub late_successes: Vec<GenerationId>,
    /// What was asked of each provider, by name.
    pub providers: Vec<ProviderTotals>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Finding {
    pub kind: FindingKind,
    /// The id of a generation or key, `entry` and its number, or `account`.
    pub about: String,
    /// A sentence with the numbers.
    pub detail: String,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The account's counters are not what its entries add up to.
    CountersDiffer,
    /// Entries are missing.
    SequenceGap,
    /// Two entries have the same number, or one has a number that was not given yet.
    SequenceTwice,
    /// The balances in an entry are not those before it and its changes.
    WrongBalance,
    /// An entry's changes do not fit its kind and amount.
    WrongEntry,
    /// Credits were held for a generation that is not there.
    HoldWithoutGeneration,
    /// Nothing was held for a generation.
    GenerationWithoutHold,
    /// Something was charged or released that was never held.
    ClosingWithoutHold,
    /// Another amount was held than the generation says.
    HoldDiffers,
    /// More was charged and released than was held.
    HoldClosedTwice,
    /// The generation has ended, its hold is open.
    HoldNeverClosed,
    /// The hold is closed, the generation has not ended.
    HoldClosedEarly,
    /// Another amount was charged than the generation says.
    ChargeDiffers,
    /// It succeeded and has a price, and nothing was charged.
    UnbilledSuccess,
    /// More credits end than are available.
    LotsAboveAvailable,
    /// What is counted as in progress is not the number of open holds.
    UsageDiffers,
    /// It should have been looked at more than ten minutes ago.
    Overdue,
    /// It has not ended after two days.
    OldHold,
}

impl FindingKind {
    /// The word used in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::CountersDiffer => "counters_differ",
            Self::SequenceGap => "sequence_gap",
            Self::SequenceTwice => "sequence_twice",
            Self::WrongBalance => "wrong_balance",
            Self::WrongEntry => "wrong_entry",
            Self::HoldWithoutGeneration => "hold_without_generation",
            Self::GenerationWithoutHold => "generation_without_hold",
            Self::ClosingWithoutHold => "closing_without_hold",
            Self::HoldDiffers => "hold_differs",
            Self::HoldClosedTwice => "hold_closed_twice",
            Self::HoldNeverClosed => "hold_never_closed",
            Self::HoldClosedEarly => "hold_closed_early",
            Self::ChargeDiffers => "charge_differs",
            Self::UnbilledSuccess => "unbilled_success",
            Self::LotsAboveAvailable => "lots_above_available",
            Self::UsageDiffers => "usage_differs",
            Self::Overdue => "overdue",
            Self::OldHold => "old_hold",
        }
    }
}

/// Credits that are held, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OpenHold {
    #[schema(value_type = String)]
    pub generation: GenerationId,
    #[schema(value_type = u64)]
    pub credits: Credits,
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Seconds since then.
    pub age_s: i64,
    /// As in the generation.
    pub phase: String,
    /// What it waits for.
    pub why: String,
}

/// What was asked of one provider for this account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProviderTotals {
    pub provider: String,
    /// Attempts, by what became of them.
    pub attempts: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub canceled: u64,
    /// Nobody knows whether the provider took the job.
    pub unconfirmed: u64,
    pub in_progress: u64,
    /// What the attempts that succeeded cost us, in millionths of a US dollar, as far as the catalog says.
    pub cost_micro_usd: u64,
    /// Attempts that succeeded and whose cost the catalog does not say.
    pub cost_unknown: u64,
    /// What was charged for what it made, or billed.
    pub charged_credits: u64,
}

impl Reconciliation {
    /// So many of each kind of thing are listed.
    pub const LISTED: usize = 100;

    /// Nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings_total == 0 && self.unchecked == 0
    }

    /// Adds what is wrong.
    pub fn add(&mut self, found: impl IntoIterator<Item = Finding>) {
        for finding in found {
            self.findings_total += 1;
            if self.findings.len() < Self::LISTED {
                self.findings.push(finding);
            }
        }
    }
}
