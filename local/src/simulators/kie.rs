//! Kie's HTTP API: tasks of the model market, their records, links to results, and file uploads.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::clock::random_bytes;

use super::jobs::{End, Failure, Job, Order};
use super::journal::{Upload, shortened};
use super::keys::Keys;
use super::kie_models;
use super::media::Plan;
use super::multipart::Form;
use super::prompt::prompt_of;
use super::provider::{Provider, Refusal};
use super::run::{Message, Request, callback_headers, disk_failed, signature_to_send};
use super::{Reply, Simulators, base_url};

/// Every record shows this many credits consumed.
const CREDITS_PER_TASK: u32 = 28;

/// Below the uploads' own host there are only the upload paths: they share a root with the others here.
pub(super) fn routes() -> Router<Simulators> {
    Router::new()
        .route("/kie/api/v1/jobs/createTask", post(create))
        .route("/kie/api/v1/jobs/recordInfo", get(show))
        .route("/kie/api/v1/common/download-url", post(renew_link))
        .route("/kie/api/v1/chat/credit", get(credit))
        .route("/kie/api/file-base64-upload", post(upload_base64))
        .route("/kie/api/file-url-upload", post(upload_url))
        .route("/kie/api/file-stream-upload", post(upload_stream))
}

async fn create(State(sim): State<Simulators>, headers: HeaderMap, body: Bytes) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let admitted = admit(&sim, &headers, &body);
    let request = Request {
        provider: Provider::Kie,
        path: "/api/v1/jobs/createTask".to_owned(),
        headers: &headers,
        body: &body,
        callback_url: body.get("callBackUrl").and_then(Value::as_str).map(str::to_owned),
    };
    sim.take(request, admitted, |job| envelope(200, "success", json!({"taskId": job.id}))).await
}

fn admit(sim: &Simulators, headers: &HeaderMap, body: &Value) -> Result<Job, Reply> {
    let faults = sim.screen(Provider::Kie, headers, &prompt_of(body), refusal)?;
    kie_models::check(body).map_err(|wrong| invalid(&format!("{} {}", wrong.field, wrong.text)))?;
    let base = base_url(headers).ok_or_else(|| invalid("the request has no Host header"))?;
    let model = body["model"].as_str().unwrap_or_default();
    let order = Order {
        kind: kie_models::kind(model),
        model: model.to_owned(),
        callback_url: body.get("callBackUrl").and_then(Value::as_str).map(str::to_owned),
        ..Order::new(Provider::Kie, hex::encode(random_bytes::<16>()), base, body["input"].clone(), faults)
    };
    Ok(Job::new(order, sim.parts.clock.now()))
}

fn refusal(refusal: Refusal) -> Reply {
    match refusal {
        Refusal::Key => Reply::json(StatusCode::OK, json!({"code": 401, "msg": "You do not have access permissions"})),
        Refusal::Funds => envelope(402, "Credits insufficient", Value::Null),
        Refusal::Throttled { .. } => envelope(429, "Your call frequency is too high, please try again later", Value::Null),
        Refusal::Unavailable => envelope(455, "Service is under maintenance", Value::Null),
        Refusal::Input => invalid("prompt is invalid"),
    }
}

#[derive(Deserialize)]
struct RecordQuery {
    #[serde(rename = "taskId")]
    task_id: Option<String>,
}

async fn show(State(sim): State<Simulators>, Query(query): Query<RecordQuery>, headers: HeaderMap) -> Reply {
    if !sim.parts.keys.admits(Provider::Kie, &headers) {
        return refusal(Refusal::Key);
    }
    let Some(job) = query.task_id.and_then(|id| sim.parts.jobs.find(Provider::Kie, &id)) else {
        return invalid("recordInfo is null");
    };
    let id = job.id.clone();
    let reply = match sim.parts.jobs.read_result(job) {
        Ok(job) => envelope(200, "success", record(&job, sim.parts.clock.now(), Times::Poll)),
        Err(error) => disk_failed(&error),
    };
    sim.parts.journal.record_poll(Provider::Kie, &id);
    reply
}

/// Polls give the time a task took in milliseconds, callbacks in seconds.
#[derive(Clone, Copy)]
enum Times {
    Poll,
    Callback,
}

fn record(job: &Job, now: Timestamp, times: Times) -> Value {
    let ended = job.ended.as_ref();
    let queued_at = job.created_at + job.starts_at.duration_since(job.created_at) / 2;
    let (state, result, fail_code, fail_message) = match ended.map(|ended| &ended.end) {
        None if now <= queued_at => ("waiting", String::new(), "", String::new()),
        None if now <= job.starts_at => ("queuing", String::new(), "", String::new()),
        None => ("generating", String::new(), "", String::new()),
        Some(End::Files(files)) => {
            let links: Vec<String> = files.iter().map(|file| job.link(file)).collect();
            ("success", json!({"resultUrls": links}).to_string(), "", String::new())
        }
        Some(End::Text(text)) => ("success", json!({"resultObject": {"text": text}}).to_string(), "", String::new()),
        Some(End::Failed(failure)) => {
            let (code, text) = failed(failure);
            ("fail", String::new(), code, text)
        }
        // There is no call that cancels.
        Some(End::Canceled) => ("fail", String::new(), "500", "canceled".to_owned()),
    };
    let took = ended.map_or(0, |ended| ended.at.duration_since(job.starts_at.min(ended.at)).as_millis());
    let result = match times {
        Times::Callback if result.is_empty() => Value::Null,
        Times::Callback | Times::Poll => json!(result),
    };
    json!({
        "taskId": job.id,
        "model": job.model,
        "state": state,
        "param": json!({"model": job.model, "input": job.input}).to_string(),
        "resultJson": result,
        "failCode": fail_code,
        "failMsg": fail_message,
        "costTime": match times { Times::Poll => took, Times::Callback => took / 1_000 },
        "completeTime": ended.map_or(0, |ended| ended.at.as_millisecond()),
        "createTime": job.created_at.as_millisecond(),
        "updateTime": ended.map_or(job.created_at, |ended| ended.at).as_millisecond(),
        "creditsConsumed": if state == "success" { CREDITS_PER_TASK } else { 0 },
    })
}

/// The code and the message of a failure. Kie publishes no list of codes.
fn failed(failure: &Failure) -> (&'static str, String) {
    match failure {
        Failure::Broken(text) => ("500", text.clone()),
        Failure::Moderated => ("422", "Invalid prompt: prompt contains prohibited content".to_owned()),
        Failure::Inputs(faults) => ("400", faults.iter().map(|fault| fault.text.as_str()).collect::<Vec<_>>().join("; ")),
    }
}

pub(super) fn plan(job: &Job) -> Result<Plan, Failure> {
    Ok(kie_models::plan(job))
}

/// The callback of an ended task. The signature covers the task's id and the time alone.
pub(super) fn callback(keys: &Keys, job: &Job, now: Timestamp) -> Message {
    let data = record(job, now, Times::Callback);
    let body = if data["state"] == "success" {
        json!({"code": 200, "msg": "Playground task completed successfully.", "data": data})
    } else {
        json!({"code": 501, "msg": "Playground task failed.", "data": data})
    };
    let signature = signature_to_send(keys.sign_kie(&job.id, now.as_second()), &job.faults);
    let headers = callback_headers(BTreeMap::from([
        ("x-webhook-timestamp", now.as_second().to_string()),
        ("x-webhook-signature", BASE64_STANDARD.encode(signature)),
    ]));
    Message { headers, body: body.to_string().into_bytes() }
}

/// A fresh link to a result, in exchange for one of ours.
async fn renew_link(State(sim): State<Simulators>, headers: HeaderMap, body: Bytes) -> Reply {
    if !sim.parts.keys.admits(Provider::Kie, &headers) {
        return refusal(Refusal::Key);
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let ours = body["url"].as_str().and_then(|url| url.split_once("/kie/_files/")).and_then(|(_, path)| {
        let mut segments = path.split('/');
        let job = sim.parts.jobs.find(Provider::Kie, segments.next()?)?;
        Some((job, segments.nth(1)?.to_owned()))
    });
    let Some((job, name)) = ours else {
        return invalid("url is not a link to a result of this service");
    };
    let id = job.id.clone();
    let reply = match sim.parts.jobs.read_result(job) {
        Err(error) => disk_failed(&error),
        Ok(job) => match job.ended.as_ref().map(|ended| &ended.end) {
            Some(End::Files(files)) => match files.iter().find(|file| file.name == name) {
                Some(file) => envelope(200, "success", json!(job.link(file))),
                None => invalid("url is not a link to a result of this service"),
            },
            Some(End::Text(_) | End::Failed(_) | End::Canceled) | None => {
                invalid("url is not a link to a result of this service")
            }
        },
    };
    sim.parts.journal.record_poll(Provider::Kie, &id);
    reply
}

async fn credit(State(sim): State<Simulators>, headers: HeaderMap) -> Reply {
    if sim.parts.keys.admits(Provider::Kie, &headers) { envelope(200, "success", json!(100)) } else { refusal(Refusal::Key) }
}

async fn upload_base64(State(sim): State<Simulators>, headers: HeaderMap, body: Bytes) -> Reply {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let data = body["base64Data"].as_str().unwrap_or_default();
    let encoded = data.split_once(";base64,").map_or(data, |(_, encoded)| encoded);
    let bytes = BASE64_STANDARD.decode(encoded).ok().filter(|bytes| !bytes.is_empty());
    let bytes = bytes.ok_or_else(|| "base64Data is not base64".to_owned());
    keep(&sim, &headers, "/api/file-base64-upload", &body, bytes)
}

async fn upload_url(State(sim): State<Simulators>, headers: HeaderMap, body: Bytes) -> Reply {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let bytes = sim.parts.outbound.fetch(body["fileUrl"].as_str().unwrap_or_default()).await;
    let bytes = bytes.map_err(|why| format!("fileUrl cannot be downloaded: {why}"));
    keep(&sim, &headers, "/api/file-url-upload", &body, bytes)
}

async fn upload_stream(State(sim): State<Simulators>, headers: HeaderMap, body: Bytes) -> Reply {
    let form = Form::read(&headers, &body).unwrap_or_default();
    let file = form.files("file").next().cloned();
    let mut told = form.described();
    if let Some(name) = file.as_ref().and_then(|file| file.file_name.clone())
        && told.get("fileName").is_none()
    {
        told["fileName"] = json!(name);
    }
    let bytes = file.map(|file| file.bytes).ok_or_else(|| "file is required".to_owned());
    keep(&sim, &headers, "/api/file-stream-upload", &told, bytes)
}

/// Keeps an uploaded file and tells where it lies.
fn keep(sim: &Simulators, headers: &HeaderMap, path: &str, told: &Value, bytes: Result<Vec<u8>, String>) -> Reply {
    let reply = kept(sim, headers, told, bytes);
    sim.parts.journal.record_upload(Upload {
        provider: Provider::Kie.name(),
        path: path.to_owned(),
        body: shortened(told),
        status: reply.status.as_u16(),
    });
    reply
}

fn kept(sim: &Simulators, headers: &HeaderMap, told: &Value, bytes: Result<Vec<u8>, String>) -> Reply {
    if !sim.parts.keys.admits(Provider::Kie, headers) {
        return refusal(Refusal::Key);
    }
    let folder = told["uploadPath"].as_str().unwrap_or_default();
    let bytes = match bytes {
        _ if folder.is_empty() => return invalid("uploadPath is required"),
        Err(why) => return invalid(&why),
        Ok(bytes) => bytes,
    };
    let (id, kind) = (hex::encode(random_bytes::<16>()), infer::get(&bytes));
    let content_type = kind.map_or("application/octet-stream", |kind| kind.mime_type());
    let name = told["fileName"].as_str().filter(|name| !name.is_empty() && !name.contains('/'));
    let name = name.map_or_else(|| format!("{id}.{}", kind.map_or("bin", |kind| kind.extension())), str::to_owned);
    if let Err(error) = sim.parts.uploads.put(&id, &json!({"content_type": content_type}), &bytes) {
        return disk_failed(&error);
    }
    let data = json!({
        "fileName": name,
        "filePath": format!("{}/{name}", folder.trim_end_matches('/')),
        "downloadUrl": format!("{}/kie/_uploads/{id}/{name}", base_url(headers).unwrap_or_default()),
        "fileSize": bytes.len(),
        "mimeType": content_type,
        "uploadedAt": format!("{:.3}", sim.parts.clock.now()),
    });
    let body = json!({"success": true, "code": 200, "msg": "File uploaded successfully", "data": data});
    Reply::json(StatusCode::OK, body)
}

/// Kie tells its codes in the body; the HTTP status stays 200.
fn envelope(code: u16, message: &str, data: Value) -> Reply {
    Reply::json(StatusCode::OK, json!({"code": code, "msg": message, "data": data}))
}

fn invalid(message: &str) -> Reply {
    envelope(422, message, Value::Null)
}
