//! Why a file is not taken.

use std::io;

use super::{MAX_IMAGE_PIXELS, MAX_IMAGE_SIDE_PX, MAX_VIDEO_MS, MAX_VIDEO_SIDE_PX};

/// Why a file is not taken. All but [`Unfit::Unreadable`] are for the customer to mend.
#[derive(thiserror::Error, Debug)]
pub enum Unfit {
    #[error("the file has `0` bytes: send a whole photo or video")]
    Empty,
    #[error("the file of `{bytes}` bytes is too large: send at most {limit} bytes")]
    TooLarge { bytes: u64, limit: u64 },
    #[error(
        "the file is `{found}` by its content: send a JPEG, PNG or WebP image, or an MP4, QuickTime or WebM video, whatever its name"
    )]
    NotMedia { found: String },
    #[error("the `{content_type}` file is not whole, it ends before {missing}: send all of it")]
    Truncated { content_type: &'static str, missing: &'static str },
    #[error("the `{content_type}` file is damaged, {problem}: save it anew and send that")]
    Damaged { content_type: &'static str, problem: &'static str },
    #[error("the `{content_type}` file has {feature}, which is not supported: save it anew without and send that")]
    Unsupported { content_type: &'static str, feature: &'static str },
    #[error("the `{content_type}` file is an animation: send a still image, or a video")]
    Animated { content_type: &'static str },
    #[error(
        "the `{content_type}` file carries more than {limit} bytes beside the picture: save it without metadata and send that"
    )]
    TooMuchMetadata { content_type: &'static str, limit: u64 },
    #[error(
        "the picture of `{width}x{height}` pixels is too large: send images of at most {MAX_IMAGE_SIDE_PX} pixels a side and {} \
         megapixels, videos of at most {MAX_VIDEO_SIDE_PX} pixels a side",
        MAX_IMAGE_PIXELS / 1_000_000
    )]
    TooManyPixels { width: u32, height: u32 },
    #[error("the `{content_type}` file has no video track: send a video with a picture")]
    NoVideoTrack { content_type: &'static str },
    #[error("the video lasts `{duration_ms}` milliseconds: send at most {} seconds", MAX_VIDEO_MS / 1000)]
    TooLong { duration_ms: u64 },
    #[error("cannot read the file: try again")]
    Unreadable(#[source] io::Error),
}

impl Unfit {
    /// A word for programs, which stays when the sentence changes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge { .. } => "too_large",
            Self::NotMedia { .. } => "not_media",
            Self::Truncated { .. } => "truncated",
            Self::Damaged { .. } => "damaged",
            Self::Unsupported { .. } => "unsupported",
            Self::Animated { .. } => "animated",
            Self::TooMuchMetadata { .. } => "too_much_metadata",
            Self::TooManyPixels { .. } => "too_many_pixels",
            Self::NoVideoTrack { .. } => "no_video_track",
            Self::TooLong { .. } => "too_long",
            Self::Unreadable(_) => "unreadable",
        }
    }
}
