//! `generateContent`: text, JSON that fulfils a schema, and pictures.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use shared::clock::random_bytes;
use shared::draw::Format;

use super::fields::{Fields, Wrong};
use super::gemini::{input_problem, internal, invalid, refusal, unknown_model};
use super::gemini_files::check_file;
use super::jobs::{End, Failure, Job, Order};
use super::media::Size;
use super::prompt::prompt_of;
use super::provider::Provider;
use super::run::{Made, Request};
use super::wanted::{Make, Wanted, check_pictures, echo, of_ratio};
use super::{Reply, Simulators, answers, base_url};

const FIELDS: [&str; 7] =
    ["contents", "systemInstruction", "generationConfig", "safetySettings", "tools", "toolConfig", "cachedContent"];
const CONFIG_FIELDS: [&str; 19] = [
    "candidateCount",
    "frequencyPenalty",
    "imageConfig",
    "maxOutputTokens",
    "mediaResolution",
    "presencePenalty",
    "responseJsonSchema",
    "responseLogprobs",
    "responseMimeType",
    "responseModalities",
    "responseSchema",
    "seed",
    "speechConfig",
    "stopSequences",
    "temperature",
    "thinkingConfig",
    "topK",
    "topP",
    "logprobs",
];
const CATEGORIES: [&str; 4] = [
    "HARM_CATEGORY_HARASSMENT",
    "HARM_CATEGORY_HATE_SPEECH",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT",
];
const THRESHOLDS: [&str; 5] = ["BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF"];
/// Tokens that a picture counts for.
const TOKENS_PER_PICTURE: usize = 1_290;

pub(super) async fn generate(
    State(sim): State<Simulators>,
    Path(call): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let admitted = admit(&sim, &headers, &call, &body).await;
    let request = Request {
        provider: Provider::Gemini,
        path: format!("/v1beta/models/{call}"),
        headers: &headers,
        body: &body,
        callback_url: None,
    };
    sim.answer(request, admitted, answered).await
}

async fn admit(sim: &Simulators, headers: &HeaderMap, call: &str, body: &Value) -> Result<Job, Reply> {
    let faults = sim.screen(Provider::Gemini, headers, &prompt_of(body), refusal)?;
    let (model, method) = call.rsplit_once(':').unwrap_or((call, ""));
    if method != "generateContent" || !is_served(model) {
        return Err(unknown_model(model));
    }
    let fields = Fields::of_json(body);
    fields.only(&FIELDS).map_err(|wrong| unknown_name(&wrong.field, "request"))?;
    let given = check_contents(fields).map_err(|wrong| input_problem(&wrong))?;
    check_safety(fields).map_err(|wrong| input_problem(&wrong))?;
    for uri in &given.files {
        check_file(sim, headers, uri).await?;
    }
    let none = json!({});
    let config = Fields::of_json(fields.get("generationConfig").unwrap_or(&none));
    config.only(&CONFIG_FIELDS).map_err(|wrong| unknown_name(&wrong.field, "generation_config"))?;
    let wanted = wanted(model, config, prompt_of(body), given.pictures).map_err(|wrong| input_problem(&wrong))?;
    check_pictures(sim, &wanted).await.map_err(|_| invalid("Unable to process input image."))?;
    let base = base_url(headers).unwrap_or_default();
    let id = hex::encode(random_bytes::<12>());
    let order = Order { model: model.to_owned(), ..Order::new(Provider::Gemini, id, base, wanted.into_input(), faults) };
    Ok(Job::new(order, sim.parts.clock.now()))
}

/// Retired models and those of the interactions are not.
fn is_served(model: &str) -> bool {
    let retired = ["gemini-2.5-flash-image", "gemini-3.1-flash-image-preview", "gemini-3-pro-image-preview"];
    model.starts_with("gemini-") && !model.starts_with("gemini-omni-") && !retired.contains(&model)
}

fn unknown_name(name: &str, place: &str) -> Reply {
    invalid(&format!("Invalid JSON payload received. Unknown name \"{name}\" at '{place}': Cannot find field."))
}

/// What the contents give besides text.
#[derive(Default)]
struct Given {
    /// As data URIs.
    pictures: Vec<String>,
    /// The links of `fileData`.
    files: Vec<String>,
}

fn check_contents(fields: Fields<'_>) -> Result<Given, Wrong> {
    let contents = fields.get("contents").and_then(Value::as_array).filter(|contents| !contents.is_empty());
    let contents = contents.ok_or_else(|| Wrong::new("contents", "contents is not specified"))?;
    let mut given = Given::default();
    for (index, content) in contents.iter().enumerate() {
        let place = format!("contents[{index}]");
        Fields::of_json(content).word("role", &["user", "model"])?;
        let parts = content.get("parts").and_then(Value::as_array).filter(|parts| !parts.is_empty());
        for part in parts.ok_or_else(|| Wrong::new(&place, "contents.parts must not be empty"))? {
            check_part(&place, part, &mut given)?;
        }
    }
    Ok(given)
}

fn check_part(place: &str, part: &Value, given: &mut Given) -> Result<(), Wrong> {
    let fields = Fields::of_json(part);
    fields.only(&["text", "inlineData", "fileData", "videoMetadata", "thought", "thoughtSignature"])?;
    let wrong = |text: &str| Wrong::new(&format!("{place}.parts"), text);
    match (fields.get("text"), fields.get("inlineData"), fields.get("fileData")) {
        (Some(Value::String(_)), None, None) => {}
        (None, Some(data), None) => {
            let data = Fields::of_json(data);
            let mime = data.required_text("mimeType", 1..=100)?;
            let encoded = data.required_text("data", 1..=usize::MAX)?;
            BASE64_STANDARD.decode(encoded).map_err(|_| wrong("Base64 decoding failed"))?;
            if mime.starts_with("image/") {
                given.pictures.push(format!("data:{mime};base64,{encoded}"));
            }
        }
        (None, None, Some(file)) => {
            given.files.push(Fields::of_json(file).required_text("fileUri", 1..=8_192)?.to_owned());
        }
        _ => return Err(wrong("required oneof field 'data' must have one initialized field")),
    }
    let Some(metadata) = fields.get("videoMetadata") else {
        return Ok(());
    };
    let fps = Fields::of_json(metadata).number("fps", 0.0..=24.0)?;
    if fps.is_some_and(|fps| fps <= 0.0) { Err(wrong("fps must be in the range (0, 24]")) } else { Ok(()) }
}

fn check_safety(fields: Fields<'_>) -> Result<(), Wrong> {
    for setting in fields.get("safetySettings").and_then(Value::as_array).into_iter().flatten() {
        let setting = Fields::of_json(setting);
        setting.word("category", &CATEGORIES)?.ok_or_else(|| Wrong::required("category"))?;
        setting.word("threshold", &THRESHOLDS)?.ok_or_else(|| Wrong::required("threshold"))?;
    }
    Ok(())
}

fn wanted(model: &str, config: Fields<'_>, prompt: String, pictures: Vec<String>) -> Result<Wanted, Wrong> {
    let draws = model.contains("-image");
    let modalities = modalities(config)?.unwrap_or_else(|| if draws { vec!["TEXT", "IMAGE"] } else { vec!["TEXT"] });
    let max_tokens = config.whole("maxOutputTokens", 1..=i64::from(i32::MAX))?;
    config.whole("candidateCount", 1..=1)?;
    let mime = config.word("responseMimeType", &["text/plain", "application/json"])?;
    let schemas = (config.get("responseSchema"), config.get("responseJsonSchema"));
    let schema = match schemas {
        (Some(_), Some(_)) => return Err(Wrong::new("generation_config", "set only one of the two response schemas")),
        (schema, json_schema) => schema.or(json_schema),
    };
    if schema.is_some() && mime != Some("application/json") {
        return Err(Wrong::new("generation_config", "a response schema needs the response mime type application/json"));
    }
    let thinks = config.get("thinkingConfig").and_then(|thinking| thinking.get("includeThoughts")) == Some(&json!(true));
    let (make, cut) = if modalities.contains(&"IMAGE") {
        if !draws {
            return Err(Wrong::new("response_modalities", "the model does not support the modality IMAGE"));
        }
        (Make::picture(Format::Png, image_size(config)?), false)
    } else {
        let text = match (schema, mime) {
            (Some(schema), _) => answers::spoilt(&answers::json(schema, &prompt), &prompt),
            (None, Some("application/json")) => json!({"answer": answers::text(&prompt, &prompt)}).to_string(),
            (None, _) => answers::text(&prompt, &prompt),
        };
        let (text, cut) = answers::cut(text, max_tokens);
        (Make::Text(text), cut)
    };
    let echo = json!({"cut": cut, "thinks": thinks, "says": modalities.contains(&"TEXT")});
    Ok(Wanted { prompt, field: "contents".to_owned(), pictures, make, echo })
}

fn modalities<'a>(config: Fields<'a>) -> Result<Option<Vec<&'a str>>, Wrong> {
    let wrong = || Wrong::new("response_modalities", "must be a list of: TEXT, IMAGE");
    let Some(modalities) = config.get("responseModalities") else {
        return Ok(None);
    };
    let word = |word: &'a Value| word.as_str().filter(|word| ["TEXT", "IMAGE"].contains(word)).ok_or_else(wrong);
    modalities.as_array().ok_or_else(wrong)?.iter().map(word).collect::<Result<_, _>>().map(Some)
}

fn image_size(config: Fields<'_>) -> Result<Option<Size>, Wrong> {
    let Some(image) = config.get("imageConfig") else {
        return Ok(None);
    };
    let image = Fields::of_json(image);
    image.only(&["aspectRatio", "imageSize"])?;
    let side = match image.word("imageSize", &["1K", "2K", "4K"])? {
        Some("2K") => 2_048,
        Some("4K") => 4_096,
        Some(_) | None => 1_024,
    };
    match image.text("aspectRatio", 1..=10)? {
        Some(ratio) => of_ratio(ratio, side).map(Some).ok_or_else(|| Wrong::new("aspect_ratio", "is not a ratio")),
        None => Ok(image.get("imageSize").map(|_| Size::new(side, side))),
    }
}

fn answered(made: &Made) -> Response {
    let job = &made.job;
    let flag = |name: &str| *echo(job, name) == json!(true);
    let (parts, reason) = match job.ended.as_ref().map(|ended| &ended.end) {
        Some(End::Failed(Failure::Moderated)) => return blocked(job).into_response(),
        Some(End::Failed(Failure::Broken(_))) => return internal("An internal error has occurred.").into_response(),
        Some(End::Failed(Failure::Inputs(_))) => return invalid("Unable to process input image.").into_response(),
        Some(End::Text(_)) if job.faults.filtered => (Vec::new(), "SAFETY"),
        Some(End::Text(text)) => {
            let thought = flag("thinks").then(|| json!({"text": "Simulated thoughts.", "thought": true}));
            let reason = if flag("cut") { "MAX_TOKENS" } else { "STOP" };
            (thought.into_iter().chain([json!({"text": text})]).collect(), reason)
        }
        Some(End::Files(_)) if job.faults.filtered => (Vec::new(), "IMAGE_SAFETY"),
        Some(End::Files(_)) => {
            let says = flag("says").then(|| json!({"text": "Here is the picture."}));
            let picture =
                |bytes: &Vec<u8>| json!({"inlineData": {"mimeType": "image/png", "data": BASE64_STANDARD.encode(bytes)}});
            (says.into_iter().chain(made.files.iter().map(picture)).collect(), "STOP")
        }
        Some(End::Canceled) | None => return internal("No answer was made.").into_response(),
    };
    let answer_tokens = match &job.ended.as_ref().map(|ended| &ended.end) {
        Some(End::Text(text)) => answers::tokens(text),
        _ => made.files.len() * TOKENS_PER_PICTURE,
    };
    let mut candidate = json!({"finishReason": reason, "index": 0, "safetyRatings": []});
    if !parts.is_empty() {
        candidate["content"] = json!({"role": "model", "parts": parts});
    }
    let mut body = json!({"candidates": [candidate]});
    add_facts(&mut body, job, answer_tokens);
    Reply::json(StatusCode::OK, body).into_response()
}

/// A refused prompt has no candidates at all.
fn blocked(job: &Job) -> Reply {
    let mut body = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "safetyRatings": []}});
    add_facts(&mut body, job, 0);
    Reply::json(StatusCode::OK, body)
}

fn add_facts(body: &mut Value, job: &Job, answer_tokens: usize) {
    let given = job.input["pictures"].as_array().map_or(0, Vec::len) * TOKENS_PER_PICTURE;
    let prompt = answers::tokens(job.input["prompt"].as_str().unwrap_or_default()) + given;
    body["usageMetadata"] =
        json!({"promptTokenCount": prompt, "candidatesTokenCount": answer_tokens, "totalTokenCount": prompt + answer_tokens});
    body["modelVersion"] = json!(job.model);
    body["responseId"] = json!(job.id);
}
