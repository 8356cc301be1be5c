//! Why nothing was made of a photo.

use std::error::Error;

use image::ImageError;

use super::compress::MIN_FITTED_SIDE_PX;
use super::upscale::DOUBLED_MAX_PIXELS;
use super::{Format, MAX_IMAGE_SIDE_PX, Unfit};

/// Why nothing was made of a photo. All but [`MediaError::Encoding`] are for the caller to mend.
#[derive(thiserror::Error, Debug)]
pub enum MediaError {
    #[error(transparent)]
    Unfit(Unfit),
    #[error("a video has no pixels to work on: send a JPEG, PNG or WebP image")]
    NotAnImage,
    #[error(
        "working on the image takes `{needed}` bytes of memory: send one that takes at most {budget}, smaller or not progressive"
    )]
    TooMuchMemory { needed: u64, budget: u64 },
    #[error("cannot decode the image: save it anew and send that")]
    Undecodable(#[source] ImageError),
    #[error("cannot write JPEG at quality `{quality}`: ask for 1 to 100")]
    Quality { quality: u8 },
    #[error(
        "the enlarged image would have `{width}x{height}` pixels: send one whose double has at most {MAX_IMAGE_SIDE_PX} pixels a side \
         and {} megapixels",
        DOUBLED_MAX_PIXELS / 1_000_000
    )]
    ResultTooLarge { width: u32, height: u32 },
    #[error(
        "the image cannot be made to fit into `{limit}` bytes, not even at {MIN_FITTED_SIDE_PX} pixels: ask for a higher limit"
    )]
    CannotFit { limit: usize },
    #[error("cannot encode the image as `{}`", format.content_type())]
    Encoding {
        format: Format,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl MediaError {
    /// A word for programs, which stays when the sentence changes; of an unfit file its own.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unfit(unfit) => unfit.code(),
            Self::NotAnImage => "not_an_image",
            Self::TooMuchMemory { .. } => "too_much_memory",
            Self::Undecodable(_) => "undecodable",
            Self::Quality { .. } => "quality",
            Self::ResultTooLarge { .. } => "result_too_large",
            Self::CannotFit { .. } => "cannot_fit",
            Self::Encoding { .. } => "encoding",
        }
    }

    pub(super) fn encoding(format: Format, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Encoding { format, source: Box::new(source) }
    }
}
