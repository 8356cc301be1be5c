//! WaveSpeed's HTTP API: predictions, their results and signed webhooks, the webhook secret, and file uploads.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::clock::random_bytes;
use shared::draw::Format;

use super::fields::{Fields, Wrong};
use super::jobs::{End, Failure, Job, Kind, Order};
use super::journal::{Upload, shortened};
use super::keys::Keys;
use super::media::{self, Clip, Drawing, Plan, Size};
use super::multipart::Form;
use super::prompt::prompt_of;
use super::provider::{Provider, Refusal};
use super::run::{Made, Message, Request, callback_headers, disk_failed, signature_to_send};
use super::{Reply, Simulators, base_url};

const FACE_SWAP: &str = "wavespeed-ai/image-face-swap";
/// Words in the names of video models; the others make pictures.
const VIDEO_WORDS: [&str; 7] = ["video", "t2v", "i2v", "seedance", "kling", "hailuo", "veo"];

pub(super) fn routes() -> Router<Simulators> {
    Router::new()
        .route("/wavespeed/api/v3/predictions/{id}", get(show))
        .route("/wavespeed/api/v3/predictions/{id}/result", get(show))
        .route("/wavespeed/api/v3/webhook/secret", get(secret))
        .route("/wavespeed/api/v3/media/uploads", post(announce_upload))
        .route("/wavespeed/api/v3/media/upload/binary", post(upload_binary))
        .route("/wavespeed/_uploads/{id}/{name}", put(receive_upload))
        .route("/wavespeed/api/v3/{*model}", post(submit))
}

#[derive(Deserialize)]
struct SubmitQuery {
    webhook: Option<String>,
}

async fn submit(
    State(sim): State<Simulators>,
    Path(model): Path<String>,
    Query(query): Query<SubmitQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let admitted = admit(&sim, &headers, &model, &body, query.webhook.clone());
    let request = Request {
        provider: Provider::Wavespeed,
        path: format!("/api/v3/{model}"),
        headers: &headers,
        body: &body,
        callback_url: query.webhook,
    };
    if body.get("enable_sync_mode") == Some(&Value::Bool(true)) {
        let answered = |made: &Made| succeeded(prediction(&made.job, made.job.ends_at)).into_response();
        return sim.answer(request, admitted, answered).await;
    }
    sim.take(request, admitted, |job| succeeded(prediction(job, job.created_at))).await
}

fn admit(sim: &Simulators, headers: &HeaderMap, model: &str, body: &Value, webhook: Option<String>) -> Result<Job, Reply> {
    let faults = sim.screen(Provider::Wavespeed, headers, &prompt_of(body), refusal)?;
    if !model.contains('/') {
        return Err(error(StatusCode::NOT_FOUND, "model not found"));
    }
    check(model, body).map_err(|wrong| bad_request(&format!("{} {}", wrong.field, wrong.text)))?;
    let base = base_url(headers).ok_or_else(|| bad_request("the request has no Host header"))?;
    let order = Order {
        kind: if VIDEO_WORDS.iter().any(|word| model.contains(word)) { Kind::Video } else { Kind::Images },
        model: model.to_owned(),
        callback_url: webhook,
        message_id: hex::encode(random_bytes::<13>()),
        ..Order::new(Provider::Wavespeed, hex::encode(random_bytes::<16>()), base, body.clone(), faults)
    };
    Ok(Job::new(order, sim.parts.clock.now()))
}

fn check(model: &str, body: &Value) -> Result<(), Wrong> {
    if !body.is_object() {
        return Err(Wrong::new("body", "must be an object"));
    }
    let fields = Fields::of_json(body);
    for name in ["enable_sync_mode", "enable_base64_output"] {
        fields.flag(name)?;
    }
    fields.word("output_format", &["jpeg", "png", "webp"])?;
    if let Some(size) = fields.text("size", 1..=20)? {
        sides(size).ok_or_else(|| Wrong::new("size", "must be like 1024*1024"))?;
    }
    if model == FACE_SWAP {
        for name in ["image", "face_image"] {
            fields.required_text(name, 1..=usize::MAX)?;
        }
        fields.whole("target_index", 0..=10)?;
        return Ok(());
    }
    match fields.text("prompt", 0..=usize::MAX)? {
        None if media::linked_pictures(body).is_empty() => Err(Wrong::required("prompt")),
        Some(_) | None => Ok(()),
    }
}

/// `1024*768`.
fn sides(size: &str) -> Option<Size> {
    let (width, height) = size.split_once('*')?;
    Some(Size::new(width.trim().parse().ok()?, height.trim().parse().ok()?).scaled(1))
}

/// The HTTP status for an account without money is not documented: 402 is taken.
fn refusal(refusal: Refusal) -> Reply {
    match refusal {
        Refusal::Key => error(StatusCode::UNAUTHORIZED, "Unauthorized"),
        Refusal::Funds => error(StatusCode::PAYMENT_REQUIRED, "Insufficient credits. Please top up."),
        Refusal::Throttled { .. } => error(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests"),
        Refusal::Unavailable => error(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        Refusal::Input => bad_request("prompt is not valid"),
    }
}

async fn show(State(sim): State<Simulators>, Path(id): Path<String>, headers: HeaderMap) -> Reply {
    if !sim.parts.keys.admits(Provider::Wavespeed, &headers) {
        return refusal(Refusal::Key);
    }
    let Some(job) = sim.parts.jobs.find(Provider::Wavespeed, &id) else {
        return error(StatusCode::NOT_FOUND, "task not found");
    };
    sim.parts.journal.record_poll(Provider::Wavespeed, &id);
    match sim.parts.jobs.read_result(job) {
        Ok(job) => succeeded(prediction(&job, sim.parts.clock.now())),
        Err(error) => disk_failed(&error),
    }
}

async fn secret(State(sim): State<Simulators>, headers: HeaderMap) -> Reply {
    if sim.parts.keys.admits(Provider::Wavespeed, &headers) {
        Reply::json(StatusCode::OK, json!({"code": 200, "data": {"secret": sim.parts.keys.secret(Provider::Wavespeed)}}))
    } else {
        refusal(Refusal::Key)
    }
}

/// The prediction as it is at `now`.
fn prediction(job: &Job, now: Timestamp) -> Value {
    let ended = job.ended.as_ref();
    let took = ended.map_or(0, |ended| ended.at.duration_since(job.starts_at.min(ended.at)).as_millis());
    let mut prediction = json!({
        "id": job.id,
        "model": job.model,
        "outputs": [],
        "urls": {"get": format!("{}/wavespeed/api/v3/predictions/{}/result", job.base, job.id)},
        "has_nsfw_contents": [],
        "status": "processing",
        "created_at": format!("{:.3}", job.created_at),
        "error": "",
        "timings": {"inference": took},
    });
    match ended.map(|ended| &ended.end) {
        None if now <= job.starts_at => prediction["status"] = json!("created"),
        None => {}
        Some(End::Files(files)) => {
            prediction["status"] = json!("completed");
            prediction["outputs"] = files.iter().map(|file| job.link(file)).collect();
            prediction["has_nsfw_contents"] = files.iter().map(|_| false).collect();
        }
        Some(End::Text(text)) => {
            prediction["status"] = json!("completed");
            prediction["outputs"] = json!([text]);
        }
        Some(End::Failed(failure)) => {
            let (code, text) = failed(failure);
            prediction["status"] = json!("failed");
            prediction["code"] = json!(code);
            prediction["error"] = json!(text);
        }
        // There is no call that cancels.
        Some(End::Canceled) => prediction["status"] = json!("cancelled"),
    }
    prediction
}

/// The task's error code and text.
fn failed(failure: &Failure) -> (u32, String) {
    match failure {
        Failure::Broken(text) => (5000, text.clone()),
        Failure::Moderated => (1200, "The content was flagged as potentially sensitive.".to_owned()),
        Failure::Inputs(faults) => (1402, faults.iter().map(|fault| fault.text.as_str()).collect::<Vec<_>>().join("; ")),
    }
}

pub(super) fn plan(job: &Job) -> Result<Plan, Failure> {
    let input = &job.input;
    let word = |name: &str| input.get(name).and_then(Value::as_str);
    let prompt = prompt_of(input);
    let text = if prompt.is_empty() { job.model.clone() } else { prompt };
    let mut inputs = media::linked_pictures(input);
    // The picture that is worked on first: the result has its size.
    inputs.sort_by_key(|link| link.field != "image");
    let size = word("size").and_then(sides).or_else(|| word("aspect_ratio").and_then(Size::of_aspect_ratio));
    if job.kind == Kind::Video {
        let seconds = input.get("duration").and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
        return Ok(Plan::Video(Clip { size: size.unwrap_or(Size::new(1280, 720)), seconds: seconds.unwrap_or(5), text, inputs }));
    }
    Ok(Plan::Images(Drawing {
        count: 1,
        format: word("output_format").and_then(Format::parse).unwrap_or(Format::Jpeg),
        size,
        input_scale: if job.model.contains("upscale") { 2 } else { 1 },
        default_size: Size::new(1024, 1024),
        text,
        inputs,
        png_inputs_only: false,
    }))
}

/// The webhook of an ended prediction: the bare object with its input, signed in hex with the secret as it stands.
pub(super) fn callback(keys: &Keys, job: &Job, message_id: &str, now: Timestamp) -> Message {
    let mut body = prediction(job, now);
    body["input"] = job.input.clone();
    let body = body.to_string().into_bytes();
    let signature = signature_to_send(keys.sign_wavespeed(message_id, now.as_second(), &body), &job.faults);
    let headers = callback_headers(BTreeMap::from([
        ("webhook-id", message_id.to_owned()),
        ("webhook-timestamp", now.as_second().to_string()),
        ("webhook-signature", format!("v3,{}", hex::encode(signature))),
    ]));
    Message { headers, body }
}

/// Tells where a file is to be put, and where it will then be found.
async fn announce_upload(State(sim): State<Simulators>, headers: HeaderMap, body: Bytes) -> Reply {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let reply = announced(&sim, &headers, &body);
    note_upload(&sim, "/api/v3/media/uploads", &body, &reply);
    reply
}

fn announced(sim: &Simulators, headers: &HeaderMap, body: &Value) -> Reply {
    if !sim.parts.keys.admits(Provider::Wavespeed, headers) {
        return refusal(Refusal::Key);
    }
    let fields = Fields::of_json(body);
    let checked = fields.required_text("filename", 1..=200).and_then(|name| {
        let size = fields.whole("size", 0..=i64::MAX)?.ok_or_else(|| Wrong::required("size"))?;
        let content_type = fields.text("content_type", 1..=100)?.unwrap_or("application/octet-stream");
        Ok((name, size, content_type))
    });
    let (name, size, content_type) = match checked {
        Ok((name, _, _)) if name.contains('/') => return bad_request("filename must not have a path"),
        Ok(checked) => checked,
        Err(wrong) => return bad_request(&format!("{} {}", wrong.field, wrong.text)),
    };
    let id = hex::encode(random_bytes::<16>());
    if let Err(error) = sim.parts.uploads.announce(&id, &json!({"content_type": content_type, "size": size})) {
        return disk_failed(&error);
    }
    let url = format!("{}/wavespeed/_uploads/{id}/{name}", base_url(headers).unwrap_or_default());
    let upload = json!({"method": "PUT", "url": url, "headers": {"Content-Type": content_type}});
    Reply::json(StatusCode::OK, json!({"code": 200, "data": {"upload": upload, "download_url": url}}))
}

/// Takes the bytes of an announced file, with the headers that were asked for.
async fn receive_upload(
    State(sim): State<Simulators>,
    Path((id, _)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let Some(facts) = sim.parts.uploads.facts(&id) else {
        return StatusCode::NOT_FOUND;
    };
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if content_type != facts["content_type"].as_str() || facts["size"] != json!(body.len()) {
        return StatusCode::FORBIDDEN;
    }
    match sim.parts.uploads.put(&id, &facts, &body) {
        Ok(()) => StatusCode::OK,
        Err(error) => disk_failed(&error).status,
    }
}

async fn upload_binary(State(sim): State<Simulators>, headers: HeaderMap, body: Bytes) -> Reply {
    let form = Form::read(&headers, &body).unwrap_or_default();
    let reply = uploaded(&sim, &headers, &form);
    note_upload(&sim, "/api/v3/media/upload/binary", &form.described(), &reply);
    reply
}

fn uploaded(sim: &Simulators, headers: &HeaderMap, form: &Form) -> Reply {
    if !sim.parts.keys.admits(Provider::Wavespeed, headers) {
        return refusal(Refusal::Key);
    }
    let Some(part) = form.files("file").next() else {
        return bad_request("file is required");
    };
    let (id, kind) = (hex::encode(random_bytes::<16>()), infer::get(&part.bytes));
    let content_type = kind.map_or("application/octet-stream", |kind| kind.mime_type());
    if let Err(error) = sim.parts.uploads.put(&id, &json!({"content_type": content_type}), &part.bytes) {
        return disk_failed(&error);
    }
    let name = format!("{id}.{}", kind.map_or("bin", |kind| kind.extension()));
    let data = json!({
        "type": content_type.split('/').next(),
        "download_url": format!("{}/wavespeed/_uploads/{id}/{name}", base_url(headers).unwrap_or_default()),
        "filename": part.file_name,
        "size": part.bytes.len(),
    });
    Reply::json(StatusCode::OK, json!({"code": 200, "data": data}))
}

fn note_upload(sim: &Simulators, path: &str, body: &Value, reply: &Reply) {
    sim.parts.journal.record_upload(Upload {
        provider: Provider::Wavespeed.name(),
        path: path.to_owned(),
        body: shortened(body),
        status: reply.status.as_u16(),
    });
}

fn succeeded(data: Value) -> Reply {
    Reply::json(StatusCode::OK, json!({"code": 200, "message": "success", "data": data}))
}

fn error(status: StatusCode, message: &str) -> Reply {
    Reply::json(status, json!({"code": status.as_u16(), "message": message}))
}

fn bad_request(message: &str) -> Reply {
    error(StatusCode::BAD_REQUEST, message)
}
