//! The functions' code, by the name of their binary: the same handlers that the Lambda functions run.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use lambda_http::request::LambdaRequest;
use lambda_http::{Body, LambdaEvent, Request, Response, Service, service_fn};
use lambda_runtime::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::backend::Backend;

use crate::invoker::{Handler, handler};

/// Every function, on the backend that its own environment makes.
pub fn handlers(backends: HashMap<String, Backend>) -> HashMap<String, Handler> {
    backends.into_iter().filter_map(|(binary, backend)| Some((binary.clone(), of(&binary, backend)?))).collect()
}

fn of(binary: &str, backend: Backend) -> Option<Handler> {
    let backend = Arc::new(backend);
    Some(match binary {
        "authorize" => {
            event(backend, async |backend, event| authorize::handle(&backend, event).await.map_err(|error| error.to_string()))
        }
        "presign" => http(backend, async |backend, request| presign::handle(&backend, request).await),
        "generate" => http(backend, async |backend, request| generate::handle(&backend, request).await),
        "query" => http(backend, async |backend, request| query::handle(&backend, request).await),
        "organize" => http(backend, async |backend, request| organize::handle(&backend, request).await),
        "erase" => http(backend, async |backend, request| erase::handle(&backend, request).await),
        "admin" => http(backend, async |backend, request| admin::handle(&backend, request).await),
        "callback" => http(backend, async |backend, request| callback::handle(&backend, request).await),
        "dispatch" => event(backend, async |backend, event| Ok(dispatch::handle(&backend, event).await)),
        "collect" => event(backend, async |backend, event| Ok(collect::handle(&backend, event).await)),
        "poll" => event(backend, async |backend, event| poll::handle(&backend, event).await.map_err(|error| error.to_string())),
        _ => return None,
    })
}

/// A function with an event of its own.
fn event<I, O, F>(backend: Arc<Backend>, run: impl Fn(Arc<Backend>, I) -> F + Send + Sync + Copy + 'static) -> Handler
where
    I: DeserializeOwned + Send,
    O: Serialize,
    F: Future<Output = Result<O, String>> + Send + 'static,
{
    handler(move |event| {
        let backend = Arc::clone(&backend);
        async move {
            let event = serde_json::from_value(event).map_err(|error| format!("the event does not fit: {error}"))?;
            let answer = run(backend, event).await?;
            serde_json::to_value(answer).map_err(|error| error.to_string())
        }
    })
}

/// A function behind the HTTP API: the event goes through the same adapter as on Lambda.
fn http<F>(backend: Arc<Backend>, run: impl Fn(Arc<Backend>, Request) -> F + Send + Sync + Copy + 'static) -> Handler
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    handler(move |event| {
        let backend = Arc::clone(&backend);
        async move {
            let payload: LambdaRequest =
                serde_json::from_value(event).map_err(|error| format!("the event does not fit: {error}"))?;
            let service = service_fn(move |request: Request| {
                let answer = run(Arc::clone(&backend), request);
                async move { Ok::<_, std::convert::Infallible>(answer.await) }
            });
            let answer = match lambda_http::Adapter::from(service).call(LambdaEvent::new(payload, Context::default())).await {
                Ok(answer) => answer,
                Err(never) => match never {},
            };
            serde_json::to_value(answer).map_err(|error| error.to_string())
        }
    })
}

#[cfg(test)]
mod tests;
