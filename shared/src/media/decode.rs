//! From a file to upright pixels, within a stated amount of memory.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

use super::probe::{Still, still};
use super::{MediaError, Unfit};

/// What working on one image may take beside its file, in bytes: it leaves room for the rest of a function of 512 MB.
pub const WORKING_BYTES: u64 = 400_000_000;

/// A larger profile is one of a printer; those of cameras and screens take less than four thousand bytes.
const MAX_PROFILE_BYTES: usize = 64_000;
/// Where an ICC profile says of which kind of pixels it speaks.
const PROFILE_SPACE: std::ops::Range<usize> = 16..20;

/// An upright picture of 8 bits a channel: RGB, or RGBA if its file can be transparent.
#[derive(Debug, Clone)]
pub struct Picture {
    pub(super) pixels: DynamicImage,
    /// What its colours mean, as an ICC profile; sRGB without.
    pub(super) profile: Option<Vec<u8>>,
}

impl Picture {
    /// Pixels of any kind become RGB or RGBA of 8 bits.
    pub fn new(pixels: DynamicImage) -> Self {
        Self { pixels: eight_bits(pixels), profile: None }
    }

    pub fn width(&self) -> u32 {
        self.pixels.width()
    }

    pub fn height(&self) -> u32 {
        self.pixels.height()
    }

    pub fn has_alpha(&self) -> bool {
        self.pixels.color().has_alpha()
    }

    pub fn pixels(&self) -> &DynamicImage {
        &self.pixels
    }

    pub fn into_pixels(self) -> DynamicImage {
        self.pixels
    }

    /// Its pixels, and its colour profile.
    #[cfg(feature = "draw")]
    pub(crate) fn into_parts(self) -> (DynamicImage, Option<Vec<u8>>) {
        (self.pixels, self.profile)
    }

    /// Other pixels in the colours of that profile.
    #[cfg(feature = "draw")]
    pub(crate) fn of_parts(pixels: DynamicImage, profile: Option<Vec<u8>>) -> Self {
        Self { profile, ..Self::new(pixels) }
    }
}

/// Decodes a JPEG, PNG or WebP file and turns it upright. `budget_bytes`, for instance [`WORKING_BYTES`], is what that may take beside
/// the file itself; it is reckoned from the header before anything is allocated.
///
/// Blocks for tens to hundreds of milliseconds: async callers put it on a blocking thread.
pub fn decode(file: &[u8], budget_bytes: u64) -> Result<Picture, MediaError> {
    let stored = as_stored(file, budget_bytes)?;
    let needed = stored.turned_bytes();
    if needed > budget_bytes {
        return Err(MediaError::TooMuchMemory { needed, budget: budget_bytes });
    }
    let mut pixels = eight_bits(stored.pixels);
    pixels.apply_orientation(stored.orientation);
    Ok(Picture { pixels, profile: stored.profile })
}

/// A picture as its file stores it: not yet upright, any number of bits.
pub(crate) struct Stored {
    pub(crate) pixels: DynamicImage,
    pub(crate) orientation: Orientation,
    profile: Option<Vec<u8>>,
}

impl Stored {
    /// What making it upright and 8 bits deep holds at once, in bytes.
    fn turned_bytes(&self) -> u64 {
        let channels = if self.pixels.color().has_alpha() { 4 } else { 3 };
        let made = u64::from(self.pixels.width()) * u64::from(self.pixels.height()) * channels;
        let is_turned = !matches!(
            self.orientation,
            Orientation::NoTransforms | Orientation::Rotate180 | Orientation::FlipHorizontal | Orientation::FlipVertical
        );
        let is_converted = !matches!(self.pixels.color(), ColorType::Rgb8 | ColorType::Rgba8);
        let converting = if is_converted { made + self.pixels.as_bytes().len() as u64 } else { made };
        converting.max(if is_turned { 2 * made } else { made })
    }
}

/// Looks at the whole file's structure, reckons, and only then lets the decoder allocate: what it does itself ignores every limit.
pub(crate) fn as_stored(file: &[u8], budget_bytes: u64) -> Result<Stored, MediaError> {
    let still = still(file).map_err(MediaError::Unfit)?.ok_or(MediaError::NotAnImage)?;
    let format = image::guess_format(file).map_err(MediaError::Undecodable)?;
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(budget_bytes);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(MediaError::Undecodable)?;
    if decoder.dimensions() != (still.width, still.height) {
        let (content_type, problem) = (format.to_mime_type(), "it states two sizes");
        return Err(MediaError::Unfit(Unfit::Damaged { content_type, problem }));
    }
    let needed = needed_bytes(file, format, still, decoder.total_bytes());
    if needed > budget_bytes {
        return Err(MediaError::TooMuchMemory { needed, budget: budget_bytes });
    }
    let profile = decoder.icc_profile().ok().flatten().filter(|profile| is_usable(profile));
    let orientation = Orientation::from_exif(still.orientation).unwrap_or(Orientation::NoTransforms);
    let pixels = DynamicImage::from_decoder(decoder).map_err(MediaError::Undecodable)?;
    // A grey picture becomes RGB, which a profile for grey would make nonsense of.
    let profile = profile.filter(|_| pixels.color().has_color());
    Ok(Stored { pixels, orientation, profile })
}

fn needed_bytes(file: &[u8], format: ImageFormat, still: Still, pixel_bytes: u64) -> u64 {
    // The JPEG decoder copies the file.
    let copied = if format == ImageFormat::Jpeg { file.len() as u64 } else { 0 };
    still.working_bytes + pixel_bytes + copied
}

fn is_usable(profile: &[u8]) -> bool {
    profile.len() <= MAX_PROFILE_BYTES && profile.get(PROFILE_SPACE) == Some(b"RGB ")
}

fn eight_bits(pixels: DynamicImage) -> DynamicImage {
    if matches!(pixels.color(), ColorType::Rgb8 | ColorType::Rgba8) {
        pixels
    } else if pixels.color().has_alpha() {
        pixels.into_rgba8().into()
    } else {
        pixels.into_rgb8().into()
    }
}

/// What is transparent becomes white. Takes no more memory.
pub(super) fn on_white(pixels: DynamicImage) -> RgbImage {
    let DynamicImage::ImageRgba8(image) = pixels else { return pixels.into_rgb8() };
    let (width, height) = image.dimensions();
    let mut bytes = image.into_raw();
    for (to, from) in (0..bytes.len() / 4).map(|pixel| (pixel * 3, pixel * 4)) {
        let alpha = bytes[from + 3];
        for channel in 0..3 {
            bytes[to + channel] = over_white(bytes[from + channel], alpha);
        }
    }
    bytes.truncate(bytes.len() / 4 * 3);
    // Three bytes for each of `width * height` pixels: there is always an image of it.
    RgbImage::from_raw(width, height, bytes).unwrap_or_default()
}

fn over_white(value: u8, alpha: u8) -> u8 {
    let alpha = u16::from(alpha);
    let [byte, _] = ((u16::from(value) * alpha + 255 * (255 - alpha) + 127) / 255).to_le_bytes();
    byte
}
