//! Writing what was decided: one transaction a transition.

use jiff::{SignedDuration, Timestamp};

use super::accounts::PostOutcome;
use super::items;
use super::transact::{Conflict, Role, Write, Written};
use super::{Accepted, CommitError, IdempotencyClaim, IdempotencyRecord, Store, StoreError};
use crate::assets::Asset;
use crate::generation::Generation;
use crate::ledger::{Account, Posting};
use crate::lifecycle::Decision;

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
            PostOutcome::Refused(refusal) => match self.earlier_answer(generation, claim, now).await? {
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
        if let Some(earlier) = self.earlier_answer(generation, claim, now).await? {
            return Ok(earlier);
        }
        // The id is ours alone: if its hold exists, an earlier sending of this very transaction was written and its answer lost.
        if conflicts.iter().any(|conflict| conflict.role == Role::Entry)
            && let Some(entry) = self.entry(generation.account, &format!("hold#{}", generation.id)).await?
        {
            let balance_before = entry.balance_after.plus(entry.amount).unwrap_or(entry.balance_after);
            return Ok(Accepted::New { balance_before, balance_after: entry.balance_after });
        }
        Err(StoreError::Missing { what: format!("a free place for generation `{}`", generation.id) })
    }

    async fn earlier_answer(
        &self,
        generation: &Generation,
        claim: Option<&IdempotencyClaim>,
        now: Timestamp,
    ) -> Result<Option<Accepted>, StoreError> {
        let Some(claim) = claim else { return Ok(None) };
        let record = self.idempotency(generation.account, &claim.key_hash).await?;
        // In whole seconds, as the condition that frees a key compares them: no moment is between used and free.
        let alive = |record: &IdempotencyRecord| record.expires_at.as_second() >= now.as_second();
        Ok(record.filter(alive).map(|record| {
            if record.payload != claim.payload {
                Accepted::KeyReused
            } else if record.generation == generation.id {
                // Our own transaction, whose answer was lost.
                Accepted::New { balance_before: record.balance_before, balance_after: record.balance_after }
            } else {
                Accepted::Replayed(record)
            }
        }))
    }

    /// Writes a decision, if the generation is still as it was when it was decided.
    pub async fn commit(&self, decision: &Decision, now: Timestamp) -> Result<(), CommitError> {
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
            Ok(writes)
        };
        let Some(posting) = &decision.posting else {
            let writes = others()?;
            let done = match writes.as_slice() {
                [only] => self.put(only).await?,
                several => matches!(self.transact(several).await?, Written::Done),
            };
            return if done { Ok(()) } else { Err(CommitError::Stale) };
        };
        match self.post(next.account, posting, now, |_, _| others()).await? {
            PostOutcome::Posted { .. } => Ok(()),
            PostOutcome::Conflict(_) => Err(CommitError::Stale),
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
