//! Providers, models and chains are data that can change while the product runs: live within a minute, checked as a whole, and what was
//! accepted before ends as it began.

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::backend::Backend;
use shared::catalog::Catalog;
use shared::clock::Clock;
use shared::live_catalog::LiveCatalog;
use shared::secrets::write_file;
use tests::{Customer, Fault, Reply, Setting, World};

mod studio;

use studio::{KEY, Studio, studio_manifest};
pub(crate) use studio::{chain, drawing_provider, model};

const PROGRAM: &str = env!("CARGO_BIN_EXE_darkroom-under-test");

/// A world whose data folder holds the studio's key, and the folder.
async fn world_with_key() -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    write_file(&folder.path().join("secrets.json"), "STUDIO_KEY", &SecretString::from(KEY)).expect("it is written");
    let data = Some(folder.path().to_owned());
    (World::with(Setting { data, ..Setting::default() }).await, folder)
}

async fn put(customer: &Customer, path: &str, body: &Value) -> Reply {
    customer.send(customer.request(Method::PUT, &format!("/v1/admin/{path}")).json(body)).await
}

async fn remove(customer: &Customer, path: &str) -> Reply {
    customer.send(customer.request(Method::DELETE, &format!("/v1/admin/{path}"))).await
}

/// Puts what has to be taken; its version.
async fn put_well(customer: &Customer, path: &str, body: &Value) -> u64 {
    let reply = put(customer, path, body).await;
    assert_eq!((reply.status, &reply.body["live_within_seconds"]), (200, &json!(60)), "{path}: {:?}", reply.body);
    reply.body["version"].as_u64().expect("a version")
}

async fn entries(customer: &Customer) -> Vec<Value> {
    customer.get("/v1/admin/catalog").await.body["entries"].as_array().expect("a list").clone()
}

async fn provider(customer: &Customer, name: &str) -> Value {
    let providers = customer.get("/v1/admin/providers").await.body["providers"].as_array().expect("a list").clone();
    providers.into_iter().find(|provider| provider["name"] == name).expect("the provider")
}

async fn offers(customer: &Customer, name: &str) -> bool {
    let models = customer.get("/v1/models").await.body["models"].clone();
    models.as_array().expect("a list").iter().any(|model| model["name"] == name)
}

/// `darkroom …` against the world; what it prints, and whether it was content.
async fn darkroom(world: &World, arguments: &[&str]) -> (String, bool) {
    let mut command = tokio::process::Command::new(PROGRAM);
    command.args(arguments).env("DARKROOM_API", &world.api).env("DARKROOM_API_KEY", &world.key);
    let output = command.output().await.expect("it runs");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (text, output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_only_a_file_makes_pictures() {
    let (studio, address, _server) = Studio::open().await;
    let (world, folder) = world_with_key().await;
    let file = folder.path().join("studio.json");
    std::fs::write(&file, format!("{:#}", studio_manifest(&address, "one"))).expect("it is written");
    let file = file.to_str().expect("text");
    assert_eq!(
        darkroom(&world, &["catalog", "put", file]).await,
        ("provider studio has version 1, live within 60 s\n".to_owned(), true)
    );
    assert!(offers(&world, "studio/portrait").await);

    let id = world.create("portrait", "somebody").await;
    world.phase(&id, "running").await;
    let standing = provider(&world, "studio").await;
    let expected = json!({
        "source": "run_time", "configured": true, "key_env": "STUDIO_KEY", "keys": 1, "base_url": address, "base_url_override": null,
        "limits": { "concurrency": 3 }, "in_flight": 1, "waiting": 0, "models": ["studio/portrait"], "result_lifetime_s": 86400
    });
    for (member, value) in expected.as_object().expect("members") {
        assert_eq!(&standing[member], value, "{member}");
    }
    assert_eq!((&standing["health"][0]["health"], &standing["health"][0]["until"]), (&json!("ok"), &Value::Null));
    assert!(!standing.to_string().contains(KEY), "{standing}");

    studio.finish();
    let done = world.minutes_until_ended(&id).await;
    assert_eq!(done["status"], "succeeded", "{done:#}");
    assert_eq!(world.download(&done["results"][0]["url"]).await, World::photo());
    assert_eq!(studio.calls("POST /one/jobs"), 1);
    world.assert_charged(&id).await;
    world.audit().await;

    let (listed, _) = darkroom(&world, &["catalog", "list"]).await;
    assert!(listed.contains("provider  studio "), "{listed}");
    let (table, content) = darkroom(&world, &["providers"]).await;
    let row = table.lines().find(|line| line.starts_with("studio ")).unwrap_or_else(|| panic!("{table}"));
    assert!(content && row.contains("run-time") && row.contains(" yes "), "{table}");
    assert_eq!(darkroom(&world, &["catalog", "remove", "provider", "studio"]).await.0, "removed provider studio (version 2)\n");
    assert!(!offers(&world, "studio/portrait").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_running_darkroom_it_says_how_to_start_one() {
    let arguments = ["providers", "--api", "http://127.0.0.1:9", "--key", "any"];
    let output = tokio::process::Command::new(PROGRAM).args(arguments).output().await.expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("start one with `darkroom dev`"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_under_an_old_version_ends_under_it() {
    let (studio, address, _server) = Studio::open().await;
    let (world, _folder) = world_with_key().await;
    assert_eq!(put_well(&world, "providers/studio", &studio_manifest(&address, "one")).await, 1);
    let old = world.create("portrait", "old").await;
    world.phase(&old, "running").await;
    assert_eq!(put_well(&world, "providers/studio", &studio_manifest(&address, "two")).await, 2);
    let new = world.create("portrait", "new").await;
    world.phase(&new, "running").await;
    studio.finish();
    for id in [&old, &new] {
        let done = world.minutes_until_ended(id).await;
        assert_eq!((&done["status"], done["attempts"].as_array().map(Vec::len)), (&json!("succeeded"), Some(1)), "{done:#}");
    }
    for edition in ["one", "two"] {
        assert_eq!(studio.calls(&format!("POST /{edition}/jobs")), 1, "{edition}");
    }
    assert!(studio.calls("GET /one/jobs/job-1") >= 1 && studio.calls("GET /two/jobs/job-2") >= 1);
    assert_eq!((studio.calls("GET /one/jobs/job-2"), studio.calls("GET /two/jobs/job-1")), (0, 0));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_at_a_removed_provider_still_ends() {
    let (studio, address, _server) = Studio::open().await;
    let (world, folder) = world_with_key().await;
    put_well(&world, "providers/studio", &studio_manifest(&address, "one")).await;
    put_well(&world, "models/studio/landscape", &{
        let mut own = model("studio/landscape", 9);
        own["operation"] = Value::Null;
        own["input"] = json!({ "text": "{{prompt}}" });
        own
    })
    .await;
    let ids = [world.create("portrait", "first").await, world.create("studio/landscape", "second").await];
    for id in &ids {
        world.phase(id, "running").await;
    }
    let refused = remove(&world, "providers/studio").await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("in_use")), "{:?}", refused.body);
    assert!(refused.body["detail"].as_str().expect("text").contains("`studio/landscape`"), "{:?}", refused.body);
    for path in ["models/studio/landscape", "providers/studio"] {
        let removed = remove(&world, path).await;
        assert_eq!((removed.status, &removed.body["version"]), (200, &json!(2)), "{:?}", removed.body);
        // Removed is removed.
        assert_eq!(remove(&world, path).await.body, removed.body);
    }
    let unknown = world.post("/v1/generations", &json!({"model": "portrait", "params": {"prompt": "x"}})).await;
    assert_eq!((unknown.status, &unknown.body["code"]), (422, &json!("unknown_model")));
    drop(world);

    // Nothing of it is in anybody's memory any more.
    studio.finish();
    let world = World::with(Setting { data: Some(folder.path().to_owned()), ..Setting::default() }).await;
    for (id, credits) in ids.iter().zip([4, 9]) {
        let done = world.minutes_until_ended(id).await;
        assert_eq!((&done["status"], &done["charged"]), (&json!("succeeded"), &json!(credits)), "{done:#}");
    }
    assert_eq!(studio.calls("POST "), 2);
    world.audit().await;
    // A name that comes again never gets an old number.
    assert_eq!(put_well(&world, "providers/studio", &studio_manifest(&address, "one")).await, 3);
}

/// Those of the manifest that comes with the product.
fn placeholders_models() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("shared/catalog/providers/placeholder.json");
    let manifest: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("it is there")).expect("JSON");
    manifest["models"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_built_in_provider_can_be_replaced_and_comes_back() {
    let world = World::start().await;
    let built_in = provider(&world, "placeholder").await;
    assert_eq!((&built_in["source"], &built_in["configured"]), (&json!("built_in"), &json!(true)));
    let slow = world.create("placeholder", "slow [[delay=10m]]").await;
    world.phase(&slow, "running").await;
    let mut own = drawing_provider("placeholder");
    own["models"] = json!([model("placeholder", 11)]);
    // The tools have other models of it.
    let refused = put(&world, "providers/placeholder", &own).await;
    assert_eq!((refused.status, &refused.body["param"]), (422, &json!("analyze")), "{:?}", refused.body);
    let mut models = placeholders_models();
    models[0] = model("placeholder", 11);
    own["models"] = json!(models);
    // The chain `image` hands it a width and a height.
    let refused = put(&world, "providers/placeholder", &own).await;
    assert_eq!((refused.status, &refused.body["param"]), (422, &json!("create")), "{:?}", refused.body);
    for side in ["width", "height"] {
        own["models"][0]["params"]["properties"][side] = json!({ "type": "integer" });
    }
    let version = put_well(&world, "providers/placeholder", &own).await;
    assert!(version > built_in["version"].as_u64().expect("a version"));
    assert_eq!(provider(&world, "placeholder").await["source"], "run_time");
    let id = world.create("placeholder", "dearer").await;
    assert_eq!(world.ended(&id).await["charged"], 11);
    assert_eq!(remove(&world, "providers/placeholder").await.status, 200);
    let back = provider(&world, "placeholder").await;
    assert_eq!((&back["source"], back["version"].as_u64()), (&json!("built_in"), Some(version + 1)));
    let id = world.create("placeholder", "as before").await;
    assert_eq!(world.ended(&id).await["charged"], 5);
    let done = world.minutes_until_ended(&slow).await;
    assert_eq!((&done["status"], &done["charged"]), (&json!("succeeded"), &json!(5)), "{done:#}");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_and_chains_can_be_added_to_what_is_there() {
    let world = World::start().await;
    assert_eq!(put_well(&world, "models/placeholder/large", &model("placeholder/large", 7)).await, 1);
    assert_eq!(put_well(&world, "chains/poster", &chain("poster", "placeholder/large")).await, 1);
    for (name, credits) in [("placeholder/large", 7), ("poster", 6)] {
        let id = world.create(name, "a fox").await;
        let done = world.ended(&id).await;
        assert_eq!((&done["status"], &done["charged"]), (&json!("succeeded"), &json!(credits)), "{done:#}");
    }
    let refused = remove(&world, "models/placeholder/large").await;
    assert_eq!(refused.status, 409, "{:?}", refused.body);
    assert!(refused.body["detail"].as_str().expect("text").contains("chain `poster`"), "{:?}", refused.body);
    let shown = world.get("/v1/admin/models/placeholder/large").await;
    assert_eq!((shown.status, &shown.body["body"]), (200, &model("placeholder/large", 7)));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_entry_is_refused_with_its_place_and_nothing_is_stored() {
    let world = World::with(Setting::idle()).await;
    let with = |mut body: Value, member: &str, value: Value| {
        body[member] = value;
        body
    };
    let acme = drawing_provider("acme");
    let studio = |pointer: &str, value: Value| {
        let mut manifest = studio_manifest("https://studio.example", "one");
        *manifest.pointer_mut(pointer).expect("it is there") = value;
        manifest
    };
    let alias = with(model("acme/x", 1), "aliases", json!(["flux-dev"]));
    let large = with(model("placeholder/x", 1), "description", "x".repeat(300_000).into());
    let cases: Vec<(&str, Value, u64, &str, &str)> = vec![
        ("providers/acme", with(acme.clone(), "colour", json!("red")), 422, "colour", "unknown field `colour`"),
        ("providers/other", acme.clone(), 422, "name", "it says `acme`"),
        (
            "providers/acme",
            with(acme.clone(), "models", json!([model("fal/x", 1)])),
            422,
            "models[0].name",
            "starts with `acme/`",
        ),
        ("providers/acme", with(acme.clone(), "models", json!([alias])), 422, "acme/x: aliases[0]", "taken by `fal/"),
        (
            "providers/studio",
            studio("/transport/http/key_env", json!("FAL_KEY")),
            422,
            "transport.http.key_env",
            "of another provider",
        ),
        (
            "providers/studio",
            studio("/transport/http/base_url", json!("http://studio.example")),
            422,
            "transport.http.base_url",
            "https://host",
        ),
        (
            "providers/studio",
            studio("/transport/http/apis/jobs/poll/urls/0", json!("{{base_url}}/{{job.nothing}}")),
            422,
            "transport.http.apis.jobs.poll.urls[0]",
            "job.nothing",
        ),
        ("providers/studio", studio("/models/0/input/text", json!("{{text}}")), 422, "models[0].input.text", "not a parameter"),
        ("providers/replicate", drawing_provider("replicate"), 422, "create", "chain `create` would not load any more"),
        ("models/acme/x", model("acme/x", 1), 422, "name", "there is no provider `acme`"),
        (
            "models/stability/x",
            with(with(model("stability/x", 1), "operation", Value::Null), "api", json!("none")),
            422,
            "api",
            "none",
        ),
        (
            "models/placeholder/x",
            with(model("placeholder/x", 1), "params", json!({"type": "nonsense"})),
            422,
            "params.type",
            "has to be",
        ),
        ("chains/poster", chain("poster", "nobody/x"), 422, "candidates[0].model", "there is no model `nobody/x`"),
        ("chains/placeholder", chain("placeholder", "placeholder"), 422, "name", "is taken by `placeholder`"),
        ("chains/poster", json!([chain("poster", "placeholder")]), 422, "", "a JSON object"),
        ("models/placeholder/x", large, 413, "", "at most"),
    ];
    for (path, body, status, param, part) in cases {
        let reply = put(&world, path, &body).await;
        let (told, at) = (reply.body["detail"].as_str().unwrap_or_default(), reply.body["param"].as_str().unwrap_or_default());
        assert_eq!((u64::from(reply.status), at), (status, param), "{path}: {:?}", reply.body);
        assert!(told.contains(part), "{path}: {told}");
        assert_eq!(reply.header("content-type"), "application/problem+json");
    }
    let odd = world.request(Method::PUT, "/v1/admin/models/placeholder/x").header("if-match", "newest");
    assert_eq!(world.send(odd.json(&model("placeholder/x", 1))).await.body["param"], "If-Match");
    assert_eq!(world.send(world.request(Method::PUT, "/v1/admin/models/placeholder/x").body("{")).await.status, 400);
    assert_eq!(entries(&world).await, [Value::Null; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_body_again_is_the_same_version() {
    let world = World::with(Setting::idle()).await;
    let path = "models/placeholder/large";
    let put_over = async |version: &str, credits: u64| {
        let request = world.request(Method::PUT, &format!("/v1/admin/{path}")).header("if-match", version);
        world.send(request.json(&model("placeholder/large", credits))).await
    };
    assert_eq!(put_over("1", 7).await.status, 412, "there is none yet");
    assert_eq!(put_well(&world, path, &model("placeholder/large", 7)).await, 1);
    assert_eq!(put_well(&world, path, &model("placeholder/large", 7)).await, 1);
    assert_eq!(put_well(&world, path, &model("placeholder/large", 8)).await, 2);
    let stale = put_over("1", 9).await;
    assert_eq!((stale.status, &stale.body["code"]), (412, &json!("version_mismatch")), "{:?}", stale.body);
    assert_eq!(put_over("\"2\"", 9).await.body["version"], 3);
    // The answer was lost, and the caller asks again.
    assert_eq!(put_over("2", 9).await.body["version"], 3);
    // The number in a manifest is the server's.
    let mut acme = drawing_provider("acme");
    assert_eq!(put_well(&world, "providers/acme", &acme).await, 1);
    acme["version"] = json!(77);
    assert_eq!(put_well(&world, "providers/acme", &acme).await, 1);
    acme.as_object_mut().expect("members").remove("version");
    assert_eq!(put_well(&world, "providers/acme", &acme).await, 1);
    acme["submit_repeat_safe"] = json!(false);
    assert_eq!(put_well(&world, "providers/acme", &acme).await, 2);
    assert_eq!(world.get("/v1/admin/providers/acme").await.body["body"]["version"], 2);
    assert_eq!(entries(&world).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_changes_at_once_are_all_versions_of_their_own() {
    let world = World::with(Setting::idle()).await;
    let changes = (1..=5).map(|credits| {
        let world = &world;
        async move { put_well(world, "models/placeholder/large", &model("placeholder/large", credits)).await }
    });
    let mut versions = futures_util::future::join_all(changes).await;
    versions.sort_unstable();
    assert_eq!(versions, [1, 2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_the_scope_administrates_nothing() {
    let world = World::with(Setting::idle()).await;
    let stranger = world.customer(100).await;
    let api: Value = local::openapi::text().parse().expect("JSON");
    let mut tried = 0;
    for (path, item) in api["paths"].as_object().expect("paths") {
        let Some(rest) = path.strip_prefix("/v1/admin/") else { continue };
        for method in item.as_object().expect("methods").keys() {
            let method: Method = method.to_uppercase().parse().expect("a method");
            let path = format!("/v1/admin/{}", rest.replace("{name}", "placeholder"));
            let reply = stranger.send(stranger.request(method.clone(), &path).json(&json!({}))).await;
            assert_eq!((reply.status, &reply.body["code"]), (403, &json!("forbidden")), "{method} {path}");
            let nobody = stranger.send(stranger.request_as("dk_nobody", method, &path).json(&json!({}))).await;
            assert_eq!((nobody.status, &nobody.body["code"]), (401, &json!("unauthenticated")), "{path}");
            tried += 1;
        }
    }
    assert!(tried >= 29, "{tried} routes of administrators");
    assert_eq!(entries(&world).await, [Value::Null; 0]);
}

/// A catalog as another process has it, with a clock of its own.
fn another_catalog(world: &World) -> (LiveCatalog, Clock) {
    let clock = Clock::system();
    (LiveCatalog::new(Catalog::built_in().expect("loads"), world.another_store(), clock.clone()), clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_sees_a_change_within_a_minute() {
    let world = World::with(Setting::idle()).await;
    let (live_catalog, clock) = another_catalog(&world);
    let own = &world.stack.backend;
    let (config, bucket, queue) = (own.config.as_ref().clone(), own.bucket.clone(), own.queue.clone());
    let other = Backend::assemble(live_catalog, config, world.another_store(), bucket, queue, own.secrets.clone(), clock.clone());
    let offers = async || other.catalog().await.expect("the table answers").model("placeholder/large").is_some();
    assert!(!offers().await);
    put_well(&world, "models/placeholder/large", &model("placeholder/large", 7)).await;
    assert!(!offers().await, "read a moment ago");
    clock.advance(Duration::from_secs(60));
    assert!(offers().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_table_does_not_answer_the_catalog_stays_as_it_was() {
    let world = World::with(Setting::idle()).await;
    world.first_tick().await;
    put_well(&world, "models/placeholder/large", &model("placeholder/large", 7)).await;
    let clock = Clock::system();
    let live = LiveCatalog::new(Catalog::built_in().expect("loads"), world.stack.backend.store.clone(), clock.clone());
    let offers = async || live.now().await.expect("something is known").model("placeholder/large").is_some();
    assert!(offers().await);
    world.wire.reset();
    clock.advance(Duration::from_secs(60));
    world.wire.cut(1, Fault::CutBefore);
    assert!(offers().await && !world.wire.is_waiting());
    // It is left alone for a moment, then asked again.
    let seen = world.wire.seen();
    assert!(offers().await);
    assert_eq!(world.wire.seen(), seen);
    clock.advance(Duration::from_secs(6));
    assert!(offers().await);
    assert_eq!(world.wire.seen(), seen + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_never_read_the_table_does_not_guess() {
    let clock = Clock::stopped(Clock::system().now());
    let world = World::with(Setting { clock: Some(clock), ..Setting::idle() }).await;
    world.first_tick().await;
    world.idle().await;
    let live = LiveCatalog::new(Catalog::built_in().expect("loads"), world.stack.backend.store.clone(), Clock::system());
    world.wire.reset();
    world.wire.cut(1, Fault::CutBefore);
    assert!(live.now().await.is_err());
    assert!(live.now().await.is_ok());
}
