//! Content erased on request: what was ordered and what was delivered go, the bill stays. And what was there for the making alone.

use jiff::SignedDuration;

use super::Unchanged;
use super::step::{Decided, Step};
use crate::generation::{Erasure, LateState, State, StoredResult};
use crate::ids::AssetId;

impl Step<'_> {
    /// From now on nothing of its content is shown. Whoever asked deletes the objects; if they do not come to an end, the poll does it.
    pub(super) fn erase_requested(&self) -> Decided {
        if self.generation.erasure.is_some() {
            return Err(Unchanged::AlreadySo);
        }
        if !self.generation.state.is_terminal() || self.pending_late().is_some() {
            return Err(Unchanged::NotYet);
        }
        let mut decision = self.decision(self.generation.state.clone(), Some(self.now + self.rules.requeue_every));
        decision.next.erasure = Some(Erasure::Erasing { since: self.now });
        Ok(decision)
    }

    /// The objects are deleted. A worker that had loaded the record before may still put something into the bucket: when every lease is over
    /// it is looked through once more, and that is the end of it.
    pub(super) fn erased(&self) -> Decided {
        let (state, due_at) = (self.generation.state.clone(), self.generation.due_at);
        match self.generation.erasure {
            None => Err(Unchanged::NotYet),
            Some(Erasure::Erasing { .. }) => {
                let mut decision = self.decision(state, Some(self.now + self.longest_lease()));
                let without_content = decision.next.without_content(self.now);
                decision.next = without_content;
                decision.next.erasure = Some(Erasure::Erased { at: self.now });
                // Whoever erases has deleted them too.
                decision.next.left_overs = false;
                Ok(decision)
            }
            Some(Erasure::Erased { .. }) => match due_at {
                None => Err(Unchanged::AlreadySo),
                Some(due) if self.now < due => Err(Unchanged::NotYet),
                Some(_) => Ok(self.decision(state, None)),
            },
        }
    }

    /// Nothing is left over from the making.
    pub(super) fn tidied(&self) -> Decided {
        if !self.generation.left_overs {
            return Err(Unchanged::AlreadySo);
        }
        let due_at = if self.generation.erasure.is_some() { self.generation.due_at } else { self.late_due() };
        let mut decision = self.decision(self.generation.state.clone(), due_at);
        decision.next.left_overs = false;
        Ok(decision)
    }

    fn longest_lease(&self) -> SignedDuration {
        self.rules.collect_lease.max(self.rules.claim_lease).max(self.rules.ask_lease)
    }

    /// The result stays listed with its id; the rest of it goes.
    pub(super) fn erase_result(&self, asset: AssetId) -> Decided {
        let mut decision = self.decision(self.generation.state.clone(), self.generation.due_at);
        let mut own: &mut [StoredResult] = &mut [];
        match &mut decision.next.state {
            State::Succeeded { results, .. } => own = results,
            State::Queued { .. }
            | State::Claimed { .. }
            | State::Running { .. }
            | State::Unconfirmed { .. }
            | State::Collecting { .. }
            | State::Failed { .. }
            | State::Canceled { .. } => {}
        }
        let mut late: &mut [StoredResult] = &mut [];
        match decision.next.late.as_mut().map(|late| &mut late.state) {
            Some(LateState::Stored { results }) => late = results,
            Some(LateState::Collecting { .. } | LateState::Lost { .. }) | None => {}
        }
        let there = own.iter_mut().chain(late).find(|result| result.asset == asset && result.erased_at.is_none());
        let result = there.ok_or(Unchanged::AlreadySo)?;
        *result = result.without_content(self.now);
        Ok(decision)
    }
}
