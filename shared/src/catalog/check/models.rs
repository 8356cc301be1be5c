//! A model: its names, its parameters, and what it gives the requests of its API.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::apis::Need;
use super::calls::Slot;
use super::params::properties;
use super::place::Place;
use super::{Checked, apis, media, params, price, results, samples, templates};
use crate::catalog::manifest::{Api, HttpProvider, Manifest, ModelSpec, Operation};
use crate::template;

/// It is a key of the table, together with other things.
const MAX_NAME_CHARS: usize = 200;

pub(super) fn model(place: &Place<'_>, provider: &Manifest, spec: &ModelSpec) -> Checked {
    let own = &provider.name;
    if spec.name != *own && !spec.name.starts_with(&format!("{own}/")) {
        return place
            .key("name")
            .refuse(format!("`{}` is no name for a model of this provider: it is `{own}` or starts with `{own}/`", spec.name));
    }
    names(place, &spec.name, &spec.aliases)?;
    for (index, language) in spec.languages.iter().enumerate() {
        if !(2..=3).contains(&language.len()) || !language.bytes().all(|b| b.is_ascii_lowercase()) {
            return place.key("languages").index(index).refuse(format!("`{language}` is not an ISO 639 code: write it as `en`"));
        }
    }
    params::schema(&place.key("params"), &spec.params)?;
    price::price(&place.key("price"), &spec.price, &spec.params)?;
    if let Some(cost) = &spec.cost_usd {
        price::cost_usd(&place.key("cost_usd"), cost, &spec.params)?;
    }
    match (provider.http(), spec.operation) {
        (Some(http), None) => with_api(place, http, spec),
        (Some(_), Some(_)) => place.key("operation").refuse("is for the transport `local` only: leave it out"),
        (None, None) => place.key("operation").refuse("is missing: say what the process is to do"),
        (None, Some(_)) if spec.api.is_some() => place.key("api").refuse("this provider has no APIs: leave it out"),
        (None, Some(operation)) => with_operation(place, spec, operation),
    }
}

fn with_operation(place: &Place<'_>, spec: &ModelSpec, operation: Operation) -> Checked {
    if spec.kind != operation.kind() {
        return place.key("kind").refuse("is not what this operation makes");
    }
    for needed in operation.needs() {
        if !is_certain(&spec.params, needed) {
            let place = place.key("params.properties").key(needed);
            return place.refuse("has to be there, `required` or with a `default`: the operation needs it");
        }
    }
    Ok(())
}

/// Catalog names.
pub(super) fn names(place: &Place<'_>, name: &str, aliases: &[String]) -> Checked {
    let aliases = aliases.iter().enumerate().map(|(index, alias)| (place.key("aliases").index(index), alias.as_str()));
    for (at, name) in [(place.key("name"), name)].into_iter().chain(aliases) {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/-".contains(&b));
        let segments = name.split('/').all(|segment| !segment.is_empty());
        if !plain || !segments || name.len() > MAX_NAME_CHARS {
            return at.refuse(format!(
                "`{name}` is not a name: use letters, digits, `.`, `_`, `:`, `-` and single slashes between them, {MAX_NAME_CHARS} at most"
            ));
        }
    }
    Ok(())
}

fn with_api(place: &Place<'_>, http: &HttpProvider, spec: &ModelSpec) -> Checked {
    let Some(api) = http.api_of(spec) else {
        let known = http.apis.keys().map(String::as_str).collect::<Vec<_>>().join("`, `");
        return match &spec.api {
            Some(name) => place.key("api").refuse(format!("there is no API `{name}`; the provider has `{known}`")),
            None => place.key("api").refuse(format!("is missing: say which of the provider's APIs it uses, `{known}`")),
        };
    };
    results::brings(place, api, spec.kind)?;
    let apis = Place::top(&spec.name).key("transport.http.apis");
    let name = http.apis.iter().find(|(_, own)| std::ptr::eq(*own, api)).map_or("", |(name, _)| name.as_str());
    let needs = apis::needs(&apis.key(name), api);
    remote(place, spec, &needs)?;
    direct_params(place, spec, &needs)?;
    input(place, spec, api, &needs)?;
    every_param_is_sent(place, spec, &needs)?;
    callbacks(place, spec, api, &needs)
}

/// `{{remote.…}}` of its API's requests.
fn remote(place: &Place<'_>, spec: &ModelSpec, needs: &[Need]) -> Checked {
    for need in needs {
        let Some(path) = need.name.strip_prefix("remote.") else { continue };
        let Need { name, at, slot } = need;
        let place = place.key("remote");
        let mut segments = path.split('.');
        let first = segments.next().and_then(|first| spec.remote.get(first));
        match segments.try_fold(first, |value, segment| Some(value?.get(segment))).flatten() {
            None | Some(Value::Null) => {
                return place.key(path).refuse(format!("is missing: `{{{{{name}}}}}` is used in `{at}`"));
            }
            Some(Value::Array(_) | Value::Object(_)) if slot.is_text() => {
                return place.key(path).refuse(format!("has to be a text or a number: it stands inside a text in `{at}`"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// `{{params.…}}` of its API's submit.
fn direct_params(place: &Place<'_>, spec: &ModelSpec, needs: &[Need]) -> Checked {
    let place = place.key("params.properties");
    for Need { name, at, slot } in needs {
        let Some(path) = name.strip_prefix("params.") else { continue };
        let param = path.split('.').next().unwrap_or_default();
        let Some(property) = properties(&spec.params).and_then(|own| own.get(param)) else {
            return place.key(param).refuse(format!("is missing: `{{{{{name}}}}}` is used in `{at}`"));
        };
        if media::is_media(property) {
            return place
                .key(param)
                .refuse(format!("is media, which go through `input`: `{{{{{name}}}}}` in `{at}` would be its asset id"));
        }
        if *slot == Slot::Url && !is_certain(&spec.params, param) {
            return place.key(param).refuse(format!("has to be `required` or to have a `default`: the URL in `{at}` needs it"));
        }
    }
    Ok(())
}

/// Whether a parameter always has a value.
pub(super) fn is_certain(schema: &Value, param: &str) -> bool {
    let required = schema.get("required").and_then(Value::as_array).is_some_and(|all| all.iter().any(|own| own == param));
    required || properties(schema).and_then(|own| own.get(param)?.get("default")).is_some()
}

fn input(place: &Place<'_>, spec: &ModelSpec, api: &Api, needs: &[Need]) -> Checked {
    let place = place.key("input");
    let slots = media::input_slots(needs);
    match (spec.input.is_null(), slots.is_empty()) {
        (true, false) => return place.refuse("is missing: its API's submit sends `{{input}}`"),
        (false, true) => return place.refuse("is never sent: its API's submit does not use `{{input}}`"),
        (true, true) | (false, false) => {}
    }
    let Some(own) = properties(&spec.params) else { return Ok(()) };
    templates::only(&place, &spec.input, |name| admit(name, own, api, &slots))?;
    let mut parts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in templates::names(&place, &spec.input)? {
        if let Some((param, part)) = name.split_once('.') {
            parts.entry(param.to_owned()).or_default().push(part.to_owned());
        }
    }
    for (param, parts) in &parts {
        if let (Some(upload), Some(property)) = (&api.upload, own.get(param).filter(|property| media::is_media(property))) {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            media::survives_upload(&place, param, property, upload, &parts)?;
        }
    }
    renders(&place, spec)
}

fn admit(name: &str, own: &Map<String, Value>, api: &Api, slots: &[Slot]) -> Result<(), String> {
    if name == "callback_url" {
        return Ok(());
    }
    let (param, part) = name.split_once('.').map_or((name, None), |(param, part)| (param, Some(part)));
    let Some(property) = own.get(param) else {
        let known = own.keys().map(String::as_str).chain(["callback_url"]).collect::<Vec<_>>().join("`, `");
        return Err(format!("this is not a parameter; there are `{known}`"));
    };
    if media::is_media(property) {
        return media::part(param, part, api.upload.is_some(), slots);
    }
    let is_scalar =
        ["string", "integer", "number", "boolean"].iter().any(|scalar| property.get("type") == Some(&Value::from(*scalar)));
    if part.is_some() && is_scalar { Err(format!("`{param}` is not media and has no parts")) } else { Ok(()) }
}

/// Tries the template with parameters as a customer could send them.
fn renders(place: &Place<'_>, spec: &ModelSpec) -> Checked {
    for sample in samples::unchecked(&spec.params) {
        let variables = samples::with_media_parts(&spec.params, sample);
        if let Err(error) = template::render(&spec.input, &variables) {
            let at = match &error {
                template::TemplateError::NotText(name) => templates::place_of(place, &spec.input, name),
                template::TemplateError::Unclosed(_)
                | template::TemplateError::BadName(_)
                | template::TemplateError::Form { .. }
                | template::TemplateError::UnknownForm(_) => place.clone(),
            };
            return at.refuse(error.to_string());
        }
    }
    Ok(())
}

/// A parameter that goes nowhere would be taken from customers, and perhaps paid, for nothing.
fn every_param_is_sent(place: &Place<'_>, spec: &ModelSpec, needs: &[Need]) -> Checked {
    let of_input = template::variables(&spec.input).unwrap_or_default();
    let direct = needs.iter().filter_map(|need| need.name.strip_prefix("params."));
    let used: Vec<&str> = of_input.iter().map(String::as_str).chain(direct).collect();
    for param in properties(&spec.params).into_iter().flat_map(Map::keys) {
        if !used.iter().any(|name| name.split('.').next() == Some(param)) {
            return place.key("params.properties").key(param).refuse("is never sent: use it in `input`, or leave it out");
        }
    }
    Ok(())
}

fn callbacks(place: &Place<'_>, spec: &ModelSpec, api: &Api, needs: &[Need]) -> Checked {
    let at = place.key("input");
    let in_input = template::variables(&spec.input).is_ok_and(|names| names.contains("callback_url"));
    let in_call = needs.iter().find(|need| need.name == "callback_url");
    match (&api.callback, in_input, in_call) {
        (None, true, _) => templates::place_of(&at, &spec.input, "callback_url")
            .refuse("uses `{{callback_url}}`, but its API has no `callback` that could be read: add it, or leave this out"),
        (None, false, Some(need)) => {
            place.key("api").refuse(format!("`{}` uses `{{{{callback_url}}}}`, but the API has no `callback`: add it, or leave this out", need.at))
        }
        (Some(_), false, None) => {
            at.refuse("never tells `{{callback_url}}`, so its API's `callback` cannot happen: send it here or in the submit, or leave `callback` out")
        }
        (None, false, None) | (Some(_), true, _) | (Some(_), false, Some(_)) => Ok(()),
    }
}
