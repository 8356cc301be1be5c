//! Boxes, and what is in them.

use jiff::Timestamp;

use super::accounts::remember;
use super::items::{self, Item, Key};
use super::read::{seal, unseal};
use super::transact::{Changes, Check, Role, Write, Written};
use super::{Page, Store, StoreError};
use crate::boxes::{AssetBox, MAX_BOXES};
use crate::idempotency::{Earlier, IdempotencyClaim};
use crate::ids::{AccountId, AssetId, BoxId};

/// The attribute that counts an account's boxes.
const COUNT: &str = "count";

/// What became of a new box.
#[derive(Debug, Clone, PartialEq)]
pub enum BoxMade {
    /// Written.
    New,
    /// The key says something of an earlier request.
    Earlier(Earlier),
    /// The account has as many as it may have: nothing was written.
    Full,
}

impl Store {
    /// Writes a new box and the record of its idempotency key, if the account may have one more.
    pub async fn create_box(
        &self,
        own: &AssetBox,
        claim: Option<&IdempotencyClaim>,
        now: Timestamp,
    ) -> Result<BoxMade, StoreError> {
        let one_more = Changes::default().add(COUNT, items::n(1)).only_if(COUNT, Check::AbsentOrBelow(items::n(MAX_BOXES)));
        let mut writes = vec![
            Write::new(Role::Box, items::asset_box(own, self.due_shards)?),
            Write::update(Role::BoxCount, Key::box_count(own.account), one_more),
        ];
        if let Some(claim) = claim {
            writes.push(remember(claim, &claim.record(own.id, serde_json::Value::Null, now), now)?);
        }
        let Written::Refused(conflicts) = self.transact(&writes).await? else { return Ok(BoxMade::New) };
        if let Some(claim) = claim
            && let Some(earlier) = self.earlier(claim, now).await?
        {
            return Ok(BoxMade::Earlier(earlier));
        }
        if conflicts.iter().any(|conflict| conflict.role == Role::BoxCount) {
            return Ok(BoxMade::Full);
        }
        Err(StoreError::Missing { what: format!("a free place for box `{}`", own.id) })
    }

    /// A box of this account.
    pub async fn asset_box(&self, account: AccountId, id: BoxId) -> Result<Option<AssetBox>, StoreError> {
        self.get(Key::asset_box(account, id)).await
    }

    /// What else is written in the transaction is written only while the box is there and is not being removed.
    pub(super) fn box_is_open(account: AccountId, id: BoxId) -> Write {
        Write::check_without(Role::Box, Key::asset_box(account, id), "removal")
    }

    /// An account's boxes, newest first. `None` when the cursor is not one of ours.
    pub async fn boxes(
        &self,
        account: AccountId,
        cursor: Option<&str>,
        limit: i32,
    ) -> Result<Option<Page<AssetBox>>, StoreError> {
        let start = match cursor.map(|cursor| unseal(cursor).and_then(|text| text.parse::<BoxId>().ok())) {
            None => None,
            Some(Some(id)) => Some(Key::asset_box(account, id).into_item()),
            Some(None) => return Ok(None),
        };
        let query = self.client.query().table_name(&self.table).consistent_read(true).limit(limit);
        let answer = query
            .key_condition_expression("pk = :pk AND begins_with(sk, :boxes)")
            .expression_attribute_values(":pk", items::s(items::account_partition(account)))
            .expression_attribute_values(":boxes", items::s(items::BOXES))
            .scan_index_forward(false)
            .set_exclusive_start_key(start)
            .send()
            .await;
        let answer = answer.map_err(|error| StoreError::table("list boxes", error))?;
        let more = answer.last_evaluated_key.is_some();
        let found = answer.items.unwrap_or_default().into_iter().map(items::read).collect::<Result<Vec<AssetBox>, _>>()?;
        let next = found.last().filter(|_| more).map(|last| seal(&last.id.to_string()));
        Ok(Some(Page { items: found, next }))
    }

    /// Writes a box over the version before it; `false`: somebody else was faster.
    pub async fn change_box(&self, own: &AssetBox) -> Result<bool, StoreError> {
        let item = items::asset_box(own, self.due_shards)?;
        self.put(&Write::over_version(Role::Box, item, items::n(own.version - 1))).await
    }

    /// Deletes a box that has nothing in it any more; `false`: somebody else was faster.
    pub async fn delete_box(&self, own: &AssetBox) -> Result<bool, StoreError> {
        let one_less = Changes::default().add(COUNT, items::n(-1));
        let writes = [
            Write::delete_version(Role::Box, Key::asset_box(own.account, own.id), items::n(own.version)),
            Write::update(Role::BoxCount, Key::box_count(own.account), one_less),
        ];
        Ok(matches!(self.transact(&writes).await?, Written::Done))
    }

    /// Up to `limit` of the assets in a box, as it is now.
    pub async fn members(&self, account: AccountId, id: BoxId, limit: i32) -> Result<Vec<AssetId>, StoreError> {
        let prefix = items::members(id);
        let query = self.client.query().table_name(&self.table).consistent_read(true).limit(limit);
        let answer = query
            .key_condition_expression("pk = :pk AND begins_with(sk, :members)")
            .projection_expression("sk")
            .expression_attribute_values(":pk", items::s(items::account_partition(account)))
            .expression_attribute_values(":members", items::s(&prefix))
            .send()
            .await;
        let answer = answer.map_err(|error| StoreError::table("list what is in a box", error))?;
        let id = |item: Item| item.get("sk")?.as_s().ok()?.strip_prefix(&prefix)?.parse().ok();
        Ok(answer.items.unwrap_or_default().into_iter().filter_map(id).collect())
    }

    /// Takes away a row of an asset that is not in the box, or not at all any more.
    pub async fn forget_member(&self, account: AccountId, id: BoxId, asset: AssetId) -> Result<(), StoreError> {
        self.put(&Write::delete(Role::Member, Key::member(account, id, asset))).await.map(|_| ())
    }
}
