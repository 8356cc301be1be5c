//! Postings: an account, its entries and whatever else belongs to the same transaction.

use jiff::Timestamp;

use super::items;
use super::transact::{Conflict, Role, Write, Written, jitter};
use super::{Action, Changed, Memory, Store, StoreError};
use crate::idempotency::{IdempotencyClaim, IdempotencyRecord};
use crate::ids::AccountId;
use crate::ledger::{Account, AccountChange, Posted, Posting, Refusal};

/// What became of a change of an account.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "made once a posting and taken apart at once")]
pub(super) enum PostOutcome {
    /// Written: the account before, and what was posted.
    Posted { before: Account, posted: Posted },
    /// The fresh counters do not allow it.
    Refused(Refusal),
    /// Something else in the transaction had changed.
    Conflict(Vec<Conflict>),
}

/// How often a posting is tried again with fresh counters.
const MAX_RACES: u32 = 60;
/// So often it is tried again at once.
const RACES_AT_ONCE: u32 = 2;

impl PostOutcome {
    pub(super) fn into_changed(self) -> Result<Changed, StoreError> {
        Ok(match self {
            Self::Posted { posted, .. } => Changed::Done(Box::new(posted.account)),
            Self::Refused(refusal) => Changed::Refused(refusal),
            Self::Conflict(_) => Changed::AlreadySo,
        })
    }
}

impl Store {
    /// Posts to an account and writes `others` in the same transaction. A refusal is given only on counters read fresh.
    pub(super) async fn post(
        &self,
        id: AccountId,
        posting: &Posting,
        now: Timestamp,
        others: impl Fn(&Account, &Posted) -> Result<Vec<Write>, StoreError>,
    ) -> Result<PostOutcome, StoreError> {
        self.change(id, |account| account.post(posting, now), others).await
    }

    /// Writes what `decide` makes of an account, its entries and `others`, all or nothing; decided anew when somebody else was faster.
    pub(super) async fn change(
        &self,
        id: AccountId,
        decide: impl Fn(&Account) -> Result<Posted, Refusal>,
        others: impl Fn(&Account, &Posted) -> Result<Vec<Write>, StoreError>,
    ) -> Result<PostOutcome, StoreError> {
        let gate = self.gate(id);
        let mut memory = gate.lock().await;
        let mut raced: Option<Account> = None;
        for race in 0..MAX_RACES {
            // Taken out first: if this future is dropped half-way, nothing doubtful is remembered.
            let (before, fresh, alone) = match (raced.take(), std::mem::take(&mut *memory)) {
                (Some(account), _) => (account, true, false),
                (None, Memory::Trusted(account)) => (account, false, true),
                (None, Memory::Shared(last)) => {
                    let account = self.existing_account(id).await?;
                    let alone = account.version == last.version;
                    (account, true, alone)
                }
                (None, Memory::Nothing) => (self.existing_account(id).await?, true, true),
            };
            let posted = match decide(&before) {
                Ok(posted) => posted,
                Err(_) if !fresh => continue,
                Err(refusal) => {
                    *memory = Memory::Shared(before);
                    return Ok(PostOutcome::Refused(refusal));
                }
            };
            match self.transact(&self.account_writes(&before, &posted, &others)?).await? {
                Written::Done => {
                    let after = posted.account.clone();
                    *memory = if alone { Memory::Trusted(after) } else { Memory::Shared(after) };
                    return Ok(PostOutcome::Posted { before, posted });
                }
                Written::Refused(conflicts) if is_about_others(&conflicts) => return Ok(PostOutcome::Conflict(conflicts)),
                Written::Refused(conflicts) => {
                    self.count_race();
                    let own = conflicts.into_iter().find(|conflict| conflict.role == Role::Account);
                    raced = match own.and_then(|conflict| conflict.existing).filter(|_| race < RACES_AT_ONCE) {
                        Some(item) => Some(items::read(item)?),
                        // Many are at it: whoever waits a moment and looks again is more often the only one, and costs the table less.
                        None => {
                            tokio::time::sleep(jitter(race)).await;
                            Some(self.existing_account(id).await?)
                        }
                    };
                }
            }
        }
        Err(StoreError::TooBusy { tries: MAX_RACES })
    }

    fn account_writes(
        &self,
        before: &Account,
        posted: &Posted,
        others: impl Fn(&Account, &Posted) -> Result<Vec<Write>, StoreError>,
    ) -> Result<Vec<Write>, StoreError> {
        let account = items::account(&posted.account, self.due_shards)?;
        let entries = posted.entries.iter().map(|entry| Ok(Write::new(Role::Entry, items::entry(entry)?)));
        let mut writes = entries.collect::<Result<Vec<_>, StoreError>>()?;
        writes.push(Write::over_version(Role::Account, account, items::n(before.version)));
        writes.extend(others(before, posted)?);
        Ok(writes)
    }

    async fn existing_account(&self, id: AccountId) -> Result<Account, StoreError> {
        self.account(id).await?.ok_or_else(|| StoreError::Missing { what: format!("account `{id}`") })
    }

    /// Opens an account as it is handed in, with a first grant if it is to have one. Opening it again changes nothing.
    pub async fn open_account(
        &self,
        account: &Account,
        opening: Option<&Posting>,
        action: &Action,
        remembered: Option<(&IdempotencyClaim, IdempotencyRecord)>,
        now: Timestamp,
    ) -> Result<Changed, StoreError> {
        let posted = match opening.map(|grant| account.post(grant, now)) {
            Some(Ok(posted)) => posted,
            Some(Err(refusal)) => return Ok(Changed::Refused(refusal)),
            None => Posted { account: account.clone(), entries: Vec::new(), taken: Vec::new(), at: now },
        };
        let mut writes = vec![
            Write::new(Role::Account, items::account(&posted.account, self.due_shards)?),
            Write::new(Role::Opened, items::opened(account)?),
            Write::new(Role::Action, items::action(action)?),
        ];
        for entry in &posted.entries {
            writes.push(Write::new(Role::Entry, items::entry(entry)?));
        }
        if let Some((claim, record)) = remembered {
            writes.push(remember(claim, &record, now)?);
        }
        Ok(match self.transact(&writes).await? {
            Written::Done => Changed::Done(Box::new(posted.account)),
            Written::Refused(_) => Changed::AlreadySo,
        })
    }

    /// Posts what an operator asks for, and says so among the account's actions. [`Changed::AlreadySo`]: an entry of this reference, or the
    /// request itself, is there already.
    pub async fn post_by_hand(
        &self,
        account: AccountId,
        posting: &Posting,
        action: &Action,
        claim: Option<&IdempotencyClaim>,
        answer: impl Fn(&Posted) -> serde_json::Value,
        now: Timestamp,
    ) -> Result<Changed, StoreError> {
        let others = |_: &Account, posted: &Posted| -> Result<Vec<Write>, StoreError> {
            let mut writes = vec![Write::new(Role::Action, items::action(action)?)];
            if let Some(claim) = claim {
                writes.push(remember(claim, &claim.record(action.id, answer(posted), now), now)?);
            }
            Ok(writes)
        };
        self.post(account, posting, now, others).await?.into_changed()
    }

    /// Changes an account's settings.
    pub async fn change_account(&self, id: AccountId, change: &AccountChange, action: &Action) -> Result<Changed, StoreError> {
        let others = |_: &Account, _: &Posted| Ok(vec![Write::new(Role::Action, items::action(action)?)]);
        self.change(id, |account| Ok(account.changed(change)), others).await?.into_changed()
    }

    /// Takes away what has ended, if something has.
    pub async fn expire_credits(&self, id: AccountId, now: Timestamp) -> Result<(), StoreError> {
        let is_due = self.existing_account(id).await?.due_at().is_some_and(|due| due <= now);
        if is_due {
            self.post(id, &Posting::Expire, now, |_, _| Ok(Vec::new())).await?;
        }
        Ok(())
    }
}

/// Entries that are there already say nothing while the counters are not as they were: another process may have written, at that moment,
/// that the same credits have ended.
fn is_about_others(conflicts: &[Conflict]) -> bool {
    let has = |role: Role| conflicts.iter().any(|conflict| conflict.role == role);
    let others = conflicts.iter().any(|conflict| !matches!(conflict.role, Role::Account | Role::Entry));
    others || (has(Role::Entry) && !has(Role::Account))
}

pub(super) fn remember(claim: &IdempotencyClaim, record: &IdempotencyRecord, now: Timestamp) -> Result<Write, StoreError> {
    let item = items::idempotency(claim.account, &claim.key_hash, record)?;
    Ok(Write::new_or_expired(Role::Idempotency, item, items::n(now.as_second())))
}
