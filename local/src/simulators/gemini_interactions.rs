//! Gemini's interactions: videos of the Omni models, made in the background.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use shared::clock::random_bytes;

use super::fields::{Fields, Wrong};
use super::gemini::{input_problem, internal, invalid, problem, refusal, unknown_model};
use super::jobs::{End, Failure, Job, Order};
use super::media::{MediaFile, Size};
use super::prompt::prompt_of;
use super::provider::{Provider, Refusal};
use super::run::{Made, Request, disk_failed};
use super::wanted::{Make, Wanted, echo, is_link, of_short_side};
use super::{Reply, Simulators, base_url};

const MAX_PICTURES: usize = 3;
/// Of the job id and of nothing else.
const START: &str = "v1_";
const REFUSED: &str = "I cannot make that video.";

pub(super) async fn create(State(sim): State<Simulators>, headers: HeaderMap, body: Bytes) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let admitted = admit(&sim, &headers, &body);
    let request = Request {
        provider: Provider::Gemini,
        path: "/v1beta/interactions".to_owned(),
        headers: &headers,
        body: &body,
        callback_url: None,
    };
    let created = |job: &Job| Reply::json(StatusCode::OK, json!({"id": job.id, "status": "in_progress"}));
    sim.take(request, admitted, created).await
}

fn admit(sim: &Simulators, headers: &HeaderMap, body: &Value) -> Result<Job, Reply> {
    let faults = sim.screen(Provider::Gemini, headers, &prompt_of(body), refusal)?;
    if faults.filtered {
        return Err(invalid("The prompt was blocked for safety reasons."));
    }
    let fields = Fields::of_json(body);
    let model = fields.required_text("model", 1..=200).map_err(|wrong| input_problem(&wrong))?;
    if !model.starts_with("gemini-omni-") {
        return Err(unknown_model(model));
    }
    let wanted = wanted(fields, prompt_of(body)).map_err(|wrong| input_problem(&wrong))?;
    let base = base_url(headers).ok_or_else(|| invalid("The request has no Host header."))?;
    let id = format!("{START}{}", hex::encode(random_bytes::<16>()));
    let order = Order { model: model.to_owned(), ..Order::new(Provider::Gemini, id, base, wanted.into_input(), faults) };
    Ok(Job::new(order, sim.parts.clock.now()))
}

fn wanted(fields: Fields<'_>, prompt: String) -> Result<Wanted, Wrong> {
    let pictures = match fields.get("input") {
        Some(Value::String(_)) => Vec::new(),
        Some(Value::Array(items)) => pictures(items)?,
        Some(_) | None => return Err(Wrong::new("input", "must be a text or a list of items")),
    };
    if prompt.is_empty() {
        return Err(Wrong::new("input", "must have a text"));
    }
    fields.flag("background")?;
    let none = json!({});
    let format = Fields::of_json(fields.get("response_format").unwrap_or(&none));
    format.word("type", &["video"])?;
    let by_link = format.text("delivery", 1..=20)? == Some("uri");
    let ratio = format.word("aspect_ratio", &["16:9", "9:16"])?.unwrap_or("16:9");
    let short = match format.word("resolution", &["360p", "720p", "1080p", "4K"])?.unwrap_or("720p") {
        "360p" => 360,
        "1080p" => 1_080,
        "4K" => 2_160,
        _ => 720,
    };
    let seconds = match format.text("duration", 1..=5)? {
        None => 8,
        Some(text) => {
            let seconds = text.strip_suffix('s').and_then(|seconds| seconds.parse().ok());
            let wrong = || Wrong::new("response_format.duration", "must be 3s to 10s");
            seconds.filter(|seconds| (3..=10).contains(seconds)).ok_or_else(wrong)?
        }
    };
    let size = of_short_side(ratio, short).unwrap_or(Size::new(1_280, 720));
    let make = Make::Video { size, seconds };
    Ok(Wanted { prompt, field: "input".to_owned(), pictures, make, echo: json!({"by_link": by_link}) })
}

fn pictures(items: &[Value]) -> Result<Vec<String>, Wrong> {
    let mut pictures = Vec::new();
    for item in items {
        let fields = Fields::of_json(item);
        match fields.word("type", &["text", "image", "video"])? {
            Some("image") => pictures.push(picture(fields)?),
            Some(_) => {}
            None => return Err(Wrong::required("input[].type")),
        }
    }
    if pictures.len() > MAX_PICTURES {
        return Err(Wrong::new("input", format!("must have at most {MAX_PICTURES} images")));
    }
    Ok(pictures)
}

fn picture(fields: Fields<'_>) -> Result<String, Wrong> {
    if let Some(uri) = fields.text("uri", 1..=8_192)? {
        return if is_link(uri) { Ok(uri.to_owned()) } else { Err(Wrong::new("input[].uri", "must be a link")) };
    }
    let data = fields.required_text("data", 1..=usize::MAX)?;
    let mime = fields.required_text("mime_type", 1..=100)?;
    BASE64_STANDARD.decode(data).map_err(|_| Wrong::new("input[].data", "must be base64"))?;
    Ok(format!("data:{mime};base64,{data}"))
}

pub(super) async fn show(State(sim): State<Simulators>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if !sim.parts.keys.admits(Provider::Gemini, &headers) {
        return refusal(Refusal::Key).into_response();
    }
    let Some(job) = find(&sim, &id) else {
        return unknown().into_response();
    };
    let reply = match sim.parts.jobs.read_result(job) {
        Err(error) => disk_failed(&error),
        Ok(job) if *echo(&job, "by_link") == json!(true) => Reply::json(StatusCode::OK, interaction(&job, &[])),
        Ok(job) => match sim.made(&job.id).await {
            Ok(Made { job, files }) => Reply::json(StatusCode::OK, interaction(&job, &files)),
            Err(error) => disk_failed(&error),
        },
    };
    sim.parts.journal.record_poll(Provider::Gemini, &id);
    reply.into_response()
}

/// Answers are jobs of this provider, too, which nobody may ask for.
fn find(sim: &Simulators, id: &str) -> Option<Job> {
    sim.parts.jobs.find(Provider::Gemini, id).filter(|job| job.id.starts_with(START))
}

fn unknown() -> Reply {
    invalid("Invalid interaction name")
}

pub(super) async fn cancel(State(sim): State<Simulators>, Path(id): Path<String>, headers: HeaderMap) -> Reply {
    if !sim.parts.keys.admits(Provider::Gemini, &headers) {
        return refusal(Refusal::Key);
    }
    if find(&sim, &id).is_none() {
        return unknown();
    }
    if let Err(error) = sim.end(&id, End::Canceled) {
        return disk_failed(&error);
    }
    let reply = find(&sim, &id).map_or_else(unknown, |job| Reply::json(StatusCode::OK, interaction(&job, &[])));
    sim.parts.journal.record_cancel(Provider::Gemini, &id, reply.status.as_u16());
    reply
}

/// The interaction as it stands; its video by link when no file is given.
fn interaction(job: &Job, files: &[Vec<u8>]) -> Value {
    let (status, content) = match job.ended.as_ref().map(|ended| &ended.end) {
        None => ("in_progress", None),
        Some(End::Canceled) => ("cancelled", None),
        // A refusal is complete, and tells so in words.
        Some(End::Failed(Failure::Moderated)) => ("completed", Some(json!({"type": "text", "text": REFUSED}))),
        Some(End::Failed(_)) => ("failed", None),
        Some(End::Text(text)) => ("completed", Some(json!({"type": "text", "text": text}))),
        Some(End::Files(made)) => {
            let mut video = json!({"type": "video", "mime_type": "video/mp4"});
            match (files.first(), made.first()) {
                (Some(bytes), _) => video["data"] = json!(BASE64_STANDARD.encode(bytes)),
                (None, Some(file)) => video["uri"] = json!(uri(job, file)),
                (None, None) => {}
            }
            ("completed", Some(video))
        }
    };
    let mut body = json!({"id": job.id, "model": job.model, "status": status});
    if let Some(content) = content {
        body["steps"] = json!([{"type": "model_output", "content": [content]}]);
    }
    body
}

/// Needs the key, and `alt=media`, which is left for the caller to add. Tells the read it was handed out at only where that
/// matters.
fn uri(job: &Job, file: &MediaFile) -> String {
    if job.faults.private_link {
        return job.link(file);
    }
    let read = if job.faults.expired_link { format!("?read={}", job.result_reads) } else { String::new() };
    format!("{}/gemini/v1beta/files/{}:download{read}", job.base, job.id)
}

/// Sends the caller on to the file, as the real one does; without `alt=media` it tells of the file only.
pub(super) fn download(sim: &Simulators, id: &str, headers: &HeaderMap, is_media: bool, read: u32) -> Response {
    if !sim.parts.keys.admits(Provider::Gemini, headers) {
        return refusal(Refusal::Key).into_response();
    }
    let found = find(sim, id);
    let end = found.as_ref().and_then(|job| job.ended.as_ref()).map(|ended| &ended.end);
    let (Some(job), Some(End::Files(files))) = (&found, end) else {
        let text = format!("You do not have permission to access the File {id} or it may not exist.");
        return problem(StatusCode::FORBIDDEN, "PERMISSION_DENIED", &text).into_response();
    };
    let Some(file) = files.first() else {
        return internal("The file is gone.").into_response();
    };
    if !is_media {
        let facts = json!({"name": format!("files/{id}"), "mimeType": "video/mp4", "sizeBytes": file.bytes.to_string()});
        return Reply::json(StatusCode::OK, facts).into_response();
    }
    let link = format!("{}/gemini/_files/{}/{read}/{}", job.base, job.id, file.name);
    match HeaderValue::try_from(link) {
        Ok(link) => (StatusCode::FOUND, [(header::LOCATION, link)]).into_response(),
        Err(_) => internal("The Host header is unusable.").into_response(),
    }
}
