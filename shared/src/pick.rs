//! Picking values out of a provider's JSON with RFC 9535 JSONPath, compiled when the manifest is loaded.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json_path::JsonPath;

/// One JSONPath.
#[derive(Debug, Clone)]
pub struct Pick(JsonPath);

impl Pick {
    /// Compiles `path`. Descendant segments (`..`) are refused: on hostile JSON they cost time without a bound.
    pub fn new(path: &str) -> Result<Self, String> {
        if path.contains("..") {
            return Err(format!("`{path}` uses `..`: name the members instead"));
        }
        JsonPath::parse(path).map(Self).map_err(|error| format!("`{path}` is not a JSONPath: {error}"))
    }

    /// Every value found.
    pub fn all<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        self.0.query(value).all()
    }

    /// The first value found that is not null.
    pub fn first<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.all(value).into_iter().find(|found| !found.is_null())
    }

    /// The first value found that is a non-empty text or a number, as text.
    pub fn text(&self, value: &Value) -> Option<String> {
        self.all(value).into_iter().find_map(|found| match found {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        })
    }
}

impl<'de> Deserialize<'de> for Pick {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
