//! The fonts, what can be drawn with them, and a glyph's pixels.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use cosmic_text::fontdb::{Database, ID, Source};
use cosmic_text::{Align, Attrs, Buffer, Family, Font, FontSystem, Shaping, Weight};

use super::{emoji, fonts};

pub(super) const FAMILY: &str = "Inter";
const EMOJI_FAMILY: &str = "Twemoji Mozilla";
const EMOJI_SPACING_EM: f32 = 0.12;
/// More marks on one letter are no language but a heap.
const MAX_MARKS: usize = 3;
const NON_JOINER: char = '\u{200c}';

/// The fonts, parsed once for the process. Shaping needs them mutable for its caches.
pub(super) struct Typesetter {
    pub(super) fonts: FontSystem,
    letters: Vec<Arc<Font>>,
    emoji: Arc<Font>,
}

pub(super) fn typesetter() -> MutexGuard<'static, Typesetter> {
    static TYPESETTER: LazyLock<Mutex<Typesetter>> = LazyLock::new(|| Mutex::new(Typesetter::new()));
    // Only caches are behind the lock: a panic elsewhere leaves them usable.
    TYPESETTER.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Typesetter {
    fn new() -> Self {
        // A fixed locale and no system fonts: the same pixels everywhere.
        let mut system = FontSystem::new_with_locale_and_db("en-US".to_owned(), Database::new());
        let mut load = |bytes: Cow<'static, [u8]>, weight| {
            let faces = system.db_mut().load_font_source(Source::Binary(Arc::new(bytes)));
            let face = faces.first().and_then(|face| system.get_font(*face, weight));
            face.expect("the fonts are valid TrueType files, which a test checks")
        };
        let [latin, hebrew, arabic, emoji] = fonts::files().expect("they were there when the process started");
        // The order is that of falling back.
        let letters = [latin, hebrew, arabic].map(|bytes| load(bytes, Weight::SEMIBOLD)).to_vec();
        let emoji = load(emoji, Weight::NORMAL);
        Self { fonts: system, letters, emoji }
    }

    /// Keeps what the fonts can draw, line breaks, and single spaces. Invisible characters go, direction marks and overrides among
    /// them, so do marks heaped on a letter. For a visible character that the fonts lack, `replace` is asked.
    pub(super) fn drawable(&self, text: &str, mut replace: impl FnMut(char) -> Option<char>) -> String {
        let chars: Vec<char> = text.chars().collect();
        let mut known = String::with_capacity(text.len());
        let mut marks = 0;
        let mut at = 0;
        while let Some(&character) = chars.get(at) {
            let emoji = self.emoji_length(&chars[at..]);
            if emoji > 0 {
                known.push_str(&emoji::spelled(&chars[at..at + emoji]));
                at += emoji;
                marks = MAX_MARKS;
                continue;
            }
            let is_mark = is_mark(character);
            marks = if is_mark { marks + 1 } else { 0 };
            let joins_arabic = matches!(character, emoji::JOINER | NON_JOINER)
                && at.checked_sub(1).is_some_and(|before| is_arabic(chars[before]))
                && chars.get(at + 1).is_some_and(|after| is_arabic(*after));
            match character {
                '\u{85}' | '\u{2028}' | '\u{2029}' => known.push('\n'),
                _ if character.is_whitespace() || joins_arabic => known.push(character),
                _ if is_invisible(character) || (is_mark && (marks > MAX_MARKS || stands_alone(&known))) => {}
                _ if self.has_letter(character) => known.push(character),
                _ if is_mark => {}
                _ => known.extend(replace(character)),
            }
            at += 1;
        }
        collapsed(&known)
    }

    /// Puts a [`Self::drawable`] text into the buffer, letters and emoji each in their font.
    pub(super) fn set_text(&self, buffer: &mut Buffer, text: &str, align: Align) {
        let letters = Attrs::new().family(Family::Name(FAMILY)).weight(Weight::SEMIBOLD);
        // Emoji fill their whole em and would touch each other.
        let emoji = Attrs::new().family(Family::Name(EMOJI_FAMILY)).weight(Weight::NORMAL).letter_spacing(EMOJI_SPACING_EM);
        let spans = self.spans(text).into_iter().map(|(span, is_emoji)| (span, if is_emoji { &emoji } else { &letters }.clone()));
        buffer.set_rich_text(spans, &letters, Shaping::Advanced, Some(align));
    }

    pub(super) fn is_emoji_font(&self, font: ID) -> bool {
        self.emoji.id() == font
    }

    /// The text in pieces of letters and of emoji.
    fn spans<'t>(&self, text: &'t str) -> Vec<(&'t str, bool)> {
        let chars: Vec<char> = text.chars().collect();
        let mut spans: Vec<(std::ops::Range<usize>, bool)> = Vec::new();
        let (mut at, mut byte) = (0, 0);
        while at < chars.len() {
            let emoji = self.emoji_length(&chars[at..]);
            let length = emoji.max(1);
            let bytes: usize = chars[at..at + length].iter().map(|character| character.len_utf8()).sum();
            match spans.last_mut() {
                Some((range, is_emoji)) if *is_emoji == (emoji > 0) => range.end = byte + bytes,
                Some(_) | None => spans.push((byte..byte + bytes, emoji > 0)),
            }
            at += length;
            byte += bytes;
        }
        spans.into_iter().map(|(range, is_emoji)| (&text[range], is_emoji)).collect()
    }

    fn emoji_length(&self, rest: &[char]) -> usize {
        let charmap = self.emoji.as_swash().charmap();
        emoji::length(rest, |character| charmap.map(character) != 0, |character| self.has_letter(character))
    }

    fn has_letter(&self, character: char) -> bool {
        self.letters.iter().any(|font| font.as_swash().charmap().map(character) != 0)
    }
}

/// Single spaces, none at the ends of lines, and at most one empty line in a row.
fn collapsed(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for line in text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")) {
        if !(line.is_empty() && (collapsed.is_empty() || collapsed.ends_with("\n\n"))) {
            collapsed.push_str(&line);
            collapsed.push('\n');
        }
    }
    collapsed.truncate(collapsed.trim_end().len());
    collapsed
}

/// Whether a mark would have no letter to stand on.
fn stands_alone(before: &str) -> bool {
    before.chars().next_back().is_none_or(char::is_whitespace)
}

fn is_arabic(character: char) -> bool {
    matches!(character, '\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}')
}

/// Marks that combine with the letter before them, of the scripts that the fonts have.
fn is_mark(character: char) -> bool {
    matches!(
        character,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}' | '\u{5c2}' | '\u{5c4}'
            | '\u{5c5}' | '\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6dc}'
            | '\u{6df}'..='\u{6e4}' | '\u{6e7}' | '\u{6e8}' | '\u{6ea}'..='\u{6ed}' | '\u{1ab0}'..='\u{1aff}'
            | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}'
    )
}

/// Controls, and what Unicode calls default ignorable (<https://www.unicode.org/Public/UNIDATA/DerivedCoreProperties.txt>).
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{70f}' | '\u{115f}' | '\u{1160}'
                | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(text: &str) -> String {
        typesetter().drawable(text, |letter| letter.is_alphanumeric().then_some('□'))
    }

    #[test]
    fn bundled_fonts_carry_the_names_they_are_asked_by() {
        let typesetter = typesetter();
        let names: Vec<_> = typesetter.fonts.db().faces().map(|face| (face.families[0].0.clone(), face.weight)).collect();
        assert!(names.contains(&(FAMILY.to_owned(), Weight::SEMIBOLD)), "{names:?}");
        assert!(names.contains(&(EMOJI_FAMILY.to_owned(), Weight::NORMAL)), "{names:?}");
    }

    #[test]
    fn alphabets_of_cyrillic_hebrew_and_arabic_are_whole() {
        let cyrillic: String = ('Ѐ'..='џ').chain('Ґ'..='ҝ').chain('Ҡ'..='ӿ').collect();
        let hebrew: String = ('א'..='ת').collect();
        let arabic: String = ('ء'..='غ').chain('ف'..='ي').chain("پچژکگی".chars()).collect();
        for alphabet in [cyrillic, hebrew, arabic] {
            assert_eq!(typesetter().drawable(&alphabet, |letter| panic!("`{letter}` is missing")), alphabet);
        }
    }

    #[test]
    fn emoji_stay_whole() {
        for emoji in ["👩‍👩‍👧‍👦", "🇺🇦", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "👍🏽", "❤️‍🔥", "1️⃣", "🧑‍🚀", "☀", "🏳️‍🌈"]
        {
            let text = format!("a{emoji}b");
            let drawable = boxed(&text);
            assert_eq!(drawable, text);
            assert_eq!(typesetter().spans(&drawable), [("a", false), (emoji, true), ("b", false)], "{emoji}");
        }
        assert_eq!(boxed("❤‍🔥 1⃣ ☀️ ☀︎"), "❤️‍🔥 1️⃣ ☀ ☀");
    }

    #[test]
    fn text_symbols_are_not_turned_into_emoji() {
        let text = "© 2026 ™ № → 100 % #1 *";
        assert_eq!(boxed(text), text);
        assert_eq!(typesetter().spans(text), [(text, false)]);
    }

    #[test]
    fn invisible_characters_and_heaps_of_marks_are_dropped() {
        assert_eq!(boxed("\u{202e}le\u{200b}ft\u{200f} \u{feff}\u{0}\u{7}\u{2066}x\u{2069}"), "left x");
        assert_eq!(boxed(&format!("e{}", "\u{301}".repeat(500))), format!("e{}", "\u{301}".repeat(MAX_MARKS)));
        assert_eq!(boxed("\u{301}\u{301} a\u{200d}b"), "ab");
        assert_eq!(boxed("می\u{200c}خواهم"), "می\u{200c}خواهم");
    }
}
