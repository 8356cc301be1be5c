//! Quotes, as they are asked for and given.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::compiled;
use crate::catalog::Params;
use crate::credits::Credits;

/// `POST /v1/quotes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateQuote {
    /// A model's name or alias, from `GET /v1/models`.
    pub model: String,
    /// The model's parameters, as its `params` schema says.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub params: Map<String, Value>,
}

impl CreateQuote {
    /// What it looks like, for checking it with a reason for each mistake.
    pub fn shape() -> &'static Params {
        static SHAPE: LazyLock<Params> = LazyLock::new(|| compiled(CreateQuote::SCHEMA));
        &SHAPE
    }

    const SCHEMA: &'static str = r#"{
        "type": "object", "additionalProperties": false, "required": ["model"],
        "properties": {"model": {"type": "string", "minLength": 1, "maxLength": 200}, "params": {"type": "object"}}
    }"#;
}

/// The answer to `POST /v1/quotes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CreatedQuote {
    /// Send it as `quote` with the same model and parameters to `POST /v1/generations`, as often as wished.
    pub quote: String,
    /// The catalog name of the model or chain.
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
