//! Mistakes of a chain.

use super::*;
use crate::catalog::Catalog;

fn chain() -> Value {
    json!({
        "name": "picture",
        "version": 1,
        "kind": "image",
        "price": {"credits": 5},
        "params": {
            "type": "object",
            "additionalProperties": false,
            "required": ["prompt"],
            "properties": {
                "prompt": {"type": "string", "minLength": 1, "maxLength": 4000},
                "shape": {"type": "string", "enum": ["wide", "upright"], "default": "wide"},
            },
        },
        "candidates": [
            {"model": "acme/paint", "params": {"prompt": "{{prompt}}"}},
            {
                "model": "placeholder",
                "params": {"prompt": "{{prompt}}", "width": {"$map": "{{shape}}", "$to": {"wide": 1024, "upright": 512}}},
            },
        ],
    })
}

fn added(chain: Value) -> Result<(), ManifestError> {
    let mut catalog = Catalog::built_in().expect("loads");
    catalog.add_provider(manifest("acme.json", &acme().to_string()).expect("fine")).expect("added");
    catalog.add_chain(&serde_json::from_value(chain).expect("of the right shape"))
}

#[track_caller]
fn refuses_chain(pointer: &str, value: Value, at: &str, reason: &str) {
    let mut broken = chain();
    put(&mut broken, pointer, value);
    assert_refused(added(broken), at, reason);
}

#[test]
fn a_chain_without_mistakes_is_taken() {
    added(chain()).expect("fine");
}

#[test]
fn a_chain_is_named_and_described_like_a_model() {
    refuses_chain("/name", json!("my/picture"), "name", "has a slash");
    refuses_chain("/name", json!("placeholder"), "name", "the name `placeholder` is taken");
    refuses_chain("/aliases", json!(["flux"]), "aliases[0]", "the name `flux` is taken by `fal/fal-ai/flux/dev`");
    refuses_chain("/version", json!(0), "version", "begin with 1");
    refuses_chain("/params/additionalProperties", json!(true), "params.additionalProperties", "has to be `false`");
    refuses_chain("/price/per_result", json!("shape"), "price.per_result", "an integer parameter");
    refuses_chain("/price/credits", json!("5 * shape"), "price.credits", "texts can only be compared");
    refuses_chain("/params/properties/mood", json!({"type": "string"}), "params.properties.mood", "is given to no candidate");
}

#[test]
fn a_chain_leads_to_models_of_its_kind() {
    refuses_chain("/candidates", json!([]), "candidates", "needs at least one model");
    refuses_chain(
        "/candidates/1/model",
        json!("placeholder/nothing"),
        "candidates[1].model",
        "there is no model `placeholder/nothing`",
    );
    refuses_chain("/candidates/0/model", json!("acme/chat"), "candidates[0].model", "makes something else");
    refuses_chain(
        "/candidates/0/params/count",
        json!("{{images}}"),
        "candidates[0].params.count",
        "the chain has no such parameter",
    );
}

#[test]
fn every_candidate_fits_something() {
    let reason = "never fits `acme/paint`: `quality` there is no parameter `quality` here";
    refuses_chain("/candidates/0/params/quality", json!("high"), "candidates[0].params", reason);
    let reason = "never fits `placeholder`: `width` has to be at most 4096";
    refuses_chain(
        "/candidates/1/params/width",
        json!({"$map": "{{shape}}", "$to": {"wide": 9000, "upright": 5000}}),
        "candidates[1].params",
        reason,
    );
}

#[test]
fn everything_fits_some_candidate() {
    let mut broken = chain();
    let drawn = broken["candidates"][1].clone();
    put(&mut broken, "/candidates", json!([drawn]));
    put(&mut broken, "/candidates/0/params/width/$to/upright", json!(9000));
    let result = added(broken);
    assert_refused(
        result,
        "candidates",
        r#"no candidate can take `{"prompt":"a","shape":"upright"}`, which the chain takes: `placeholder`: `width`"#,
    );
}

#[test]
fn a_chain_that_cannot_be_tried_asks_for_an_example() {
    let code = json!({"type": "string", "pattern": "^[a-z]{3}[0-9]{2}$"});
    refuses_chain("/params/properties/prompt", code.clone(), "params.properties.prompt", "give it a `default` or `examples`");
    let mut tried = chain();
    put(&mut tried, "/params/properties/prompt", code);
    put(&mut tried, "/params/properties/prompt/examples", json!(["abc12"]));
    added(tried).expect("fine");
}
