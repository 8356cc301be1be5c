//! Templates: which variables they use, and where.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Checked;
use super::place::Place;
use crate::template;

/// The variables of a template.
pub(super) fn names(place: &Place<'_>, template: &Value) -> Checked<BTreeSet<String>> {
    template::variables(template).map_err(|error| deepest_mistake(place, template).wrong(error.to_string()))
}

/// Refuses the first variable that `admit` does not admit, with its reason.
pub(super) fn only(place: &Place<'_>, template: &Value, admit: impl Fn(&str) -> Result<(), String>) -> Checked {
    for name in names(place, template)? {
        if let Err(reason) = admit(&name) {
            return place_of(place, template, &name).refuse(format!("uses `{{{{{name}}}}}`: {reason}"));
        }
    }
    Ok(())
}

/// Where a template uses a variable.
pub(super) fn place_of<'a>(place: &Place<'a>, template: &Value, name: &str) -> Place<'a> {
    let found = use_of(place, template, name);
    // What `$do` takes from `{{item}}` counts as a part of the list.
    let as_item = || name.match_indices('.').find_map(|(dot, _)| use_of(place, template, &format!("item{}", &name[dot..])));
    found.or_else(as_item).unwrap_or_else(|| place.clone())
}

fn use_of<'a>(place: &Place<'a>, template: &Value, name: &str) -> Option<Place<'a>> {
    if template.is_string() {
        return template::variables(template).ok()?.contains(name).then(|| place.clone());
    }
    children(place, template).into_iter().find_map(|(place, child)| use_of(&place, child, name))
}

fn deepest_mistake<'a>(place: &Place<'a>, template: &Value) -> Place<'a> {
    let wrong = children(place, template).into_iter().find(|(_, child)| template::variables(child).is_err());
    wrong.map_or_else(|| place.clone(), |(place, child)| deepest_mistake(&place, child))
}

fn children<'a, 'v>(place: &Place<'a>, value: &'v Value) -> Vec<(Place<'a>, &'v Value)> {
    match value {
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| (place.index(index), item)).collect(),
        Value::Object(fields) => fields.iter().map(|(key, field)| (place.key(key), field)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// The name of a template that is a single placeholder.
pub(super) fn lone_name(text: &str) -> Option<&str> {
    let name = text.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    is_name(name).then_some(name)
}

/// Whether a template can name it.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
}

/// Whether it can be one part of a name.
pub(super) fn is_word(text: &str) -> bool {
    is_name(text) && !text.contains('.')
}

/// The text with a harmless letter in place of each placeholder.
pub(super) fn filled_in(text: &str) -> String {
    let mut parts = text.split("{{");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push('x');
        out.push_str(part.split_once("}}").map_or("", |(_, rest)| rest));
    }
    out
}
