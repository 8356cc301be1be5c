//! API Gateway's HTTP API, as far as the template uses it: routes, the Lambda authorizer with its cache, events in payload
//! format 2.0, limits and the answers API Gateway itself gives.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use base64::Engine as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::clock::{Clock, random_bytes};
use tracing::{error, info};

use self::event::{Incoming, http_response};
use self::routes::{Match, Routes};
use crate::invoker::{InvokeError, Invoker};
use crate::template::{Authorizer, Cors, Template};

mod cors;
mod event;
mod routes;
#[cfg(test)]
mod tests;

/// The longest an integration may take (HTTP API quota "Maximum integration timeout", not adjustable).
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest request body (HTTP API quota "Payload size").
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;
/// The authorizer's answers that are kept before those that are over are thrown out.
const MAX_CACHED: usize = 10_000;

/// The front door of the local run.
pub struct Gateway {
    routes: Routes,
    authorizer: Option<Authorizer>,
    cors: Option<Cors>,
    invoker: Arc<Invoker>,
    clock: Clock,
    /// The authorizer's answers by identity; in API Gateway too a refusal is kept like a permission.
    cache: Mutex<HashMap<String, Cached>>,
}

struct Cached {
    answer: Verdict,
    until: Timestamp,
}

#[derive(Clone)]
enum Verdict {
    Allowed { context: Value },
    Refused,
}

/// What API Gateway answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Unauthorized,
    Forbidden,
    NotFound,
    TooLarge,
    FunctionFailed,
    Unavailable,
}

impl Gateway {
    pub fn new(template: &Template, invoker: Arc<Invoker>, clock: Clock) -> Self {
        let authorizer = template.authorizer.clone();
        let cors = template.cors.clone();
        Self { routes: Routes::new(template), authorizer, cors, invoker, clock, cache: Mutex::default() }
    }

    /// Answers what `extra` has no route for. `extra` must not have a fallback of its own, and the router is to be served
    /// with `into_make_service_with_connect_info::<SocketAddr>()`.
    pub fn router(self: Arc<Self>, extra: Router) -> Router {
        extra.fallback_service(Router::new().fallback(answer).with_state(self))
    }

    /// Serves until `stop` resolves; requests that run then are finished.
    pub async fn serve(
        self: Arc<Self>,
        listener: tokio::net::TcpListener,
        extra: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let service = self.router(extra).into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, service).with_graceful_shutdown(stop).await
    }

    async fn handle(
        &self,
        found: &Match<'_>,
        request: Request,
        client: SocketAddr,
        request_id: &str,
    ) -> Result<Response<Body>, Refusal> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| Refusal::TooLarge)?;
        let incoming = Incoming { parts: &parts, body: &body, client, request_id, now: self.clock.now() };
        let context = match &self.authorizer {
            Some(authorizer) if found.auth => Some(self.authorize(authorizer, &incoming, found).await?),
            Some(_) | None => None,
        };
        let event = incoming.http_event(found, context.as_ref());
        let invocation = self.invoker.invoke(found.function, event);
        match tokio::time::timeout(INTEGRATION_TIMEOUT, invocation).await {
            Ok(Ok(answer)) => http_response(&answer).ok_or_else(|| {
                error!(function = found.function, "the function's answer is not a payload format 2.0 response");
                Refusal::FunctionFailed
            }),
            Ok(Err(InvokeError::Failed { .. } | InvokeError::Panicked { .. } | InvokeError::Unknown { .. })) => {
                Err(Refusal::FunctionFailed)
            }
            Ok(Err(InvokeError::TimedOut { .. } | InvokeError::Stopped { .. })) | Err(_) => Err(Refusal::Unavailable),
        }
    }

    /// The authorizer's context for the function, if it lets the request through.
    async fn authorize(&self, authorizer: &Authorizer, incoming: &Incoming<'_>, found: &Match<'_>) -> Result<Value, Refusal> {
        let identity = incoming.parts.headers.get(&authorizer.header).and_then(|value| value.to_str().ok());
        let identity = identity.filter(|value| !value.is_empty()).ok_or(Refusal::Unauthorized)?;
        let verdict = match self.cached(identity) {
            Some(verdict) => verdict,
            None => {
                let event = incoming.authorizer_event(found, identity);
                let answer = self.invoker.invoke(&authorizer.function, event).await.map_err(|_| Refusal::FunctionFailed)?;
                let verdict = Verdict::read(&answer).ok_or_else(|| {
                    error!(function = authorizer.function, "the authorizer's answer lacks a boolean `isAuthorized`");
                    Refusal::FunctionFailed
                })?;
                self.keep(identity, &verdict, authorizer.ttl);
                verdict
            }
        };
        match verdict {
            Verdict::Allowed { context } => Ok(context),
            Verdict::Refused => Err(Refusal::Forbidden),
        }
    }

    fn cached(&self, identity: &str) -> Option<Verdict> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(identity).filter(|cached| cached.until > self.clock.now()).map(|cached| cached.answer.clone())
    }

    fn keep(&self, identity: &str, answer: &Verdict, ttl: Duration) {
        let now = self.clock.now();
        let Ok(until) = now.checked_add(ttl) else {
            return;
        };
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MAX_CACHED {
            cache.retain(|_, cached| cached.until > now);
        }
        if cache.len() < MAX_CACHED {
            cache.insert(identity.to_owned(), Cached { answer: answer.clone(), until });
        }
    }
}

impl Verdict {
    /// Reads a "simple response"; none if it is not one.
    fn read(answer: &Value) -> Option<Self> {
        match answer.get("isAuthorized")?.as_bool()? {
            true => Some(Self::Allowed { context: answer.get("context").cloned().unwrap_or_else(|| json!({})) }),
            false => Some(Self::Refused),
        }
    }
}

impl Refusal {
    fn response(self) -> Response<Body> {
        let (status, message) = match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::NotFound => (StatusCode::NOT_FOUND, "Not Found"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
            Self::FunctionFailed => (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        };
        let mut response = Response::new(Body::from(json!({ "message": message }).to_string()));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

async fn answer(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response<Body> {
    // Sixteen characters of base64, as API Gateway's ids are.
    let request_id = base64::engine::general_purpose::URL_SAFE.encode(random_bytes::<11>());
    let cors = gateway.cors.as_ref();
    if let Some(response) = cors.and_then(|cors| cors::preflight(cors, request.method(), request.headers())) {
        return response;
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let found = gateway.routes.find(request.method().as_str(), request.uri().path());
    // The route and not the path, which can hold a token.
    let route = found.as_ref().map_or_else(|| "none".to_owned(), |found| found.route_key.clone());
    let outcome = match &found {
        Some(found) => gateway.handle(found, request, client, &request_id).await,
        None => Err(Refusal::NotFound),
    };
    let mut response = outcome.unwrap_or_else(Refusal::response);
    info!(route, status = response.status().as_u16(), request_id, "request answered");
    if let (Some(cors), Some(origin)) = (cors, origin) {
        cors::allow(cors, &origin, response.headers_mut());
    }
    if let Ok(value) = HeaderValue::try_from(&request_id) {
        response.headers_mut().insert(HeaderName::from_static("apigw-requestid"), value);
    }
    response
}
