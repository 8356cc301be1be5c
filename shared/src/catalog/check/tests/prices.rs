//! Mistakes of a price, and of what a provider charges.

use super::*;

/// The first model with parameters of every kind and with this expression as its price.
fn priced(credits: Value) -> Value {
    let mut acme = acme();
    let params = json!({
        "width": {"type": "integer", "minimum": 64, "maximum": 4096, "default": 1024},
        "steps": {"type": "integer", "minimum": 0, "maximum": 50, "default": 28},
        "seed": {"type": "integer", "minimum": 0, "maximum": 99},
        "strength": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.5},
        "seconds": {"type": "number", "minimum": 2, "maximum": 10, "multipleOf": 2, "default": 4},
        "duration": {"type": "integer", "enum": [6, 10], "default": 6},
        "quality": {"type": "string", "enum": ["low", "high"], "default": "low"},
        "sound": {"type": "boolean", "default": true},
        "shift": {"type": "integer", "minimum": -5, "maximum": 5, "default": 0},
        "endless": {"type": "integer", "minimum": 0, "default": 0},
        "vast": {"type": "integer", "minimum": 0, "maximum": 10_000_000_000_000_000_u64, "default": 1},
        "either": {"oneOf": [{"type": "integer"}, {"type": "string"}], "default": 1},
    });
    for (name, property) in params.as_object().expect("an object") {
        put(&mut acme, &format!("/models/0/params/properties/{name}"), property.clone());
        put(&mut acme, &format!("/models/0/input/{name}"), json!(format!("{{{{{name}}}}}")));
    }
    put(&mut acme, "/models/0/price", json!({"credits": credits}));
    acme
}

#[track_caller]
fn refuses_price(credits: &str, reason: &str) {
    let broken = priced(json!(credits)).to_string();
    assert_refused(manifest("acme.json", &broken).map(drop), "models[0].price.credits", reason);
}

#[test]
fn a_price_that_is_always_known_is_taken() {
    for credits in [
        "0",
        "2.5 * count",
        "ceil(width * width / 1000000) * 3",
        "quality == 'high' ? 8 : 4",
        "(sound ? 2 : 1) * duration",
        "!sound && steps > 10 ? 3 : 2",
        "seconds / 2",
        "max(0, shift)",
        "shift + 5",
        "100 / max(1, steps)",
        "min(width, 100)",
        "1000000000000",
    ] {
        let good = priced(json!(credits)).to_string();
        manifest("acme.json", &good).unwrap_or_else(|error| panic!("{error}"));
    }
    let free = priced(json!(0)).to_string();
    manifest("acme.json", &free).expect("nothing may cost nothing");
}

#[test]
fn a_price_that_cannot_be_read_is_refused_at_its_place() {
    refuses_price("2 *", "ends too early");
    refuses_price("", "ends too early");
    refuses_price("count $", "character 7: `$` means nothing here");
    refuses_price(&"1+".repeat(300), "at most 500 are taken");
    refuses_in_price(json!(-1), "expected a whole number");
}

#[track_caller]
fn refuses_in_price(credits: Value, reason: &str) {
    assert_refused(manifest("acme.json", &priced(credits).to_string()).map(drop), "models[0].price.credits", reason);
}

#[test]
fn a_price_uses_parameters_that_always_have_a_value() {
    refuses_price("images_wanted", "`images_wanted` is not a parameter");
    refuses_price("seed", "`seed` may be missing: give it a `default`, or make it `required`");
    refuses_price("prompt == 'x' ? 1 : 2", "`prompt` may be any text: give it an `enum`");
    refuses_price("strength * 4", "`strength` need not be a whole number");
    refuses_price("endless", "`endless` has no bounds");
    refuses_price("vast / 1000000000", "where numbers in JSON are not exact");
    refuses_price("either", "a price cannot depend on it");
}

#[test]
fn a_price_puts_each_value_where_it_belongs() {
    refuses_price("quality", "a price takes a number, not a text");
    refuses_price("sound", "a price takes a number, not what is true or false");
    refuses_price("quality == 'hihg' ? 8 : 4", "are never the same");
    refuses_price("quality == 4 ? 8 : 4", "a number is compared with a text");
    refuses_price("quality < 'high' ? 8 : 4", "with `==` and `!=` only");
    refuses_price("sound == sound ? 8 : 4", "needs no comparison");
    refuses_price("count ? 8 : 4", "the condition before `?` takes what is true or false");
    refuses_price("sound ? 8 : quality", "both sides of `:`");
    refuses_price("!count ? 1 : 2", "`!` takes what is true or false");
    refuses_price("sound || count ? 1 : 2", "takes what is true or false");
}

#[test]
fn a_price_is_never_below_zero_nor_without_a_bound() {
    refuses_price("shift", "`shift` may be -5, below zero");
    refuses_price("10 - steps", "may be -40, below zero");
    refuses_price("10 / steps", "it may divide by zero, since the divisor lies between 0 and 50");
    refuses_price("10 / shift", "it may divide by zero");
    refuses_price("1000000000 * width", "may be 4096000000000, and 1000000000000 credits are the most");
    refuses_price("1000000000000.1", "are the most that one generation may cost");
    refuses_price("width / 999999999999999989 / 999999999999999967 / 999999999999999877", "more than 128 bits");
}

#[track_caller]
fn refuses_in_paint(pointer: &str, value: Value, at: &str, reason: &str) {
    refuses(&format!("/models/0{pointer}"), value, &format!("models[0].{at}"), reason);
}

#[test]
fn results_are_counted_by_a_number_that_is_known_and_bounded() {
    let count = "/params/properties/count";
    let at = "price.per_result";
    refuses_in_paint("/price/per_result", json!("images_wanted"), at, "is not a parameter");
    refuses_in_paint("/price/per_result", json!("prompt"), at, "an integer parameter with a `default`");
    refuses_in_paint(count, json!({"type": "integer", "minimum": 1, "default": 1}), at, "and a `maximum`");
    let from_none = json!({"type": "integer", "minimum": 0, "maximum": 4, "default": 1});
    refuses_in_paint(count, from_none, at, "a `minimum` of 1 or more");
    refuses_in_paint(&format!("{count}/maximum"), json!(17), at, "has 16 results at most");
    refuses_in_paint("/price/credits", json!(4), at, "`credits` does not use `count`");
    let from_two = json!({"type": "integer", "minimum": 2, "maximum": 4, "default": 2});
    let mut broken = acme();
    put(&mut broken, &format!("/models/0{count}"), from_two);
    put(&mut broken, "/models/0/price/credits", json!("4 * (count - 2)"));
    let result = manifest("acme.json", &broken.to_string()).map(drop);
    assert_refused(result, "models[0].price.credits", "may be -4, below zero");
}

#[test]
fn what_a_provider_charges_is_checked_like_a_price() {
    let mut good = acme();
    put(&mut good, "/models/0/cost_usd", json!("0.03 * count"));
    manifest("acme.json", &good.to_string()).expect("fine");
    refuses_in_paint("/cost_usd", json!("0.03 * images"), "cost_usd", "`images` may be missing");
    refuses_in_paint("/cost_usd", json!("1 - count"), "cost_usd", "below zero");
    refuses_in_paint("/cost_usd", json!("1000000 * count"), "cost_usd", "1000000 US dollars are the most");
}
