//! Twice as wide and high.

use super::probe::still;
use super::resize::resize;
use super::{MAX_IMAGE_PIXELS, MAX_IMAGE_SIDE_PX, MediaError, Picture, Target, WORKING_BYTES, decode, encode};

/// Most pixels of an enlarged image: the double of what 12 and 13 megapixel cameras take.
pub const DOUBLED_MAX_PIXELS: u64 = MAX_IMAGE_PIXELS;

/// Makes a JPEG, PNG or WebP file one of twice its width and height, with Lanczos3: upright, transparency kept (but in JPEG).
///
/// The result has at most [`MAX_IMAGE_SIDE_PX`] pixels a side and [`DOUBLED_MAX_PIXELS`], which is found out before anything is decoded.
/// Takes at most [`WORKING_BYTES`] beside both files. Blocks for up to some seconds: async callers put it on a blocking thread.
pub fn double(file: &[u8], target: Target) -> Result<Vec<u8>, MediaError> {
    target.check()?;
    let still = still(file).map_err(MediaError::Unfit)?.ok_or(MediaError::NotAnImage)?;
    let (width, height) = (2 * still.width, 2 * still.height);
    if width.max(height) > MAX_IMAGE_SIDE_PX || u64::from(width) * u64::from(height) > DOUBLED_MAX_PIXELS {
        return Err(MediaError::ResultTooLarge { width, height });
    }
    let Picture { pixels, profile } = decode(file, WORKING_BYTES)?;
    let doubled = resize(&pixels, 2 * pixels.width(), 2 * pixels.height(), target.format())?;
    drop(pixels);
    encode(Picture { pixels: doubled, profile }, target)
}
