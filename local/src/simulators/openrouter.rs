//! OpenRouter's API: chats that answer with text or pictures. Its pictures and videos have modules of their own.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use shared::clock::random_bytes;
use shared::draw::Format;

use super::faults::Faults;
use super::fields::{Fields, Wrong};
use super::jobs::{End, Failure, Job, Order};
use super::prompt::{prompt_of, text_of};
use super::provider::{Provider, Refusal};
use super::run::{Made, Request};
use super::wanted::{Make, Wanted, check_pictures, data_uri, echo, is_link, of_ratio};
use super::{Reply, Simulators, answers, base_url, openrouter_images, openrouter_videos};

pub(super) fn routes() -> Router<Simulators> {
    Router::new()
        .route("/openrouter/api/v1/chat/completions", post(chat))
        .route("/openrouter/api/v1/images", post(openrouter_images::create))
        .route("/openrouter/api/v1/videos", post(openrouter_videos::create))
        .route("/openrouter/api/v1/videos/{id}", get(openrouter_videos::show))
        .route("/openrouter/api/v1/videos/{id}/content", get(openrouter_videos::content))
}

async fn chat(State(sim): State<Simulators>, headers: HeaderMap, body: Bytes) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let admitted = admit(&sim, &headers, &body).await;
    let request = Request {
        provider: Provider::Openrouter,
        path: "/api/v1/chat/completions".to_owned(),
        headers: &headers,
        body: &body,
        callback_url: None,
    };
    sim.answer(request, admitted, answered).await
}

async fn admit(sim: &Simulators, headers: &HeaderMap, body: &Value) -> Result<Job, Reply> {
    let faults = sim.screen(Provider::Openrouter, headers, &prompt_of(body), refusal)?;
    let model = model_of(body)?;
    let wanted = wanted(body).map_err(|wrong| input_problem(&wrong))?;
    check_pictures(sim, &wanted).await.map_err(|wrong| input_problem(&wrong))?;
    Ok(Job::new(order(headers, "gen-", model, wanted, faults), sim.parts.clock.now()))
}

/// A job's id begins with `start`.
pub(super) fn order(headers: &HeaderMap, start: &str, model: &str, wanted: Wanted, faults: Faults) -> Order {
    let id = format!("{start}{}", hex::encode(random_bytes::<12>()));
    let base = base_url(headers).unwrap_or_default();
    Order { model: model.to_owned(), ..Order::new(Provider::Openrouter, id, base, wanted.into_input(), faults) }
}

/// The model's slug, `author/name`; others are unknown.
pub(super) fn model_of(body: &Value) -> Result<&str, Reply> {
    let model = Fields::of_json(body).required_text("model", 1..=200).map_err(|wrong| input_problem(&wrong))?;
    let is_slug = model.split_once('/').is_some_and(|(author, name)| !author.is_empty() && !name.is_empty());
    let unknown = || problem(StatusCode::NOT_FOUND, &format!("No endpoints found for {model}."), json!({}));
    if is_slug { Ok(model) } else { Err(unknown()) }
}

fn wanted(body: &Value) -> Result<Wanted, Wrong> {
    let fields = Fields::of_json(body);
    let messages = fields.get("messages").and_then(Value::as_array).filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| Wrong::new("messages", "must be a list of at least one message"))?;
    let mut pictures = Vec::new();
    for message in messages {
        check_message(message, &mut pictures)?;
    }
    if fields.flag("stream")? == Some(true) {
        return Err(Wrong::new("stream", "is not simulated: ask for the whole answer"));
    }
    fields.number("temperature", 0.0..=2.0)?;
    let old_limit = fields.whole("max_tokens", 1..=i64::MAX)?;
    let max_tokens = fields.whole("max_completion_tokens", 1..=i64::MAX)?.or(old_limit);
    let prompt = prompt_of(body);
    let modalities = modalities(fields)?;
    let (make, cut) = if modalities.contains(&"image") {
        (Make::picture(Format::Png, image_size(fields)?), false)
    } else {
        let (text, cut) = answers::cut(text_answer(fields, &prompt)?, max_tokens);
        (Make::Text(text), cut)
    };
    let echo = json!({"cut": cut, "says": modalities.contains(&"text")});
    Ok(Wanted { prompt, field: "image_url".to_owned(), pictures, make, echo })
}

/// Checks a message's content and adds the links of its pictures.
fn check_message(message: &Value, pictures: &mut Vec<String>) -> Result<(), Wrong> {
    let fields = Fields::of_json(message);
    fields.word("role", &["system", "developer", "user", "assistant", "tool"])?.ok_or_else(|| Wrong::required("role"))?;
    let parts = match fields.get("content") {
        Some(Value::String(_)) => return Ok(()),
        Some(Value::Array(parts)) => parts,
        Some(_) | None => return Err(Wrong::new("content", "must be a string or a list of parts")),
    };
    for part in parts {
        let part_fields = Fields::of_json(part);
        match part_fields.word("type", &["text", "image_url"])? {
            Some("text") => {
                part_fields.required_text("text", 0..=usize::MAX)?;
            }
            Some(_) => pictures.push(picture_link(part)?),
            None => return Err(Wrong::required("type")),
        }
    }
    Ok(())
}

/// The link of `{"type": "image_url", "image_url": {"url": …}}`.
pub(super) fn picture_link(part: &Value) -> Result<String, Wrong> {
    let link = part.pointer("/image_url/url").and_then(Value::as_str).ok_or_else(|| Wrong::required("image_url.url"))?;
    let wrong = || Wrong::new("image_url.url", "must be a URL or a data URL of a picture");
    if is_link(link) { Ok(link.to_owned()) } else { Err(wrong()) }
}

fn modalities<'a>(fields: Fields<'a>) -> Result<Vec<&'a str>, Wrong> {
    let wrong = || Wrong::new("modalities", "must be a list of: text, image");
    let Some(modalities) = fields.get("modalities") else {
        return Ok(vec!["text"]);
    };
    let word = |word: &'a Value| word.as_str().filter(|word| ["text", "image"].contains(word)).ok_or_else(wrong);
    modalities.as_array().ok_or_else(wrong)?.iter().map(word).collect()
}

fn image_size(fields: Fields<'_>) -> Result<Option<super::media::Size>, Wrong> {
    let Some(config) = fields.get("image_config") else {
        return Ok(None);
    };
    let config = Fields::of_json(config);
    let tier = config.word("image_size", &["1K", "2K", "4K"])?;
    let ratio = config.text("aspect_ratio", 1..=10)?;
    if tier.is_none() && ratio.is_none() {
        return Ok(None);
    }
    let size = of_ratio(ratio.unwrap_or("1:1"), openrouter_images::tier_side(tier.unwrap_or("1K")));
    size.map(Some).ok_or_else(|| Wrong::new("aspect_ratio", "must be a ratio such as 16:9"))
}

fn text_answer(fields: Fields<'_>, prompt: &str) -> Result<String, Wrong> {
    let messages = fields.get("messages").and_then(Value::as_array).into_iter().flatten();
    let asked = messages.map(text_of).collect::<Vec<_>>().join("\n");
    let Some(format) = fields.get("response_format") else {
        return Ok(answers::text(prompt, &asked));
    };
    match Fields::of_json(format).word("type", &["text", "json_object", "json_schema"])? {
        Some("json_object") => Ok(json!({"answer": answers::text(prompt, &asked)}).to_string()),
        Some("json_schema") => {
            let schema = format.pointer("/json_schema/schema").filter(|schema| schema.is_object());
            let schema = schema.ok_or_else(|| Wrong::required("response_format.json_schema.schema"))?;
            Ok(answers::json(schema, prompt).to_string())
        }
        Some(_) => Ok(answers::text(prompt, &asked)),
        None => Err(Wrong::required("response_format.type")),
    }
}

fn answered(made: &Made) -> Response {
    let job = &made.job;
    let (message, reason) = match job.ended.as_ref().map(|ended| &ended.end) {
        Some(End::Failed(failure)) => return failed(job, failure).into_response(),
        Some(End::Text(_)) if job.faults.filtered => (json!({"role": "assistant", "content": ""}), "content_filter"),
        Some(End::Text(text)) => {
            let reason = if *echo(job, "cut") == json!(true) { "length" } else { "stop" };
            (json!({"role": "assistant", "content": text}), reason)
        }
        // A refusal is told in words, where the picture is missing.
        Some(End::Files(_)) if job.faults.filtered => (json!({"role": "assistant", "content": "I cannot draw that."}), "stop"),
        Some(End::Files(_)) => {
            let says = if *echo(job, "says") == json!(true) { "Here is the picture." } else { "" };
            (json!({"role": "assistant", "content": says, "images": images(made)}), "stop")
        }
        Some(End::Canceled) | None => return failed(job, &Failure::Broken("no answer was made".to_owned())).into_response(),
    };
    let prompt_tokens = answers::tokens(job.input["prompt"].as_str().unwrap_or_default());
    let tokens = answers::tokens(message["content"].as_str().unwrap_or_default()) + made.files.len() * 1_290;
    let body = json!({
        "id": job.id,
        "object": "chat.completion",
        "created": job.created_at.as_second(),
        "model": job.model,
        "choices": [{"index": 0, "finish_reason": reason, "message": message}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": prompt_tokens + tokens,
            "cost": if made.files.is_empty() { 0.0001 } else { 0.04 },
        },
    });
    Reply::json(StatusCode::OK, body).into_response()
}

fn images(made: &Made) -> Vec<Value> {
    let url = |picture: &Vec<u8>| json!({"type": "image_url", "image_url": {"url": data_uri("image/png", picture)}});
    made.files.iter().map(url).collect()
}

/// A file in base64, as the Images API answers it.
pub(super) fn base64(file: &[u8]) -> String {
    BASE64_STANDARD.encode(file)
}

pub(super) fn failed(job: &Job, failure: &Failure) -> Reply {
    match failure {
        Failure::Broken(text) => {
            let metadata = json!({"raw": text, "provider_name": "Simulated"});
            problem(StatusCode::BAD_GATEWAY, "Provider returned error", metadata)
        }
        Failure::Moderated => {
            let metadata = json!({"reasons": ["other"], "provider_name": "Simulated", "model_slug": job.model});
            problem(StatusCode::FORBIDDEN, "The model requires moderation and your input was flagged.", metadata)
        }
        Failure::Inputs(faults) => {
            let text = faults.first().map_or("the picture cannot be read", |fault| fault.text.as_str());
            problem(StatusCode::BAD_REQUEST, text, json!({}))
        }
    }
}

pub(super) fn refusal(refusal: Refusal) -> Reply {
    match refusal {
        Refusal::Key => problem(StatusCode::UNAUTHORIZED, "No auth credentials found", json!({})),
        Refusal::Funds => {
            let metadata = json!({"limit_source": "openrouter_credits"});
            let text = "Insufficient credits. Add more credits to your account.";
            problem(StatusCode::PAYMENT_REQUIRED, text, metadata)
        }
        Refusal::Throttled { seconds } => problem(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded", json!({}))
            .with("retry-after", HeaderValue::from(seconds)),
        Refusal::Unavailable => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "No provider is available that meets the requirements", json!({}))
        }
        Refusal::Input => input_problem(&Wrong::new("prompt", "was rejected")),
    }
}

pub(super) fn input_problem(wrong: &Wrong) -> Reply {
    problem(StatusCode::BAD_REQUEST, &format!("{} {}", wrong.field, wrong.text), json!({}))
}

/// The code is a number, the HTTP status.
pub(super) fn problem(status: StatusCode, text: &str, metadata: Value) -> Reply {
    let mut error = json!({"code": status.as_u16(), "message": text});
    if metadata.as_object().is_some_and(|fields| !fields.is_empty()) {
        error["metadata"] = metadata;
    }
    Reply::json(status, json!({"error": error}))
}
