//! What can be asked for.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::Offer;
use crate::catalog::manifest::MediaKind;
use crate::price::Price;

/// `GET /v1/models`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelList {
    pub models: Vec<ModelView>,
}

/// One model, or a chain of models that stand in for each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelView {
    pub name: String,
    /// Its provider; of a chain, the first model's.
    pub provider: String,
    pub kind: MediaKind,
    pub aliases: Vec<String>,
    pub description: Option<String>,
    /// A JSON Schema; `"format": "asset"` marks parameters that take an asset id.
    #[schema(value_type = Object)]
    pub params: Value,
    pub price: Price,
    /// The languages that prompts may be in, as ISO 639 codes; any when empty.
    pub languages: Vec<String>,
    /// Of a chain: its models, in order of preference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
}

impl From<&Offer> for ModelView {
    fn from(offer: &Offer) -> Self {
        match offer {
            Offer::Model(model) => {
                let spec = &model.spec;
                Self {
                    name: spec.name.clone(),
                    provider: model.provider.name.clone(),
                    kind: spec.kind,
                    aliases: spec.aliases.clone(),
                    description: spec.description.clone(),
                    params: spec.params.clone(),
                    price: spec.price.clone(),
                    languages: spec.languages.clone(),
                    chain: Vec::new(),
                }
            }
            Offer::Chain(chain) => {
                let spec = &chain.spec;
                Self {
                    name: spec.name.clone(),
                    provider: chain.models.first().map(|model| model.provider.name.clone()).unwrap_or_default(),
                    kind: spec.kind,
                    aliases: spec.aliases.clone(),
                    description: spec.description.clone(),
                    params: spec.params.clone(),
                    price: spec.price.clone(),
                    languages: Vec::new(),
                    chain: spec.candidates.iter().map(|link| link.model.clone()).collect(),
                }
            }
        }
    }
}
