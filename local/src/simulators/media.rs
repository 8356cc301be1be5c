//! Pictures and videos: fetching the pictures that come in, making and serving what goes out.

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
use shared::draw::fonts::Fonts;
use shared::draw::{self, Format, MAX_SIDE_PX, MIN_SIDE_PX};

use super::jobs::{End, InputFault};
use super::outbound::Outbound;
use super::provider::Provider;
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

impl Size {
    /// A picture of `16:9` or its like whose shorter side is `side`; even lengths, within what is drawn.
    pub(super) fn with_short_side(ratio: &str, side: u32) -> Option<Self> {
        let (width, height) = ratio.split_once(':')?;
        let (width, height): (u32, u32) = (width.parse().ok()?, height.parse().ok()?);
        let long = (side * width.max(height)).checked_div(width.min(height))?.next_multiple_of(2).min(MAX_SIDE_PX);
        Some(if width >= height { Self::new(long, side) } else { Self::new(side, long) })
    }
}

/// What a job is to make.
pub(super) enum Plan {
    Images(Drawing),
    Video(Clip),
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
    /// The pictures to be fetched; the job fails when one cannot be had.
    pub(super) inputs: Vec<InputLink>,
    pub(super) png_inputs_only: bool,
}

/// One video.
pub(super) struct Clip {
    pub(super) size: Size,
    pub(super) seconds: u32,
    pub(super) text: String,
    /// As [`Drawing::inputs`].
    pub(super) inputs: Vec<InputLink>,
}

/// A link in the input: a URL or a data URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InputLink {
    pub(super) field: String,
    /// The element, when the field is a list.
    pub(super) index: Option<usize>,
    pub(super) url: String,
}

impl InputLink {
    pub(super) fn new(field: &str, url: &str) -> Self {
        Self { field: field.to_owned(), index: None, url: url.to_owned() }
    }
}

/// The encodings of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum MediaFormat {
    Png,
    Jpeg,
    Webp,
    Mp4,
}

impl MediaFormat {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Png => Format::Png.content_type(),
            Self::Jpeg => Format::Jpeg.content_type(),
            Self::Webp => Format::Webp.content_type(),
            Self::Mp4 => "video/mp4",
        }
    }
}

impl From<Format> for MediaFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Png => Self::Png,
            Format::Jpeg => Self::Jpeg,
            Format::Webp => Self::Webp,
        }
    }
}

/// One file of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MediaFile {
    pub(super) name: String,
    pub(super) format: MediaFormat,
    pub(super) size: Size,
    /// As served, zero bytes at the end included.
    pub(super) bytes: u64,
}

/// A picture of the input, known to be one.
pub(super) struct InputPicture {
    bytes: Vec<u8>,
    size: Size,
}

/// Fetches and decodes the pictures of the input, in their order.
pub(super) async fn fetch_inputs(
    outbound: &Outbound,
    links: &[InputLink],
    png_only: bool,
) -> Result<Vec<InputPicture>, InputFault> {
    let mut pictures = Vec::new();
    for InputLink { field, index, url } in links {
        let fault = |kind: &str, text: String| InputFault { index: *index, ..InputFault::new(field, kind, text) };
        let bytes = fetch(outbound, url)
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

/// The links to pictures: strings, or lists of them, in fields named after an image, a mask or a frame. A string that is no
/// link counts only where the field's name says it should be one.
pub(super) fn linked_pictures(input: &Value) -> Vec<InputLink> {
    let mut links = Vec::new();
    for (field, value) in input.as_object().into_iter().flatten() {
        if !["image", "mask", "frame"].iter().any(|word| field.contains(word)) {
            continue;
        }
        let named_link = field.ends_with("_url") || field.ends_with("_urls");
        let is_link = |text: &str| named_link || ["http://", "https://", "data:"].iter().any(|start| text.starts_with(start));
        match value {
            Value::String(text) if is_link(text) => links.push(InputLink::new(field, text)),
            Value::Array(items) => {
                let texts = items.iter().enumerate().filter_map(|(index, item)| Some((index, item.as_str()?)));
                let texts = texts.filter(|(_, text)| is_link(text));
                links.extend(texts.map(|(index, text)| InputLink { index: Some(index), ..InputLink::new(field, text) }));
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
    Fonts::embedded().install();
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
        files.push(MediaFile { name, format: format.into(), size, bytes });
    }
    Ok(files)
}

/// Makes the video of a result in `dir`, made if need be. It shows one picture: the text, on the first input picture.
pub(super) fn film(dir: &Path, clip: &Clip, inputs: &[InputPicture], huge_bytes: Option<u64>) -> Result<Vec<MediaFile>, String> {
    Fonts::embedded().install();
    let Size { width, height } = clip.size;
    let background = inputs.first().map(|input| input.bytes.as_slice());
    let frame = draw::Drawing { text: &clip.text, width, height, format: Format::Jpeg, background };
    let frame = draw::render(&frame).map_err(|error| error.to_string())?;
    let video = draw::video::still(&frame, width, height, clip.seconds);
    let name = "out-0.mp4".to_owned();
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(dir.join(&name), &video))
        .map_err(|error| format!("could not write under `{}`: {error}", dir.display()))?;
    let bytes = (video.len() as u64).max(huge_bytes.unwrap_or(0));
    Ok(vec![MediaFile { name, format: MediaFormat::Mp4, size: clip.size, bytes }])
}

/// Serves `/{provider}/_files/{job}/{read}/{name}`, of any provider; no key is asked for, as at the providers' media hosts.
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
