//! OpenRouter's Images API: pictures answered at once.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use shared::draw::Format;

use super::fields::{Fields, Wrong};
use super::jobs::{End, Failure, Job};
use super::media::Size;
use super::openrouter::{base64, failed, input_problem, model_of, order, picture_link, refusal};
use super::prompt::prompt_of;
use super::provider::Provider;
use super::run::{Made, Request};
use super::wanted::{Make, Wanted, of_ratio, sides};
use super::{Reply, Simulators};

const RATIOS: [&str; 21] = [
    "1:1", "1:2", "1:4", "1:8", "2:1", "2:3", "3:2", "3:4", "4:1", "4:3", "4:5", "5:4", "8:1", "9:16", "16:9", "9:19.5",
    "19.5:9", "9:20", "20:9", "9:21", "21:9",
];
const TIERS: [&str; 4] = ["512", "1K", "2K", "4K"];
const MAX_REFERENCES: usize = 16;

pub(super) async fn create(State(sim): State<Simulators>, headers: HeaderMap, body: Bytes) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let admitted = admit(&sim, &headers, &body);
    let request = Request {
        provider: Provider::Openrouter,
        path: "/api/v1/images".to_owned(),
        headers: &headers,
        body: &body,
        callback_url: None,
    };
    sim.answer(request, admitted, answered).await
}

fn admit(sim: &Simulators, headers: &HeaderMap, body: &Value) -> Result<Job, Reply> {
    let faults = sim.screen(Provider::Openrouter, headers, &prompt_of(body), refusal)?;
    let model = model_of(body)?;
    let wanted = wanted(Fields::of_json(body)).map_err(|wrong| input_problem(&wrong))?;
    Ok(Job::new(order(headers, "gen-", model, wanted, faults), sim.parts.clock.now()))
}

fn wanted(fields: Fields<'_>) -> Result<Wanted, Wrong> {
    let prompt = fields.required_text("prompt", 1..=usize::MAX)?;
    let count = fields.whole("n", 1..=10)?.and_then(|count| u32::try_from(count).ok()).unwrap_or(1);
    fields.word("quality", &["auto", "low", "medium", "high"])?;
    fields.word("background", &["auto", "transparent", "opaque"])?;
    fields.whole("output_compression", 0..=100)?;
    fields.whole("seed", i64::MIN..=i64::MAX)?;
    if fields.flag("stream")? == Some(true) {
        return Err(Wrong::new("stream", "is not simulated: ask for the whole answer"));
    }
    let size = size(fields)?;
    let make = match fields.word("output_format", &["png", "jpeg", "webp", "svg"])? {
        Some("svg") => Make::Text(drawn_as_svg(size.unwrap_or(Size::new(1024, 1024)))),
        format => {
            let format = format.and_then(Format::parse).unwrap_or(Format::Png);
            Make::Pictures { count, format, size, scale: 1 }
        }
    };
    let pictures = references(fields)?;
    Ok(Wanted { prompt: prompt.to_owned(), field: "input_references".to_owned(), pictures, make, echo: json!({}) })
}

/// The links of `input_references`.
pub(super) fn references(fields: Fields<'_>) -> Result<Vec<String>, Wrong> {
    let Some(references) = fields.get("input_references") else {
        return Ok(Vec::new());
    };
    let wrong = || Wrong::new("input_references", format!("must be a list of at most {MAX_REFERENCES} pictures"));
    let references = references.as_array().filter(|list| list.len() <= MAX_REFERENCES).ok_or_else(wrong)?;
    references.iter().map(picture_link).collect()
}

/// The size asked for by its sides, or by tier and ratio; none leaves it to the first picture given.
fn size(fields: Fields<'_>) -> Result<Option<Size>, Wrong> {
    let ratio = fields.text("aspect_ratio", 1..=10)?.filter(|ratio| *ratio != "auto");
    if ratio.is_some() {
        fields.word("aspect_ratio", &RATIOS)?;
    }
    let tier = fields.word("resolution", &TIERS)?;
    let tier = match fields.text("size", 1..=20)? {
        Some(size) if !TIERS.contains(&size) => {
            let wrong = || Wrong::new("size", "must be a tier such as 2K, or sides such as 1024x768");
            return sides(size).map(Some).ok_or_else(wrong);
        }
        size => size.or(tier),
    };
    if tier.is_none() && ratio.is_none() {
        return Ok(None);
    }
    Ok(of_ratio(ratio.unwrap_or("1:1"), tier_side(tier.unwrap_or("1K"))))
}

/// The side of a tier's square, in pixels.
pub(super) fn tier_side(tier: &str) -> u32 {
    match tier {
        "512" => 512,
        "2K" => 2_048,
        "4K" => 4_096,
        _ => 1_024,
    }
}

fn drawn_as_svg(size: Size) -> String {
    let Size { width, height } = size;
    let field = r##"<rect width="100%" height="100%" fill="#357"/>"##;
    format!(r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{field}</svg>"#)
}

fn answered(made: &Made) -> Response {
    let job = &made.job;
    let data: Vec<Value> = match job.ended.as_ref().map(|ended| &ended.end) {
        Some(End::Failed(failure)) => return failed(job, failure).into_response(),
        Some(End::Text(svg)) => vec![json!({"b64_json": base64(svg.as_bytes()), "media_type": "image/svg+xml"})],
        Some(End::Files(files)) => {
            let kinds = files.iter().map(|file| file.format.content_type());
            let drawn = made.files.iter().map(|bytes| base64(bytes)).zip(kinds);
            drawn.map(|(base64, kind)| json!({"b64_json": base64, "media_type": kind})).collect()
        }
        Some(End::Canceled) | None => return failed(job, &Failure::Broken("no picture was made".to_owned())).into_response(),
    };
    let drawn = data.len() * 1_290;
    let body = json!({
        "created": job.created_at.as_second(),
        "data": data,
        "usage": {"prompt_tokens": 10, "completion_tokens": drawn, "total_tokens": 10 + drawn, "cost": 0.039},
    });
    Reply::json(StatusCode::OK, body).into_response()
}
