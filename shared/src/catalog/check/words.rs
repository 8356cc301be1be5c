//! Status words, HTTP statuses and codes: each means one thing.

use std::collections::BTreeMap;

use super::Checked;
use super::place::Place;
use super::templates;
use crate::catalog::rules::{Envelope, Words};

/// The words of polls.
pub(super) fn of_polls(place: &Place<'_>, words: &Words) -> Checked {
    if words.succeeded.is_empty() && words.http.succeeded.is_empty() {
        let reason = "is empty, so no job could ever succeed: name the word of success, or its HTTP status in `http.succeeded`";
        return place.key("succeeded").refuse(reason);
    }
    each_once(place, words)?;
    let http = &words.http;
    let lists = [("running", &http.running), ("failed", &http.failed), ("succeeded", &http.succeeded)];
    let mut seen: BTreeMap<u16, &str> = BTreeMap::new();
    for (list, statuses) in lists {
        for (index, status) in statuses.iter().enumerate() {
            let at = place.key("http").key(list).index(index);
            http_status(&at, *status)?;
            if let Some(other) = seen.insert(*status, list) {
                return at.refuse(format!("`{status}` is in `{other}` too, which goes first: keep it once"));
            }
        }
    }
    Ok(())
}

/// The words of callbacks.
pub(super) fn of_callbacks(place: &Place<'_>, words: &Words) -> Checked {
    let http = &words.http;
    if !(http.running.is_empty() && http.failed.is_empty() && http.succeeded.is_empty()) {
        return place.key("http").refuse("a callback has no HTTP status: leave it out");
    }
    each_once(place, words)
}

fn each_once(place: &Place<'_>, words: &Words) -> Checked {
    let lists =
        [("running", &words.running), ("succeeded", &words.succeeded), ("failed", &words.failed), ("canceled", &words.canceled)];
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (list, own) in lists {
        for (index, word) in own.iter().enumerate() {
            let at = place.key(list).index(index);
            if words.pick.is_none() {
                return at.refuse(format!("`{word}` is never seen: say in `pick` where the word is"));
            }
            if word.is_empty() {
                return at.refuse("an empty text is no word: leave it out");
            }
            let known_as = if words.ignore_case { word.to_ascii_lowercase() } else { word.clone() };
            if let Some(other) = seen.insert(known_as, list) {
                return at.refuse(format!("`{word}` is in `{other}` already and can mean one thing only: keep it once"));
            }
        }
    }
    facts(&place.key("facts"), words.facts.keys())
}

/// Names of facts that templates use as `{{job.<name>}}`.
pub(super) fn facts<'f>(place: &Place<'_>, names: impl Iterator<Item = &'f String>) -> Checked {
    for name in names {
        if name == "id" {
            return place.key(name).refuse("`{{job.id}}` is the job's own id: choose another name");
        }
        if !templates::is_word(name) {
            return place.key(name).refuse(format!("`{name}` cannot be named in a template: use letters, digits and `_`"));
        }
    }
    Ok(())
}

/// The codes of errors inside answers of success.
pub(super) fn envelope(place: &Place<'_>, envelope: &Envelope) -> Checked {
    if envelope.ok.is_empty() {
        return place.key("ok").refuse("is empty, so every answer would be an error: name the code of success");
    }
    match envelope.unsure.iter().enumerate().find(|(_, code)| envelope.ok.contains(code)) {
        Some((index, code)) => {
            place.key("unsure").index(index).refuse(format!("`{code}` is in `ok` already: keep it in one list"))
        }
        None => Ok(()),
    }
}

pub(super) fn http_status(place: &Place<'_>, status: u16) -> Checked {
    if (100..=599).contains(&status) {
        Ok(())
    } else {
        place.refuse(format!("`{status}` is not an HTTP status: give 100 to 599"))
    }
}
