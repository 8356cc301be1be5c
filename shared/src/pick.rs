//! Picking values out of a provider's JSON with RFC 9535 JSONPath, compiled when the manifest is loaded.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json_path::JsonPath;

/// One JSONPath; or several joined by ` >> `, each but the first applied to the JSON inside the texts that the one before found.
#[derive(Debug, Clone)]
pub struct Pick {
    first: JsonPath,
    inside: Vec<JsonPath>,
    text: String,
}

impl Pick {
    /// Compiles `text`. Descendant segments (`..`) are refused: on hostile JSON they cost time without a bound.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.contains("..") {
            return Err(format!("`{text}` uses `..`: name the members instead"));
        }
        let compile = |path: &str| JsonPath::parse(path.trim()).map_err(|error| format!("`{path}` is not a JSONPath: {error}"));
        let mut stages = text.split(" >> ");
        let first = compile(stages.next().unwrap_or_default())?;
        Ok(Self { first, inside: stages.map(compile).collect::<Result<_, _>>()?, text: text.to_owned() })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Every value found.
    pub fn all<'a>(&self, value: &'a Value) -> Vec<Cow<'a, Value>> {
        let mut found: Vec<Cow<'a, Value>> = self.first.query(value).all().into_iter().map(Cow::Borrowed).collect();
        for path in &self.inside {
            let texts = found.iter().filter_map(|text| serde_json::from_str::<Value>(text.as_str()?).ok());
            let owned = |value: Value| path.query(&value).all().into_iter().cloned().map(Cow::Owned).collect::<Vec<_>>();
            found = texts.flat_map(owned).collect();
        }
        found
    }

    /// The first value found that is not null.
    pub fn first<'a>(&self, value: &'a Value) -> Option<Cow<'a, Value>> {
        self.all(value).into_iter().find(|found| !found.is_null())
    }

    /// The first value found that is a non-empty text or a number, as text.
    pub fn text(&self, value: &Value) -> Option<String> {
        self.all(value).into_iter().find_map(|found| plain_text(&found).filter(|text| !text.is_empty()))
    }
}

/// A text or a number as text.
pub fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

impl<'de> Deserialize<'de> for Pick {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Pick {
    fn schema_name() -> Cow<'static, str> {
        "Pick".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^\\$",
            "description": "A JSONPath (RFC 9535) without `..`. ` >> ` continues inside JSON that is given as text.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_inside_a_text_can_be_looked_into() {
        let body = json!({"data": {"resultJson": "{\"urls\": [\"a\", \"b\"]}", "empty": ""}});
        let pick = Pick::new("$.data.resultJson >> $.urls[*]").expect("compiles");
        assert_eq!(pick.all(&body).into_iter().map(Cow::into_owned).collect::<Vec<_>>(), [json!("a"), json!("b")]);
        assert!(Pick::new("$.data.empty >> $.urls[*]").expect("compiles").all(&body).is_empty());
        assert!(Pick::new("$..x").is_err());
        assert!(Pick::new("$.a >> nonsense").is_err());
    }
}
