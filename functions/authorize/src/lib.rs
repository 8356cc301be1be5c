//! Whose key is it? The HTTP API asks before each request and remembers the answer for as long as template.yaml says.
//!
//! A key that opens nothing is let through without an account: the function behind it answers 401 as problem+json, which an HTTP API's own
//! refusal could not.

use aws_lambda_events::event::apigw::{ApiGatewayV2CustomAuthorizerSimpleResponse, ApiGatewayV2CustomAuthorizerV2Request};
use lambda_runtime::Error;
use serde_json::{Map, Value};
use shared::backend::Backend;
use shared::endpoint::context;
use shared::keys::ApiKey;
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
            Some(key) if key.has_ended(backend.now()) => tracing::info!(key = %key.id, "an API key that has ended"),
            Some(key) => {
                context = context_of(&key, account_rate(backend, &key).await);
                if let Err(error) = backend.store.note_use(key.account, key.id, backend.now()).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, key = %key.id, "the key's use was not noted");
                }
            }
            None => tracing::info!("an unknown API key"),
        }
    }
    let mut response = ApiGatewayV2CustomAuthorizerSimpleResponse::default();
    response.is_authorized = true;
    response.context = Value::Object(context);
    Ok(response)
}

/// Requests a second of the key's account, or of the deployment. An account that cannot be read keeps nobody out: the table is asked again for
/// whatever is done with the key.
async fn account_rate(backend: &Backend, key: &ApiKey) -> Option<u32> {
    let own = match backend.store.account(key.account).await {
        Ok(account) => account.and_then(|account| account.requests_per_second),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, account = %key.account, "the account's limit was not read");
            None
        }
    };
    own.or(backend.config.requests_per_second)
}

fn context_of(key: &ApiKey, account_rate: Option<u32>) -> Map<String, Value> {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.word()).collect();
    let ends_at = key.ends_at().map(|end| (context::ENDS_AT, end.to_string()));
    let rates = [(context::KEY_RATE, key.requests_per_second), (context::ACCOUNT_RATE, account_rate)];
    let rates = rates.into_iter().filter_map(|(name, rate)| Some((name, rate?.to_string())));
    let always =
        [(context::ACCOUNT, key.account.to_string()), (context::KEY, key.id.to_string()), (context::SCOPES, scopes.join(" "))];
    always.into_iter().chain(ends_at).chain(rates).map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
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
