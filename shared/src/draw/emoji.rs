//! Which characters make one emoji: flags, keycaps, skin tones, families joined with zero-width joiners.

pub(super) const JOINER: char = '\u{200d}';
const EMOJI_STYLE: char = '\u{fe0f}';
const TEXT_STYLE: char = '\u{fe0e}';
const KEYCAP: char = '\u{20e3}';
const BLACK_FLAG: char = '🏴';
/// More than any emoji has; bounds what a joiner can pull together.
const MAX_CHARS: usize = 16;

/// How many characters at the beginning of `rest` are one emoji; 0 when there is none.
/// `is_drawn` says whether the emoji font has a character, `is_letter` whether the font of the text has it.
pub(super) fn length(rest: &[char], is_drawn: impl Fn(char) -> bool, is_letter: impl Fn(char) -> bool) -> usize {
    match rest {
        [first, second, ..] if is_regional(*first) && is_regional(*second) => return 2,
        [key, EMOJI_STYLE, KEYCAP, ..] if is_key(*key) => return 3,
        [key, KEYCAP, ..] if is_key(*key) => return 2,
        [first, next @ ..] if !first.is_ascii() && is_drawn(*first) => {
            let as_text = next.first() == Some(&TEXT_STYLE) || !(is_emoji_by_itself(*first) || is_styled(next.first()));
            if as_text && is_letter(*first) {
                return 0;
            }
        }
        _ => return 0,
    }
    let mut length = 1;
    if rest[0] == BLACK_FLAG {
        length += tags(&rest[1..]);
    }
    while length < MAX_CHARS {
        match rest.get(length..) {
            Some([next, ..]) if is_styled(Some(next)) => length += 1,
            Some([JOINER, next, ..]) if !next.is_ascii() && is_drawn(*next) && !is_styled(Some(next)) => length += 2,
            Some(_) | None => break,
        }
    }
    length
}

/// The emoji as the font has it: with the style mark on each part that asks for one, and without it on a lone character.
pub(super) fn spelled(emoji: &[char]) -> String {
    if let [only] | [only, EMOJI_STYLE] = emoji {
        return only.to_string();
    }
    let mut spelled = String::with_capacity(emoji.len() * 4);
    for (at, character) in emoji.iter().enumerate() {
        spelled.push(*character);
        let is_bare = is_key(*character) || matches!(character, '\u{2600}'..='\u{27bf}');
        if is_bare && !is_styled(emoji.get(at + 1)) {
            spelled.push(EMOJI_STYLE);
        }
    }
    spelled
}

fn is_regional(character: char) -> bool {
    matches!(character, '\u{1f1e6}'..='\u{1f1ff}')
}

fn is_key(character: char) -> bool {
    matches!(character, '0'..='9' | '#' | '*')
}

/// The mark of the emoji style, or a skin tone.
fn is_styled(next: Option<&char>) -> bool {
    matches!(next, Some(&(EMOJI_STYLE | '\u{1f3fb}'..='\u{1f3ff}')))
}

/// Shown in colour without being asked to, as messengers do; arrows, `©` and `™` are text until they are.
fn is_emoji_by_itself(character: char) -> bool {
    matches!(
        character,
        '\u{231a}' | '\u{231b}' | '\u{23e9}'..='\u{23fa}' | '\u{2600}'..='\u{27bf}' | '\u{2b1b}'..='\u{2b55}' | '\u{1f000}'..
    )
}

/// The tags after a black flag that make it Scotland's or another region's, with the one that ends them.
fn tags(rest: &[char]) -> usize {
    let tags = rest.iter().take(MAX_CHARS).take_while(|tag| matches!(tag, '\u{e0020}'..='\u{e007e}')).count();
    if tags > 0 && rest.get(tags) == Some(&'\u{e007f}') { tags + 1 } else { 0 }
}
