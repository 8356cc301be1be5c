//! Writing what was decided: one transaction a transition.

use jiff::Timestamp;

use super::accounts::{PostOutcome, remember};
use super::items;
use super::transact::{Conflict, Role, Write, Written};
use super::{Accepted, Action, CommitError, Store, StoreError};
use crate::api::CreatedGeneration;
use crate::assets::Asset;
use crate::credits::Credits;
use crate::generation::{Funds, Generation};
use crate::idempotency::{Earlier, IdempotencyClaim, IdempotencyRecord};
use crate::ids::BoxId;
use crate::ledger::{Account, Posted, Posting};
use crate::lifecycle::Decision;
use crate::pool::PoolChange;

/// What is written together with a change that an operator makes by hand.
#[derive(Debug)]
pub struct ByHand<'a> {
    pub action: &'a Action,
    /// The request's claim on its key, and what is remembered of it.
    pub remembered: Option<(&'a IdempotencyClaim, IdempotencyRecord)>,
}

impl Store {
    /// Writes a new generation, its hold, the account, the idempotency record and the operator's action, if one had it made, all or nothing.
    pub async fn accept(
        &self,
        generation: &Generation,
        claim: Option<&IdempotencyClaim>,
        action: Option<&Action>,
        now: Timestamp,
    ) -> Result<Accepted, StoreError> {
        let hold = Posting::Hold { generation: generation.id, amount: generation.hold, key: generation.funds.key };
        let others = |before: &Account, posted: &Posted| {
            let funds = Funds { key: generation.funds.key, from: posted.taken.clone(), held_at: posted.at };
            let held = Generation { funds, ..generation.clone() };
            let mut writes = vec![Write::new(Role::Generation, items::generation(&held, self.due_shards)?)];
            if let Some(claim) = claim {
                let created = created(generation, before, posted, now);
                let answer = serde_json::to_value(created).unwrap_or_default();
                writes.push(remember(claim, &claim.record(generation.id, answer, now), now)?);
            }
            if let Some(action) = action {
                writes.push(Write::new(Role::Action, items::action(action)?));
            }
            Ok(writes)
        };
        match self.post(generation.account, &hold, now, others).await? {
            PostOutcome::Posted { before, posted } => Ok(Accepted::New(created(generation, &before, &posted, now))),
            // A repeated request is answered as it was the first time, even when the balance would not allow it again.
            PostOutcome::Refused(refusal) => match self.own_or_earlier_answer(generation, claim, now).await? {
                Some(earlier) => Ok(earlier),
                None => Ok(Accepted::Refused(refusal)),
            },
            PostOutcome::Conflict(conflicts) => self.accept_conflict(generation, claim, conflicts, now).await,
        }
    }

    async fn accept_conflict(
        &self,
        generation: &Generation,
        claim: Option<&IdempotencyClaim>,
        conflicts: Vec<Conflict>,
        now: Timestamp,
    ) -> Result<Accepted, StoreError> {
        if let Some(earlier) = self.own_or_earlier_answer(generation, claim, now).await? {
            return Ok(earlier);
        }
        if conflicts.iter().any(|conflict| conflict.role == Role::Entry)
            && let Some(accepted) = self.accepted(generation).await?
        {
            return Ok(accepted);
        }
        Err(StoreError::Missing { what: format!("a free place for generation `{}`", generation.id) })
    }

    /// Whether this very generation was accepted: its id is ours alone, so its hold is in the ledger only if our transaction was written.
    pub async fn accepted(&self, generation: &Generation) -> Result<Option<Accepted>, StoreError> {
        let entry = self.entry(generation.account, &format!("hold#{}", generation.id)).await?;
        Ok(entry.map(|entry| {
            let before = entry.balance_after.plus(entry.amount).unwrap_or(entry.balance_after);
            Accepted::New(CreatedGeneration::of(generation, before, entry.balance_after))
        }))
    }

    async fn own_or_earlier_answer(
        &self,
        generation: &Generation,
        claim: Option<&IdempotencyClaim>,
        now: Timestamp,
    ) -> Result<Option<Accepted>, StoreError> {
        let Some(claim) = claim else { return Ok(None) };
        Ok(self.earlier_generation(claim, now).await?.map(|earlier| match earlier {
            // Our own transaction, whose answer was lost.
            Accepted::Replayed(created) if created.id == generation.id => Accepted::New(created),
            other @ (Accepted::New(_) | Accepted::Replayed(_) | Accepted::KeyReused | Accepted::Refused(_)) => other,
        }))
    }

    /// What became of an earlier request for a generation with this key: replayed, or refused because it was another request.
    pub async fn earlier_generation(&self, claim: &IdempotencyClaim, now: Timestamp) -> Result<Option<Accepted>, StoreError> {
        Ok(match self.earlier(claim, now).await? {
            None => None,
            Some(Earlier::Other) => Some(Accepted::KeyReused),
            Some(Earlier::Same(record)) => {
                let created = serde_json::from_value(record.answer);
                Some(Accepted::Replayed(created.map_err(|error| StoreError::table("read a remembered answer", error))?))
            }
        })
    }

    /// What is remembered of an earlier request with this key.
    pub async fn earlier(&self, claim: &IdempotencyClaim, now: Timestamp) -> Result<Option<Earlier>, StoreError> {
        let record = self.idempotency(claim.account, &claim.key_hash).await?;
        // In whole seconds, as the condition that frees a key compares them: no moment is between used and free.
        let record = record.filter(|record| record.expires_at.as_second() >= now.as_second());
        Ok(record.map(|record| if record.payload == claim.payload { Earlier::Same(record) } else { Earlier::Other }))
    }

    /// The box that the results are to be put into, if it is still open: a paid result is filed whatever becomes of its box.
    async fn box_for(&self, decision: &Decision) -> Result<Option<BoxId>, StoreError> {
        let Some(id) = decision.next.order.box_id.filter(|_| !decision.assets.is_empty()) else { return Ok(None) };
        let found = self.asset_box(decision.next.account, id).await?;
        Ok(found.filter(|found| found.removal.is_none()).map(|found| found.id))
    }

    /// Writes a decision, what it means for a provider's pool, and what belongs to it when an operator made it, if the generation and the pool
    /// are still as they were when it was decided.
    pub async fn commit(
        &self,
        decision: &Decision,
        pool: &[PoolChange],
        by_hand: Option<&ByHand<'_>>,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        let next = &decision.next;
        let box_id = self.box_for(decision).await?;
        let others = || -> Result<Vec<Write>, StoreError> {
            let item = items::generation(next, self.due_shards)?;
            let mut writes = vec![Write::over_version(Role::Generation, item, items::n(next.version - 1))];
            let attempt = decision.attempt.and_then(|number| next.attempts.iter().find(|attempt| attempt.number == number));
            if let Some(attempt) = attempt {
                writes.push(Write::always(Role::Attempt, items::attempt(next.id, attempt)?));
            }
            for result in &decision.assets {
                writes.extend(self.asset_writes(None, &Asset::generated(result, next, box_id))?);
            }
            writes.extend(box_id.map(|id| Store::box_is_open(next.account, id)));
            for change in pool {
                writes.extend(super::pool::writes(change)?);
            }
            if let Some(ByHand { action, remembered }) = by_hand {
                writes.push(Write::new(Role::Action, items::action(action)?));
                if let Some((claim, record)) = remembered {
                    writes.push(remember(claim, record, now)?);
                }
            }
            Ok(writes)
        };
        let Some(posting) = &decision.posting else {
            let writes = others()?;
            let refused = match writes.as_slice() {
                [only] if self.put(only).await? => return Ok(()),
                [_] => return Err(CommitError::Stale),
                several => match self.transact(several).await? {
                    Written::Done => return Ok(()),
                    Written::Refused(conflicts) => conflicts,
                },
            };
            return Err(CommitError::of(&refused));
        };
        match self.post(next.account, posting, now, |_, _| others()).await? {
            PostOutcome::Posted { .. } => Ok(()),
            PostOutcome::Conflict(conflicts) => Err(CommitError::of(&conflicts)),
            // The generation may have been settled by somebody else, whose posting took the held credits. If not, the books are wrong.
            PostOutcome::Refused(refusal) => match self.generation(next.id).await? {
                Some(current) if current.version != next.version - 1 => Err(CommitError::Stale),
                Some(_) | None => Err(StoreError::Books { account: next.account, refusal }.into()),
            },
        }
    }
}

impl CommitError {
    fn of(conflicts: &[Conflict]) -> Self {
        if conflicts.iter().any(|conflict| matches!(conflict.role, Role::Action | Role::Idempotency)) {
            return Self::Repeated;
        }
        // The box is being removed since it was looked at; what was decided stands, and is decided once more.
        if conflicts.iter().all(|conflict| conflict.role == Role::Box) {
            return Self::Stale;
        }
        let only_pool = conflicts.iter().all(|conflict| conflict.role == Role::Pool);
        if only_pool { Self::PoolChanged } else { Self::Stale }
    }
}

/// What ended before the hold is not part of the balance any more.
fn created(generation: &Generation, before: &Account, posted: &Posted, now: Timestamp) -> CreatedGeneration {
    let after: Credits = posted.account.available;
    CreatedGeneration::of(generation, before.spendable(now), after)
}
