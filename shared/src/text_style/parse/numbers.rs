//! What a number is about.

use super::super::{BlurPx, FontPx, Margin, MarginPercent, MarginPx, OpacityPercent, PaddingPx, RadiusPx, Size};
use super::Draft;
use super::tokens::Token;
use super::words::{Noun, Term};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Px,
    Percent,
    None,
}

#[derive(Clone, Copy)]
enum Feature {
    Size,
    Margin,
    Padding,
    Transparency,
    Opacity,
    Blur,
    Radius,
}

/// Gives each number of the clause to what stands next to it.
pub(super) fn read(draft: &mut Draft, clause: &[Token]) {
    let mut used = vec![false; clause.len()];
    for (at, token) in clause.iter().enumerate() {
        let Term::Number(number) = token.term else { continue };
        let unit = match clause.get(at + 1).map(|next| next.term) {
            Some(Term::Px) => Unit::Px,
            Some(Term::Percent) => Unit::Percent,
            Some(_) | None => Unit::None,
        };
        let end = at + usize::from(unit != Unit::None);
        let (feature, from) = match named(draft, clause, &mut used, at, end, unit) {
            Some((feature, place)) => (feature, place),
            None => match unnamed(clause, at, unit) {
                Some(feature) => (feature, at),
                None => continue,
            },
        };
        let said = &clause[from.min(at)..=end.max(from)];
        apply(draft, feature, number, unit, said);
    }
    if clause.iter().any(|token| matches!(token.term, Term::Number(_))) {
        draft.awaits_blur = false;
    }
}

/// The nearest noun that is not yet taken and can have such a number: before it, or else after it.
fn named(draft: &Draft, clause: &[Token], used: &mut [bool], at: usize, end: usize, unit: Unit) -> Option<(Feature, usize)> {
    if clause.get(end + 1).is_some_and(|next| next.term == Term::From) {
        return Some((Feature::Margin, end + 1));
    }
    let is_number = |place: &usize| matches!(clause[*place].term, Term::Number(_));
    let before = (0..at).rev().take_while(|place| !is_number(place));
    let after = (end + 1..clause.len()).take_while(|place| !is_number(place));
    for place in before.chain(after) {
        if used[place] {
            continue;
        }
        if let Some(feature) = feature_of(draft, clause, place).filter(|feature| can_have(*feature, unit)) {
            used[place] = true;
            return Some((feature, place));
        }
    }
    None
}

/// A number next to no noun: pixels are a size, percent go by what else is in the clause.
fn unnamed(clause: &[Token], at: usize, unit: Unit) -> Option<Feature> {
    let mentions = |wanted: fn(Term) -> bool| clause.iter().any(|token| wanted(token.term));
    match unit {
        Unit::Px => Some(Feature::Size),
        Unit::Percent if at > 0 && matches!(clause[at - 1].term, Term::Side(_)) => Some(Feature::Margin),
        Unit::Percent if mentions(|term| term == Term::Noun(Noun::Plate)) => Some(Feature::Opacity),
        Unit::Percent if mentions(|term| matches!(term, Term::Side(_))) => Some(Feature::Margin),
        Unit::Percent | Unit::None => None,
    }
}

fn feature_of(draft: &Draft, clause: &[Token], at: usize) -> Option<Feature> {
    let mentions = |wanted| clause.iter().any(|token| token.term == wanted);
    if clause[at].term == Term::Semi {
        return Some(Feature::Transparency);
    }
    if clause[at].term == Term::From {
        return Some(Feature::Margin);
    }
    match super::noun(&clause[at])? {
        Noun::Text | Noun::Size => Some(Feature::Size),
        Noun::Margin if mentions(Term::Inner) => Some(Feature::Padding),
        Noun::Margin => Some(Feature::Margin),
        Noun::Padding => Some(Feature::Padding),
        Noun::Transparency => Some(Feature::Transparency),
        Noun::Opacity => Some(Feature::Opacity),
        Noun::Blur => Some(Feature::Blur),
        Noun::Round => Some(Feature::Radius),
        Noun::Radius => {
            let beside = [at.wrapping_sub(1), at + 1].into_iter().filter_map(|place| clause.get(place));
            let of_blur = beside.into_iter().any(|token| token.term == Term::Noun(Noun::Blur));
            let of_corners = mentions(Term::Noun(Noun::Round));
            Some(if of_blur || (draft.awaits_blur && !of_corners) { Feature::Blur } else { Feature::Radius })
        }
        Noun::Plate | Noun::Outline | Noun::Colour | Noun::Align | Noun::Edge => None,
    }
}

fn can_have(feature: Feature, unit: Unit) -> bool {
    match feature {
        Feature::Margin => true,
        Feature::Transparency | Feature::Opacity => unit != Unit::Px,
        Feature::Size | Feature::Padding | Feature::Blur | Feature::Radius => unit != Unit::Percent,
    }
}

fn apply(draft: &mut Draft, feature: Feature, number: u32, unit: Unit, said: &[Token]) {
    let field = match feature {
        Feature::Size => {
            draft.style.size = Size::Px(FontPx::nearest(number));
            draft.size_in_px = true;
            "size"
        }
        Feature::Margin if unit == Unit::Percent => {
            draft.style.margin = Margin::Percent(MarginPercent::nearest(number));
            "margin_percent"
        }
        Feature::Margin => {
            draft.style.margin = Margin::Px(MarginPx::nearest(number));
            "margin_px"
        }
        Feature::Padding => {
            draft.plate.padding_px = Some(PaddingPx::nearest(number));
            "plate.padding_px"
        }
        Feature::Transparency => {
            draft.plate.opacity_percent = Some(OpacityPercent::nearest(100_u32.saturating_sub(number)));
            "plate.opacity_percent"
        }
        Feature::Opacity => {
            draft.plate.opacity_percent = Some(OpacityPercent::nearest(number));
            "plate.opacity_percent"
        }
        Feature::Blur => {
            draft.plate.blur_px = BlurPx::nearest(number);
            "plate.blur_px"
        }
        Feature::Radius => {
            draft.plate.radius_px = Some(RadiusPx::nearest(number));
            "plate.radius_px"
        }
    };
    if field.starts_with("plate.") {
        draft.wants_plate();
    }
    draft.understood(field, said);
}
