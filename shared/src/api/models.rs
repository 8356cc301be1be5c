//! What can be asked for.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::Offer;
use crate::catalog::chain::{Chain, ChainSpec};
use crate::catalog::manifest::MediaKind;
use crate::price::Price;

/// `GET /v1/models`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelList {
    pub models: Vec<ModelView>,
}

/// `GET /v1/tools`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ToolList {
    pub tools: Vec<ToolView>,
}

/// A tool: what can be asked for by what it does, whoever does it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ToolView {
    pub name: String,
    pub kind: MediaKind,
    pub description: Option<String>,
    /// A JSON Schema; `"format": "asset"` marks parameters that take an asset id.
    #[schema(value_type = Object)]
    pub params: Value,
    /// What it costs, unless `models` say otherwise of the first that can take the parameters.
    pub price: Price,
    /// Who does it, in order of preference; `model` in `POST /v1/generations` chooses one.
    pub models: Vec<ToolModelView>,
}

/// A model of a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ToolModelView {
    pub name: String,
    /// Parameters of the tool that it does not know: it is passed over when one of them is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unless: Vec<String>,
    /// What it costs; null: as the tool.
    pub price: Option<Price>,
    /// The languages that prompts may be in, as ISO 639 codes; others are translated; any when empty.
    pub languages: Vec<String>,
    /// It is taken only where no other one is set up.
    pub stand_in: bool,
}

impl From<&Chain> for ToolView {
    fn from(chain: &Chain) -> Self {
        let ChainSpec { name, kind, description, params, price, candidates, .. } = chain.spec.clone();
        let models = candidates.into_iter().zip(&chain.models);
        let models = models.map(|(link, model)| ToolModelView {
            name: link.model,
            unless: link.unless,
            price: link.price,
            languages: model.spec.languages.clone(),
            stand_in: link.stand_in,
        });
        Self { name, kind, description, params, price, models: models.collect() }
    }
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
