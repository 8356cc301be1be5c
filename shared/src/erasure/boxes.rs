//! Removing a box: first it is closed, so that nothing is put into it any more, then its assets are taken out or erased, then it goes. Each
//! step may be repeated, and until it is gone the box is due.

use jiff::Timestamp;

use super::{EraseError, MAX_RACES, PAGE, erase_asset};
use crate::assets::Asset;
use crate::backend::Backend;
use crate::boxes::{AssetBox, BoxContent};
use crate::ids::{AccountId, AssetId, BoxId};
use crate::messages::Outgoing;
use crate::store::{AssetChange, StoreError};

/// Removes a box, with its assets or without; `false`: there is more in it than fits in one go, and the poll goes on.
pub async fn remove_box(backend: &Backend, mut own: AssetBox, content: BoxContent) -> Result<bool, EraseError> {
    for _ in 0..MAX_RACES {
        let closed = own.removing(content, backend.now());
        if backend.store.change_box(&closed).await? {
            return go_on(backend, closed, content).await;
        }
        match backend.store.asset_box(own.account, own.id).await? {
            Some(current) => own = current,
            None => return Ok(true),
        }
    }
    Err(StoreError::TooBusy { tries: MAX_RACES }.into())
}

/// What the poll does for a box that is due.
pub async fn box_is_due(backend: &Backend, account: AccountId, id: BoxId, due_at: Timestamp) -> Result<(), EraseError> {
    let own = backend.store.asset_box(account, id).await?.filter(|own| own.due_at() == Some(due_at));
    let Some((own, removal)) = own.and_then(|own| own.removal.map(|removal| (own, removal))) else { return Ok(()) };
    let now = backend.now();
    if now < due_at {
        backend.send_or_leave_to_the_poll(&Outgoing::remove_box(account, id, due_at, now)).await;
        return Ok(());
    }
    go_on(backend, own, removal.content).await.map(|_| ())
}

/// One page of what is in it.
async fn go_on(backend: &Backend, own: AssetBox, content: BoxContent) -> Result<bool, EraseError> {
    let members = backend.store.members(own.account, own.id, PAGE).await?;
    let mut is_done = true;
    for id in &members {
        if let Err(error) = take_out(backend, &own, *id, content).await {
            // One that cannot be taken out now must not keep the others.
            tracing::warn!(error = &error as &dyn std::error::Error, box_id = %own.id, asset = %id, "still in its box; it is tried again");
            is_done = false;
        }
    }
    if is_done && backend.store.members(own.account, own.id, 1).await?.is_empty() {
        return delete(backend, own).await;
    }
    let now = backend.now();
    let more = own.removing_more(is_done, now);
    if backend.store.change_box(&more).await?
        && is_done
        && let Some(due_at) = more.due_at()
    {
        backend.send_or_leave_to_the_poll(&Outgoing::remove_box(own.account, own.id, due_at, now)).await;
    }
    Ok(false)
}

/// A closed box with nothing in it goes, however often its removal was asked for anew meanwhile.
async fn delete(backend: &Backend, mut own: AssetBox) -> Result<bool, EraseError> {
    for _ in 0..MAX_RACES {
        if backend.store.delete_box(&own).await? {
            tracing::info!(account = %own.account, box_id = %own.id, "a box is removed");
            return Ok(true);
        }
        match backend.store.asset_box(own.account, own.id).await? {
            Some(current) => own = current,
            None => return Ok(true),
        }
    }
    Err(StoreError::TooBusy { tries: MAX_RACES }.into())
}

/// An asset is out of its box as soon as it is hidden: what is left to do of its erasure, its own record remembers.
async fn take_out(backend: &Backend, own: &AssetBox, id: AssetId, content: BoxContent) -> Result<(), EraseError> {
    for _ in 0..MAX_RACES {
        let asset = backend.store.asset(own.account, id).await?.filter(|asset| asset.box_id == Some(own.id));
        let Some(asset) = asset else {
            // It is moved or gone; so is its row, unless the table removed the asset by itself.
            return Ok(backend.store.forget_member(own.account, own.id, id).await?);
        };
        match content {
            BoxContent::Erase => return erase_asset(backend, asset).await,
            BoxContent::Keep => {
                let without = Asset { box_id: None, ..asset.clone() };
                if let AssetChange::Done(_) = backend.store.change_asset(&asset, &without).await? {
                    return Ok(());
                }
            }
        }
    }
    Err(StoreError::TooBusy { tries: MAX_RACES }.into())
}
