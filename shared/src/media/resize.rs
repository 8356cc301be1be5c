//! Other dimensions for a picture.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8x3, U8x4};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, RgbImage, RgbaImage};

use super::{Format, MediaError};

/// Resizes with Lanczos3. Colours are weighed by their opacity, so that nothing hidden shows at an edge.
pub(super) fn resize(pixels: &DynamicImage, width: u32, height: u32, format: Format) -> Result<DynamicImage, MediaError> {
    // As many bytes as a pixel has, for each pixel: there is always an image of them.
    Ok(if pixels.color().has_alpha() {
        let bytes = resized::<U8x4>(pixels, width, height, format)?;
        RgbaImage::from_raw(width, height, bytes).unwrap_or_default().into()
    } else {
        let bytes = resized::<U8x3>(pixels, width, height, format)?;
        RgbImage::from_raw(width, height, bytes).unwrap_or_default().into()
    })
}

/// For one kind of pixel. Chosen at run time, as the library also can, all thirteen would be linked: a megabyte.
fn resized<P: PixelTrait>(pixels: &DynamicImage, width: u32, height: u32, format: Format) -> Result<Vec<u8>, MediaError> {
    let from = TypedImageRef::<P>::from_buffer(pixels.width(), pixels.height(), pixels.as_bytes())
        .map_err(|error| MediaError::encoding(format, error))?;
    let mut bytes = vec![0; width as usize * height as usize * P::size()];
    let mut to = TypedImage::<P>::from_buffer(width, height, &mut bytes).map_err(|error| MediaError::encoding(format, error))?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
    Resizer::new().resize_typed(&from, &mut to, &options).map_err(|error| MediaError::encoding(format, error))?;
    Ok(bytes)
}
