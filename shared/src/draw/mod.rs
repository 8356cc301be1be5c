//! Two renderers of text: the placeholder provider's ([`render`]: the prompt, wrapped and centred, on a gradient or on the caller's
//! photo), and [`add_text`], which puts a styled text on a customer's photo.
//!
//! Pure and deterministic: the same input gives the same bytes on every machine, because the only fonts are those of
//! `shared/assets/fonts` ([`fonts`]). They cover Latin, Greek, Cyrillic, Hebrew, Arabic and emoji; letters they lack are drawn as `□` on a
//! placeholder, and refused on a customer's photo.

pub mod add_text;
mod background;
mod caption;
mod emoji;
pub mod fonts;
mod typesetter;
pub mod video;

use image::RgbImage;

use crate::media::{self, MediaError, Picture, Target};
use caption::Area;

pub use crate::media::Format;

/// Smallest width and height of a drawing, in pixels.
pub const MIN_SIDE_PX: u32 = 64;
/// Largest width and height of a drawing, in pixels.
pub const MAX_SIDE_PX: u32 = 4096;
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

/// Why nothing was drawn. All but [`DrawError::Encoding`] are the caller's to mend.
#[derive(thiserror::Error, Debug)]
pub enum DrawError {
    #[error("cannot draw an image of `{width}x{height}` pixels: ask for {MIN_SIDE_PX} to {MAX_SIDE_PX} pixels a side")]
    Size { width: u32, height: u32 },
    #[error("cannot use the background photo")]
    Background(#[source] MediaError),
    #[error("cannot encode the drawing")]
    Encoding(#[source] MediaError),
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
    encode(canvas, drawing.format)
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

fn encode(canvas: RgbImage, format: Format) -> Result<Vec<u8>, DrawError> {
    let target = match format {
        Format::Png => Target::Png,
        Format::Jpeg => Target::Jpeg { quality: JPEG_QUALITY },
        Format::Webp => Target::Webp,
    };
    media::encode(Picture::new(canvas.into()), target).map_err(DrawError::Encoding)
}

/// `from` at weight 0, `to` at weight 255.
fn mix(from: u8, to: u8, weight: u8) -> u8 {
    let weight = u16::from(weight);
    let [byte, _] = ((u16::from(from) * (255 - weight) + u16::from(to) * weight + 127) / 255).to_le_bytes();
    byte
}

/// A colour that is already multiplied by its `alpha`, over another.
fn over(under: [u8; 3], premultiplied: [u8; 3], alpha: u8) -> [u8; 3] {
    std::array::from_fn(|channel| mix(under[channel], 0, alpha).saturating_add(premultiplied[channel]))
}

#[cfg(test)]
mod tests;
