//! What customers keep in order themselves: boxes, and what their assets are called and in which box they are.

use http::HeaderValue;
use lambda_http::{Body, Request, Response};
use serde_json::json;
use shared::api::{AssetStatus, AssetView, BoxView, ChangeAsset, CreateBox, Problem, RenameBox};
use shared::assets::Asset;
use shared::backend::Backend;
use shared::boxes::{AssetBox, MAX_BOXES};
use shared::endpoint::{self, Caller};
use shared::idempotency::{Earlier, IdempotencyClaim, IdempotencyRecord, key_reused};
use shared::ids::{AccountId, AssetId, BoxId};
use shared::store::{AssetChange, BoxMade, StoreError};

/// How often a record is written anew because others changed it meanwhile.
const MAX_RACES: u32 = 20;

/// Answers `POST /v1/boxes`, `PATCH /v1/boxes/{id}` and `PATCH /v1/assets/{id}`.
pub async fn handle(backend: &Backend, request: Request) -> Response<Body> {
    endpoint::answer(backend, &request, route(backend, &request)).await
}

async fn route(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    match (request.method().as_str(), endpoint::segments(request).as_slice()) {
        ("POST", ["v1", "boxes"]) => create(backend, request).await,
        ("PATCH", ["v1", "boxes", id]) => rename(backend, request, id).await,
        ("PATCH", ["v1", "assets", id]) => change_asset(backend, request, id).await,
        _ => Err(endpoint::no_route(request)),
    }
}

/// Make a box; an account has at most 1,000.
#[utoipa::path(post, path = "/v1/boxes", request_body = CreateBox,
    params(("Idempotency-Key" = Option<String>, Header, description = "Sending the same key and body again gives the same box again; 1 to 255 characters, remembered for 24 hours")),
    responses(
        (status = 201, body = BoxView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem, description = "There are too many already"),
        (status = 410, body = Problem, description = "The box of this `Idempotency-Key` is gone"),
        (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ))]
pub async fn create(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::user(backend, request)?;
    let asked: CreateBox = endpoint::json_body(request, CreateBox::shape())?;
    let claim = IdempotencyClaim::of(request, account, &json!(asked))?;
    let (unix_ms, random) = backend.id_parts();
    let own = AssetBox::new(BoxId::from_parts(unix_ms, random), account, asked.name);
    match backend.store.create_box(&own, claim.as_ref(), backend.now()).await? {
        BoxMade::New => Ok(created(&own)),
        // Our own transaction, whose answer was lost.
        BoxMade::Earlier(Earlier::Same(record)) if record.made == own.id.to_string() => Ok(created(&own)),
        BoxMade::Earlier(Earlier::Same(record)) => {
            let mut response = created(&earlier_box(backend, account, &record).await?);
            endpoint::mark_replayed(&mut response);
            Ok(response)
        }
        BoxMade::Earlier(Earlier::Other) => Err(key_reused()),
        BoxMade::Full => {
            let detail = format!("an account has at most {MAX_BOXES} boxes: remove one by `DELETE /v1/boxes/{{id}}` first");
            Err(Problem::new(409, "too_many_boxes", "Too many boxes", detail))
        }
    }
}

/// A name is content: it is not remembered with the key, but read again.
async fn earlier_box(backend: &Backend, account: AccountId, record: &IdempotencyRecord) -> Result<AssetBox, Problem> {
    let id = record.made.parse().map_err(|_| Problem::internal())?;
    backend.store.asset_box(account, id).await?.ok_or_else(|| {
        let detail = format!("the box `{id}` of this `Idempotency-Key` was removed: use a new key");
        Problem::new(410, "box_removed", "Box removed", detail).at("Idempotency-Key")
    })
}

fn created(own: &AssetBox) -> Response<Body> {
    let mut response = endpoint::json(201, &own.view());
    if let Ok(location) = HeaderValue::try_from(format!("/v1/boxes/{}", own.id)) {
        response.headers_mut().insert("location", location);
    }
    response
}

/// Rename a box.
#[utoipa::path(patch, path = "/v1/boxes/{id}", request_body = RenameBox, params(("id" = String, Path)), responses(
    (status = 200, body = BoxView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem, description = "It is being removed"), (status = 413, body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem),
))]
pub async fn rename(backend: &Backend, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::user(backend, request)?;
    let not_found = || Problem::not_found("box", id);
    let box_id: BoxId = id.parse().map_err(|_| not_found())?;
    for _ in 0..MAX_RACES {
        let own = backend.store.asset_box(account, box_id).await?.ok_or_else(not_found)?;
        let RenameBox { name } = endpoint::json_body(request, RenameBox::shape())?;
        if own.removal.is_some() {
            let detail = format!("the box `{box_id}` is being removed; nothing was changed");
            return Err(Problem::new(409, "box_removing", "Box being removed", detail));
        }
        let renamed = own.renamed(name);
        if backend.store.change_box(&renamed).await? {
            return Ok(endpoint::json(200, &renamed.view()));
        }
    }
    Err(StoreError::TooBusy { tries: MAX_RACES }.into())
}

/// Put an asset into another box, or into none, or call it otherwise. What is left out stays; null takes away. The answer is without a link.
#[utoipa::path(patch, path = "/v1/assets/{id}", request_body = ChangeAsset, params(("id" = String, Path)), responses(
    (status = 200, body = AssetView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 410, body = Problem, description = "It was erased, or its time is over"),
    (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
))]
pub async fn change_asset(backend: &Backend, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::user(backend, request)?;
    let not_found = || Problem::not_found("asset", id);
    let asset_id: AssetId = id.parse().map_err(|_| not_found())?;
    for _ in 0..MAX_RACES {
        let asset = backend.store.asset(account, asset_id).await?.ok_or_else(not_found)?;
        let ChangeAsset { box_id, filename } = endpoint::json_body(request, ChangeAsset::shape())?;
        refuse_what_is_gone(backend, &asset)?;
        endpoint::fitting_name(&asset.content_type, filename.as_ref().and_then(|name| name.as_deref()))?;
        let box_id = match box_id {
            None => asset.box_id,
            Some(id) => endpoint::open_box(backend, account, id.as_deref()).await?,
        };
        let changed = Asset { box_id, filename: filename.unwrap_or_else(|| asset.filename.clone()), ..asset.clone() };
        if changed == asset {
            return Ok(endpoint::json(200, &asset.view(None)));
        }
        match backend.store.change_asset(&asset, &changed).await? {
            AssetChange::Done(changed) => return Ok(endpoint::json(200, &changed.view(None))),
            AssetChange::NoBox => return Err(endpoint::box_went(box_id)),
            AssetChange::Stale => {}
        }
    }
    Err(StoreError::TooBusy { tries: MAX_RACES }.into())
}

fn refuse_what_is_gone(backend: &Backend, asset: &Asset) -> Result<(), Problem> {
    let erased = match asset.status {
        AssetStatus::Pending | AssetStatus::Ready | AssetStatus::Failed => false,
        AssetStatus::Erased => true,
    };
    if erased {
        return Err(Problem::new(410, "asset_erased", "Asset erased", format!("the asset `{}` was erased", asset.id)));
    }
    if asset.is_gone(backend.now()) {
        let detail = format!("the time of the asset `{}` is over: upload the file again", asset.id);
        return Err(Problem::new(410, "asset_expired", "Asset gone", detail));
    }
    Ok(())
}
