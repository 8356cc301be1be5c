//! Chains: each name leads to models of one kind that can take what the chain takes.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::params::properties;
use super::place::Place;
use super::{Checked, models, params, price, providers, samples, templates};
use crate::catalog::chain::{ChainSpec, Link};
use crate::catalog::manifest::MediaKind;
use crate::catalog::{Model, Params};
use crate::generation::Finish;
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
    for (index, link) in spec.candidates.iter().enumerate() {
        let at = top.key("candidates").index(index);
        for (index, name) in link.unless.iter().enumerate() {
            if own.is_none_or(|own| !own.contains_key(name)) || models::is_certain(&spec.params, name) {
                let at = at.key("unless").index(index);
                return at.refuse(format!("`{name}` has to be a parameter of the chain that may be left out"));
            }
        }
        if let Some(price) = &link.price {
            price::price(&at.key("price"), price, &spec.params)?;
        }
    }
    finish(&top.key("finish"), spec)?;
    if let Some(name) = &spec.erase_inputs_unless {
        let is_boolean =
            |own: &Map<String, Value>| own.get(name).and_then(|param| param.get("type")) == Some(&Value::from("boolean"));
        if !own.is_some_and(is_boolean) {
            return top.key("erase_inputs_unless").refuse(format!("`{name}` has to be a parameter of the type `boolean`"));
        }
    }
    if spec.candidates.iter().all(|link| link.stand_in) && spec.candidates.len() > 1 {
        return top.key("candidates").refuse("are stand-ins only: somebody has to be stood in for");
    }
    for param in own.into_iter().flat_map(Map::keys) {
        let uses = |link: &Link| template::variables(&link.params).is_ok_and(|names| names.contains(param));
        if spec.erase_inputs_unless.as_ref() != Some(param) && !spec.candidates.iter().any(uses) {
            return top
                .key("params.properties")
                .key(param)
                .refuse("is given to no candidate: use it in their `params`, or leave it out");
        }
    }
    Ok(())
}

/// What its results have to be.
fn finish(at: &Place<'_>, spec: &ChainSpec) -> Checked {
    let Finish { image_format, min_chars, schema } = &spec.finish;
    if image_format.is_some() && spec.kind != MediaKind::Image {
        return at.key("image_format").refuse("is for images only: leave it out");
    }
    if min_chars.is_some() && spec.kind != MediaKind::Text {
        return at.key("min_chars").refuse("is for texts only: leave it out");
    }
    match schema {
        Some(_) if spec.kind != MediaKind::Json => at.key("schema").refuse("is for JSON only: leave it out"),
        Some(schema) => match jsonschema::options().build(schema) {
            Ok(_) => Ok(()),
            Err(error) => at.key("schema").refuse(format!("is not a JSON Schema: {error}")),
        },
        None => Ok(()),
    }
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
            match link.params_of(model, sample) {
                Ok(_) => {
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
