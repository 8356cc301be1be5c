//! A text on a customer's photo: laid out, given a plate or enough contrast, and drawn.
//!
//! The photo keeps its size, its colour profile and, in PNG and WebP, its transparency; it comes out upright, without other metadata.

mod canvas;
mod contrast;
mod layout;
mod plate;

use super::Format;
use super::typesetter::typesetter;
use crate::media::MediaError;
use crate::text_style::TextStyle;
use canvas::Canvas;

/// Most characters of a text, as they are sent.
pub const MAX_TEXT_CHARS: usize = 500;

/// Why there is no photo with a text. All but [`MediaError::Encoding`] are the caller's to mend.
#[derive(thiserror::Error, Debug)]
pub enum AddTextError {
    #[error("the text has nothing that can be seen: send 1 to {MAX_TEXT_CHARS} characters")]
    Empty,
    #[error("the text has `{chars}` characters: send at most {MAX_TEXT_CHARS}")]
    TooLong { chars: usize },
    #[error(
        "the text has characters that cannot be drawn, `{chars}`: write in Latin, Greek, Cyrillic, Hebrew or Arabic letters, with emoji"
    )]
    Undrawable {
        /// The first of them, at most ten.
        chars: String,
    },
    #[error(
        "the text does not fit a photo of `{width}x{height}` pixels, not even with letters of `{smallest_px}` pixels: shorten it, \
         or send a larger photo"
    )]
    DoesNotFit { width: u32, height: u32, smallest_px: u16 },
    #[error(transparent)]
    Photo(#[from] MediaError),
}

/// Draws the text on the photo and encodes it.
///
/// The photo is a JPEG, PNG or WebP file within the limits of an image ([`crate::media::MAX_IMAGE_PIXELS`] and those beside it).
/// The text has 1 to [`MAX_TEXT_CHARS`] characters; its line breaks are kept, long lines break between words. Letters of the size
/// asked for shrink when they do not fit, down to 12 pixels or a sixtieth of the photo's shorter side, whichever is larger; what does
/// not fit then is refused, never cut.
///
/// Blocks for tens to hundreds of milliseconds: async callers put it on a blocking thread.
pub fn add_text(photo: &[u8], text: &str, style: &TextStyle, format: Format) -> Result<Vec<u8>, AddTextError> {
    let text = drawable(text)?;
    let mut canvas = Canvas::open(photo, format)?;
    draw(&mut canvas, &text, style)?;
    Ok(canvas.encode(format)?)
}

/// The text as it will be drawn, or why it cannot be.
fn drawable(text: &str) -> Result<String, AddTextError> {
    let chars = text.chars().count();
    if chars > MAX_TEXT_CHARS {
        return Err(AddTextError::TooLong { chars });
    }
    let mut undrawable = String::new();
    let text = typesetter().drawable(text, |character| {
        if undrawable.chars().count() < 10 && !undrawable.contains(character) {
            undrawable.push(character);
        }
        None
    });
    if !undrawable.is_empty() {
        return Err(AddTextError::Undrawable { chars: undrawable });
    }
    if text.is_empty() { Err(AddTextError::Empty) } else { Ok(text) }
}

fn draw(canvas: &mut Canvas, text: &str, style: &TextStyle) -> Result<(), AddTextError> {
    let block = layout::lay_out(text, style, canvas.size())?;
    let place = layout::place(&block, style, canvas.size());
    if let (Some(plate), Some(area)) = (&style.plate, place.plate) {
        plate::draw(canvas, area, plate, contrast::plate_colour(plate.color, style.color), block.font_px);
    }
    let under = contrast::Under::measure(canvas, place.text);
    let ink = contrast::ink(style.color, &under);
    if under.swallows(ink, style.plate.is_some()) {
        plate::halo(canvas, &block, place.origin, contrast::edge(ink, &under));
    }
    block.draw(canvas, place.origin, ink);
    Ok(())
}

#[cfg(test)]
mod tests;
