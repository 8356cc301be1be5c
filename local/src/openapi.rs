//! The OpenAPI description, made from the handlers and the types they take and give.

use shared::api::Problem;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(title = "Darkroom", description = "Images by many providers, paid with credits.", license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")),
    paths(
        presign::create,
        presign::complete,
        generate::quotes::quote,
        generate::create,
        generate::cancel,
        query::generations,
        query::generation,
        query::models,
        query::tools,
        query::account,
        query::ledger,
        query::assets,
        query::asset,
        query::boxes,
        query::asset_box,
        query::erasure,
        organize::create,
        organize::rename,
        organize::change_asset,
        erase::asset,
        erase::generation,
        erase::asset_box,
        erase::account,
        callback::receive,
        admin::accounts::create_account,
        admin::accounts::accounts,
        admin::accounts::account,
        admin::accounts::change_account,
        admin::accounts::account_ledger,
        admin::accounts::account_actions,
        admin::credits::add_credits,
        admin::keys::create_key,
        admin::keys::keys,
        admin::keys::revoke_key,
        admin::keys::rotate_key,
        admin::catalog,
        admin::providers,
        admin::provider,
        admin::put_provider,
        admin::remove_provider,
        admin::model,
        admin::put_model,
        admin::remove_model,
        admin::chain,
        admin::put_chain,
        admin::remove_chain,
        admin::erasure::erase_content,
        admin::reconciliations::one,
        admin::reconciliations::page,
        admin::status::status,
        admin::status::redrive,
        admin::generations::show,
        admin::generations::retry,
        admin::generations::release,
        admin::generations::charge,
    ),
    security(("api_key" = [])),
    modifiers(&ApiKey, &Limited)
)]
struct Api;

struct ApiKey;

impl Modify for ApiKey {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("API key").build());
        openapi.components.get_or_insert_with(Default::default).add_security_scheme("api_key", scheme);
    }
}

/// Every route with an API key takes its turn.
struct Limited;

impl Modify for Limited {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let keyless = |path: &str| path.starts_with("/v1/callbacks/");
        let routes = openapi.paths.paths.iter_mut().filter(|(path, _)| !keyless(path));
        let operations =
            routes.flat_map(|(_, route)| [&mut route.get, &mut route.put, &mut route.post, &mut route.patch, &mut route.delete]);
        for operation in operations.filter_map(Option::as_mut) {
            let described = operation.responses.responses.entry("429".to_owned());
            described.or_insert_with(|| RefOr::T(too_many()));
        }
    }
}

fn too_many() -> Response {
    let problem = Content::new(Some(Ref::from_schema_name("Problem")));
    ResponseBuilder::new()
        .description("Too many requests; `RateLimit` and `RateLimit-Policy`, on every answer, tell how many are left")
        .content(Problem::CONTENT_TYPE, problem)
        .build()
}

/// The description as JSON: what `openapi.json` holds.
pub fn text() -> String {
    Api::openapi().to_pretty_json().unwrap_or_default()
}
