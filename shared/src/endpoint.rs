//! Reading an API request and writing its answer: who asks, what they sent, what they get.

use jiff::Timestamp;
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::api::Problem;
use crate::backend::Backend;
use crate::catalog::Params;
use crate::ids::{AccountId, ApiKeyId};
use crate::keys::Scope;
use crate::store::StoreError;

mod boxes;
mod filter;
mod ledger;
mod rate_limits;

pub use boxes::{box_went, fitting_name, open_box, unknown_box};
pub use filter::{download_name, filter};
pub use ledger::ledger;
pub use rate_limits::answer;

/// The largest request body, in bytes. Media travel by presigned upload.
pub const MAX_BODY_BYTES: usize = 1_000_000;

/// Who asks, as the authorizer found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Whose credits and data it is about.
    pub account: AccountId,
    /// With which key.
    pub key: ApiKeyId,
}

/// What the authorizer puts into the request's context.
pub mod context {
    /// The account of a good key.
    pub const ACCOUNT: &str = "account";
    /// The id of the key.
    pub const KEY: &str = "key";
    /// What the key may do: words separated by spaces.
    pub const SCOPES: &str = "scopes";
    /// From when on the key opens nothing; left out: until it is revoked. The gateway remembers the rest for a while.
    pub const ENDS_AT: &str = "ends_at";
    /// How many requests a second may be made with the key; left out: only the account's limit counts.
    pub const KEY_RATE: &str = "key_requests_per_second";
    /// How many requests a second may be made with all keys of the account; left out: no limit.
    pub const ACCOUNT_RATE: &str = "account_requests_per_second";
}

/// The segments of the path: `["v1", "generations", "gen_…"]`.
pub fn segments(request: &Request) -> Vec<&str> {
    request.uri().path().trim_matches('/').split('/').collect()
}

/// Who asks, with a key that may read the account's own.
pub fn reader(backend: &Backend, request: &Request) -> Result<Caller, Problem> {
    caller(backend, request, &[Scope::User, Scope::Read], "for reading; use one with the scope `read` or `user`")
}

/// Who asks, with a key that may spend the account's credits and change what is its own.
pub fn user(backend: &Backend, request: &Request) -> Result<Caller, Problem> {
    caller(backend, request, &[Scope::User], "for this; use one with the scope `user`")
}

/// Who asks, with a key that may administrate.
pub fn admin(backend: &Backend, request: &Request) -> Result<Caller, Problem> {
    caller(backend, request, &[Scope::Admin], "for administration; use one with the scope `admin`")
}

fn caller(backend: &Backend, request: &Request, any_of: &[Scope], purpose: &str) -> Result<Caller, Problem> {
    let caller = anybody(backend, request)?;
    let mut scopes = authorized(request, context::SCOPES).unwrap_or_default().split(' ').filter_map(Scope::of);
    if scopes.any(|scope| any_of.contains(&scope)) {
        return Ok(caller);
    }
    Err(Problem::new(403, "forbidden", "Forbidden", format!("this API key is not {purpose}")))
}

/// Who asks, whatever the key is good for. A key that is not good reaches us without an account, so that the answer can say so; an HTTP API's
/// own refusal cannot.
fn anybody(backend: &Backend, request: &Request) -> Result<Caller, Problem> {
    let id = |name| authorized(request, name);
    let account = id(context::ACCOUNT).and_then(|account| account.parse().ok());
    let key = id(context::KEY).and_then(|key| key.parse().ok());
    let (Some(account), Some(key)) = (account, key) else { return Err(unauthenticated()) };
    let ends_at: Option<Timestamp> = id(context::ENDS_AT).and_then(|end| end.parse().ok());
    if ends_at.is_some_and(|end| end <= backend.now()) {
        return Err(unauthenticated());
    }
    Ok(Caller { account, key })
}

/// What the authorizer put into the request's context under this name.
fn authorized<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let context = request.request_context_ref()?;
    let RequestContext::ApiGatewayV2(gateway) = context else { return None };
    gateway.authorizer.as_ref()?.fields.get(name)?.as_str()
}

/// The refusal of a key that opens nothing.
pub fn unauthenticated() -> Problem {
    let detail = "the API key is missing, unknown, expired or revoked: send `Authorization: Bearer <api key>`";
    Problem::new(401, "unauthenticated", "Not authenticated", detail)
}

/// The name of the request in the logs of the gateway.
pub fn request_id(request: &Request) -> Option<String> {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(gateway)) => gateway.request_id.clone(),
        _ => None,
    }
}

/// A header's value, if it is text.
pub fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

/// The raw body.
pub fn bytes(request: &Request) -> &[u8] {
    request.body()
}

/// The body as a JSON object of this shape; each mistake has its own reason.
pub fn json_body<T: DeserializeOwned>(request: &Request, shape: &Params) -> Result<T, Problem> {
    let given = json_object(text(request)?)?;
    let body: Map<String, Value> = shape.check("", &given)?;
    serde_json::from_value(Value::Object(body)).map_err(|error| {
        let detail = format!("the body does not fit: {error}");
        Problem::new(422, "invalid_param", "Invalid parameter", detail)
    })
}

/// The body as text.
pub fn text(request: &Request) -> Result<&str, Problem> {
    let body = bytes(request);
    if body.len() > MAX_BODY_BYTES {
        let detail =
            format!("the body has {} bytes, at most {MAX_BODY_BYTES} are taken: upload media by `POST /v1/uploads`", body.len());
        return Err(Problem::new(413, "body_too_large", "Body too large", detail));
    }
    std::str::from_utf8(body).map_err(|error| {
        let detail = format!("the body is not UTF-8 at byte {}", error.valid_up_to());
        Problem::new(400, "invalid_utf8", "Invalid UTF-8", detail)
    })
}

/// A JSON object from the text of a body.
pub fn json_object(text: &str) -> Result<Map<String, Value>, Problem> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let detail = format!("the body is not JSON at line {}, column {}", error.line(), error.column());
        Problem::new(400, "invalid_json", "Invalid JSON", detail)
    })?;
    match value {
        Value::Object(given) => Ok(given),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(Problem::new(422, "invalid_type", "Invalid parameter", "the body has to be a JSON object"))
        }
    }
}

/// A query parameter.
pub fn query(request: &Request, name: &str) -> Option<String> {
    request.query_string_parameters_ref().and_then(|params| params.first(name)).map(str::to_owned)
}

/// The page size asked for: 1 to 100, 20 unless said.
pub fn limit(request: &Request) -> Result<i32, Problem> {
    limit_up_to(request, 100, 20)
}

/// The page size asked for: 1 to `most`, `default` unless said.
pub fn limit_up_to(request: &Request, most: i32, default: i32) -> Result<i32, Problem> {
    match query(request, "limit") {
        None => Ok(default),
        Some(text) => text.parse().ok().filter(|limit| (1..=most).contains(limit)).ok_or_else(|| {
            Problem::new(422, "out_of_range", "Invalid parameter", format!("`limit` is a number from 1 to {most}")).at("limit")
        }),
    }
}

/// The refusal of a cursor that is not ours.
pub fn bad_cursor() -> Problem {
    let detail = "use `next_cursor` of the page before, unchanged";
    Problem::new(422, "invalid_param", "Invalid parameter", detail).at("cursor")
}

/// An answer in JSON.
pub fn json(status: u16, body: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_string(body).unwrap_or_default();
    respond(status, "application/json", text)
}

/// Says that the answer was given before, to the same request.
pub fn mark_replayed(response: &mut Response<Body>) {
    response.headers_mut().insert("idempotency-replayed", http::HeaderValue::from_static("true"));
}

/// An answer that says only that it is done.
pub fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = http::StatusCode::NO_CONTENT;
    response.headers_mut().insert("cache-control", http::HeaderValue::from_static("no-store"));
    response
}

/// An error, with the request's id.
pub fn problem(request: &Request, mut problem: Problem) -> Response<Body> {
    problem.request_id = request_id(request);
    let text = serde_json::to_string(&problem).unwrap_or_default();
    let mut response = respond(problem.status, Problem::CONTENT_TYPE, text);
    if let Some(seconds) = problem.retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    if problem.status == 401 {
        response.headers_mut().insert("www-authenticate", http::HeaderValue::from_static("Bearer"));
    }
    response
}

/// An answer of any content type.
pub fn respond(status: u16, content_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::Text(text));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", http::HeaderValue::from_static(content_type));
    response.headers_mut().insert("cache-control", http::HeaderValue::from_static("no-store"));
    response
}

/// The route is in template.yaml and not in the function: a mistake of ours.
pub fn no_route(request: &Request) -> Problem {
    Problem::not_found("route", &format!("{} {}", request.method(), request.uri().path()))
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the table did not serve a request");
        match error {
            StoreError::Table { .. } | StoreError::TooBusy { .. } => Self::unavailable(),
            StoreError::InFlight { .. } => {
                let detail = "a request with this `Idempotency-Key` is in progress; ask again in a moment to get its answer";
                Self::new(409, "request_in_progress", "Request in progress", detail).retry_after(1)
            }
            StoreError::Encoding(_) | StoreError::Books { .. } | StoreError::Missing { .. } | StoreError::TooLarge { .. } => {
                Self::internal()
            }
        }
    }
}

impl From<crate::results::StoreError> for Problem {
    fn from(error: crate::results::StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the bucket did not serve a request");
        if error.is_retryable() { Self::unavailable() } else { Self::internal() }
    }
}

/// Seconds from now until `at`, at least one.
pub fn seconds_until(at: Timestamp, now: Timestamp) -> u32 {
    u32::try_from(at.duration_since(now).as_secs().max(1)).unwrap_or(u32::MAX)
}
