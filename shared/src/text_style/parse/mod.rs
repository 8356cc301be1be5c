//! Wishes in plain Russian, English or Ukrainian, read without a language model: `Крупный белый текст в центре, на чёрной плашке`.
//!
//! The wishes are cut into clauses of known words (`tokens`, `words`). What a number, a colour or a negation is about is the noun
//! it stands next to. Unknown words are passed over, and numbers out of range become the nearest in range: reading never fails.

mod colours;
mod numbers;
mod places;
mod tokens;
mod words;

use super::{Ink, OpacityPercent, Plate, RadiusPx, Rgb, Size, SizeWord, TextStyle};
pub(super) use tokens::colour_named;
use tokens::{Token, clauses};
use words::{Noun, Term};

/// A style, and what it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub style: TextStyle,
    /// What was understood, in the order of the fields; empty when nothing was.
    pub understood: Vec<Understood>,
    /// Words that mean nothing here, in lower case. A language model may know more of them.
    pub unknown: Vec<String>,
}

/// Which words set a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Understood {
    /// The field's path, as in `plate.opacity_percent`.
    pub field: &'static str,
    /// The words, in lower case.
    pub said: String,
}

/// Reads wishes; of more than 2,000 characters the beginning. What is not mentioned keeps its default.
pub fn parse(wishes: &str) -> Reading {
    let mut draft = Draft::default();
    let clauses = clauses(wishes);
    for clause in &clauses {
        draft.read_negations(clause);
        numbers::read(&mut draft, clause);
        colours::read(&mut draft, clause);
        places::read(&mut draft, clause);
        draft.read_size(clause);
        draft.read_plate(clause);
    }
    let unknown = clauses.iter().flatten().filter(|token| token.term == Term::Unknown).map(|token| token.said.clone());
    Reading { unknown: unknown.collect(), ..draft.finish() }
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Draft {
    style: TextStyle,
    plate: Plate,
    /// `Some(false)`: none is wanted, whatever else is said about it.
    wants_plate: Option<bool>,
    /// A number of pixels was given, which beats words.
    size_in_px: bool,
    place: places::Place,
    /// The last clause named a blur without saying how strong: a radius that follows is meant for it.
    awaits_blur: bool,
    understood: Vec<Understood>,
}

/// The strength of a blur that was asked for without a number, in pixels.
const BLUR_PX: u32 = 12;

impl Draft {
    fn understood(&mut self, field: &'static str, said: &[Token]) {
        let said = said.iter().map(|token| token.said.as_str()).collect::<Vec<_>>().join(" ");
        self.understood.push(Understood { field, said });
    }

    fn wants_plate(&mut self) {
        self.wants_plate.get_or_insert(true);
    }

    fn read_negations(&mut self, clause: &[Token]) {
        for (noun, said) in negated(clause) {
            match noun {
                Noun::Plate => {
                    self.wants_plate = Some(false);
                    self.understood("plate", said);
                }
                Noun::Blur => {
                    self.plate.blur_px = Default::default();
                    self.understood("plate.blur_px", said);
                }
                Noun::Round => {
                    self.plate.radius_px = Some(RadiusPx::default());
                    self.understood("plate.radius_px", said);
                }
                Noun::Transparency => {
                    self.wants_plate();
                    self.plate.opacity_percent = Some(OpacityPercent::nearest(100));
                    self.understood("plate.opacity_percent", said);
                }
                Noun::Margin => {
                    self.style.margin = super::Margin::Px(Default::default());
                    self.understood("margin_px", said);
                }
                Noun::Text
                | Noun::Outline
                | Noun::Size
                | Noun::Colour
                | Noun::Padding
                | Noun::Opacity
                | Noun::Radius
                | Noun::Align
                | Noun::Edge => {}
            }
        }
    }

    fn read_size(&mut self, clause: &[Token]) {
        for (at, token) in clause.iter().enumerate() {
            let Term::Size(word) = token.term else { continue };
            // A large plate, a small margin: not the letters' size.
            let about = clause.get(at + 1).map(|next| next.term);
            let text_is_meant = match about {
                Some(Term::Noun(noun)) => matches!(noun, Noun::Text | Noun::Size | Noun::Colour | Noun::Align),
                Some(_) | None => true,
            };
            if !text_is_meant || self.size_in_px {
                continue;
            }
            let very = at.checked_sub(1).is_some_and(|before| clause[before].term == Term::Very);
            let word = if very && word == SizeWord::Large { SizeWord::Huge } else { word };
            self.style.size = Size::Word(word);
            self.understood("size", &clause[at - usize::from(very)..=at]);
        }
    }

    /// What a clause says of the plate beside numbers and colours.
    fn read_plate(&mut self, clause: &[Token]) {
        let has_number = clause.iter().any(|token| matches!(token.term, Term::Number(_)));
        let is_negated = |noun| negated(clause).any(|(negated, _)| negated == noun);
        for (at, token) in clause.iter().enumerate() {
            let of_text = clause.get(at + 1).is_some_and(|next| next.term == Term::Noun(Noun::Text));
            let said = &clause[at..=at];
            match token.term {
                Term::Noun(Noun::Plate) if !is_negated(Noun::Plate) => {
                    self.wants_plate();
                    self.understood("plate", said);
                }
                Term::Semi | Term::Noun(Noun::Transparency) if !has_number && !of_text && !is_negated(Noun::Transparency) => {
                    self.wants_plate();
                    self.plate.opacity_percent = Some(OpacityPercent::nearest(50));
                    self.understood("plate.opacity_percent", said);
                }
                Term::Solid if !of_text => {
                    self.wants_plate();
                    self.plate.opacity_percent = Some(OpacityPercent::nearest(100));
                    self.understood("plate.opacity_percent", said);
                }
                Term::Noun(Noun::Blur) if !is_negated(Noun::Blur) => {
                    self.wants_plate();
                    if self.plate.blur_px.get() == 0 {
                        self.plate.blur_px = super::BlurPx::nearest(BLUR_PX);
                        self.awaits_blur = true;
                    }
                    self.understood("plate.blur_px", said);
                }
                Term::Sharp if clause.get(at + 1).is_some_and(|next| next.term == Term::Noun(Noun::Round)) => {
                    self.wants_plate();
                    self.plate.radius_px = Some(RadiusPx::default());
                    self.understood("plate.radius_px", &clause[at..at + 2]);
                }
                Term::Noun(Noun::Round) if token.said.contains("кругл") || token.said.starts_with("round") => {
                    self.wants_plate()
                }
                Term::Noun(_)
                | Term::Number(_)
                | Term::Px
                | Term::Percent
                | Term::Size(_)
                | Term::Very
                | Term::Colour(_)
                | Term::Shade(_)
                | Term::Side(_)
                | Term::Sharp
                | Term::Semi
                | Term::Solid
                | Term::Without
                | Term::On
                | Term::From
                | Term::Inner
                | Term::Unknown => {}
            }
        }
    }

    fn finish(mut self) -> Reading {
        if let Some(position) = self.place.position() {
            self.style.position = position;
        }
        self.style.plate = (self.wants_plate == Some(true)).then_some(self.plate);
        self.understood.sort_by_key(|finding| finding.field);
        self.understood.dedup();
        Reading { style: self.style, understood: self.understood, unknown: Vec::new() }
    }

    fn colour_of_text(&mut self, colour: Rgb, said: &[Token]) {
        self.style.color = Ink::Exactly(colour);
        self.understood("color", said);
    }

    fn colour_of_plate(&mut self, colour: Rgb, said: &[Token]) {
        self.wants_plate();
        self.plate.color = Ink::Exactly(colour);
        self.understood("plate.color", said);
    }
}

/// Nouns that the clause says are not wanted: `без скруглённых углов`, `плашка не нужна`.
fn negated(clause: &[Token]) -> impl Iterator<Item = (Noun, &[Token])> {
    let withouts = clause.iter().enumerate().filter(|(_, token)| token.term == Term::Without).map(|(at, _)| at);
    withouts.filter_map(move |at| {
        let ahead = (at + 1..clause.len()).take(3).find_map(|later| Some((noun(&clause[later])?, at..later + 1)));
        let behind = || at.checked_sub(1).and_then(|before| Some((noun(&clause[before])?, before..at + 1)));
        let (noun, range) = ahead.or_else(behind)?;
        Some((noun, &clause[range]))
    })
}

fn noun(token: &Token) -> Option<Noun> {
    if let Term::Noun(noun) = token.term { Some(noun) } else { None }
}

#[cfg(test)]
mod tests;
