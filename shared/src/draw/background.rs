//! What lies under the text: a gradient, or the caller's photo.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use super::{DrawError, mix};
use crate::media::{Stored, WORKING_BYTES, as_stored};

/// A colour circle of equal lightness and strength (OKLCH 0.52, 0.10, every 15 degrees): light text reads well on each.
const HUES: [[u8; 3]; 24] = [
    [151, 78, 102],
    [154, 79, 86],
    [154, 81, 70],
    [152, 85, 53],
    [146, 90, 37],
    [138, 95, 24],
    [127, 102, 18],
    [114, 108, 25],
    [98, 113, 39],
    [79, 118, 56],
    [57, 121, 73],
    [28, 123, 90],
    [0, 123, 107],
    [0, 122, 123],
    [0, 120, 137],
    [0, 116, 148],
    [39, 112, 156],
    [63, 106, 161],
    [83, 101, 163],
    [99, 96, 160],
    [114, 91, 154],
    [126, 86, 144],
    [137, 82, 132],
    [145, 80, 118],
];
const NIGHT: [u8; 3] = [16, 18, 34];
/// How far the gradient's second hue goes towards [`NIGHT`], of 255.
const DUSK_WEIGHT: u8 = 150;
/// How dark the plate under a caption is, of 255.
const PLATE_WEIGHT: u8 = 170;

/// A diagonal gradient between two neighbouring hues; hues and direction follow from the text.
pub(super) fn gradient(text: &str, width: u16, height: u16) -> RgbImage {
    let [hue, turn, direction, ..] = fnv1a(text.as_bytes()).to_le_bytes();
    let hue = usize::from(hue) % HUES.len();
    // 60 degrees to either side at most: further apart, the middle of the gradient turns grey.
    let neighbour = (hue + HUES.len() - 4 + usize::from(turn) % 9) % HUES.len();
    let light = HUES[hue];
    let dark = blend(HUES[neighbour], NIGHT, DUSK_WEIGHT);

    // Pixels of one diagonal are equal, so every row is a window of the same strip, one pixel further on.
    let steps = u32::from(width) + u32::from(height) - 2;
    let strip: Vec<u8> = (0..=steps).flat_map(|step| between(light, dark, step, steps)).collect();
    let row_bytes = usize::from(width) * 3;
    let mut canvas = RgbImage::new(width.into(), height.into());
    let rows = canvas.chunks_exact_mut(row_bytes).zip((0..strip.len()).step_by(3));
    for (row, ahead) in rows {
        let from = if direction % 2 == 0 { ahead } else { strip.len() - row_bytes - ahead };
        row.copy_from_slice(&strip[from..from + row_bytes]);
    }
    canvas
}

/// Covers the canvas with the photo: upright by its EXIF orientation, scaled until no gap is left, its middle kept.
/// Where the photo is transparent the canvas shows through.
pub(super) fn cover(canvas: &mut RgbImage, photo: &[u8]) -> Result<(), DrawError> {
    let Stored { pixels: photo, orientation, .. } = as_stored(photo, WORKING_BYTES).map_err(DrawError::Background)?;
    let (width, height) = match orientation {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            (canvas.height(), canvas.width())
        }
        Orientation::NoTransforms | Orientation::Rotate180 | Orientation::FlipHorizontal | Orientation::FlipVertical => {
            canvas.dimensions()
        }
    };
    // Shrunk first and turned after: turning the full photo would double the memory at its peak.
    let mut scaled = crop_to_aspect(photo, width, height).thumbnail_exact(width, height);
    scaled.apply_orientation(orientation);
    if scaled.color().has_alpha() {
        for (under, over) in canvas.pixels_mut().zip(scaled.into_rgba8().pixels()) {
            let [red, green, blue, alpha] = over.0;
            under.0 = blend(under.0, [red, green, blue], alpha);
        }
    } else {
        *canvas = scaled.into_rgb8();
    }
    Ok(())
}

/// The largest middle part with the aspect of `width` to `height`.
fn crop_to_aspect(photo: DynamicImage, width: u32, height: u32) -> DynamicImage {
    let (full_width, full_height) = (photo.width(), photo.height());
    // The sides are at most 12,000 and 4,096: the products fit in u32.
    let kept_width = full_width.min((full_height * width / height).max(1));
    let kept_height = full_height.min((full_width * height / width).max(1));
    if (kept_width, kept_height) == (full_width, full_height) {
        return photo;
    }
    photo.crop_imm((full_width - kept_width) / 2, (full_height - kept_height) / 2, kept_width, kept_height)
}

/// Lays a translucent dark plate over everything from row `top` down, with a soft upper edge.
pub(super) fn darken_below(canvas: &mut RgbImage, top: u16) {
    let row_bytes = canvas.width() as usize * 3;
    let edge_px = canvas.height() / 24 + 1;
    let edge_top = u32::from(top).saturating_sub(edge_px);
    for (y, row) in (0..).zip(canvas.chunks_exact_mut(row_bytes)).skip(edge_top as usize) {
        let depth = u64::from((y - edge_top + 1).min(edge_px));
        let [weight, ..] = (u64::from(PLATE_WEIGHT) * depth / u64::from(edge_px)).to_le_bytes();
        // One table a row: three lookups a pixel instead of three multiplications and divisions.
        for (channel, night) in NIGHT.into_iter().enumerate() {
            let darkened: [u8; 256] = std::array::from_fn(|value| mix(value.to_le_bytes()[0], night, weight));
            for byte in row.iter_mut().skip(channel).step_by(3) {
                *byte = darkened[usize::from(*byte)];
            }
        }
    }
}

fn blend(from: [u8; 3], to: [u8; 3], weight: u8) -> [u8; 3] {
    std::array::from_fn(|channel| mix(from[channel], to[channel], weight))
}

/// The colour `step` of `steps` on the way; finer than [`blend`], which would show bands.
fn between(from: [u8; 3], to: [u8; 3], step: u32, steps: u32) -> [u8; 3] {
    std::array::from_fn(|channel| {
        let sum = u32::from(from[channel]) * (steps - step) + u32::from(to[channel]) * step;
        let [byte, ..] = ((sum + steps / 2) / steps).to_le_bytes();
        byte
    })
}

/// FNV-1a with 64 bits: stable across releases and machines, which the standard library's hasher does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
