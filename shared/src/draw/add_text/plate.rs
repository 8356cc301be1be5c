//! What lies between photo and text: the plate, or a soft edge around the letters.

#![expect(clippy::float_arithmetic, reason = "the strength of a blur is a real number")]

use image::GrayImage;
use image::imageops::{crop_imm, fast_blur};

use super::canvas::{Canvas, Rect};
use super::layout::Block;
use crate::text_style::Plate;

/// A pixel at a corner is looked at in 4 by 4 places.
const PLACES: i32 = 4;
/// How much of the photo a halo hides where it is strongest, of 255.
const HALO_WEIGHT: u16 = 200;

/// Draws the plate: first blurs the photo under it, then lays the colour over.
pub(super) fn draw(canvas: &mut Canvas, area: Rect, plate: &Plate, colour: [u8; 3], font_px: u16) {
    let seen = area.within(canvas.bounds());
    let radius = plate.radius_px.map_or(font_px * 2 / 5, |radius| radius.get());
    let corner = Corner::new(area, radius);
    if plate.blur_px.get() > 0 {
        blur(canvas, seen, plate.blur_px.get(), &corner);
    }
    let opacity = u16::from(u8::try_from(plate.opacity().get() * 255 / 100).unwrap_or(u8::MAX));
    for y in seen.top..seen.bottom {
        for x in seen.left..seen.right {
            let [weight, _] = (corner.coverage(x, y) * opacity / 255).to_le_bytes();
            canvas.cover((x, y), colour, weight);
        }
    }
}

fn blur(canvas: &mut Canvas, area: Rect, strength_px: u16, corner: &Corner) {
    // What lies beside the plate shines into it, three deviations far.
    let reach = i32::from(strength_px) * 3;
    let around = area.grown(reach, reach).within(canvas.bounds());
    let unsigned = |length: i32| u32::try_from(length).unwrap_or(0);
    let (left, top) = (unsigned(around.left), unsigned(around.top));
    let cut = crop_imm(&canvas.pixels, left, top, unsigned(around.width()), unsigned(around.height())).to_image();
    let blurred = fast_blur(&cut, f32::from(strength_px));
    for y in area.top..area.bottom {
        for x in area.left..area.right {
            let [weight, _] = corner.coverage(x, y).to_le_bytes();
            let pixel = blurred.get_pixel(unsigned(x - around.left), unsigned(y - around.top)).0;
            canvas.replace((x, y), pixel, weight);
        }
    }
}

/// A rectangle with round corners.
struct Corner {
    area: Rect,
    radius: i32,
}

impl Corner {
    fn new(area: Rect, radius: u16) -> Self {
        let radius = i32::from(radius).min(area.width() / 2).min(area.height() / 2);
        Self { area, radius }
    }

    /// How much of a pixel is inside, of 255.
    fn coverage(&self, x: i32, y: i32) -> u16 {
        let Rect { left, top, right, bottom } = self.area;
        // How deep the pixel is in the square around its corner, counted from the corner's centre.
        let depth_x = (left + self.radius - 1 - x).max(x - (right - self.radius));
        let depth_y = (top + self.radius - 1 - y).max(y - (bottom - self.radius));
        if depth_x < 0 || depth_y < 0 {
            return 255;
        }
        // In eighths of a pixel: the middles of four places are at 1, 3, 5 and 7.
        let limit = (self.radius * PLACES * 2).pow(2);
        let at = |depth: i32, place: i32| (depth * PLACES * 2 + place * 2 + 1).pow(2);
        let inside = |place_x: i32| (0..PLACES).filter(|place_y| at(depth_x, place_x) + at(depth_y, *place_y) <= limit).count();
        let inside: usize = (0..PLACES).map(inside).sum();
        u16::try_from(inside * 255 / 16).unwrap_or(255)
    }
}

/// A soft edge around the letters, so that they stand out from a photo that is light here and dark there.
pub(super) fn halo(canvas: &mut Canvas, block: &Block, origin: (i32, i32), colour: [u8; 3]) {
    let sigma = (f32::from(block.font_px) / 22.0).max(1.2);
    let reach = i32::from(block.font_px / 5 + 4);
    let around = block.ink.grown(reach, reach);
    let (Ok(width), Ok(height)) = (u32::try_from(around.width()), u32::try_from(around.height())) else {
        return;
    };
    let mut mask = GrayImage::new(width, height);
    block.for_each_letter_pixel(|(x, y), coverage| {
        if let (Ok(x), Ok(y)) = (u32::try_from(x - around.left), u32::try_from(y - around.top))
            && let Some(pixel) = mask.get_pixel_mut_checked(x, y)
        {
            pixel.0[0] = pixel.0[0].max(coverage);
        }
    });
    let mask = fast_blur(&mask, sigma);
    let row_bytes = mask.width() as usize;
    for (y, row) in (around.top + origin.1..).zip(mask.as_raw().chunks_exact(row_bytes)) {
        for (x, coverage) in (around.left + origin.0..).zip(row).filter(|(_, coverage)| **coverage > 0) {
            let strengthened = (u16::from(*coverage) * 3).min(255);
            let [weight, _] = (strengthened * HALO_WEIGHT / 255).to_le_bytes();
            canvas.cover((x, y), colour, weight);
        }
    }
}
