//! Writing what was decided: one transaction a transition.

use jiff::{SignedDuration, Timestamp};

use super::accounts::PostOutcome;
use super::items;
use super::transact::{Conflict, Role, Write, Written};
use super::{Accepted, CommitError, IdempotencyClaim, IdempotencyRecord, Store, StoreError};
use crate::assets::Asset;
use crate::generation::Generation;
use crate::ids::AccountId;
use crate::ledger::{Account, Posting};
use crate::lifecycle::Decision;
use crate::pool::PoolChange;

impl Store {
    /// Writes a new generation, its hold, the account and the idempotency record, all or nothing.
    pub async fn accept(
        &self,
        generation: &Generation,
        claim: Option<&IdempotencyClaim>,
        now: Timestamp,
    ) -> Result<Accepted, StoreError> {
        let hold = Posting::Hold { generation: generation.id, amount: generation.hold };
        let others = |before: &Account, after: &Account| {
            let mut writes = vec![Write::new(Role::Generation, items::generation(generation, self.due_shards)?)];
            if let Some(claim) = claim {
                let record = record(generation, claim, before, after, now);
                let item = items::idempotency(generation.account, &claim.key_hash, &record)?;
                writes.push(Write::new_or_expired(Role::Idempotency, item, items::n(now.as_second())));
            }
            Ok(writes)
        };
        match self.post(generation.account, &hold, now, others).await? {
            PostOutcome::Posted { before, after } => {
                Ok(Accepted::New { balance_before: before.available, balance_after: after.available })
            }
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
        Ok(entry.map(|entry| Accepted::New {
            balance_before: entry.balance_after.plus(entry.amount).unwrap_or(entry.balance_after),
            balance_after: entry.balance_after,
        }))
    }

    async fn own_or_earlier_answer(
        &self,
        generation: &Generation,
        claim: Option<&IdempotencyClaim>,
        now: Timestamp,
    ) -> Result<Option<Accepted>, StoreError> {
        let Some(claim) = claim else { return Ok(None) };
        Ok(self.earlier_answer(generation.account, claim, now).await?.map(|earlier| match earlier {
            // Our own transaction, whose answer was lost.
            Accepted::Replayed(record) if record.generation == generation.id => {
                Accepted::New { balance_before: record.balance_before, balance_after: record.balance_after }
            }
            other @ (Accepted::New { .. } | Accepted::Replayed(_) | Accepted::KeyReused | Accepted::Refused(_)) => other,
        }))
    }

    /// What became of an earlier request with this key: replayed, or refused because it was another request.
    pub async fn earlier_answer(
        &self,
        account: AccountId,
        claim: &IdempotencyClaim,
        now: Timestamp,
    ) -> Result<Option<Accepted>, StoreError> {
        let record = self.idempotency(account, &claim.key_hash).await?;
        // In whole seconds, as the condition that frees a key compares them: no moment is between used and free.
        let record = record.filter(|record| record.expires_at.as_second() >= now.as_second());
        Ok(record.map(|record| if record.payload == claim.payload { Accepted::Replayed(record) } else { Accepted::KeyReused }))
    }

    /// Writes a decision and what it means for a provider's pool, if the generation and the pool are still as they were when it was decided.
    pub async fn commit(&self, decision: &Decision, pool: &[PoolChange], now: Timestamp) -> Result<(), CommitError> {
        let next = &decision.next;
        let others = || -> Result<Vec<Write>, StoreError> {
            let item = items::generation(next, self.due_shards)?;
            let mut writes = vec![Write::over_version(Role::Generation, item, items::n(next.version - 1))];
            let attempt = decision.attempt.and_then(|number| next.attempts.iter().find(|attempt| attempt.number == number));
            if let Some(attempt) = attempt {
                writes.push(Write::always(Role::Attempt, items::attempt(next.id, attempt)?));
            }
            for result in &decision.assets {
                writes.push(Write::new(Role::Asset, items::asset(&Asset::generated(result, next, now))?));
            }
            for change in pool {
                writes.extend(super::pool::writes(change)?);
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

    /// Writes a new upload.
    pub async fn put_asset(&self, asset: &Asset) -> Result<(), StoreError> {
        self.put(&Write::always(Role::Asset, items::asset(asset)?)).await.map(|_| ())
    }
}

impl CommitError {
    fn of(conflicts: &[Conflict]) -> Self {
        let only_pool = conflicts.iter().all(|conflict| conflict.role == Role::Pool);
        if only_pool { Self::PoolChanged } else { Self::Stale }
    }
}

fn record(
    generation: &Generation,
    claim: &IdempotencyClaim,
    before: &Account,
    after: &Account,
    now: Timestamp,
) -> IdempotencyRecord {
    IdempotencyRecord {
        payload: claim.payload.clone(),
        generation: generation.id,
        cost: generation.hold,
        balance_before: before.available,
        balance_after: after.available,
        created_at: generation.created_at,
        expires_at: now + SignedDuration::try_from(claim.keep).unwrap_or(SignedDuration::MAX),
    }
}
