//! Uploads: a presigned PUT for exactly the announced file, then a look at what really arrived.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lambda_http::{Body, Request, Response};
use serde_json::{Map, Value, json};
use shared::api::{AssetSource, AssetStatus, AssetView, CreateUpload, CreatedUpload, Problem};
use shared::assets::{Asset, upload_key_stem};
use shared::backend::Backend;
use shared::endpoint::{self, Caller};
use shared::idempotency::{Earlier, IdempotencyClaim, IdempotencyRecord, key_reused};
use shared::ids::{AccountId, AssetId};

/// The bucket's lifecycle removes uploads after a day.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24);
/// Enough to tell every media type we take.
const SNIFF_BYTES: u64 = 4_096;

/// Answers `POST /v1/uploads` and `POST /v1/uploads/{id}/complete`.
pub async fn handle(backend: &Backend, request: Request) -> Response<Body> {
    endpoint::answer(backend, &request, route(backend, &request)).await
}

async fn route(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    match (request.method().as_str(), endpoint::segments(request).as_slice()) {
        ("POST", ["v1", "uploads"]) => create(backend, request).await,
        ("POST", ["v1", "uploads", id, "complete"]) => complete(backend, request, id).await,
        _ => Err(endpoint::no_route(request)),
    }
}

/// Announce a file; the answer says where to send it. Repeated with its `Idempotency-Key`, it gives a new link to the same upload.
#[utoipa::path(post, path = "/v1/uploads", request_body = CreateUpload,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters, remembered for 24 hours")),
    responses(
        (status = 201, body = CreatedUpload),
        (status = 401, body = Problem), (status = 409, body = Problem), (status = 410, body = Problem),
        (status = 413, body = Problem), (status = 422, body = Problem),
    ))]
pub async fn create(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::user(backend, request)?;
    let asked: CreateUpload = endpoint::json_body(request, CreateUpload::shape())?;
    if asked.bytes > asked.max_bytes() {
        let detail = format!("has to be at most {} for {}", asked.max_bytes(), asked.content_type);
        return Err(Problem::new(422, "out_of_range", "Invalid parameter", detail).at("bytes"));
    }
    let claim = IdempotencyClaim::of(request, account, &json!(asked))?;
    let asset = announced(backend, account, asked);
    let (asset, replayed) = match &claim {
        None => {
            backend.store.put_asset(&asset).await?;
            (asset, false)
        }
        Some(claim) => match backend.store.put_asset_once(&asset, claim, asset.created_at).await? {
            None => (asset, false),
            Some(Earlier::Same(record)) => (earlier_upload(backend, account, &record).await?, true),
            Some(Earlier::Other) => return Err(key_reused()),
        },
    };
    let mut response = endpoint::json(201, &link(backend, &asset).await?);
    if replayed {
        endpoint::mark_replayed(&mut response);
    }
    Ok(response)
}

/// A new upload of which nothing has arrived.
fn announced(backend: &Backend, account: AccountId, asked: CreateUpload) -> Asset {
    let now = backend.now();
    let (unix_ms, random) = backend.id_parts();
    let id = AssetId::from_parts(unix_ms, random);
    Asset {
        id,
        account,
        source: AssetSource::Uploaded,
        status: AssetStatus::Pending,
        key: format!("{}.{}", upload_key_stem(account, id), extension(&asked.content_type)),
        content_type: asked.content_type,
        bytes: asked.bytes,
        filename: asked.filename,
        generation: None,
        created_at: now,
        expires_at: Some(now + SignedDuration::try_from(backend.config.upload_expires).unwrap_or(SignedDuration::ZERO)),
        due_at: None,
    }
}

/// What an earlier request with the same key has announced, if the file can still be sent.
async fn earlier_upload(backend: &Backend, account: AccountId, record: &IdempotencyRecord) -> Result<Asset, Problem> {
    let id = record.made.parse().map_err(|_| Problem::internal())?;
    let asset = backend.store.asset(account, id).await?.ok_or_else(|| Problem::not_found("upload", &record.made))?;
    match asset.status {
        AssetStatus::Pending if !asset.is_gone(backend.now()) => Ok(asset),
        AssetStatus::Pending => Err(not_in_time()),
        AssetStatus::Ready => {
            let detail = format!("the upload `{id}` of this `Idempotency-Key` has been completed already: use it, or a new key");
            Err(Problem::new(409, "upload_completed", "Upload completed", detail).at("Idempotency-Key"))
        }
        AssetStatus::Erased => Err(erased()),
    }
}

fn not_in_time() -> Problem {
    let detail = "the upload was not completed in time: announce the file again";
    Problem::new(410, "upload_expired", "Upload expired", detail)
}

/// Where to send the file, for as long as it may arrive.
async fn link(backend: &Backend, asset: &Asset) -> Result<CreatedUpload, Problem> {
    let now = backend.now();
    let expires_at = asset.expires_at.unwrap_or(now);
    let left = Duration::try_from(expires_at.duration_since(now)).unwrap_or(Duration::ZERO).max(Duration::from_secs(1));
    let presigned = backend.bucket.presign_put(&asset.key, &asset.content_type, asset.bytes, left).await?;
    let headers: Map<String, Value> = presigned
        .headers
        .into_iter()
        .filter(|(name, _)| name != "host")
        .map(|(name, value)| (name, Value::from(value)))
        .collect();
    Ok(CreatedUpload { id: asset.id, method: "PUT".to_owned(), url: presigned.url, headers, expires_at })
}

/// Say that the file has been sent. Its size and type are checked; then it can be given to generations. Saying it again changes nothing.
#[utoipa::path(post, path = "/v1/uploads/{id}/complete", params(("id" = String, Path)), responses(
    (status = 200, body = AssetView),
    (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 410, body = Problem), (status = 422, body = Problem),
))]
pub async fn complete(backend: &Backend, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::user(backend, request)?;
    let asset_id: AssetId = id.parse().map_err(|_| Problem::not_found("upload", id))?;
    let asset = backend.store.asset(account, asset_id).await?.ok_or_else(|| Problem::not_found("upload", id))?;
    let asset = match asset.status {
        AssetStatus::Ready if asset.is_gone(backend.now()) => {
            let detail = "the upload was kept for a day and is gone: upload the file again";
            return Err(Problem::new(410, "asset_expired", "Upload gone", detail));
        }
        AssetStatus::Ready => asset,
        AssetStatus::Pending => check_arrival(backend, asset, backend.now()).await?,
        AssetStatus::Erased => return Err(erased()),
    };
    let url = backend.bucket.presign_get(&asset.key, backend.config.link_expires, None).await?;
    Ok(endpoint::json(200, &asset.view(Some(url))))
}

async fn check_arrival(backend: &Backend, mut asset: Asset, now: Timestamp) -> Result<Asset, Problem> {
    if asset.expires_at.is_some_and(|expires_at| now > expires_at) {
        return Err(not_in_time());
    }
    let Some(head) = backend.bucket.head(&asset.key).await? else {
        let detail = "nothing has arrived: send the file to the upload's `url` first, with its `method` and `headers`";
        return Err(Problem::new(409, "upload_missing", "Nothing uploaded", detail));
    };
    if head.bytes != asset.bytes {
        let detail =
            format!("{} bytes arrived, {} were announced: announce the file again with its exact size", head.bytes, asset.bytes);
        return Err(Problem::new(422, "size_mismatch", "Size differs", detail).at("bytes"));
    }
    let first = backend.bucket.first_bytes(&asset.key, SNIFF_BYTES).await?;
    let found = shared::results::content_type_of(&first);
    if found != Some(asset.content_type.as_str()) {
        let found = found.unwrap_or("not a known media type");
        let detail = format!("the content is {found}, {} was announced", asset.content_type);
        return Err(Problem::new(422, "content_type_mismatch", "Content type differs", detail).at("content_type"));
    }
    asset.status = AssetStatus::Ready;
    asset.expires_at = Some(asset.created_at + KEPT_FOR);
    if backend.store.change_asset(&asset, AssetStatus::Pending).await? {
        return Ok(asset);
    }
    // Another request has completed it meanwhile, or erased it.
    let current = backend.store.asset(asset.account, asset.id).await?;
    current.filter(|current| current.status == AssetStatus::Ready).ok_or_else(erased)
}

fn erased() -> Problem {
    Problem::new(410, "asset_erased", "Upload erased", "the upload was erased: announce the file again")
}

fn extension(content_type: &str) -> &'static str {
    match content_type {
        "image/png" => "png",
        "image/webp" => "webp",
        "video/mp4" => "mp4",
        "video/quicktime" => "mov",
        "video/webm" => "webm",
        _ => "jpg",
    }
}
