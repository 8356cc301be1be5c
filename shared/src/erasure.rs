//! Erasing content on request: assets, generations, and all of an account's. The record says first that its content goes, so that no link
//! is given out any more; then the objects are deleted; then the record is written without content. Each step may be repeated: a crash
//! in between is made up for by asking again, and by the poll, since all that is being erased is due.

use jiff::Timestamp;

use crate::account_erasure::{AccountErasure, Fate, Step};
use crate::api::{AssetError, AssetSource, AssetStatus, Problem};
use crate::assets::{Asset, media_key_stem, upload_key_stem};
use crate::backend::{Applied, Backend};
use crate::boxes::BoxContent;
use crate::generation::{Erasure, Generation};
use crate::ids::{AccountId, AssetId, BoxId, GenerationId};
use crate::lifecycle::{Event, TICK, Unchanged};
use crate::messages::Outgoing;
use crate::provider::{note_key, notes_prefix, prepared_prefix, results_prefix};
use crate::results;
use crate::store::{Action, AssetChange, Owned, StoreError};

mod boxes;

pub use boxes::{box_is_due, remove_box};

/// How many generations, assets or boxes are looked at for one message.
const PAGE: i32 = 20;
/// How often a record is written anew because others changed it meanwhile.
const MAX_RACES: u32 = 20;

/// Why something is not erased yet.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    #[error(transparent)]
    Table(#[from] StoreError),
    #[error(transparent)]
    Bucket(#[from] results::StoreError),
}

impl From<EraseError> for Problem {
    fn from(error: EraseError) -> Self {
        match error {
            EraseError::Table(error) => error.into(),
            EraseError::Bucket(error) => error.into(),
        }
    }
}

/// Erases an asset: its object, what is filed of it, and the copy in the generation that made it.
pub async fn erase_asset(backend: &Backend, asset: Asset) -> Result<(), EraseError> {
    let asset = hide(backend, asset).await?;
    let now = backend.now();
    if asset.key.is_empty() && asset.due_at.is_none_or(|due| now < due) {
        return Ok(());
    }
    if let Some(id) = asset.generation
        && let Some(generation) = backend.store.generation(id).await?
    {
        let is_late = generation.late_results().iter().any(|result| result.asset == asset.id);
        let late = generation.late.as_ref().filter(|_| is_late);
        let attempt = late.map_or(generation.attempt(), |late| late.attempt);
        backend.apply(generation, &Event::EraseResult { asset: asset.id }).await?;
        // The note beside a result that came inside an answer has its text.
        backend.bucket.delete(&note_key(id, attempt)).await?;
    }
    let due_at = match asset.source {
        AssetSource::Generated | AssetSource::Derived => {
            // With what it was converted from, if that is still there.
            let stem = asset.key.rsplit_once('.').map_or(asset.key.as_str(), |(stem, _)| stem);
            backend.bucket.delete_all(&format!("{stem}.")).await?;
            None
        }
        AssetSource::Uploaded => {
            delete_upload(backend, &asset).await?;
            // Whoever has the upload's link may send the file until the link ends.
            Some(asset.nothing_comes_after(backend.config.upload_link())).filter(|end| *end > now)
        }
    };
    backend.store.change_asset(&asset, &asset.erased(due_at)).await?;
    Ok(())
}

/// Deletes whatever an upload has in the bucket: by prefix, since a copy that was begun and given up is in no record.
async fn delete_upload(backend: &Backend, asset: &Asset) -> Result<(), results::StoreError> {
    let (account, id) = (asset.account, asset.id);
    backend.bucket.delete_all(&format!("{}.", upload_key_stem(account, id))).await?;
    backend.bucket.delete_all(&format!("{}-", media_key_stem(account, id))).await
}

/// From here on nobody gets a link to it or can give it to a generation, and it is in no box.
async fn hide(backend: &Backend, mut asset: Asset) -> Result<Asset, EraseError> {
    for _ in 0..MAX_RACES {
        match asset.status {
            AssetStatus::Erased => return Ok(asset),
            AssetStatus::Pending | AssetStatus::Ready | AssetStatus::Failed => {}
        }
        if let AssetChange::Done(hidden) = backend.store.change_asset(&asset, &asset.erasing(backend.now())).await? {
            return Ok(*hidden);
        }
        let what = || StoreError::Missing { what: format!("asset `{}`", asset.id) };
        asset = backend.store.asset(asset.account, asset.id).await?.ok_or_else(what)?;
    }
    Err(StoreError::TooBusy { tries: MAX_RACES }.into())
}

/// What the poll does for an asset that is due.
pub async fn asset_is_due(backend: &Backend, account: AccountId, id: AssetId, due_at: Timestamp) -> Result<(), EraseError> {
    let asset = backend.store.asset(account, id).await?.filter(|asset| asset.due_at == Some(due_at));
    let Some(asset) = asset else { return Ok(()) };
    let now = backend.now();
    if now < due_at {
        backend.send_or_leave_to_the_poll(&Outgoing::erase_asset(account, id, due_at, now)).await;
        return Ok(());
    }
    match asset.status {
        AssetStatus::Erased => erase_asset(backend, asset).await,
        AssetStatus::Pending | AssetStatus::Failed => give_up(backend, asset).await,
        AssetStatus::Ready => Ok(()),
    }
}

/// An upload that can never be used: its link has ended, and with it all that may have been sent by it goes. It fails first, so that
/// nobody who is completing it at this moment is left with a record without its file.
async fn give_up(backend: &Backend, asset: Asset) -> Result<(), EraseError> {
    let error = asset.error.clone().unwrap_or_else(not_in_time);
    let failed = Asset { status: AssetStatus::Failed, error: Some(error), ..asset.clone() };
    let AssetChange::Done(failed) = backend.store.change_asset(&asset, &failed).await? else { return Ok(()) };
    delete_upload(backend, &failed).await?;
    let done = Asset { due_at: None, ..*failed.clone() };
    backend.store.change_asset(&failed, &done).await?;
    Ok(())
}

/// Why an upload failed that nobody completed.
pub fn not_in_time() -> AssetError {
    let message = "the upload was not completed in time: announce the file again";
    AssetError { code: "upload_expired".to_owned(), message: message.to_owned() }
}

/// Erases a generation's content; `false`: it has not ended, or a late result of it is still being copied, and nothing was done.
pub async fn erase_generation(backend: &Backend, generation: Generation) -> Result<bool, EraseError> {
    match backend.apply(generation, &Event::EraseRequested).await? {
        Applied::Changed(generation) | Applied::Unchanged(generation, Unchanged::AlreadySo) => {
            go_on_with_generation(backend, *generation).await?;
            Ok(true)
        }
        Applied::Unchanged(_, Unchanged::NotYet | Unchanged::TooLate | Unchanged::StaleAttempt) => Ok(false),
    }
}

/// Goes on with a generation whose content is being erased: now, or when it is due.
pub async fn go_on_with_generation(backend: &Backend, generation: Generation) -> Result<(), EraseError> {
    let now = backend.now();
    match generation.erasure {
        None => return Ok(()),
        Some(Erasure::Erasing { .. }) => {
            for asset in generation.results().map(|result| result.asset) {
                let filed = backend.store.asset(generation.account, asset).await?;
                if let Some(asset) = filed.filter(|asset| !asset.key.is_empty()) {
                    let hidden = hide(backend, asset).await?;
                    backend.store.change_asset(&hidden, &hidden.erased(None)).await?;
                }
            }
        }
        Some(Erasure::Erased { .. }) if generation.due_at.is_none_or(|due| now < due) => return Ok(()),
        Some(Erasure::Erased { .. }) => {}
    }
    // By prefix, so that nothing is forgotten of which the record knows nothing: a copy that was begun and given up.
    backend.bucket.delete_all(&results_prefix(&generation)).await?;
    backend.bucket.delete_all(&notes_prefix(generation.id)).await?;
    sweep_left_overs(backend, &generation).await?;
    backend.store.rewrite_attempts(generation.id, &generation.without_content(now).attempts).await?;
    backend.apply(generation, &Event::Erased).await?;
    Ok(())
}

/// Deletes what lay in the bucket for the making of a generation alone, when that has ended.
pub async fn tidy(backend: &Backend, generation: Generation) -> Result<(), EraseError> {
    sweep_left_overs(backend, &generation).await?;
    backend.apply(generation, &Event::Tidied).await?;
    Ok(())
}

async fn sweep_left_overs(backend: &Backend, generation: &Generation) -> Result<(), EraseError> {
    backend.bucket.delete_all(&prepared_prefix(generation.account, generation.id)).await?;
    if !generation.order.erase_inputs {
        return Ok(());
    }
    for input in &generation.order.inputs {
        let asset = backend.store.asset(generation.account, input.asset).await?;
        if let Some(asset) = asset.filter(|asset| asset.source == AssetSource::Uploaded) {
            erase_asset(backend, asset).await?;
        }
    }
    Ok(())
}

/// Asks for all of an account's content to be erased; `action`: an operator did. The work is done by the poll, page after page.
pub async fn erase_account(backend: &Backend, account: AccountId, action: Option<&Action>) -> Result<AccountErasure, StoreError> {
    for _ in 0..MAX_RACES {
        let earlier = backend.store.erasure(account).await?;
        let now = backend.now();
        let erasure = AccountErasure::requested(earlier.as_ref(), account, now);
        if backend.store.put_erasure(&erasure, action).await? {
            tracing::info!(%account, by_operator = action.is_some(), "the erasure of an account's content was asked for");
            backend.send_or_leave_to_the_poll(&Outgoing::erase_account(account, now, now)).await;
            return Ok(erasure);
        }
    }
    Err(StoreError::TooBusy { tries: MAX_RACES })
}

/// What the poll does for an account's erasure that is due: a page, and the message for the next one.
pub async fn account_is_due(backend: &Backend, account: AccountId, due_at: Timestamp) -> Result<(), EraseError> {
    let erasure = backend.store.erasure(account).await?.filter(|erasure| erasure.due_at == Some(due_at));
    let Some(erasure) = erasure else { return Ok(()) };
    let now = backend.now();
    if now < due_at {
        backend.send_or_leave_to_the_poll(&Outgoing::erase_account(account, due_at, now)).await;
        return Ok(());
    }
    let (what, from) = match &erasure.step {
        Step::Generations { from, .. } => (Owned::Generations, from),
        Step::Assets { from, .. } => (Owned::Assets, from),
        Step::Boxes { from, .. } => (Owned::Boxes, from),
        Step::Done { .. } => return Ok(()),
    };
    let (ids, is_last) = backend.store.owned(account, what, from, PAGE).await?;
    let mut page = Vec::with_capacity(ids.len());
    for id in ids {
        let fate = match what {
            Owned::Generations => generation_of_account(backend, &erasure, &id).await,
            Owned::Assets => asset_of_account(backend, &erasure, &id).await,
            Owned::Boxes => box_of_account(backend, &erasure, &id).await,
        };
        // One that cannot be erased now must not keep the others.
        let fate = fate.unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, %account, id, "not erased yet; it is tried again");
            Fate::Left
        });
        page.push((id, fate));
    }
    if is_last && what == Owned::Assets {
        delete_ownerless(backend, &erasure).await?;
    }
    let now = backend.now();
    let next = erasure.after_page(&page, is_last, now);
    // Somebody else has done the same page, or the request was made anew.
    if !backend.store.put_erasure(&next, None).await? {
        return Ok(());
    }
    match next.due_at {
        Some(due_at) if due_at.duration_since(now) < TICK => {
            backend.send_or_leave_to_the_poll(&Outgoing::erase_account(account, due_at, now)).await;
        }
        Some(_) => {}
        None => {
            tracing::info!(%account, generations = next.generations, assets = next.assets, "an account's content is erased")
        }
    }
    Ok(())
}

/// One that has not ended is asked to cancel; it is erased when it has ended.
async fn generation_of_account(backend: &Backend, erasure: &AccountErasure, id: &str) -> Result<Fate, EraseError> {
    let generation = match id.parse::<GenerationId>() {
        Ok(id) => backend.store.generation(id).await?,
        Err(_) => None,
    };
    let Some(generation) = generation.filter(|generation| generation.created_at <= erasure.requested_at) else {
        return Ok(Fate::Younger);
    };
    if erase_generation(backend, generation.clone()).await? {
        return Ok(Fate::Erased);
    }
    let canceled = backend.apply(generation, &Event::CancelRequested).await?.generation().clone();
    Ok(if erase_generation(backend, canceled).await? { Fate::Erased } else { Fate::Left })
}

async fn asset_of_account(backend: &Backend, erasure: &AccountErasure, id: &str) -> Result<Fate, EraseError> {
    let asset = match id.parse::<AssetId>() {
        Ok(id) => backend.store.asset(erasure.account, id).await?,
        Err(_) => None,
    };
    let Some(asset) = asset.filter(|asset| asset.created_at <= erasure.requested_at) else { return Ok(Fate::Younger) };
    erase_asset(backend, asset).await?;
    Ok(Fate::Erased)
}

/// The table forgets an upload whose time is over by itself, and the bucket later, or never where it has no such rule.
async fn delete_ownerless(backend: &Backend, erasure: &AccountErasure) -> Result<(), EraseError> {
    for prefix in ["uploads", "media"].map(|kind| format!("{kind}/{}/", erasure.account)) {
        let mut after: Option<String> = None;
        loop {
            let keys = backend.bucket.keys(&prefix, after.as_deref()).await?;
            let Some(last) = keys.last().cloned() else { break };
            for key in keys {
                let id = key.strip_prefix(&prefix).and_then(|rest| rest.split(['.', '-']).next()?.parse::<AssetId>().ok());
                let Some(id) = id.filter(|id| id.created_at() <= erasure.requested_at) else { continue };
                let asset = backend.store.asset(erasure.account, id).await?;
                if asset.is_none_or(|asset| asset.status == AssetStatus::Erased) {
                    backend.bucket.delete(&key).await?;
                }
            }
            after = Some(last);
        }
    }
    Ok(())
}

/// What was in it at the time of the request is erased already; what has come since stays, without a box.
async fn box_of_account(backend: &Backend, erasure: &AccountErasure, id: &str) -> Result<Fate, EraseError> {
    let found = match id.parse::<BoxId>() {
        Ok(id) => backend.store.asset_box(erasure.account, id).await?,
        Err(_) => None,
    };
    let Some(found) = found.filter(|found| found.created_at <= erasure.requested_at) else { return Ok(Fate::Younger) };
    let content = found.removal.map_or(BoxContent::Keep, |removal| removal.content);
    let is_gone = remove_box(backend, found, content).await?;
    Ok(if is_gone { Fate::Erased } else { Fate::Left })
}
