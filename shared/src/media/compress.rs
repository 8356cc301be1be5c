//! A photo that fits into what a provider takes.

use std::io::{self, Write};

use image::{DynamicImage, RgbImage};

use super::decode::{Picture, on_white};
use super::encode::write_jpeg;
use super::resize::resize;
use super::{Format, MediaError, WORKING_BYTES, decode};

/// The JPEG qualities that are tried, the best first.
pub const QUALITIES: [u8; 8] = [85, 80, 75, 70, 65, 60, 55, 50];
/// The longer side of an image is not made shorter than this, in pixels.
pub const MIN_FITTED_SIDE_PX: u32 = 64;

/// Most bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub bytes: usize,
}

impl Default for Limit {
    /// Four megabytes.
    fn default() -> Self {
        Self { bytes: 4_000_000 }
    }
}

/// A file that fits.
#[derive(Debug, PartialEq, Eq)]
pub enum Fitted<'a> {
    /// It did fit, and is what it was, whatever it was.
    Untouched(&'a [u8]),
    /// A JPEG made of it: upright, without EXIF data, what was transparent white.
    Compressed { jpeg: Vec<u8>, quality: u8, width: u32, height: u32 },
}

impl Fitted<'_> {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Untouched(file) => file,
            Self::Compressed { jpeg, .. } => jpeg,
        }
    }
}

/// Makes a JPEG, PNG or WebP file small enough. What fits is not touched. What does not becomes a JPEG of the highest of [`QUALITIES`]
/// that fits; if none does, both sides are shortened to 85 % as often as it takes, down to [`MIN_FITTED_SIDE_PX`].
///
/// Takes at most [`WORKING_BYTES`] beside the file and the limit. Blocks for up to some seconds: async callers put it on a blocking thread.
pub fn fit(file: &[u8], limit: Limit) -> Result<Fitted<'_>, MediaError> {
    if file.len() <= limit.bytes {
        return Ok(Fitted::Untouched(file));
    }
    let Picture { pixels, profile } = decode(file, WORKING_BYTES)?;
    let full = on_white(pixels);
    let (mut width, mut height) = full.dimensions();
    let mut over = match highest_that_fits(&full, profile.as_deref(), limit)? {
        Attempt::Fits(fitted) => return Ok(fitted),
        Attempt::Over { bytes } => Size { width, height, bytes },
    };
    let full = DynamicImage::ImageRgb8(full);
    loop {
        (width, height) = (shorter(width), shorter(height));
        if width.max(height) < MIN_FITTED_SIDE_PX {
            return Err(MediaError::CannotFit { limit: limit.bytes });
        }
        if over.at(width, height) > limit.bytes as u64 {
            continue;
        }
        // Always from the full picture: shrinking again and again blurs.
        let smaller = resize(&full, width, height, Format::Jpeg)?.into_rgb8();
        match highest_that_fits(&smaller, profile.as_deref(), limit)? {
            Attempt::Fits(fitted) => return Ok(fitted),
            Attempt::Over { bytes } => over = Size { width, height, bytes },
        }
    }
}

fn shorter(side: u32) -> u32 {
    // At most 12,000: the product fits.
    (side * 85 / 100).max(1)
}

/// How large a picture was at the lowest quality.
struct Size {
    width: u32,
    height: u32,
    bytes: u64,
}

impl Size {
    /// What that makes with fewer pixels. Those that are left have more detail each, so that it is rarely less.
    fn at(&self, width: u32, height: u32) -> u64 {
        let pixels = |width: u32, height: u32| u128::from(width) * u128::from(height);
        let bytes = u128::from(self.bytes) * pixels(width, height) / pixels(self.width, self.height).max(1);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

enum Attempt {
    Fits(Fitted<'static>),
    /// At the lowest quality it has so many bytes.
    Over {
        bytes: u64,
    },
}

/// Halves the qualities between one that fits and the next higher one that does not: both have been tried in the end.
fn highest_that_fits(pixels: &RgbImage, profile: Option<&[u8]>, limit: Limit) -> Result<Attempt, MediaError> {
    let attempt = |step: usize| -> Result<Capped, MediaError> {
        let mut file = Capped { kept: Vec::new(), limit: limit.bytes, written: 0 };
        write_jpeg(pixels, QUALITIES[step], profile, &mut file)?;
        Ok(file)
    };
    let fits = |file: Capped, step: usize| {
        let (width, height) = pixels.dimensions();
        Ok(Attempt::Fits(Fitted::Compressed { jpeg: file.kept, quality: QUALITIES[step], width, height }))
    };
    let best = attempt(0)?;
    if best.fits() {
        return fits(best, 0);
    }
    drop(best);
    let (mut over, mut fitting) = (0, QUALITIES.len() - 1);
    let mut file = attempt(fitting)?;
    if !file.fits() {
        return Ok(Attempt::Over { bytes: file.written });
    }
    while fitting - over > 1 {
        let middle = over.midpoint(fitting);
        let tried = attempt(middle)?;
        if tried.fits() {
            (file, fitting) = (tried, middle);
        } else {
            over = middle;
        }
    }
    fits(file, fitting)
}

/// Keeps a file while it fits, and counts on when it does not.
struct Capped {
    kept: Vec<u8>,
    limit: usize,
    written: u64,
}

impl Capped {
    fn fits(&self) -> bool {
        self.written <= self.limit as u64
    }
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written += bytes.len() as u64;
        if self.fits() {
            self.kept.extend_from_slice(bytes);
        } else {
            self.kept = Vec::new();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
