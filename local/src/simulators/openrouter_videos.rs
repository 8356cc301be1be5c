//! OpenRouter's Videos API: submit, poll, the file (which needs the key), and the webhook.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fields::{Fields, Wrong};
use super::jobs::{End, Failure, Job, Order};
use super::keys::Keys;
use super::media::{self, Size};
use super::openrouter::{input_problem, model_of, order, picture_link, problem, refusal};
use super::openrouter_images::references;
use super::outbound::may_be_called;
use super::prompt::prompt_of;
use super::provider::{Provider, Refusal};
use super::run::{Message, Request, callback_headers, disk_failed, signature_to_send};
use super::wanted::{Make, Wanted, of_short_side, sides};
use super::{Reply, Simulators};

const RATIOS: [&str; 8] = ["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9"];
const RESOLUTIONS: [&str; 7] = ["480p", "720p", "768p", "1080p", "1K", "2K", "4K"];

pub(super) async fn create(State(sim): State<Simulators>, headers: HeaderMap, body: Bytes) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let admitted = admit(&sim, &headers, &body);
    let request = Request {
        provider: Provider::Openrouter,
        path: "/api/v1/videos".to_owned(),
        headers: &headers,
        callback_url: body.get("callback_url").and_then(Value::as_str).map(str::to_owned),
        body: &body,
    };
    sim.take(request, admitted, accepted).await
}

fn accepted(job: &Job) -> Reply {
    let body = json!({"id": job.id, "polling_url": polling_url(job), "status": "pending", "generation_id": null});
    Reply::json(StatusCode::ACCEPTED, body)
}

fn admit(sim: &Simulators, headers: &HeaderMap, body: &Value) -> Result<Job, Reply> {
    let faults = sim.screen(Provider::Openrouter, headers, &prompt_of(body), refusal)?;
    let model = model_of(body)?;
    let fields = Fields::of_json(body);
    let wanted = wanted(fields).map_err(|wrong| input_problem(&wrong))?;
    let callback_url = fields.text("callback_url", 1..=2_048).map_err(|wrong| input_problem(&wrong))?;
    if callback_url.is_some_and(|url| !may_be_called(url)) {
        return Err(input_problem(&Wrong::new("callback_url", "must be an HTTPS URL")));
    }
    let order = order(headers, "job-", model, wanted, faults);
    let order = Order { callback_url: callback_url.map(str::to_owned), ..order };
    Ok(Job::new(order, sim.parts.clock.now()))
}

fn wanted(fields: Fields<'_>) -> Result<Wanted, Wrong> {
    let prompt = fields.required_text("prompt", 1..=usize::MAX)?;
    let seconds = fields.whole("duration", 1..=600)?.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(8);
    fields.flag("generate_audio")?;
    fields.whole("seed", i64::MIN..=i64::MAX)?;
    let size = size(fields)?;
    let mut pictures = frames(fields)?;
    pictures.extend(references(fields)?);
    let make = Make::Video { size, seconds };
    Ok(Wanted { prompt: prompt.to_owned(), field: "frame_images".to_owned(), pictures, make, echo: json!({}) })
}

fn size(fields: Fields<'_>) -> Result<Size, Wrong> {
    let ratio = fields.word("aspect_ratio", &RATIOS)?.unwrap_or("16:9");
    let resolution = fields.word("resolution", &RESOLUTIONS)?;
    if let Some(size) = fields.text("size", 1..=20)? {
        if resolution.is_some() {
            return Err(Wrong::new("size", "cannot be combined with resolution"));
        }
        return sides(size).ok_or_else(|| Wrong::new("size", "must be sides such as 1280x720"));
    }
    let short = match resolution.unwrap_or("720p") {
        "480p" => 480,
        "768p" => 768,
        "1080p" | "1K" => 1_080,
        "2K" => 1_440,
        "4K" => 2_160,
        _ => 720,
    };
    Ok(of_short_side(ratio, short).unwrap_or(Size::new(1_280, 720)))
}

fn frames(fields: Fields<'_>) -> Result<Vec<String>, Wrong> {
    let Some(frames) = fields.get("frame_images") else {
        return Ok(Vec::new());
    };
    let frames = frames.as_array().ok_or_else(|| Wrong::new("frame_images", "must be a list"))?;
    let link = |frame: &Value| {
        let word = Fields::of_json(frame).word("frame_type", &["first_frame", "last_frame"])?;
        word.ok_or_else(|| Wrong::required("frame_type"))?;
        picture_link(frame)
    };
    frames.iter().map(link).collect()
}

pub(super) async fn show(State(sim): State<Simulators>, Path(id): Path<String>, headers: HeaderMap) -> Reply {
    if !sim.parts.keys.admits(Provider::Openrouter, &headers) {
        return refusal(Refusal::Key);
    }
    let Some(job) = find(&sim, &id) else {
        return unknown(&id);
    };
    let reply = match sim.parts.jobs.read_result(job) {
        Ok(job) => Reply::json(StatusCode::OK, status(&job, sim.parts.clock.now())),
        Err(error) => disk_failed(&error),
    };
    sim.parts.journal.record_poll(Provider::Openrouter, &id);
    reply
}

/// Chats and pictures are jobs of this provider, too, which nobody may ask for.
fn find(sim: &Simulators, id: &str) -> Option<Job> {
    sim.parts.jobs.find(Provider::Openrouter, id).filter(|job| job.id.starts_with("job-"))
}

fn unknown(id: &str) -> Reply {
    problem(StatusCode::NOT_FOUND, &format!("Video job {id} not found"), json!({}))
}

/// A path of the host that answers, as documented.
fn polling_url(job: &Job) -> String {
    format!("/_sim/openrouter/api/v1/videos/{}", job.id)
}

fn generation_id(job: &Job) -> String {
    job.id.replacen("job-", "gen-", 1)
}

fn status_word(job: &Job, now: Timestamp) -> &'static str {
    match job.ended.as_ref().map(|ended| &ended.end) {
        None if now <= job.starts_at => "pending",
        None => "in_progress",
        Some(End::Files(_) | End::Text(_)) => "completed",
        Some(End::Failed(_)) => "failed",
        Some(End::Canceled) => "cancelled",
    }
}

fn status(job: &Job, now: Timestamp) -> Value {
    let mut body = json!({"id": job.id, "polling_url": polling_url(job), "status": status_word(job, now)});
    match job.ended.as_ref().map(|ended| &ended.end) {
        Some(End::Files(_)) => {
            body["generation_id"] = json!(generation_id(job));
            body["unsigned_urls"] = json!([content_url(job)]);
            body["usage"] = json!({"cost": 0.4, "is_byok": false});
        }
        Some(End::Failed(failure)) => body["error"] = json!(error_text(failure)),
        Some(End::Text(_) | End::Canceled) | None => {}
    }
    body
}

fn error_text(failure: &Failure) -> String {
    match failure {
        Failure::Broken(text) => text.clone(),
        Failure::Moderated => "The content was flagged by the provider's moderation.".to_owned(),
        Failure::Inputs(faults) => faults.iter().map(|fault| fault.text.as_str()).collect::<Vec<_>>().join("; "),
    }
}

/// Needs the key, its name notwithstanding. Tells the read it was handed out at only where that matters.
fn content_url(job: &Job) -> String {
    if job.faults.private_link {
        return "http://10.0.0.1/secret.png".to_owned();
    }
    let read = if job.faults.expired_link { format!("&read={}", job.result_reads) } else { String::new() };
    format!("{}/openrouter/api/v1/videos/{}/content?index=0{read}", job.base, job.id)
}

#[derive(Deserialize)]
pub(super) struct ContentQuery {
    #[serde(default)]
    index: usize,
    #[serde(default)]
    read: u32,
}

pub(super) async fn content(
    State(sim): State<Simulators>,
    Path(id): Path<String>,
    Query(query): Query<ContentQuery>,
    headers: HeaderMap,
) -> Response {
    if !sim.parts.keys.admits(Provider::Openrouter, &headers) {
        return refusal(Refusal::Key).into_response();
    }
    let file = match find(&sim, &id).and_then(|job| job.ended).map(|ended| ended.end) {
        Some(End::Files(files)) => files.into_iter().nth(query.index),
        Some(End::Text(_) | End::Failed(_) | End::Canceled) | None => None,
    };
    match file {
        Some(file) => media::serve(State(sim), Path((id, query.read, file.name))).await,
        None => unknown(&id).into_response(),
    }
}

/// The webhook of an ended video.
pub(super) fn callback(keys: &Keys, job: &Job, now: Timestamp) -> Message {
    let word = status_word(job, now);
    let mut data = status(job, now);
    if let Some(fields) = data.as_object_mut() {
        fields.remove("polling_url");
        fields.insert("model".to_owned(), json!(job.model));
        fields.entry("generation_id").or_insert(Value::Null);
    }
    let body = json!({"type": format!("video.generation.{word}"), "created_at": now.as_second(), "data": data});
    let body = body.to_string().into_bytes();
    let time = now.as_second();
    let signature = signature_to_send(keys.sign_openrouter(time, &body), &job.faults);
    let headers = callback_headers(BTreeMap::from([
        ("x-openrouter-idempotency-key", format!("{}-{word}", job.id)),
        ("x-openrouter-signature", format!("t={time},v1={}", hex::encode(signature))),
    ]));
    Message { headers, body }
}
