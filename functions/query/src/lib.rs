//! What a customer can see: generations, models, the account and its ledger, assets and boxes. Changes nothing: only requests are counted.

use lambda_http::{Body, Request, Response};
use shared::api::{
    AccountView, AssetList, AssetStatus, AssetView, BoxList, BoxView, ErasureView, GenerationList, GenerationView, LedgerQuery,
    LedgerView, ModelList, ModelView, Problem, ToolList, ToolView,
};
use shared::assets::Asset;
use shared::backend::Backend;
use shared::endpoint::{self, Caller};
use shared::ids::{AssetId, BoxId, GenerationId};

/// Answers the `GET` routes.
pub async fn handle(backend: &Backend, request: Request) -> Response<Body> {
    endpoint::answer(backend, &request, route(backend, &request)).await
}

async fn route(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    match (request.method().as_str(), endpoint::segments(request).as_slice()) {
        ("GET", ["v1", "generations"]) => generations(backend, request).await,
        ("GET", ["v1", "generations", id]) => generation(backend, request, id).await,
        ("GET", ["v1", "models"]) => models(backend, request).await,
        ("GET", ["v1", "tools"]) => tools(backend, request).await,
        ("GET", ["v1", "account"]) => account(backend, request).await,
        ("GET", ["v1", "account", "ledger"]) => ledger(backend, request).await,
        ("GET", ["v1", "account", "content"]) => erasure(backend, request).await,
        ("GET", ["v1", "assets"]) => assets(backend, request).await,
        ("GET", ["v1", "assets", id]) => asset(backend, request, id).await,
        ("GET", ["v1", "boxes"]) => boxes(backend, request).await,
        ("GET", ["v1", "boxes", id]) => asset_box(backend, request, id).await,
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

/// Everything that can be asked for by what it does.
#[utoipa::path(get, path = "/v1/tools", responses((status = 200, body = ToolList), (status = 401, body = Problem)))]
pub async fn tools(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    endpoint::reader(backend, request)?;
    let tools = backend.catalog().await?.tools().map(|chain| ToolView::from(chain.as_ref())).collect();
    Ok(endpoint::json(200, &ToolList { tools }))
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
        LedgerQuery,
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

/// The account's uploads and results, newest first, with links. What is erased and what has expired is left out. With `kind` or `source` a
/// page may be short, or empty, though a further one follows: the list has ended when `next_cursor` is null.
#[utoipa::path(get, path = "/v1/assets",
    params(
        ("box" = Option<String>, Query, description = "Only what is in this box"),
        ("kind" = Option<String>, Query, description = "`image`, `video`, `text` or `json`"),
        ("source" = Option<String>, Query, description = "`uploaded`, `generated` or `derived`"),
        ("since" = Option<String>, Query, description = "From then on: a time in RFC 3339, or a day (UTC)"),
        ("until" = Option<String>, Query, description = "Before then: a time or a day, as `since`"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query),
    ),
    responses((status = 200, body = AssetList), (status = 401, body = Problem), (status = 422, body = Problem)))]
pub async fn assets(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::reader(backend, request)?;
    let (filter, cursor) = (endpoint::filter(request)?, endpoint::query(request, "cursor"));
    let page = backend.store.assets(account, &filter, cursor.as_deref(), endpoint::limit(request)?, backend.now()).await?;
    let page = page.ok_or_else(endpoint::bad_cursor)?;
    let mut assets = Vec::with_capacity(page.items.len());
    for asset in &page.items {
        assets.push(asset.view(url(backend, asset, None).await?));
    }
    Ok(endpoint::json(200, &AssetList { assets, next_cursor: page.next }))
}

/// One media file, with a link to it.
#[utoipa::path(get, path = "/v1/assets/{id}",
    params(
        ("id" = String, Path),
        ("download" = Option<String>, Query, description = "`1`: the link makes browsers save the file instead of showing it"),
        ("filename" = Option<String>, Query, description = "Under this name; the asset's own unless said. 1 to 200 characters"),
    ),
    responses(
        (status = 200, body = AssetView), (status = 401, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem),
    ))]
pub async fn asset(backend: &Backend, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::reader(backend, request)?;
    let not_found = || Problem::not_found("asset", id);
    let asset_id: AssetId = id.parse().map_err(|_| not_found())?;
    let asset = backend.store.asset(account, asset_id).await?.ok_or_else(not_found)?;
    let name = endpoint::download_name(request, &asset)?;
    Ok(endpoint::json(200, &asset.view(url(backend, &asset, name.as_deref()).await?)))
}

/// A link to what can be had.
async fn url(backend: &Backend, asset: &Asset, download_name: Option<&str>) -> Result<Option<String>, Problem> {
    match asset.status {
        AssetStatus::Ready if asset.is_gone(backend.now()) => Ok(None),
        AssetStatus::Ready => Ok(Some(backend.bucket.presign_get(&asset.key, backend.config.link_expires, download_name).await?)),
        AssetStatus::Pending | AssetStatus::Failed | AssetStatus::Erased => Ok(None),
    }
}

/// The account's boxes, newest first.
#[utoipa::path(get, path = "/v1/boxes",
    params(("limit" = Option<u32>, Query, minimum = 1, maximum = 100), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = BoxList), (status = 401, body = Problem), (status = 422, body = Problem)))]
pub async fn boxes(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::reader(backend, request)?;
    let cursor = endpoint::query(request, "cursor");
    let page = backend.store.boxes(account, cursor.as_deref(), endpoint::limit(request)?).await?;
    let page = page.ok_or_else(endpoint::bad_cursor)?;
    let boxes = page.items.iter().map(|own| own.view()).collect();
    Ok(endpoint::json(200, &BoxList { boxes, next_cursor: page.next }))
}

/// One box. What is in it, `GET /v1/assets?box=` lists.
#[utoipa::path(get, path = "/v1/boxes/{id}", params(("id" = String, Path)),
    responses((status = 200, body = BoxView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn asset_box(backend: &Backend, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::reader(backend, request)?;
    let not_found = || Problem::not_found("box", id);
    let box_id: BoxId = id.parse().map_err(|_| not_found())?;
    let own = backend.store.asset_box(account, box_id).await?.ok_or_else(not_found)?;
    Ok(endpoint::json(200, &own.view()))
}
