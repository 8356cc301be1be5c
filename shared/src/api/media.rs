//! Uploads and assets.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::compiled;
use crate::catalog::Params;
use crate::ids::{AssetId, GenerationId};

/// `POST /v1/uploads`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUpload {
    /// image/jpeg, image/png, image/webp, video/mp4, video/quicktime or video/webm.
    pub content_type: String,
    /// The exact size of the file: at most 50,000,000 for images, 100,000,000 for videos.
    #[schema(minimum = 1, maximum = 100_000_000)]
    pub bytes: u64,
    /// For the customer's own orientation; at most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
}

impl CreateUpload {
    /// What it looks like, for checking it with a reason for each mistake.
    pub fn shape() -> &'static Params {
        static SHAPE: LazyLock<Params> = LazyLock::new(|| compiled(CreateUpload::SCHEMA));
        &SHAPE
    }

    /// The largest file of this kind, in bytes.
    pub fn max_bytes(&self) -> u64 {
        if self.content_type.starts_with("video/") { 100_000_000 } else { 50_000_000 }
    }

    const SCHEMA: &'static str = r#"{
        "type": "object", "additionalProperties": false, "required": ["content_type", "bytes"],
        "properties": {
            "content_type": {
                "type": "string",
                "enum": ["image/jpeg", "image/png", "image/webp", "video/mp4", "video/quicktime", "video/webm"]
            },
            "bytes": {"type": "integer", "minimum": 1, "maximum": 100000000},
            "filename": {"type": "string", "minLength": 1, "maxLength": 200}
        }
    }"#;
}

/// The answer to `POST /v1/uploads`: send the file with `method` to `url`, with exactly these headers, then complete it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CreatedUpload {
    /// The asset that the upload becomes.
    #[schema(value_type = String)]
    pub id: AssetId,
    /// `PUT`.
    pub method: String,
    pub url: String,
    #[schema(value_type = Object)]
    pub headers: Map<String, Value>,
    /// The upload has to be completed before.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// A media file of the customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AssetView {
    #[schema(value_type = String)]
    pub id: AssetId,
    /// `pending` until the upload is completed, then `ready`; `erased` once it was deleted on request.
    pub status: AssetStatus,
    /// `uploaded` or `generated`.
    pub source: AssetSource,
    /// Null once it is erased.
    pub content_type: Option<String>,
    /// Null once it is erased.
    pub bytes: Option<u64>,
    pub filename: Option<String>,
    #[schema(value_type = Option<String>)]
    pub generation_id: Option<GenerationId>,
    /// A link that works for a while; null while pending, when an upload's day is over, and once it is erased.
    pub url: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// An upload has to be completed before, and can be used until then; null for results.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

/// Whether an asset can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AssetStatus {
    Pending,
    Ready,
    Erased,
}

impl AssetStatus {
    /// The word used in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Erased => "erased",
        }
    }
}

/// Where an asset comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AssetSource {
    Uploaded,
    Generated,
}
