//! Media parameters: what they take, and how they travel.

use serde_json::Value;

use super::Checked;
use super::apis::Need;
use super::calls::Slot;
use super::place::Place;
use crate::catalog::calls::Upload;

/// What a media parameter can be in a template.
const PARTS: [&str; 9] = ["url", "data_uri", "url_or_data_uri", "base64", "file", "uploaded", "content_type", "name", "bytes"];
/// What a media parameter says of its files.
const FACTS: [&str; 4] = ["x-content-types", "x-max-bytes", "x-compress-over-bytes", "x-send-as"];
/// What an image can be converted to.
const SEND_AS: [&str; 2] = ["image/png", "image/jpeg"];
/// Those that need the file's bytes, which an uploaded file does not have any more.
const PARTS_WITH_BYTES: [&str; 3] = ["data_uri", "base64", "file"];
/// Those that name an uploaded file.
const PARTS_OF_UPLOADED: [&str; 3] = ["uploaded", "url", "url_or_data_uri"];

fn is_asset(value: &Value) -> bool {
    value.get("format") == Some(&Value::from("asset"))
}

/// Whether a parameter is a media file or a list of them.
pub(super) fn is_media(property: &Value) -> bool {
    is_asset(property) || property.get("items").is_some_and(is_asset)
}

/// A parameter's own facts about media.
pub(super) fn parameter(place: &Place<'_>, property: &Value) -> Checked {
    if is_asset(property) {
        return one(place, property);
    }
    if let Some(items) = property.get("items").filter(|items| is_asset(items)) {
        if property.get("type") != Some(&Value::from("array")) {
            return place.key("type").refuse("has to be `\"array\"`: it has `items`");
        }
        one(&place.key("items"), items)?;
        return facts(place, property);
    }
    for name in FACTS {
        if property.get(name).is_some() {
            return place.key(name).refuse("is for media only: add `\"format\": \"asset\"`, or leave it out");
        }
    }
    match hidden_asset(place, property) {
        Some(hidden) => hidden.refuse("media are found as parameters or as the `items` of one only: move it up"),
        None => Ok(()),
    }
}

fn one(place: &Place<'_>, property: &Value) -> Checked {
    if property.get("type") != Some(&Value::from("string")) {
        return place.key("type").refuse("has to be `\"string\"`: media are named by their asset ids");
    }
    facts(place, property)
}

fn facts(place: &Place<'_>, property: &Value) -> Checked {
    if let Some(types) = property.get("x-content-types") {
        let at = place.key("x-content-types");
        let Some(types) = types.as_array().filter(|types| !types.is_empty()) else {
            return at.refuse("has to be a list of content types, such as `[\"image/png\"]`");
        };
        for (index, content_type) in types.iter().enumerate() {
            let parts = content_type.as_str().and_then(|text| text.split_once('/'));
            let word = |part: &str| {
                !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-+.".contains(&b))
            };
            if !parts.is_some_and(|(kind, own)| word(kind) && word(own)) {
                return at.index(index).refuse(format!("`{content_type}` is not a content type: write it as `image/png`"));
            }
        }
    }
    for name in ["x-max-bytes", "x-compress-over-bytes"] {
        if let Some(bytes) = property.get(name).filter(|bytes| bytes.as_u64().is_none_or(|bytes| bytes == 0)) {
            return place.key(name).refuse(format!("`{bytes}` is not a size: give a whole number of bytes, 1 or more"));
        }
    }
    let Some(types) = property.get("x-send-as") else { return Ok(()) };
    let known = |word: &Value| word.as_str().is_some_and(|word| SEND_AS.contains(&word));
    match types.as_array().filter(|types| !types.is_empty() && types.iter().all(known)) {
        Some(_) => Ok(()),
        None => place.key("x-send-as").refuse(format!("has to be a list of `{}`", SEND_AS.join("` or `"))),
    }
}

fn hidden_asset<'a>(place: &Place<'a>, value: &Value) -> Option<Place<'a>> {
    if is_asset(value) {
        return Some(place.key("format"));
    }
    match value {
        Value::Object(fields) => fields.iter().find_map(|(key, field)| hidden_asset(&place.key(key), field)),
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| hidden_asset(&place.index(index), item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Whether the input template may use this part of a media parameter.
pub(super) fn part(param: &str, part: Option<&str>, has_upload: bool, input_slots: &[Slot]) -> Result<(), String> {
    match part {
        Some("uploaded") if !has_upload => Err("its API has no `upload`: use another part, such as `url`".to_owned()),
        Some("file") if input_slots.contains(&Slot::Body) => {
            Err("a file cannot stand in a JSON body: use `base64` or `data_uri`, or let the API submit a `form`".to_owned())
        }
        Some(part) if PARTS.contains(&part) => Ok(()),
        Some(_) | None => {
            Err(format!("`{param}` is media; say how it travels: `{param}.{}`", PARTS.join(&format!("`, `{param}."))))
        }
    }
}

/// A file that is uploaded does not also travel inside the request: the template has to name it.
pub(super) fn survives_upload(place: &Place<'_>, param: &str, property: &Value, upload: &Upload, names: &[&str]) -> Checked {
    let uses = |parts: &[&str]| names.iter().any(|name| parts.contains(name));
    let stated = property.get("x-max-bytes").or_else(|| property.get("items")?.get("x-max-bytes"));
    let never_uploaded = stated.and_then(Value::as_u64).is_some_and(|most| most <= upload.over_bytes);
    if never_uploaded || !uses(&PARTS_WITH_BYTES) || uses(&PARTS_OF_UPLOADED) {
        return Ok(());
    }
    place.refuse(format!(
        "sends the bytes of `{param}` only, but files of more than {} bytes are uploaded and have none then: use `{{{{{param}.uploaded}}}}` too",
        upload.over_bytes
    ))
}

/// Where the API puts the model's input.
pub(super) fn input_slots(needs: &[Need]) -> Vec<Slot> {
    needs.iter().filter(|need| need.name == "input").map(|need| need.slot).collect()
}
