//! What arrived, looked into before it can be used. It is read once, from the bucket to the disk; what was looked into is then stored under
//! a key that no link was ever given for, so that nobody can put something else in its place.

use shared::api::{AssetError, AssetStatus, Problem};
use shared::assets::{Asset, MediaFacts, media_key_stem};
use shared::backend::Backend;
use shared::media::Unfit;
use shared::results::{Fetched, StoreError as BucketError};
use shared::store::{AssetChange, StoreError};

use crate::{erased, failed, not_in_time};

/// How often a record is written anew because others changed it meanwhile.
const MAX_RACES: u32 = 20;
/// So much of the fingerprint tells contents apart that were sent by one link.
const FINGERPRINT_CHARS: usize = 16;

/// Why a file is not taken: a code, and what to do.
#[derive(Debug)]
struct Wrong {
    code: &'static str,
    message: String,
}

/// Completes a pending upload, or finds out why it cannot be.
pub(super) async fn complete(backend: &Backend, asset: Asset) -> Result<Asset, Problem> {
    if asset.is_gone(backend.now()) {
        return Err(not_in_time());
    }
    let fetched = match backend.bucket.fetch(&asset.key, asset.bytes).await {
        Ok(fetched) => fetched,
        Err(BucketError::TooLarge { .. }) => return refuse(backend, asset, size_mismatch("more")).await,
        // A twin may have completed it meanwhile, and the file is at its place.
        Err(BucketError::NotFound { .. }) => return settled(backend, &asset).await?.ok_or_else(missing),
        Err(error) => return Err(error.into()),
    };
    let wrong = match different(&asset, &fetched) {
        Some(wrong) => wrong,
        None => match look(&fetched).await? {
            Ok((content_type, facts)) if content_type == asset.content_type => {
                return keep(backend, asset, &fetched, facts).await;
            }
            Ok((content_type, _)) => {
                let message = format!("the content is `{content_type}`, `{}` was announced", asset.content_type);
                Wrong { code: "content_type_mismatch", message }
            }
            Err(wrong) => wrong,
        },
    };
    refuse(backend, asset, wrong).await
}

/// Another size or content than was announced.
fn different(asset: &Asset, fetched: &Fetched) -> Option<Wrong> {
    if fetched.bytes != asset.bytes {
        return Some(size_mismatch(&fetched.bytes.to_string()));
    }
    let announced = asset.sha256.as_ref().filter(|announced| **announced != fetched.sha256())?;
    let message = format!("the content has the SHA-256 `{}`, `{announced}` was announced", fetched.sha256());
    Some(Wrong { code: "checksum_mismatch", message })
}

fn size_mismatch(arrived: &str) -> Wrong {
    Wrong { code: "size_mismatch", message: format!("`{arrived}` bytes arrived, another number was announced") }
}

fn missing() -> Problem {
    let detail = "nothing has arrived: send the file to the upload's `url` first, with its `method` and `headers`";
    Problem::new(409, "upload_missing", "Nothing uploaded", detail)
}

/// What the file is by its content, or why it is not taken.
async fn look(fetched: &Fetched) -> Result<Result<(String, MediaFacts), Wrong>, Problem> {
    match fetched.look().await {
        Ok(facts) => Ok(Ok((facts.content_type.clone(), MediaFacts::from(&facts)))),
        Err(unfit @ Unfit::Unreadable(_)) => {
            tracing::error!(error = &unfit as &dyn std::error::Error, "an upload could not be looked into");
            Err(Problem::unavailable())
        }
        Err(unfit) => Ok(Err(Wrong { code: unfit.code(), message: unfit.to_string() })),
    }
}

/// First the file, then the record. The key has the content's fingerprint, so a twin that found another content cannot write over it; one
/// that dies in between leaves an object that the poll deletes when the link has ended, since the upload is due until it is completed.
async fn keep(backend: &Backend, mut asset: Asset, fetched: &Fetched, facts: MediaFacts) -> Result<Asset, Problem> {
    let sent_to = asset.key.clone();
    let sha256 = fetched.sha256();
    let extension = sent_to.rsplit_once('.').map(|(_, extension)| extension).unwrap_or_default();
    let fingerprint: String = sha256.chars().take(FINGERPRINT_CHARS).collect();
    let key = format!("{}-{fingerprint}.{extension}", media_key_stem(asset.account, asset.id));
    backend.bucket.put_fetched(&key, fetched, &asset.content_type).await?;
    for _ in 0..MAX_RACES {
        let ready = Asset {
            status: AssetStatus::Ready,
            key: key.clone(),
            media: Some(facts),
            sha256: Some(sha256.clone()),
            expires_at: backend.config.upload_retention.map(|kept| asset.created_at + kept),
            due_at: None,
            ..asset.clone()
        };
        if let AssetChange::Done(ready) = backend.store.change_asset(&asset, &ready).await? {
            delete(backend, &sent_to).await;
            tracing::info!(asset = %asset.id, account = %asset.account, bytes = asset.bytes, "an upload is completed");
            return Ok(*ready);
        }
        let current = current(backend, &asset).await?;
        if current.status != AssetStatus::Pending {
            if current.key != key {
                delete(backend, &key).await;
            }
            return outcome(current);
        }
        // Only its name or its box is another one.
        asset = current;
    }
    Err(StoreError::TooBusy { tries: MAX_RACES }.into())
}

/// The upload cannot be used any more; its link does no harm, since what is sent by it is deleted when it has ended.
async fn refuse(backend: &Backend, mut asset: Asset, wrong: Wrong) -> Result<Asset, Problem> {
    let message = format!("{}; this upload cannot be used any more: announce the file again", wrong.message);
    let error = AssetError { code: wrong.code.to_owned(), message };
    for _ in 0..MAX_RACES {
        let refused = Asset { status: AssetStatus::Failed, error: Some(error.clone()), ..asset.clone() };
        if let AssetChange::Done(refused) = backend.store.change_asset(&asset, &refused).await? {
            delete(backend, &asset.key).await;
            tracing::info!(asset = %asset.id, account = %asset.account, code = wrong.code, "an upload is refused");
            return Err(failed(&refused));
        }
        asset = current(backend, &asset).await?;
        if asset.status != AssetStatus::Pending {
            return outcome(asset);
        }
    }
    Err(StoreError::TooBusy { tries: MAX_RACES }.into())
}

/// What has become of it meanwhile, if something has.
async fn settled(backend: &Backend, asset: &Asset) -> Result<Option<Asset>, Problem> {
    let current = current(backend, asset).await?;
    if current.status == AssetStatus::Pending { Ok(None) } else { outcome(current).map(Some) }
}

async fn current(backend: &Backend, asset: &Asset) -> Result<Asset, Problem> {
    let current = backend.store.asset(asset.account, asset.id).await?;
    current.ok_or_else(|| Problem::not_found("upload", &asset.id.to_string()))
}

fn outcome(asset: Asset) -> Result<Asset, Problem> {
    match asset.status {
        AssetStatus::Ready => Ok(asset),
        AssetStatus::Failed => Err(failed(&asset)),
        AssetStatus::Pending | AssetStatus::Erased => Err(erased()),
    }
}

/// What is left lying about is deleted by the poll, or by the bucket itself after a day.
async fn delete(backend: &Backend, key: &str) {
    if let Err(error) = backend.bucket.delete(key).await {
        tracing::warn!(error = &error as &dyn std::error::Error, key, "an object was not deleted; it will be");
    }
}
