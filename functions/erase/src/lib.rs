//! Content erased on request, while the bill stays: one asset, one generation, or all of an account's.

use lambda_http::{Body, Request, Response};
use shared::api::{ErasureView, Problem};
use shared::backend::Backend;
use shared::endpoint::{self, Caller};
use shared::erasure;
use shared::ids::{AssetId, GenerationId};

/// Answers the `DELETE` routes of accounts.
pub async fn handle(backend: &Backend, request: Request) -> Response<Body> {
    endpoint::answer(backend, &request, route(backend, &request)).await
}

async fn route(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    match (request.method().as_str(), endpoint::segments(request).as_slice()) {
        ("DELETE", ["v1", "assets", id]) => asset(backend, request, id).await,
        ("DELETE", ["v1", "generations", id, "content"]) => generation(backend, request, id).await,
        ("DELETE", ["v1", "account", "content"]) => account(backend, request).await,
        _ => Err(endpoint::no_route(request)),
    }
}

/// Erase a file, uploaded or made: it is deleted, and so are its name, type and size. Its id stays, with the status `erased`; a generation
/// that made it lists it with `erased`. Saying it again changes nothing.
#[utoipa::path(delete, path = "/v1/assets/{id}", params(("id" = String, Path)), responses(
    (status = 204, description = "Erased"),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem),
))]
pub async fn asset(backend: &Backend, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::user(backend, request)?;
    let not_found = || Problem::not_found("asset", id);
    let asset_id: AssetId = id.parse().map_err(|_| not_found())?;
    let asset = backend.store.asset(account, asset_id).await?.ok_or_else(not_found)?;
    erasure::erase_asset(backend, asset).await?;
    tracing::info!(%account, asset = %asset_id, "an asset is erased");
    Ok(endpoint::no_content())
}

/// Erase what a generation was asked for and what it delivered: parameters, results, texts, messages of failures. What it cost stays,
/// with its ids, times, models and classes of failures. Files that were given to it are assets of their own and stay. Saying it again
/// changes nothing.
#[utoipa::path(delete, path = "/v1/generations/{id}/content", params(("id" = String, Path)), responses(
    (status = 204, description = "Erased"),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, body = Problem, description = "It has not ended"), (status = 503, body = Problem),
))]
pub async fn generation(backend: &Backend, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::user(backend, request)?;
    let not_found = || Problem::not_found("generation", id);
    let generation_id: GenerationId = id.parse().map_err(|_| not_found())?;
    let generation = backend.store.generation(generation_id).await?.filter(|generation| generation.account == account);
    if !erasure::erase_generation(backend, generation.ok_or_else(not_found)?).await? {
        let detail =
            "the generation has not ended, or a late result of it is still being copied: cancel it or wait, then ask again";
        return Err(Problem::new(409, "not_ended", "Not ended", detail));
    }
    tracing::info!(%account, generation = %generation_id, "a generation's content is erased");
    Ok(endpoint::no_content())
}

/// Erase all content that the account has at this moment: every asset, and the content of every generation. What has not ended is canceled
/// and erased when it has ended. The work goes on by itself; `GET /v1/account/content` says how far it is. Asking again begins anew, and
/// takes in what has come since.
#[utoipa::path(delete, path = "/v1/account/content", responses(
    (status = 202, body = ErasureView, description = "Noted"),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
))]
pub async fn account(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::user(backend, request)?;
    let erasure = erasure::erase_account(backend, account, None).await?;
    Ok(endpoint::json(202, &ErasureView::from(&erasure)))
}
