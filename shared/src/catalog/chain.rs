//! Chains: one name behind which several models stand in for each other.

use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;

use super::manifest::MediaKind;
use super::{Model, Params};
use crate::generation::Candidate;
use crate::price::Price;
use crate::template;

/// One chain, as in `catalog/chains.json`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ChainSpec {
    /// The catalog name, without a slash.
    pub name: String,
    /// Raised with every change.
    pub version: u32,
    /// Other names for it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// One sentence for the customer.
    #[serde(default)]
    pub description: Option<String>,
    /// What all its models make.
    pub kind: MediaKind,
    /// The parameters, as a JSON Schema of an object.
    pub params: Value,
    /// What it costs, whoever makes it.
    pub price: Price,
    /// Who makes it, in order of preference.
    pub candidates: Vec<Link>,
}

/// One model of a chain.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The model's catalog name.
    pub model: String,
    /// Its parameters, as a template over the chain's.
    pub params: Value,
}

/// A chain, ready to be asked for.
#[derive(Debug)]
pub struct Chain {
    /// As in the catalog.
    pub spec: ChainSpec,
    /// Its parameters, compiled.
    pub params: Params,
    /// The models of its candidates, in their order.
    pub models: Vec<Arc<Model>>,
}

impl Chain {
    /// Who may make an order with these checked parameters. A model that cannot take them is left out.
    pub fn candidates(&self, params: &Map<String, Value>) -> Vec<Candidate> {
        let links = self.spec.candidates.iter().zip(&self.models);
        let candidates = links.filter_map(|(link, model)| {
            let own = template::render(&link.params, params).ok()??;
            let own = model.params.check("", own.as_object()?).ok()?;
            let candidate = model.candidate(&own);
            Some(Candidate { params: Some(own), ..candidate })
        });
        candidates.collect()
    }
}
