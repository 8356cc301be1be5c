//! Postings: an account, its entries and whatever else belongs to the same transaction.

use jiff::Timestamp;

use super::items::{self, Item};
use super::transact::{Conflict, Role, Write, Written};
use super::{ApiKey, Memory, Store, StoreError};
use crate::credits::Credits;
use crate::ids::AccountId;
use crate::ledger::{Account, Posting, Refusal};

/// What became of a posting.
#[derive(Debug)]
pub(super) enum PostOutcome {
    /// Written: the account before and after.
    Posted { before: Account, after: Account },
    /// The fresh counters do not allow it.
    Refused(Refusal),
    /// Something else in the transaction had changed.
    Conflict(Vec<Conflict>),
}

/// How often a posting is tried again with fresh counters.
const MAX_RACES: u32 = 60;

impl Store {
    /// Posts to an account and writes `others` in the same transaction. A refusal is given only on counters read fresh.
    pub(super) async fn post(
        &self,
        id: AccountId,
        posting: &Posting,
        now: Timestamp,
        others: impl Fn(&Account, &Account) -> Result<Vec<Write>, StoreError>,
    ) -> Result<PostOutcome, StoreError> {
        let gate = self.gate(id);
        let mut memory = gate.lock().await;
        let mut raced: Option<Account> = None;
        for _ in 0..MAX_RACES {
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
            let posted = match before.post(posting, now) {
                Ok(posted) => posted,
                Err(_) if !fresh => continue,
                Err(refusal) => {
                    *memory = Memory::Shared(before);
                    return Ok(PostOutcome::Refused(refusal));
                }
            };
            let account = Write::over_version(Role::Account, items::account(&posted.account)?, items::n(before.version));
            let entries = posted.entries.iter().map(|entry| Ok(Write::new(Role::Entry, items::entry(entry)?)));
            let mut writes = entries.collect::<Result<Vec<_>, StoreError>>()?;
            writes.push(account);
            writes.extend(others(&before, &posted.account)?);
            match self.transact(&writes).await? {
                Written::Done => {
                    let after = posted.account;
                    *memory = if alone { Memory::Trusted(after.clone()) } else { Memory::Shared(after.clone()) };
                    return Ok(PostOutcome::Posted { before, after });
                }
                Written::Refused(conflicts) if conflicts.iter().any(|conflict| conflict.role != Role::Account) => {
                    return Ok(PostOutcome::Conflict(conflicts));
                }
                Written::Refused(conflicts) => {
                    let existing = conflicts.into_iter().find_map(|conflict| conflict.existing);
                    raced = match existing {
                        Some(item) => Some(items::read(item)?),
                        None => Some(self.existing_account(id).await?),
                    };
                }
            }
        }
        Err(StoreError::TooBusy { tries: MAX_RACES })
    }

    async fn existing_account(&self, id: AccountId) -> Result<Account, StoreError> {
        self.account(id).await?.ok_or_else(|| StoreError::Missing { what: format!("account `{id}`") })
    }

    /// Opens an account with a first grant. Opening it again changes nothing.
    pub async fn open_account(&self, id: AccountId, grant: Credits, now: Timestamp) -> Result<(), StoreError> {
        let empty = Account::open(id, now);
        self.put(&Write::new(Role::Account, items::account(&empty)?)).await?;
        let posting = Posting::Grant { reference: "opening".to_owned(), amount: grant };
        match self.post(id, &posting, now, |_, _| Ok(Vec::new())).await? {
            // The entry is there already: granted by an earlier call.
            PostOutcome::Posted { .. } | PostOutcome::Conflict(_) => Ok(()),
            PostOutcome::Refused(refusal) => Err(StoreError::Books { account: id, refusal }),
        }
    }

    /// Files an API key under its fingerprint. The key itself is never stored.
    pub async fn put_api_key(&self, hash: &str, key: &ApiKey) -> Result<(), StoreError> {
        let item: Item = items::api_key(hash, key)?;
        self.put(&Write::always(Role::ApiKey, item)).await.map(|_| ())
    }
}
