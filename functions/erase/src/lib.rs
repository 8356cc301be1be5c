//! Content erased on request, while the bill stays: one asset, one generation, a box, or all of an account's.

use lambda_http::{Body, Request, Response};
use shared::api::{BoxView, ErasureView, Problem};
use shared::backend::Backend;
use shared::boxes::BoxContent;
use shared::endpoint::{self, Caller};
use shared::erasure;
use shared::ids::{AssetId, BoxId, GenerationId};

/// Answers the `DELETE` routes of accounts.
pub async fn handle(backend: &Backend, request: Request) -> Response<Body> {
    endpoint::answer(backend, &request, route(backend, &request)).await
}

async fn route(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    match (request.method().as_str(), endpoint::segments(request).as_slice()) {
        ("DELETE", ["v1", "assets", id]) => asset(backend, request, id).await,
        ("DELETE", ["v1", "generations", id, "content"]) => generation(backend, request, id).await,
        ("DELETE", ["v1", "boxes", id]) => asset_box(backend, request, id).await,
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

/// Remove a box, and its name at once. Without `content` only an empty one is. What a generation under way would have put into it
/// comes without a box.
#[utoipa::path(delete, path = "/v1/boxes/{id}",
    params(
        ("id" = String, Path),
        ("content" = Option<String>, Query, description = "`keep`: its assets stay, without a box. `erase`: each is erased, as by `DELETE /v1/assets/{id}`"),
    ),
    responses(
        (status = 204, description = "Removed"),
        (status = 202, body = BoxView, description = "Being removed: it holds much, and the work goes on by itself"),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "It is not empty"), (status = 422, body = Problem), (status = 503, body = Problem),
    ))]
pub async fn asset_box(backend: &Backend, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::user(backend, request)?;
    let not_found = || Problem::not_found("box", id);
    let box_id: BoxId = id.parse().map_err(|_| not_found())?;
    let own = backend.store.asset_box(account, box_id).await?.ok_or_else(not_found)?;
    let content = match endpoint::query(request, "content").as_deref() {
        Some("keep") => BoxContent::Keep,
        Some("erase") => BoxContent::Erase,
        Some(_) => {
            let detail = "`content` is `keep` or `erase`";
            return Err(Problem::new(422, "invalid_param", "Invalid parameter", detail).at("content"));
        }
        None if own.removal.is_some() => own.removal.map_or(BoxContent::Keep, |removal| removal.content),
        None if backend.store.members(account, box_id, 1).await?.is_empty() => BoxContent::Keep,
        None => {
            let detail = format!(
                "the box `{box_id}` is not empty: say `?content=keep` to keep its assets without a box, or `?content=erase` to erase them"
            );
            return Err(Problem::new(409, "box_not_empty", "Box not empty", detail));
        }
    };
    let closed = own.removing(content, backend.now()).view();
    if erasure::remove_box(backend, own, content).await? {
        return Ok(endpoint::no_content());
    }
    Ok(endpoint::json(202, &closed))
}

/// Erase all content that the account has at this moment: every asset, the content of every generation, and every box. What has not ended is canceled
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
