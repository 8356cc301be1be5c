//! Chains: one name behind which several models stand in for each other. A tool is a chain that customers ask for by what it does.

use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;

use super::manifest::MediaKind;
use super::{Model, Params};
use crate::generation::{Candidate, Finish};
use crate::price::Price;
use crate::template;

/// One chain, as in `catalog/chains.json` and `catalog/tools.json`.
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
    /// It is a tool: `GET /v1/tools` lists it.
    #[serde(default)]
    pub tool: bool,
    /// What all its models make.
    pub kind: MediaKind,
    /// The parameters, as a JSON Schema of an object.
    pub params: Value,
    /// What it costs, whoever makes it.
    pub price: Price,
    /// What every result has to be, whoever makes it.
    #[serde(default)]
    pub finish: Finish,
    /// Uploads that it was given are erased when it has ended, unless this parameter, a boolean, says otherwise.
    #[serde(default)]
    pub erase_inputs_unless: Option<String>,
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
    /// Parameters of the chain that it cannot honour: it is left out when one of them is given.
    #[serde(default)]
    pub unless: Vec<String>,
    /// What an order costs of which it is the first that can be asked; the chain's price when it is not said.
    #[serde(default)]
    pub price: Option<Price>,
    /// It is taken only where no other candidate can be asked, because none has a key: so that the chain can be tried.
    #[serde(default)]
    pub stand_in: bool,
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
    pub fn candidates(&self, params: &Map<String, Value>) -> Vec<(&Link, Candidate)> {
        let links = self.spec.candidates.iter().zip(&self.models);
        let candidates = links.filter_map(|(link, model)| {
            let own = link.params_of(model, params).ok()?;
            let candidate = model.candidate(&own);
            Some((link, Candidate { params: Some(own), ..candidate }))
        });
        candidates.collect()
    }

    /// Whether what it is given is erased at the end of an order with these checked parameters.
    pub fn erases_inputs(&self, params: &Map<String, Value>) -> bool {
        let unless = self.spec.erase_inputs_unless.as_ref();
        unless.is_some_and(|name| params.get(name) != Some(&Value::Bool(true)))
    }
}

impl Link {
    /// The model's own parameters for an order of the chain, checked; or why it cannot take it.
    pub(super) fn params_of(&self, model: &Model, params: &Map<String, Value>) -> Result<Map<String, Value>, String> {
        if let Some(given) = self.unless.iter().find(|name| params.contains_key(*name)) {
            return Err(format!("it does not know `{given}`"));
        }
        let own = template::render(&self.params, params).map_err(|error| error.to_string())?;
        let own = own.as_ref().and_then(Value::as_object).ok_or("its `params` are not an object")?;
        model.params.check("", own).map_err(|wrong| format!("`{}` {}", wrong.param, wrong.detail))
    }
}
