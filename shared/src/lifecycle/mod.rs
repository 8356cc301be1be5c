//! What may happen to a generation: `decide` takes the record, one event and the time, and says what to write and what to send.
//!
//! Pure: no clock, no network. Every event may come twice, late or out of order; whatever does not apply leaves the record as it is
//! and says why ([`Unchanged`]). Money moves in three places only: a hold is closed by a charge on `Stored`, by what the failure policy
//! says on a failure or cancellation, or by an operator's word; all are moves into a terminal state, from which there is no way back.

use jiff::{SignedDuration, Timestamp};

use crate::failure::{Charge, Failure, Policies};
use crate::generation::{Ambiguity, AttemptResult, Generation, Job, Outcome, Prepared, StoredResult};
use crate::ids::AssetId;
use crate::ledger::{Note, Posting};
use crate::pool::{KeyId, Waiting};

mod by_hand;
mod collection;
mod erasure;
mod step;
#[cfg(test)]
pub(crate) mod tests;
mod waiting;

/// The times and limits that a provider's manifest and the configuration set.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How long a worker may take for the submit before it counts as lost.
    pub claim_lease: SignedDuration,
    /// How long a worker may take to copy the results before another one tries.
    pub collect_lease: SignedDuration,
    /// How long a worker may take to ask the provider before another one asks.
    pub ask_lease: SignedDuration,
    /// How long the provider may work on the job.
    pub run_limit: SignedDuration,
    /// How long a lost submit waits for evidence.
    pub unconfirmed_for: SignedDuration,
    /// When to ask the provider.
    pub poll: Backoff,
    /// When to try again after a certain refusal that may pass.
    pub retry: Backoff,
    /// Submitting twice costs nothing: a lost answer is simply submitted again.
    pub submit_repeat_safe: bool,
    /// Attempts with one provider, when no other one comes after it in the chain.
    pub max_attempts: u32,
    /// Attempts with one provider, when another one comes after it.
    pub max_attempts_before_next: u32,
    /// Attempts with one provider that only ever asks to slow down.
    pub max_throttled: u32,
    /// How long the results can be had: copying them is tried for so long, and at least once.
    pub collect_for: SignedDuration,
    /// When a waiting generation is put on the queue again for the first time; each further pause is as long as it has waited.
    pub requeue_every: SignedDuration,
    /// How long a generation may wait in all.
    pub queue_limit: SignedDuration,
    /// What failures cost.
    pub policies: Policies,
}

/// A growing, capped interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first interval.
    pub first: SignedDuration,
    /// Each interval is this many percent of the one before; at least 100.
    pub growth_percent: u32,
    /// Never longer than this.
    pub max: SignedDuration,
}

impl Backoff {
    /// The interval after `count` earlier ones.
    pub fn after(&self, count: u32) -> SignedDuration {
        let mut ms = self.first.as_millis();
        for _ in 0..count.min(64) {
            ms = (ms * i128::from(self.growth_percent) / 100).min(self.max.as_millis());
        }
        SignedDuration::from_millis(i64::try_from(ms.min(self.max.as_millis())).unwrap_or(i64::MAX))
    }
}

/// Something that happened, or that somebody wants to happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A dispatch worker wants to submit it, with this key.
    Claim { key: Option<KeyId>, holds_slot: bool },
    /// All slots of the provider are taken, or it is out of order: it has to wait, in a line or until a known time.
    Wait { waiting: Option<Waiting>, until: Option<Timestamp> },
    /// What has to be made ready before the submit is; nothing has been sent yet.
    Prepared { attempt: u32, prepared: Prepared },
    /// The current candidate cannot be asked at all: the next one is to do it.
    PassOver,
    /// The provider took the job.
    Accepted { attempt: u32, job: Job },
    /// The provider refuses the key of this attempt, and there is another key to try.
    KeyRefused { attempt: u32, failure: Failure },
    /// The provider refused or failed the job, for certain.
    Failed { attempt: u32, failure: Failure, retry_after: Option<SignedDuration> },
    /// Nothing was sent, for certain: the order could not be made ready, or was canceled before it was. That is never billed.
    Unsent { attempt: u32, failure: Failure },
    /// The submit's answer was lost.
    Lost { attempt: u32, reason: Ambiguity },
    /// The provider finished the job.
    Succeeded { attempt: u32, job: Option<Job>, outcome: Outcome },
    /// The provider stopped the job.
    ProviderCanceled { attempt: u32 },
    /// A poll worker is about to ask the provider.
    Asking { attempt: u32 },
    /// The provider says that it is still at it.
    StillRunning { attempt: u32, progress: Option<u8>, queue_position: Option<u32> },
    /// The provider could not be asked.
    AskFailed { attempt: u32 },
    /// Somebody who knows the callback address, without proof of being the provider, says that there is news.
    Woken { attempt: u32, job: Option<Job> },
    /// A collect worker is about to copy the results.
    Collecting { attempt: u32 },
    /// The results are in our bucket.
    Stored { attempt: u32, results: Vec<StoredResult> },
    /// The results could not be copied this time.
    CollectDelayed { attempt: u32, failure: Failure },
    /// The results cannot be copied at all.
    CollectFailed { attempt: u32, failure: Failure },
    /// The customer wants it stopped.
    CancelRequested,
    /// Its content is to be erased.
    EraseRequested,
    /// Its objects are deleted, and so is what was filed of them.
    Erased,
    /// The content of one of its results is to be erased.
    EraseResult { asset: AssetId },
    /// What was in the bucket for the making alone is gone from it.
    Tidied,
    /// `due_at` has passed.
    Due,
    /// An operator ends it, whatever it waits for: the hold is released, or charged in full.
    Resolve { charge: Charge, note: Note },
    /// An operator wants it to go on at once. Of an unconfirmed one the operator vouches by this that the provider does not have the job.
    RetryNow,
}

/// What to write in one transaction, and what to send after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The new record, `version` already raised.
    pub next: Generation,
    /// The change of the account, if money moves.
    pub posting: Option<Posting>,
    /// The attempt whose own row has to be written too.
    pub attempt: Option<u32>,
    /// Results to be filed as assets.
    pub assets: Vec<StoredResult>,
    /// Messages; sending them twice does no harm, and the poll replaces a lost one.
    pub send: Vec<Send>,
}

/// A message to a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Send {
    /// To a dispatch worker.
    Dispatch { after: SignedDuration },
    /// To a collect worker.
    Collect,
    /// To a poll worker, to look at it when it falls due.
    Nudge { at: Timestamp },
}

/// Why nothing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unchanged {
    /// It had happened before.
    #[error("it is already so")]
    AlreadySo,
    /// It belongs to an attempt that is over.
    #[error("it belongs to an earlier attempt")]
    StaleAttempt,
    /// The generation is past the point where this is possible.
    #[error("it comes too late")]
    TooLate,
    /// Its time has not come.
    #[error("it is not due yet")]
    NotYet,
}

/// A poll that falls due within this span is sent with a delay at once instead of waiting for the next minute's tick.
pub const TICK: SignedDuration = SignedDuration::from_secs(60);

/// The one place where a generation changes.
pub fn decide(generation: &Generation, event: &Event, rules: &Rules, now: Timestamp) -> Result<Decision, Unchanged> {
    let mut decision = decide_alone(generation, event, rules, now)?;
    let next = &mut decision.next;
    if next.state.is_terminal() && !generation.state.is_terminal() && next.needs_tidying() {
        next.left_overs = true;
        next.due_at = Some(now);
        decision.send.push(Send::Nudge { at: now });
    } else if next.left_overs && next.due_at.is_none() {
        next.due_at = Some(now);
    }
    Ok(decision)
}

fn decide_alone(generation: &Generation, event: &Event, rules: &Rules, now: Timestamp) -> Result<Decision, Unchanged> {
    let step = step::Step { generation, rules, now, is_unsent: false };
    match event {
        Event::Claim { key, holds_slot } => step.claim(key.as_ref(), *holds_slot),
        Event::Wait { waiting, until } => step.wait(waiting.as_ref(), *until),
        Event::Prepared { attempt, prepared } => step.prepared(*attempt, prepared),
        Event::PassOver => step.pass_over(),
        Event::Accepted { attempt, job } => step.accepted(*attempt, job),
        Event::KeyRefused { attempt, failure } => step.key_refused(*attempt, failure),
        Event::Unsent { attempt, failure } => step.unsent(*attempt, failure),
        Event::Failed { attempt, failure, retry_after } => step.failed(*attempt, failure, *retry_after),
        Event::Lost { attempt, reason } => step.lost(*attempt, *reason),
        Event::Succeeded { attempt, job, outcome } => step.succeeded(*attempt, job.as_ref(), outcome),
        Event::ProviderCanceled { attempt } => step.provider_canceled(*attempt),
        Event::Asking { attempt } => step.asking(*attempt),
        Event::StillRunning { attempt, progress, queue_position } => step.still_running(*attempt, *progress, *queue_position),
        Event::AskFailed { attempt } => step.still_running(*attempt, None, None),
        Event::Woken { attempt, job } => step.woken(*attempt, job.as_ref()),
        Event::Collecting { attempt } => step.collecting(*attempt),
        Event::Stored { attempt, results } => step.stored(*attempt, results),
        Event::CollectDelayed { attempt, failure } => step.collect_delayed(*attempt, failure),
        Event::CollectFailed { attempt, failure } => step.collect_failed(*attempt, failure),
        Event::CancelRequested => step.cancel_requested(),
        Event::EraseRequested => step.erase_requested(),
        Event::Erased => step.erased(),
        Event::EraseResult { asset } => step.erase_result(*asset),
        Event::Tidied => step.tidied(),
        Event::Due => step.due(),
        Event::Resolve { charge, note } => step.resolve(*charge, note),
        Event::RetryNow => step.retry_now(),
    }
}

/// SQS delays a message by at most 15 minutes.
const MAX_DELAY: SignedDuration = SignedDuration::from_mins(15);

impl Decision {
    fn answer(&mut self, number: u32, now: Timestamp, result: AttemptResult, job: Option<String>) {
        if let Some(attempt) = self.next.attempt_mut(number) {
            attempt.answered_at = Some(now);
            attempt.result = result;
            attempt.job = job.or_else(|| attempt.job.take());
        }
        self.attempt = Some(number);
    }
}
