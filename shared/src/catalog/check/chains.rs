//! Chains: each name leads to models of one kind that can take what the chain takes.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::params::properties;
use super::place::Place;
use super::{Checked, models, params, price, providers, samples, templates};
use crate::catalog::chain::{ChainSpec, Link};
use crate::catalog::{Model, Params};
use crate::template;

/// What can be said without knowing the models.
pub(super) fn alone(top: &Place<'_>, spec: &ChainSpec) -> Checked {
    models::names(top, &spec.name, &spec.aliases)?;
    if spec.name.contains('/') {
        return top.key("name").refuse(format!("`{}` has a slash, as models have: choose a name without", spec.name));
    }
    providers::version(&top.key("version"), spec.version)?;
    params::schema(&top.key("params"), &spec.params)?;
    price::price(&top.key("price"), &spec.price, &spec.params)?;
    if spec.candidates.is_empty() {
        return top.key("candidates").refuse("is empty: a chain needs at least one model");
    }
    let own = properties(&spec.params);
    for (index, link) in spec.candidates.iter().enumerate() {
        let at = top.key("candidates").index(index).key("params");
        if !link.params.is_object() {
            return at.refuse("has to be an object: the model's parameters");
        }
        templates::only(&at, &link.params, |name| match own.is_some_and(|own| own.contains_key(name)) {
            true => Ok(()),
            false => {
                let known = own.into_iter().flat_map(Map::keys).map(String::as_str).collect::<Vec<_>>().join("`, `");
                Err(format!("the chain has no such parameter; it has `{known}`"))
            }
        })?;
    }
    for param in own.into_iter().flat_map(Map::keys) {
        let uses = |link: &Link| template::variables(&link.params).is_ok_and(|names| names.contains(param));
        if !spec.candidates.iter().any(uses) {
            return top
                .key("params.properties")
                .key(param)
                .refuse("is given to no candidate: use it in their `params`, or leave it out");
        }
    }
    Ok(())
}

/// Every order that the chain takes has a model that can make it, and every model can make some.
pub(super) fn with_models(top: &Place<'_>, spec: &ChainSpec, models: &[Arc<Model>]) -> Checked {
    let candidates = top.key("candidates");
    for (index, model) in models.iter().enumerate() {
        if model.spec.kind != spec.kind {
            let reason = format!("`{}` makes something else than the chain: both need the same `kind`", model.spec.name);
            return candidates.index(index).key("model").refuse(reason);
        }
    }
    let samples = checked_samples(top, spec)?;
    let links: Vec<(&Link, &Model)> = spec.candidates.iter().zip(models.iter().map(AsRef::as_ref)).collect();
    let mut misfits: Vec<Option<String>> = vec![None; links.len()];
    let mut fits = vec![false; links.len()];
    for sample in &samples {
        let mut some_fit = false;
        for (index, (link, model)) in links.iter().enumerate() {
            match own_params(link, model, sample) {
                Ok(()) => {
                    fits[index] = true;
                    some_fit = true;
                }
                Err(reason) => misfits[index] = Some(reason),
            }
        }
        if !some_fit {
            let reasons = links
                .iter()
                .zip(&misfits)
                .filter_map(|((link, _), reason)| Some(format!("`{}`: {}", link.model, reason.as_ref()?)));
            let reasons = reasons.collect::<Vec<_>>().join("; ");
            return candidates.refuse(format!("no candidate can take {}, which the chain takes: {reasons}", told(sample)));
        }
    }
    match fits.iter().position(|fits| !fits) {
        Some(index) => {
            let reason = misfits[index].take().unwrap_or_default();
            candidates.index(index).key("params").refuse(format!("never fits `{}`: {reason}", links[index].0.model))
        }
        None => Ok(()),
    }
}

fn own_params(link: &Link, model: &Model, sample: &Map<String, Value>) -> Result<(), String> {
    let own = template::render(&link.params, sample).map_err(|error| error.to_string())?;
    let own = own.as_ref().and_then(Value::as_object).ok_or("its `params` are not an object")?;
    model.params.check("", own).map(|_| ()).map_err(|wrong| format!("`{}` {}", wrong.param, wrong.detail))
}

fn checked_samples(top: &Place<'_>, spec: &ChainSpec) -> Checked<Vec<Map<String, Value>>> {
    let at = top.key("params");
    let params = Params::compile(&spec.params).map_err(|reason| at.wrong(reason))?;
    let unchecked = samples::unchecked(&spec.params);
    if let Some(Err(wrong)) = unchecked.first().map(|least| params.check("", least)) {
        return at.key("properties").key(&wrong.param).refuse(format!(
            "no value to try the chain with can be made from this: {}; give it a `default` or `examples`",
            wrong.detail
        ));
    }
    Ok(unchecked.iter().filter_map(|sample| params.check("", sample).ok()).collect())
}

/// A sample as it is told: short.
fn told(sample: &Map<String, Value>) -> String {
    const MOST: usize = 200;
    let text = Value::Object(sample.clone()).to_string();
    if text.chars().count() <= MOST {
        format!("`{text}`")
    } else {
        format!("`{}…`", text.chars().take(MOST).collect::<String>())
    }
}
