//! Boxes: what assets are kept together in.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::compiled;
use crate::catalog::Params;
use crate::ids::BoxId;

/// `POST /v1/boxes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateBox {
    /// 1 to 100 characters; two boxes may have the same.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
}

/// `PATCH /v1/boxes/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameBox {
    /// 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
}

/// Both say only what it is called.
const SCHEMA: &str = r#"{
    "type": "object", "additionalProperties": false, "required": ["name"],
    "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 100}}
}"#;

static SHAPE: LazyLock<Params> = LazyLock::new(|| compiled(SCHEMA));

impl CreateBox {
    /// What it looks like, for checking it with a reason for each mistake.
    pub fn shape() -> &'static Params {
        &SHAPE
    }
}

impl RenameBox {
    /// What it looks like, for checking it with a reason for each mistake.
    pub fn shape() -> &'static Params {
        &SHAPE
    }
}

/// A box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BoxView {
    #[schema(value_type = String)]
    pub id: BoxId,
    /// `removing` while its assets are taken out or erased; then it is gone.
    pub status: BoxStatus,
    /// Null while it is being removed.
    pub name: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// Whether assets can be put into a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BoxStatus {
    Open,
    Removing,
}

/// A page of boxes, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BoxList {
    pub boxes: Vec<BoxView>,
    /// Give it as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}
