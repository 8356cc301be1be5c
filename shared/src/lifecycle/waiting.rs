//! Before a provider has it: in the queue, in a provider's line, and back again after a refusal.

use jiff::{SignedDuration, Timestamp};

use super::step::{Decided, Step};
use super::{Decision, MAX_DELAY, Send, Unchanged};
use crate::failure::{Failure, FailureClass, Retry};
use crate::generation::{Attempt, AttemptResult, Prepared, State};
use crate::pool::{KeyId, Waiting};

impl Step<'_> {
    pub(super) fn claim(&self, key: Option<&KeyId>, holds_slot: bool) -> Decided {
        let State::Queued { not_before, .. } = self.generation.state else { return Err(Unchanged::AlreadySo) };
        if self.now < not_before {
            return Err(Unchanged::NotYet);
        }
        let lease_until = self.now + self.rules.claim_lease;
        let mut decision = self.decision(State::Claimed { lease_until }, Some(lease_until));
        let number = self.generation.attempt() + 1;
        let candidate = self.generation.candidate();
        decision.next.attempts.push(Attempt {
            number,
            provider: candidate.provider.clone(),
            model: candidate.model.clone(),
            candidate: self.generation.candidate,
            key: key.cloned(),
            holds_slot,
            claimed_at: self.now,
            woken_at: None,
            answered_at: None,
            job: None,
            result: AttemptResult::Submitting,
            prepared: Prepared::default(),
        });
        decision.attempt = Some(number);
        Ok(decision)
    }

    /// What its provider needs otherwise than it was ordered is ready. That took time: the submit has a whole lease before it.
    pub(super) fn prepared(&self, attempt: u32, prepared: &Prepared) -> Decided {
        self.current(attempt)?;
        let State::Claimed { .. } = self.generation.state else { return Err(Unchanged::AlreadySo) };
        let lease_until = self.now + self.rules.claim_lease;
        let mut decision = self.decision(State::Claimed { lease_until }, Some(lease_until));
        if let Some(own) = decision.next.attempt_mut(attempt) {
            own.prepared = prepared.clone();
        }
        decision.attempt = Some(attempt);
        Ok(decision)
    }

    /// It stays in the queue: in a line, whose head is sent for when a slot is free, or until a known time. Who stands in a line may go
    /// before that time, when there is room sooner; who does not has nobody to tell.
    pub(super) fn wait(&self, waiting: Option<&Waiting>, until: Option<Timestamp>) -> Decided {
        let State::Queued { not_before, waiting: before } = &self.generation.state else { return Err(Unchanged::AlreadySo) };
        if self.now < *not_before {
            return Err(Unchanged::NotYet);
        }
        let until = until.map(|until| until.clamp(self.now, self.now + MAX_DELAY));
        let waiting = waiting.or(before.as_ref()).cloned();
        let due_at = match until {
            Some(until) => until + self.rules.requeue_every,
            None => self.now + self.queue_pause(waiting.as_ref()),
        };
        // It is looked at soon enough as it is; one more message each time would be more and more of them.
        let is_planned = self.generation.due_at.is_some_and(|due| due > self.now && (until.is_none() || due <= due_at));
        if is_planned && waiting == *before {
            return Err(Unchanged::AlreadySo);
        }
        let not_before = until.filter(|_| waiting.is_none()).unwrap_or(*not_before);
        let mut decision = self.decision(State::Queued { not_before, waiting }, Some(due_at));
        if let Some(until) = until {
            decision.send.push(Send::Dispatch { after: until.duration_since(self.now) });
        }
        Ok(decision)
    }

    pub(super) fn pass_over(&self) -> Decided {
        let State::Queued { .. } = self.generation.state else { return Err(Unchanged::AlreadySo) };
        if !self.generation.has_next_candidate() {
            return Err(Unchanged::TooLate);
        }
        Ok(self.next_candidate())
    }

    pub(super) fn next_candidate(&self) -> Decision {
        let mut decision = self.queue_again(SignedDuration::ZERO);
        decision.next.candidate += 1;
        decision
    }

    /// One bad key among several is no reason to fail: the same provider is asked again at once, with another key.
    pub(super) fn key_refused(&self, attempt: u32, failure: &Failure) -> Decided {
        self.current(attempt)?;
        let is_submitting = matches!(self.generation.state, State::Claimed { .. } | State::Unconfirmed { .. });
        let is_wanted = self.generation.cancel_requested_at.is_none();
        if !is_submitting || !is_wanted || self.attempts_here() >= self.rules.max_attempts {
            return self.failed(attempt, failure, None);
        }
        let mut decision = self.queue_again(SignedDuration::ZERO);
        decision.answer(attempt, self.now, AttemptResult::Failed { failure: failure.clone() }, None);
        Ok(decision)
    }

    /// How often the current candidate was asked.
    fn attempts_here(&self) -> u32 {
        let here = self.generation.attempts.iter().filter(|attempt| attempt.candidate == self.generation.candidate).count();
        u32::try_from(here).unwrap_or(u32::MAX)
    }

    /// The next try after a failure of this class, with the same provider or the next one; none when it has ended.
    pub(super) fn retried(&self, class: FailureClass, retry_after: Option<SignedDuration>) -> Option<Decision> {
        let retry = self.rules.policies.of(class).retry;
        let here = self.attempts_here();
        let most = match class {
            _ if self.generation.has_next_candidate() => self.rules.max_attempts_before_next,
            FailureClass::Throttled => self.rules.max_throttled,
            FailureClass::RejectedInput
            | FailureClass::Moderated
            | FailureClass::Unavailable
            | FailureClass::ProviderAuth
            | FailureClass::ProviderFunds
            | FailureClass::ProviderFailed
            | FailureClass::ResultLost
            | FailureClass::Expired
            | FailureClass::Canceled
            | FailureClass::Internal
            | FailureClass::Resolved => self.rules.max_attempts,
        };
        match retry {
            Retry::Same if here < most => {
                Some(self.queue_again(retry_after.unwrap_or_else(|| self.rules.retry.after(here.saturating_sub(1)))))
            }
            Retry::Same | Retry::Next if self.generation.has_next_candidate() => Some(self.next_candidate()),
            Retry::Same | Retry::Next | Retry::No => None,
        }
    }

    pub(super) fn queue_again(&self, pause: SignedDuration) -> Decision {
        let not_before = self.now + pause.clamp(SignedDuration::ZERO, MAX_DELAY);
        let state = State::Queued { not_before, waiting: None };
        let mut decision = self.decision(state, Some(not_before + self.rules.requeue_every));
        decision.send.push(Send::Dispatch { after: not_before.duration_since(self.now) });
        decision
    }

    pub(super) fn due_in_queue(&self, not_before: Timestamp, waiting: Option<&Waiting>) -> Decided {
        if self.now.duration_since(self.generation.created_at) >= self.rules.queue_limit {
            let failure = Failure::new(FailureClass::Expired, "no worker could take it in time");
            return Ok(self.end_failed(&failure));
        }
        let state = State::Queued { not_before, waiting: waiting.cloned() };
        let mut decision = self.decision(state, Some(self.now.max(not_before) + self.queue_pause(waiting)));
        let after = not_before.duration_since(self.now).clamp(SignedDuration::ZERO, MAX_DELAY);
        decision.send.push(Send::Dispatch { after });
        Ok(decision)
    }

    /// In a line nobody's message is in the queue: only whoever ends sends for the next, and if that is lost, somebody has to come.
    pub(super) fn queue_pause(&self, waiting: Option<&Waiting>) -> SignedDuration {
        let pause = self.resend_pause(self.generation.created_at);
        if waiting.is_some() { pause.min(MAX_DELAY) } else { pause }
    }
}
