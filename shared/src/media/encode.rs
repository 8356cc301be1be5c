//! From pixels to a file. No EXIF data is written; the colour profile is.

use std::io::{Cursor, Write};

use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, ImageEncoder, ImageError, RgbImage};
use jpeg_encoder::{ColorType, Encoder, EncodingError};

use super::decode::{Picture, on_white};
use super::{Format, MediaError};

/// The encoding of a file to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Keeps transparency.
    Png,
    /// Quality 1 to 100; what is transparent becomes white.
    Jpeg { quality: u8 },
    /// Lossless; keeps transparency.
    Webp,
}

/// The quality of a JPEG for which nobody asked for another one.
const JPEG_QUALITY: u8 = 90;

impl From<Format> for Target {
    fn from(format: Format) -> Self {
        match format {
            Format::Png => Self::Png,
            Format::Jpeg => Self::Jpeg { quality: JPEG_QUALITY },
            Format::Webp => Self::Webp,
        }
    }
}

impl Target {
    pub fn format(self) -> Format {
        match self {
            Self::Png => Format::Png,
            Self::Jpeg { .. } => Format::Jpeg,
            Self::Webp => Format::Webp,
        }
    }

    pub(super) fn check(self) -> Result<(), MediaError> {
        match self {
            Self::Jpeg { quality } if !(1..=100).contains(&quality) => Err(MediaError::Quality { quality }),
            Self::Png | Self::Jpeg { .. } | Self::Webp => Ok(()),
        }
    }
}

/// Writes a picture as a file.
///
/// Blocks for tens to hundreds of milliseconds: async callers put it on a blocking thread.
pub fn encode(picture: Picture, target: Target) -> Result<Vec<u8>, MediaError> {
    target.check()?;
    let Picture { pixels, profile } = picture;
    let format = target.format();
    let mut file = Cursor::new(Vec::new());
    match target {
        Target::Png => write(PngEncoder::new(&mut file), &pixels, profile),
        Target::Webp => write(WebPEncoder::new_lossless(&mut file), &pixels, profile),
        Target::Jpeg { quality } => {
            write_jpeg(&on_white(pixels), quality, profile.as_deref(), &mut file)?;
            Ok(())
        }
    }
    .map_err(|error| MediaError::encoding(format, error))?;
    Ok(file.into_inner())
}

fn write(mut encoder: impl ImageEncoder, pixels: &DynamicImage, profile: Option<Vec<u8>>) -> Result<(), ImageError> {
    if let Some(profile) = profile {
        // An encoder that cannot carry it leaves it out.
        let _left_out = encoder.set_icc_profile(profile);
    }
    encoder.write_image(pixels.as_bytes(), pixels.width(), pixels.height(), pixels.color().into())
}

/// Writes a JPEG; below quality 90 with a quarter of the colour's resolution.
pub(super) fn write_jpeg(pixels: &RgbImage, quality: u8, profile: Option<&[u8]>, file: impl Write) -> Result<(), MediaError> {
    let failed = |error: EncodingError| MediaError::encoding(Format::Jpeg, error);
    let mut encoder = Encoder::new(file, quality);
    if let Some(profile) = profile {
        encoder.add_icc_profile(profile).map_err(failed)?;
    }
    let side = |pixels: u32| {
        // 65,535 is the most that JPEG can express; no image that is taken in is near it.
        u16::try_from(pixels).map_err(|error| MediaError::encoding(Format::Jpeg, error))
    };
    encoder.encode(pixels.as_raw(), side(pixels.width())?, side(pixels.height())?, ColorType::Rgb).map_err(failed)
}
