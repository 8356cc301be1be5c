//! Prices: expressions over parameters that always have a value, never below zero and never without a bound.

use std::collections::BTreeSet;

use serde_json::Value;

use super::models::is_certain;
use super::params::properties;
use super::place::Place;
use super::{Checked, media};
use crate::credits::Credits;
use crate::outcome::MAX_RESULTS;
use crate::price::{Domain, Expression, Price};

/// The most that a generation may cost us, in US dollars: a million.
const MAX_USD: i64 = 1_000_000;

/// Beyond it a number in JSON may be another one than was written: 2^53 - 1 (RFC 8259, section 6).
const MAX_EXACT: u64 = 9_007_199_254_740_991;

/// What a generation costs.
pub(super) fn price(place: &Place<'_>, price: &Price, params: &Value) -> Checked {
    let counted = price.per_result.as_deref();
    if let Some(name) = counted {
        let at = place.key("per_result");
        counts_results(&at, name, params)?;
        if !price.credits.uses(name) {
            return at.refuse(format!(
                "`credits` does not use `{name}`, so fewer results cost the same: use it there, or leave this out"
            ));
        }
    }
    let most = i64::try_from(Credits::MAX.get()).unwrap_or(i64::MAX);
    bounded(&place.key("credits"), &price.credits, params, counted, most, "credits")
}

/// What a generation costs us.
pub(super) fn cost_usd(place: &Place<'_>, cost: &Expression, params: &Value) -> Checked {
    bounded(place, cost, params, None, MAX_USD, "US dollars")
}

/// Never below zero, never above `most`, and never without a value.
fn bounded(place: &Place<'_>, expression: &Expression, params: &Value, counted: Option<&str>, most: i64, unit: &str) -> Checked {
    let domains = |name: &str| domain(name, params, counted == Some(name));
    let range = expression.bounds(&domains).map_err(|reason| place.wrong(format!("`{expression}`: {reason}")))?;
    if range.low.signum() < 0 {
        let low = range.low;
        return place.refuse(format!("`{expression}` may be {low}, below zero: correct it, or use `max(0, …)`"));
    }
    if range.high.ceil() > i128::from(most) {
        return place.refuse(format!(
            "`{expression}` may be {}, and {most} {unit} are the most that one generation may cost: lower a `maximum`, or use `min(…)`",
            range.high
        ));
    }
    Ok(())
}

/// What the schema lets a parameter be. One that counts results may be 1, whatever its `minimum`: so many may come.
fn domain(name: &str, params: &Value, counts_results: bool) -> Result<Domain, String> {
    let Some(property) = properties(params).and_then(|own| own.get(name)) else {
        return Err(format!("`{name}` is not a parameter: name one of `params.properties`"));
    };
    if !is_certain(params, name) {
        return Err(format!("`{name}` may be missing: give it a `default`, or make it `required`"));
    }
    let choices = property.get("enum").and_then(Value::as_array).filter(|choices| !choices.is_empty());
    match property.get("type").and_then(Value::as_str) {
        Some("boolean") => Ok(Domain::Truth),
        Some("string") if !media::is_media(property) => texts(name, choices),
        Some("integer") => whole(name, property, choices, counts_results),
        Some("number") if is_whole(property, choices) => whole(name, property, choices, counts_results),
        Some("number") => Err(format!(
            "`{name}` need not be a whole number: make it an `integer`, or give it a whole `multipleOf` or an `enum`"
        )),
        Some(_) | None => Err(format!("`{name}` is neither a number nor a text nor true or false: a price cannot depend on it")),
    }
}

fn texts(name: &str, choices: Option<&Vec<Value>>) -> Result<Domain, String> {
    let texts = choices.and_then(|choices| choices.iter().map(|choice| Some(choice.as_str()?.to_owned())).collect());
    let texts: Option<BTreeSet<String>> = texts;
    texts.map(Domain::Text).ok_or_else(|| format!("`{name}` may be any text: give it an `enum`"))
}

fn is_whole(property: &Value, choices: Option<&Vec<Value>>) -> bool {
    let steps = property.get("multipleOf").is_some_and(|step| step.as_u64().is_some());
    steps || choices.is_some_and(|choices| choices.iter().all(|choice| choice.as_i64().is_some()))
}

fn whole(name: &str, property: &Value, choices: Option<&Vec<Value>>, counts_results: bool) -> Result<Domain, String> {
    let end = |end: &str| property.get(end).and_then(Value::as_i64);
    let choices: Option<Vec<i64>> = choices.and_then(|choices| choices.iter().map(Value::as_i64).collect());
    let of_choices = choices.and_then(|choices| Some((*choices.iter().min()?, *choices.iter().max()?)));
    let Some((least, most)) = of_choices.or_else(|| end("minimum").zip(end("maximum"))) else {
        return Err(format!("`{name}` has no bounds: give it a `minimum` and a `maximum` that are whole numbers, or an `enum`"));
    };
    if [least, most].iter().any(|end| end.unsigned_abs() > MAX_EXACT) {
        return Err(format!("`{name}` may be beyond {MAX_EXACT}, where numbers in JSON are not exact: lower its `maximum`"));
    }
    if most < least {
        return Err(format!("the `maximum` of `{name}` is below its `minimum`"));
    }
    Ok(Domain::Whole { least: if counts_results { least.min(1) } else { least }, most })
}

fn counts_results(at: &Place<'_>, name: &str, params: &Value) -> Checked {
    let Some(counted) = properties(params).and_then(|own| own.get(name)) else {
        return at.refuse(format!("`{name}` is not a parameter: name one of `params.properties`"));
    };
    let whole = |name: &str| counted.get(name).and_then(Value::as_u64);
    let is_integer = counted.get("type") == Some(&Value::from("integer"));
    let (true, Some(_), Some(1..), Some(most)) = (is_integer, whole("default"), whole("minimum"), whole("maximum")) else {
        return at.refuse(format!(
            "`{name}` has to be an integer parameter with a `default`, a `minimum` of 1 or more and a `maximum`"
        ));
    };
    if most > MAX_RESULTS as u64 {
        return at
            .refuse(format!("`{name}` may be {most}, and a generation has {MAX_RESULTS} results at most: lower its `maximum`"));
    }
    Ok(())
}
