//! What is known of Kie's models: the fields they take, and what they make.

use serde_json::Value;
use shared::draw::Format;

use super::fields::{Fields, Wrong};
use super::jobs::{Job, Kind};
use super::media::{self, Clip, Drawing, Plan, Size};
use super::prompt::prompt_of;

const SQUARE_TO_WIDE: [&str; 6] = ["1:1", "4:3", "3:4", "16:9", "9:16", "21:9"];
const BANANA_RATIOS: [&str; 11] = ["1:1", "9:16", "16:9", "3:4", "4:3", "3:2", "2:3", "5:4", "4:5", "21:9", "auto"];
const BANANA_2_RATIOS: [&str; 15] =
    ["1:1", "9:16", "16:9", "3:4", "4:3", "3:2", "2:3", "5:4", "4:5", "21:9", "auto", "1:4", "4:1", "1:8", "8:1"];
const VIDEO_RESOLUTIONS: [&str; 3] = ["480p", "720p", "1080p"];
const IMAGE_RESOLUTIONS: [&str; 3] = ["1K", "2K", "4K"];
/// Words in the names of video models; the others make pictures.
const VIDEO_WORDS: [&str; 8] = ["video", "seedance", "sora", "veo", "kling", "hailuo", "wan", "runway"];

pub(super) fn kind(model: &str) -> Kind {
    if VIDEO_WORDS.iter().any(|word| model.contains(word)) { Kind::Video } else { Kind::Images }
}

/// Checks the body of a new task. Of models that are not known, only that there is a prompt or a picture.
pub(super) fn check(body: &Value) -> Result<(), Wrong> {
    let fields = Fields::of_json(body);
    let model = fields.required_text("model", 1..=200)?;
    fields.text("callBackUrl", 1..=2_000)?;
    let input = fields.get("input").ok_or_else(|| Wrong::required("input"))?;
    if !input.is_object() {
        return Err(Wrong::new("input", "must be an object"));
    }
    if let Some(link) = media::linked_pictures(input).into_iter().find(|link| link.url.starts_with("data:")) {
        return Err(Wrong::new(&link.field, "must be a public URL"));
    }
    check_input(model, input)
}

fn check_input(model: &str, input: &Value) -> Result<(), Wrong> {
    let fields = Fields::of_json(input);
    match model {
        "bytedance/seedance-1.5-pro" => {
            fields.required_text("prompt", 3..=20_000)?;
            required_word(fields, "aspect_ratio", &SQUARE_TO_WIDE)?;
            let duration = fields.get("duration").ok_or_else(|| Wrong::required("duration"))?;
            // Documented as a number; a text was taken as well.
            let seconds = duration.as_f64().or_else(|| duration.as_str()?.parse().ok());
            seconds
                .filter(|seconds| (4.0..=12.0).contains(seconds))
                .ok_or_else(|| Wrong::new("duration", "must be a number from 4 to 12"))?;
            fields.word("resolution", &VIDEO_RESOLUTIONS)?;
            links(input, "input_urls", 2)?;
            flags(fields, &["fixed_lens", "generate_audio", "nsfw_checker"])
        }
        _ if model.starts_with("bytedance/seedance-2") => {
            fields.text("prompt", 0..=20_000)?;
            fields.word("aspect_ratio", &[&SQUARE_TO_WIDE[..], &["adaptive"]].concat())?;
            fields.whole("duration", 4..=15)?;
            fields.text("resolution", 1..=10)?;
            flags(fields, &["generate_audio"])
        }
        "google/nano-banana" | "google/nano-banana-edit" => {
            fields.required_text("prompt", 1..=5_000)?;
            fields.word("aspect_ratio", &BANANA_RATIOS)?;
            fields.word("output_format", &["png", "jpeg"])?;
            if model.ends_with("-edit") && links(input, "image_urls", 10)? == 0 {
                return Err(Wrong::required("image_urls"));
            }
            Ok(())
        }
        "nano-banana-2" | "nano-banana-pro" => {
            let newer = model == "nano-banana-2";
            fields.required_text("prompt", 1..=if newer { 20_000 } else { 10_000 })?;
            fields.word("aspect_ratio", if newer { &BANANA_2_RATIOS } else { &BANANA_RATIOS })?;
            fields.word("resolution", &IMAGE_RESOLUTIONS)?;
            fields.word("output_format", &["png", "jpg"])?;
            links(input, "image_input", if newer { 14 } else { 8 })?;
            Ok(())
        }
        _ => match fields.text("prompt", 0..=20_000)? {
            None if media::linked_pictures(input).is_empty() => Err(Wrong::required("prompt")),
            Some(_) | None => Ok(()),
        },
    }
}

fn required_word(fields: Fields<'_>, field: &str, words: &[&str]) -> Result<(), Wrong> {
    fields.word(field, words)?.map(|_| ()).ok_or_else(|| Wrong::required(field))
}

fn flags(fields: Fields<'_>, names: &[&str]) -> Result<(), Wrong> {
    names.iter().try_for_each(|name| fields.flag(name).map(|_| ()))
}

/// How many links a list holds.
fn links(input: &Value, field: &str, most: usize) -> Result<usize, Wrong> {
    let Some(value) = input.get(field).filter(|value| !value.is_null()) else {
        return Ok(0);
    };
    let is_link = |item: &Value| item.as_str().is_some_and(|text| text.starts_with("http://") || text.starts_with("https://"));
    let items = value.as_array().filter(|items| items.len() <= most && items.iter().all(is_link));
    items.map(Vec::len).ok_or_else(|| Wrong::new(field, format!("must be a list of at most {most} URLs")))
}

/// What an admitted task makes.
pub(super) fn plan(job: &Job) -> Plan {
    let input = &job.input;
    let word = |name: &str| input.get(name).and_then(Value::as_str);
    let prompt = prompt_of(input);
    let text = if prompt.is_empty() { job.model.clone() } else { prompt };
    let mut inputs = media::linked_pictures(input);
    inputs.retain(|link| !link.url.starts_with("asset://"));
    let more = input.get("input_urls").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    inputs.extend(more.map(|url| media::InputLink::new("input_urls", url)));
    match job.kind {
        Kind::Text => Plan::Text(format!("Simulated answer to: {text}")),
        Kind::Video => {
            let ratio = word("aspect_ratio").filter(|ratio| *ratio != "adaptive").unwrap_or("16:9");
            let side = match word("resolution") {
                Some("480p") => 480,
                Some("1080p") => 1080,
                Some(_) | None => 720,
            };
            let seconds = input.get("duration").and_then(whole_seconds).unwrap_or(5);
            let size = Size::with_short_side(ratio, side).unwrap_or(Size::new(1280, 720));
            Plan::Video(Clip { size, seconds, text, inputs })
        }
        Kind::Images => {
            let factor = match word("resolution") {
                Some("2K") => 2,
                Some("4K") => 4,
                Some(_) | None => 1,
            };
            let default_format = if job.model == "nano-banana-2" { Format::Jpeg } else { Format::Png };
            Plan::Images(Drawing {
                count: 1,
                format: word("output_format").and_then(Format::parse).unwrap_or(default_format),
                size: word("aspect_ratio").and_then(Size::of_aspect_ratio).map(|size| size.scaled(factor)),
                input_scale: if job.model.contains("upscale") { 2 } else { 1 },
                default_size: Size::new(1024, 1024).scaled(factor),
                text,
                inputs,
                png_inputs_only: false,
            })
        }
    }
}

/// A number of seconds, however it is written.
fn whole_seconds(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|seconds| u32::try_from(seconds).ok()),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
