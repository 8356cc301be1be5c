//! Where the text stands, and how its lines are aligned.

use super::super::{Horizontal, Position, Vertical};
use super::Draft;
use super::tokens::Token;
use super::words::{Noun, Side, Term};

/// The places mentioned so far. A place beats an edge that only a distance is measured from.
#[derive(Debug, Default)]
pub(super) struct Place {
    vertical: Option<Vertical>,
    horizontal: Option<Horizontal>,
    centered: bool,
    measured_from: Vec<Side>,
}

impl Place {
    /// `None` when no place was mentioned.
    pub(super) fn position(&self) -> Option<Position> {
        let vertical = self.vertical.or_else(|| self.measured_from.iter().rev().find_map(|side| vertical(*side)));
        let horizontal = self.horizontal.or_else(|| self.measured_from.iter().rev().find_map(|side| horizontal(*side)));
        let position = match (vertical, horizontal) {
            (None, None) if !self.centered => return None,
            (vertical, horizontal) => {
                Position::new(vertical.unwrap_or(Vertical::Center), horizontal.unwrap_or(Horizontal::Center))
            }
        };
        // `20 px from the left` alone moves the text along the bottom, where it is anyway.
        let only_measured = self.vertical.is_none() && self.horizontal.is_none() && !self.centered;
        let at_bottom = only_measured && vertical.is_none();
        Some(if at_bottom { Position::new(Vertical::Bottom, position.horizontal()) } else { position })
    }
}

pub(super) fn read(draft: &mut Draft, clause: &[Token]) {
    let alignment = alignment(clause);
    if let Some((at, side)) = alignment {
        draft.style.align = horizontal(side).or(Some(Horizontal::Center));
        let align = clause.iter().position(|token| token.term == Term::Noun(Noun::Align)).unwrap_or(at);
        draft.understood("align", &clause[at.min(align)..=at.max(align)]);
    }
    for (at, token) in clause.iter().enumerate() {
        let Term::Side(side) = token.term else { continue };
        if alignment.is_some_and(|(aligned, _)| aligned == at) {
            continue;
        }
        if is_measured_from(clause, at) {
            draft.place.measured_from.push(side);
            continue;
        }
        match side {
            Side::Center => draft.place.centered = true,
            Side::Top | Side::Bottom => draft.place.vertical = vertical(side),
            Side::Left | Side::Right => draft.place.horizontal = horizontal(side),
        }
        draft.understood("position", &clause[at..=at]);
    }
}

/// The side that the word for aligning is about: right before it, or else the next after it.
fn alignment(clause: &[Token]) -> Option<(usize, Side)> {
    let align = clause.iter().position(|token| token.term == Term::Noun(Noun::Align))?;
    let side = |at: usize| {
        let Term::Side(side) = clause.get(at)?.term else { return None };
        matches!(side, Side::Left | Side::Right | Side::Center).then_some((at, side))
    };
    side(align.wrapping_sub(1)).or_else(|| (align + 1..clause.len()).find_map(side))
}

/// `от низа`, `отступ снизу`, `from the bottom`.
fn is_measured_from(clause: &[Token], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| clause[before].term);
    let two_before = at.checked_sub(2).map(|before| clause[before].term);
    let measures = |term: Option<Term>| matches!(term, Some(Term::From | Term::Noun(Noun::Margin)));
    measures(before) || (measures(two_before) && matches!(before, Some(Term::Side(_) | Term::Unknown)))
}

fn vertical(side: Side) -> Option<Vertical> {
    match side {
        Side::Top => Some(Vertical::Top),
        Side::Bottom => Some(Vertical::Bottom),
        Side::Left | Side::Right | Side::Center => None,
    }
}

fn horizontal(side: Side) -> Option<Horizontal> {
    match side {
        Side::Left => Some(Horizontal::Left),
        Side::Right => Some(Horizontal::Right),
        Side::Top | Side::Bottom | Side::Center => None,
    }
}
