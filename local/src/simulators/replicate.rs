//! Replicate's HTTP API: predictions, their cancellation, and the webhook secret.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::clock::random_bytes;
use shared::draw::Format;

use super::jobs::{End, Failure, Job, Order};
use super::keys::Keys;
use super::media::{self, Drawing, Plan, Size};
use super::prompt::prompt_of;
use super::provider::{Provider, Refusal};
use super::replicate_checks::{check, rejected_prompt};
use super::run::{Message, Request, callback_headers, disk_failed, signature_to_send};
use super::{Reply, Simulators, base_url};

/// Inputs, outputs and logs are removed that long after the end.
const RETENTION: SignedDuration = SignedDuration::from_hours(1);

pub(super) fn routes() -> Router<Simulators> {
    Router::new()
        .route("/replicate/v1/predictions", post(create_by_version))
        .route("/replicate/v1/models/{owner}/{name}/predictions", post(create_by_model))
        .route("/replicate/v1/predictions/{id}", get(show))
        .route("/replicate/v1/predictions/{id}/cancel", post(cancel))
        .route("/replicate/v1/webhooks/default/secret", get(secret))
}

/// Which of the two ways to create a prediction was taken.
enum Route {
    Version,
    Model(String),
}

async fn create_by_version(
    State(sim): State<Simulators>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    create(sim, uri.path(), &headers, &body, Route::Version).await
}

async fn create_by_model(
    State(sim): State<Simulators>,
    OriginalUri(uri): OriginalUri,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    create(sim, uri.path(), &headers, &body, Route::Model(format!("{owner}/{name}"))).await
}

async fn create(sim: Simulators, path: &str, headers: &HeaderMap, body: &[u8], route: Route) -> Response {
    let body = serde_json::from_slice(body).unwrap_or(Value::Null);
    let admitted = admit(&sim, headers, &body, route);
    let request = Request {
        provider: Provider::Replicate,
        path: path.split_once("/replicate").map_or(path, |(_, own)| own).to_owned(),
        headers,
        callback_url: body.get("webhook").and_then(Value::as_str).map(str::to_owned),
        body: &body,
    };
    let created = |job: &Job| Reply::json(StatusCode::CREATED, prediction(job, job.created_at));
    sim.take(request, admitted, created).await
}

fn admit(sim: &Simulators, headers: &HeaderMap, body: &Value, route: Route) -> Result<Job, Reply> {
    let input = body.get("input").cloned().unwrap_or_default();
    let faults = sim.screen(Provider::Replicate, headers, &prompt_of(&input), refusal)?;
    check(body, matches!(route, Route::Version))?;
    let (model, version) = match route {
        Route::Model(model) => (model, "hidden".to_owned()),
        Route::Version => model_and_version(body["version"].as_str().unwrap_or_default()).ok_or_else(|| {
            problem(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Invalid version or not permitted",
                "The specified version does not exist (or perhaps you don't have permission to use it?)",
            )
        })?,
    };
    let base =
        base_url(headers).ok_or_else(|| problem(StatusCode::BAD_REQUEST, "Bad Request", "The request has no Host header."))?;
    let wanted = body.get("webhook_events_filter").and_then(Value::as_array);
    let completed_wanted = wanted.is_none_or(|events| events.iter().any(|event| event == "completed"));
    let callback_url = body.get("webhook").and_then(Value::as_str).filter(|_| completed_wanted).map(str::to_owned);
    let order = Order {
        model,
        version,
        callback_url,
        message_id: format!("msg_{}", hex::encode(random_bytes::<12>())),
        ..Order::new(Provider::Replicate, random_bytes::<26>().map(id_letter).iter().collect(), base, input, faults)
    };
    Ok(Job::new(order, sim.parts.clock.now()))
}

fn refusal(refusal: Refusal) -> Reply {
    match refusal {
        Refusal::Key => unauthenticated(),
        Refusal::Funds => problem(
            StatusCode::PAYMENT_REQUIRED,
            "Insufficient credit",
            "You have insufficient credit to run this model. Go to https://replicate.com/account/billing#billing to purchase \
             credit. Once you purchase credit, please wait a few minutes before trying again.",
        ),
        Refusal::Throttled { seconds } => {
            let body = json!({"detail": format!("Request was throttled. Your rate limit resets in ~{seconds}s.")});
            Reply::json(StatusCode::TOO_MANY_REQUESTS, body).with("retry-after", HeaderValue::from(seconds))
        }
        Refusal::Unavailable => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", "The service is temporarily unavailable.")
        }
        Refusal::Input => rejected_prompt(),
    }
}

fn id_letter(byte: u8) -> char {
    char::from(b"abcdefghijklmnopqrstuvwxyz234567"[usize::from(byte % 32)])
}

/// `{64 hex}`, `owner/name:{64 hex}` or `owner/name`.
fn model_and_version(version: &str) -> Option<(String, String)> {
    let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_model = |text: &str| {
        text.split_once('/').is_some_and(|(owner, name)| !owner.is_empty() && !name.is_empty() && !name.contains('/'))
    };
    match version.split_once(':') {
        Some((model, hash)) if is_model(model) && is_hash(hash) => Some((model.to_owned(), hash.to_owned())),
        None if is_model(version) => Some((version.to_owned(), "hidden".to_owned())),
        // A bare hash does not tell whose it is.
        None if is_hash(version) => Some(("simulated/model".to_owned(), version.to_owned())),
        Some(_) | None => None,
    }
}

async fn show(State(sim): State<Simulators>, Path(id): Path<String>, headers: HeaderMap) -> Reply {
    if !sim.parts.keys.admits(Provider::Replicate, &headers) {
        return unauthenticated();
    }
    let Some(job) = sim.parts.jobs.find(Provider::Replicate, &id) else {
        return not_found();
    };
    let reply = match sim.parts.jobs.read_result(job) {
        Ok(job) => Reply::json(StatusCode::OK, prediction(&job, sim.parts.clock.now())),
        Err(error) => disk_failed(&error),
    };
    sim.parts.journal.record_poll(Provider::Replicate, &id);
    reply
}

/// A finished prediction is answered as it is; canceling is a terminal state too, so its webhook is sent.
async fn cancel(State(sim): State<Simulators>, Path(id): Path<String>, headers: HeaderMap) -> Reply {
    if !sim.parts.keys.admits(Provider::Replicate, &headers) {
        return unauthenticated();
    }
    if sim.parts.jobs.find(Provider::Replicate, &id).is_none() {
        return not_found();
    }
    match sim.end(&id, End::Canceled) {
        Ok(true) => sim.start(id.clone()),
        Ok(false) => {}
        Err(error) => return disk_failed(&error),
    }
    let Some(job) = sim.parts.jobs.get(&id) else {
        return not_found();
    };
    let reply = Reply::json(StatusCode::OK, prediction(&job, sim.parts.clock.now()));
    sim.parts.journal.record_cancel(Provider::Replicate, &id, reply.status.as_u16());
    reply
}

async fn secret(State(sim): State<Simulators>, headers: HeaderMap) -> Response {
    if !sim.parts.keys.admits(Provider::Replicate, &headers) {
        return unauthenticated().into_response();
    }
    Reply::json(StatusCode::OK, json!({"key": sim.parts.keys.secret(Provider::Replicate)})).into_response()
}

pub(super) fn data_removed(job: &Job, now: Timestamp) -> bool {
    job.ended.as_ref().is_some_and(|ended| now.duration_since(ended.at) > RETENTION)
}

/// The prediction object as it is at `now`.
fn prediction(job: &Job, now: Timestamp) -> Value {
    let ended = job.ended.as_ref();
    let (status, output, error) = match ended.map(|ended| &ended.end) {
        None if now <= job.starts_at => ("starting", Value::Null, Value::Null),
        None => ("processing", Value::Null, Value::Null),
        Some(End::Files(files)) => ("succeeded", files.iter().map(|file| job.link(file)).collect(), Value::Null),
        Some(End::Text(text)) => ("succeeded", json!(text), Value::Null),
        Some(End::Failed(failure)) => ("failed", Value::Null, json!(error_text(failure))),
        Some(End::Canceled) => ("canceled", Value::Null, Value::Null),
    };
    let removed = data_removed(job, now);
    let started_at = Some(job.starts_at).filter(|start| *start < ended.map_or(now, |ended| ended.at));
    let base = format!("{}/replicate", job.base);
    let mut object = json!({
        "id": job.id,
        "model": job.model,
        "version": job.version,
        "input": if removed { json!({}) } else { job.input.clone() },
        "logs": "",
        "output": if removed { Value::Null } else { output },
        "error": error,
        "status": status,
        "created_at": time(job.created_at),
        "source": "api",
        "data_removed": removed,
        "started_at": started_at.map(time),
        "completed_at": ended.map(|ended| time(ended.at)),
        "urls": {
            "web": format!("{base}/p/{}", job.id),
            "get": format!("{base}/v1/predictions/{}", job.id),
            "cancel": format!("{base}/v1/predictions/{}/cancel", job.id),
        },
    });
    if let (Some(ended), Some(started_at)) = (ended, started_at) {
        object["metrics"] = json!({
            "predict_time": ended.at.duration_since(started_at).as_secs_f64(),
            "total_time": ended.at.duration_since(job.created_at).as_secs_f64(),
        });
    }
    object
}

fn time(time: Timestamp) -> String {
    format!("{time:.6}")
}

fn error_text(failure: &Failure) -> String {
    match failure {
        Failure::Broken(text) => format!("Error running the model: {text}"),
        Failure::Moderated => {
            "The input or output was flagged as sensitive. Please try again with different inputs. (E005)".to_owned()
        }
        Failure::Inputs(faults) => faults.iter().map(|fault| fault.text.as_str()).collect::<Vec<_>>().join("; "),
    }
}

/// What an admitted prediction makes: a list of pictures.
pub(super) fn plan(job: &Job) -> Plan {
    let input = &job.input;
    let word = |name: &str| input.get(name).and_then(Value::as_str);
    let number = |name: &str| input.get(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    let sides = match (number("width"), number("height")) {
        (None, None) => None,
        (width, height) => Some(Size::new(width.unwrap_or(1024), height.unwrap_or(1024))),
    };
    Plan::Images(Drawing {
        count: number("num_outputs").unwrap_or(1),
        format: match word("output_format") {
            Some("png") => Format::Png,
            Some("jpg") => Format::Jpeg,
            Some(_) | None => Format::Webp,
        },
        size: word("aspect_ratio").and_then(Size::of_aspect_ratio).or(sides),
        input_scale: if job.model.contains("upscal") { 2 } else { 1 },
        default_size: Size::new(1024, 1024),
        text: word("prompt").unwrap_or(&job.model).to_owned(),
        inputs: media::linked_pictures(&job.input),
        png_inputs_only: false,
    })
}

/// The terminal webhook: the prediction object, signed as Standard Webhooks.
pub(super) fn callback(keys: &Keys, job: &Job, message_id: &str, now: Timestamp) -> Message {
    let body = prediction(job, now).to_string().into_bytes();
    let signature = signature_to_send(keys.sign_replicate(message_id, now.as_second(), &body), &job.faults);
    let headers = callback_headers(BTreeMap::from([
        ("webhook-id", message_id.to_owned()),
        ("webhook-timestamp", now.as_second().to_string()),
        ("webhook-signature", format!("v1,{}", BASE64_STANDARD.encode(signature))),
    ]));
    Message { headers, body }
}

fn problem(status: StatusCode, title: &str, detail: &str) -> Reply {
    Reply::json(status, json!({"title": title, "detail": detail, "status": status.as_u16()}))
}

fn unauthenticated() -> Reply {
    problem(StatusCode::UNAUTHORIZED, "Unauthenticated", "You did not pass a valid authentication token")
}

fn not_found() -> Reply {
    problem(StatusCode::NOT_FOUND, "Not Found", "The requested resource could not be found.")
}
