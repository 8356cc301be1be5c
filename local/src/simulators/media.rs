//! The pictures: fetching those that come in, drawing and serving those that go out.

use std::io;
use std::path::Path;

use axum::body::{Body, Bytes};
use axum::extract::{Path as UrlPath, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::draw::{self, Format, MAX_SIDE_PX, MIN_SIDE_PX};

use super::jobs::{End, InputFault, Provider};
use super::outbound::Outbound;
use super::{Simulators, replicate};

/// Zero bytes are sent in pieces of this size.
const ZEROS: &[u8] = &[0; 64 * 1024];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Size {
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Size {
    pub(super) const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Both sides `factor` times as long, within what is drawn.
    pub(super) fn scaled(self, factor: u32) -> Self {
        let side = |length: u32| length.saturating_mul(factor).clamp(MIN_SIDE_PX, MAX_SIDE_PX);
        Self { width: side(self.width), height: side(self.height) }
    }

    /// The usual size of about a megapixel for `16:9` and its like.
    pub(super) fn of_aspect_ratio(ratio: &str) -> Option<Self> {
        let (width, height) = match ratio {
            "1:1" => (1024, 1024),
            "16:9" => (1344, 768),
            "9:16" => (768, 1344),
            "21:9" => (1536, 640),
            "9:21" => (640, 1536),
            "3:2" => (1216, 832),
            "2:3" => (832, 1216),
            "4:3" => (1152, 896),
            "3:4" => (896, 1152),
            "5:4" => (1088, 896),
            "4:5" => (896, 1088),
            _ => return None,
        };
        Some(Self { width, height })
    }
}

/// What a job is to make.
pub(super) enum Plan {
    Images(Drawing),
    Text(String),
}

pub(super) struct Drawing {
    pub(super) count: u32,
    pub(super) format: Format,
    /// The size asked for. Without one, that of the first input picture, `input_scale` times; without one of these, `default_size`.
    pub(super) size: Option<Size>,
    pub(super) input_scale: u32,
    pub(super) default_size: Size,
    pub(super) text: String,
    pub(super) png_inputs_only: bool,
}

/// One file of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MediaFile {
    pub(super) name: String,
    pub(super) format: Format,
    pub(super) size: Size,
    /// As served, zero bytes at the end included.
    pub(super) bytes: u64,
}

/// A picture of the input, known to be one.
pub(super) struct InputPicture {
    bytes: Vec<u8>,
    size: Size,
}

/// Fetches and decodes the pictures the input links to, in the order of its fields.
pub(super) async fn fetch_inputs(outbound: &Outbound, input: &Value, png_only: bool) -> Result<Vec<InputPicture>, InputFault> {
    let mut pictures = Vec::new();
    for (field, index, link) in linked_pictures(input) {
        let fault = |kind: &str, text: String| InputFault { index, ..InputFault::new(field, kind, text) };
        let bytes = fetch(outbound, link)
            .await
            .map_err(|why| fault("file_download_error", format!("Failed to download the file of `{field}`: {why}")))?;
        if png_only && !infer::is_mime(&bytes, "image/png") {
            return Err(fault("unsupported_image_format", format!("The image of `{field}` is not a PNG.")));
        }
        let decoded = tokio::task::spawn_blocking(move || decode(bytes)).await;
        let decoded = decoded.unwrap_or_else(|_| Err("the decoder panicked".to_owned()));
        pictures.push(decoded.map_err(|why| fault("image_load_error", format!("Failed to load the image of `{field}`: {why}")))?);
    }
    Ok(pictures)
}

/// The links to pictures: strings, or lists of them, in fields named after an image or a mask. A string that is no link
/// counts only where the field's name says it should be one.
pub(super) fn linked_pictures(input: &Value) -> Vec<(&str, Option<usize>, &str)> {
    let mut links = Vec::new();
    for (field, value) in input.as_object().into_iter().flatten() {
        if !field.contains("image") && !field.contains("mask") {
            continue;
        }
        let named_link = field.ends_with("_url") || field.ends_with("_urls");
        let is_link = |text: &str| named_link || ["http://", "https://", "data:"].iter().any(|start| text.starts_with(start));
        match value {
            Value::String(text) if is_link(text) => links.push((field.as_str(), None, text.as_str())),
            Value::Array(items) => {
                let texts = items.iter().enumerate().filter_map(|(index, item)| Some((index, item.as_str()?)));
                links.extend(texts.filter(|(_, text)| is_link(text)).map(|(index, text)| (field.as_str(), Some(index), text)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {}
        }
    }
    links
}

async fn fetch(outbound: &Outbound, link: &str) -> Result<Vec<u8>, String> {
    let Some(data) = link.strip_prefix("data:") else {
        return outbound.fetch(link).await;
    };
    let (_, encoded) = data.split_once(";base64,").ok_or("the data URI is not base64")?;
    BASE64_STANDARD.decode(encoded).map_err(|error| format!("the data URI is not base64: {error}"))
}

fn decode(bytes: Vec<u8>) -> Result<InputPicture, String> {
    let picture = image::load_from_memory(&bytes).map_err(|error| error.to_string())?;
    Ok(InputPicture { size: Size::new(picture.width(), picture.height()), bytes })
}

/// Draws the files of a result into `dir`, made if need be.
pub(super) fn draw_files(
    dir: &Path,
    drawing: &Drawing,
    inputs: &[InputPicture],
    huge_bytes: Option<u64>,
) -> Result<Vec<MediaFile>, String> {
    let format = if huge_bytes.is_some() { Format::Png } else { drawing.format };
    let of_input = inputs.first().map(|input| input.size.scaled(drawing.input_scale));
    let size = drawing.size.or(of_input).unwrap_or(drawing.default_size);
    let background = inputs.first().map(|input| input.bytes.as_slice());
    let failed = |error: io::Error| format!("could not write under `{}`: {error}", dir.display());
    std::fs::create_dir_all(dir).map_err(failed)?;
    let mut files = Vec::new();
    for index in 0..drawing.count {
        let text = if drawing.count == 1 { drawing.text.clone() } else { format!("{} #{}", drawing.text, index + 1) };
        let Size { width, height } = size;
        let drawn = draw::Drawing { text: &text, width, height, format, background };
        let picture = draw::render(&drawn).map_err(|error| error.to_string())?;
        let name = format!("out-{index}.{}", format.extension());
        std::fs::write(dir.join(&name), &picture).map_err(failed)?;
        let bytes = (picture.len() as u64).max(huge_bytes.unwrap_or(0));
        files.push(MediaFile { name, format, size, bytes });
    }
    Ok(files)
}

/// Serves `/{provider}/_files/{job}/{read}/{name}`; no key is asked for, as at the providers' media hosts.
pub(super) async fn serve(State(sim): State<Simulators>, UrlPath((id, read, name)): UrlPath<(String, u32, String)>) -> Response {
    let Some(job) = sim.parts.jobs.get(&id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if job.link_expired(read) {
        return StatusCode::FORBIDDEN.into_response();
    }
    if job.provider == Provider::Replicate && replicate::data_removed(&job, sim.parts.clock.now()) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let file = match job.ended.map(|ended| ended.end) {
        Some(End::Files(files)) => files.into_iter().find(|file| file.name == name),
        Some(End::Text(_) | End::Failed(_) | End::Canceled) | None => None,
    };
    let Some(file) = file else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match tokio::fs::read(sim.parts.jobs.files(&id).join(&file.name)).await {
        Ok(picture) => {
            let headers =
                [(header::CONTENT_TYPE, file.format.content_type().to_owned()), (header::CONTENT_LENGTH, file.bytes.to_string())];
            (headers, padded(picture, file.bytes)).into_response()
        }
        Err(error) => {
            tracing::error!(job = id, %error, "the simulator could not read a result file");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The picture, then zero bytes up to `bytes` in all, made as they are sent.
fn padded(picture: Vec<u8>, bytes: u64) -> Body {
    let zeros_left = bytes.saturating_sub(picture.len() as u64);
    if zeros_left == 0 {
        return Body::from(picture);
    }
    let pieces = stream::unfold((Some(picture), zeros_left), |(picture, left)| async move {
        if let Some(picture) = picture {
            return Some((Ok::<_, io::Error>(Bytes::from(picture)), (None, left)));
        }
        let piece = usize::try_from(left).map_or(ZEROS, |left| &ZEROS[..left.min(ZEROS.len())]);
        (!piece.is_empty()).then(|| (Ok(Bytes::from_static(piece)), (None, left - piece.len() as u64)))
    });
    Body::from_stream(pieces)
}
