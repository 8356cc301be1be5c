//! The photo while it is drawn on.

use image::{GrayImage, Rgb, RgbImage, Rgba, RgbaImage};

use super::super::{Format, mix, over};
use crate::media::{self, MediaError, Picture, Target, WORKING_BYTES};

/// A customer's photo loses less than a placeholder may.
const JPEG_QUALITY: u8 = 92;
const WHITE: [u8; 3] = [255; 3];

/// A rectangle in pixels; right and bottom are the first that no longer belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) left: i32,
    pub(super) top: i32,
    pub(super) right: i32,
    pub(super) bottom: i32,
}

/// The photo upright: its colours, its transparency if that is kept, its colour profile.
pub(super) struct Canvas {
    pub(super) pixels: RgbImage,
    alpha: Option<GrayImage>,
    profile: Option<Vec<u8>>,
}

impl Canvas {
    /// Transparency is kept where the format has it; elsewhere the photo is laid on white.
    pub(super) fn open(photo: &[u8], format: Format) -> Result<Self, MediaError> {
        let (photo_pixels, profile) = media::decode(photo, WORKING_BYTES)?.into_parts();
        if !photo_pixels.color().has_alpha() {
            return Ok(Self { pixels: photo_pixels.into_rgb8(), alpha: None, profile });
        }
        let mut pixels = photo_pixels.into_rgba8();
        let alpha = match format {
            Format::Png | Format::Webp => {
                Some(GrayImage::from_fn(pixels.width(), pixels.height(), |x, y| [pixels.get_pixel(x, y).0[3]].into()))
            }
            Format::Jpeg => {
                for pixel in pixels.pixels_mut() {
                    let [red, green, blue, alpha] = pixel.0;
                    let [red, green, blue] = [red, green, blue].map(|channel| mix(255, channel, alpha));
                    pixel.0 = [red, green, blue, 255];
                }
                None
            }
        };
        let pixels = image::DynamicImage::ImageRgba8(pixels).into_rgb8();
        Ok(Self { pixels, alpha, profile })
    }

    /// Width and height, at most 12,000 each.
    pub(super) fn size(&self) -> (u16, u16) {
        let side = |pixels| u16::try_from(pixels).unwrap_or(u16::MAX);
        (side(self.pixels.width()), side(self.pixels.height()))
    }

    /// The whole of it.
    pub(super) fn bounds(&self) -> Rect {
        let (width, height) = self.size();
        Rect { left: 0, top: 0, right: width.into(), bottom: height.into() }
    }

    /// What is seen at a place, transparent parts on white; `None` outside.
    pub(super) fn seen(&self, x: i32, y: i32) -> Option<[u8; 3]> {
        let (x, y) = (u32::try_from(x).ok()?, u32::try_from(y).ok()?);
        let pixel = self.pixels.get_pixel_checked(x, y)?.0;
        let alpha = self.alpha.as_ref().map_or(255, |alpha| alpha.get_pixel(x, y).0[0]);
        Some(if alpha == 255 { pixel } else { std::array::from_fn(|channel| mix(WHITE[channel], pixel[channel], alpha)) })
    }

    /// Lays a colour over a pixel; 255 of `weight` covers it. Outside nothing happens.
    pub(super) fn cover(&mut self, (x, y): (i32, i32), colour: [u8; 3], weight: u8) {
        self.lay_over((x, y), colour.map(|channel| mix(0, channel, weight)), weight);
    }

    /// The same for a colour that is already multiplied by its weight.
    pub(super) fn lay_over(&mut self, (x, y): (i32, i32), premultiplied: [u8; 3], weight: u8) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
            return;
        };
        let Some(Rgb(pixel)) = self.pixels.get_pixel_mut_checked(x, y) else {
            return;
        };
        let Some(alpha) = self.alpha.as_mut().map(|alpha| &mut alpha.get_pixel_mut(x, y).0[0]).filter(|alpha| **alpha < 255)
        else {
            *pixel = over(*pixel, premultiplied, weight);
            return;
        };
        // Over a transparent pixel: what was there counts only as far as it was seen.
        let under = pixel.map(|channel| mix(0, channel, *alpha));
        let sum = over(under, premultiplied, weight);
        *alpha = mix(*alpha, 255, weight);
        let whole = u16::from((*alpha).max(1));
        *pixel = sum.map(|channel| u8::try_from((u16::from(channel) * 255 + whole / 2) / whole).unwrap_or(255));
    }

    /// Puts a colour in the place of what is there, as far as `weight` of 255; transparency stays.
    pub(super) fn replace(&mut self, (x, y): (i32, i32), colour: [u8; 3], weight: u8) {
        if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
            && let Some(Rgb(pixel)) = self.pixels.get_pixel_mut_checked(x, y)
        {
            *pixel = std::array::from_fn(|channel| mix(pixel[channel], colour[channel], weight));
        }
    }

    pub(super) fn encode(self, format: Format) -> Result<Vec<u8>, MediaError> {
        let target = match format {
            Format::Png => Target::Png,
            Format::Jpeg => Target::Jpeg { quality: JPEG_QUALITY },
            Format::Webp => Target::Webp,
        };
        let pixels = match self.alpha {
            None => self.pixels.into(),
            Some(alpha) => {
                let joined = RgbaImage::from_fn(self.pixels.width(), self.pixels.height(), |x, y| {
                    let [red, green, blue] = self.pixels.get_pixel(x, y).0;
                    Rgba([red, green, blue, alpha.get_pixel(x, y).0[0]])
                });
                joined.into()
            }
        };
        media::encode(Picture::of_parts(pixels, self.profile), target)
    }
}

impl Rect {
    pub(super) fn width(&self) -> i32 {
        self.right - self.left
    }

    pub(super) fn height(&self) -> i32 {
        self.bottom - self.top
    }

    pub(super) fn moved(self, x: i32, y: i32) -> Self {
        Self { left: self.left + x, top: self.top + y, right: self.right + x, bottom: self.bottom + y }
    }

    pub(super) fn grown(self, x: i32, y: i32) -> Self {
        Self { left: self.left - x, top: self.top - y, right: self.right + x, bottom: self.bottom + y }
    }

    /// Empty, with no width or height, when they do not meet.
    pub(super) fn within(self, other: Self) -> Self {
        let (left, top) = (self.left.max(other.left), self.top.max(other.top));
        Self { left, top, right: self.right.min(other.right).max(left), bottom: self.bottom.min(other.bottom).max(top) }
    }
}
