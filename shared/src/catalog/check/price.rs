//! Prices: whole credits, for a number that is known and bounded.

use serde_json::Value;

use super::Checked;
use super::params::properties;
use super::place::Place;
use crate::catalog::manifest::Price;
use crate::credits::Credits;
use crate::outcome::MAX_RESULTS;

pub(super) fn price(place: &Place<'_>, price: &Price, params: &Value) -> Checked {
    let Some(per) = &price.per else {
        if price.per_result {
            return Ok(());
        }
        return place.key("per_result").refuse("says what `per` counts, and there is no `per`: leave it out");
    };
    let at = place.key("per");
    let Some(counted) = properties(params).and_then(|own| own.get(per)) else {
        return at.refuse(format!("`{per}` is not a parameter: name one of `params.properties`"));
    };
    let whole = |name: &str| counted.get(name).and_then(Value::as_u64);
    let is_integer = counted.get("type") == Some(&Value::from("integer"));
    let (true, Some(_), Some(least), Some(most)) = (is_integer, whole("default"), whole("minimum"), whole("maximum")) else {
        return at.refuse(format!(
            "`{per}` has to be an integer parameter with a `default`, a `minimum` of 0 or more and a `maximum`"
        ));
    };
    if most < least {
        return at.refuse(format!("the `maximum` of `{per}` is below its `minimum`"));
    }
    if price.per_result && most > MAX_RESULTS as u64 {
        return at.refuse(format!(
            "`{per}` may be {most}, and a generation has {MAX_RESULTS} results at most: lower its `maximum`, or say `\"per_result\": false`"
        ));
    }
    match price.credits.times(most) {
        Some(_) => Ok(()),
        None => at.refuse(format!(
            "{} credits times {most} are more than the {} that one generation may cost",
            price.credits,
            Credits::MAX
        )),
    }
}
