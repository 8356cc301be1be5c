//! What Replicate refuses at once: the checks of a prediction's fields.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use shared::draw::{MAX_SIDE_PX, MIN_SIDE_PX};

use super::Reply;
use super::media::{self, Size};
use super::outbound::may_be_called;

const EVENTS: [&str; 4] = ["start", "output", "logs", "completed"];
const FORMATS: [&str; 3] = ["webp", "jpg", "png"];
const WHOLE_NUMBERS: [(&str, u32, u32); 3] =
    [("num_outputs", 1, 4), ("width", MIN_SIDE_PX, MAX_SIDE_PX), ("height", MIN_SIDE_PX, MAX_SIDE_PX)];

/// The entries of `invalid_fields`, as (type, field, description).
#[derive(Default)]
struct Findings(Vec<(&'static str, String, String)>);

impl Findings {
    fn add(&mut self, kind: &'static str, field: &str, description: impl Into<String>) {
        self.0.push((kind, field.to_owned(), description.into()));
    }
}

/// Checks the body of a new prediction; the refusal names every field at fault.
pub(super) fn check(body: &Value, needs_version: bool) -> Result<(), Reply> {
    let mut findings = Findings::default();
    match body.as_object() {
        Some(fields) => check_fields(fields, needs_version, &mut findings),
        None => findings.add("invalid_type", "(root)", "Invalid type. Expected: object"),
    }
    if findings.0.is_empty() { Ok(()) } else { Err(refusal(&findings)) }
}

fn check_fields(fields: &Map<String, Value>, needs_version: bool, findings: &mut Findings) {
    let mut known = vec!["input", "webhook", "webhook_events_filter", "stream"];
    if needs_version {
        known.push("version");
        if !fields.get("version").is_some_and(Value::is_string) {
            findings.add("required", "(root)", "version is required");
        }
    }
    for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
        let description = format!("Additional property {name} is not allowed");
        findings.add("additional_property_not_allowed", "(root)", description);
    }
    if let Some(webhook) = fields.get("webhook")
        && !webhook.as_str().is_some_and(may_be_called)
    {
        let description = "Does not match format 'uri': an https URL is needed";
        findings.add("format", "webhook", description);
    }
    if let Some(filter) = fields.get("webhook_events_filter")
        && !is_event_list(filter)
    {
        let description = format!("must be a list of: {}", EVENTS.join(", "));
        findings.add("enum", "webhook_events_filter", description);
    }
    match fields.get("input") {
        Some(input @ Value::Object(_)) => check_input(input, findings),
        Some(_) => findings.add("invalid_type", "input", "Invalid type. Expected: object"),
        None => findings.add("required", "(root)", "input is required"),
    }
}

fn check_input(input: &Value, findings: &mut Findings) {
    match input.get("prompt") {
        Some(Value::String(_)) => {}
        Some(_) => findings.add("invalid_type", "input.prompt", "Invalid type. Expected: string"),
        // Models that work on a picture alone (upscalers, face swaps) take no prompt.
        None if !media::linked_pictures(input).is_empty() => {}
        None => findings.add("required", "input", "prompt is required"),
    }
    for (name, least, most) in WHOLE_NUMBERS {
        let Some(value) = input.get(name) else {
            continue;
        };
        let (kind, description) = match value.as_i64() {
            None => ("invalid_type", "Invalid type. Expected: integer".to_owned()),
            Some(number) if number < i64::from(least) => ("number_gte", format!("Must be greater than or equal to {least}")),
            Some(number) if number > i64::from(most) => ("number_lte", format!("Must be less than or equal to {most}")),
            Some(_) => continue,
        };
        findings.add(kind, &format!("input.{name}"), description);
    }
    let is_format = |word: &str| FORMATS.contains(&word);
    let is_ratio = |word: &str| Size::of_aspect_ratio(word).is_some() || ["custom", "match_input_image"].contains(&word);
    if !is_absent_or(input, "output_format", is_format) {
        let description = format!("must be one of the following: {}", FORMATS.join(", "));
        findings.add("enum", "input.output_format", description);
    }
    if !is_absent_or(input, "aspect_ratio", is_ratio) {
        let description = "must be one of the model's aspect ratios";
        findings.add("enum", "input.aspect_ratio", description);
    }
}

fn is_absent_or(input: &Value, field: &str, holds: impl Fn(&str) -> bool) -> bool {
    input.get(field).is_none_or(|value| value.as_str().is_some_and(&holds))
}

fn is_event_list(filter: &Value) -> bool {
    let is_event = |event: &Value| event.as_str().is_some_and(|event| EVENTS.contains(&event));
    filter.as_array().is_some_and(|events| events.iter().all(is_event))
}

/// The refusal of an input that the model's schema does not admit, whatever it was.
pub(super) fn rejected_prompt() -> Reply {
    let mut findings = Findings::default();
    findings.add("invalid_type", "input.prompt", "Invalid type. Expected: string");
    refusal(&findings)
}

fn refusal(findings: &Findings) -> Reply {
    let mut detail = String::new();
    let mut fields = Vec::new();
    for (kind, field, description) in &findings.0 {
        detail.push_str(&format!("- {field}: {description}\n"));
        fields.push(json!({"type": kind, "field": field, "description": description}));
    }
    let body = json!({
        "detail": detail,
        "status": 422,
        "title": "Input validation failed",
        "invalid_fields": fields,
    });
    Reply::json(StatusCode::UNPROCESSABLE_ENTITY, body)
}
