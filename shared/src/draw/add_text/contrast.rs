//! Which ink reads well on what lies under the text.

#![expect(clippy::float_arithmetic, reason = "luminance is defined with real numbers")]

use super::canvas::{Canvas, Rect};
use crate::text_style::{Ink, Rgb};

/// WCAG 2.2 asks for 4.5 (<https://www.w3.org/TR/WCAG22/#contrast-minimum>).
const READABLE: f32 = 4.5;
/// On a plate somebody has chosen the colours: only letters that are hardly seen get help.
const VISIBLE: f32 = 2.0;
/// The area under the text is looked at in 12 by 12 parts, each in about 8 by 8 places.
const PARTS: i32 = 12;
const PLACES: i32 = 8;
/// With both black and white this far from the ink, the ground says which edge the letters get.
const APART: f32 = 3.0;

/// How light it is under the text, from 0 to 1.
pub(super) struct Under {
    mean: f32,
    /// Half of the parts are darker.
    median: f32,
    /// Of the darkest part, about as large as a letter or a word.
    dark: f32,
    /// Of the lightest part.
    light: f32,
}

impl Under {
    pub(super) fn measure(canvas: &Canvas, area: Rect) -> Self {
        let area = area.within(canvas.bounds());
        let part = |from: i32, length: i32, number: i32| (from + length * number / PARTS, from + length * (number + 1) / PARTS);
        let parts = (0..PARTS).flat_map(|row| (0..PARTS).map(move |column| (row, column)));
        let parts = parts.filter_map(|(row, column)| {
            let (left, right) = part(area.left, area.width(), column);
            let (top, bottom) = part(area.top, area.height(), row);
            mean_luminance(canvas, Rect { left, top, right, bottom })
        });
        let mut parts: Vec<f32> = parts.collect();
        parts.sort_by(f32::total_cmp);
        Self {
            mean: mean(parts.iter().copied()).unwrap_or(0.0),
            median: parts.get(parts.len() / 2).copied().unwrap_or(0.0),
            dark: parts.first().copied().unwrap_or(0.0),
            light: parts.last().copied().unwrap_or(0.0),
        }
    }

    /// Whether letters of this ink are lost in a good part of what lies under them.
    pub(super) fn swallows(&self, ink: [u8; 3], on_plate: bool) -> bool {
        let ink = luminance(ink);
        let worst = contrast(ink, self.dark).min(contrast(ink, self.light));
        // Between the two the photo has the ink's own lightness somewhere.
        let lies_between = self.dark < ink && ink < self.light;
        lies_between || worst < if on_plate { VISIBLE } else { READABLE }
    }
}

/// The colour asked for, or black or white by the mean luminance under the text.
pub(super) fn ink(wish: Ink, under: &Under) -> [u8; 3] {
    match wish {
        Ink::Exactly(colour) => colour.0,
        Ink::Auto => black_or_white(under.mean),
    }
}

/// The colour asked for; else black, but white under a dark text.
pub(super) fn plate_colour(wish: Ink, text: Ink) -> [u8; 3] {
    match (wish, text) {
        (Ink::Exactly(colour), _) => colour.0,
        (Ink::Auto, Ink::Exactly(text)) => opposite(text.0),
        (Ink::Auto, Ink::Auto) => Rgb::BLACK.0,
    }
}

/// The colour of an edge that parts the ink from what lies under it.
pub(super) fn edge(ink: [u8; 3], under: &Under) -> [u8; 3] {
    let ink = luminance(ink);
    let both_differ = contrast(ink, 0.0) >= APART && contrast(ink, 1.0) >= APART;
    black_or_white(if both_differ { under.median } else { ink })
}

/// Whichever of black and white stands out more from the colour.
fn opposite(colour: [u8; 3]) -> [u8; 3] {
    black_or_white(luminance(colour))
}

fn black_or_white(under: f32) -> [u8; 3] {
    if contrast(1.0, under) >= contrast(0.0, under) { Rgb::WHITE.0 } else { Rgb::BLACK.0 }
}

/// The contrast ratio of two luminances, from 1 to 21.
pub(super) fn contrast(one: f32, other: f32) -> f32 {
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// Relative luminance of an sRGB colour, from 0 to 1.
pub(super) fn luminance(colour: [u8; 3]) -> f32 {
    let [red, green, blue] = colour.map(|channel| {
        let channel = f32::from(channel) / 255.0;
        if channel <= 0.04045 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

/// `None` without a pixel.
fn mean_luminance(canvas: &Canvas, area: Rect) -> Option<f32> {
    let step = |length: i32| usize::try_from(length / PLACES).unwrap_or(0).max(1);
    let columns = || (area.left..area.right).step_by(step(area.width()));
    let rows = (area.top..area.bottom).step_by(step(area.height()));
    mean(rows.flat_map(|y| columns().filter_map(move |x| canvas.seen(x, y))).map(luminance))
}

fn mean(numbers: impl Iterator<Item = f32>) -> Option<f32> {
    let (sum, count) = numbers.fold((0.0, 0.0), |(sum, count), number| (sum + number, count + 1.0));
    (count > 0.0).then(|| sum / count)
}
