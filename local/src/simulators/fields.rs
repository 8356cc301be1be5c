//! Checks of a request's fields, one at a time: the first that is wrong is told.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

/// A field that is wrong, and how: `is required`, `must be one of: a, b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) field: String,
    pub(super) flaw: Flaw,
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    Missing,
    Unknown,
    Value,
}

impl Wrong {
    /// A field whose value is wrong.
    pub(super) fn new(field: &str, text: impl Into<String>) -> Self {
        Self { field: field.to_owned(), flaw: Flaw::Value, text: text.into() }
    }

    pub(super) fn required(field: &str) -> Self {
        Self { flaw: Flaw::Missing, ..Self::new(field, "is required") }
    }

    pub(super) fn unknown(field: &str) -> Self {
        Self { flaw: Flaw::Unknown, ..Self::new(field, "is not a known field") }
    }
}

/// The fields of a JSON object or of a form. A null counts as absent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    fields: Option<&'a Map<String, Value>>,
    /// Forms carry numbers as texts.
    textual: bool,
}

impl<'a> Fields<'a> {
    /// The fields of `value`, none when it is no object.
    pub(super) fn of_json(value: &'a Value) -> Self {
        Self { fields: value.as_object(), textual: false }
    }

    pub(super) fn of_form(fields: &'a Map<String, Value>) -> Self {
        Self { fields: Some(fields), textual: true }
    }

    pub(super) fn get(&self, field: &str) -> Option<&'a Value> {
        self.fields?.get(field).filter(|value| !value.is_null())
    }

    /// A text of that many characters.
    pub(super) fn text(&self, field: &str, length: RangeInclusive<usize>) -> Result<Option<&'a str>, Wrong> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let text = value.as_str().ok_or_else(|| Wrong::new(field, "must be a string"))?;
        if length.contains(&text.chars().count()) {
            return Ok(Some(text));
        }
        Err(Wrong::new(field, format!("must be a string of {} to {} characters", length.start(), length.end())))
    }

    pub(super) fn required_text(&self, field: &str, length: RangeInclusive<usize>) -> Result<&'a str, Wrong> {
        self.text(field, length)?.ok_or_else(|| Wrong::required(field))
    }

    /// One of these words.
    pub(super) fn word(&self, field: &str, words: &[&str]) -> Result<Option<&'a str>, Wrong> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        match value.as_str().filter(|word| words.contains(word)) {
            Some(word) => Ok(Some(word)),
            None => Err(Wrong::new(field, format!("must be one of: {}", words.join(", ")))),
        }
    }

    pub(super) fn whole(&self, field: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, Wrong> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let number = match value.as_str().filter(|_| self.textual) {
            Some(text) => text.parse().ok(),
            None => value.as_i64(),
        };
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Wrong::new(field, format!("must be a whole number from {} to {}", range.start(), range.end()))),
        }
    }

    pub(super) fn number(&self, field: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, Wrong> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let number = match value.as_str().filter(|_| self.textual) {
            Some(text) => text.parse().ok(),
            None => value.as_f64(),
        };
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Wrong::new(field, format!("must be a number from {} to {}", range.start(), range.end()))),
        }
    }

    pub(super) fn flag(&self, field: &str) -> Result<Option<bool>, Wrong> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let flag = match value.as_str().filter(|_| self.textual) {
            Some(text) => text.parse().ok(),
            None => value.as_bool(),
        };
        flag.map(Some).ok_or_else(|| Wrong::new(field, "must be true or false"))
    }

    /// Refuses a field that is none of these.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Wrong> {
        let stranger = self.fields.into_iter().flat_map(Map::keys).find(|name| !known.contains(&name.as_str()));
        stranger.map_or(Ok(()), |name| Err(Wrong::unknown(name)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_texts_in_forms_only() {
        let body = json!({"seed": "7", "scale": "1.5", "on": "true", "n": 7, "none": null});
        let form = Fields::of_form(body.as_object().unwrap());
        assert_eq!(form.whole("seed", 0..=9), Ok(Some(7)));
        assert_eq!(form.number("scale", 0.0..=2.0), Ok(Some(1.5)));
        assert_eq!(form.flag("on"), Ok(Some(true)));
        let object = Fields::of_json(&body);
        assert_eq!((object.whole("n", 0..=9), object.whole("none", 0..=9)), (Ok(Some(7)), Ok(None)));
        assert!(object.whole("seed", 0..=9).is_err() && object.number("scale", 0.0..=2.0).is_err() && object.flag("on").is_err());
        assert!(object.whole("n", 0..=6).is_err());
    }

    #[test]
    fn words_texts_and_strangers_are_told() {
        let body = json!({"format": "gif", "prompt": "", "extra": 1});
        let fields = Fields::of_json(&body);
        assert_eq!(fields.word("format", &["png", "webp"]), Err(Wrong::new("format", "must be one of: png, webp")));
        assert_eq!(fields.required_text("prompt", 1..=5), Err(Wrong::new("prompt", "must be a string of 1 to 5 characters")));
        assert_eq!(fields.required_text("model", 1..=5), Err(Wrong::required("model")));
        assert_eq!(fields.only(&["format", "prompt"]), Err(Wrong::unknown("extra")));
    }
}
