//! The OpenAPI description, made from the handlers and the types they take and give.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
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
        query::account,
        query::ledger,
        query::asset,
        query::erasure,
        erase::asset,
        erase::generation,
        erase::account,
        callback::receive,
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
    ),
    security(("api_key" = [])),
    modifiers(&ApiKey)
)]
struct Api;

struct ApiKey;

impl Modify for ApiKey {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("API key").build());
        openapi.components.get_or_insert_with(Default::default).add_security_scheme("api_key", scheme);
    }
}

/// The description as JSON: what `openapi.json` holds.
pub fn text() -> String {
    Api::openapi().to_pretty_json().unwrap_or_default()
}
