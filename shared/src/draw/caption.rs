//! Text: which characters can be drawn, how large, where the lines break, and the pixels.

use cosmic_text::{Align, Buffer, Metrics, SwashCache, SwashContent, SwashImage, Wrap};
use image::RgbImage;

use super::typesetter::{Typesetter, typesetter};
use super::{mix, over};

/// Bounds the work a text can ask for; hardly any canvas has room for more.
const MAX_CHARS: usize = 50_000;
const MISSING_LETTER: char = '□';
const ELLIPSIS: char = '…';

/// The room for a text and its font sizes, in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) width: u16,
    pub(super) height: u16,
    /// Where shrinking stops and cutting begins.
    pub(super) smallest_font: u16,
    pub(super) largest_font: u16,
}

/// Text with its line breaks and font size settled.
pub(super) struct Caption {
    buffer: Buffer,
    /// Pixels.
    font: u16,
}

/// Breaks `text` into centred lines at the largest font size that fits; at the smallest, cuts what is left over.
/// `None` when nothing of the text can be drawn.
pub(super) fn lay_out(text: &str, area: Area) -> Option<Caption> {
    let mut typesetter = typesetter();
    let text = drawable(&typesetter, text);
    if text.is_empty() {
        return None;
    }
    let mut buffer = Buffer::new_empty(metrics(area.smallest_font));
    buffer.set_size(Some(area.width.into()), None);
    typesetter.set_text(&mut buffer, &text, Align::Center);
    let Some(with_broken_words) = typesetter.largest_fitting(&mut buffer, Wrap::WordOrGlyph, area) else {
        typesetter.cut(&mut buffer, &text, area);
        return Some(Caption { buffer, font: area.smallest_font });
    };
    // One overlong word must not make the whole text tiny: then it is broken.
    let with_whole_words = typesetter.largest_fitting(&mut buffer, Wrap::Word, area);
    let (wrap, font) = match with_whole_words {
        Some(font) if font * 2 >= with_broken_words => (Wrap::Word, font),
        Some(_) | None => (Wrap::WordOrGlyph, with_broken_words),
    };
    typesetter.set_size(&mut buffer, wrap, font);
    Some(Caption { buffer, font })
}

impl Caption {
    /// Pixels from the top of the first line to the bottom of the last.
    pub(super) fn height(&self) -> u16 {
        let rows = u16::try_from(self.buffer.layout_runs().count()).unwrap_or(u16::MAX);
        rows.saturating_mul(line_height(self.font))
    }

    /// Draws with the upper left corner of the text's area at `left`, `top`.
    #[expect(clippy::float_arithmetic, reason = "glyph positions are f32 in every font library")]
    pub(super) fn draw(&self, canvas: &mut RgbImage, left: u16, top: u16, ink: [u8; 3]) {
        let mut typesetter = typesetter();
        // Lives for one drawing: kept longer, it would collect every size of every glyph.
        let mut glyphs = SwashCache::new();
        for line in self.buffer.layout_runs() {
            for glyph in line.glyphs {
                let place = glyph.physical((left.into(), f32::from(top) + line.line_y), 1.0);
                if let Some(mask) = glyphs.get_image(&mut typesetter.fonts, place.cache_key) {
                    stamp(canvas, mask, (place.x, place.y), ink);
                }
            }
        }
    }
}

impl Typesetter {
    fn largest_fitting(&mut self, buffer: &mut Buffer, wrap: Wrap, area: Area) -> Option<u16> {
        let mut largest = None;
        let mut sizes = area.smallest_font..area.largest_font.max(area.smallest_font) + 1;
        while !sizes.is_empty() {
            let middle = u16::midpoint(sizes.start, sizes.end);
            self.set_size(buffer, wrap, middle);
            if fits(buffer, area, middle) {
                largest = Some(middle);
                sizes.start = middle + 1;
            } else {
                sizes.end = middle;
            }
        }
        largest
    }

    /// Shortens the text at the smallest font size until it fits with an ellipsis; at least one line is kept.
    fn cut(&mut self, buffer: &mut Buffer, text: &str, area: Area) {
        self.set_size(buffer, Wrap::WordOrGlyph, area.smallest_font);
        let rows = rows_in(area, area.smallest_font).max(1);
        let mut kept = text[..end_of_row(buffer, text, rows)].trim_end();
        // One character is mostly enough; doubling bounds the attempts when thousands of marks sit on the last letter.
        let mut chars_to_drop = 1;
        loop {
            self.set_text(buffer, &format!("{kept}{ELLIPSIS}"), Align::Center);
            buffer.shape_until_scroll(&mut self.fonts, false);
            if buffer.layout_runs().count() <= rows || kept.is_empty() {
                return;
            }
            kept = kept.char_indices().rev().nth(chars_to_drop - 1).map_or("", |(at, _)| kept[..at].trim_end());
            chars_to_drop *= 2;
        }
    }

    fn set_size(&mut self, buffer: &mut Buffer, wrap: Wrap, font: u16) {
        buffer.set_wrap(wrap);
        buffer.set_metrics(metrics(font));
        buffer.shape_until_scroll(&mut self.fonts, false);
    }
}

/// The text as far as it can be drawn; letters and digits that the fonts lack become boxes.
fn drawable(typesetter: &Typesetter, text: &str) -> String {
    let end = text.char_indices().nth(MAX_CHARS);
    let mut known = typesetter
        .drawable(end.map_or(text, |(end, _)| &text[..end]), |character| character.is_alphanumeric().then_some(MISSING_LETTER));
    if end.is_some() {
        known.push(ELLIPSIS);
    }
    known
}

fn metrics(font: u16) -> Metrics {
    Metrics::new(font.into(), line_height(font).into())
}

fn line_height(font: u16) -> u16 {
    font + font.div_ceil(4)
}

fn rows_in(area: Area, font: u16) -> usize {
    usize::from(area.height / line_height(font))
}

fn fits(buffer: &Buffer, area: Area, font: u16) -> bool {
    let width = f32::from(area.width);
    buffer.layout_runs().count() <= rows_in(area, font) && buffer.layout_runs().all(|row| row.line_w <= width)
}

/// The byte of `text` at which visual row number `rows` ends, counted over all its paragraphs.
fn end_of_row(buffer: &Buffer, text: &str, rows: usize) -> usize {
    let Some(row) = buffer.layout_runs().take(rows).last() else {
        return text.len();
    };
    let before: usize = text.split('\n').take(row.line_i).map(|paragraph| paragraph.len() + 1).sum();
    before + row.glyphs.iter().map(|glyph| glyph.end).max().unwrap_or(0)
}

/// Blends the glyph into the canvas, with `ink` where it has no colours of its own; what hangs over the edge is left out.
fn stamp(canvas: &mut RgbImage, glyph: &SwashImage, (x, y): (i32, i32), ink: [u8; 3]) {
    let bytes = match glyph.content {
        SwashContent::Mask => 1,
        SwashContent::Color => 4,
        SwashContent::SubpixelMask => return,
    };
    let row_bytes = glyph.placement.width as usize * bytes;
    if row_bytes == 0 {
        return;
    }
    let (left, top) = (x + glyph.placement.left, y - glyph.placement.top);
    for (y, row) in (top..).zip(glyph.data.chunks_exact(row_bytes)) {
        for (x, bytes) in (left..).zip(row.chunks_exact(bytes)) {
            let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
                continue;
            };
            if let Some(pixel) = canvas.get_pixel_mut_checked(x, y) {
                pixel.0 = match bytes {
                    [red, green, blue, alpha] => over(pixel.0, [*red, *green, *blue], *alpha),
                    [coverage] => std::array::from_fn(|channel| mix(pixel.0[channel], ink[channel], *coverage)),
                    _ => pixel.0,
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PANGRAM: &str = "Съешь ещё этих мягких французских булок, да выпей чаю. Ґанок, їжак, єнот. Әлем, қала, ғарыш, ұл, һава";

    fn area(width: u16, height: u16, largest_font: u16) -> Area {
        Area { width, height, smallest_font: 12, largest_font }
    }

    fn glyphs(caption: &Caption) -> Vec<u16> {
        caption.buffer.layout_runs().flat_map(|row| row.glyphs.iter().map(|glyph| glyph.glyph_id)).collect()
    }

    fn rows(caption: &Caption) -> Vec<String> {
        let row = |row: cosmic_text::LayoutRun<'_>| row.glyphs.iter().map(|glyph| &row.text[glyph.start..glyph.end]).collect();
        caption.buffer.layout_runs().map(row).collect()
    }

    #[test]
    fn cyrillic_is_drawn_with_real_glyphs() {
        let caption = lay_out(PANGRAM, area(900, 900, 100)).expect("a caption");
        assert!(glyphs(&caption).iter().all(|glyph| *glyph != 0));
        assert!(!rows(&caption).concat().contains(MISSING_LETTER));
    }

    #[test]
    fn missing_characters_become_boxes_or_nothing() {
        let drawable = |text| drawable(&typesetter(), text);
        assert_eq!(drawable("猫 cat"), "□ cat");
        assert_eq!(drawable("hi 👩‍👩‍👧‍👦 there 🇺🇦!"), "hi 👩‍👩‍👧‍👦 there 🇺🇦!");
        assert_eq!(drawable("\u{202e}left\u{200f} \u{feff}\u{0}\u{7}"), "left");
        assert_eq!(drawable("🎉🎉"), "🎉🎉");
        assert_eq!(drawable(" a\t b \r\n\n\n\n c \u{2028}d\n"), "a b\n\nc\nd");
    }

    #[test]
    fn short_text_takes_the_largest_font() {
        let caption = lay_out("Fox", area(900, 900, 100)).expect("a caption");
        assert_eq!(caption.height(), line_height(100));
    }

    #[test]
    fn words_stay_whole_while_they_can() {
        let caption = lay_out("An extraordinarily uncharacteristic lighthouse", area(500, 500, 100)).expect("a caption");
        assert!(rows(&caption).iter().all(|row| {
            row.trim().split(' ').all(|word| ["An", "extraordinarily", "uncharacteristic", "lighthouse"].contains(&word))
        }));
    }

    #[test]
    fn endless_word_is_broken_instead_of_shrinking_the_rest() {
        let text = format!("see {}", "x".repeat(300));
        let caption = lay_out(&text, area(600, 600, 60)).expect("a caption");
        let widest = caption.buffer.layout_runs().map(|row| row.line_w).fold(0.0, f32::max);
        assert!(widest <= 600.0 && caption.height() > 300, "{widest} wide, {} high", caption.height());
    }

    #[test]
    fn longer_text_is_cut_with_an_ellipsis() {
        for text in ["слово и дело ".repeat(5_000), "я".repeat(50_000), "a\n".repeat(2_000)] {
            let caption = lay_out(&text, area(400, 200, 40)).expect("a caption");
            assert!(caption.height() <= 200);
            assert!(caption.height() > 200 - 2 * line_height(12));
            assert!(rows(&caption).last().is_some_and(|row| row.ends_with(ELLIPSIS)));
        }
    }

    #[test]
    fn marks_piled_on_one_letter_are_bounded_work() {
        let text = format!("{}{}", "word ".repeat(100), "a".to_owned() + &"\u{301}".repeat(20_000));
        let caption = lay_out(&text, area(300, 100, 40)).expect("a caption");
        assert!(caption.height() <= 100);
    }
}
