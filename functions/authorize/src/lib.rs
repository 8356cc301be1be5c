//! Whose key is it? The HTTP API asks before each request and remembers the answer for as long as template.yaml says.
//!
//! A key that opens nothing is let through without an account: the function behind it answers 401 as problem+json, which an HTTP API's own
//! refusal could not.

use aws_lambda_events::event::apigw::{ApiGatewayV2CustomAuthorizerSimpleResponse, ApiGatewayV2CustomAuthorizerV2Request};
use lambda_runtime::Error;
use serde_json::{Map, Value};
use shared::backend::Backend;
use shared::endpoint::context;
use shared::signature::fingerprint;

/// API keys are shorter than this; longer headers are not looked up.
const MAX_KEY_CHARS: usize = 200;

/// Answers the HTTP API's authorizer request (payload 2.0, simple response). An error makes it answer 500: the key could not be checked.
pub async fn handle(
    backend: &Backend,
    request: ApiGatewayV2CustomAuthorizerV2Request,
) -> Result<ApiGatewayV2CustomAuthorizerSimpleResponse, Error> {
    let mut context = Map::new();
    let header = request.headers.get("authorization").and_then(|value| value.to_str().ok());
    if let Some(key) = header.and_then(bearer) {
        match backend.store.api_key(&fingerprint(key.as_bytes())).await? {
            Some(key) => {
                context.insert(context::ACCOUNT.to_owned(), Value::from(key.account.to_string()));
                context.insert(context::SCOPES.to_owned(), Value::from(key.scopes.join(" ")));
            }
            None => tracing::info!("an unknown API key"),
        }
    }
    let mut response = ApiGatewayV2CustomAuthorizerSimpleResponse::default();
    response.is_authorized = true;
    response.context = Value::Object(context);
    Ok(response)
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, key) = header.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty() && key.len() <= MAX_KEY_CHARS).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bearer_keys_are_looked_up() {
        assert_eq!(bearer("Bearer dk_1"), Some("dk_1"));
        assert_eq!(bearer("bearer  dk_1 "), Some("dk_1"));
        assert_eq!(bearer("Basic dk_1"), None);
        assert_eq!(bearer("Bearer "), None);
        assert_eq!(bearer("dk_1"), None);
        assert_eq!(bearer(&format!("Bearer {}", "k".repeat(201))), None);
    }
}
