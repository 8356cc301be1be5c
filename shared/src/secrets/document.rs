//! The JSON object that a file or a secret of Secrets Manager holds.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::{Fault, MAX_DOCUMENT_BYTES, Place, SecretsError};

/// Names and values. What is not a secret of ours is left as it is. Has no Debug: it would show the values.
#[derive(Default)]
pub(super) struct Document(Map<String, Value>);

impl Document {
    /// From JSON. Blank is an empty object: that is what a file is that was only created.
    pub(super) fn parse(text: &[u8], place: &Place) -> Result<Self, SecretsError> {
        if text.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let malformed = |fault| SecretsError::Malformed { place: place.clone(), fault };
        match serde_json::from_slice(text) {
            Ok(Value::Object(values)) => Ok(Self(values)),
            Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                Err(malformed("is JSON, but not an object".to_owned()))
            }
            // Only the position: the error's text could repeat a piece of a value.
            Err(error) => Err(malformed(format!("is not JSON (line {}, column {})", error.line(), error.column()))),
        }
    }

    /// The secret of this name, unless it is absent or empty.
    pub(super) fn value(&self, name: &str, place: &Place) -> Result<Option<SecretString>, SecretsError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(value)) => Ok((!value.is_empty()).then(|| SecretString::from(value.as_str()))),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(SecretsError::BadValue { name: name.to_owned(), place: place.clone(), fault: Fault::NotText })
            }
        }
    }

    /// Adds or replaces a secret.
    pub(super) fn set(&mut self, name: &str, value: &SecretString) {
        self.0.insert(name.to_owned(), Value::String(value.expose_secret().to_owned()));
    }

    /// As JSON with a line for each secret.
    pub(super) fn text(&self, place: &Place) -> Result<String, SecretsError> {
        let text = format!("{:#}\n", Value::Object(self.0.clone()));
        if text.len() > MAX_DOCUMENT_BYTES { Err(SecretsError::Full(place.clone())) } else { Ok(text) }
    }
}
