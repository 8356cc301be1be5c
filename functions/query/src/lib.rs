//! What a customer can see: generations, models, the account and its ledger, assets. Changes nothing: only requests are counted.

use lambda_http::{Body, Request, Response};
use shared::api::{
    AccountView, AssetStatus, AssetView, ErasureView, GenerationList, GenerationView, LedgerView, ModelList, ModelView, Problem,
};
use shared::backend::Backend;
use shared::endpoint::{self, Caller};
use shared::ids::{AssetId, GenerationId};

/// Answers the `GET` routes.
pub async fn handle(backend: &Backend, request: Request) -> Response<Body> {
    endpoint::answer(backend, &request, route(backend, &request)).await
}

async fn route(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    match (request.method().as_str(), endpoint::segments(request).as_slice()) {
        ("GET", ["v1", "generations"]) => generations(backend, request).await,
        ("GET", ["v1", "generations", id]) => generation(backend, request, id).await,
        ("GET", ["v1", "models"]) => models(backend, request).await,
        ("GET", ["v1", "account"]) => account(backend, request).await,
        ("GET", ["v1", "account", "ledger"]) => ledger(backend, request).await,
        ("GET", ["v1", "account", "content"]) => erasure(backend, request).await,
        ("GET", ["v1", "assets", id]) => asset(backend, request, id).await,
        _ => Err(endpoint::no_route(request)),
    }
}

/// The account's generations, newest first.
#[utoipa::path(get, path = "/v1/generations",
    params(("limit" = Option<u32>, Query, minimum = 1, maximum = 100), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = GenerationList), (status = 401, body = Problem), (status = 422, body = Problem)))]
pub async fn generations(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::reader(backend, request)?;
    let cursor = endpoint::query(request, "cursor");
    let page = backend
        .store
        .generations(account, cursor.as_deref(), endpoint::limit(request)?)
        .await?
        .ok_or_else(endpoint::bad_cursor)?;
    let mut generations = Vec::with_capacity(page.items.len());
    for generation in &page.items {
        generations.push(backend.view_in_a_list(generation).await?);
    }
    Ok(endpoint::json(200, &GenerationList { generations, next_cursor: page.next }))
}

/// One generation.
#[utoipa::path(get, path = "/v1/generations/{id}", params(("id" = String, Path)),
    responses((status = 200, body = GenerationView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn generation(backend: &Backend, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::reader(backend, request)?;
    let not_found = || Problem::not_found("generation", id);
    let generation_id: GenerationId = id.parse().map_err(|_| not_found())?;
    let generation = backend.store.generation(generation_id).await?.filter(|generation| generation.account == account);
    Ok(endpoint::json(200, &backend.view(&generation.ok_or_else(not_found)?).await?))
}

/// What can be asked for, and what it costs.
#[utoipa::path(get, path = "/v1/models", responses((status = 200, body = ModelList), (status = 401, body = Problem)))]
pub async fn models(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    endpoint::reader(backend, request)?;
    let models = backend.catalog().await?.offers().map(|offer| ModelView::from(&offer)).collect();
    Ok(endpoint::json(200, &ModelList { models }))
}

/// The balance.
#[utoipa::path(get, path = "/v1/account", responses((status = 200, body = AccountView), (status = 401, body = Problem)))]
pub async fn account(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::reader(backend, request)?;
    let account = backend.store.account(account).await?.ok_or_else(|| Problem::not_found("account", &account.to_string()))?;
    Ok(endpoint::json(200, &AccountView::of(&account, backend.now())))
}

/// Every change of the balance, newest first. CSV pages name the next one in the header `Link`.
#[utoipa::path(get, path = "/v1/account/ledger",
    params(
        ("since" = Option<String>, Query, description = "From then on: a time in RFC 3339, or a day, which begins in `time_zone`"),
        ("until" = Option<String>, Query, description = "Before then: a time or a day, as `since`"),
        ("kind" = Option<String>, Query, description = "Of these kinds, separated by commas: grant, hold, charge, release, adjust, expire"),
        ("time_zone" = Option<String>, Query, description = "An IANA time zone, as `Europe/Kyiv`; UTC unless said"),
        ("format" = Option<String>, Query, description = "`json` or `csv`"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 5000, description = "At most 100 in JSON (20 unless said), 5000 in CSV"),
        ("cursor" = Option<String>, Query),
    ),
    responses((status = 200, body = LedgerView), (status = 401, body = Problem), (status = 422, body = Problem)))]
pub async fn ledger(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::reader(backend, request)?;
    endpoint::ledger(backend, request, account).await
}

/// How far the erasure of all the account's content is.
#[utoipa::path(get, path = "/v1/account/content", responses(
    (status = 200, body = ErasureView), (status = 401, body = Problem),
    (status = 404, body = Problem, description = "It was never asked for"),
))]
pub async fn erasure(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::reader(backend, request)?;
    let erasure = backend.store.erasure(account).await?.ok_or_else(|| Problem::not_found("erasure of", &account.to_string()))?;
    Ok(endpoint::json(200, &ErasureView::from(&erasure)))
}

/// One media file, with a link to it.
#[utoipa::path(get, path = "/v1/assets/{id}", params(("id" = String, Path)),
    responses((status = 200, body = AssetView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn asset(backend: &Backend, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::reader(backend, request)?;
    let not_found = || Problem::not_found("asset", id);
    let asset_id: AssetId = id.parse().map_err(|_| not_found())?;
    let asset = backend.store.asset(account, asset_id).await?.ok_or_else(not_found)?;
    let url = match asset.status {
        AssetStatus::Ready if asset.is_gone(backend.now()) => None,
        AssetStatus::Ready => Some(backend.bucket.presign_get(&asset.key, backend.config.link_expires, None).await?),
        AssetStatus::Pending | AssetStatus::Erased => None,
    };
    Ok(endpoint::json(200, &asset.view(url)))
}
