//! A generation: one job that a customer asked for, with everything that is known of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::assets::MediaFacts;
use crate::credits::Credits;
use crate::failure::{Charge, Failure};
use crate::ids::{AccountId, ApiKeyId, AssetId, GenerationId};
use crate::ledger::{Hold, Note, Taken};
use crate::pool::Waiting;

mod attempt;
mod order;

pub use attempt::{Ambiguity, Attempt, AttemptResult, Prepared, PreparedText, TextPurpose};
pub use order::{Candidate, Finish, ImageFormat, Input, Order};

/// The record. Changed only by [`crate::lifecycle::decide`]; each change raises `version` by one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// Its id.
    pub id: GenerationId,
    /// Who pays.
    pub account: AccountId,
    /// Raised by each change; a write is conditional on it.
    pub version: u64,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// What was asked, as it was understood when it was accepted.
    pub order: Order,
    /// The credits set aside for it: the price.
    pub hold: Credits,
    /// Where they came from.
    pub funds: Funds,
    /// Which of the order's candidates it is to be made by.
    pub candidate: usize,
    /// Every claim so far, oldest first; the last one is the current one.
    pub attempts: Vec<Attempt>,
    /// Set once the customer asked to cancel and the provider has to be asked first.
    pub cancel_requested_at: Option<Timestamp>,
    /// Where it stands.
    pub state: State,
    /// When the poll function has to look at it; none only when nothing is left to do.
    pub due_at: Option<Timestamp>,
    /// A success that arrived after the generation had ended: kept, never charged.
    pub late: Option<Late>,
    /// Set once its content is to be erased, which is possible only after its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erasure: Option<Erasure>,
    /// How an operator ended it by hand.
    pub resolution: Option<Resolution>,
    /// The ended generation that an operator had made once more by this one.
    pub retry_of: Option<GenerationId>,
    /// It has ended, and what lay in the bucket for the making alone may still be there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left_overs: bool,
}

/// How far its content is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Erasure {
    /// Nothing of it is shown any more; its objects are being deleted.
    Erasing { since: Timestamp },
    /// Nothing of it is left. While the generation is still due, the bucket is looked through once more for what a worker that had begun
    /// before put there after.
    Erased { at: Timestamp },
}

/// An operator's end of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// What became of the hold.
    pub charge: Charge,
    /// Who did it, and why.
    #[serde(flatten)]
    pub note: Note,
    pub at: Timestamp,
}

/// What the hold of a generation was made of, to be put back as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Funds {
    /// The API key that asked for it; none when an operator did.
    pub key: Option<ApiKeyId>,
    /// The part that came from credits with an end.
    pub from: Vec<Taken>,
    /// When they were set aside.
    pub held_at: Timestamp,
}

/// Where a generation stands. Each variant carries what only that state has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum State {
    /// Waits for a worker; in a provider's line while all its slots are taken.
    Queued { not_before: Timestamp, waiting: Option<Waiting> },
    /// A worker is submitting it.
    Claimed { lease_until: Timestamp },
    /// The provider works on it.
    Running { job: Job, since: Timestamp, expires_at: Timestamp, polls: u32, progress: Option<u8>, queue_position: Option<u32> },
    /// The submit's answer was lost: the hold stays until there is evidence or the time is up.
    Unconfirmed { reason: Ambiguity, since: Timestamp, resolves_by: Timestamp },
    /// The provider is done; the result is being copied to our bucket. `tries` counts the copies begun.
    Collecting { job: Option<Job>, outcome: Outcome, since: Timestamp, tries: u32 },
    /// Stored and charged.
    Succeeded { results: Vec<StoredResult>, charged: Credits, finished_at: Timestamp },
    /// Ended without a result.
    Failed { failure: Failure, charged: Credits, finished_at: Timestamp },
    /// Ended because the customer asked for it.
    Canceled { charged: Credits, finished_at: Timestamp },
}

impl State {
    /// Nothing more will happen to the money.
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::Succeeded { .. } | Self::Failed { .. } | Self::Canceled { .. } => true,
            Self::Queued { .. }
            | Self::Claimed { .. }
            | Self::Running { .. }
            | Self::Unconfirmed { .. }
            | Self::Collecting { .. } => false,
        }
    }

    /// The word of the state, as in logs and in the API's `phase`.
    pub fn phase(&self) -> &'static str {
        match self {
            Self::Queued { .. } => "queued",
            Self::Claimed { .. } => "submitting",
            Self::Running { .. } => "running",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::Collecting { .. } => "collecting",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Canceled { .. } => "canceled",
        }
    }
}

/// The provider's side of a running attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The provider's id of it.
    pub id: String,
    /// Other facts its manifest keeps from the submit's answer, such as the status URL.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
}

/// What a provider delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Where to take the results from; never empty.
    pub sources: Vec<Source>,
}

/// Where one result comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// To be downloaded.
    Link(String),
    /// To be downloaded with the key of the attempt that made it.
    LinkWithKey(String),
    /// In our bucket already: the provider's answer carried it.
    Stored { key: String, bytes: u64, content_type: String, text: Option<String> },
    /// To be made in our own process from the order's own parameters: see [`crate::catalog::manifest::Operation`].
    Local,
}

/// A result in our bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredResult {
    /// The asset it is filed as.
    pub asset: AssetId,
    /// Its S3 key.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// What it is, found by its content.
    pub content_type: String,
    /// A text result itself, when it is short.
    #[serde(default)]
    pub text: Option<String>,
    /// Its dimensions, where they were found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<MediaFacts>,
    /// When its content was erased: what is left is the asset's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased_at: Option<Timestamp>,
}

impl StoredResult {
    /// Only that it was there.
    pub fn without_content(&self, at: Timestamp) -> Self {
        Self {
            asset: self.asset,
            key: String::new(),
            bytes: 0,
            content_type: String::new(),
            text: None,
            media: None,
            erased_at: self.erased_at.or(Some(at)),
        }
    }
}

/// A success that came too late to be charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// The attempt it belongs to.
    pub attempt: u32,
    /// When it came.
    pub arrived_at: Timestamp,
    /// Whether it is stored yet.
    pub state: LateState,
}

/// Where a late success stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum LateState {
    /// Being copied to our bucket. `tries` counts the copies begun.
    Collecting { job: Option<Job>, outcome: Outcome, tries: u32 },
    /// In our bucket.
    Stored { results: Vec<StoredResult> },
    /// It could not be had any more.
    Lost { failure: Failure },
}

impl Generation {
    /// A new generation in the queue; its hold is posted by the same transaction that writes it, which adds what the hold was taken from.
    pub fn accept(
        id: GenerationId,
        account: AccountId,
        order: Order,
        hold: Credits,
        key: Option<ApiKeyId>,
        now: Timestamp,
        due_at: Timestamp,
    ) -> Self {
        Self {
            id,
            account,
            version: 1,
            created_at: now,
            order,
            hold,
            funds: Funds { key, from: Vec::new(), held_at: now },
            candidate: 0,
            attempts: Vec::new(),
            cancel_requested_at: None,
            state: State::Queued { not_before: now, waiting: None },
            due_at: Some(due_at),
            late: None,
            erasure: None,
            resolution: None,
            retry_of: None,
            left_overs: false,
        }
    }

    /// Something lies in the bucket that was there for the making alone: files that were prepared, uploads that are to go.
    pub fn needs_tidying(&self) -> bool {
        let prepared = self.attempts.iter().any(|attempt| !attempt.prepared.inputs.is_empty());
        prepared || (self.order.erase_inputs && !self.order.inputs.is_empty())
    }

    /// The hold that was posted for it.
    pub fn hold(&self) -> Hold {
        let Funds { key, from, held_at } = self.funds.clone();
        Hold { generation: self.id, amount: self.hold, key, held_at, from }
    }

    /// The number of the current attempt; 0 before the first claim.
    pub fn attempt(&self) -> u32 {
        self.attempts.last().map_or(0, |attempt| attempt.number)
    }

    /// Who is to make it, or does.
    pub fn candidate(&self) -> &Candidate {
        let candidates = &self.order.candidates;
        candidates.get(self.candidate).or(candidates.last()).expect("an order has a candidate")
    }

    /// Who was asked in this attempt; the current candidate when there is no such attempt.
    pub fn candidate_of(&self, number: u32) -> &Candidate {
        let attempt = self.attempts.iter().find(|attempt| attempt.number == number);
        attempt.and_then(|attempt| self.order.candidates.get(attempt.candidate)).unwrap_or_else(|| self.candidate())
    }

    /// Whether another candidate comes after the current one.
    pub fn has_next_candidate(&self) -> bool {
        self.candidate + 1 < self.order.candidates.len()
    }

    /// The parameters that an attempt's provider is asked with: what was prepared stands in place of what was ordered.
    pub fn params_of(&self, number: u32) -> Map<String, Value> {
        let mut params = self.params_for(self.candidate_of(number)).clone();
        let attempt = self.attempts.iter().find(|attempt| attempt.number == number);
        for prepared in attempt.into_iter().flat_map(|attempt| &attempt.prepared.texts) {
            let Some(text) = &prepared.text else { continue };
            let value = match prepared.purpose {
                TextPurpose::Translate => Value::from(text.as_str()),
                TextPurpose::Style => serde_json::from_str(text).unwrap_or_default(),
            };
            params.insert(prepared.param.clone(), value);
        }
        params
    }

    /// The file that an attempt's provider gets for an asset: the one that was prepared for it, or the order's.
    pub fn input_of(&self, number: u32, asset: AssetId) -> Option<&Input> {
        let attempt = self.attempts.iter().find(|attempt| attempt.number == number);
        let prepared = attempt.into_iter().flat_map(|attempt| &attempt.prepared.inputs);
        prepared.chain(&self.order.inputs).find(|input| input.asset == asset)
    }

    /// The parameters that a candidate is asked with.
    pub fn params_for<'a>(&'a self, candidate: &'a Candidate) -> &'a Map<String, Value> {
        candidate.params.as_ref().unwrap_or(&self.order.params)
    }

    /// The results that are in our bucket, or were: its own, and late ones.
    pub fn results(&self) -> impl Iterator<Item = &StoredResult> {
        let own = match &self.state {
            State::Succeeded { results, .. } => results.as_slice(),
            State::Queued { .. }
            | State::Claimed { .. }
            | State::Running { .. }
            | State::Unconfirmed { .. }
            | State::Collecting { .. }
            | State::Failed { .. }
            | State::Canceled { .. } => &[],
        };
        own.iter().chain(self.late_results())
    }

    /// The late ones of its results.
    pub fn late_results(&self) -> &[StoredResult] {
        match self.late.as_ref().map(|late| &late.state) {
            Some(LateState::Stored { results }) => results,
            Some(LateState::Collecting { .. } | LateState::Lost { .. }) | None => &[],
        }
    }

    /// What is left when its content is erased: ids, times, amounts, names of models and providers, classes of failures. What was ordered
    /// and what was delivered is gone, and so is every message, which may repeat the order.
    pub fn without_content(&self, at: Timestamp) -> Self {
        let mut left = self.clone();
        left.order.params = Map::new();
        left.order.inputs = Vec::new();
        for candidate in &mut left.order.candidates {
            candidate.params = None;
        }
        for attempt in &mut left.attempts {
            attempt.prepared = attempt.prepared.without_content();
            if let AttemptResult::Failed { failure } = &mut attempt.result {
                *failure = failure.without_message();
            }
        }
        let scrub = |results: &mut Vec<StoredResult>| {
            for result in results {
                *result = result.without_content(at);
            }
        };
        match &mut left.state {
            State::Succeeded { results, .. } => scrub(results),
            State::Failed { failure, .. } => *failure = failure.without_message(),
            State::Queued { .. }
            | State::Claimed { .. }
            | State::Running { .. }
            | State::Unconfirmed { .. }
            | State::Collecting { .. }
            | State::Canceled { .. } => {}
        }
        match left.late.as_mut().map(|late| &mut late.state) {
            Some(LateState::Stored { results }) => scrub(results),
            Some(LateState::Lost { failure }) => *failure = failure.without_message(),
            Some(LateState::Collecting { .. }) | None => {}
        }
        left
    }

    /// The attempt with this number.
    pub fn attempt_mut(&mut self, number: u32) -> Option<&mut Attempt> {
        self.attempts.iter_mut().find(|attempt| attempt.number == number)
    }
}
