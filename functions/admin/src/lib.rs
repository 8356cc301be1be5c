//! For administrators: how everything stands; accounts, their keys and credits; generations by hand; whether the books are right; providers, models and chains while
//! the product runs, and how providers stand. Every route needs a key with the scope `admin`.

use lambda_http::{Body, Request, RequestExt, Response};
use shared::api::{CatalogChange, CatalogEntryList, CatalogEntryView, Problem, ProviderList};
use shared::backend::Backend;
use shared::catalog::entry::CatalogKind;
use shared::endpoint;

pub mod accounts;
pub mod credits;
mod entries;
pub mod erasure;
pub mod generations;
pub mod keys;
mod providers;
pub mod reconciliations;
pub mod status;

/// Answers `/v1/admin/…`.
pub async fn handle(backend: &Backend, request: Request) -> Response<Body> {
    endpoint::answer(backend, &request, route(backend, &request)).await
}

async fn route(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    let caller = endpoint::admin(backend, request)?;
    let parameters = request.path_parameters();
    // A model's name has slashes; the path parameter has all of it.
    let name = parameters.first("name").unwrap_or_default();
    match (request.method().as_str(), endpoint::segments(request).as_slice()) {
        ("POST", ["v1", "admin", "accounts"]) => accounts::create_account(backend, caller, request).await,
        ("GET", ["v1", "admin", "accounts"]) => accounts::accounts(backend, request).await,
        ("GET", ["v1", "admin", "accounts", id]) => accounts::account(backend, id).await,
        ("PATCH", ["v1", "admin", "accounts", id]) => accounts::change_account(backend, caller, request, id).await,
        ("GET", ["v1", "admin", "accounts", id, "ledger"]) => accounts::account_ledger(backend, request, id).await,
        ("GET", ["v1", "admin", "accounts", id, "actions"]) => accounts::account_actions(backend, request, id).await,
        ("POST", ["v1", "admin", "accounts", id, "credits"]) => credits::add_credits(backend, caller, request, id).await,
        ("POST", ["v1", "admin", "accounts", id, "keys"]) => keys::create_key(backend, caller, request, id).await,
        ("GET", ["v1", "admin", "accounts", id, "keys"]) => keys::keys(backend, id).await,
        ("DELETE", ["v1", "admin", "accounts", id, "keys", key]) => keys::revoke_key(backend, caller, id, key).await,
        ("POST", ["v1", "admin", "accounts", id, "keys", key, "rotate"]) => {
            keys::rotate_key(backend, caller, request, id, key).await
        }
        ("GET", ["v1", "admin", "catalog"]) => catalog(backend).await,
        ("GET", ["v1", "admin", "providers"]) => providers(backend).await,
        ("GET", ["v1", "admin", "providers", _]) => provider(backend, name).await,
        ("PUT", ["v1", "admin", "providers", _]) => put_provider(backend, request, name).await,
        ("DELETE", ["v1", "admin", "providers", _]) => remove_provider(backend, request, name).await,
        ("GET", ["v1", "admin", "models", _, ..]) => model(backend, name).await,
        ("PUT", ["v1", "admin", "models", _, ..]) => put_model(backend, request, name).await,
        ("DELETE", ["v1", "admin", "models", _, ..]) => remove_model(backend, request, name).await,
        ("GET", ["v1", "admin", "chains", _]) => chain(backend, name).await,
        ("PUT", ["v1", "admin", "chains", _]) => put_chain(backend, request, name).await,
        ("DELETE", ["v1", "admin", "chains", _]) => remove_chain(backend, request, name).await,
        ("DELETE", ["v1", "admin", "accounts", id, "content"]) => erasure::erase_content(backend, request, id).await,
        ("GET", ["v1", "admin", "generations", id]) => generations::show(backend, id).await,
        ("GET", ["v1", "admin", "accounts", id, "reconciliation"]) => reconciliations::one(backend, id).await,
        ("GET", ["v1", "admin", "reconciliations"]) => reconciliations::page(backend, request).await,
        ("GET", ["v1", "admin", "status"]) => status::status(backend).await,
        ("POST", ["v1", "admin", "dead-letters", queue, "redrive"]) => status::redrive(backend, caller, queue).await,
        ("POST", ["v1", "admin", "generations", id, "retry"]) => generations::retry(backend, request, caller, id).await,
        ("POST", ["v1", "admin", "generations", id, "release"]) => generations::release(backend, request, caller, id).await,
        ("POST", ["v1", "admin", "generations", id, "charge"]) => generations::charge(backend, request, caller, id).await,
        _ => Err(endpoint::no_route(request)),
    }
}

/// What was put at run time, without the bodies.
#[utoipa::path(get, path = "/v1/admin/catalog", responses(
    (status = 200, body = CatalogEntryList), (status = 401, body = Problem), (status = 403, body = Problem),
))]
pub async fn catalog(backend: &Backend) -> Result<Response<Body>, Problem> {
    let entries = backend.store.catalog_entries().await?;
    Ok(endpoint::json(200, &CatalogEntryList { entries: entries.into_iter().map(CatalogEntryView::line).collect() }))
}

/// Every provider: its keys, limits, load, health and what it bills.
#[utoipa::path(get, path = "/v1/admin/providers", responses(
    (status = 200, body = ProviderList), (status = 401, body = Problem), (status = 403, body = Problem),
))]
pub async fn providers(backend: &Backend) -> Result<Response<Body>, Problem> {
    Ok(endpoint::json(200, &ProviderList { providers: providers::all(backend).await? }))
}

/// A provider's manifest that was put at run time.
#[utoipa::path(get, path = "/v1/admin/providers/{name}", params(("name" = String, Path)), responses(
    (status = 200, body = CatalogEntryView), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
))]
pub async fn provider(backend: &Backend, name: &str) -> Result<Response<Body>, Problem> {
    entries::show(backend, CatalogKind::Provider, name).await
}

/// Put a provider, or a new version of it in the place of the one of this name, built-in or not. The body is a manifest; its `version` is
/// given by the server. Generations that were accepted before go on under the version that they were accepted with.
#[utoipa::path(put, path = "/v1/admin/providers/{name}", request_body = Value,
    params(("name" = String, Path), ("If-Match" = Option<String>, Header, description = "Only over this version")),
    responses(
        (status = 200, body = CatalogChange, description = "It holds; the same body again is the same version"),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 412, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ))]
pub async fn put_provider(backend: &Backend, request: &Request, name: &str) -> Result<Response<Body>, Problem> {
    entries::put(backend, request, CatalogKind::Provider, name).await
}

/// Take a provider away again that was put at run time; the built-in one of its name is back. Running generations end as they began.
#[utoipa::path(delete, path = "/v1/admin/providers/{name}",
    params(("name" = String, Path), ("If-Match" = Option<String>, Header, description = "Only this version")),
    responses(
        (status = 200, body = CatalogChange), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "Something else needs it"), (status = 412, body = Problem),
    ))]
pub async fn remove_provider(backend: &Backend, request: &Request, name: &str) -> Result<Response<Body>, Problem> {
    entries::remove(backend, request, CatalogKind::Provider, name).await
}

/// A model that was put at run time.
#[utoipa::path(get, path = "/v1/admin/models/{name}", params(("name" = String, Path, description = "With its slashes")), responses(
    (status = 200, body = CatalogEntryView), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
))]
pub async fn model(backend: &Backend, name: &str) -> Result<Response<Body>, Problem> {
    entries::show(backend, CatalogKind::Model, name).await
}

/// Put a model of a provider that is there, or a new version of it. The body is a model as in its provider's manifest.
#[utoipa::path(put, path = "/v1/admin/models/{name}", request_body = Value,
    params(
        ("name" = String, Path, description = "With its slashes"),
        ("If-Match" = Option<String>, Header, description = "Only over this version"),
    ),
    responses(
        (status = 200, body = CatalogChange, description = "It holds; the same body again is the same version"),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 412, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ))]
pub async fn put_model(backend: &Backend, request: &Request, name: &str) -> Result<Response<Body>, Problem> {
    entries::put(backend, request, CatalogKind::Model, name).await
}

/// Take a model away again that was put at run time; that of its provider's manifest is back, if there is one.
#[utoipa::path(delete, path = "/v1/admin/models/{name}",
    params(
        ("name" = String, Path, description = "With its slashes"),
        ("If-Match" = Option<String>, Header, description = "Only this version"),
    ),
    responses(
        (status = 200, body = CatalogChange), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "Something else needs it"), (status = 412, body = Problem),
    ))]
pub async fn remove_model(backend: &Backend, request: &Request, name: &str) -> Result<Response<Body>, Problem> {
    entries::remove(backend, request, CatalogKind::Model, name).await
}

/// A chain that was put at run time.
#[utoipa::path(get, path = "/v1/admin/chains/{name}", params(("name" = String, Path)), responses(
    (status = 200, body = CatalogEntryView), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
))]
pub async fn chain(backend: &Backend, name: &str) -> Result<Response<Body>, Problem> {
    entries::show(backend, CatalogKind::Chain, name).await
}

/// Put a chain of models that are there, or a new version of it. Its `version` is given by the server.
#[utoipa::path(put, path = "/v1/admin/chains/{name}", request_body = Value,
    params(("name" = String, Path), ("If-Match" = Option<String>, Header, description = "Only over this version")),
    responses(
        (status = 200, body = CatalogChange, description = "It holds; the same body again is the same version"),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 412, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ))]
pub async fn put_chain(backend: &Backend, request: &Request, name: &str) -> Result<Response<Body>, Problem> {
    entries::put(backend, request, CatalogKind::Chain, name).await
}

/// Take a chain away again that was put at run time; the built-in one of its name is back.
#[utoipa::path(delete, path = "/v1/admin/chains/{name}",
    params(("name" = String, Path), ("If-Match" = Option<String>, Header, description = "Only this version")),
    responses(
        (status = 200, body = CatalogChange), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "Something else needs it"), (status = 412, body = Problem),
    ))]
pub async fn remove_chain(backend: &Backend, request: &Request, name: &str) -> Result<Response<Body>, Problem> {
    entries::remove(backend, request, CatalogKind::Chain, name).await
}
