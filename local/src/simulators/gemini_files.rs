//! Gemini's Files API: resumable uploads, files that are processed for a while, their end after two days.

use std::time::Duration;

use aws_lc_rs::digest;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::clock::random_bytes;

use super::gemini::{internal, invalid, problem, refusal};
use super::gemini_interactions::download;
use super::journal::{Upload, shortened};
use super::provider::{Provider, Refusal};
use super::{Reply, Simulators, base_url};

/// Files are kept that long.
const RETENTION: SignedDuration = SignedDuration::from_hours(48);
/// How long a video is processed unless its display name says otherwise, as prompts do.
const PROCESSING: Duration = Duration::from_millis(300);
const PATH: &str = "/upload/v1beta/files";

/// A file, and the upload that is to become one.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct File {
    id: String,
    display_name: String,
    mime_type: String,
    /// As announced.
    bytes: usize,
    sha256: String,
    /// The key: files are their own project's only.
    key: String,
    base: String,
    created_at: Timestamp,
    ready_at: Timestamp,
    fails: bool,
}

#[derive(Deserialize)]
pub(super) struct UploadQuery {
    upload_id: Option<String>,
    /// Set by links of results only.
    alt: Option<String>,
    #[serde(default)]
    read: u32,
}

pub(super) async fn upload(
    State(sim): State<Simulators>,
    Query(query): Query<UploadQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let command = text(&headers, "x-goog-upload-command");
    let (shown, reply) = match query.upload_id {
        None if command == "start" => {
            let facts = serde_json::from_slice(&body).unwrap_or_else(|_| json!({}));
            let reply = start(&sim, &headers, &facts);
            (facts, reply)
        }
        None => (Value::Null, Err(invalid("X-Goog-Upload-Command must be `start`."))),
        Some(session) => (json!({"command": command, "bytes": body.len()}), piece(&sim, &session, &headers, &body)),
    };
    let response = reply.unwrap_or_else(|refusal| refusal).into_response();
    let (body, status) = (shortened(&shown), response.status().as_u16());
    sim.parts.journal.record_upload(Upload { provider: Provider::Gemini.name(), path: PATH.to_owned(), body, status });
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn start(sim: &Simulators, headers: &HeaderMap, facts: &Value) -> Result<Reply, Reply> {
    let file = facts.get("file").cloned().unwrap_or_default();
    let word = |name: &str| file.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let display_name = word("displayName");
    let faults = sim.screen(Provider::Gemini, headers, &display_name, refusal)?;
    if text(headers, "x-goog-upload-protocol") != "resumable" {
        return Err(invalid("X-Goog-Upload-Protocol must be `resumable`."));
    }
    let bytes = text(headers, "x-goog-upload-header-content-length").parse();
    let bytes = bytes.map_err(|_| invalid("X-Goog-Upload-Header-Content-Length must be the number of bytes."))?;
    let mime_type = Some(text(headers, "x-goog-upload-header-content-type")).filter(|mime| mime.contains('/'));
    let mime_type = mime_type.ok_or_else(|| invalid("X-Goog-Upload-Header-Content-Type must be a media type."))?;
    let id = match word("name").strip_prefix("files/") {
        Some(id) if is_id(id) => id.to_owned(),
        Some(_) => return Err(invalid("file.name must be `files/` and at most 40 of a-z, 0-9 and -.")),
        None => hex::encode(random_bytes::<6>()),
    };
    let now = sim.parts.clock.now();
    let own = if mime_type.starts_with("video/") { PROCESSING } else { Duration::ZERO };
    let file = File {
        id,
        display_name,
        mime_type: mime_type.to_owned(),
        bytes,
        sha256: String::new(),
        key: sim.parts.keys.label(Provider::Gemini, headers).unwrap_or_default(),
        base: base_url(headers).ok_or_else(|| invalid("The request has no Host header."))?,
        created_at: now,
        // The wait begins when the last piece is there.
        ready_at: now + faults.delay.unwrap_or(own),
        fails: faults.fail,
    };
    let session = format!("session-{}", hex::encode(random_bytes::<16>()));
    sim.parts.uploads.put(&session, &json!(file), &[]).map_err(|error| internal(&error.to_string()))?;
    let url = format!("{}/gemini{PATH}?upload_id={session}&upload_protocol=resumable", file.base);
    let url = HeaderValue::try_from(url).map_err(|_| invalid("The Host header is unusable."))?;
    let reply = Reply::json(StatusCode::OK, json!({})).with("x-goog-upload-url", url);
    Ok(reply.with("x-goog-upload-status", HeaderValue::from_static("active")))
}

fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=40).contains(&id.len()) && id.bytes().all(allowed)
}

/// One piece of a file, or its last.
fn piece(sim: &Simulators, session: &str, headers: &HeaderMap, piece: &[u8]) -> Result<Reply, Reply> {
    let unknown = || problem(StatusCode::NOT_FOUND, "NOT_FOUND", "The upload does not exist or has ended.");
    let disk = |error: std::io::Error| internal(&error.to_string());
    if !session.starts_with("session-") {
        return Err(unknown());
    }
    let facts = sim.parts.uploads.facts(session).ok_or_else(unknown)?;
    let mut file: File = serde_json::from_value(facts).map_err(|error| internal(&error.to_string()))?;
    let mut bytes = sim.parts.uploads.bytes(session).ok_or_else(unknown)?;
    if text(headers, "x-goog-upload-offset").parse() != Ok(bytes.len()) {
        return Err(invalid("X-Goog-Upload-Offset must be the number of bytes that are there."));
    }
    bytes.extend_from_slice(piece);
    let commands: Vec<&str> = text(headers, "x-goog-upload-command").split(',').map(str::trim).collect();
    match commands[..] {
        ["upload"] => {
            sim.parts.uploads.put(session, &json!(file), &bytes).map_err(disk)?;
            let reply = Reply::json(StatusCode::OK, json!({}));
            return Ok(reply.with("x-goog-upload-status", HeaderValue::from_static("active")));
        }
        ["upload", "finalize"] | ["finalize"] => {}
        _ => return Err(invalid("X-Goog-Upload-Command must be `upload` or `upload, finalize`.")),
    }
    if bytes.len() != file.bytes {
        return Err(invalid("The number of bytes is not the one announced."));
    }
    let now = sim.parts.clock.now();
    file.ready_at = now + file.ready_at.duration_since(file.created_at);
    file.created_at = now;
    file.sha256 = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, &bytes));
    sim.parts.uploads.put(&file.id, &json!(file), &bytes).map_err(disk)?;
    sim.parts.uploads.delete(session);
    let reply = Reply::json(StatusCode::OK, json!({"file": shown(&file, now)}));
    Ok(reply.with("x-goog-upload-status", HeaderValue::from_static("final")))
}

fn state(file: &File, now: Timestamp) -> &'static str {
    match (now < file.ready_at, file.fails) {
        (true, _) => "PROCESSING",
        (false, true) => "FAILED",
        (false, false) => "ACTIVE",
    }
}

fn shown(file: &File, now: Timestamp) -> Value {
    let state = state(file, now);
    let mut shown = json!({
        "name": format!("files/{}", file.id),
        "displayName": file.display_name,
        "mimeType": file.mime_type,
        "sizeBytes": file.bytes.to_string(),
        "createTime": file.created_at.to_string(),
        "updateTime": file.created_at.to_string(),
        "expirationTime": (file.created_at + RETENTION).to_string(),
        "sha256Hash": file.sha256,
        "uri": format!("{}/gemini/v1beta/files/{}", file.base, file.id),
        "state": state,
        "source": "UPLOADED",
    });
    if state == "FAILED" {
        shown["error"] = json!({"code": 13, "message": "The file failed to be processed."});
    }
    shown
}

/// A file of this key that is still kept. One of another key looks like none.
fn find(sim: &Simulators, headers: &HeaderMap, id: &str) -> Result<File, Reply> {
    let key = sim.parts.keys.label(Provider::Gemini, headers).ok_or_else(|| refusal(Refusal::Key))?;
    let facts = Some(id).filter(|id| is_id(id)).and_then(|id| sim.parts.uploads.facts(id));
    let file: Option<File> = facts.and_then(|facts| serde_json::from_value(facts).ok());
    let now = sim.parts.clock.now();
    let kept = file.filter(|file| file.id == id && file.key == key && now.duration_since(file.created_at) <= RETENTION);
    kept.ok_or_else(|| {
        let text = format!("You do not have permission to access the File {id} or it may not exist.");
        problem(StatusCode::FORBIDDEN, "PERMISSION_DENIED", &text)
    })
}

/// A file's facts; the bytes behind the link of a video (`{id}:download`).
pub(super) async fn show(
    State(sim): State<Simulators>,
    Path(name): Path<String>,
    Query(query): Query<UploadQuery>,
    headers: HeaderMap,
) -> Response {
    if let Some(job) = name.strip_suffix(":download") {
        return download(&sim, job, &headers, query.alt.as_deref() == Some("media"), query.read);
    }
    let found = find(&sim, &headers, &name);
    let reply = found.map(|file| Reply::json(StatusCode::OK, shown(&file, sim.parts.clock.now())));
    reply.unwrap_or_else(|refusal| refusal).into_response()
}

pub(super) async fn delete(State(sim): State<Simulators>, Path(name): Path<String>, headers: HeaderMap) -> Reply {
    match find(&sim, &headers, &name) {
        Ok(file) => {
            sim.parts.uploads.delete(&file.id);
            Reply::json(StatusCode::OK, json!({}))
        }
        Err(refusal) => refusal,
    }
}

/// Refuses a `fileUri` that cannot be read: an own file that is not there or not ready, or a link that does not work.
pub(super) async fn check_file(sim: &Simulators, headers: &HeaderMap, uri: &str) -> Result<(), Reply> {
    let Some((_, id)) = uri.rsplit_once("/v1beta/files/") else {
        let fetched = sim.parts.outbound.fetch(uri).await;
        return fetched.map(drop).map_err(|why| invalid(&format!("Cannot fetch content from the provided URL: {why}")));
    };
    let file = find(sim, headers, id)?;
    if state(&file, sim.parts.clock.now()) == "ACTIVE" {
        return Ok(());
    }
    Err(problem(StatusCode::BAD_REQUEST, "FAILED_PRECONDITION", &format!("The File {id} is not in an ACTIVE state.")))
}
