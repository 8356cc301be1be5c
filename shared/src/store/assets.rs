//! Assets: written over the version before, moved from box to box in the same transaction, and listed as they are now.
//!
//! Lists are read from the table itself, where an account's assets lie in the order of their ids, which is that of their times: an index
//! would cost a second write for each change and lag behind. What is in a box has a row beside, so that a box costs what is in it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use jiff::Timestamp;

use super::accounts::remember;
use super::items::{self, Item, Key};
use super::read::{seal, unseal};
use super::transact::{Conflict, Role, Write, Written, jitter};
use super::{Page, Store, StoreError};
use crate::api::{AssetSource, AssetStatus};
use crate::assets::Asset;
use crate::catalog::manifest::MediaKind;
use crate::idempotency::{Earlier, IdempotencyClaim};
use crate::ids::{AccountId, AssetId, BoxId};

/// What became of a new asset.
#[derive(Debug, Clone, PartialEq)]
pub enum AssetMade {
    /// Written.
    New,
    /// The key says something of an earlier request: nothing was written.
    Earlier(Earlier),
    /// The box is not there, or is being removed: nothing was written.
    NoBox,
}

/// What became of a change of an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetChange {
    /// Written: the asset now.
    Done(Box<Asset>),
    /// Somebody else changed it since it was loaded, or it is gone: nothing was written.
    Stale,
    /// The box is not there, or is being removed: nothing was written.
    NoBox,
}

/// Which assets are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssetFilter {
    pub box_id: Option<BoxId>,
    pub kind: Option<MediaKind>,
    pub source: Option<AssetSource>,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
}

impl AssetFilter {
    /// What nobody can see any more is not listed.
    fn admits(&self, asset: &Asset, now: Timestamp) -> bool {
        let is_there = match asset.status {
            AssetStatus::Pending | AssetStatus::Ready | AssetStatus::Failed => !asset.is_gone(now),
            AssetStatus::Erased => false,
        };
        is_there
            && self.kind.is_none_or(|kind| asset.kind() == Some(kind))
            && self.source.is_none_or(|source| asset.source == source)
    }
}

/// So many are looked at for one page; the next one goes on from there. A record has less than 2 kB.
const MAX_LOOKED_AT: usize = 500;
/// As many as one call of BatchGetItem takes.
const PER_QUERY: i32 = 100;
/// How often a batch of which DynamoDB left some out is asked for again.
const MAX_BATCHES: u32 = 8;

impl Store {
    /// Writes a new asset and the record of its idempotency key, if it has one.
    pub async fn put_asset(&self, asset: &Asset, claim: Option<&IdempotencyClaim>) -> Result<AssetMade, StoreError> {
        let now = asset.created_at;
        let mut writes = self.new_asset(asset)?;
        if let Some(claim) = claim {
            writes.push(remember(claim, &claim.record(asset.id, serde_json::Value::Null, now), now)?);
        }
        let Written::Refused(conflicts) = self.transact_or_put(&writes).await? else { return Ok(AssetMade::New) };
        let earlier = match claim {
            Some(claim) => self.earlier(claim, now).await?,
            None => None,
        };
        match earlier {
            // Our own transaction, whose answer was lost.
            Some(Earlier::Same(record)) if record.made == asset.id.to_string() => Ok(AssetMade::New),
            Some(earlier) => Ok(AssetMade::Earlier(earlier)),
            None if is_about_box(&conflicts) => Ok(AssetMade::NoBox),
            None => Err(StoreError::Missing { what: format!("a free place for upload `{}`", asset.id) }),
        }
    }

    fn new_asset(&self, asset: &Asset) -> Result<Vec<Write>, StoreError> {
        let mut writes = self.asset_writes(None, asset)?;
        writes.extend(asset.box_id.map(|id| Self::box_is_open(asset.account, id)));
        Ok(writes)
    }

    /// Writes an asset over the version before it, if nobody has changed it since.
    pub async fn change_asset(&self, before: &Asset, after: &Asset) -> Result<AssetChange, StoreError> {
        let after = Asset { version: before.version + 1, ..after.clone() };
        let mut writes = self.asset_writes(Some(before), &after)?;
        if before.box_id != after.box_id {
            writes.extend(after.box_id.map(|id| Self::box_is_open(after.account, id)));
        }
        Ok(match self.transact_or_put(&writes).await? {
            Written::Done => AssetChange::Done(Box::new(after)),
            Written::Refused(conflicts) if is_about_box(&conflicts) => AssetChange::NoBox,
            Written::Refused(_) => AssetChange::Stale,
        })
    }

    /// An asset, and the rows that say in which box it is.
    pub(super) fn asset_writes(&self, before: Option<&Asset>, after: &Asset) -> Result<Vec<Write>, StoreError> {
        let item = items::asset(after, self.due_shards)?;
        let mut writes = vec![match before {
            None => Write::new(Role::Asset, item),
            Some(before) => Write::over_version_or_none(Role::Asset, item, items::n(before.version)),
        }];
        let (old, new) = (before.and_then(|before| before.box_id), after.box_id);
        if let Some(old) = old.filter(|old| Some(*old) != new) {
            writes.push(Write::delete(Role::Member, Key::member(after.account, old, after.id)));
        }
        let is_as_it_was = old == new && before.is_some_and(|before| before.expires_at == after.expires_at);
        if let Some(new) = new.filter(|_| !is_as_it_was) {
            writes.push(Write::always(Role::Member, items::member(after, new)));
        }
        Ok(writes)
    }

    async fn transact_or_put(&self, writes: &[Write]) -> Result<Written, StoreError> {
        match writes {
            [only] if self.put(only).await? => Ok(Written::Done),
            [_] => Ok(Written::Refused(Vec::new())),
            several => self.transact(several).await,
        }
    }

    /// An account's assets, newest first, without what is erased and what has expired. `None` when the cursor is not one of ours.
    pub async fn assets(
        &self,
        account: AccountId,
        filter: &AssetFilter,
        cursor: Option<&str>,
        limit: i32,
        now: Timestamp,
    ) -> Result<Option<Page<Asset>>, StoreError> {
        let mut before = match cursor.map(|cursor| unseal(cursor).and_then(|text| text.parse::<AssetId>().ok())) {
            None => None,
            Some(Some(id)) => Some(id),
            Some(None) => return Ok(None),
        };
        let wanted = usize::try_from(limit).unwrap_or(0);
        // Whoever looks for some of them only has to look at more.
        let count = if filter.kind.is_none() && filter.source.is_none() { (limit + 2).min(PER_QUERY) } else { PER_QUERY };
        let (mut found, mut looked_at): (Vec<Asset>, usize) = (Vec::new(), 0);
        loop {
            let (ids, page, is_last) = self.assets_before(account, filter, before, count).await?;
            let mut page: HashMap<AssetId, Asset> = page.into_iter().map(|asset| (asset.id, asset)).collect();
            let last_of_query = ids.last().copied();
            for id in ids {
                looked_at += 1;
                found.extend(page.remove(&id).filter(|asset| filter.admits(asset, now)));
                let more = Some(id) != last_of_query || !is_last;
                if found.len() >= wanted || looked_at >= MAX_LOOKED_AT {
                    return Ok(Some(Page { items: found, next: more.then(|| seal(&id.to_string())) }));
                }
            }
            if is_last || last_of_query.is_none() {
                return Ok(Some(Page { items: found, next: None }));
            }
            before = last_of_query;
        }
    }

    /// Ids before this one, newest first, those of them that are there, and whether these are the last ones.
    async fn assets_before(
        &self,
        account: AccountId,
        filter: &AssetFilter,
        before: Option<AssetId>,
        count: i32,
    ) -> Result<(Vec<AssetId>, Vec<Asset>, bool), StoreError> {
        let prefix = filter.box_id.map_or_else(|| items::ASSETS.to_owned(), items::members);
        let from = filter.since.map_or_else(String::new, |since| AssetId::first_from(since).to_string());
        let until = filter.until.map(AssetId::first_from);
        // A range takes in both its ends; this one is left out of the answer.
        let to = [until, before].into_iter().flatten().min();
        let to_text = to.map_or_else(|| "~".to_owned(), |to| to.to_string());
        if from > to_text {
            return Ok((Vec::new(), Vec::new(), true));
        }
        let query = self.client.query().table_name(&self.table).consistent_read(true).limit(count);
        let answer = query
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", items::s(items::account_partition(account)))
            .expression_attribute_values(":from", items::s(format!("{prefix}{from}")))
            .expression_attribute_values(":to", items::s(format!("{prefix}{to_text}")))
            .scan_index_forward(false)
            .send()
            .await;
        let answer = answer.map_err(|error| StoreError::table("list assets", error))?;
        let is_last = answer.last_evaluated_key.is_none();
        let rows = answer.items.unwrap_or_default();
        let id = |item: &Item| item.get("sk")?.as_s().ok()?.strip_prefix(&prefix)?.parse::<AssetId>().ok();
        let rows: Vec<(AssetId, Item)> = rows.into_iter().filter_map(|item| Some((id(&item)?, item))).collect();
        let rows: Vec<(AssetId, Item)> = rows.into_iter().filter(|(id, _)| Some(*id) != to).collect();
        let ids: Vec<AssetId> = rows.iter().map(|(id, _)| *id).collect();
        let assets = match filter.box_id {
            None => rows.into_iter().map(|(_, item)| items::read(item)).collect::<Result<Vec<Asset>, StoreError>>()?,
            // A row that outlives its asset by a moment says nothing.
            Some(own) => {
                let found = self.several_assets(account, &ids).await?;
                found.into_iter().filter(|asset| asset.box_id == Some(own)).collect()
            }
        };
        Ok((ids, assets, is_last))
    }

    /// Those of these assets that are there, in any order; at most 100.
    async fn several_assets(&self, account: AccountId, ids: &[AssetId]) -> Result<Vec<Asset>, StoreError> {
        let mut keys: Vec<Item> = ids.iter().map(|id| Key::asset(account, *id).into_item()).collect();
        let mut assets = Vec::with_capacity(ids.len());
        for round in 0..MAX_BATCHES {
            if keys.is_empty() {
                return Ok(assets);
            }
            let asked = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
            let asked = asked.map_err(|error| StoreError::table("read assets", error))?;
            let answer = self.client.batch_get_item().request_items(&self.table, asked).send().await;
            let answer = answer.map_err(|error| StoreError::table("read assets", error))?;
            let found: HashMap<String, Vec<HashMap<String, AttributeValue>>> = answer.responses.unwrap_or_default();
            for item in found.into_values().flatten() {
                assets.push(items::read(item)?);
            }
            keys = answer.unprocessed_keys.unwrap_or_default().into_values().flat_map(|left| left.keys).collect();
            if !keys.is_empty() {
                tokio::time::sleep(jitter(round)).await;
            }
        }
        if keys.is_empty() { Ok(assets) } else { Err(StoreError::TooBusy { tries: MAX_BATCHES }) }
    }
}

fn is_about_box(conflicts: &[Conflict]) -> bool {
    conflicts.iter().any(|conflict| conflict.role == Role::Box)
}
