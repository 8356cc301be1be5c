//! Other dimensions for a picture.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, RgbImage, RgbaImage};

use super::{Format, MediaError};

/// Resizes with Lanczos3. Colours are weighed by their opacity, so that nothing hidden shows at an edge.
pub(super) fn resize(pixels: &DynamicImage, width: u32, height: u32, format: Format) -> Result<DynamicImage, MediaError> {
    let kind = if pixels.color().has_alpha() { PixelType::U8x4 } else { PixelType::U8x3 };
    let from = ImageRef::new(pixels.width(), pixels.height(), pixels.as_bytes(), kind)
        .map_err(|error| MediaError::encoding(format, error))?;
    let mut to = Image::new(width, height, kind);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
    Resizer::new().resize(&from, &mut to, &options).map_err(|error| MediaError::encoding(format, error))?;
    let bytes = to.into_vec();
    // As many bytes as `kind` has for each pixel: there is always an image of it.
    Ok(if kind == PixelType::U8x4 {
        RgbaImage::from_raw(width, height, bytes).unwrap_or_default().into()
    } else {
        RgbImage::from_raw(width, height, bytes).unwrap_or_default().into()
    })
}
