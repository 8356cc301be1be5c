//! Reads: single records strongly consistent, lists from the indexes.

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::items::{self, DueItem, Item, Key, Listing};
use super::{Store, StoreError};
use crate::account_erasure::AccountErasure;
use crate::assets::Asset;
use crate::boxes::AssetBox;
use crate::generation::{Generation, State};
use crate::idempotency::IdempotencyRecord;
use crate::ids::{AccountId, AssetId, BoxId, GenerationId};
use crate::keys::ApiKey;
use crate::ledger::{Account, Entry};

/// One page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// Newest first.
    pub items: Vec<T>,
    /// Where the next page starts; none on the last one.
    pub next: Option<String>,
}

/// An entry of the due index.
#[derive(Debug, Clone)]
pub struct Due {
    pub record: DueRecord,
    pub account: AccountId,
    pub due_at: Timestamp,
    /// How it stands with a generation.
    pub job: Option<DueJob>,
}

/// How it stands with a generation that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueJob {
    /// [`State::phase`].
    pub phase: &'static str,
    /// Since when credits are held for it; none: it has ended.
    pub held_since: Option<Timestamp>,
    /// Since when its submit's answer is missing.
    pub unconfirmed_since: Option<Timestamp>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueRecord {
    Generation(GenerationId),
    /// The account itself: some of its credits end.
    Account,
    /// What is left of an asset that is being erased, or of an upload that was not completed.
    Asset(AssetId),
    /// A box that is being removed.
    Box(BoxId),
    /// The erasure of the account's content.
    Erasure,
}

impl Store {
    pub(super) async fn get<T: DeserializeOwned>(&self, key: Key) -> Result<Option<T>, StoreError> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key.into_item())).consistent_read(true);
        let answer = request.send().await.map_err(|error| StoreError::table("read an item", error))?;
        answer.item.map(items::read).transpose()
    }

    /// An account's counters.
    pub async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        self.get(Key::account(id)).await
    }

    /// A generation, whoever owns it.
    pub async fn generation(&self, id: GenerationId) -> Result<Option<Generation>, StoreError> {
        self.get(Key::generation(id)).await
    }

    /// An asset of this account.
    pub async fn asset(&self, account: AccountId, id: AssetId) -> Result<Option<Asset>, StoreError> {
        self.get(Key::asset(account, id)).await
    }

    /// What the API key with this fingerprint opens.
    pub async fn api_key(&self, hash: &str) -> Result<Option<ApiKey>, StoreError> {
        self.get(Key::api_key(hash)).await
    }

    /// One entry of an account's ledger.
    pub async fn entry(&self, account: AccountId, id: &str) -> Result<Option<Entry>, StoreError> {
        self.get(Key::entry_of(account, id)).await
    }

    pub(super) async fn idempotency(&self, account: AccountId, key_hash: &str) -> Result<Option<IdempotencyRecord>, StoreError> {
        self.get(Key::idempotency(account, key_hash)).await
    }

    /// An account's generations, newest first. `None` when the cursor is not one of ours.
    pub async fn generations(
        &self,
        account: AccountId,
        cursor: Option<&str>,
        limit: i32,
    ) -> Result<Option<Page<Generation>>, StoreError> {
        let start = match cursor {
            None => None,
            Some(cursor) => match unseal(cursor).and_then(|text| text.parse::<GenerationId>().ok()) {
                Some(id) => Some(start_key(Key::generation(id), &Listing::Generations.partition(account), &id.to_string())),
                None => return Ok(None),
            },
        };
        self.list(Listing::Generations.partition(account), start, limit, |generation: &Generation| generation.id.to_string())
            .await
            .map(Some)
    }

    async fn list<T: DeserializeOwned>(
        &self,
        partition: String,
        start: Option<Item>,
        limit: i32,
        cursor_of: impl Fn(&T) -> String,
    ) -> Result<Page<T>, StoreError> {
        let request = self.client.query().table_name(&self.table).index_name("by_account");
        let request = request.key_condition_expression("gsi_pk = :pk").expression_attribute_values(":pk", items::s(partition));
        let request = request.scan_index_forward(false).limit(limit).set_exclusive_start_key(start);
        let answer = request.send().await.map_err(|error| StoreError::table("list", error))?;
        let more = answer.last_evaluated_key.is_some();
        let items: Vec<T> = answer.items.unwrap_or_default().into_iter().map(items::read).collect::<Result<_, _>>()?;
        let next = items.last().filter(|_| more).map(|last| seal(&cursor_of(last)));
        Ok(Page { items, next })
    }

    /// The ids of all accounts, newest first. `None` when the cursor is not one of ours.
    pub async fn account_ids(&self, cursor: Option<&str>, limit: i32) -> Result<Option<Page<AccountId>>, StoreError> {
        let start = match cursor {
            None => None,
            Some(cursor) => match unseal(cursor).and_then(|text| text.parse::<AccountId>().ok()) {
                Some(id) => Some(start_key(Key::opened(id), items::ACCOUNTS, &id.to_string())),
                None => return Ok(None),
            },
        };
        self.list(items::ACCOUNTS.to_owned(), start, limit, AccountId::to_string).await.map(Some)
    }

    /// The cursor of the accounts after this one.
    pub fn cursor_after(account: AccountId) -> String {
        URL_SAFE_NO_PAD.encode(account.to_string())
    }

    /// The shards of the due index.
    pub fn due_shards(&self) -> std::ops::Range<u32> {
        0..self.due_shards.max(1)
    }

    /// One page of what falls due before a time, earliest first, with the key of the next page.
    pub async fn due(
        &self,
        shard: u32,
        before: Timestamp,
        start: Option<DueCursor>,
    ) -> Result<(Vec<Due>, Option<DueCursor>), StoreError> {
        let request = self.client.query().table_name(&self.table).index_name("due");
        let request = request
            .key_condition_expression("due_shard = :shard AND due_at < :before")
            .expression_attribute_values(":shard", items::s(items::due_shard(shard)))
            .expression_attribute_values(":before", items::millis(before))
            .limit(200)
            .set_exclusive_start_key(start.map(|start| start.0));
        let answer = request.send().await.map_err(|error| StoreError::table("read the due index", error))?;
        let due = answer.items.unwrap_or_default().into_iter().filter_map(|item| match due_of(item) {
            Ok(due) => due,
            // One record that this version cannot read must not hide the others.
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, shard, "a due record cannot be read");
                None
            }
        });
        Ok((due.collect(), answer.last_evaluated_key.map(DueCursor)))
    }
}

fn due_of(item: Item) -> Result<Option<Due>, StoreError> {
    let mut job = None;
    let (record, account, due_at) = match items::due_item(&item) {
        DueItem::Account => {
            let account: Account = items::read(item)?;
            (DueRecord::Account, account.id, account.due_at())
        }
        DueItem::Erasure => {
            let AccountErasure { account, due_at, .. } = items::read(item)?;
            (DueRecord::Erasure, account, due_at)
        }
        DueItem::Asset => {
            let Asset { id, account, due_at, .. } = items::read(item)?;
            (DueRecord::Asset(id), account, due_at)
        }
        DueItem::Box => {
            let own: AssetBox = items::read(item)?;
            (DueRecord::Box(own.id), own.account, own.due_at())
        }
        DueItem::Generation => {
            let Generation { id, account, due_at, created_at, state, .. } = items::read(item)?;
            let unconfirmed_since = if let State::Unconfirmed { since, .. } = &state { Some(*since) } else { None };
            let (phase, is_open) = (state.phase(), !state.is_terminal());
            job = Some(DueJob { phase, held_since: is_open.then_some(created_at), unconfirmed_since });
            (DueRecord::Generation(id), account, due_at)
        }
    };
    Ok(due_at.map(|due_at| Due { record, account, due_at, job }))
}

/// Where the next page of the due index starts.
#[derive(Debug)]
pub struct DueCursor(Item);

pub(super) fn start_key(key: Key, partition: &str, sort: &str) -> Item {
    let mut item = key.into_item();
    item.insert("gsi_pk".to_owned(), AttributeValue::S(partition.to_owned()));
    item.insert("gsi_sk".to_owned(), AttributeValue::S(sort.to_owned()));
    item
}

pub(super) fn seal(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A cursor says only where in the caller's own list to go on: the partition is never taken from it.
pub(super) fn unseal(cursor: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}
