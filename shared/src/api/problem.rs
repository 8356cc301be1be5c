//! Errors as the API tells them: RFC 9457 problem details.

use serde::{Deserialize, Serialize};

use crate::catalog::InvalidParam;

/// One error. `code` is for programs and stable; `detail` is for people and may change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// `urn:darkroom:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every error with this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong this time, and what to do.
    pub detail: String,
    /// A stable word.
    pub code: String,
    /// Which part of the request is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    /// Names the request in the logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Seconds until it is worth trying again; sent as `Retry-After` too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

impl Problem {
    /// The media type of a problem.
    pub const CONTENT_TYPE: &'static str = "application/problem+json";

    /// An error without a place in the request.
    pub fn new(status: u16, code: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:darkroom:problem:{code}"),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            code: code.to_owned(),
            param: None,
            request_id: None,
            retry_after: None,
        }
    }

    /// Names the part of the request that is meant.
    pub fn at(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Says when to try again.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Nothing of this name that the caller may see.
    pub fn not_found(what: &str, id: &str) -> Self {
        let id: String = id.chars().take(80).collect();
        Self::new(404, "not_found", "Not found", format!("there is no {what} `{id}`"))
    }

    /// A fault of ours; its cause is in the log, not here.
    pub fn internal() -> Self {
        Self::new(
            500,
            "internal",
            "Internal error",
            "something went wrong on our side; ask again with the same `Idempotency-Key`, and nothing is done twice",
        )
    }

    /// A store or queue that does not answer.
    pub fn unavailable() -> Self {
        let detail =
            "a part of the service does not answer; ask again with the same `Idempotency-Key`, and nothing is done twice";
        Self::new(503, "unavailable", "Service unavailable", detail).retry_after(2)
    }
}

impl From<InvalidParam> for Problem {
    fn from(invalid: InvalidParam) -> Self {
        Self::new(422, invalid.code, "Invalid parameter", invalid.detail).at(invalid.param)
    }
}
