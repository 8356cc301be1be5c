//! Stability's API: pictures answered at once (v1, and the forms of v2beta), the creative upscale that is fetched later.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::SignedDuration;
use serde_json::{Value, json};
use shared::clock::random_bytes;

use super::faults::Faults;
use super::fields::Wrong;
use super::jobs::{End, Failure, Job, Order};
use super::multipart::Form;
use super::provider::{Provider, Refusal};
use super::run::{Made, Request, disk_failed};
use super::stability_checks::{Service, generation, generation_v1, upscale as upscale_wanted};
use super::wanted::{Wanted, echo};
use super::{Reply, Simulators, base_url};

/// Largest request of v2beta, in bytes.
const MAX_REQUEST_BYTES: usize = 10 * 1024 * 1024;
/// Results of upscales are kept that long after the end.
const RETENTION: SignedDuration = SignedDuration::from_hours(24);
const ENGINES: [&str; 2] = ["stable-diffusion-xl-1024-v1-0", "stable-diffusion-v1-6"];
/// The model of the jobs that are fetched later.
const UPSCALE: &str = "upscale/creative";
const FLAGGED: &str =
    "Your request was flagged by our content moderation system, as a result your request was denied and you were not charged.";

pub(super) fn routes() -> Router<Simulators> {
    Router::new()
        .route("/stability/v1/engines/list", get(engines))
        .route("/stability/v1/user/balance", get(balance))
        .route("/stability/v1/generation/{engine}/text-to-image", post(generate_v1))
        .route("/stability/v2beta/stable-image/generate/{service}", post(generate))
        .route("/stability/v2beta/stable-image/upscale/creative", post(upscale))
        .route("/stability/v2beta/stable-image/upscale/creative/result/{id}", get(upscale_result))
        .route("/stability/v2beta/results/{id}", get(result))
}

/// How the caller wants the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accept {
    Bytes,
    Json,
}

impl Accept {
    fn of(headers: &HeaderMap, bytes: &str, default: Self) -> Option<Self> {
        match headers.get(header::ACCEPT).map(|accept| accept.to_str().unwrap_or_default()) {
            None | Some("*/*") => Some(default),
            Some("application/json") => Some(Self::Json),
            Some(accept) if accept == bytes => Some(Self::Bytes),
            Some(_) => None,
        }
    }

    fn of_v2(headers: &HeaderMap) -> Result<Self, Reply> {
        let refused = || input_problem(&Wrong::new("accept", "must be one of: image/*, application/json"));
        Self::of(headers, "image/*", Self::Bytes).ok_or_else(refused)
    }
}

async fn generate(State(sim): State<Simulators>, Path(service): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let form = Form::read(&headers, &body);
    let admitted = admit(&sim, &headers, form.as_ref(), |form| {
        let service = Service::parse(&service).ok_or_else(|| not_found("not_found", "The requested resource was not found."))?;
        let wanted = generation(service, form).map_err(|wrong| input_problem(&wrong))?;
        Ok((service_name(service), answered_as(wanted, Accept::of_v2(&headers)?)))
    });
    let shown = form.as_ref().map(Form::described).unwrap_or_default();
    let request = request(format!("/v2beta/stable-image/generate/{service}"), &headers, &shown);
    sim.answer(request, admitted, |made| finished(made, accept_of(&made.job), "image")).await
}

/// What is wanted, with how it is to be answered.
fn answered_as(mut wanted: Wanted, accept: Accept) -> Wanted {
    wanted.echo["json"] = json!(accept == Accept::Json);
    wanted
}

fn accept_of(job: &Job) -> Accept {
    if *echo(job, "json") == json!(true) { Accept::Json } else { Accept::Bytes }
}

fn service_name(service: Service) -> &'static str {
    match service {
        Service::Ultra => "ultra",
        Service::Core => "core",
        Service::Sd3 => "sd3",
    }
}

async fn upscale(State(sim): State<Simulators>, headers: HeaderMap, body: Bytes) -> Response {
    let form = Form::read(&headers, &body);
    let admitted =
        admit(&sim, &headers, form.as_ref(), |form| Ok((UPSCALE, upscale_wanted(form).map_err(|wrong| input_problem(&wrong))?)));
    let shown = form.as_ref().map(Form::described).unwrap_or_default();
    let request = request("/v2beta/stable-image/upscale/creative".to_owned(), &headers, &shown);
    sim.take(request, admitted, |job| Reply::json(StatusCode::OK, json!({"id": job.id}))).await
}

/// The checks that all forms share, and those of `check`.
fn admit(
    sim: &Simulators,
    headers: &HeaderMap,
    form: Option<&Form>,
    check: impl FnOnce(&Form) -> Result<(&'static str, Wanted), Reply>,
) -> Result<Job, Reply> {
    let prompt = form.and_then(|form| form.text("prompt")).unwrap_or_default();
    let faults = sim.screen(Provider::Stability, headers, prompt, refusal)?;
    let form = form.ok_or_else(|| input_problem(&Wrong::new("content-type", "must be multipart/form-data")))?;
    if form.bytes() > MAX_REQUEST_BYTES {
        let text = "The request body is larger than 10MiB.";
        return Err(problem(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", text));
    }
    let (model, wanted) = check(form)?;
    Ok(job(sim, headers, model, wanted, faults))
}

fn job(sim: &Simulators, headers: &HeaderMap, model: &str, wanted: Wanted, faults: Faults) -> Job {
    let base = base_url(headers).unwrap_or_default();
    let order = Order {
        model: model.to_owned(),
        // The key: only the one that submitted may fetch.
        version: sim.parts.keys.label(Provider::Stability, headers).unwrap_or_default(),
        ..Order::new(Provider::Stability, random_id(), base, wanted.into_input(), faults)
    };
    Job::new(order, sim.parts.clock.now())
}

async fn generate_v1(State(sim): State<Simulators>, Path(engine): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let admitted = admit_v1(&sim, &headers, &engine, &body);
    let request = request(format!("/v1/generation/{engine}/text-to-image"), &headers, &body);
    sim.answer(request, admitted, finished_v1).await
}

fn admit_v1(sim: &Simulators, headers: &HeaderMap, engine: &str, body: &Value) -> Result<Job, Reply> {
    let prompt = body.pointer("/text_prompts/0/text").and_then(Value::as_str).unwrap_or_default();
    let faults = sim.screen(Provider::Stability, headers, prompt, |why| as_v1(refusal(why)))?;
    if !ENGINES.contains(&engine) {
        let text = format!("The specified engine (ID {engine}) was not found.");
        return Err(as_v1(not_found("not_found", &text)));
    }
    let accept = Accept::of(headers, "image/png", Accept::Json).ok_or_else(|| {
        let text = "accept: must be one of: application/json, image/png";
        as_v1(problem(StatusCode::BAD_REQUEST, "bad_request", text))
    })?;
    let wanted = generation_v1(body, accept == Accept::Bytes).map_err(|(name, wrong)| {
        let text = format!("{} {}", wrong.field, wrong.text);
        as_v1(problem(StatusCode::BAD_REQUEST, name, &text))
    })?;
    Ok(job(sim, headers, engine, answered_as(wanted, accept), faults))
}

fn request<'a>(path: String, headers: &'a HeaderMap, body: &'a Value) -> Request<'a> {
    Request { provider: Provider::Stability, path, headers, body, callback_url: None }
}

async fn result(State(sim): State<Simulators>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    fetch(&sim, &id, &headers, "result").await
}

async fn upscale_result(State(sim): State<Simulators>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    fetch(&sim, &id, &headers, "image").await
}

/// An upscale's result; `key` is its name in the JSON. There is no failed status: a failure is an error.
async fn fetch(sim: &Simulators, id: &str, headers: &HeaderMap, key: &'static str) -> Response {
    let Some(label) = sim.parts.keys.label(Provider::Stability, headers) else {
        return refusal(Refusal::Key).into_response();
    };
    let accept = match Accept::of_v2(headers) {
        Ok(accept) => accept,
        Err(refused) => return refused.into_response(),
    };
    let now = sim.parts.clock.now();
    let expired = |job: &Job| job.ended.as_ref().is_some_and(|ended| now.duration_since(ended.at) > RETENTION);
    let found = sim.parts.jobs.find(Provider::Stability, id);
    let Some(job) = found.filter(|job| job.model == UPSCALE && job.version == label && !expired(job)) else {
        let text = "The generation was not found: it is unknown, has expired or belongs to another key.";
        return not_found("generation_not_found", text).into_response();
    };
    let response = if job.ended.is_none() {
        Reply::json(StatusCode::ACCEPTED, json!({"id": job.id, "status": "in-progress"})).into_response()
    } else {
        match sim.made(id).await {
            Ok(made) => finished(&made, accept, key),
            Err(error) => disk_failed(&error).into_response(),
        }
    };
    sim.parts.journal.record_poll(Provider::Stability, id);
    response
}

fn finish_reason(job: &Job) -> &'static str {
    if job.faults.filtered { "CONTENT_FILTERED" } else { "SUCCESS" }
}

/// The pictures of an ended job, with their media type; or how it failed.
fn pictures(made: &Made) -> Result<(&'static str, &[Vec<u8>]), Failure> {
    match made.job.ended.as_ref().map(|ended| &ended.end) {
        Some(End::Failed(failure)) => Err(failure.clone()),
        Some(End::Files(files)) => {
            let content_type = files.first().map_or("image/png", |file| file.format.content_type());
            Ok((content_type, &made.files))
        }
        Some(End::Text(_) | End::Canceled) | None => Err(Failure::Broken("no picture was made".to_owned())),
    }
}

/// The answer of v2beta for an ended job; the picture is under `key` in its JSON.
fn finished(made: &Made, accept: Accept, key: &str) -> Response {
    let (content_type, picture) = match pictures(made) {
        Ok((content_type, pictures)) => (content_type, pictures.concat()),
        Err(failure) => return failed(&failure).into_response(),
    };
    let (seed, reason) = (echo(&made.job, "seed"), finish_reason(&made.job));
    let request_id = made.job.id.clone();
    match accept {
        Accept::Bytes => {
            let words = [
                ("content-type", content_type.to_owned()),
                ("finish-reason", reason.to_owned()),
                ("seed", seed.to_string()),
                ("x-request-id", request_id),
            ];
            bytes(words, picture)
        }
        Accept::Json => {
            let body = json!({key: BASE64_STANDARD.encode(picture), "seed": seed, "finish_reason": reason});
            let words = [("content-type", format!("application/json; type={content_type}")), ("x-request-id", request_id)];
            bytes(words, body.to_string().into_bytes())
        }
    }
}

/// The answer of version 1.
fn finished_v1(made: &Made) -> Response {
    let pictures = match pictures(made) {
        Ok((_, pictures)) => pictures,
        Err(Failure::Moderated) => {
            let text = "Invalid prompts detected";
            return as_v1(problem(StatusCode::BAD_REQUEST, "invalid_prompts", text)).into_response();
        }
        Err(failure) => return as_v1(failed(&failure)).into_response(),
    };
    let (seed, reason) = (echo(&made.job, "seed").as_i64().unwrap_or_default(), finish_reason(&made.job));
    match accept_of(&made.job) {
        Accept::Bytes => {
            let words =
                [("content-type", "image/png".to_owned()), ("finish-reason", reason.to_owned()), ("seed", seed.to_string())];
            bytes(words, pictures.concat())
        }
        Accept::Json => {
            let drawn = (seed..).zip(pictures.iter().map(|picture| BASE64_STANDARD.encode(picture)));
            let artifact = |(seed, picture)| json!({"base64": picture, "seed": seed, "finishReason": reason});
            let artifacts: Vec<Value> = drawn.map(artifact).collect();
            Reply::json(StatusCode::OK, json!({"artifacts": artifacts})).into_response()
        }
    }
}

fn bytes<const N: usize>(headers: [(&'static str, String); N], body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    for (name, value) in headers {
        let value = HeaderValue::try_from(value).expect("media types, words and numbers are visible ASCII");
        response.headers_mut().insert(name, value);
    }
    response
}

fn failed(failure: &Failure) -> Reply {
    match failure {
        Failure::Broken(text) => problem(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", text),
        Failure::Moderated => problem(StatusCode::FORBIDDEN, "content_moderation", FLAGGED),
        Failure::Inputs(faults) => {
            let text = faults.first().map_or("the image cannot be read", |fault| fault.text.as_str());
            problem(StatusCode::BAD_REQUEST, "bad_request", &format!("image: {text}"))
        }
    }
}

fn refusal(refusal: Refusal) -> Reply {
    match refusal {
        Refusal::Key => problem(StatusCode::UNAUTHORIZED, "unauthorized", "missing or invalid authorization header"),
        Refusal::Funds => {
            let text = "You lack sufficient credits to make this request.";
            problem(StatusCode::PAYMENT_REQUIRED, "payment_required", text)
        }
        Refusal::Throttled { seconds } => {
            let text = "You have exceeded the rate limit of 150 requests within a 10 second period.";
            problem(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", text).with("retry-after", HeaderValue::from(seconds))
        }
        Refusal::Unavailable => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "internal_error", "The service is temporarily unavailable.")
        }
        Refusal::Input => input_problem(&Wrong::required("some-field")),
    }
}

fn input_problem(wrong: &Wrong) -> Reply {
    problem(StatusCode::BAD_REQUEST, "bad_request", &format!("{}: {}", wrong.field, wrong.text))
}

fn not_found(name: &str, text: &str) -> Reply {
    problem(StatusCode::NOT_FOUND, name, text)
}

fn problem(status: StatusCode, name: &str, text: &str) -> Reply {
    Reply::json(status, json!({"id": random_id(), "name": name, "errors": [text]}))
}

/// The same problem as version 1 words it.
fn as_v1(mut problem: Reply) -> Reply {
    let message = problem.body["errors"][0].take();
    problem.body = json!({"id": problem.body["id"], "name": problem.body["name"], "message": message});
    if problem.status == StatusCode::INTERNAL_SERVER_ERROR {
        problem.body["name"] = json!("server_error");
    }
    problem
}

fn random_id() -> String {
    hex::encode(random_bytes::<16>())
}

async fn engines(State(sim): State<Simulators>, headers: HeaderMap) -> Reply {
    if !sim.parts.keys.admits(Provider::Stability, &headers) {
        return as_v1(refusal(Refusal::Key));
    }
    let engine = |id: &&str| json!({"id": id, "name": id, "description": "Simulated", "type": "PICTURE"});
    Reply::json(StatusCode::OK, ENGINES.iter().map(engine).collect())
}

async fn balance(State(sim): State<Simulators>, headers: HeaderMap) -> Reply {
    if !sim.parts.keys.admits(Provider::Stability, &headers) {
        return as_v1(refusal(Refusal::Key));
    }
    Reply::json(StatusCode::OK, json!({"credits": 1000.0}))
}
