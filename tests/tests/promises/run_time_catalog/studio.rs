//! What is put at run time: a provider that nobody has heard of, and the smallest entries of each kind.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tests::{World, serve};
use tokio::task::JoinSet;

/// The one key that the studio takes.
pub(super) const KEY: &str = "studio-key-1";

/// A provider that nobody has heard of: `POST /{edition}/jobs`, `GET /{edition}/jobs/{id}`, `GET /files/photo.jpg`. Its jobs are done once
/// it may finish.
#[derive(Clone, Default)]
pub(super) struct Studio(Arc<Mutex<StudioState>>);

#[derive(Default)]
struct StudioState {
    may_finish: bool,
    jobs: usize,
    /// Method and path of every call with the key.
    calls: Vec<String>,
}

impl Studio {
    pub(super) async fn open() -> (Self, String, JoinSet<()>) {
        let studio = Self::default();
        let router = Router::new().fallback(answer).with_state(studio.clone());
        let (address, server) = serve(router).await;
        (studio, address, server)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, StudioState> {
        self.0.lock().expect("no panic while it is held")
    }

    pub(super) fn finish(&self) {
        self.state().may_finish = true;
    }

    pub(super) fn calls(&self, start: &str) -> usize {
        self.state().calls.iter().filter(|call| call.starts_with(start)).count()
    }
}

async fn answer(State(studio): State<Studio>, request: Request) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if path == "/files/photo.jpg" {
        return ([("content-type", "image/jpeg")], Bytes::from(World::photo())).into_response();
    }
    if request.headers().get("authorization").is_none_or(|key| key != format!("Key {KEY}").as_str()) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let host = request.headers()["host"].to_str().expect("a host").to_owned();
    let mut state = studio.state();
    state.calls.push(format!("{method} {path}"));
    if method == Method::POST {
        state.jobs += 1;
        let id = format!("job-{}", state.jobs);
        return axum::Json(json!({ "id": id, "state": "working" })).into_response();
    }
    let word = if state.may_finish { "done" } else { "working" };
    axum::Json(json!({ "state": word, "files": [format!("http://{host}/files/photo.jpg")] })).into_response()
}

/// The studio's manifest, for one edition of its API.
pub(super) fn studio_manifest(address: &str, edition: &str) -> Value {
    json!({
        "name": "studio",
        "version": 1,
        "transport": { "http": {
            "base_url": address,
            "key_env": "STUDIO_KEY",
            "headers": { "Authorization": "Key {{key}}" },
            "failures": [
                { "status": [451], "class": "moderated" },
                { "status": [400, 422], "class": "rejected_input" },
                { "status": [401, 403], "class": "provider_auth" },
                { "status": [402], "class": "provider_funds" },
                { "status": [429], "class": "throttled" }
            ],
            "apis": { "jobs": {
                "submit": {
                    "call": {
                        "method": "POST",
                        "urls": [format!("{{{{base_url}}}}/{edition}/jobs")],
                        "body": "{{input}}",
                        "timeout_s": 10
                    },
                    "job_id": "$.id"
                },
                "status": { "pick": "$.state", "running": ["working"], "succeeded": ["done"], "failed": ["failed"] },
                "poll": { "method": "GET", "urls": [format!("{{{{base_url}}}}/{edition}/jobs/{{{{job.id}}}}")], "timeout_s": 10 },
                "result": { "links": ["$.files[*]"] }
            } }
        } },
        "times": times(),
        "submit_repeat_safe": false,
        "limits": { "concurrency": 3 },
        "models": [{
            "name": "studio/portrait",
            "aliases": ["portrait"],
            "kind": "image",
            "price": { "credits": 4 },
            "params": params(),
            "input": { "text": "{{prompt}}" }
        }]
    })
}

fn times() -> Value {
    json!({
        "run_limit_s": 7200, "unconfirmed_s": 60, "result_lifetime_s": 86400,
        "poll_first_s": 1, "poll_growth_percent": 150, "poll_max_s": 30
    })
}

fn params() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["prompt"],
        "properties": { "prompt": { "type": "string", "minLength": 1 } }
    })
}

/// A provider that draws in the product's own process.
pub(crate) fn drawing_provider(name: &str) -> Value {
    json!({
        "name": name, "version": 1, "transport": "local", "times": times(), "submit_repeat_safe": true, "models": []
    })
}

/// A model of a drawing provider.
pub(crate) fn model(name: &str, credits: u64) -> Value {
    json!({ "name": name, "kind": "image", "operation": "draw", "price": { "credits": credits }, "params": params() })
}

/// A chain of one model.
pub(crate) fn chain(name: &str, model: &str) -> Value {
    json!({
        "name": name, "version": 1, "kind": "image", "price": { "credits": 6 }, "params": params(),
        "candidates": [{ "model": model, "params": { "prompt": "{{prompt}}" } }]
    })
}
