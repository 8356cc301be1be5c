//! openapi.json says what the API does: no route more, no route less, and every answer as it is described.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tests::World;

use crate::run_time_catalog;

fn api() -> Value {
    local::openapi::text().parse().expect("JSON")
}

#[test]
fn openapi_json_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi.json");
    let file = std::fs::read_to_string(path).expect("openapi.json is there");
    let is_same = file.trim_end() == local::openapi::text().trim_end();
    assert!(is_same, "openapi.json is not what the code says; run `cargo run -- openapi > openapi.json`");
}

#[test]
fn every_route_is_described_and_every_described_route_exists() {
    let values = local::template::LocalValues {
        parameters: [("SigningSecret".to_owned(), "s".repeat(32))].into(),
        ..local::template::LocalValues::default()
    };
    let template = local::template::Template::parse(local::template::BUILT_IN, &values).unwrap_or_else(|error| panic!("{error}"));
    let routes = template.functions.iter().flat_map(|function| &function.routes);
    // OpenAPI has no word for a parameter that takes the rest of the path.
    let routes: BTreeSet<String> = routes.map(|route| format!("{} {}", route.method, route.path.replace("+}", "}"))).collect();
    let described: BTreeSet<String> = operations(&api()).into_keys().collect();
    assert_eq!(routes, described);
}

/// Operations by method and path.
fn operations(api: &Value) -> BTreeMap<String, Value> {
    let paths = api["paths"].as_object().expect("paths").iter();
    let of_path = |(path, item): (&String, &Value)| {
        let path = path.clone();
        let methods = item.as_object().expect("methods").clone().into_iter();
        methods.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    };
    paths.flat_map(of_path).collect()
}

/// An answer may not have fields that nobody described.
fn strict(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.contains_key("properties") {
                fields.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            fields.values_mut().for_each(strict);
        }
        Value::Array(items) => items.iter_mut().for_each(strict),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Sends requests and compares the answers with the description.
struct Judge<'a> {
    world: &'a World,
    api: Value,
    operations: BTreeMap<String, Value>,
    seen: BTreeSet<String>,
}

impl<'a> Judge<'a> {
    fn new(world: &'a World) -> Self {
        let mut api = api();
        let operations = operations(&api);
        strict(&mut api["components"]["schemas"]);
        Self { world, api, operations, seen: BTreeSet::new() }
    }

    /// Sends a request of `operation`, as `GET /v1/generations/{id}`, which has to be answered with `status`.
    async fn send(&mut self, operation: &str, request: RequestBuilder, status: u16) -> Value {
        let reply = self.world.send(request).await;
        assert_eq!(reply.status, status, "{operation}: {:?}", reply.body);
        let described = &self.operations.get(operation).unwrap_or_else(|| panic!("{operation} is not described"))["responses"];
        if status == 204 {
            assert!(described["204"].is_object(), "{operation}: an answer 204 is not described");
            assert_eq!(reply.body, "", "{operation}");
            self.seen.insert(operation.to_owned());
            return reply.body;
        }
        let content = &described[status.to_string()]["content"];
        let media_type = if status < 400 { "application/json" } else { "application/problem+json" };
        assert_eq!(reply.header("content-type"), media_type, "{operation}");
        let content = content.as_object().unwrap_or_else(|| panic!("{operation}: an answer {status} is not described"));
        let schema = content.values().next().expect("a media type")["schema"].clone();
        let document = json!({"allOf": [schema], "components": self.api["components"]});
        let options = jsonschema::options().should_validate_formats(true);
        let validator = options.build(&document).unwrap_or_else(|error| panic!("{operation}: {error}"));
        let errors: Vec<String> =
            validator.iter_errors(&reply.body).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{operation} {status}: {errors:#?}\n{:#}", reply.body);
        if status < 400 {
            self.seen.insert(operation.to_owned());
        }
        reply.body
    }
}

/// The routes of administrators that are about accounts.
async fn accounts(judge: &mut Judge<'_>) {
    let world = judge.world;
    let all = "/v1/admin/accounts";
    let get = |path: &str| world.request(Method::GET, &format!("{all}{path}"));
    let post = |path: &str, body: Value| world.request(Method::POST, &format!("{all}{path}")).json(&body);
    let create = "POST /v1/admin/accounts";
    let body = json!({"name": "Acme", "limits": {"in_flight": 3}});
    let account = judge.send(create, post("", body.clone()).header("idempotency-key", "a"), 201).await;
    judge.send(create, post("", body).header("idempotency-key", "a"), 201).await;
    judge.send(create, post("", json!({"credits": -1})), 422).await;
    judge.send("GET /v1/admin/accounts", get("?limit=1"), 200).await;
    judge.send("GET /v1/admin/accounts", get("?limit=0"), 422).await;
    let path = format!("/{}", account["id"].as_str().expect("an id"));
    let (one, nobody) = ("/v1/admin/accounts/{account}", "/acct_00000000000070008000000000000000");
    judge.send(&format!("GET {one}"), get(&path), 200).await;
    judge.send(&format!("GET {one}"), get(nobody), 404).await;
    let change = |body: Value| world.request(Method::PATCH, &format!("{all}{path}")).json(&body);
    judge.send(&format!("PATCH {one}"), change(json!({"suspended": true, "limits": null})), 200).await;
    judge.send(&format!("PATCH {one}"), change(json!({"suspended": 1})), 422).await;
    let credits = |key: &str, amount: i64| {
        post(&format!("{path}/credits"), json!({"amount": amount, "reason": "a gift"})).header("idempotency-key", key)
    };
    let add = format!("POST {one}/credits");
    judge.send(&add, credits("k", 5), 201).await;
    judge.send(&add, credits("k", 6), 422).await;
    judge.send(&add, credits("l", -1_000), 409).await;
    judge.send(&add, post(&format!("{nobody}/credits"), json!({"amount": 1, "reason": "r"})), 404).await;
    let keys = format!("{path}/keys");
    let made = judge.send(&format!("POST {one}/keys"), post(&keys, json!({"expires_in_seconds": 60})), 201).await;
    judge.send(&format!("POST {one}/keys"), post(&keys, json!({"scopes": []})), 422).await;
    let key = format!("{keys}/{}", made["api_key"]["id"].as_str().expect("an id"));
    let rotate = format!("POST {one}/keys/{{key}}/rotate");
    judge.send(&rotate, post(&format!("{key}/rotate"), json!({})), 201).await;
    let revoke = || world.request(Method::DELETE, &format!("{all}{key}"));
    judge.send(&format!("DELETE {one}/keys/{{key}}"), revoke(), 200).await;
    judge.send(&format!("DELETE {one}/keys/{{key}}"), revoke(), 200).await;
    judge.send(&rotate, post(&format!("{key}/rotate"), json!({})), 409).await;
    judge.send(&format!("GET {one}/keys"), get(&keys), 200).await;
    for list in ["ledger", "actions"] {
        judge.send(&format!("GET {one}/{list}"), get(&format!("{path}/{list}?limit=1")), 200).await;
        judge.send(&format!("GET {one}/{list}"), get(&format!("{path}/{list}?cursor=x")), 422).await;
    }
}

/// The routes of administrators.
async fn administration(judge: &mut Judge<'_>) {
    let world = judge.world;
    let request = |method: Method, path: &str| world.request(method, path);
    let put = |path: &str, body: &Value| request(Method::PUT, path).json(body);
    judge.send("GET /v1/admin/providers", request(Method::GET, "/v1/admin/providers"), 200).await;
    judge.send("GET /v1/admin/catalog", request(Method::GET, "/v1/admin/catalog"), 200).await;
    let stranger = world.customer(0).await;
    judge.send("GET /v1/admin/catalog", stranger.request(Method::GET, "/v1/admin/catalog"), 403).await;
    let entries = [
        ("providers", "acme", run_time_catalog::drawing_provider("acme")),
        ("models", "acme/small", run_time_catalog::model("acme/small", 3)),
        ("chains", "poster", run_time_catalog::chain("poster", "acme/small")),
    ];
    for (kind, name, body) in &entries {
        let (template, path) = (format!("/v1/admin/{kind}/{{name}}"), format!("/v1/admin/{kind}/{name}"));
        let (get, change) = (format!("GET {template}"), format!("PUT {template}"));
        judge.send(&get, request(Method::GET, &path), 404).await;
        judge.send(&change, put(&path, &json!({})), 422).await;
        judge.send(&change, request(Method::PUT, &path).body("{"), 400).await;
        judge.send(&change, put(&path, body).header("if-match", "7"), 412).await;
        judge.send(&change, put(&path, body), 200).await;
        judge.send(&get, request(Method::GET, &path), 200).await;
    }
    judge.send("GET /v1/admin/catalog", request(Method::GET, "/v1/admin/catalog"), 200).await;
    judge.send("GET /v1/admin/providers", request(Method::GET, "/v1/admin/providers"), 200).await;
    judge.send("DELETE /v1/admin/models/{name}", request(Method::DELETE, "/v1/admin/models/acme/small"), 409).await;
    for (kind, name, _) in entries.iter().rev() {
        let (remove, path) = (format!("DELETE /v1/admin/{kind}/{{name}}"), format!("/v1/admin/{kind}/{name}"));
        judge.send(&remove, request(Method::DELETE, &format!("/v1/admin/{kind}/none")), 404).await;
        judge.send(&remove, request(Method::DELETE, &path), 200).await;
    }
}

/// Boxes, and lists of assets.
async fn boxes(judge: &mut Judge<'_>, asset: &str) {
    let world = judge.world;
    let get = |path: &str| world.request(Method::GET, path);
    let request = |method: Method, path: &str, body: Value| world.request(method, path).json(&body);
    let (all, one) = ("POST /v1/boxes", "/v1/boxes/{id}");
    let make = || request(Method::POST, "/v1/boxes", json!({"name": "holiday"})).header("idempotency-key", "a box");
    let made = judge.send(all, make(), 201).await;
    judge.send(all, make(), 201).await;
    judge.send(all, request(Method::POST, "/v1/boxes", json!({})), 422).await;
    let path = format!("/v1/boxes/{}", made["id"].as_str().expect("an id"));
    judge.send(&format!("GET {one}"), get(&path), 200).await;
    judge.send(&format!("GET {one}"), get("/v1/boxes/none"), 404).await;
    judge.send("GET /v1/boxes", get("/v1/boxes?limit=1"), 200).await;
    judge.send("GET /v1/boxes", get("/v1/boxes?cursor=x"), 422).await;
    judge.send(&format!("PATCH {one}"), request(Method::PATCH, &path, json!({"name": "winter"})), 200).await;
    judge.send(&format!("PATCH {one}"), request(Method::PATCH, &path, json!({"name": ""})), 422).await;
    let (change, its_path) = ("PATCH /v1/assets/{id}", format!("/v1/assets/{asset}"));
    judge.send(change, request(Method::PATCH, &its_path, json!({"box_id": made["id"], "filename": "b.jpg"})), 200).await;
    judge.send(change, request(Method::PATCH, &its_path, json!({"box_id": "none"})), 422).await;
    judge.send("GET /v1/assets/{id}", get(&format!("{its_path}?download=1")), 200).await;
    judge.send("GET /v1/assets/{id}", get(&format!("{its_path}?download=x")), 422).await;
    judge.send("GET /v1/assets", get("/v1/assets"), 200).await;
    judge.send("GET /v1/assets", get("/v1/assets?limit=1"), 200).await;
    judge.send("GET /v1/assets", get("/v1/assets?kind=x"), 422).await;
    let remove = |query: &str| world.request(Method::DELETE, &format!("{path}{query}"));
    judge.send(&format!("DELETE {one}"), remove("?content=x"), 422).await;
    judge.send(&format!("DELETE {one}"), remove(""), 409).await;
    judge.send(&format!("DELETE {one}"), remove("?content=keep"), 204).await;
    judge.send(&format!("DELETE {one}"), remove(""), 404).await;
    judge.send(all, make(), 410).await;
}

/// An asset, a generation that has ended, and one that has not, or has just been canceled.
async fn erasure(judge: &mut Judge<'_>, asset: &str, done: &str, canceled: &str) {
    let world = judge.world;
    let delete = |path: &str| world.request(Method::DELETE, path);
    let get = |path: &str| world.request(Method::GET, path);
    let reader = world.request_as("dk_nobody", Method::DELETE, "/v1/account/content");
    judge.send("DELETE /v1/account/content", reader, 401).await;
    let (one, path) = ("DELETE /v1/assets/{id}", format!("/v1/assets/{asset}"));
    judge.send(one, delete("/v1/assets/none"), 404).await;
    judge.send(one, delete(&path), 204).await;
    judge.send("GET /v1/assets/{id}", get(&path), 200).await;
    let complete = world.request(Method::POST, &format!("/v1/uploads/{asset}/complete"));
    judge.send("POST /v1/uploads/{id}/complete", complete, 410).await;
    let one = "DELETE /v1/generations/{id}/content";
    let slow = json!({"model": "flux-schnell", "params": {"prompt": "slow [[delay=5m]]"}});
    let slow = world.post("/v1/generations", &slow).await.body;
    judge.send(one, delete(&format!("/v1/generations/{}/content", slow["id"].as_str().expect("an id"))), 409).await;
    judge.send(one, delete("/v1/generations/none/content"), 404).await;
    judge.send("GET /v1/account/content", get("/v1/account/content"), 404).await;
    judge.send(one, delete(&format!("/v1/generations/{done}/content")), 204).await;
    world.ended(canceled).await;
    judge.send("GET /v1/generations/{id}", get(&format!("/v1/generations/{done}")), 200).await;
    judge.send("DELETE /v1/account/content", delete("/v1/account/content"), 202).await;
    judge.send("GET /v1/account/content", get("/v1/account/content"), 200).await;
    judge.send("GET /v1/generations", get("/v1/generations"), 200).await;
    let one = "DELETE /v1/admin/accounts/{account}/content";
    judge.send(one, delete("/v1/admin/accounts/none/content"), 404).await;
    judge.send(one, delete(&format!("/v1/admin/accounts/{}/content", world.account)), 202).await;
}

/// Generations by hand, and the books.
async fn operators(judge: &mut Judge<'_>, ended: &str) {
    let world = judge.world;
    let get = |path: &str| world.request(Method::GET, path);
    let reason = json!({"reason": "a test"});
    let show = "GET /v1/admin/generations/{id}";
    judge.send(show, get(&format!("/v1/admin/generations/{ended}")), 200).await;
    judge.send(show, get("/v1/admin/generations/none"), 404).await;
    for (what, status) in [("release", 200), ("charge", 200), ("retry", 200)] {
        let id = world.create("flux-schnell", "slow [[delay=5m]]").await;
        world.phase(&id, "running").await;
        let operation = format!("POST /v1/admin/generations/{{id}}/{what}");
        let post = |id: &str, body: &Value| world.request(Method::POST, &format!("/v1/admin/generations/{id}/{what}")).json(body);
        judge.send(&operation, post(&id, &json!({})), 422).await;
        judge.send(&operation, post(&id, &reason), status).await;
        judge.send(&operation, post(ended, &reason), if what == "retry" { 202 } else { 409 }).await;
        judge.send(show, get(&format!("/v1/admin/generations/{id}")), 200).await;
        judge.send("GET /v1/generations/{id}", get(&format!("/v1/generations/{id}")), 200).await;
    }
    let one = "GET /v1/admin/accounts/{account}/reconciliation";
    judge.send(one, get(&format!("/v1/admin/accounts/{}/reconciliation", world.account)), 200).await;
    judge.send(one, get("/v1/admin/accounts/none/reconciliation"), 404).await;
    judge.send("GET /v1/admin/reconciliations", get("/v1/admin/reconciliations?limit=1"), 200).await;
    judge.send("GET /v1/admin/reconciliations", get("/v1/admin/reconciliations?limit=0"), 422).await;
    judge.send("GET /v1/admin/status", get("/v1/admin/status"), 200).await;
    let redrive = |queue: &str| world.request(Method::POST, &format!("/v1/admin/dead-letters/{queue}/redrive"));
    judge.send("POST /v1/admin/dead-letters/{queue}/redrive", redrive("collect"), 202).await;
    judge.send("POST /v1/admin/dead-letters/{queue}/redrive", redrive("x"), 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_described() {
    let world = World::start().await;
    let mut judge = Judge::new(&world);
    let get = |path: &str| world.request(Method::GET, path);
    let post = |path: &str, body: Value| world.request(Method::POST, path).json(&body);
    let order = |model: &str, prompt: &str| json!({"model": model, "params": {"prompt": prompt}});

    let photo = World::photo();
    let announced = json!({"content_type": "image/jpeg", "bytes": photo.len(), "filename": "a.jpg"});
    let upload = judge.send("POST /v1/uploads", post("/v1/uploads", announced), 201).await;
    let asset = upload["id"].as_str().expect("an id");
    judge.send("GET /v1/assets/{id}", get(&format!("/v1/assets/{asset}")), 200).await;
    let complete = format!("/v1/uploads/{asset}/complete");
    judge.send("POST /v1/uploads/{id}/complete", post(&complete, json!({})), 409).await;
    assert_eq!(world.put_upload(&upload, photo).await, 200);
    judge.send("POST /v1/uploads/{id}/complete", post(&complete, json!({})), 200).await;
    judge.send("GET /v1/assets/{id}", get(&format!("/v1/assets/{asset}")), 200).await;
    judge.send("GET /v1/assets/{id}", get("/v1/assets/none"), 404).await;
    judge.send("POST /v1/uploads", post("/v1/uploads", json!({})), 422).await;

    let several = json!({"model": "flux-schnell", "params": {"prompt": "quoted", "num_outputs": 2}});
    judge.send("POST /v1/quotes", post("/v1/quotes", order("placeholder", "quoted")), 200).await;
    let quote = judge.send("POST /v1/quotes", post("/v1/quotes", several.clone()), 200).await;
    judge.send("POST /v1/quotes", post("/v1/quotes", json!({"model": "none"})), 422).await;
    judge.send("POST /v1/quotes", world.request(Method::POST, "/v1/quotes").body("{"), 400).await;
    judge.send("POST /v1/quotes", world.request_as("dk_nobody", Method::POST, "/v1/quotes").json(&several), 401).await;

    let create = "POST /v1/generations";
    let mut redeemed = several;
    redeemed["quote"] = quote["quote"].clone();
    judge.send(create, post("/v1/generations", redeemed.clone()), 202).await;
    redeemed["params"]["num_outputs"] = json!(3);
    judge.send(create, post("/v1/generations", redeemed), 422).await;
    let waited = post("/v1/generations", order("flux-schnell", "done")).header("prefer", "wait=20");
    let done = judge.send(create, waited, 200).await;
    let result = format!("/v1/assets/{}", done["results"][0]["asset_id"].as_str().expect("an id"));
    judge.send("GET /v1/assets/{id}", get(&result), 200).await;
    let failed = judge.send(create, post("/v1/generations", order("flux-schnell", "[[moderate]]")), 202).await;
    let running = judge.send(create, post("/v1/generations", order("flux-schnell", "slow [[delay=5m]]")), 202).await;
    judge.send(create, post("/v1/generations", json!({"model": "none"})), 422).await;
    judge.send(create, world.request(Method::POST, "/v1/generations").body("{"), 400).await;
    let poor = world.customer(1).await;
    judge.send(create, poor.request(Method::POST, "/v1/generations").json(&order("placeholder", "x")), 402).await;
    judge.send(create, world.request_as("dk_nobody", Method::POST, "/v1/generations").json(&json!({})), 401).await;
    judge.send(create, post("/v1/generations", order("placeholder", &"x".repeat(1_000_000))), 413).await;

    let (failed, running) = (failed["id"].as_str().expect("an id"), running["id"].as_str().expect("an id"));
    world.ended(failed).await;
    world.phase(running, "running").await;
    let one = "GET /v1/generations/{id}";
    for id in [failed, running, done["id"].as_str().expect("an id")] {
        judge.send(one, get(&format!("/v1/generations/{id}")), 200).await;
    }
    judge.send(one, get("/v1/generations/none"), 404).await;
    let cancel = "POST /v1/generations/{id}/cancel";
    judge.send(cancel, post(&format!("/v1/generations/{running}/cancel"), json!({})), 202).await;
    judge.send(cancel, post(&format!("/v1/generations/{failed}/cancel"), json!({})), 409).await;
    judge.send(cancel, post("/v1/generations/none/cancel", json!({})), 404).await;

    judge.send("GET /v1/generations", get("/v1/generations?limit=2"), 200).await;
    judge.send("GET /v1/generations", get("/v1/generations"), 200).await;
    judge.send("GET /v1/generations", get("/v1/generations?limit=0"), 422).await;
    judge.send("GET /v1/account/ledger", get("/v1/account/ledger?limit=2"), 200).await;
    judge.send("GET /v1/account/ledger", get("/v1/account/ledger"), 200).await;
    judge.send("GET /v1/account/ledger", get("/v1/account/ledger?cursor=x"), 422).await;
    judge.send("GET /v1/account", get("/v1/account"), 200).await;
    judge.send("GET /v1/account", world.request_as("dk_nobody", Method::GET, "/v1/account"), 401).await;
    judge.send("GET /v1/models", get("/v1/models"), 200).await;
    judge.send("GET /v1/tools", get("/v1/tools"), 200).await;
    boxes(&mut judge, asset).await;
    administration(&mut judge).await;
    accounts(&mut judge).await;
    operators(&mut judge, failed).await;
    erasure(&mut judge, asset, done["id"].as_str().expect("an id"), running).await;

    let mut missed: BTreeSet<&str> = judge.operations.keys().map(String::as_str).collect();
    missed.retain(|operation| !judge.seen.contains(*operation));
    // Providers call this one, with a token that is told to them alone.
    assert_eq!(missed, BTreeSet::from(["POST /v1/callbacks/{provider}/{generation}/{token}"]), "try the new ones here, too");
}
