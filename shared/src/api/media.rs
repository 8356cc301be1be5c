//! Uploads and assets.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::accounts::given;
use super::compiled;
use crate::assets::MediaFacts;
use crate::catalog::Params;
use crate::ids::{AssetId, BoxId, GenerationId};

/// `POST /v1/uploads`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUpload {
    /// image/jpeg, image/png, image/webp, video/mp4, video/quicktime or video/webm.
    pub content_type: String,
    /// The exact size of the file: at most 50,000,000 for images, 100,000,000 for videos.
    #[schema(minimum = 1, maximum = 100_000_000)]
    pub bytes: u64,
    /// For the customer's own orientation; at most 200 characters. Its extension, if it has one that is known, has to fit the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// A box of the account, to put it into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub box_id: Option<String>,
    /// SHA-256 of the file, 64 hexadecimal digits: another content is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 64, max_length = 64)]
    pub sha256: Option<String>,
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
            "filename": {"type": "string", "minLength": 1, "maxLength": 200},
            "box_id": {"type": "string"},
            "sha256": {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}
        }
    }"#;
}

/// `PATCH /v1/assets/{id}`: what is left out stays, null takes away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeAsset {
    /// A box of the account.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub box_id: Option<Option<String>>,
    /// 1 to 200 characters.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub filename: Option<Option<String>>,
}

impl ChangeAsset {
    /// What it looks like, for checking it with a reason for each mistake.
    pub fn shape() -> &'static Params {
        static SHAPE: LazyLock<Params> = LazyLock::new(|| compiled(ChangeAsset::SCHEMA));
        &SHAPE
    }

    const SCHEMA: &'static str = r#"{
        "type": "object", "additionalProperties": false,
        "properties": {
            "box_id": {"type": ["string", "null"]},
            "filename": {"type": ["string", "null"], "minLength": 1, "maxLength": 200}
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
    /// `pending` until the upload is completed, then `ready`, or `failed` with an `error`; `erased` once it was deleted on request.
    pub status: AssetStatus,
    /// `uploaded`; `generated`; `derived` when it was generated from other assets, which are its `parents`.
    pub source: AssetSource,
    /// Null once it is erased.
    pub content_type: Option<String>,
    /// Null once it is erased.
    pub bytes: Option<u64>,
    pub filename: Option<String>,
    /// Null where it is not known: of an upload that is not completed, of texts, and of some results.
    pub media: Option<MediaFacts>,
    /// SHA-256 of an upload, in lower-case hexadecimal; null of results.
    pub sha256: Option<String>,
    /// The box it is in.
    #[schema(value_type = Option<String>)]
    pub box_id: Option<BoxId>,
    /// The generation that made it.
    #[schema(value_type = Option<String>)]
    pub generation_id: Option<GenerationId>,
    /// The assets that this generation was given, at most 16.
    #[schema(value_type = Vec<String>)]
    pub parents: Vec<AssetId>,
    /// Why an upload failed.
    pub error: Option<AssetError>,
    /// A link that works for a while; null while pending, when an upload's time is over, and once it is erased.
    pub url: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// An upload has to be completed before, and can be used until then; null when it is kept for good, as results are.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

/// A page of assets, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AssetList {
    /// May be fewer than asked for, or none, though a further page follows.
    pub assets: Vec<AssetView>,
    /// Give it as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// Why an upload cannot be used: the same that `POST /v1/uploads/{id}/complete` answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AssetError {
    /// A stable word.
    pub code: String,
    /// For people; may change.
    pub message: String,
}

/// Whether an asset can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AssetStatus {
    Pending,
    Ready,
    /// An upload that was not what was announced, or not completed in time.
    Failed,
    Erased,
}

/// Where an asset comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AssetSource {
    Uploaded,
    Generated,
    /// Generated from other assets.
    Derived,
}

impl AssetSource {
    /// The source of this word, as in JSON.
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "uploaded" => Some(Self::Uploaded),
            "generated" => Some(Self::Generated),
            "derived" => Some(Self::Derived),
            _ => None,
        }
    }
}
