//! OpenAI's Images API: generations and edits, answered with base64.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use shared::clock::random_bytes;

use super::fields::{Fields, Flaw, Wrong};
use super::jobs::{End, Failure, Job, Order};
use super::multipart::Form;
use super::openai_checks::wanted;
use super::prompt::prompt_of;
use super::provider::{Provider, Refusal};
use super::run::{Made, Request};
use super::wanted::{Wanted, data_uri, echo, is_link, probe};
use super::{Reply, Simulators, base_url};

/// Most pictures of one edit.
const MAX_PICTURES: usize = 16;
/// Longest `image_url`, in characters.
const MAX_LINK: usize = 20_971_520;
/// Tokens that a picture counts for in `usage`.
const TOKENS_PER_PICTURE: usize = 1_056;

pub(super) fn routes() -> Router<Simulators> {
    Router::new().route("/openai/v1/images/generations", post(generate)).route("/openai/v1/images/edits", post(edit))
}

async fn generate(State(sim): State<Simulators>, headers: HeaderMap, body: Bytes) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let admitted = admit(&sim, &headers, &body, |body| wanted(Fields::of_json(body), "", Vec::new()));
    sim.answer(request("/v1/images/generations", &headers, &body), admitted, answered).await
}

/// Takes a form with the pictures as files, and JSON that links to them.
async fn edit(State(sim): State<Simulators>, headers: HeaderMap, body: Bytes) -> Response {
    let path = "/v1/images/edits";
    if let Some(form) = Form::read(&headers, &body) {
        let shown = form.described();
        let admitted = admit(&sim, &headers, &shown, |_| wanted_of_form(&form));
        return sim.answer(request(path, &headers, &shown), admitted, answered).await;
    }
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let admitted = admit(&sim, &headers, &body, |body| {
        let pictures = linked_pictures(body)?;
        wanted(Fields::of_json(body), "images", pictures)
    });
    sim.answer(request(path, &headers, &body), admitted, answered).await
}

fn request<'a>(path: &str, headers: &'a HeaderMap, body: &'a Value) -> Request<'a> {
    Request { provider: Provider::Openai, path: path.to_owned(), headers, body, callback_url: None }
}

fn admit(
    sim: &Simulators,
    headers: &HeaderMap,
    body: &Value,
    check: impl FnOnce(&Value) -> Result<Wanted, Wrong>,
) -> Result<Job, Reply> {
    let faults = sim.screen(Provider::Openai, headers, &prompt_of(body), refusal)?;
    let wanted = check(body).map_err(|wrong| input_problem(&wrong))?;
    let id = format!("req_{}", hex::encode(random_bytes::<16>()));
    let model = body.get("model").and_then(Value::as_str).unwrap_or_default().to_owned();
    let base = base_url(headers).unwrap_or_default();
    let order = Order { model, ..Order::new(Provider::Openai, id, base, wanted.into_input(), faults) };
    Ok(Job::new(order, sim.parts.clock.now()))
}

fn wanted_of_form(form: &Form) -> Result<Wanted, Wrong> {
    let mut pictures = Vec::new();
    let mut first_size = None;
    for file in form.files("image").chain(form.files("image[]")) {
        let (mime, size) = probe(&file.bytes).ok_or_else(|| Wrong::new("image", "must be a png, webp or jpg file"))?;
        first_size.get_or_insert(size);
        pictures.push(data_uri(mime, &file.bytes));
    }
    if !(1..=MAX_PICTURES).contains(&pictures.len()) {
        return Err(Wrong::new("image", format!("must be 1 to {MAX_PICTURES} files")));
    }
    if let Some(mask) = form.files("mask").next() {
        let fits = probe(&mask.bytes).is_some_and(|(mime, size)| mime == "image/png" && first_size == Some(size));
        if !fits {
            return Err(Wrong::new("mask", "must be a png file of the size of the first image"));
        }
    }
    let texts: Map<String, Value> = form.texts();
    wanted(Fields::of_form(&texts), "image", pictures)
}

fn linked_pictures(body: &Value) -> Result<Vec<String>, Wrong> {
    let images = body.get("images").and_then(Value::as_array).ok_or_else(|| Wrong::required("images"))?;
    if !(1..=MAX_PICTURES).contains(&images.len()) {
        return Err(Wrong::new("images", format!("must have 1 to {MAX_PICTURES} elements")));
    }
    let link = |(index, image): (usize, &Value)| {
        let field = format!("images[{index}]");
        if image.get("file_id").is_some() {
            return Err(Wrong::new(&field, "names a file that does not exist"));
        }
        let link = Fields::of_json(image).required_text("image_url", 1..=MAX_LINK)?;
        if is_link(link) { Ok(link.to_owned()) } else { Err(Wrong::new(&field, "must be a URL or a data URL of a picture")) }
    };
    images.iter().enumerate().map(link).collect()
}

fn answered(made: &Made) -> Response {
    let mut response = match made.job.ended.as_ref().map(|ended| &ended.end) {
        Some(End::Failed(failure)) => failed(failure).into_response(),
        // What was drawn is held back.
        _ if made.job.faults.filtered => moderated("output").into_response(),
        Some(End::Files(_)) => Reply::json(StatusCode::OK, images(made)).into_response(),
        Some(End::Text(_) | End::Canceled) | None => failed(&Failure::Broken("no picture was made".to_owned())).into_response(),
    };
    let id = HeaderValue::try_from(&made.job.id).expect("hexadecimal digits are visible ASCII");
    response.headers_mut().insert("x-request-id", id);
    response
}

fn images(made: &Made) -> Value {
    let job = &made.job;
    let data: Vec<Value> = made.files.iter().map(|picture| json!({"b64_json": BASE64_STANDARD.encode(picture)})).collect();
    let given = job.input["pictures"].as_array().map_or(0, Vec::len) * TOKENS_PER_PICTURE;
    let words = job.input["prompt"].as_str().unwrap_or_default().split_whitespace().count();
    let drawn = data.len() * TOKENS_PER_PICTURE;
    json!({
        "created": job.created_at.as_second(),
        "background": echo(job, "background"),
        "output_format": echo(job, "output_format"),
        "quality": echo(job, "quality"),
        "size": echo(job, "size"),
        "data": data,
        "usage": {
            "total_tokens": words + given + drawn,
            "input_tokens": words + given,
            "output_tokens": drawn,
            "input_tokens_details": {"text_tokens": words, "image_tokens": given},
            "output_tokens_details": {"image_tokens": drawn, "text_tokens": 0},
        },
    })
}

fn failed(failure: &Failure) -> Reply {
    match failure {
        Failure::Broken(text) => problem(StatusCode::INTERNAL_SERVER_ERROR, "server_error", Value::Null, "server_error", text),
        Failure::Moderated => moderated("input"),
        Failure::Inputs(faults) => {
            let text = faults.first().map_or("the image cannot be read", |fault| fault.text.as_str());
            input_problem(&Wrong::new(faults.first().map_or("image", |fault| fault.field.as_str()), text))
        }
    }
}

fn moderated(stage: &str) -> Reply {
    let text = "Your request was rejected by the safety system.";
    let mut reply = problem(StatusCode::BAD_REQUEST, "image_generation_user_error", Value::Null, "moderation_blocked", text);
    reply.body["error"]["moderation_details"] = json!({"moderation_stage": stage, "categories": ["other"]});
    reply
}

fn refusal(refusal: Refusal) -> Reply {
    let too_many = StatusCode::TOO_MANY_REQUESTS;
    match refusal {
        Refusal::Key => {
            let text = "Incorrect API key provided.";
            problem(StatusCode::UNAUTHORIZED, "invalid_request_error", Value::Null, "invalid_api_key", text)
        }
        Refusal::Funds => {
            let text = "You exceeded your current quota, please check your plan and billing details.";
            problem(too_many, "insufficient_quota", Value::Null, "insufficient_quota", text)
        }
        Refusal::Throttled { seconds } => {
            let text = format!("Rate limit reached. Please try again in {seconds}s.");
            let reply = problem(too_many, "rate_limit_exceeded", Value::Null, "rate_limit_exceeded", &text);
            reply.with("retry-after", HeaderValue::from(seconds))
        }
        Refusal::Unavailable => {
            let text = "The server is currently overloaded.";
            problem(StatusCode::SERVICE_UNAVAILABLE, "server_error", Value::Null, "server_error", text)
        }
        Refusal::Input => input_problem(&Wrong::new("size", "has an invalid value")),
    }
}

/// A wrong value is the user's, anything else about a field the caller's.
fn input_problem(wrong: &Wrong) -> Reply {
    let (kind, code) = match wrong.flaw {
        Flaw::Missing => ("invalid_request_error", "missing_required_parameter"),
        Flaw::Unknown => ("invalid_request_error", "unknown_parameter"),
        Flaw::Value => ("image_generation_user_error", "invalid_value"),
    };
    let text = format!("Invalid request: `{}` {}.", wrong.field, wrong.text);
    problem(StatusCode::BAD_REQUEST, kind, json!(wrong.field), code, &text)
}

fn problem(status: StatusCode, kind: &str, param: Value, code: &str, text: &str) -> Reply {
    Reply::json(status, json!({"error": {"message": text, "type": kind, "param": param, "code": code}}))
}
