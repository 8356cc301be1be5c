//! From one encoding to another.

use super::{MediaError, Target, WORKING_BYTES, decode, encode};

/// Makes a JPEG, PNG or WebP file one of another encoding: upright, without EXIF data, with its colour profile.
///
/// Takes at most [`WORKING_BYTES`] beside both files. Blocks: async callers put it on a blocking thread.
pub fn convert(file: &[u8], target: Target) -> Result<Vec<u8>, MediaError> {
    target.check()?;
    encode(decode(file, WORKING_BYTES)?, target)
}
