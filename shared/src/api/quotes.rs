//! Quotes, as they are asked for and given.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{PromptSyntax, compiled};
use crate::catalog::Params;
use crate::credits::Credits;

/// `POST /v1/quotes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateQuote {
    /// As in `POST /v1/generations`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// As in `POST /v1/generations`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The model's parameters, as its `params` schema says.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub params: Map<String, Value>,
    /// As in `POST /v1/generations`.
    #[serde(default, skip_serializing_if = "PromptSyntax::is_plain")]
    pub prompt_syntax: PromptSyntax,
}

impl CreateQuote {
    /// What it looks like, for checking it with a reason for each mistake.
    pub fn shape() -> &'static Params {
        static SHAPE: LazyLock<Params> = LazyLock::new(|| compiled(CreateQuote::SCHEMA));
        &SHAPE
    }

    const SCHEMA: &'static str = r#"{
        "type": "object", "additionalProperties": false,
        "properties": {
            "model": {"type": "string", "minLength": 1, "maxLength": 200}, "tool": {"type": "string", "minLength": 1, "maxLength": 200},
            "params": {"type": "object"}, "prompt_syntax": {"type": "string", "enum": ["plain", "extended"]}
        }
    }"#;
}

/// The answer to `POST /v1/quotes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CreatedQuote {
    /// Send it as `quote` with the same model and parameters to `POST /v1/generations`, as often as wished.
    pub quote: String,
    /// The catalog name of the model, chain or tool, and with which of its models if one was asked for.
    pub model: String,
    /// The parameters, checked, with the defaults filled in.
    #[schema(value_type = Object)]
    pub params: Map<String, Value>,
    /// What each generation costs that is asked for with the quote.
    #[schema(value_type = u64)]
    pub credits: Credits,
    /// What 1, 2, … results cost, up to the number asked for; left out when the price does not depend on results.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<u64>)]
    pub price_by_results: Vec<Credits>,
    /// From then on it is refused.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}
