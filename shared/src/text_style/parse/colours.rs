//! Whose a colour is.

use super::super::Rgb;
use super::Draft;
use super::tokens::Token;
use super::words::{Noun, Term};

/// Gives each colour of the clause to the text or to the plate.
pub(super) fn read(draft: &mut Draft, clause: &[Token]) {
    let follows_noun = colours_follow_their_nouns(clause);
    for (at, token) in clause.iter().enumerate() {
        let (colour, owner) = if let Term::Colour(colour) = token.term {
            (colour, owner(clause, at, follows_noun))
        } else if let Term::Shade(towards) = token.term
            && let Some(owner) = [at + 1, at.wrapping_sub(1)].into_iter().find_map(|beside| owner_at(clause, beside))
        {
            // A dark plate is a black one; a light anything else says nothing of colours.
            (Rgb([towards; 3]), Some(owner))
        } else {
            continue;
        };
        let said = &clause[at..=at];
        match owner {
            Some(Noun::Plate) => draft.colour_of_plate(colour, said),
            Some(Noun::Outline) => {}
            Some(_) => draft.colour_of_text(colour, said),
            None if stands_on(clause, at) => draft.colour_of_plate(colour, said),
            None => draft.colour_of_text(colour, said),
        }
    }
}

/// The noun that a colour goes with: the nearest; of two equally near, the one after it.
fn owner(clause: &[Token], at: usize, follows_noun: bool) -> Option<Noun> {
    let before = (0..at).rev().find_map(|place| Some((at - place, owner_at(clause, place)?)));
    let after = (at + 1..clause.len()).find_map(|place| Some((place - at, owner_at(clause, place)?)));
    // `white on black`: what stands on a colour is not of it.
    let before = if stands_on(clause, at) { None } else { before };
    match (before, after) {
        (Some((_, noun)), _) if follows_noun => Some(noun),
        (Some((before, noun)), Some((after, _))) if before < after => Some(noun),
        (_, Some((_, noun))) | (Some((_, noun)), None) => Some(noun),
        (None, None) => None,
    }
}

fn owner_at(clause: &[Token], at: usize) -> Option<Noun> {
    let noun = super::noun(clause.get(at)?)?;
    matches!(noun, Noun::Text | Noun::Plate | Noun::Outline).then_some(noun)
}

/// `текст белый, плашка чёрная` without the comma: a noun comes first, and none after the last colour.
fn colours_follow_their_nouns(clause: &[Token]) -> bool {
    let noun = (0..clause.len()).filter(|at| owner_at(clause, *at).is_some());
    let colour = || (0..clause.len()).filter(|at| matches!(clause[*at].term, Term::Colour(_)));
    let nouns: Vec<usize> = noun.collect();
    match (nouns.first(), nouns.last(), colour().next(), colour().next_back()) {
        (Some(first_noun), Some(last_noun), Some(first), Some(last)) => *first_noun < first && *last_noun < last,
        _ => false,
    }
}

fn stands_on(clause: &[Token], at: usize) -> bool {
    at.checked_sub(1).is_some_and(|before| clause[before].term == Term::On)
}
