use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::*;
use crate::catalog::Offer;

fn entry(kind: CatalogKind, version: u32, body: &Value) -> CatalogEntry {
    let name = body["name"].as_str().expect("a name").to_owned();
    CatalogEntry { kind, name, version, body: body.to_string(), put_at: Timestamp::UNIX_EPOCH, removed: false }
}

fn removed(kind: CatalogKind, version: u32, name: &str) -> CatalogEntry {
    let (name, body) = (name.to_owned(), "null".to_owned());
    CatalogEntry { kind, name, version, body, put_at: Timestamp::UNIX_EPOCH, removed: true }
}

/// It can stand in for the placeholder's own, in a chain too.
fn model(name: &str, aliases: &[&str]) -> Value {
    json!({
        "name": name,
        "aliases": aliases,
        "kind": "image",
        "operation": "draw",
        "price": { "credits": 3 },
        "params": {
            "type": "object",
            "additionalProperties": false,
            "required": ["prompt"],
            "properties": { "prompt": { "type": "string" }, "width": { "type": "integer" }, "height": { "type": "integer" } }
        }
    })
}

fn provider(name: &str, models: &[Value]) -> Value {
    json!({
        "name": name,
        "version": 1,
        "transport": "local",
        "times": {
            "run_limit_s": 600, "unconfirmed_s": 60, "result_lifetime_s": 86400,
            "poll_first_s": 1, "poll_growth_percent": 150, "poll_max_s": 30
        },
        "submit_repeat_safe": true,
        "models": models,
    })
}

fn chain(name: &str, model: &str) -> Value {
    json!({
        "name": name,
        "version": 1,
        "kind": "image",
        "price": { "credits": 4 },
        "params": {
            "type": "object",
            "additionalProperties": false,
            "required": ["prompt"],
            "properties": { "prompt": { "type": "string" } }
        },
        "candidates": [{ "model": model, "params": { "prompt": "{{prompt}}" } }]
    })
}

fn with(entries: &[CatalogEntry]) -> (Catalog, Vec<String>) {
    let built_in = Catalog::built_in().expect("loads");
    let (catalog, skipped) = built_in.with_entries(entries);
    if skipped.is_empty() {
        let (as_put, left_out) = built_in.with_entries_as_put(entries);
        assert!(
            left_out.is_empty() && as_put.names == catalog.names,
            "what passes the checks is read the same without: {left_out:#?}"
        );
    }
    let told = skipped.into_iter().map(|own| format!("{} {} {:?}: {}", own.kind.word(), own.name, own.version, own.why));
    (catalog, told.collect())
}

#[test]
fn without_entries_nothing_changes() {
    let built_in = Catalog::built_in().expect("loads");
    let (catalog, skipped) = with(&[]);
    assert_eq!(skipped, [""; 0]);
    let names = |catalog: &Catalog| catalog.offers().map(|offer| offer.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&catalog), names(&built_in));
    assert_eq!(catalog.names, built_in.names);
}

#[test]
fn a_manifest_replaces_the_one_of_its_name_wholly() {
    let own = provider("fal", &[model("fal/new", &["flux-dev"])]);
    let (catalog, skipped) = with(&[entry(CatalogKind::Provider, 9, &own)]);
    assert_eq!(catalog.provider("fal").expect("there").version, 9);
    assert!(catalog.is_run_time("fal") && !catalog.is_run_time("replicate"));
    let models: Vec<&str> =
        catalog.models().filter(|model| model.provider.name == "fal").map(|model| model.spec.name.as_str()).collect();
    assert_eq!(models, ["fal/new"]);
    assert_eq!(catalog.model("flux-dev").expect("an alias that is free again").spec.name, "fal/new");
    // Whoever needs a model that is gone is told.
    assert!(skipped.iter().all(|told| told.starts_with("chain ") && told.contains("there is no model `fal/")), "{skipped:#?}");
}

#[test]
fn a_model_is_added_or_replaces_the_one_of_its_name() {
    let entries = [
        entry(CatalogKind::Model, 1, &model("placeholder/small", &["small"])),
        entry(CatalogKind::Model, 4, &model("placeholder", &["drawing"])),
    ];
    let (catalog, skipped) = with(&entries);
    assert_eq!(skipped, [""; 0]);
    let version = |name: &str| catalog.model(name).expect("there").version;
    assert_eq!((version("small"), version("drawing"), version("placeholder")), (Some(1), Some(4), Some(4)));
    assert!(catalog.model("placeholder/image").is_none(), "the alias of the one that was replaced");
    let candidate = catalog.model("small").expect("there").candidate(&Map::new());
    assert_eq!((candidate.catalog_version, candidate.model_version), (2, Some(1)));
}

#[test]
fn what_was_put_when_less_was_asked_is_not_sold_and_still_known_to_those_who_finish_what_was_sold() {
    let mut refused = model("placeholder/small", &[]);
    refused["params"]["properties"]["prompt"]["pattern"] = json!("(");
    let entries = [entry(CatalogKind::Model, 1, &refused)];
    let (catalog, skipped) = with(&entries);
    assert!(catalog.model("placeholder/small").is_none() && skipped.len() == 1, "{skipped:#?}");
    let (as_put, left_out) = Catalog::built_in().expect("loads").with_entries_as_put(&entries);
    assert!(as_put.model("placeholder/small").is_some() && left_out.is_empty(), "{left_out:#?}");
}

#[test]
fn a_chain_is_added_or_replaces_the_one_of_its_name() {
    let entries = [
        entry(CatalogKind::Chain, 1, &chain("poster", "placeholder")),
        entry(CatalogKind::Chain, 7, &chain("image", "placeholder")),
    ];
    let (catalog, skipped) = with(&entries);
    assert_eq!(skipped, [""; 0]);
    assert_eq!(catalog.chain_by_name("image").expect("there").models.len(), 1);
    assert!(matches!(catalog.offer("poster"), Some(Offer::Chain(_))));
}

#[test]
fn what_does_not_load_is_told_and_leaves_what_it_would_replace() {
    let mut unreadable = entry(CatalogKind::Provider, 3, &provider("openai", &[]));
    unreadable.body = r#"{"name": "openai"}"#.to_owned();
    let entries = [
        entry(CatalogKind::Provider, 3, &provider("fal", &[model("fal/x", &["placeholder"])])),
        unreadable,
        entry(CatalogKind::Model, 1, &model("placeholder", &["image"])),
        entry(CatalogKind::Model, 1, &model("nobody/x", &[])),
        entry(CatalogKind::Chain, 2, &chain("image", "nobody/x")),
    ];
    let (catalog, skipped) = with(&entries);
    let built_in = Catalog::built_in().expect("loads");
    for name in ["fal", "openai"] {
        assert_eq!(catalog.provider(name).expect("there").version, built_in.provider(name).expect("there").version);
        assert!(!catalog.is_run_time(name));
    }
    assert_eq!(catalog.model("flux-dev").expect("there").provider.name, "fal");
    let told = |start: &str, part: &str| skipped.iter().any(|told| told.starts_with(start) && told.contains(part));
    assert!(told("provider fal Some(3)", "the name `placeholder` is taken"), "{skipped:#?}");
    assert!(told("provider openai Some(3)", "missing field"), "{skipped:#?}");
    assert!(told("model nobody/x Some(1)", "there is no provider `nobody`"), "{skipped:#?}");
    assert!(told("chain image Some(2)", "there is no model `nobody/x`"), "{skipped:#?}");
}

#[test]
fn a_name_may_go_from_one_entry_to_another_in_any_order() {
    let give = entry(CatalogKind::Provider, 3, &provider("replicate", &[model("replicate/x", &[])]));
    let take = entry(CatalogKind::Provider, 1, &provider("aaa", &[model("aaa/x", &["flux-schnell"])]));
    for entries in [[give.clone(), take.clone()], [take, give]] {
        let (catalog, skipped) = with(&entries);
        assert!(skipped.iter().all(|told| told.starts_with("chain ")), "{skipped:#?}");
        assert_eq!(catalog.model("flux-schnell").expect("there").spec.name, "aaa/x");
    }
}

#[test]
fn after_a_removal_the_built_in_provider_is_back_under_a_number_of_its_own() {
    let (catalog, skipped) = with(&[removed(CatalogKind::Provider, 12, "fal"), removed(CatalogKind::Provider, 3, "gone")]);
    assert_eq!(skipped, [""; 0]);
    assert_eq!(catalog.provider("fal").expect("there").version, 12);
    assert_eq!(catalog.model("flux-dev").expect("there").candidate(&Map::new()).catalog_version, 12);
    assert!(catalog.provider("gone").is_none() && !catalog.is_run_time("fal"));
}

#[test]
fn a_model_has_to_have_what_its_api_asks_for() {
    let mut own = model("replicate/acme/x", &[]);
    own["operation"] = Value::Null;
    own["api"] = "models".into();
    let (_, skipped) = with(&[entry(CatalogKind::Model, 1, &own)]);
    assert_eq!(skipped.len(), 1, "{skipped:#?}");
    assert!(skipped[0].contains("remote.model"), "{skipped:#?}");
    own["remote"] = json!({ "model": "acme/x" });
    own["input"] = json!({ "prompt": "{{prompt}}", "width": "{{width}}", "height": "{{height}}" });
    assert_eq!(with(&[entry(CatalogKind::Model, 1, &own)]).1, [""; 0]);
}

#[test]
fn no_provider_is_told_a_secret_of_ours() {
    let with_key = |provider_name: &str, key: &str| {
        let mut own = provider(provider_name, &[]);
        own["transport"] = json!({ "http": {
            "base_url": "https://acme.example", "key_env": key, "headers": { "Authorization": "{{key}}" },
            "failures": [
                { "status": [451], "class": "moderated" },
                { "status": [400, 422], "class": "rejected_input" },
                { "status": [401, 403], "class": "provider_auth" },
                { "status": [402], "class": "provider_funds" },
                { "status": [429], "class": "throttled" }
            ],
            "apis": { "only": {
                "submit": { "call": { "method": "POST", "urls": ["{{base_url}}/x"], "timeout_s": 10 } },
                "result": { "body": true }
            } }
        } });
        check_entry(CatalogKind::Provider, provider_name, &own.to_string()).map_err(|error| error.to_string())
    };
    assert_eq!(with_key("signing", "SIGNING_KEY"), Ok(()));
    for (name, key) in [("acme", "SIGNING_SECRET"), ("signing", "SIGNING_SECRET"), ("acme", "FAL_KEY")] {
        let error = with_key(name, key).expect_err("refused");
        assert!(error.contains("may be a secret of our own"), "{error}");
    }
}

#[test]
fn an_entry_is_what_its_name_says() {
    let body = model("placeholder/x", &[]).to_string();
    let error = check_entry(CatalogKind::Model, "placeholder/y", &body).expect_err("another name").to_string();
    assert!(error.contains("it says `placeholder/x`"), "{error}");
}
