//! fal's queue API: submit, status, result, cancel, and the key set its webhooks are verified with.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::clock::random_bytes;

use super::fal_models::endpoint;
use super::jobs::{End, Ended, Failure, InputFault, Job, Order};
use super::keys::{FAL_USER, Keys};
use super::media::Plan;
use super::prompt::prompt_of;
use super::provider::{Provider, Refusal};
use super::run::{Message, Request, callback_headers, disk_failed, signature_to_send};
use super::{Reply, Simulators, base_url};

/// Longest data URI echoed in an error, in characters.
const MAX_ECHO: usize = 64;

pub(super) fn routes() -> Router<Simulators> {
    Router::new().route("/fal/.well-known/jwks.json", get(jwks)).route("/fal/{*path}", get(show).post(submit).put(cancel))
}

#[derive(Deserialize)]
struct SubmitQuery {
    fal_webhook: Option<String>,
}

#[derive(Deserialize)]
struct StatusQuery {
    logs: Option<String>,
}

async fn submit(
    State(sim): State<Simulators>,
    Path(path): Path<String>,
    Query(query): Query<SubmitQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let admitted = admit(&sim, &headers, &path, &body, query.fal_webhook.clone());
    let request = Request {
        provider: Provider::Fal,
        path: format!("/{path}"),
        headers: &headers,
        body: &body,
        callback_url: query.fal_webhook,
    };
    sim.take(request, admitted, queued).await
}

/// The queue takes any input: what is wrong with it shows in the result.
fn admit(
    sim: &Simulators,
    headers: &HeaderMap,
    endpoint: &str,
    input: &Value,
    callback_url: Option<String>,
) -> Result<Job, Reply> {
    let faults = sim.screen(Provider::Fal, headers, &prompt_of(input), refusal)?;
    if app_of(endpoint).is_none() || endpoint.split('/').any(|part| part == "requests") {
        return Err(Reply::json(StatusCode::NOT_FOUND, json!({"detail": format!("Path /{endpoint} not found")})));
    }
    let base = base_url(headers)
        .ok_or_else(|| request_error(StatusCode::BAD_REQUEST, "The request has no Host header", "bad_request"))?;
    let id = uuid::Builder::from_random_bytes(random_bytes()).into_uuid().to_string();
    let order = Order { model: endpoint.to_owned(), callback_url, ..Order::new(Provider::Fal, id, base, input.clone(), faults) };
    Ok(Job::new(order, sim.parts.clock.now()))
}

fn refusal(refusal: Refusal) -> Reply {
    match refusal {
        Refusal::Key => unauthenticated(),
        Refusal::Funds => {
            let detail = "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing.";
            Reply::json(StatusCode::FORBIDDEN, json!({"detail": detail}))
        }
        Refusal::Throttled { seconds } => Reply::json(StatusCode::TOO_MANY_REQUESTS, json!({"detail": "Too many requests"}))
            .with("retry-after", HeaderValue::from(seconds)),
        Refusal::Unavailable => {
            request_error(StatusCode::SERVICE_UNAVAILABLE, "Runner could not be scheduled", "runner_scheduling_failure")
        }
        Refusal::Input => {
            let text = "Input should be a valid string";
            let detail = json!([{"loc": ["body", "prompt"], "msg": text, "type": "string_type"}]);
            Reply::json(StatusCode::UNPROCESSABLE_ENTITY, json!({"detail": detail}))
        }
    }
}

/// The part of an endpoint id that the URLs of its requests keep: two segments, three under `workflows` and `comfy`.
fn app_of(endpoint: &str) -> Option<String> {
    let segments: Vec<&str> = endpoint.split('/').collect();
    let kept = if matches!(segments.first(), Some(&("workflows" | "comfy"))) { 3 } else { 2 };
    let app = segments.get(..kept)?;
    app.iter().all(|segment| !segment.is_empty()).then(|| app.join("/"))
}

fn request_url(job: &Job) -> String {
    let app = app_of(&job.model).unwrap_or_default();
    format!("{}/fal/{app}/requests/{}", job.base, job.id)
}

fn queued(job: &Job) -> Reply {
    let mut body = status_body(job, job.created_at, false);
    if job.callback.is_some() {
        body["gateway_request_id"] = json!(job.id);
    }
    Reply::json(StatusCode::OK, body)
}

/// What an address below an app points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaf {
    Result,
    Status,
    Cancel,
}

/// The job of `{app}/requests/{id}[/status|/cancel]`; none when it is unknown or another app's.
fn find(sim: &Simulators, path: &str) -> Option<(Job, Leaf)> {
    let (app, rest) = path.split_once("/requests/")?;
    let (id, leaf) = match rest.split_once('/') {
        None => (rest, Leaf::Result),
        Some((id, "status")) => (id, Leaf::Status),
        Some((id, "cancel")) => (id, Leaf::Cancel),
        Some(_) => return None,
    };
    let job = sim.parts.jobs.find(Provider::Fal, id)?;
    (app_of(&job.model).as_deref() == Some(app)).then_some((job, leaf))
}

async fn show(
    State(sim): State<Simulators>,
    Path(path): Path<String>,
    Query(query): Query<StatusQuery>,
    headers: HeaderMap,
) -> Reply {
    if !sim.parts.keys.admits(Provider::Fal, &headers) {
        return unauthenticated();
    }
    let Some((job, leaf)) = find(&sim, &path) else {
        return unknown();
    };
    let id = job.id.clone();
    let reply = match leaf {
        Leaf::Status => status(&job, sim.parts.clock.now(), query.logs.as_deref() == Some("1")),
        Leaf::Result => match sim.parts.jobs.read_result(job) {
            Ok(job) => result(&job),
            Err(error) => disk_failed(&error),
        },
        Leaf::Cancel => Reply::json(StatusCode::METHOD_NOT_ALLOWED, json!({"detail": "Method Not Allowed"})),
    };
    sim.parts.journal.record_poll(Provider::Fal, &id);
    reply
}

async fn cancel(State(sim): State<Simulators>, Path(path): Path<String>, headers: HeaderMap) -> Reply {
    if !sim.parts.keys.admits(Provider::Fal, &headers) {
        return unauthenticated();
    }
    let Some((job, Leaf::Cancel)) = find(&sim, &path) else {
        return unknown();
    };
    let reply = match sim.end(&job.id, End::Canceled) {
        Ok(true) => {
            sim.start(job.id.clone());
            Reply::json(StatusCode::ACCEPTED, json!({"status": "CANCELLATION_REQUESTED"}))
        }
        Ok(false) => Reply::json(StatusCode::BAD_REQUEST, json!({"status": "ALREADY_COMPLETED"})),
        Err(error) => disk_failed(&error),
    };
    sim.parts.journal.record_cancel(Provider::Fal, &job.id, reply.status.as_u16());
    reply
}

async fn jwks(State(sim): State<Simulators>) -> Response {
    Reply::json(StatusCode::OK, sim.parts.keys.fal_jwks()).into_response()
}

fn status(job: &Job, now: Timestamp, logs: bool) -> Reply {
    let code = if job.ended.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Reply::json(code, status_body(job, now, logs))
}

fn status_body(job: &Job, now: Timestamp, logs: bool) -> Value {
    let url = request_url(job);
    let word = match &job.ended {
        Some(_) => "COMPLETED",
        None if now <= job.starts_at => "IN_QUEUE",
        None => "IN_PROGRESS",
    };
    let mut body = json!({
        "status": word,
        "request_id": job.id,
        "response_url": url,
        "status_url": format!("{url}/status"),
        "cancel_url": format!("{url}/cancel"),
    });
    if word == "IN_QUEUE" {
        body["queue_position"] = json!(0);
        return body;
    }
    if logs {
        let started = job.starts_at.to_string();
        let timestamp = started.trim_end_matches('Z');
        body["logs"] = json!([{"timestamp": timestamp, "message": "The simulator has started the request", "labels": {}}]);
    }
    body["metrics"] = json!({});
    if let Some(ended) = &job.ended {
        let ran = ended.at.duration_since(job.starts_at.min(ended.at));
        body["metrics"] = json!({"inference_time": ran.as_secs_f64()});
        let outcome = outcome(job, ended);
        if !outcome.status.is_success() {
            body["error"] = json!(invalid_status(&outcome));
            body["error_type"] = error_type(&ended.end);
        }
    }
    body
}

fn result(job: &Job) -> Reply {
    let Some(ended) = &job.ended else {
        return Reply::json(StatusCode::BAD_REQUEST, json!({"detail": "Request is still in progress"}));
    };
    let outcome = outcome(job, ended);
    let id = HeaderValue::try_from(&job.id).expect("a UUID is visible ASCII");
    outcome.with("x-fal-request-id", id)
}

/// What the model answered, status and body.
fn outcome(job: &Job, ended: &Ended) -> Reply {
    let failure = match &ended.end {
        End::Files(files) => {
            let body = endpoint(&job.model, &job.input).output(job, files);
            return Reply::json(StatusCode::OK, body).with("x-fal-billable-units", HeaderValue::from(files.len()));
        }
        End::Text(text) => {
            let body = json!({"output": text});
            return Reply::json(StatusCode::OK, body).with("x-fal-billable-units", HeaderValue::from(1));
        }
        End::Canceled => {
            let status = StatusCode::from_u16(499).expect("499 is within the range of status codes");
            return request_error(status, "Request was cancelled", "client_cancelled");
        }
        End::Failed(failure) => failure,
    };
    let (status, detail) = match failure {
        Failure::Broken(text) => {
            let fault = InputFault::new("", "internal_server_error", text);
            (StatusCode::INTERNAL_SERVER_ERROR, vec![detail(job, &fault)])
        }
        Failure::Moderated => {
            let text = "The content could not be processed because it contained material flagged by a content checker.";
            let fault = InputFault::new("prompt", "content_policy_violation", text);
            (StatusCode::UNPROCESSABLE_ENTITY, vec![detail(job, &fault)])
        }
        Failure::Inputs(faults) => {
            let details = faults.iter().map(|fault| detail(job, fault)).collect();
            (StatusCode::UNPROCESSABLE_ENTITY, details)
        }
    };
    let retryable = if status.is_server_error() { "true" } else { "false" };
    Reply::json(status, json!({"detail": detail})).with("x-fal-retryable", HeaderValue::from_static(retryable))
}

/// One entry of a model error's `detail`.
fn detail(job: &Job, fault: &InputFault) -> Value {
    let mut loc = vec![json!("body")];
    if !fault.field.is_empty() {
        loc.push(json!(fault.field));
    }
    loc.extend(fault.index.map(|index| json!(index)));
    let value = job.input.get(&fault.field);
    let value = fault.index.map_or(value, |index| value.and_then(|list| list.get(index)));
    let echo = match value {
        None => json!({}),
        Some(Value::String(text)) => json!(text.chars().take(MAX_ECHO).collect::<String>()),
        Some(other) => other.clone(),
    };
    json!({
        "loc": loc,
        "msg": fault.text,
        "type": fault.kind,
        "url": format!("https://docs.fal.ai/errors/#{}", fault.kind),
        "ctx": {},
        "input": echo,
    })
}

fn error_type(end: &End) -> Value {
    match end {
        End::Files(_) | End::Text(_) => Value::Null,
        End::Canceled => json!("client_cancelled"),
        End::Failed(Failure::Broken(_)) => json!("internal_server_error"),
        End::Failed(Failure::Moderated) => json!("content_policy_violation"),
        End::Failed(Failure::Inputs(faults)) => {
            json!(faults.first().map(|fault| fault.kind.as_str()))
        }
    }
}

fn invalid_status(outcome: &Reply) -> String {
    format!("Invalid status code: {}", outcome.status.as_u16())
}

pub(super) fn plan(job: &Job) -> Result<Plan, Failure> {
    endpoint(&job.model, &job.input).plan(&job.model, &job.input).map_err(Failure::Inputs)
}

/// The webhook of an ended job, signed with Ed25519.
pub(super) fn callback(keys: &Keys, job: &Job, now: Timestamp) -> Message {
    let outcome = job.ended.as_ref().map(|ended| outcome(job, ended)).unwrap_or_else(unknown);
    let succeeded = outcome.status.is_success();
    let mut body = json!({
        "request_id": job.id,
        "gateway_request_id": job.id,
        "status": if succeeded { "OK" } else { "ERROR" },
    });
    if !succeeded {
        body["error"] = json!(invalid_status(&outcome));
    }
    body["payload"] = outcome.body;
    let body = body.to_string().into_bytes();
    let signature = signature_to_send(keys.sign_fal(&job.id, now.as_second(), &body), &job.faults);
    let headers = callback_headers(BTreeMap::from([
        ("x-fal-webhook-request-id", job.id.clone()),
        ("x-fal-webhook-user-id", FAL_USER.to_owned()),
        ("x-fal-webhook-timestamp", now.as_second().to_string()),
        ("x-fal-webhook-signature", hex::encode(signature)),
    ]));
    Message { headers, body }
}

/// An error of fal's own infrastructure.
fn request_error(status: StatusCode, detail: &str, error_type: &'static str) -> Reply {
    Reply::json(status, json!({"detail": detail, "error_type": error_type}))
        .with("x-fal-error-type", HeaderValue::from_static(error_type))
}

fn unauthenticated() -> Reply {
    Reply::json(StatusCode::UNAUTHORIZED, json!({"detail": "Authentication is required to access this application"}))
}

fn unknown() -> Reply {
    Reply::json(StatusCode::NOT_FOUND, json!({"status": "NOT_FOUND"}))
}

#[cfg(test)]
mod tests {
    use super::app_of;

    #[test]
    fn requests_keep_only_the_app_of_an_endpoint() {
        for (endpoint, app) in [
            ("fal-ai/flux/dev", Some("fal-ai/flux")),
            ("fal-ai/bytedance/seedream/v4/edit", Some("fal-ai/bytedance")),
            ("fal-ai/retoucher", Some("fal-ai/retoucher")),
            ("workflows/someone/portrait", Some("workflows/someone/portrait")),
            ("comfy/someone/portrait/x", Some("comfy/someone/portrait")),
            ("flux", None),
            ("fal-ai//x", None),
        ] {
            assert_eq!(app_of(endpoint).as_deref(), app, "{endpoint}");
        }
    }
}
