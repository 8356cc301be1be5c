use std::path::Path;

use image::imageops::{FilterType, resize};
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::canvas::Rect;
use super::contrast::{contrast, luminance};
use super::*;
use crate::text_style::parse;

static PHOTO: &[u8] = include_bytes!("../../../../../events/media/photo.jpg");

fn style(value: &Value) -> TextStyle {
    TextStyle::from_json(value).expect("a style")
}

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut encoded = std::io::Cursor::new(Vec::new());
    image.into().write_to(&mut encoded, ImageFormat::Png).expect("a PNG");
    encoded.into_inner()
}

fn plain(width: u32, height: u32, grey: u8) -> Vec<u8> {
    png(RgbImage::from_pixel(width, height, Rgb([grey; 3])))
}

fn pixels(encoded: &[u8]) -> RgbImage {
    image::load_from_memory(encoded).expect("a picture").into_rgb8()
}

fn drawn(photo: &[u8], text: &str, style: &TextStyle) -> RgbImage {
    pixels(&add_text(photo, text, style, Format::Png).expect("a picture"))
}

/// The layout alone: places, font size, number of lines.
fn laid_out(photo: &[u8], text: &str, style: &TextStyle) -> (layout::Block, layout::Place, Rect) {
    let text = drawable(text).expect("a text");
    let canvas = Canvas::open(photo, Format::Png).expect("a canvas");
    let block = layout::lay_out(&text, style, canvas.size()).expect("a layout");
    let place = layout::place(&block, style, canvas.size());
    (block, place, canvas.bounds())
}

fn is_inside(inner: Rect, outer: Rect) -> bool {
    inner.within(outer) == inner
}

/// What differs between two pictures of the same size.
fn changed(before: &RgbImage, after: &RgbImage) -> Option<Rect> {
    let differing = before.enumerate_pixels().zip(after.pixels()).filter(|((_, _, before), after)| before != after);
    let places = differing.map(|((x, y, _), _)| (i32::try_from(x).expect("small"), i32::try_from(y).expect("small")));
    places.map(|(x, y)| Rect { left: x, top: y, right: x + 1, bottom: y + 1 }).reduce(|one, other| Rect {
        left: one.left.min(other.left),
        top: one.top.min(other.top),
        right: one.right.max(other.right),
        bottom: one.bottom.max(other.bottom),
    })
}

mod looks;
mod properties;
