//! The placeholder provider's renderer: the prompt, wrapped and centred, on a gradient or on the caller's photo.
//!
//! Pure and deterministic: the same [`Drawing`] gives the same bytes on every machine, because the only font is the bundled
//! one (`shared/assets/fonts`). It covers Latin, Greek and Cyrillic; letters it lacks are drawn as `□`, emoji are left out.

mod background;
mod caption;

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageError, ImageFormat, RgbImage};

use caption::Area;

/// Smallest width and height of a drawing, in pixels.
pub const MIN_SIDE_PX: u32 = 64;
/// Largest width and height of a drawing, in pixels.
pub const MAX_SIDE_PX: u32 = 4096;
/// Largest width and height of a background photo, in pixels.
pub const MAX_BACKGROUND_SIDE_PX: u32 = 12_000;
/// Most pixels of a background photo: the 48 and 50 megapixel modes of phones pass.
pub const MAX_BACKGROUND_PIXELS: u64 = 52_000_000;
/// Most bytes of a decoded background photo, four for each pixel: photos with 16 bits a channel reach it sooner.
/// Cropping holds a second copy for a moment, so the process needs up to twice this.
pub const MAX_BACKGROUND_BYTES: u64 = MAX_BACKGROUND_PIXELS * 4;

const JPEG_QUALITY: u8 = 90;
const INK: [u8; 3] = [250, 250, 252];

/// What to draw.
#[derive(Clone, Copy, Debug)]
pub struct Drawing<'a> {
    /// Any text; line breaks are kept, other white space collapses. What does not fit at the smallest font size is cut with `…`.
    pub text: &'a str,
    /// Pixels, [`MIN_SIDE_PX`] to [`MAX_SIDE_PX`].
    pub width: u32,
    /// Pixels, [`MIN_SIDE_PX`] to [`MAX_SIDE_PX`].
    pub height: u32,
    /// The format of the answer.
    pub format: Format,
    /// An encoded JPEG, PNG or WebP photo to cover the canvas with; without it, a gradient whose colours follow from the text.
    pub background: Option<&'a [u8]>,
}

/// The encodings [`render`] can write. WebP is written lossless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Png,
    Jpeg,
    Webp,
}

impl Format {
    /// The media type, as in `image/png`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
        }
    }

    /// The file name extension without the dot; JPEG's is `jpg`.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
        }
    }

    /// Reads a name (`png`, `jpeg`, `webp`), an extension (`jpg`) or a media type (`image/webp`), in any case.
    pub fn parse(word: &str) -> Option<Self> {
        let word = word.trim().to_ascii_lowercase();
        match word.strip_prefix("image/").unwrap_or(&word) {
            "png" => Some(Self::Png),
            "jpeg" | "jpg" => Some(Self::Jpeg),
            "webp" => Some(Self::Webp),
            _ => None,
        }
    }
}

/// Why nothing was drawn. All but [`DrawError::Encoding`] are the caller's to mend.
#[derive(thiserror::Error, Debug)]
pub enum DrawError {
    #[error("cannot draw an image of `{width}x{height}` pixels: ask for {MIN_SIDE_PX} to {MAX_SIDE_PX} pixels a side")]
    Size { width: u32, height: u32 },
    #[error(
        "the background photo of `{width}x{height}` pixels is too large: send at most {MAX_BACKGROUND_SIDE_PX} pixels a side \
         and {} megapixels with 8 bits a channel",
        MAX_BACKGROUND_PIXELS / 1_000_000
    )]
    BackgroundTooLarge { width: u32, height: u32 },
    #[error("cannot read the background photo: send a whole JPEG, PNG or WebP file")]
    BackgroundUnreadable(#[source] ImageError),
    #[error("cannot encode the drawing as `{}`", format.content_type())]
    Encoding { format: Format, source: ImageError },
}

/// Draws and encodes.
///
/// Blocks for tens to hundreds of milliseconds: async callers put it on a blocking thread.
pub fn render(drawing: &Drawing<'_>) -> Result<Vec<u8>, DrawError> {
    let (Some(width), Some(height)) = (side(drawing.width), side(drawing.height)) else {
        return Err(DrawError::Size { width: drawing.width, height: drawing.height });
    };
    let mut canvas = background::gradient(drawing.text, width, height);
    match drawing.background {
        None => caption_in_the_middle(&mut canvas, drawing.text, width, height),
        Some(photo) => {
            background::cover(&mut canvas, photo)?;
            caption_on_a_plate(&mut canvas, drawing.text, width, height);
        }
    }
    encode(&canvas, drawing.format)
}

/// A side within the limits; u16 because it converts to every pixel and font unit without loss.
fn side(pixels: u32) -> Option<u16> {
    (MIN_SIDE_PX..=MAX_SIDE_PX).contains(&pixels).then(|| u16::try_from(pixels).ok())?
}

fn caption_in_the_middle(canvas: &mut RgbImage, text: &str, width: u16, height: u16) {
    let shorter = width.min(height);
    let margin = shorter / 12;
    let area = Area {
        width: width - 2 * margin,
        height: height - 2 * margin,
        smallest_font: smallest_font_px(shorter),
        largest_font: shorter / 12,
    };
    if let Some(caption) = caption::lay_out(text, area) {
        caption.draw(canvas, margin, (height - caption.height()) / 2, INK);
    }
}

/// At the bottom, at most a third of the height, so that the photo stays the subject.
fn caption_on_a_plate(canvas: &mut RgbImage, text: &str, width: u16, height: u16) {
    let shorter = width.min(height);
    let margin = shorter / 24;
    let area = Area {
        width: width - 2 * margin,
        height: height / 3 - margin,
        smallest_font: smallest_font_px(shorter),
        largest_font: shorter / 20,
    };
    if let Some(caption) = caption::lay_out(text, area) {
        let top = height - margin - caption.height();
        background::darken_below(canvas, top.saturating_sub(margin));
        caption.draw(canvas, margin, top, INK);
    }
}

/// Below 12 pixels nothing is read, and on a large canvas, which is looked at scaled down, below an 85th of its shorter side.
fn smallest_font_px(shorter_side: u16) -> u16 {
    (shorter_side / 85).max(12)
}

fn encode(canvas: &RgbImage, format: Format) -> Result<Vec<u8>, DrawError> {
    let mut encoded = Cursor::new(Vec::new());
    match format {
        Format::Png => canvas.write_to(&mut encoded, ImageFormat::Png),
        Format::Webp => canvas.write_to(&mut encoded, ImageFormat::WebP),
        Format::Jpeg => JpegEncoder::new_with_quality(&mut encoded, JPEG_QUALITY).encode(
            canvas,
            canvas.width(),
            canvas.height(),
            ExtendedColorType::Rgb8,
        ),
    }
    .map_err(|source| DrawError::Encoding { format, source })?;
    Ok(encoded.into_inner())
}

/// `from` at weight 0, `to` at weight 255.
fn mix(from: u8, to: u8, weight: u8) -> u8 {
    let weight = u16::from(weight);
    let [byte, _] = ((u16::from(from) * (255 - weight) + u16::from(to) * weight + 127) / 255).to_le_bytes();
    byte
}

#[cfg(test)]
mod tests;
