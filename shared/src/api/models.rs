//! What can be asked for.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::Model;
use crate::catalog::manifest::{MediaKind, Price};

/// `GET /v1/models`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelList {
    pub models: Vec<ModelView>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelView {
    pub name: String,
    pub provider: String,
    pub kind: MediaKind,
    pub aliases: Vec<String>,
    /// A JSON Schema; `"format": "asset"` marks parameters that take an asset id.
    #[schema(value_type = Object)]
    pub params: Value,
    pub price: Price,
}

impl From<&Model> for ModelView {
    fn from(model: &Model) -> Self {
        let spec = &model.spec;
        Self {
            name: spec.name.clone(),
            provider: model.provider.name.clone(),
            kind: spec.kind,
            aliases: spec.aliases.clone(),
            params: spec.params.clone(),
            price: spec.price.clone(),
        }
    }
}
