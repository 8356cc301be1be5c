//! Where the letters go: font size, line breaks, and the place on the photo.

use cosmic_text::{Align, Buffer, Metrics, SubpixelBin, SwashCache, SwashContent, SwashImage, Wrap};

use super::super::typesetter::{Typesetter, typesetter};
use super::AddTextError;
use super::canvas::{Canvas, Rect};
use crate::text_style::{Horizontal, Margin, Size, SizeWord, TextStyle, Vertical};

/// Nobody reads smaller letters.
const SMALLEST_FONT_PX: u16 = 12;

/// A text whose letters have their places. Its origin is the left end of the first line's baseline.
pub(super) struct Block {
    glyphs: Vec<Glyph>,
    /// What the letters cover.
    pub(super) ink: Rect,
    /// What they cover, with the height of capitals and some room below the last baseline.
    outline: Rect,
    pub(super) font_px: u16,
    #[cfg(test)]
    pub(super) rows: usize,
}

struct Glyph {
    left: i32,
    top: i32,
    image: SwashImage,
}

/// Where a block goes on the photo.
pub(super) struct Place {
    pub(super) origin: (i32, i32),
    pub(super) text: Rect,
    pub(super) plate: Option<Rect>,
}

/// Pixels kept free beside the text, and its font's padding on a plate.
#[derive(Clone, Copy)]
struct Room {
    width: u16,
    height: u16,
    padded: Option<Option<u16>>,
}

/// Finds the largest font up to the one asked for with which the text fits, and sets it.
pub(super) fn lay_out(text: &str, style: &TextStyle, photo: (u16, u16)) -> Result<Block, AddTextError> {
    let shorter = photo.0.min(photo.1);
    let wished = wished_px(style.size, shorter);
    let smallest = wished.min(SMALLEST_FONT_PX.max(shorter / 60));
    let room = room(style, photo);
    // Words for a size leave some of the photo to be seen; a number of pixels is meant as it is.
    let percents: &[u16] = match style.size {
        Size::Word(_) => &[60, 100],
        Size::Px(_) => &[100],
    };
    let mut typesetter = typesetter();
    let mut buffer = Buffer::new_empty(metrics(smallest));
    typesetter.set_text(&mut buffer, text, align(style.alignment()));
    for percent in percents {
        let room = Room { height: share(room.height, *percent), ..room };
        let broken = typesetter.largest_with_room(&mut buffer, Wrap::WordOrGlyph, room, smallest, wished);
        let Some(broken) = broken else { continue };
        // One overlong word must not make the whole text tiny: then it is broken.
        let whole = typesetter.largest_with_room(&mut buffer, Wrap::Word, room, smallest, wished);
        let font = match whole {
            Some(font) if font * 2 >= broken => {
                typesetter.balance(&mut buffer, room, font);
                font
            }
            Some(_) | None => {
                typesetter.fits(&mut buffer, Wrap::WordOrGlyph, room, broken);
                broken
            }
        };
        return typesetter.block(&buffer, font).ok_or(AddTextError::Empty);
    }
    Err(AddTextError::DoesNotFit { width: photo.0.into(), height: photo.1.into(), smallest_px: smallest })
}

/// Puts the block where the style says, inside the photo.
pub(super) fn place(block: &Block, style: &TextStyle, (width, height): (u16, u16)) -> Place {
    let (pad_x, pad_y) = padding(padded(style), block.font_px);
    let outer = block.outline.grown(pad_x.into(), pad_y.into());
    let (margin_x, margin_y) = margins(style, (width, height));
    let along = |length: i32, taken: i32, margin: u16, towards: i32| {
        let free = length - taken;
        let wished = match towards {
            -1 => i32::from(margin),
            0 => free / 2,
            _ => free - i32::from(margin),
        };
        wished.clamp(0, free.max(0))
    };
    let towards_x = match style.position.horizontal() {
        Horizontal::Left => -1,
        Horizontal::Center => 0,
        Horizontal::Right => 1,
    };
    let towards_y = match style.position.vertical() {
        Vertical::Top => -1,
        Vertical::Center => 0,
        Vertical::Bottom => 1,
    };
    let left = along(width.into(), outer.width(), margin_x, towards_x);
    let top = along(height.into(), outer.height(), margin_y, towards_y);
    let origin = (left - outer.left, top - outer.top);
    let moved = |rect: Rect| rect.moved(origin.0, origin.1);
    Place { origin, text: moved(block.ink), plate: style.plate.map(|_| moved(outer)) }
}

impl Block {
    pub(super) fn draw(&self, canvas: &mut Canvas, (x, y): (i32, i32), ink: [u8; 3]) {
        self.for_each_letter_pixel(|(left, top), coverage| canvas.cover((left + x, top + y), ink, coverage));
        for glyph in self.glyphs.iter().filter(|glyph| glyph.image.content == SwashContent::Color) {
            glyph.for_each_pixel::<4>(|(left, top), [red, green, blue, alpha]| {
                canvas.lay_over((left + x, top + y), [*red, *green, *blue], *alpha);
            });
        }
    }

    /// Calls with the place and the coverage, of 255, of each pixel of the letters; emoji are none.
    pub(super) fn for_each_letter_pixel(&self, mut call: impl FnMut((i32, i32), u8)) {
        for glyph in self.glyphs.iter().filter(|glyph| glyph.image.content == SwashContent::Mask) {
            glyph.for_each_pixel::<1>(|place, [coverage]| call(place, *coverage));
        }
    }
}

impl Glyph {
    fn bounds(&self) -> Rect {
        let size = |pixels: u32| i32::try_from(pixels).unwrap_or(0);
        let placement = self.image.placement;
        let (right, bottom) = (self.left + size(placement.width), self.top + size(placement.height));
        Rect { left: self.left, top: self.top, right, bottom }
    }

    /// Pixels that show nothing are left out.
    fn for_each_pixel<const BYTES: usize>(&self, mut call: impl FnMut((i32, i32), &[u8; BYTES])) {
        let row_bytes = (self.image.placement.width as usize * BYTES).max(1);
        for (y, row) in (self.top..).zip(self.image.data.chunks_exact(row_bytes)) {
            let (pixels, _) = row.as_chunks::<BYTES>();
            for (x, pixel) in (self.left..).zip(pixels).filter(|(_, pixel)| pixel[BYTES - 1] > 0) {
                call((x, y), pixel);
            }
        }
    }
}

impl Typesetter {
    fn largest_with_room(&mut self, buffer: &mut Buffer, wrap: Wrap, room: Room, smallest: u16, wished: u16) -> Option<u16> {
        if self.fits(buffer, wrap, room, wished) {
            return Some(wished);
        }
        let mut largest = None;
        let mut sizes = smallest..wished;
        while !sizes.is_empty() {
            let middle = u16::midpoint(sizes.start, sizes.end);
            if self.fits(buffer, wrap, room, middle) {
                largest = Some(middle);
                sizes.start = middle + 1;
            } else {
                sizes.end = middle;
            }
        }
        largest
    }

    /// Sets the text in this font and says whether it fits.
    fn fits(&mut self, buffer: &mut Buffer, wrap: Wrap, room: Room, font: u16) -> bool {
        let (pad_x, pad_y) = padding(room.padded, font);
        let (Some(width), Some(height)) = (room.width.checked_sub(2 * pad_x), room.height.checked_sub(2 * pad_y)) else {
            return false;
        };
        buffer.set_wrap(wrap);
        buffer.set_metrics_and_size(metrics(font), Some(width.into()), None);
        buffer.shape_until_scroll(&mut self.fonts, false);
        let rows = buffer.layout_runs().count();
        rows <= usize::from(height / line_height(font)) && buffer.layout_runs().all(|row| row.line_w <= f32::from(width))
    }

    /// Makes the lines about equally long: the narrowest text of as many lines.
    fn balance(&mut self, buffer: &mut Buffer, room: Room, font: u16) {
        self.fits(buffer, Wrap::Word, room, font);
        let rows = buffer.layout_runs().count();
        let mut widths = 1..room.width;
        while rows > 1 && !widths.is_empty() {
            let middle = u16::midpoint(widths.start, widths.end);
            let narrow = Room { width: middle, ..room };
            if self.fits(buffer, Wrap::Word, narrow, font) && buffer.layout_runs().count() == rows {
                widths.end = middle;
            } else {
                widths.start = middle + 1;
            }
        }
        self.fits(buffer, Wrap::Word, Room { width: widths.end.max(1), ..room }, font);
    }

    /// The glyphs of the buffer as pixels; `None` when there are none.
    fn block(&mut self, buffer: &Buffer, font_px: u16) -> Option<Block> {
        // Lives for one text: kept longer, it would collect every size of every glyph.
        let mut cache = SwashCache::new();
        let line_height = i32::from(line_height(font_px));
        let mut glyphs = Vec::new();
        let mut last_baseline = 0;
        for (baseline, row) in (0..).map(|row| row * line_height).zip(buffer.layout_runs()) {
            last_baseline = baseline;
            for glyph in row.glyphs {
                let mut place = glyph.physical((0.0, 0.0), 1.0);
                if self.is_emoji_font(glyph.font_id) {
                    // Half of its spacing before it; and the renderer of colour glyphs cuts off their edge between pixels.
                    place.x += i32::from(font_px) / 16;
                    place.cache_key.x_bin = SubpixelBin::Zero;
                }
                let Some(image) = cache.get_image_uncached(&mut self.fonts, place.cache_key) else { continue };
                if image.placement.width > 0 && image.placement.height > 0 {
                    let (left, top) = (place.x + image.placement.left, baseline + place.y - image.placement.top);
                    glyphs.push(Glyph { left, top, image });
                }
            }
        }
        let ink = glyphs.iter().map(Glyph::bounds).reduce(|one, other| Rect {
            left: one.left.min(other.left),
            top: one.top.min(other.top),
            right: one.right.max(other.right),
            bottom: one.bottom.max(other.bottom),
        })?;
        // Inter's capitals are 0.73 of the font high. A line without descenders keeps a little of their room.
        let capitals_top = -i32::from(font_px) * 73 / 100;
        let outline =
            Rect { top: ink.top.min(capitals_top), bottom: ink.bottom.max(last_baseline + i32::from(font_px) / 12), ..ink };
        Some(Block {
            glyphs,
            ink,
            outline,
            font_px,
            #[cfg(test)]
            rows: buffer.layout_runs().count(),
        })
    }
}

fn wished_px(size: Size, shorter_side: u16) -> u16 {
    let thousandths: u32 = match size {
        Size::Px(px) => return px.get(),
        Size::Word(SizeWord::Small) => 34,
        Size::Word(SizeWord::Medium) => 44,
        Size::Word(SizeWord::Normal) => 56,
        Size::Word(SizeWord::Large) => 84,
        Size::Word(SizeWord::Huge) => 130,
    };
    u16::try_from(u32::from(shorter_side) * thousandths / 1000).unwrap_or(u16::MAX).max(SMALLEST_FONT_PX)
}

/// What the margins leave for text and plate.
fn room(style: &TextStyle, photo: (u16, u16)) -> Room {
    let (margin_x, margin_y) = margins(style, photo);
    let least = least_margin(photo);
    let left_over = |length: u16, margin: u16, is_at_edge: bool| {
        length.saturating_sub(margin).saturating_sub(if is_at_edge { margin.min(least) } else { margin })
    };
    Room {
        width: left_over(photo.0, margin_x, style.position.horizontal() != Horizontal::Center),
        height: left_over(photo.1, margin_y, style.position.vertical() != Vertical::Center),
        padded: padded(style),
    }
}

/// The distance from the left or right edge, and from the top or bottom; never so large that no room is left.
fn margins(style: &TextStyle, (width, height): (u16, u16)) -> (u16, u16) {
    let is_at_side = style.position.horizontal() != Horizontal::Center;
    let is_at_end = style.position.vertical() != Vertical::Center;
    let wished = match style.margin {
        Margin::Percent(percent) => share(if is_at_end { height } else { width }, percent.get()),
        Margin::Px(px) => px.get(),
    };
    let least = least_margin((width, height));
    let (x, y) = match (is_at_side, is_at_end) {
        (true, true) | (false, false) => (wished, wished),
        (true, false) => (wished, least),
        (false, true) => (least, wished),
    };
    (x.min(share(width, 45)), y.min(share(height, 45)))
}

/// Kept free at edges that the style does not speak of.
fn least_margin((width, height): (u16, u16)) -> u16 {
    share(width.min(height), 4)
}

fn share(length: u16, percent: u16) -> u16 {
    u16::try_from(u32::from(length) * u32::from(percent) / 100).unwrap_or(u16::MAX)
}

/// Whether there is a plate, and the padding asked for.
fn padded(style: &TextStyle) -> Option<Option<u16>> {
    style.plate.map(|plate| plate.padding_px.map(|padding| padding.get()))
}

/// The plate's padding beside, and above and below the text.
fn padding(padded: Option<Option<u16>>, font: u16) -> (u16, u16) {
    match padded {
        None => (0, 0),
        Some(Some(padding)) => (padding, padding),
        Some(None) => (font * 3 / 5, font * 2 / 5),
    }
}

fn metrics(font: u16) -> Metrics {
    Metrics::new(font.into(), line_height(font).into())
}

fn line_height(font: u16) -> u16 {
    font + font.div_ceil(4)
}

fn align(horizontal: Horizontal) -> Align {
    match horizontal {
        Horizontal::Left => Align::Left,
        Horizontal::Center => Align::Center,
        Horizontal::Right => Align::Right,
    }
}
