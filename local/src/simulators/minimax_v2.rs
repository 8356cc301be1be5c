//! The second generation of MiniMax's video API: MiniMax-H3, with real HTTP errors and a cancel.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{delete, get, post};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::clock::random_bytes;

use super::jobs::{End, Failure, Job, Kind, Order};
use super::media::{Clip, InputLink, Size};
use super::minimax::{failure_code, task_id};
use super::minimax_checks::check_v2;
use super::prompt::prompt_of;
use super::provider::{Provider, Refusal};
use super::run::{Request, disk_failed};
use super::{Reply, Simulators, base_url};

/// Older tasks are not known any more.
const QUERIED: SignedDuration = SignedDuration::from_hours(7 * 24);
const MAX_PAGE: usize = 100;

pub(super) fn routes() -> Router<Simulators> {
    Router::new()
        .route("/minimax/v2/video_generation", post(create))
        .route("/minimax/v2/video_generation/{task}", delete(remove))
        .route("/minimax/v2/query/video_generation", get(list))
        .route("/minimax/v2/query/video_generation/{task}", get(show))
}

async fn create(State(sim): State<Simulators>, headers: HeaderMap, body: Bytes) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let callback_url = body.get("callback_url").and_then(Value::as_str).map(str::to_owned);
    let admitted = admit(&sim, &headers, &body, callback_url.clone());
    let path = "/v2/video_generation".to_owned();
    let request = Request { provider: Provider::Minimax, path, headers: &headers, body: &body, callback_url };
    sim.take(request, admitted, |job| Reply::json(StatusCode::OK, json!({"task_id": job.id}))).await
}

fn admit(sim: &Simulators, headers: &HeaderMap, body: &Value, callback_url: Option<String>) -> Result<Job, Reply> {
    let faults = sim.screen(Provider::Minimax, headers, &prompt_of(body), refusal)?;
    check_v2(body, |id| sim.parts.uploads.facts(id).is_some())
        .map_err(|wrong| bad_request(&format!("{} {}", wrong.field, wrong.text)))?;
    let base = base_url(headers).ok_or_else(|| bad_request("the request has no Host header"))?;
    let order = Order {
        kind: Kind::Video,
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        version: "v2".to_owned(),
        callback_url,
        handshake: true,
        ..Order::new(Provider::Minimax, task_id(), base, body.clone(), faults)
    };
    Ok(Job::new(order, sim.parts.clock.now()))
}

fn refusal(refusal: Refusal) -> Reply {
    match refusal {
        Refusal::Key => error(StatusCode::UNAUTHORIZED, "authorized_error", 1004, "login fail"),
        Refusal::Funds => error(StatusCode::PAYMENT_REQUIRED, "insufficient_balance_error", 1008, "insufficient balance"),
        Refusal::Throttled { .. } => error(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", 1002, "rate limit exceeded"),
        Refusal::Unavailable => error(StatusCode::INTERNAL_SERVER_ERROR, "server_error", 1000, "unknown error"),
        Refusal::Input => bad_request("content is not valid"),
    }
}

/// A task of this generation that can still be asked about.
fn find(sim: &Simulators, id: &str) -> Option<Job> {
    let job = sim.parts.jobs.find(Provider::Minimax, id)?;
    is_known(&job, sim.parts.clock.now()).then_some(job)
}

fn is_known(job: &Job, now: Timestamp) -> bool {
    job.version == "v2" && now.duration_since(job.created_at) <= QUERIED
}

async fn show(State(sim): State<Simulators>, Path(id): Path<String>, headers: HeaderMap) -> Reply {
    if !sim.parts.keys.admits(Provider::Minimax, &headers) {
        return refusal(Refusal::Key);
    }
    let Some(job) = find(&sim, &id) else {
        return bad_request("invalid task_id");
    };
    sim.parts.journal.record_poll(Provider::Minimax, &id);
    match sim.parts.jobs.read_result(job) {
        Ok(job) => Reply::json(StatusCode::OK, task(&job, sim.parts.clock.now())),
        Err(error) => disk_failed(&error),
    }
}

#[derive(Deserialize)]
struct ListQuery {
    page_num: Option<usize>,
    page_size: Option<usize>,
    #[serde(rename = "filter.status")]
    status: Option<String>,
}

async fn list(State(sim): State<Simulators>, Query(query): Query<ListQuery>, headers: HeaderMap) -> Reply {
    if !sim.parts.keys.admits(Provider::Minimax, &headers) {
        return refusal(Refusal::Key);
    }
    let now = sim.parts.clock.now();
    let jobs = sim.parts.jobs.all(Provider::Minimax).into_iter().filter(|job| is_known(job, now));
    let tasks = jobs.map(|job| task(&job, now)["task"].take());
    let tasks: Vec<Value> =
        tasks.filter(|task| query.status.as_ref().is_none_or(|status| task["status"] == status.as_str())).collect();
    let size = query.page_size.unwrap_or(10).clamp(1, MAX_PAGE);
    let page: Vec<&Value> = tasks.iter().skip(query.page_num.unwrap_or(1).saturating_sub(1) * size).take(size).collect();
    Reply::json(StatusCode::OK, json!({"items": page, "total": tasks.len()}))
}

/// Cancels a task that waits, removes the record of one that ended; one that runs or is cancelled already stays.
async fn remove(State(sim): State<Simulators>, Path(id): Path<String>, headers: HeaderMap) -> Reply {
    if !sim.parts.keys.admits(Provider::Minimax, &headers) {
        return refusal(Refusal::Key);
    }
    let Some(job) = find(&sim, &id) else {
        return bad_request("invalid task_id");
    };
    let reply = match status(&job, sim.parts.clock.now()) {
        "queued" => match sim.end(&id, End::Canceled) {
            Ok(true) => {
                sim.start(id.clone());
                removed(&id, "cancel", "cancelled")
            }
            Ok(false) => bad_request("the task is not queued any more"),
            Err(error) => disk_failed(&error),
        },
        ended @ ("succeeded" | "failed") => match sim.parts.jobs.remove(&id) {
            Ok(()) => removed(&id, "delete", ended),
            Err(error) => disk_failed(&error),
        },
        other => bad_request(&format!("a task that is {other} cannot be cancelled or deleted")),
    };
    sim.parts.journal.record_cancel(Provider::Minimax, &id, reply.status.as_u16());
    reply
}

fn removed(id: &str, action: &str, status: &str) -> Reply {
    Reply::json(StatusCode::OK, json!({"task_id": id, "action": action, "status": status}))
}

fn status(job: &Job, now: Timestamp) -> &'static str {
    match job.ended.as_ref().map(|ended| &ended.end) {
        None if now <= job.starts_at => "queued",
        None => "running",
        Some(End::Files(_) | End::Text(_)) => "succeeded",
        Some(End::Failed(_)) => "failed",
        Some(End::Canceled) => "cancelled",
    }
}

/// The answer to a query, and the callback's body.
pub(super) fn task(job: &Job, now: Timestamp) -> Value {
    let ended = job.ended.as_ref();
    let seconds = seconds(&job.input);
    let updated = ended.map_or(if now <= job.starts_at { job.created_at } else { job.starts_at }, |ended| ended.at);
    let mut task = json!({
        "id": job.id,
        "model": job.model,
        "status": status(job, now),
        "error": null,
        "created_at": job.created_at.as_second(),
        "updated_at": updated.as_second(),
        "resolution": job.input.get("resolution").unwrap_or(&json!("768P")),
        "duration": seconds,
        "ratio": job.input.get("ratio").unwrap_or(&json!("adaptive")),
        "task_type": "generation",
        "modality": "video",
    });
    match ended.map(|ended| &ended.end) {
        Some(End::Files(files)) => {
            task["content"] = json!({"url": files.first().map(|file| job.link(file))});
            task["usage"] = json!({
                "total_seconds": seconds, "input_seconds": 0, "output_seconds": seconds, "input_image_count": pictures(&job.input).count(),
                "input_audio_seconds": 0, "total_tokens": 0, "prompt_tokens": 0, "completion_tokens": 0,
            });
        }
        Some(End::Failed(failure)) => {
            let (code, message) = match failure {
                Failure::Moderated => (1026, "the input has sensitive content".to_owned()),
                Failure::Broken(_) | Failure::Inputs(_) => failure_code(failure),
            };
            task["error"] = json!({"code": code.to_string(), "message": message});
        }
        Some(End::Text(_) | End::Canceled) | None => {}
    }
    json!({"task": task})
}

fn seconds(input: &Value) -> u32 {
    input.get("duration").and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok()).unwrap_or(5)
}

fn pictures(input: &Value) -> impl Iterator<Item = &str> {
    let items = input.get("content").and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| item.pointer("/image_url/url").and_then(Value::as_str))
}

/// The video asked for.
pub(super) fn clip(input: &Value, text: String) -> Clip {
    let side = match input.get("resolution").and_then(Value::as_str) {
        Some("480P") => 480,
        Some("2K") => 1440,
        Some(_) | None => 768,
    };
    let ratio = input.get("ratio").and_then(Value::as_str).filter(|ratio| *ratio != "adaptive").unwrap_or("16:9");
    // Uploaded files are known to be there: they are not fetched.
    let links = pictures(input).filter(|url| !url.starts_with("mm_file://"));
    Clip {
        size: Size::with_short_side(ratio, side).unwrap_or(Size::new(1366, 768)),
        seconds: seconds(input),
        text,
        inputs: links.map(|url| InputLink::new("content", url)).collect(),
    }
}

/// An error of the second generation. Its numeric code is in parentheses at the end of the message.
fn error(status: StatusCode, kind: &str, code: u32, text: &str) -> Reply {
    let error = json!({"type": kind, "message": format!("{text} ({code})"), "http_code": status.as_str()});
    Reply::json(status, json!({"type": "error", "error": error, "request_id": hex::encode(random_bytes::<16>())}))
}

fn bad_request(text: &str) -> Reply {
    error(StatusCode::BAD_REQUEST, "bad_request_error", 2013, &format!("invalid params, {text}"))
}
