//! Photos and videos of customers: what a file is ([`probe`]), and, with the feature `media`, its pixels.
//!
//! Pure. Whatever a file claims, memory stays within stated bounds: [`probe`] decodes nothing, and [`decode`] reckons what decoding will
//! take before it begins.

mod format;
mod probe;
mod unfit;

#[cfg(feature = "media")]
mod compress;
#[cfg(feature = "media")]
mod convert;
#[cfg(feature = "media")]
mod decode;
#[cfg(feature = "media")]
mod encode;
#[cfg(feature = "media")]
mod error;
#[cfg(feature = "media")]
mod resize;
#[cfg(feature = "media")]
mod upscale;

use serde::{Deserialize, Serialize};

pub use format::Format;
pub use probe::probe;
pub use unfit::Unfit;

#[cfg(feature = "media")]
pub use {
    compress::{Fitted, Limit, MIN_FITTED_SIDE_PX, QUALITIES, fit},
    convert::convert,
    decode::{Picture, WORKING_BYTES, decode},
    encode::{Target, encode},
    error::MediaError,
    upscale::{DOUBLED_MAX_PIXELS, double},
};

#[cfg(feature = "draw")]
pub(crate) use decode::{Stored, as_stored};

/// Largest width and height of an image, in pixels.
pub const MAX_IMAGE_SIDE_PX: u32 = 12_000;
/// Most pixels of an image: the 48 and 50 megapixel modes of phones pass.
pub const MAX_IMAGE_PIXELS: u64 = 52_000_000;
/// Largest image file, in bytes.
pub const MAX_IMAGE_BYTES: u64 = 50_000_000;
/// Largest width and height of a video, in pixels.
pub const MAX_VIDEO_SIDE_PX: u32 = 8192;
/// Largest video file, in bytes.
pub const MAX_VIDEO_BYTES: u64 = 100_000_000;
/// Longest video, in milliseconds.
pub const MAX_VIDEO_MS: u64 = 180_000;
/// How much longer than [`MAX_VIDEO_MS`] a video may be, in milliseconds: containers round, and sound ends after the picture.
pub const VIDEO_TOLERANCE_MS: u64 = 500;

/// What a file is, told from its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `image/jpeg`, `image/png`, `image/webp`, `video/mp4`, `video/quicktime` or `video/webm`.
    pub content_type: String,
    /// Pixels, as it is shown: after the orientation.
    pub width: u32,
    /// Pixels, as it is shown: after the orientation.
    pub height: u32,
    /// How the stored picture has to be turned, as EXIF counts it: 1 (not at all) to 8. A video's rotation is counted the same way.
    pub orientation: u8,
    /// Of a video: the longest that its headers, edits or frames give. A price by the second can rely on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Of a video: the frames of its picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames: Option<u64>,
}

impl Facts {
    pub fn is_video(&self) -> bool {
        self.duration_ms.is_some()
    }
}

#[cfg(all(test, feature = "media"))]
mod tests;
