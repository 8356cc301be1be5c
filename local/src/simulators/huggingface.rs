//! Hugging Face's router to its own backend (`/hf-inference`): a picture as raw bytes. The legacy host is gone and is not
//! simulated.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use shared::clock::random_bytes;
use shared::draw::{Format, MAX_SIDE_PX, MIN_SIDE_PX};

use super::fields::{Fields, Wrong};
use super::jobs::{End, Failure, Job, Order};
use super::media::Size;
use super::prompt::prompt_of;
use super::provider::{Provider, Refusal};
use super::run::{Made, Request};
use super::wanted::{Make, Wanted, data_uri, probe};
use super::{Reply, Simulators, base_url};

/// Models of this owner do not exist; all others are served.
const UNKNOWN_OWNER: &str = "unknown";

pub(super) fn routes() -> Router<Simulators> {
    Router::new().route("/huggingface/hf-inference/models/{owner}/{name}", post(infer_model))
}

async fn infer_model(
    State(sim): State<Simulators>,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let model = format!("{owner}/{name}");
    let parsed = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let admitted = admit(&sim, &headers, &model, &parsed, &body);
    let request = Request {
        provider: Provider::Huggingface,
        path: format!("/hf-inference/models/{model}"),
        headers: &headers,
        body: &parsed,
        callback_url: None,
    };
    sim.answer(request, admitted, answered).await
}

fn admit(sim: &Simulators, headers: &HeaderMap, model: &str, body: &Value, raw: &[u8]) -> Result<Job, Reply> {
    let prompt = prompt_of(body);
    let screened = sim.screen(Provider::Huggingface, headers, &prompt, refusal);
    let faults = screened.map_err(|reply| with_model(reply, model))?;
    if model.split_once('/').is_some_and(|(owner, _)| owner == UNKNOWN_OWNER) {
        let text = format!("Model {model} is not supported by provider hf-inference");
        return Err(Reply::json(StatusCode::NOT_FOUND, json!({"error": text})));
    }
    let wanted = wanted(headers, body, raw, prompt).map_err(|wrong| input_problem(&wrong))?;
    let id = format!("Root=1-{}", hex::encode(random_bytes::<12>()));
    let base = base_url(headers).unwrap_or_default();
    let order = Order { model: model.to_owned(), ..Order::new(Provider::Huggingface, id, base, wanted.into_input(), faults) };
    Ok(Job::new(order, sim.parts.clock.now()))
}

/// Text to image; image to image where the input is a picture: the body itself, or in base64 with the prompt beside it.
fn wanted(headers: &HeaderMap, body: &Value, raw: &[u8], prompt: String) -> Result<Wanted, Wrong> {
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = accepted.and_then(Format::parse).unwrap_or(Format::Jpeg);
    let given = |picture: Option<String>, size| Wanted {
        prompt,
        field: "inputs".to_owned(),
        pictures: picture.into_iter().collect(),
        make: Make::picture(format, size),
        echo: json!({}),
    };
    let fields = Fields::of_json(body);
    if !body.is_object() {
        let (mime, _) = probe(raw).ok_or_else(|| Wrong::new("body", "must be a JSON object or a picture"))?;
        return Ok(given(Some(data_uri(mime, raw)), None));
    }
    let inputs = fields.required_text("inputs", 1..=usize::MAX)?;
    let parameters = fields.get("parameters").cloned().unwrap_or_else(|| json!({}));
    if !parameters.is_object() {
        return Err(Wrong::new("parameters", "must be an object"));
    }
    let parameters = Fields::of_json(&parameters);
    parameters.text("negative_prompt", 0..=usize::MAX)?;
    parameters.text("scheduler", 1..=200)?;
    parameters.number("guidance_scale", 0.0..=100.0)?;
    parameters.whole("num_inference_steps", 1..=1_000)?;
    parameters.whole("seed", i64::MIN..=i64::MAX)?;
    let side = |name: &str| {
        let side = parameters.whole(name, i64::from(MIN_SIDE_PX)..=i64::from(MAX_SIDE_PX))?;
        Ok::<_, Wrong>(side.and_then(|side| u32::try_from(side).ok()))
    };
    let size = match (side("width")?, side("height")?) {
        (None, None) => None,
        (width, height) => Some(Size::new(width.unwrap_or(1024), height.unwrap_or(1024))),
    };
    if parameters.text("prompt", 0..=usize::MAX)?.is_none() {
        return Ok(given(None, Some(size.unwrap_or(Size::new(1024, 1024)))));
    }
    let picture = BASE64_STANDARD.decode(inputs).map_err(|error| Wrong::new("inputs", format!("is not base64: {error}")))?;
    let (mime, _) = probe(&picture).ok_or_else(|| Wrong::new("inputs", "must be a picture"))?;
    Ok(given(Some(data_uri(mime, &picture)), size))
}

fn answered(made: &Made) -> Response {
    let mut response = match made.job.ended.as_ref().map(|ended| &ended.end) {
        Some(End::Files(files)) => {
            let mut response = Response::new(Body::from(made.files.concat()));
            let content_type = files.first().map_or("image/png", |file| file.format.content_type());
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            response
        }
        Some(End::Failed(failure)) => failed(failure).into_response(),
        Some(End::Text(_) | End::Canceled) | None => failed(&Failure::Broken("no picture was made".to_owned())).into_response(),
    };
    let id = HeaderValue::try_from(&made.job.id).expect("hexadecimal digits are visible ASCII");
    response.headers_mut().insert("x-request-id", id);
    response
}

fn failed(failure: &Failure) -> Reply {
    match failure {
        Failure::Broken(text) => Reply::json(StatusCode::INTERNAL_SERVER_ERROR, json!({"error": text})),
        // There is no shape of its own for it.
        Failure::Moderated => {
            Reply::json(StatusCode::BAD_REQUEST, json!({"error": "The request was flagged by the safety checker."}))
        }
        Failure::Inputs(faults) => {
            let texts: Vec<&str> = faults.iter().map(|fault| fault.text.as_str()).collect();
            Reply::json(StatusCode::BAD_REQUEST, json!({"error": texts}))
        }
    }
}

fn refusal(refusal: Refusal) -> Reply {
    let (status, error) = match refusal {
        Refusal::Key => (StatusCode::UNAUTHORIZED, "Invalid credentials in Authorization header"),
        Refusal::Funds => (
            StatusCode::PAYMENT_REQUIRED,
            "You have exceeded your monthly included credits for Inference Providers. Subscribe to PRO to get 20x more monthly \
             included credits.",
        ),
        Refusal::Throttled { seconds } => {
            let seconds = Duration::from_secs(seconds).as_secs_f64();
            let body = json!({"error": "Model is currently loading", "estimated_time": seconds});
            return Reply::json(StatusCode::SERVICE_UNAVAILABLE, body);
        }
        Refusal::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        Refusal::Input => return input_problem(&Wrong::new("inputs", "was rejected")),
    };
    Reply::json(status, json!({"error": error}))
}

/// The refusal of a model that loads names it.
fn with_model(mut refusal: Reply, model: &str) -> Reply {
    if refusal.body.get("estimated_time").is_some() {
        refusal.body["error"] = json!(format!("Model {model} is currently loading"));
    }
    refusal
}

fn input_problem(wrong: &Wrong) -> Reply {
    let text = format!("Error in `{}`: {}", wrong.field, wrong.text);
    Reply::json(StatusCode::BAD_REQUEST, json!({"error": [text]}))
}
