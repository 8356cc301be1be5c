//! How records lie in the table: keys, index attributes, and the record itself under `doc`.

use std::collections::HashMap;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Action, Bucket, FiledKey, StoreError};
use crate::account_erasure::AccountErasure;
use crate::assets::Asset;
use crate::boxes::AssetBox;
use crate::catalog::entry::{CatalogEntry, CatalogKind};
use crate::generation::{Attempt, Generation};
use crate::idempotency::IdempotencyRecord;
use crate::ids::{AccountId, ActionId, ApiKeyId, AssetId, BoxId, GenerationId};
use crate::keys::ApiKey;
use crate::ledger::{Account, Entry};
use crate::pool::{KeyId, Waiter, Waiting};

pub(super) type Item = HashMap<String, AttributeValue>;

/// The sort key of an account's own item.
const ACCOUNT: &str = "account";
/// The sort key of the erasure of an account's content.
const ERASURE: &str = "erasure";
/// Where the catalog's entries lie.
pub(super) const CATALOG: &str = "C#";
/// The sort key of a generation's own item.
const GENERATION: &str = "generation";
/// Where the index lists the accounts.
pub(super) const ACCOUNTS: &str = "accounts";
/// What the sort keys of an account's assets begin with.
pub(super) const ASSETS: &str = "F#";
/// What the sort keys of an account's boxes begin with.
pub(super) const BOXES: &str = "B#";
/// What the sort keys of holds begin with; a generation's id follows.
pub(super) const HOLDS: &str = "L#hold#";
/// What the sort keys of an account's API keys begin with.
pub(super) const KEYS: &str = "K#";
/// What the sort keys of an account's entries begin with.
pub(super) const ENTRIES: &str = "L#";
/// What the sort keys of what operators did to an account begin with.
pub(super) const ACTIONS: &str = "X#";

pub(super) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// The primary key of an item.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) pk: String,
    pub(super) sk: String,
}

impl Key {
    pub(super) fn account(id: AccountId) -> Self {
        Self { pk: format!("A#{id}"), sk: ACCOUNT.to_owned() }
    }

    pub(super) fn erasure(account: AccountId) -> Self {
        Self { pk: account_partition(account), sk: ERASURE.to_owned() }
    }

    pub(super) fn entry(entry: &Entry) -> Self {
        Self::entry_of(entry.account, &entry.id)
    }

    /// An entry by its id.
    pub(super) fn entry_of(account: AccountId, id: &str) -> Self {
        Self { pk: account_partition(account), sk: format!("{ENTRIES}{id}") }
    }

    pub(super) fn asset(account: AccountId, id: AssetId) -> Self {
        Self { pk: account_partition(account), sk: format!("{ASSETS}{id}") }
    }

    pub(super) fn asset_box(account: AccountId, id: BoxId) -> Self {
        Self { pk: account_partition(account), sk: format!("{BOXES}{id}") }
    }

    /// How many boxes an account has.
    pub(super) fn box_count(account: AccountId) -> Self {
        Self { pk: account_partition(account), sk: "boxes".to_owned() }
    }

    /// That an asset is in a box.
    pub(super) fn member(account: AccountId, id: BoxId, asset: AssetId) -> Self {
        Self { pk: account_partition(account), sk: format!("{}{asset}", members(id)) }
    }

    pub(super) fn idempotency(account: AccountId, key_hash: &str) -> Self {
        Self { pk: format!("A#{account}"), sk: format!("I#{key_hash}") }
    }

    pub(super) fn generation(id: GenerationId) -> Self {
        Self { pk: format!("G#{id}"), sk: GENERATION.to_owned() }
    }

    fn attempt(id: GenerationId, number: u32) -> Self {
        Self { pk: format!("G#{id}"), sk: format!("T#{number:03}") }
    }

    /// What whoever shows a key gets to know of it.
    pub(super) fn api_key(hash: &str) -> Self {
        Self { pk: format!("K#{hash}"), sk: "key".to_owned() }
    }

    /// The same key among its account's.
    pub(super) fn filed_key(account: AccountId, id: ApiKeyId) -> Self {
        Self { pk: account_partition(account), sk: format!("{KEYS}{id}") }
    }

    /// Written once, so that listing the accounts costs nothing when they change.
    pub(super) fn opened(account: AccountId) -> Self {
        Self { pk: account_partition(account), sk: "opened".to_owned() }
    }

    /// What the requests of an account, or of one of its keys, are counted with.
    pub(super) fn bucket(bucket: Bucket) -> Self {
        let (account, whose) = match bucket {
            Bucket::Account(account) => (account, ACCOUNT.to_owned()),
            Bucket::Key(account, key) => (account, key.to_string()),
        };
        Self { pk: account_partition(account), sk: format!("R#{whose}") }
    }

    pub(super) fn action(account: AccountId, id: ActionId) -> Self {
        Self { pk: account_partition(account), sk: format!("{ACTIONS}{id}") }
    }

    pub(super) fn slots(provider: &str, key: &KeyId) -> Self {
        Self { pk: format!("S#{provider}#{key}"), sk: "slots".to_owned() }
    }

    /// Whose turn it was last in a provider's line.
    pub(super) fn line(provider: &str) -> Self {
        Self { pk: line_partition(provider), sk: "line".to_owned() }
    }

    /// The last round of an account in a provider's line.
    pub(super) fn line_account(provider: &str, account: AccountId) -> Self {
        Self { pk: line_partition(provider), sk: format!("account#{account}") }
    }

    /// The place that a generation has in a provider's line; `generation` is the text of its id.
    pub(super) fn place_of(provider: &str, generation: &str) -> Self {
        Self { pk: line_partition(provider), sk: format!("place#{generation}") }
    }

    pub(super) fn wait(waiting: &Waiting) -> Self {
        Self { pk: line_partition(&waiting.provider), sk: wait_key(&waiting.place) }
    }

    /// A catalog entry as it is now.
    pub(super) fn catalog(kind: CatalogKind, name: &str) -> Self {
        Self { pk: CATALOG.to_owned(), sk: format!("{}#{name}", kind.word()) }
    }

    /// One version of a catalog entry, for good.
    pub(super) fn catalog_version(kind: CatalogKind, name: &str, version: u32) -> Self {
        Self { pk: format!("{CATALOG}history"), sk: format!("{}#{name}#{version:010}", kind.word()) }
    }

    pub(super) fn into_item(self) -> Item {
        HashMap::from([("pk".to_owned(), s(self.pk)), ("sk".to_owned(), s(self.sk))])
    }
}

/// Where all of an account lies but its generations.
pub(super) fn account_partition(account: AccountId) -> String {
    format!("A#{account}")
}

/// What the sort keys of what is in a box begin with; an asset's id follows.
pub(super) fn members(id: BoxId) -> String {
    format!("M#{id}#")
}

/// Where a provider's line lies.
pub(super) fn line_partition(provider: &str) -> String {
    format!("S#{provider}")
}

/// The sort key of a place; those of a line sort as they are served.
pub(super) fn wait_key(place: &str) -> String {
    format!("wait#{place}")
}

/// What the index `by_account` lists together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    Generations,
    Ledger,
}

impl Listing {
    pub(super) fn partition(self, account: AccountId) -> String {
        match self {
            Self::Generations => format!("A#{account}#G"),
            Self::Ledger => format!("A#{account}#L"),
        }
    }
}

/// Where the record itself lies in its item.
pub(super) const DOC: &str = "doc";

fn document(key: Key, doc: &impl Serialize) -> Result<Item, StoreError> {
    let mut item = key.into_item();
    item.insert(DOC.to_owned(), value(doc)?);
    Ok(item)
}

pub(super) fn read<T: DeserializeOwned>(mut item: Item) -> Result<T, StoreError> {
    let doc = item.remove(DOC).unwrap_or(AttributeValue::Null(true));
    serde_dynamo::aws_sdk_dynamodb_1::from_attribute_value(doc).map_err(StoreError::encoding)
}

pub(super) fn account(account: &Account, due_shards: u32) -> Result<Item, StoreError> {
    let mut item = document(Key::account(account.id), account)?;
    item.insert("version".to_owned(), n(account.version));
    add_due(&mut item, &account.id.to_string(), account.due_at(), due_shards);
    Ok(item)
}

pub(super) fn opened(account: &Account) -> Result<Item, StoreError> {
    let mut item = document(Key::opened(account.id), &account.id)?;
    item.insert("gsi_pk".to_owned(), s(ACCOUNTS));
    item.insert("gsi_sk".to_owned(), s(account.id.to_string()));
    Ok(item)
}

/// What kind of record a due item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DueItem {
    Account,
    Erasure,
    Asset,
    Box,
    Generation,
}

pub(super) fn due_item(item: &Item) -> DueItem {
    match item.get("sk").and_then(|sk| sk.as_s().ok()).map(String::as_str).unwrap_or_default() {
        ACCOUNT => DueItem::Account,
        ERASURE => DueItem::Erasure,
        sk if sk.starts_with(ASSETS) => DueItem::Asset,
        sk if sk.starts_with(BOXES) => DueItem::Box,
        _ => DueItem::Generation,
    }
}

pub(super) fn entry(entry: &Entry) -> Result<Item, StoreError> {
    let mut item = document(Key::entry(entry), entry)?;
    item.insert("gsi_pk".to_owned(), s(Listing::Ledger.partition(entry.account)));
    item.insert("gsi_sk".to_owned(), s(entry_key(entry)));
    Ok(item)
}

/// By time, which never runs backwards in one ledger, and by sequence within a millisecond: sorted as text they are in order.
pub(super) fn entry_key(entry: &Entry) -> String {
    format!("{}#{:020}", entry_time_key(entry.created_at), entry.sequence)
}

/// What the keys of entries of this time begin with.
pub(super) fn entry_time_key(at: Timestamp) -> String {
    format!("{:015}", at.as_millisecond().max(0))
}

pub(super) fn generation(generation: &Generation, due_shards: u32) -> Result<Item, StoreError> {
    let mut item = document(Key::generation(generation.id), generation)?;
    item.insert("version".to_owned(), n(generation.version));
    item.insert("gsi_pk".to_owned(), s(Listing::Generations.partition(generation.account)));
    item.insert("gsi_sk".to_owned(), s(generation.id.to_string()));
    add_due(&mut item, &generation.id.to_string(), generation.due_at, due_shards);
    Ok(item)
}

/// Lists an item in the due index while it has something left to do; the id says in which shard.
fn add_due(item: &mut Item, id: &str, due_at: Option<Timestamp>, due_shards: u32) {
    if let Some(due_at) = due_at {
        item.insert("due_shard".to_owned(), s(due_shard(shard_of(id, due_shards))));
        item.insert("due_at".to_owned(), n(due_at.as_millisecond()));
    }
}

pub(super) fn due_shard(shard: u32) -> String {
    format!("due#{shard}")
}

/// The last byte of an id is random.
fn shard_of(text: &str, due_shards: u32) -> u32 {
    let tail = text.get(text.len() - 4..).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(0);
    tail % due_shards.max(1)
}

pub(super) fn attempt(id: GenerationId, attempt: &Attempt) -> Result<Item, StoreError> {
    document(Key::attempt(id, attempt.number), attempt)
}

pub(super) fn erasure(erasure: &AccountErasure, due_shards: u32) -> Result<Item, StoreError> {
    let mut item = document(Key::erasure(erasure.account), erasure)?;
    item.insert("version".to_owned(), n(erasure.version));
    add_due(&mut item, &erasure.account.to_string(), erasure.due_at, due_shards);
    Ok(item)
}

pub(super) fn asset(asset: &Asset, due_shards: u32) -> Result<Item, StoreError> {
    let mut item = document(Key::asset(asset.account, asset.id), asset)?;
    item.insert("version".to_owned(), n(asset.version));
    add_due(&mut item, &asset.id.to_string(), asset.due_at, due_shards);
    add_expiry(&mut item, asset);
    Ok(item)
}

/// That an asset is in a box; the row ends with the asset.
pub(super) fn member(asset: &Asset, id: BoxId) -> Item {
    let mut item = Key::member(asset.account, id, asset.id).into_item();
    add_expiry(&mut item, asset);
    item
}

fn add_expiry(item: &mut Item, asset: &Asset) {
    if let Some(expires_at) = asset.expires_at {
        // A day later than the promise: logic never trusts the table's own expiry.
        item.insert("expires_at".to_owned(), n(expires_at.as_second() + 86_400));
    }
}

pub(super) fn asset_box(own: &AssetBox, due_shards: u32) -> Result<Item, StoreError> {
    let mut item = document(Key::asset_box(own.account, own.id), own)?;
    item.insert("version".to_owned(), n(own.version));
    add_due(&mut item, &own.id.to_string(), own.due_at(), due_shards);
    Ok(item)
}

pub(super) fn idempotency(account: AccountId, key_hash: &str, record: &IdempotencyRecord) -> Result<Item, StoreError> {
    let mut item = document(Key::idempotency(account, key_hash), record)?;
    item.insert("expires_at".to_owned(), n(record.expires_at.as_second()));
    Ok(item)
}

/// A key, as whoever shows it finds it, and among its account's.
pub(super) fn api_key(filed: &FiledKey) -> Result<[Item; 2], StoreError> {
    let FiledKey { hash, key } = filed;
    let ApiKey { account, id, .. } = key;
    Ok([document(Key::api_key(hash), key)?, document(Key::filed_key(*account, *id), filed)?])
}

pub(super) fn action(action: &Action) -> Result<Item, StoreError> {
    document(Key::action(action.account, action.id), action)
}

/// A catalog entry as it is now, and the copy that is kept for good.
pub(super) fn catalog_entry(entry: &CatalogEntry) -> Result<[Item; 2], StoreError> {
    let mut now = document(Key::catalog(entry.kind, &entry.name), entry)?;
    now.insert("version".to_owned(), n(entry.version));
    Ok([now, document(Key::catalog_version(entry.kind, &entry.name, entry.version), entry)?])
}

pub(super) fn waiter(provider: &str, waiter: &Waiter) -> Result<Item, StoreError> {
    let key = Key { pk: line_partition(provider), sk: wait_key(&waiter.place) };
    document(key, waiter)
}

pub(super) fn value(doc: &impl Serialize) -> Result<AttributeValue, StoreError> {
    serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value(doc).map_err(StoreError::encoding)
}

/// A whole number, or a time in milliseconds; none when the attribute is missing or something else.
pub(super) fn number<T: FromStr>(item: &Item, attribute: &str) -> Option<T> {
    item.get(attribute)?.as_n().ok()?.parse().ok()
}

pub(super) fn millis(at: Timestamp) -> AttributeValue {
    n(at.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_spread_over_the_shards() {
        let mut seen = [0_u32; 4];
        for i in 0..400_u16 {
            let [high, low] = i.wrapping_mul(40_503).to_be_bytes();
            let id = GenerationId::from_parts(1, [0, 0, 0, 0, 0, 0, 0, 0, high, low]);
            seen[shard_of(&id.to_string(), 4) as usize] += 1;
        }
        assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
    }
}
