//! The work of providers in our own process: pictures, captions, and what stands in for models where none is set up.

use std::io::Cursor;

use serde_json::{Map, Value};
use shared::backend::Backend;
use shared::catalog::manifest::Operation;
use shared::draw::add_text::add_text;
use shared::draw::{self, Drawing, Format};
use shared::failure::{Failure, FailureClass};
use shared::generation::{Generation, Input};
use shared::ids::AssetId;
use shared::media::{self, Fitted, Limit};
use shared::results::Stored;
use shared::stand_ins;
use shared::text_style::{self, TextStyle};

use super::{Missed, missed};

/// The largest photo to work on, in bytes: the largest upload.
const MAX_PHOTO_BYTES: u64 = 50_000_000;
/// The largest video to look into.
const MAX_VIDEO_BYTES: u64 = 100_000_000;
/// The sides of a video without a photo, in pixels.
const VIDEO_SIDES: (u32, u32) = (1280, 720);

/// A result and how it is stored.
struct Made {
    bytes: Vec<u8>,
    content_type: &'static str,
    extension: &'static str,
    text: Option<String>,
}

/// Makes the result of an attempt and puts it into the bucket; a text also comes back as it is.
pub(super) async fn make(
    backend: &Backend,
    generation: &Generation,
    attempt: u32,
    key_stem: &str,
) -> Result<(Stored, Option<String>), Missed> {
    let model = backend.model_for(generation.candidate_of(attempt)).await.map_err(|error| Missed::Later(error.to_string()))?;
    let operation = model.spec.operation.ok_or_else(|| Missed::Never("this model is not made here".to_owned()))?;
    let params = generation.params_of(attempt);
    let input = params_input(generation, attempt, &params, if operation == Operation::Analyze { "video" } else { "image" });
    let limit = if operation == Operation::Analyze { MAX_VIDEO_BYTES } else { MAX_PHOTO_BYTES };
    let file = match input {
        Some(input) => Some(backend.bucket.get(&input.key, limit).await.map_err(|error| missed(&error))?),
        None => None,
    };
    let content_type = input.map(|input| input.content_type.clone()).unwrap_or_default();
    let work = move || run(operation, &params, file.as_deref(), &content_type);
    let made = tokio::task::spawn_blocking(work).await;
    let made = made.map_err(|_| Missed::Never("it could not be made".to_owned()))?.map_err(Missed::Unfit)?;
    let key = format!("{key_stem}.{}", made.extension);
    let stored = backend.bucket.put(&key, made.bytes, made.content_type).await.map_err(|error| missed(&error))?;
    Ok((stored, made.text))
}

/// The file of a media parameter; of a list, the first one.
fn params_input<'g>(generation: &'g Generation, attempt: u32, params: &Map<String, Value>, name: &str) -> Option<&'g Input> {
    let value = params.get(name)?;
    let id = value.as_array().and_then(|all| all.first()).unwrap_or(value).as_str()?;
    generation.input_of(attempt, id.parse::<AssetId>().ok()?)
}

fn unfit(error: impl ToString) -> Failure {
    Failure::new(FailureClass::RejectedInput, error.to_string())
}

fn run(operation: Operation, params: &Map<String, Value>, file: Option<&[u8]>, content_type: &str) -> Result<Made, Failure> {
    let text = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| params.get(name).and_then(Value::as_u64);
    let format = || Format::parse(text("format")).unwrap_or(Format::Png);
    let photo = || file.ok_or_else(|| unfit("the image is missing: name one"));
    match operation {
        Operation::Draw => {
            let side = |name: &str| number(name).and_then(|side| u32::try_from(side).ok()).unwrap_or(1024);
            let (width, height) = (side("width"), side("height"));
            let background = file;
            let drawing = Drawing { text: text("prompt"), width, height, format: format(), background };
            Ok(picture(draw::render(&drawing).map_err(unfit)?, format()))
        }
        Operation::AddText => {
            let style = style(params)?;
            Ok(picture(add_text(photo()?, text("text"), &style, format()).map_err(unfit)?, format()))
        }
        Operation::Upscale => Ok(picture(media::double(photo()?, format().into()).map_err(unfit)?, format())),
        Operation::Convert => Ok(picture(media::convert(photo()?, format().into()).map_err(unfit)?, format())),
        Operation::Compress => {
            let bytes = number("max_bytes").and_then(|bytes| usize::try_from(bytes).ok());
            let limit = bytes.map_or_else(Limit::default, |bytes| Limit { bytes });
            Ok(match media::fit(photo()?, limit).map_err(unfit)? {
                Fitted::Untouched(file) => picture(file.to_vec(), Format::parse(content_type).unwrap_or(Format::Jpeg)),
                Fitted::Compressed { jpeg, .. } => picture(jpeg, Format::Jpeg),
            })
        }
        Operation::Animate => {
            let (width, height) = VIDEO_SIDES;
            let background = file;
            let frame = Drawing { text: text("prompt"), width, height, format: Format::Jpeg, background };
            let frame = draw::render(&frame).map_err(unfit)?;
            let seconds = number("duration").and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(6);
            let bytes = draw::video::still(&frame, width, height, seconds);
            Ok(Made { bytes, content_type: "video/mp4", extension: "mp4", text: None })
        }
        Operation::WritePrompt => Ok(written(stand_ins::spelled_out(text("description")), "text/plain", "txt")),
        Operation::Analyze => {
            let video = file.ok_or_else(|| unfit("the video is missing: name one"))?;
            let facts = media::probe(Cursor::new(video), video.len() as u64).ok();
            let seconds = facts.as_ref().and_then(|facts| facts.duration_ms).map(|ms| ms.div_ceil(1_000));
            let sides = facts.map(|facts| (facts.width, facts.height));
            let document = stand_ins::analysis(content_type, video.len() as u64, seconds, sides);
            Ok(written(document.to_string(), "application/json", "json"))
        }
    }
}

/// The style that was ordered, or that a language model made of the wishes; else our own rules read them.
fn style(params: &Map<String, Value>) -> Result<TextStyle, Failure> {
    match (params.get("style"), params.get("wishes").and_then(Value::as_str)) {
        (Some(style), _) => TextStyle::from_json(style).map_err(unfit),
        (None, Some(wishes)) => Ok(text_style::parse(wishes).style),
        (None, None) => Ok(TextStyle::default()),
    }
}

fn picture(bytes: Vec<u8>, format: Format) -> Made {
    Made { bytes, content_type: format.content_type(), extension: format.extension(), text: None }
}

fn written(text: String, content_type: &'static str, extension: &'static str) -> Made {
    Made { bytes: text.clone().into_bytes(), content_type, extension, text: Some(text) }
}
