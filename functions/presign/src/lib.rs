//! Uploads: a presigned PUT for exactly the announced file, then a look at what really arrived.

use std::time::Duration;

use lambda_http::{Body, Request, Response};
use serde_json::{Map, Value, json};
use shared::api::{AssetStatus, AssetView, CreateUpload, CreatedUpload, Problem};
use shared::assets::Asset;
use shared::backend::Backend;
use shared::endpoint::{self, Caller};
use shared::idempotency::{Earlier, IdempotencyClaim, IdempotencyRecord, key_reused};
use shared::ids::{AccountId, AssetId};
use shared::store::AssetMade;

mod arrival;

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
    endpoint::fitting_name(&asked.content_type, asked.filename.as_deref())?;
    let claim = IdempotencyClaim::of(request, account, &json!(asked))?;
    let box_id = match endpoint::open_box(backend, account, asked.box_id.as_deref()).await {
        Ok(box_id) => box_id,
        Err(problem) => return repeated(backend, claim.as_ref()).await.unwrap_or(Err(problem)),
    };
    let asset = Asset { box_id, ..announced(backend, account, asked) };
    match backend.store.put_asset(&asset, claim.as_ref()).await? {
        AssetMade::New => Ok(endpoint::json(201, &link(backend, &asset).await?)),
        AssetMade::Earlier(Earlier::Same(record)) => replay(backend, account, &record).await,
        AssetMade::Earlier(Earlier::Other) => Err(key_reused()),
        AssetMade::NoBox => Err(endpoint::box_went(box_id)),
    }
}

/// A new upload of which nothing has arrived.
fn announced(backend: &Backend, account: AccountId, asked: CreateUpload) -> Asset {
    let (unix_ms, random) = backend.id_parts();
    let id = AssetId::from_parts(unix_ms, random);
    let CreateUpload { content_type, bytes, filename, sha256, .. } = asked;
    let sha256 = sha256.map(|hex| hex.to_ascii_lowercase());
    Asset { filename, sha256, ..Asset::announced(id, account, content_type, bytes, backend.config.upload_link()) }
}

/// The answer to a request that was made before; none: it was not.
async fn repeated(backend: &Backend, claim: Option<&IdempotencyClaim>) -> Option<Result<Response<Body>, Problem>> {
    let claim = claim?;
    match backend.store.earlier(claim, backend.now()).await {
        Ok(None) => None,
        Ok(Some(Earlier::Other)) => Some(Err(key_reused())),
        Ok(Some(Earlier::Same(record))) => Some(replay(backend, claim.account, &record).await),
        Err(error) => Some(Err(error.into())),
    }
}

async fn replay(backend: &Backend, account: AccountId, record: &IdempotencyRecord) -> Result<Response<Body>, Problem> {
    let asset = earlier_upload(backend, account, record).await?;
    let mut response = endpoint::json(201, &link(backend, &asset).await?);
    endpoint::mark_replayed(&mut response);
    Ok(response)
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
        AssetStatus::Failed => Err(failed(&asset)),
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
    let sha256 = asset.sha256.as_ref().and_then(|sha256| hex::decode(sha256).ok());
    let presigned = backend.bucket.presign_put(&asset.key, &asset.content_type, asset.bytes, sha256.as_deref(), left).await?;
    let headers: Map<String, Value> = presigned
        .headers
        .into_iter()
        .filter(|(name, _)| name != "host")
        .map(|(name, value)| (name, Value::from(value)))
        .collect();
    Ok(CreatedUpload { id: asset.id, method: "PUT".to_owned(), url: presigned.url, headers, expires_at })
}

/// Say that the file has been sent. It is looked into; then it can be given to generations. What is not as it was announced, or cannot be
/// taken, fails for good, with a `code` that says why. Saying it again changes nothing.
#[utoipa::path(post, path = "/v1/uploads/{id}/complete", params(("id" = String, Path)), responses(
    (status = 200, body = AssetView),
    (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 410, body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem),
))]
pub async fn complete(backend: &Backend, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::user(backend, request)?;
    let asset_id: AssetId = id.parse().map_err(|_| Problem::not_found("upload", id))?;
    let asset = backend.store.asset(account, asset_id).await?.ok_or_else(|| Problem::not_found("upload", id))?;
    let asset = match asset.status {
        AssetStatus::Ready if asset.is_gone(backend.now()) => {
            let detail = "the upload's time is over and it is gone: upload the file again";
            return Err(Problem::new(410, "asset_expired", "Upload gone", detail));
        }
        AssetStatus::Ready => asset,
        AssetStatus::Pending => Box::pin(arrival::complete(backend, asset)).await?,
        AssetStatus::Failed => return Err(failed(&asset)),
        AssetStatus::Erased => return Err(erased()),
    };
    let url = backend.bucket.presign_get(&asset.key, backend.config.link_expires, None).await?;
    Ok(endpoint::json(200, &asset.view(Some(url))))
}

fn erased() -> Problem {
    Problem::new(410, "asset_erased", "Upload erased", "the upload was erased: announce the file again")
}

/// What was found wrong with it before is wrong with it still.
fn failed(asset: &Asset) -> Problem {
    let Some(error) = &asset.error else { return Problem::internal() };
    let problem = Problem::new(422, &error.code, "Upload failed", error.message.clone());
    match error.code.as_str() {
        "upload_expired" => not_in_time(),
        "size_mismatch" => problem.at("bytes"),
        "checksum_mismatch" => problem.at("sha256"),
        "content_type_mismatch" => problem.at("content_type"),
        _ => problem,
    }
}
