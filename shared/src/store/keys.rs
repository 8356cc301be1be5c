//! API keys, and what operators did by hand.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::accounts::remember;
use super::items::{self, Key};
use super::read::{Page, seal, unseal};
use super::transact::{Changes, Check, Role, Write};
use super::{Changed, Store, StoreError};
use crate::clock::random_bytes;
use crate::idempotency::{IdempotencyClaim, IdempotencyRecord};
use crate::ids::{AccountId, ActionId, ApiKeyId};
use crate::keys::{ApiKey, KeyTerms, key_of};
use crate::ledger::Account;
use crate::signature::fingerprint;

/// A key with the fingerprint that it is found by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FiledKey {
    /// SHA-256 of the key.
    pub hash: String,
    #[serde(flatten)]
    pub key: ApiKey,
}

impl FiledKey {
    /// A new key of an account: the key itself, to be told once, and what is kept of it.
    pub fn make(account: AccountId, terms: KeyTerms, now: Timestamp) -> (String, Self) {
        let text = key_of(random_bytes());
        let id = ApiKeyId::from_parts(unix_ms(now), random_bytes());
        let filed = Self::of(&text, id, account, terms, now);
        (text, filed)
    }

    /// What is kept of the key `text`.
    pub fn of(text: &str, id: ApiKeyId, account: AccountId, terms: KeyTerms, now: Timestamp) -> Self {
        Self { hash: fingerprint(text.as_bytes()), key: ApiKey::new(id, account, text, terms, now) }
    }
}

/// Something an operator did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    pub id: ActionId,
    /// Whose account it was done to; the operator's own, where it was done to none.
    pub account: AccountId,
    pub at: Timestamp,
    /// The API key that was used; none: from the command line on the table itself.
    pub by: Option<ApiKeyId>,
    /// A word: `grant`, `release`, `revoke_key`, …
    pub what: String,
    /// The id of what it was done to.
    pub about: String,
    /// In the operator's words.
    pub reason: Option<String>,
}

impl Action {
    /// What an operator does now; `by`: with which key.
    pub fn new(account: AccountId, by: Option<ApiKeyId>, what: &str, about: &str, reason: Option<&str>, now: Timestamp) -> Self {
        let id = ActionId::from_parts(unix_ms(now), random_bytes());
        let reason = reason.map(str::to_owned);
        Self { id, account, at: now, by, what: what.to_owned(), about: about.to_owned(), reason }
    }
}

fn unix_ms(now: Timestamp) -> u64 {
    u64::try_from(now.as_millisecond()).unwrap_or(0)
}

/// A key's last use is written at most so often.
pub const USE_NOTED_EVERY: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

impl Store {
    /// Files a new key: from then on it opens its account. The key itself is never stored. [`Changed::AlreadySo`]: the key or the request
    /// is there already.
    pub async fn add_key(
        &self,
        filed: &FiledKey,
        action: &Action,
        remembered: Option<(&IdempotencyClaim, IdempotencyRecord)>,
        now: Timestamp,
    ) -> Result<Changed, StoreError> {
        let ApiKey { account, id, limits, .. } = filed.key;
        let ends_at = filed.key.ends_at();
        let others = || -> Result<Vec<Write>, StoreError> {
            let mut writes: Vec<Write> = items::api_key(filed)?.into_iter().map(|item| Write::new(Role::ApiKey, item)).collect();
            writes.push(Write::new(Role::Action, items::action(action)?));
            if let Some((claim, record)) = &remembered {
                writes.push(remember(claim, record, now)?);
            }
            Ok(writes)
        };
        let outcome = self.change(account, |own| own.with_key(id, limits, ends_at, now), |_, _| others()).await?;
        outcome.into_changed()
    }

    /// Ends a key, or lets it end at its `expires_at`; `replacement` is filed in the same transaction. [`Changed::AlreadySo`]: the key is
    /// not as it was in `before` any more, or the replacement or the request is there already.
    pub async fn end_key(
        &self,
        before: &FiledKey,
        ended: &FiledKey,
        replacement: Option<&FiledKey>,
        action: &Action,
        remembered: Option<(&IdempotencyClaim, IdempotencyRecord)>,
        now: Timestamp,
    ) -> Result<Changed, StoreError> {
        let ApiKey { account, id, .. } = ended.key;
        let ends_at = ended.key.ends_at().unwrap_or(now);
        let others = || -> Result<Vec<Write>, StoreError> {
            let [shown, _] = items::api_key(ended)?;
            let unchanged = Check::Equals(items::value(before)?);
            let among = Changes::default().set(items::DOC, items::value(ended)?).only_if(items::DOC, unchanged);
            let among = Write::update(Role::ApiKey, Key::filed_key(account, id), among);
            let mut writes = vec![Write::always(Role::ApiKey, shown), among];
            if let Some(replacement) = replacement {
                writes.extend(items::api_key(replacement)?.into_iter().map(|item| Write::new(Role::ApiKey, item)));
            }
            writes.push(Write::new(Role::Action, items::action(action)?));
            if let Some((claim, record)) = &remembered {
                writes.push(remember(claim, record, now)?);
            }
            Ok(writes)
        };
        let decide = |own: &Account| {
            let ending = own.with_key_ending(id, ends_at, now);
            match replacement.map(|filed| &filed.key) {
                Some(new) => ending.account.with_key(new.id, new.limits, new.ends_at(), now),
                None => Ok(ending),
            }
        };
        self.change(account, decide, |_, _| others()).await?.into_changed()
    }

    /// Every key of an account that ever was, oldest first.
    pub async fn keys(&self, account: AccountId) -> Result<Vec<(FiledKey, Option<Timestamp>)>, StoreError> {
        let items = self.items_of(account, items::KEYS).await?;
        let with_use = items.into_iter().map(|item| {
            let used = items::number::<i64>(&item, LAST_USED).and_then(|ms| Timestamp::from_millisecond(ms).ok());
            Ok((items::read(item)?, used))
        });
        with_use.collect()
    }

    /// One key of an account.
    pub async fn key(&self, account: AccountId, id: ApiKeyId) -> Result<Option<FiledKey>, StoreError> {
        self.get(Key::filed_key(account, id)).await
    }

    /// Notes that a key was used, at most every [`USE_NOTED_EVERY`].
    pub async fn note_use(&self, account: AccountId, id: ApiKeyId, now: Timestamp) -> Result<(), StoreError> {
        let changes = Changes::default()
            .set(LAST_USED, items::millis(now))
            .only_if(LAST_USED, Check::AbsentOrBelow(items::millis(now - USE_NOTED_EVERY)))
            .only_if("pk", Check::Equals(AttributeValue::S(items::account_partition(account))));
        self.put(&Write::update(Role::ApiKey, Key::filed_key(account, id), changes)).await.map(|_| ())
    }

    /// What operators did to an account, newest first. `None` when the cursor is not one of ours.
    pub async fn actions(
        &self,
        account: AccountId,
        cursor: Option<&str>,
        limit: i32,
    ) -> Result<Option<Page<Action>>, StoreError> {
        let start = match cursor {
            None => None,
            Some(cursor) => match unseal(cursor).and_then(|text| text.parse::<ActionId>().ok()) {
                Some(id) => Some(Key::action(account, id).into_item()),
                None => return Ok(None),
            },
        };
        let query = self.client.query().table_name(&self.table).consistent_read(true).scan_index_forward(false).limit(limit);
        let answer = query
            .key_condition_expression("pk = :pk AND begins_with(sk, :sk)")
            .expression_attribute_values(":pk", items::s(items::account_partition(account)))
            .expression_attribute_values(":sk", items::s(items::ACTIONS))
            .set_exclusive_start_key(start)
            .send()
            .await;
        let answer = answer.map_err(|error| StoreError::table("list an account's actions", error))?;
        let more = answer.last_evaluated_key.is_some();
        let items: Vec<Action> = answer.items.unwrap_or_default().into_iter().map(items::read).collect::<Result<_, _>>()?;
        let next = items.last().filter(|_| more).map(|last| seal(&last.id.to_string()));
        Ok(Some(Page { items, next }))
    }

    /// Files what an operator does to no account, such as with the queues.
    pub async fn file_action(&self, action: &Action) -> Result<(), StoreError> {
        self.put(&Write::new(Role::Action, items::action(action)?)).await.map(|_| ())
    }

    /// What operators did to one thing of an account, oldest first.
    pub async fn actions_about(&self, account: AccountId, about: &str) -> Result<Vec<Action>, StoreError> {
        let items = self.items_of(account, items::ACTIONS).await?;
        let actions = items.into_iter().map(items::read::<Action>);
        actions.filter(|action| action.as_ref().map_or(true, |action| action.about == about)).collect()
    }

    /// Everything of one kind in an account's own partition, by sort key.
    pub(super) async fn items_of(&self, account: AccountId, prefix: &str) -> Result<Vec<items::Item>, StoreError> {
        let (mut all, mut start) = (Vec::new(), None);
        loop {
            let query = self.client.query().table_name(&self.table).consistent_read(true).set_exclusive_start_key(start);
            let answer = query
                .key_condition_expression("pk = :pk AND begins_with(sk, :sk)")
                .expression_attribute_values(":pk", items::s(items::account_partition(account)))
                .expression_attribute_values(":sk", items::s(prefix))
                .send()
                .await;
            let answer = answer.map_err(|error| StoreError::table("list an account's items", error))?;
            all.extend(answer.items.unwrap_or_default());
            match answer.last_evaluated_key {
                Some(next) => start = Some(next),
                None => return Ok(all),
            }
        }
    }
}

/// Beside the record, since whoever writes it has not read that.
const LAST_USED: &str = "last_used_at";
