//! The transitions, one function an event.

use jiff::{SignedDuration, Timestamp};

use super::{Decision, MAX_DELAY, Rules, Send, TICK, Unchanged};
use crate::credits::Credits;
use crate::failure::{Charge, Failure, FailureClass, Retry};
use crate::generation::{Ambiguity, Attempt, AttemptResult, Generation, Job, Late, LateState, Outcome, State, StoredResult};
use crate::ledger::Posting;

/// One event's view of the record.
pub(super) struct Step<'a> {
    pub(super) generation: &'a Generation,
    pub(super) rules: &'a Rules,
    pub(super) now: Timestamp,
}

type Decided = Result<Decision, Unchanged>;

impl Step<'_> {
    fn decision(&self, state: State, due_at: Option<Timestamp>) -> Decision {
        let mut next = self.generation.clone();
        next.version += 1;
        next.state = state;
        next.due_at = due_at;
        Decision { next, posting: None, attempt: None, assets: Vec::new(), send: Vec::new() }
    }

    pub(super) fn claim(&self) -> Decided {
        let State::Queued { not_before } = self.generation.state else { return Err(Unchanged::AlreadySo) };
        if self.now < not_before {
            return Err(Unchanged::NotYet);
        }
        let lease_until = self.now + self.rules.claim_lease;
        let mut decision = self.decision(State::Claimed { lease_until }, Some(lease_until));
        let number = self.generation.attempt() + 1;
        decision.next.attempts.push(Attempt {
            number,
            provider: self.generation.order.provider.clone(),
            claimed_at: self.now,
            answered_at: None,
            job: None,
            result: AttemptResult::Submitting,
        });
        decision.attempt = Some(number);
        Ok(decision)
    }

    pub(super) fn accepted(&self, attempt: u32, job: &Job) -> Decided {
        self.current(attempt)?;
        match &self.generation.state {
            State::Claimed { .. } | State::Unconfirmed { .. } => Ok(self.run(attempt, job, self.rules.poll.after(0))),
            State::Running { .. } | State::Collecting { .. } | State::Queued { .. } => Err(Unchanged::AlreadySo),
            State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. } => Err(Unchanged::TooLate),
        }
    }

    fn run(&self, attempt: u32, job: &Job, first_poll: SignedDuration) -> Decision {
        // A customer who asked to cancel meanwhile is served by the very next poll.
        let wait = if self.generation.cancel_requested_at.is_some() { SignedDuration::ZERO } else { first_poll };
        let due_at = self.now + wait;
        let state = State::Running {
            job: job.clone(),
            since: self.now,
            expires_at: self.now + self.rules.run_limit,
            polls: 0,
            progress: None,
            queue_position: None,
        };
        let mut decision = self.decision(state, Some(due_at));
        decision.answer(attempt, self.now, AttemptResult::Accepted, Some(job.id.clone()));
        self.nudge_before_the_tick(&mut decision, due_at);
        decision
    }

    pub(super) fn failed(&self, attempt: u32, failure: &Failure, retry_after: Option<SignedDuration>) -> Decided {
        self.current(attempt)?;
        match &self.generation.state {
            State::Claimed { .. } | State::Running { .. } | State::Unconfirmed { .. } => {}
            State::Queued { .. } | State::Collecting { .. } => return Err(Unchanged::AlreadySo),
            State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. } => return Err(Unchanged::TooLate),
        }
        let canceling = self.generation.cancel_requested_at.is_some();
        let mut decision = if canceling {
            // The price is for what the provider did, not for what the customer wished.
            self.end_canceled(failure.class)
        } else if self.rules.policies.of(failure.class).retry == Retry::Same && attempt < self.rules.max_attempts {
            self.queue_again(retry_after.unwrap_or_else(|| self.rules.retry.after(attempt - 1)))
        } else {
            self.end_failed(failure)
        };
        decision.answer(attempt, self.now, AttemptResult::Failed { failure: failure.clone() }, None);
        Ok(decision)
    }

    fn queue_again(&self, pause: SignedDuration) -> Decision {
        let not_before = self.now + pause.clamp(SignedDuration::ZERO, MAX_DELAY);
        let mut decision = self.decision(State::Queued { not_before }, Some(not_before + self.rules.requeue_every));
        decision.send.push(Send::Dispatch { after: not_before.duration_since(self.now) });
        decision
    }

    pub(super) fn lost(&self, attempt: u32, reason: Ambiguity) -> Decided {
        self.current(attempt)?;
        let State::Claimed { .. } = self.generation.state else { return Err(Unchanged::AlreadySo) };
        if self.rules.submit_repeat_safe {
            let message = "the attempt was interrupted before its answer arrived";
            return self.failed(attempt, &Failure::new(FailureClass::Unavailable, message), Some(SignedDuration::ZERO));
        }
        let resolves_by = self.now + self.rules.unconfirmed_for;
        let mut decision = self.decision(State::Unconfirmed { reason, since: self.now, resolves_by }, Some(resolves_by));
        decision.answer(attempt, self.now, AttemptResult::Unconfirmed { reason }, None);
        self.nudge_before_the_tick(&mut decision, resolves_by);
        Ok(decision)
    }

    pub(super) fn succeeded(&self, attempt: u32, job: Option<&Job>, outcome: &Outcome) -> Decided {
        if attempt == 0 || attempt > self.generation.attempt() {
            return Err(Unchanged::StaleAttempt);
        }
        let current = attempt == self.generation.attempt();
        let known_job = match &self.generation.state {
            State::Running { job, .. } if current => Some(job),
            State::Claimed { .. } | State::Unconfirmed { .. } | State::Queued { .. } if current => None,
            State::Collecting { .. } | State::Succeeded { .. } if current => return Err(Unchanged::AlreadySo),
            State::Queued { .. }
            | State::Claimed { .. }
            | State::Running { .. }
            | State::Unconfirmed { .. }
            | State::Collecting { .. }
            | State::Succeeded { .. }
            | State::Failed { .. }
            | State::Canceled { .. } => return self.came_late(attempt, job, outcome),
        };
        let job = known_job.or(job).cloned();
        let job_id = job.as_ref().map(|job| job.id.clone());
        let state = State::Collecting { job, outcome: outcome.clone(), since: self.now, tries: 0 };
        let mut decision = self.decision(state, Some(self.now + self.rules.requeue_every));
        decision.answer(attempt, self.now, AttemptResult::Succeeded, job_id);
        decision.send.push(Send::Collect);
        Ok(decision)
    }

    /// The customer has been told that it ended and has the credits back: store what came, charge nothing.
    fn came_late(&self, attempt: u32, job: Option<&Job>, outcome: &Outcome) -> Decided {
        if self.generation.late.is_some() {
            return Err(Unchanged::AlreadySo);
        }
        let state = LateState::Collecting { job: job.cloned(), outcome: outcome.clone(), tries: 0 };
        let due_at = self.generation.due_at.unwrap_or(self.now + self.rules.requeue_every);
        let mut decision = self.decision(self.generation.state.clone(), Some(due_at));
        decision.next.late = Some(Late { attempt, arrived_at: self.now, state });
        decision.answer(attempt, self.now, AttemptResult::Succeeded, job.map(|job| job.id.clone()));
        decision.send.push(Send::Collect);
        Ok(decision)
    }

    pub(super) fn provider_canceled(&self, attempt: u32) -> Decided {
        self.current(attempt)?;
        if self.generation.cancel_requested_at.is_none() {
            let failure = Failure::new(FailureClass::ProviderFailed, "the provider stopped the job before it was done");
            return self.failed(attempt, &failure, None);
        }
        match &self.generation.state {
            State::Claimed { .. } | State::Running { .. } | State::Unconfirmed { .. } => {
                let mut decision = self.end_canceled(FailureClass::Canceled);
                decision.answer(attempt, self.now, AttemptResult::Canceled, None);
                Ok(decision)
            }
            State::Canceled { .. } => Err(Unchanged::AlreadySo),
            State::Queued { .. } | State::Collecting { .. } | State::Succeeded { .. } | State::Failed { .. } => {
                Err(Unchanged::TooLate)
            }
        }
    }

    pub(super) fn asking(&self, attempt: u32) -> Decided {
        self.current(attempt)?;
        let State::Running { .. } = self.generation.state else { return Err(Unchanged::AlreadySo) };
        if self.generation.due_at.is_some_and(|due| due > self.now) {
            return Err(Unchanged::NotYet);
        }
        Ok(self.decision(self.generation.state.clone(), Some(self.now + self.rules.ask_lease)))
    }

    pub(super) fn still_running(&self, attempt: u32, new_progress: Option<u8>, position: Option<u32>) -> Decided {
        self.current(attempt)?;
        let State::Running { job, since, expires_at, polls, progress, .. } = &self.generation.state else {
            return Err(Unchanged::AlreadySo);
        };
        if self.now >= *expires_at {
            let waited = self.now.duration_since(*since).as_secs();
            let failure = Failure::new(FailureClass::Expired, format!("the provider did not finish within {waited} s"));
            return self.failed(attempt, &failure, None);
        }
        let due_at = (self.now + self.rules.poll.after(polls + 1)).min(*expires_at);
        let state = State::Running {
            job: job.clone(),
            since: *since,
            expires_at: *expires_at,
            polls: polls + 1,
            progress: new_progress.max(*progress),
            queue_position: position,
        };
        let mut decision = self.decision(state, Some(due_at));
        self.nudge_before_the_tick(&mut decision, due_at);
        Ok(decision)
    }

    pub(super) fn woken(&self, attempt: u32, job: Option<&Job>) -> Decided {
        self.current(attempt)?;
        match (&self.generation.state, job) {
            (State::Running { .. }, _) => {
                let mut decision = self.decision(self.generation.state.clone(), Some(self.now));
                decision.send.push(Send::Nudge { at: self.now });
                Ok(decision)
            }
            // The callback names the job: now the provider can be asked.
            (State::Claimed { .. } | State::Unconfirmed { .. }, Some(job)) => Ok(self.run(attempt, job, SignedDuration::ZERO)),
            (State::Claimed { .. } | State::Unconfirmed { .. }, None) => Err(Unchanged::NotYet),
            (State::Queued { .. } | State::Collecting { .. }, _) => Err(Unchanged::AlreadySo),
            (State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. }, _) => Err(Unchanged::TooLate),
        }
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
        decision.posting = Some(Posting::Charge { generation: self.generation.id, held: self.generation.hold, charge: charged });
        decision.assets = results.to_vec();
        Ok(decision)
    }

    /// What so many results cost: never more than the hold.
    fn price_of(&self, results: usize) -> Credits {
        let (hold, each) = (self.generation.hold, self.generation.order.price_per_result);
        let count = u64::try_from(results).unwrap_or(u64::MAX);
        each.and_then(|each| each.times(count)).map_or(hold, |price| price.min(hold))
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

    fn results_are_gone(&self, since: Timestamp) -> bool {
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

    pub(super) fn cancel_requested(&self) -> Decided {
        match &self.generation.state {
            State::Queued { .. } => Ok(self.end_canceled(FailureClass::Canceled)),
            State::Claimed { .. } | State::Running { .. } | State::Unconfirmed { .. } => {
                if self.generation.cancel_requested_at.is_some() {
                    return Err(Unchanged::AlreadySo);
                }
                let mut decision = self.decision(self.generation.state.clone(), self.generation.due_at);
                decision.next.cancel_requested_at = Some(self.now);
                if let State::Running { .. } = self.generation.state {
                    decision.next.due_at = Some(self.now);
                    decision.send.push(Send::Nudge { at: self.now });
                }
                Ok(decision)
            }
            State::Canceled { .. } => Err(Unchanged::AlreadySo),
            // The provider has done the work and will bill it.
            State::Collecting { .. } | State::Succeeded { .. } | State::Failed { .. } => Err(Unchanged::TooLate),
        }
    }

    pub(super) fn due(&self) -> Decided {
        if self.generation.due_at.is_none_or(|due| due > self.now) {
            return Err(Unchanged::NotYet);
        }
        match &self.generation.state {
            State::Queued { not_before } => self.due_in_queue(*not_before),
            State::Claimed { .. } => self.lost(self.generation.attempt(), Ambiguity::WorkerLost),
            // Only the provider knows: the poll function asks it and brings the answer as an event.
            State::Running { .. } => Err(Unchanged::AlreadySo),
            State::Unconfirmed { .. } => self.nobody_confirmed(),
            State::Collecting { since, tries, .. } => self.collect_is_due(*since, *tries),
            State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. } => self.late_is_due(),
        }
    }

    fn due_in_queue(&self, not_before: Timestamp) -> Decided {
        if self.now.duration_since(self.generation.created_at) >= self.rules.queue_limit {
            let failure = Failure::new(FailureClass::Expired, "no worker could take it in time");
            return Ok(self.end_failed(&failure));
        }
        let state = State::Queued { not_before };
        let mut decision = self.decision(state, Some(self.now.max(not_before) + self.resend_pause(self.generation.created_at)));
        let after = not_before.duration_since(self.now).clamp(SignedDuration::ZERO, MAX_DELAY);
        decision.send.push(Send::Dispatch { after });
        Ok(decision)
    }

    fn nobody_confirmed(&self) -> Decided {
        let mut decision = if self.generation.cancel_requested_at.is_some() {
            self.end_canceled(FailureClass::Canceled)
        } else {
            let message = "the provider's answer was lost and no sign of the job came in time";
            self.end_failed(&Failure::new(FailureClass::Expired, message))
        };
        decision.attempt = Some(self.generation.attempt());
        Ok(decision)
    }

    /// The message was lost, still waits, or its worker did not report back: send it again, ever more rarely.
    fn collect_is_due(&self, since: Timestamp, tries: u32) -> Decided {
        if self.nobody_copies(since, tries) {
            let failure = Failure::new(FailureClass::ResultLost, "the result could not be copied");
            return self.collect_failed(self.generation.attempt(), &failure);
        }
        let mut decision = self.decision(self.generation.state.clone(), Some(self.now + self.resend_pause(since)));
        decision.send.push(Send::Collect);
        Ok(decision)
    }

    fn late_is_due(&self) -> Decided {
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
    fn nobody_copies(&self, since: Timestamp, tries: u32) -> bool {
        (tries > 0 && self.results_are_gone(since)) || self.now.duration_since(since) >= self.rules.queue_limit
    }

    /// As long as it has waited: in a backlog the message is still in the queue, and copies of it only make the backlog longer.
    fn resend_pause(&self, since: Timestamp) -> SignedDuration {
        self.rules.requeue_every.max(self.now.duration_since(since)).min(self.rules.queue_limit)
    }

    fn end_failed(&self, failure: &Failure) -> Decision {
        let charged = self.charge_for(failure.class);
        let state = State::Failed { failure: failure.clone(), charged, finished_at: self.now };
        self.end(state, charged)
    }

    fn end_canceled(&self, class: FailureClass) -> Decision {
        let charged = self.charge_for(class);
        self.end(State::Canceled { charged, finished_at: self.now }, charged)
    }

    fn end(&self, state: State, charged: Credits) -> Decision {
        let mut decision = self.decision(state, self.late_due());
        let (generation, held) = (self.generation.id, self.generation.hold);
        decision.posting = Some(if charged > Credits::ZERO {
            Posting::Charge { generation, held, charge: charged }
        } else {
            Posting::Release { generation, held }
        });
        decision
    }

    fn charge_for(&self, class: FailureClass) -> Credits {
        // While it waits nothing of it is at a provider: nothing can be billed for its end.
        if let State::Queued { .. } = self.generation.state {
            return Credits::ZERO;
        }
        match self.rules.policies.of(class).charge {
            Charge::None => Credits::ZERO,
            Charge::Full => self.generation.hold,
        }
    }

    fn current(&self, attempt: u32) -> Result<(), Unchanged> {
        if attempt != 0 && attempt == self.generation.attempt() { Ok(()) } else { Err(Unchanged::StaleAttempt) }
    }

    fn pending_late(&self) -> Option<&Late> {
        self.generation.late.as_ref().filter(|late| matches!(late.state, LateState::Collecting { .. }))
    }

    /// A generation that ends while a late result of an earlier attempt is still being copied stays in the due index for it.
    fn late_due(&self) -> Option<Timestamp> {
        self.pending_late().map(|_| self.now + self.rules.collect_lease)
    }

    fn late_becomes(&self, state: LateState, assets: &[StoredResult]) -> Decision {
        let due_at = if self.generation.state.is_terminal() { None } else { self.generation.due_at };
        let mut decision = self.decision(self.generation.state.clone(), due_at);
        if let Some(late) = &mut decision.next.late {
            late.state = state;
        }
        decision.assets = assets.to_vec();
        decision
    }

    fn nudge_before_the_tick(&self, decision: &mut Decision, due_at: Timestamp) {
        if due_at.duration_since(self.now) < TICK {
            decision.send.push(Send::Nudge { at: due_at });
        }
    }
}
