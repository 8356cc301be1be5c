//! The results: on their way into our bucket, and what comes after the end.

use jiff::Timestamp;

use super::Unchanged;
use super::step::{Decided, Step};
use super::{Decision, Posting, Send};
use crate::credits::Credits;
use crate::failure::{Failure, FailureClass};
use crate::generation::{AttemptResult, Job, Late, LateState, Outcome, State, StoredResult};

impl Step<'_> {
    /// The customer has been told that it ended and has the credits back: store what came, charge nothing.
    pub(super) fn came_late(&self, attempt: u32, job: Option<&Job>, outcome: &Outcome) -> Decided {
        if self.generation.late.is_some() {
            return Err(Unchanged::AlreadySo);
        }
        // What was erased does not come back.
        if self.generation.erasure.is_some() {
            return Err(Unchanged::TooLate);
        }
        let state = LateState::Collecting { job: job.cloned(), outcome: outcome.clone(), tries: 0 };
        let due_at = self.generation.due_at.unwrap_or(self.now + self.rules.requeue_every);
        let mut decision = self.decision(self.generation.state.clone(), Some(due_at));
        decision.next.late = Some(Late { attempt, arrived_at: self.now, state });
        decision.answer(attempt, self.now, AttemptResult::Succeeded, job.map(|job| job.id.clone()));
        decision.send.push(Send::Collect);
        Ok(decision)
    }

    /// A collect worker takes the copying on itself until its lease is over. Two of them do no harm: their copies are the same.
    pub(super) fn collecting(&self, attempt: u32) -> Decided {
        let due_at = Some(self.now + self.rules.collect_lease);
        if let Some(late) = self.pending_late().filter(|late| late.attempt == attempt) {
            let LateState::Collecting { job, outcome, tries } = &late.state else { return Err(Unchanged::AlreadySo) };
            let taken = LateState::Collecting { job: job.clone(), outcome: outcome.clone(), tries: tries + 1 };
            let mut decision = self.late_becomes(taken, &[]);
            if self.generation.state.is_terminal() {
                decision.next.due_at = due_at;
            }
            return Ok(decision);
        }
        self.current(attempt)?;
        let State::Collecting { job, outcome, since, tries } = &self.generation.state else { return Err(Unchanged::AlreadySo) };
        let state = State::Collecting { job: job.clone(), outcome: outcome.clone(), since: *since, tries: tries + 1 };
        Ok(self.decision(state, due_at))
    }

    pub(super) fn stored(&self, attempt: u32, results: &[StoredResult]) -> Decided {
        if self.pending_late().is_some_and(|late| late.attempt == attempt) {
            return Ok(self.late_becomes(LateState::Stored { results: results.to_vec() }, results));
        }
        self.current(attempt)?;
        match &self.generation.state {
            State::Collecting { .. } => {}
            // The poll looks through the bucket once more, and deletes what came.
            State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. } if self.generation.erasure.is_some() => {
                return Err(Unchanged::TooLate);
            }
            // Given up meanwhile, and the customer has the credits back: the results are theirs all the same.
            State::Failed { .. } | State::Canceled { .. } if self.generation.late.is_none() => {
                let mut decision = self.decision(self.generation.state.clone(), None);
                let state = LateState::Stored { results: results.to_vec() };
                decision.next.late = Some(Late { attempt, arrived_at: self.now, state });
                decision.assets = results.to_vec();
                return Ok(decision);
            }
            State::Queued { .. }
            | State::Claimed { .. }
            | State::Running { .. }
            | State::Unconfirmed { .. }
            | State::Succeeded { .. }
            | State::Failed { .. }
            | State::Canceled { .. } => return Err(Unchanged::AlreadySo),
        }
        let charged = self.price_of(results.len());
        let state = State::Succeeded { results: results.to_vec(), charged, finished_at: self.now };
        let mut decision = self.decision(state, self.late_due());
        decision.posting = Some(Posting::Charge { hold: self.generation.hold(), charge: charged });
        decision.assets = results.to_vec();
        Ok(decision)
    }

    /// What so many results cost: never more than the hold, and nothing when there is none.
    fn price_of(&self, results: usize) -> Credits {
        let (hold, prices) = (self.generation.hold, &self.generation.order.price_by_results);
        let Some(last) = results.checked_sub(1) else { return Credits::ZERO };
        prices.get(last).map_or(hold, |price| hold.min(*price))
    }

    /// This copy has failed; the next one begins when it falls due.
    pub(super) fn collect_delayed(&self, attempt: u32, failure: &Failure) -> Decided {
        if let Some(late) = self.pending_late().filter(|late| late.attempt == attempt) {
            let LateState::Collecting { tries, .. } = late.state else { return Err(Unchanged::AlreadySo) };
            if self.results_are_gone(late.arrived_at) {
                return Ok(self.late_becomes(LateState::Lost { failure: failure.clone() }, &[]));
            }
            // Until the generation has ended its due time is its own, a deadline above all: the late result has to wait.
            if !self.generation.state.is_terminal() {
                return Err(Unchanged::NotYet);
            }
            let mut decision = self.late_becomes(late.state.clone(), &[]);
            decision.next.due_at = Some(self.now + self.rules.retry.after(tries));
            return Ok(decision);
        }
        self.current(attempt)?;
        let State::Collecting { since, tries, .. } = &self.generation.state else { return Err(Unchanged::AlreadySo) };
        if self.results_are_gone(*since) {
            return self.collect_failed(attempt, failure);
        }
        let due_at = self.now + self.rules.retry.after(*tries);
        let mut decision = self.decision(self.generation.state.clone(), Some(due_at));
        self.nudge_before_the_tick(&mut decision, due_at);
        Ok(decision)
    }

    pub(super) fn results_are_gone(&self, since: Timestamp) -> bool {
        self.now.duration_since(since) >= self.rules.collect_for
    }

    pub(super) fn collect_failed(&self, attempt: u32, failure: &Failure) -> Decided {
        if self.pending_late().is_some_and(|late| late.attempt == attempt) {
            return Ok(self.late_becomes(LateState::Lost { failure: failure.clone() }, &[]));
        }
        self.current(attempt)?;
        let State::Collecting { .. } = self.generation.state else { return Err(Unchanged::AlreadySo) };
        let mut decision = self.end_failed(failure);
        decision.answer(attempt, self.now, AttemptResult::Failed { failure: failure.clone() }, None);
        Ok(decision)
    }

    /// The message was lost, still waits, or its worker did not report back: send it again, ever more rarely.
    pub(super) fn collect_is_due(&self, since: Timestamp, tries: u32) -> Decided {
        if self.nobody_copies(since, tries) {
            let failure = Failure::new(FailureClass::ResultLost, "the result could not be copied");
            return self.collect_failed(self.generation.attempt(), &failure);
        }
        let mut decision = self.decision(self.generation.state.clone(), Some(self.now + self.resend_pause(since)));
        decision.send.push(Send::Collect);
        Ok(decision)
    }

    pub(super) fn late_is_due(&self) -> Decided {
        let late = self.pending_late().ok_or(Unchanged::AlreadySo)?;
        let LateState::Collecting { tries, .. } = &late.state else { return Err(Unchanged::AlreadySo) };
        if self.nobody_copies(late.arrived_at, *tries) {
            let failure = Failure::new(FailureClass::ResultLost, "the late result could not be copied");
            return Ok(self.late_becomes(LateState::Lost { failure }, &[]));
        }
        let mut decision = self.late_becomes(late.state.clone(), &[]);
        decision.next.due_at = Some(self.now + self.resend_pause(late.arrived_at));
        decision.send.push(Send::Collect);
        Ok(decision)
    }

    /// Copying was begun and the time is over; or no worker could begin it for as long as anything may wait.
    pub(super) fn nobody_copies(&self, since: Timestamp, tries: u32) -> bool {
        (tries > 0 && self.results_are_gone(since)) || self.now.duration_since(since) >= self.rules.queue_limit
    }

    pub(super) fn pending_late(&self) -> Option<&Late> {
        self.generation.late.as_ref().filter(|late| matches!(late.state, LateState::Collecting { .. }))
    }

    /// A generation that ends while a late result of an earlier attempt is still being copied stays in the due index for it.
    pub(super) fn late_due(&self) -> Option<Timestamp> {
        self.pending_late().map(|_| self.now + self.rules.collect_lease)
    }

    pub(super) fn late_becomes(&self, state: LateState, assets: &[StoredResult]) -> Decision {
        let due_at = if self.generation.state.is_terminal() { None } else { self.generation.due_at };
        let mut decision = self.decision(self.generation.state.clone(), due_at);
        if let Some(late) = &mut decision.next.late {
            late.state = state;
        }
        decision.assets = assets.to_vec();
        decision
    }
}
