//! MiniMax's HTTP API: videos of the first generation, their files, images. The second generation is in `minimax_v2`.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::clock::random_bytes;
use shared::draw::Format;

use super::fields::Wrong;
use super::jobs::{End, Failure, Job, Kind, Order};
use super::journal::{Upload, shortened};
use super::media::{self, Clip, Drawing, InputLink, Plan, Size};
use super::minimax_checks::{check_image, check_video};
use super::multipart::Form;
use super::prompt::prompt_of;
use super::provider::{Provider, Refusal};
use super::run::{Made, Message, Request, callback_headers, disk_failed};
use super::{Reply, Simulators, base_url, minimax_v2};

/// A task's file has the task's number and that much.
const FILE_ID_OFFSET: u64 = 1_000_000_000_000_000;

pub(super) fn routes() -> Router<Simulators> {
    Router::new()
        .route("/minimax/v1/video_generation", post(create_video))
        .route("/minimax/v1/query/video_generation", get(show_video))
        .route("/minimax/v1/files/retrieve", get(retrieve))
        .route("/minimax/v1/files/upload", post(upload))
        .route("/minimax/v1/image_generation", post(create_image))
        .merge(minimax_v2::routes())
}

/// A number of fifteen digits: task and file ids are numbers, and one of the calls gives them as such.
pub(super) fn task_id() -> String {
    let number = u64::from_be_bytes(random_bytes());
    (number % 900_000_000_000_000 + 100_000_000_000_000).to_string()
}

async fn create_video(State(sim): State<Simulators>, headers: HeaderMap, body: Bytes) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let callback_url = body.get("callback_url").and_then(Value::as_str).map(str::to_owned);
    let admitted = admit(&sim, &headers, &body, check_video).map(|order| {
        let order = Order { kind: Kind::Video, callback_url: callback_url.clone(), handshake: true, ..order };
        Job::new(Order { version: "v1".to_owned(), ..order }, sim.parts.clock.now())
    });
    let path = "/v1/video_generation".to_owned();
    let request = Request { provider: Provider::Minimax, path, headers: &headers, body: &body, callback_url };
    let accepted = |job: &Job| based(0, "success", json!({"task_id": job.id}));
    sim.take(request, admitted, accepted).await
}

async fn create_image(State(sim): State<Simulators>, headers: HeaderMap, body: Bytes) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let admitted = admit(&sim, &headers, &body, check_image)
        .map(|order| Job::new(Order { version: "image".to_owned(), ..order }, sim.parts.clock.now()));
    let path = "/v1/image_generation".to_owned();
    let request = Request { provider: Provider::Minimax, path, headers: &headers, body: &body, callback_url: None };
    sim.answer(request, admitted, image_answer).await
}

fn admit(sim: &Simulators, headers: &HeaderMap, body: &Value, check: fn(&Value) -> Result<(), Wrong>) -> Result<Order, Reply> {
    let faults = sim.screen(Provider::Minimax, headers, &prompt_of(body), refusal)?;
    check(body).map_err(|wrong| invalid(&format!("{} {}", wrong.field, wrong.text)))?;
    let base = base_url(headers).ok_or_else(|| invalid("the request has no Host header"))?;
    let model = body["model"].as_str().unwrap_or_default().to_owned();
    Ok(Order { model, ..Order::new(Provider::Minimax, task_id(), base, body.clone(), faults) })
}

fn refusal(refusal: Refusal) -> Reply {
    match refusal {
        Refusal::Key => based(1004, "login fail: the API key is missing or not valid", json!({})),
        Refusal::Funds => based(1008, "insufficient balance", json!({"task_id": ""})),
        Refusal::Throttled { .. } => based(1002, "rate limit exceeded", json!({"task_id": ""})),
        Refusal::Unavailable => based(1033, "system error, please try again later", json!({"task_id": ""})),
        Refusal::Input => invalid("prompt is not valid"),
    }
}

#[derive(Deserialize)]
struct TaskQuery {
    task_id: Option<String>,
}

async fn show_video(State(sim): State<Simulators>, Query(query): Query<TaskQuery>, headers: HeaderMap) -> Reply {
    if !sim.parts.keys.admits(Provider::Minimax, &headers) {
        return refusal(Refusal::Key);
    }
    let job = query.task_id.and_then(|id| sim.parts.jobs.find(Provider::Minimax, &id));
    let Some(job) = job.filter(|job| job.version == "v1") else {
        return invalid("task_id does not exist");
    };
    sim.parts.journal.record_poll(Provider::Minimax, &job.id);
    Reply::json(StatusCode::OK, task(&job, sim.parts.clock.now(), Words::Query))
}

/// The query's status words and the callback's differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    Query,
    Callback,
}

fn task(job: &Job, now: Timestamp, words: Words) -> Value {
    let queued_at = job.created_at + job.starts_at.duration_since(job.created_at) / 2;
    let failed = if words == Words::Query { "Fail" } else { "failed" };
    let mut more = json!({"file_id": ""});
    let (status, code, message) = match job.ended.as_ref().map(|ended| &ended.end) {
        None if words == Words::Callback => ("processing", 0, "success".to_owned()),
        None if now <= queued_at => ("Preparing", 0, "success".to_owned()),
        None if now <= job.starts_at => ("Queueing", 0, "success".to_owned()),
        None => ("Processing", 0, "success".to_owned()),
        Some(End::Files(files)) => {
            more["file_id"] = json!(file_id(job).to_string());
            if words == Words::Query
                && let Some(file) = files.first()
            {
                more["video_width"] = json!(file.size.width);
                more["video_height"] = json!(file.size.height);
            }
            (if words == Words::Query { "Success" } else { "success" }, 0, "success".to_owned())
        }
        Some(End::Failed(failure)) => {
            let (code, text) = failure_code(failure);
            (failed, code, text)
        }
        Some(End::Text(_) | End::Canceled) => (failed, 1000, "unknown error".to_owned()),
    };
    let mut body = json!({"task_id": job.id, "status": status});
    merge(&mut body, more);
    body["base_resp"] = json!({"status_code": code, "status_msg": message});
    body
}

/// The code of a failure, and its text.
pub(super) fn failure_code(failure: &Failure) -> (u32, String) {
    match failure {
        Failure::Broken(text) => (1000, text.clone()),
        Failure::Moderated => (1027, "the generated video has sensitive content".to_owned()),
        Failure::Inputs(faults) => (2013, faults.iter().map(|fault| fault.text.as_str()).collect::<Vec<_>>().join("; ")),
    }
}

fn file_id(job: &Job) -> u64 {
    job.id.parse::<u64>().unwrap_or_default() + FILE_ID_OFFSET
}

#[derive(Deserialize)]
struct FileQuery {
    file_id: Option<u64>,
}

/// The facts of a video's file with a fresh link to it, or of an uploaded file.
async fn retrieve(State(sim): State<Simulators>, Query(query): Query<FileQuery>, headers: HeaderMap) -> Reply {
    if !sim.parts.keys.admits(Provider::Minimax, &headers) {
        return refusal(Refusal::Key);
    }
    let id = query.file_id.unwrap_or_default();
    if let Some(facts) = sim.parts.uploads.facts(&id.to_string()) {
        return based(0, "success", json!({"file": facts["file"]}));
    }
    let job = id.checked_sub(FILE_ID_OFFSET).and_then(|task| sim.parts.jobs.find(Provider::Minimax, &task.to_string()));
    let Some(job) = job.filter(|job| job.version == "v1") else {
        return invalid("file_id does not exist");
    };
    sim.parts.journal.record_poll(Provider::Minimax, &job.id);
    let job = match sim.parts.jobs.read_result(job) {
        Ok(job) => job,
        Err(error) => return disk_failed(&error),
    };
    let Some((at, End::Files(files))) = job.ended.as_ref().map(|ended| (ended.at, &ended.end)) else {
        return invalid("file_id does not exist");
    };
    let Some(file) = files.first() else {
        return invalid("file_id does not exist");
    };
    let facts = json!({
        "file_id": id,
        "bytes": file.bytes,
        "created_at": at.as_second(),
        "filename": "output_aigc.mp4",
        "purpose": "video_generation",
        "download_url": job.link(file),
    });
    based(0, "success", json!({"file": facts}))
}

async fn upload(State(sim): State<Simulators>, headers: HeaderMap, body: Bytes) -> Reply {
    let form = Form::read(&headers, &body).unwrap_or_default();
    let reply = keep(&sim, &headers, &form);
    sim.parts.journal.record_upload(Upload {
        provider: Provider::Minimax.name(),
        path: "/v1/files/upload".to_owned(),
        body: shortened(&form.described()),
        status: reply.status.as_u16(),
    });
    reply
}

fn keep(sim: &Simulators, headers: &HeaderMap, form: &Form) -> Reply {
    if !sim.parts.keys.admits(Provider::Minimax, headers) {
        return refusal(Refusal::Key);
    }
    let refused = |text: &str| Reply { status: StatusCode::BAD_REQUEST, ..invalid(text) };
    if form.text("purpose") != Some("video_generation_input") {
        return refused("purpose is not valid");
    }
    let Some(part) = form.files("file").next() else {
        return refused("file is required");
    };
    let Some(kind) =
        infer::get(&part.bytes).filter(|kind| ["image", "video", "audio"].iter().any(|word| kind.mime_type().starts_with(word)))
    else {
        return refused("the format of file is not supported");
    };
    let id = task_id();
    let file = json!({
        "file_id": id.parse::<u64>().unwrap_or_default(),
        "bytes": part.bytes.len(),
        "created_at": sim.parts.clock.now().as_second(),
        "filename": part.file_name,
        "purpose": "video_generation_input",
    });
    let facts = json!({"content_type": kind.mime_type(), "file": file});
    match sim.parts.uploads.put(&id, &facts, &part.bytes) {
        Ok(()) => based(0, "success", json!({"file": file})),
        Err(error) => disk_failed(&error),
    }
}

/// The answer to an image request: links, or the pictures themselves.
fn image_answer(made: &Made) -> Response {
    let job = &made.job;
    let (files, code, message) = match job.ended.as_ref().map(|ended| &ended.end) {
        Some(End::Files(files)) => (files.as_slice(), 0, "success".to_owned()),
        Some(End::Failed(Failure::Moderated)) => (&[][..], 1026, "input new_sensitive".to_owned()),
        Some(End::Failed(failure)) => {
            let (code, text) = failure_code(failure);
            (&[][..], code, text)
        }
        Some(End::Text(_) | End::Canceled) | None => (&[][..], 1000, "unknown error".to_owned()),
    };
    if code != 0 {
        return based(code, &message, json!({"id": job.id})).into_response();
    }
    let data = if job.input["response_format"] == "base64" {
        json!({"image_base64": made.files.iter().map(|bytes| BASE64_STANDARD.encode(bytes)).collect::<Vec<_>>()})
    } else {
        json!({"image_urls": files.iter().map(|file| job.link(file)).collect::<Vec<_>>()})
    };
    let counts = json!({"success_count": files.len().to_string(), "failed_count": "0"});
    based(0, "success", json!({"id": job.id, "data": data, "metadata": counts})).into_response()
}

pub(super) fn plan(job: &Job) -> Result<Plan, Failure> {
    let input = &job.input;
    let word = |name: &str| input.get(name).and_then(Value::as_str);
    let number = |name: &str| input.get(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    let prompt = prompt_of(input);
    let text = if prompt.is_empty() { job.model.clone() } else { prompt };
    let mut inputs = media::linked_pictures(input);
    for picture in ["/subject_reference/0/image", "/subject_reference/0/image/0", "/subject_reference/0/image_file"] {
        let url = input.pointer(picture).and_then(Value::as_str);
        inputs.extend(url.map(|url| InputLink::new("subject_reference", url)));
    }
    if job.version == "v2" {
        return Ok(Plan::Video(minimax_v2::clip(input, text)));
    }
    if job.kind == Kind::Video {
        let size = match word("resolution") {
            Some("512P") => Size::new(912, 512),
            Some("1080P") => Size::new(1920, 1080),
            Some("720P") => Size::new(1280, 720),
            Some(_) | None => Size::new(1366, 768),
        };
        return Ok(Plan::Video(Clip { size, seconds: number("duration").unwrap_or(6), text, inputs }));
    }
    let sides = number("width").zip(number("height")).map(|(width, height)| Size::new(width, height));
    Ok(Plan::Images(Drawing {
        count: number("n").unwrap_or(1),
        format: Format::Jpeg,
        size: word("aspect_ratio").and_then(Size::of_aspect_ratio).or(sides),
        input_scale: 1,
        default_size: Size::new(1024, 1024),
        text,
        inputs,
        png_inputs_only: false,
    }))
}

/// The callback of a task as it stands; MiniMax signs nothing.
pub(super) fn callback(job: &Job, now: Timestamp) -> Message {
    let body = if job.version == "v2" { minimax_v2::task(job, now) } else { task(job, now, Words::Callback) };
    Message { headers: callback_headers(BTreeMap::new()), body: body.to_string().into_bytes() }
}

/// An answer of the first generation: the code is in the body, the HTTP status 200 whatever it is.
fn based(code: u32, message: &str, mut body: Value) -> Reply {
    body["base_resp"] = json!({"status_code": code, "status_msg": message});
    Reply::json(StatusCode::OK, body)
}

fn invalid(text: &str) -> Reply {
    based(2013, &format!("invalid params, {text}"), json!({"task_id": ""}))
}

fn merge(body: &mut Value, more: Value) {
    if let (Value::Object(body), Value::Object(more)) = (body, more) {
        body.extend(more);
    }
}
