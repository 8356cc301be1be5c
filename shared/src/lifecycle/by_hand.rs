//! What operators do to a generation.

use super::step::{Decided, Step};
use super::{Send, Unchanged};
use crate::credits::Credits;
use crate::failure::{Charge, Failure, FailureClass};
use crate::generation::{AttemptResult, Late, LateState, Resolution, State};
use crate::ledger::Note;

impl Step<'_> {
    /// An operator's word stands above the failure policy and a cancellation that is under way. What the provider delivers all the same is
    /// stored as late.
    pub(super) fn resolve(&self, charge: Charge, note: &Note) -> Decided {
        match &self.generation.state {
            State::Queued { .. }
            | State::Claimed { .. }
            | State::Running { .. }
            | State::Unconfirmed { .. }
            | State::Collecting { .. } => {}
            State::Failed { .. } if self.is_resolved(charge, note) => return Err(Unchanged::AlreadySo),
            State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. } => return Err(Unchanged::TooLate),
        }
        let charged = match charge {
            Charge::None => Credits::ZERO,
            Charge::Full => self.generation.hold,
        };
        let failure = Failure::new(FailureClass::Resolved, "an operator ended it");
        let mut decision = self.end(State::Failed { failure, charged, finished_at: self.now }, charged);
        decision.next.resolution = Some(Resolution { charge, note: note.clone(), at: self.now });
        if let State::Collecting { job, outcome, .. } = &self.generation.state
            && self.generation.late.is_none()
        {
            let state = LateState::Collecting { job: job.clone(), outcome: outcome.clone(), tries: 0 };
            decision.next.late = Some(Late { attempt: self.generation.attempt(), arrived_at: self.now, state });
            decision.next.due_at = Some(self.now + self.rules.requeue_every);
            decision.send.push(Send::Collect);
        }
        Ok(decision)
    }

    fn is_resolved(&self, charge: Charge, note: &Note) -> bool {
        self.generation.resolution.as_ref().is_some_and(|own| own.charge == charge && own.note == *note)
    }

    pub(super) fn retry_now(&self) -> Decided {
        match &self.generation.state {
            State::Queued { waiting, .. } => {
                let mut decision = self.queue_again(jiff::SignedDuration::ZERO);
                decision.next.state = State::Queued { not_before: self.now, waiting: waiting.clone() };
                Ok(decision)
            }
            State::Claimed { .. } => Err(Unchanged::NotYet),
            State::Running { .. } => {
                let mut decision = self.decision(self.generation.state.clone(), Some(self.now));
                decision.send.push(Send::Nudge { at: self.now });
                Ok(decision)
            }
            State::Unconfirmed { .. } => {
                let attempt = self.generation.attempt();
                let failure = Failure::new(FailureClass::Resolved, "an operator says that the provider does not have it");
                if self.generation.cancel_requested_at.is_some() {
                    return self.failed(attempt, &failure, None);
                }
                let mut decision = self.queue_again(jiff::SignedDuration::ZERO);
                decision.answer(attempt, self.now, AttemptResult::Failed { failure }, None);
                Ok(decision)
            }
            State::Collecting { .. } => {
                let mut decision = self.decision(self.generation.state.clone(), Some(self.now + self.rules.requeue_every));
                decision.send.push(Send::Collect);
                Ok(decision)
            }
            State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. } => Err(Unchanged::TooLate),
        }
    }
}
