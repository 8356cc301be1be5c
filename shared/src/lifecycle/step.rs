//! The transitions, one function an event.

use jiff::{SignedDuration, Timestamp};

use super::{Decision, Rules, Send, TICK, Unchanged};
use crate::credits::Credits;
use crate::failure::{Charge, Failure, FailureClass, Retry};
use crate::generation::{Ambiguity, AttemptResult, Generation, Job, Outcome, State};
use crate::ledger::Posting;

/// One event's view of the record.
pub(super) struct Step<'a> {
    pub(super) generation: &'a Generation,
    pub(super) rules: &'a Rules,
    pub(super) now: Timestamp,
    /// The attempt is known to have reached nobody.
    pub(super) is_unsent: bool,
}

pub(super) type Decided = Result<Decision, Unchanged>;

impl Step<'_> {
    pub(super) fn decision(&self, state: State, due_at: Option<Timestamp>) -> Decision {
        let mut next = self.generation.clone();
        next.version += 1;
        next.state = state;
        next.due_at = due_at;
        Decision { next, posting: None, attempt: None, assets: Vec::new(), send: Vec::new() }
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
        } else {
            self.retried(failure.class, retry_after).unwrap_or_else(|| self.end_failed(failure))
        };
        decision.answer(attempt, self.now, AttemptResult::Failed { failure: failure.clone() }, None);
        Ok(decision)
    }

    /// As a failure, but for the money. The one who says so may be slow, and given up as lost meanwhile.
    pub(super) fn unsent(&self, attempt: u32, failure: &Failure) -> Decided {
        self.current(attempt)?;
        match &self.generation.state {
            State::Claimed { .. } | State::Unconfirmed { .. } => Step { is_unsent: true, ..*self }.failed(attempt, failure, None),
            State::Queued { .. } | State::Running { .. } | State::Collecting { .. } => Err(Unchanged::AlreadySo),
            State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. } => Err(Unchanged::TooLate),
        }
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
        let mut decision = match (&self.generation.state, job) {
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
        }?;
        if let Some(own) = decision.next.attempt_mut(attempt) {
            own.woken_at = Some(self.now);
        }
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
            State::Queued { not_before, waiting } => self.due_in_queue(*not_before, waiting.as_ref()),
            State::Claimed { .. } => self.lost(self.generation.attempt(), Ambiguity::WorkerLost),
            // Only the provider knows: the poll function asks it and brings the answer as an event.
            State::Running { .. } => Err(Unchanged::AlreadySo),
            State::Unconfirmed { .. } => self.nobody_confirmed(),
            State::Collecting { since, tries, .. } => self.collect_is_due(*since, *tries),
            State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. } => self.late_is_due(),
        }
    }

    /// Only now, with the time for evidence over, may another provider be paid for the same order.
    fn nobody_confirmed(&self) -> Decided {
        let mut decision = if self.generation.cancel_requested_at.is_some() {
            self.end_canceled(FailureClass::Canceled)
        } else {
            let message = "the provider's answer was lost and no sign of the job came in time";
            match self.rules.policies.of(FailureClass::Expired).retry {
                Retry::Same | Retry::Next if self.generation.has_next_candidate() => self.next_candidate(),
                Retry::Same | Retry::Next | Retry::No => self.end_failed(&Failure::new(FailureClass::Expired, message)),
            }
        };
        decision.attempt = Some(self.generation.attempt());
        Ok(decision)
    }

    /// As long as it has waited: in a backlog the message is still in the queue, and copies of it only make the backlog longer.
    pub(super) fn resend_pause(&self, since: Timestamp) -> SignedDuration {
        self.rules.requeue_every.max(self.now.duration_since(since)).min(self.rules.queue_limit)
    }

    pub(super) fn end_failed(&self, failure: &Failure) -> Decision {
        let charged = self.charge_for(failure.class);
        let state = State::Failed { failure: failure.clone(), charged, finished_at: self.now };
        self.end(state, charged)
    }

    fn end_canceled(&self, class: FailureClass) -> Decision {
        let charged = self.charge_for(class);
        self.end(State::Canceled { charged, finished_at: self.now }, charged)
    }

    pub(super) fn end(&self, state: State, charged: Credits) -> Decision {
        let mut decision = self.decision(state, self.late_due());
        let hold = self.generation.hold();
        decision.posting =
            Some(if charged > Credits::ZERO { Posting::Charge { hold, charge: charged } } else { Posting::Release { hold } });
        decision
    }

    pub(super) fn charge_for(&self, class: FailureClass) -> Credits {
        // While it waits nothing of it is at a provider: nothing can be billed for its end.
        if self.is_unsent || matches!(self.generation.state, State::Queued { .. }) {
            return Credits::ZERO;
        }
        match self.rules.policies.of(class).charge {
            Charge::None => Credits::ZERO,
            Charge::Full => self.generation.hold,
        }
    }

    pub(super) fn current(&self, attempt: u32) -> Result<(), Unchanged> {
        if attempt != 0 && attempt == self.generation.attempt() { Ok(()) } else { Err(Unchanged::StaleAttempt) }
    }

    pub(super) fn nudge_before_the_tick(&self, decision: &mut Decision, due_at: Timestamp) {
        if due_at.duration_since(self.now) < TICK {
            decision.send.push(Send::Nudge { at: due_at });
        }
    }
}
