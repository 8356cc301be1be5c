//! `Idempotency-Key`: the same request with the same key is done once and answered the same.
//!
//! What a request does and the record of its key are written in one transaction: there is no moment at which one is there without the
//! other, and a request that runs beside its twin loses to it and gets its answer.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lambda_http::Request;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::Problem;
use crate::ids::AccountId;
use crate::signature::fingerprint;

/// How long a key is remembered.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// A request's claim on its key.
#[derive(Debug, Clone)]
pub struct IdempotencyClaim {
    /// Whose key it is.
    pub account: AccountId,
    /// A fingerprint of the key.
    pub key_hash: String,
    /// A fingerprint of the request.
    pub payload: String,
    /// How long the key is remembered.
    pub keep: Duration,
}

/// What is remembered of a request with a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    /// A fingerprint of the request.
    pub payload: String,
    /// The id of what it made.
    pub made: String,
    /// The first answer, without what is told only once.
    pub answer: Value,
    pub created_at: Timestamp,
    /// After this the key is free again.
    pub expires_at: Timestamp,
}

/// What a key says about a request that was seen before.
#[derive(Debug, Clone, PartialEq)]
pub enum Earlier {
    /// It was this request.
    Same(IdempotencyRecord),
    /// It was another one.
    Other,
}

impl IdempotencyClaim {
    /// The claim of a request, if it has a key; `body` is what was understood of it.
    pub fn of(request: &Request, account: AccountId, body: &Value) -> Result<Option<Self>, Problem> {
        let Some(value) = request.headers().get("idempotency-key") else { return Ok(None) };
        let key = value.to_str().ok().map(str::trim).filter(|key| (1..=255).contains(&key.len())).ok_or_else(|| {
            let detail = "an `Idempotency-Key` has 1 to 255 printable ASCII characters";
            Problem::new(422, "invalid_param", "Invalid parameter", detail).at("Idempotency-Key")
        })?;
        let request = json!([request.method().as_str(), request.uri().path(), body]);
        Ok(Some(Self {
            account,
            key_hash: fingerprint(key.as_bytes()),
            payload: fingerprint(canonical(&request).as_bytes()),
            keep: KEPT_FOR,
        }))
    }

    /// The same claim among those of operators: the keys of an account's own requests are others.
    pub fn by_hand(self) -> Self {
        Self { key_hash: fingerprint(format!("by hand {}", self.key_hash).as_bytes()), ..self }
    }

    /// What is to be remembered.
    pub fn record(&self, made: impl ToString, answer: Value, now: Timestamp) -> IdempotencyRecord {
        IdempotencyRecord {
            payload: self.payload.clone(),
            made: made.to_string(),
            answer,
            created_at: now,
            expires_at: now + SignedDuration::try_from(self.keep).unwrap_or(SignedDuration::MAX),
        }
    }
}

/// The refusal of a key that was used with another request.
pub fn key_reused() -> Problem {
    let detail = "this `Idempotency-Key` was used with another request: use a new key for a new request";
    Problem::new(422, "idempotency_key_reused", "Idempotency key reused", detail).at("Idempotency-Key")
}

/// The same text for the same JSON, whatever the order of its members.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut members: Vec<String> =
                fields.iter().map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical(value))).collect();
            members.sort();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_members_does_not_matter() {
        let one: Value = serde_json::from_str(r#"{"a": {"x": 1, "y": [1, {"p": 2, "q": 3}]}, "b": "t"}"#).expect("JSON");
        let other: Value = serde_json::from_str(r#"{"b": "t", "a": {"y": [1, {"q": 3, "p": 2}], "x": 1}}"#).expect("JSON");
        assert_eq!(canonical(&one), canonical(&other));
        let third: Value = serde_json::from_str(r#"{"b": "t", "a": {"y": [{"q": 3, "p": 2}, 1], "x": 1}}"#).expect("JSON");
        assert_ne!(canonical(&one), canonical(&third));
    }
}
