//! Files, recognised and checked beside the built-in catalog.

use super::*;

const ACME: &str = include_str!("../../../../../docs/examples/acme.json");
const SKETCH: &str = include_str!("../../../../../docs/examples/acme-sketch.json");
const POSTER: &str = include_str!("../../../../../docs/examples/acme-chain.json");

fn checked(files: &[(&str, &str)]) -> Vec<Result<Document, ManifestError>> {
    let files: Vec<(String, String)> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    check_documents(&files)
}

#[test]
fn the_examples_of_the_guide_are_fine_together() {
    let answers = checked(&[("acme-chain.json", POSTER), ("acme-sketch.json", SKETCH), ("acme.json", ACME)]);
    let told: Vec<String> = answers.into_iter().map(|answer| answer.expect("fine").to_string()).collect();
    assert_eq!(told, ["chains: `poster`", "model `acme/sketch`", "provider `acme`, models: 1"]);
}

#[test]
fn a_model_without_its_provider_is_refused() {
    let answer = checked(&[("acme-sketch.json", SKETCH)]).remove(0).map(drop);
    assert_refused(answer, "name", "there is no provider `acme`");
}

#[test]
fn a_model_of_a_built_in_provider_is_checked_against_it() {
    let fal = |model: Value| checked(&[("model.json", &model.to_string())]).remove(0).map(drop);
    let params = json!({"type": "object", "additionalProperties": false, "required": ["prompt"], "properties": {"prompt": {"type": "string"}}});
    let mut model = json!({
        "name": "fal/fal-ai/new", "kind": "image", "price": {"credits": 3}, "params": params, "input": {"prompt": "{{prompt}}"},
        "remote": {"endpoint": "fal-ai/new", "app": "fal-ai/new"},
    });
    fal(model.clone()).expect("fine");
    remove(&mut model, "/remote/app");
    assert_refused(fal(model), "remote.app", "`{{remote.app}}` is used in `transport.http.apis.queue.poll.urls[1]`");
}

#[test]
fn what_has_the_name_of_something_built_in_takes_its_place() {
    let built_in = crate::catalog::BUILT_IN.map(|(file, text)| (file, text));
    for answer in checked(&built_in) {
        answer.expect("fine");
    }
    for answer in checked(&crate::catalog::CHAINS) {
        answer.expect("fine");
    }
}

#[test]
fn a_provider_may_not_break_the_chains_that_come_with_the_product() {
    let mut placeholder: Value = serde_json::from_str(crate::catalog::BUILT_IN[0].1).expect("JSON");
    put(&mut placeholder, "/models", json!([]));
    let answer = checked(&[("placeholder.json", &placeholder.to_string())]).remove(0).map(drop);
    assert_refused(answer, "candidates[2].model", "there is no model `placeholder`");
}

#[test]
fn a_file_of_something_else_is_not_recognised() {
    let answer = checked(&[("package.json", r#"{"name": "x"}"#)]).remove(0).map(drop);
    assert_refused(answer, "the top", "has neither `transport`, as a provider");
    let answer = checked(&[("chains.json", r#"[{"name": "x", "version": 1, "kind": "image", "params": {}, "price": {}}]"#)])
        .remove(0)
        .map(drop);
    assert_refused(answer, "[0].price", "missing field `credits`");
}
