//! Where the results are: at least one rule that can find something, and none that cannot.

use super::Checked;
use super::place::Place;
use crate::catalog::manifest::{Api, MediaKind};
use crate::catalog::rules::ResultRules;

pub(super) fn rules(place: &Place<'_>, rules: &ResultRules) -> Checked {
    let lists = [("links", rules.links.is_empty()), ("base64", rules.base64.is_empty()), ("text", rules.text.is_empty())];
    let given = lists.iter().find(|(_, is_empty)| !is_empty);
    match (given, rules.body) {
        (None, false) => place.refuse("finds nothing: give `links`, `base64` or `text` picks, or `\"body\": true`"),
        (Some((name, _)), true) => {
            place.key(name).refuse("is never looked at: with `\"body\": true` the answer is the file itself")
        }
        (Some(_), false) | (None, true) if rules.links_need_key && rules.links.is_empty() => {
            place.key("links_need_key").refuse("there are no `links` that could need it: leave it out")
        }
        (Some(_), false) | (None, true) => Ok(()),
    }
}

/// Whether an API can bring what a model makes.
pub(super) fn brings(place: &Place<'_>, api: &Api, kind: MediaKind) -> Checked {
    let rules = &api.result;
    let (fits, needs) = match kind {
        MediaKind::Text | MediaKind::Json => (!rules.text.is_empty(), "`text`"),
        MediaKind::Image | MediaKind::Video => {
            (rules.body || !rules.links.is_empty() || !rules.base64.is_empty(), "`links`, `base64` or `body`")
        }
    };
    if fits {
        return Ok(());
    }
    place.key("kind").refuse(format!(
        "the `result` of its API has no {needs}, so nothing of this kind is ever found: add it, or use another API"
    ))
}
