//! Content erased on request: nothing of it is left anywhere, and nothing of the bill is missing.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use shared::keys::{KeyTerms, Scope};
use shared::store::FiledKey;
use tests::{Customer, Reply, Setting, World};

/// A word that stands in prompts and file names only.
pub(crate) const SECRET: &str = "zanzibar";

/// What no erasure may change.
async fn bill(customer: &Customer) -> (Vec<Value>, (u64, u64)) {
    customer.audit().await;
    (customer.ledger().await, customer.balance().await)
}

async fn erase_generation(world: &World, id: &str) -> Reply {
    world.delete(&format!("/v1/generations/{id}/content")).await
}

/// Neither in the table nor in the bucket is anything of it.
pub(crate) async fn assert_nothing_left(world: &World, contents: &[&str]) {
    let table = world.whole_table().await;
    for content in contents {
        assert!(!table.contains(content), "`{content}` is in the table: {table}");
    }
    let objects = world.whole_bucket().await;
    assert!(objects.is_empty(), "left in the bucket: {objects:?}");
}

/// Uploads the photo under a name that is nobody's business; the asset's id.
pub(crate) async fn upload(customer: &Customer) -> String {
    let photo = World::photo();
    let filename = format!("{SECRET}.jpg");
    let announced = json!({"content_type": "image/jpeg", "bytes": photo.len(), "filename": filename});
    let upload = customer.post("/v1/uploads", &announced).await.body;
    assert_eq!(customer.put_upload(&upload, photo).await, 200);
    let id = upload["id"].as_str().expect("an id").to_owned();
    assert_eq!(customer.post(&format!("/v1/uploads/{id}/complete"), &json!({})).await.status, 200);
    id
}

fn drawing(prompt: &str) -> Value {
    json!({"prompt": format!("a fox in {SECRET} {prompt}"), "width": 64, "height": 64})
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_erased_upload_only_its_id_is_left() {
    let world = World::with(Setting::idle()).await;
    let id = upload(&world).await;
    let path = format!("/v1/assets/{id}");
    let link = world.get(&path).await.body["url"].clone();
    for _ in 0..2 {
        let reply = world.delete(&path).await;
        assert_eq!((reply.status, &reply.body), (204, &json!("")));
    }
    let seen = world.get(&path).await.body;
    assert_eq!((&seen["id"], &seen["status"], &seen["source"]), (&json!(id), &json!("erased"), &json!("uploaded")));
    for gone in ["url", "filename", "content_type", "bytes"] {
        assert!(seen[gone].is_null(), "{gone}: {seen}");
    }
    assert_nothing_left(&world, &[SECRET, "uploads/", "image/jpeg"]).await;
    let answer = world.http.media().get(link.as_str().expect("a URL")).send().await.expect("S3 answers");
    assert_eq!(answer.status(), 404, "a link that was given out before");
    let order = json!({"model": "placeholder", "params": {"prompt": "x", "image": id}});
    let refused = world.post("/v1/generations", &order).await;
    assert_eq!((refused.status, &refused.body["code"]), (422, &json!("asset_erased")), "{:?}", refused.body);
    let complete = world.post(&format!("/v1/uploads/{id}/complete"), &json!({})).await;
    assert_eq!((complete.status, &complete.body["code"]), (410, &json!("asset_erased")));
    bill(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_sent_after_its_upload_was_erased_is_deleted_too() {
    let world = World::start().await;
    let photo = World::photo();
    let announced = json!({"content_type": "image/jpeg", "bytes": photo.len(), "filename": format!("{SECRET}.jpg")});
    let upload = world.post("/v1/uploads", &announced).await.body;
    let id = upload["id"].as_str().expect("an id");
    assert_eq!(world.delete(&format!("/v1/assets/{id}")).await.status, 204);
    assert_eq!(world.put_upload(&upload, photo).await, 200, "the link is good until it ends");
    assert_eq!(world.post(&format!("/v1/uploads/{id}/complete"), &json!({})).await.status, 410);
    for _ in 0..30 {
        if world.whole_bucket().await.is_empty() {
            break;
        }
        world.pass(Duration::from_secs(61)).await;
        world.at_rest().await;
    }
    assert_nothing_left(&world, &[SECRET, "uploads/"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_result_stays_listed_without_its_content() {
    let world = World::start().await;
    let id = world.create("gemini-flash", "What does the fox say?").await;
    let done = world.ended(&id).await;
    let text = done["results"][0]["text"].as_str().expect("a text").to_owned();
    assert!(world.whole_table().await.contains(&text));
    let before = bill(&world).await;
    let asset = done["results"][0]["asset_id"].as_str().expect("an id");
    for _ in 0..2 {
        assert_eq!(world.delete(&format!("/v1/assets/{asset}")).await.status, 204);
    }
    assert_nothing_left(&world, &[&text, "results/", "staged/"]).await;
    let after = world.generation(&id).await;
    let erased = json!({"url": null, "content_type": null, "bytes": null, "asset_id": asset, "erased": true});
    assert_eq!((&after["status"], &after["results"]), (&json!("succeeded"), &json!([erased])));
    assert_eq!(after["params"], done["params"], "what was asked for stays");
    let seen = world.get(&format!("/v1/assets/{asset}")).await.body;
    assert_eq!((&seen["status"], &seen["generation_id"], &seen["url"]), (&json!("erased"), &json!(id), &Value::Null));
    assert_eq!(bill(&world).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_erased_generation_the_bill_is_left() {
    let world = World::start().await;
    let fox = format!("a fox in {SECRET}");
    let orders = [
        ("placeholder", drawing("")),
        ("placeholder", drawing("[[fail]]")),
        ("flux-schnell", json!({"prompt": format!("{fox} [[moderate]]")})),
        ("gemini-flash", json!({"prompt": fox})),
        ("gpt-image", json!({"prompt": fox, "count": 2, "width": 1024, "height": 1024})),
    ];
    for (model, params) in orders {
        let id = world.create_with(model, params).await;
        let done = world.ended(&id).await;
        let before = bill(&world).await;
        for _ in 0..2 {
            assert_eq!(erase_generation(&world, &id).await.status, 204);
        }
        let text = done["results"][0]["text"].as_str().unwrap_or(SECRET);
        assert_nothing_left(&world, &[SECRET, text, "results/", "staged/"]).await;
        let after = world.generation(&id).await;
        for same in ["id", "status", "phase", "model", "provider", "cost", "charged", "created_at", "finished_at"] {
            assert_eq!(after[same], done[same], "{same} of {model}");
        }
        assert_eq!((&after["params"], after["erased_at"].is_string()), (&json!({}), true), "{after:#}");
        assert_eq!(after["error"]["class"], done["error"]["class"]);
        assert!(after["error"].is_null() || after["error"]["message"] == "erased", "{after:#}");
        let results = |seen: &Value| seen["results"].as_array().expect("a list").clone();
        assert_eq!(results(&after).len(), results(&done).len());
        for (result, whole) in results(&after).iter().zip(results(&done)) {
            assert_eq!(
                (&result["asset_id"], &result["erased"], &result["url"]),
                (&whole["asset_id"], &json!(true), &Value::Null)
            );
            let asset = world.get(&format!("/v1/assets/{}", whole["asset_id"].as_str().expect("an id"))).await.body;
            assert_eq!((&asset["status"], &asset["url"]), (&json!("erased"), &Value::Null));
        }
        assert_eq!(bill(&world).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_to_an_erased_generation_is_an_asset_of_its_own() {
    let world = World::start().await;
    let image = upload(&world).await;
    let id = world.create_with("placeholder", json!({"prompt": "mine", "image": image})).await;
    world.ended(&id).await;
    assert_eq!(erase_generation(&world, &id).await.status, 204);
    let seen = world.get(&format!("/v1/assets/{image}")).await.body;
    assert_eq!(seen["status"], "ready");
    world.download(&seen["url"]).await;
    assert_eq!(world.whole_bucket().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_ended_is_not_erased() {
    let world = World::start().await;
    let id = world.create("flux-schnell", &format!("a fox in {SECRET} [[delay=5m]]")).await;
    world.phase(&id, "running").await;
    let before = world.generation(&id).await;
    let reply = erase_generation(&world, &id).await;
    assert_eq!((reply.status, &reply.body["code"]), (409, &json!("not_ended")), "{:?}", reply.body);
    assert_eq!(world.generation(&id).await, before);
    world.assert_held(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_an_erasure_brings_nothing_back() {
    let world = World::start().await;
    let id = world.create("flux-schnell", &format!("a fox in {SECRET} [[delay=5m]] [[no_callback]]")).await;
    let job = world.job(&id).await;
    assert_eq!(world.post(&format!("/v1/generations/{id}/cancel"), &json!({})).await.status, 202);
    assert_eq!(world.ended(&id).await["status"], "canceled");
    assert_eq!(erase_generation(&world, &id).await.status, 204);
    let before = (bill(&world).await, world.generation(&id).await);
    // The provider made it all the same, and says so with its signature.
    let message = World::success("replicate", &job, &format!("{}/_sim/{SECRET}.png", world.api));
    for _ in 0..2 {
        let signed = world.sign("replicate", &message, world.stack.clock.now());
        let reply = world.deliver(&world.callback_url("replicate", &id), &signed).await;
        assert_eq!((reply.status, &reply.body), (200, &json!({"changed": false})));
        for _ in 0..8 {
            world.pass(Duration::from_secs(61)).await;
        }
        world.at_rest().await;
        assert_nothing_left(&world, &[SECRET, "results/"]).await;
    }
    assert_eq!((bill(&world).await, world.generation(&id).await), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_a_slow_worker_finishes_after_the_erasure_is_deleted() {
    let world = World::start().await;
    let id = world.create_with("placeholder", drawing("")).await;
    world.ended(&id).await;
    assert_eq!(erase_generation(&world, &id).await.status, 204);
    // As a second collect worker that had begun before would, and then die.
    let key = format!("results/{}/{id}/1-0.png", world.account);
    world.stack.backend.bucket.put(&key, World::photo(), "image/png").await.expect("stored");
    for _ in 0..8 {
        world.pass(Duration::from_secs(61)).await;
        world.at_rest().await;
    }
    assert_nothing_left(&world, &[SECRET, "results/"]).await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_erasures_at_once_are_one() {
    let world = World::start().await;
    let id = world.create("gemini-flash", &format!("a fox in {SECRET}")).await;
    let done = world.ended(&id).await;
    let before = bill(&world).await;
    let asset = done["results"][0]["asset_id"].as_str().expect("an id");
    let paths = [format!("/v1/generations/{id}/content"), format!("/v1/assets/{asset}")];
    let replies = join_all((0..16).map(|number| world.delete(&paths[number % 2]))).await;
    assert!(replies.iter().all(|reply| reply.status == 204), "{replies:?}");
    assert_nothing_left(&world, &[SECRET, "results/", "staged/"]).await;
    let seen = world.get(&paths[1]).await.body;
    assert_eq!(seen["status"], "erased");
    assert_eq!(bill(&world).await, before);
}

/// A key of this account with these scopes.
pub(crate) async fn key_with(world: &World, customer: &Customer, scopes: Vec<Scope>) -> String {
    let backend = &world.stack.backend;
    let (key, filed) = FiledKey::make(customer.account, KeyTerms::plain(scopes), backend.now());
    let action = backend.action(customer.account, None, "create_key", &filed.key.id.to_string(), None);
    backend.store.add_key(&filed, &action, None, backend.now()).await.expect("filed");
    key
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_reading_erases_nothing() {
    let world = World::start().await;
    let asset = upload(&world).await;
    let id = world.create_with("placeholder", drawing("")).await;
    world.ended(&id).await;
    let reader = key_with(&world, &world, vec![Scope::Read]).await;
    let admin = key_with(&world, &world, vec![Scope::Admin]).await;
    let (table, bucket) = (world.whole_table().await, world.whole_bucket().await);
    let paths = [format!("/v1/assets/{asset}"), format!("/v1/generations/{id}/content"), "/v1/account/content".to_owned()];
    for key in [&reader, &admin] {
        for path in &paths {
            let reply = world.send(world.request_as(key, Method::DELETE, path)).await;
            assert_eq!((reply.status, &reply.body["code"]), (403, &json!("forbidden")), "{path}");
        }
    }
    assert!(table.contains(SECRET) && world.whole_table().await.contains(SECRET));
    assert_eq!(world.whole_bucket().await, bucket);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_erases_in_a_running_darkroom() {
    let world = World::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let asset = upload(&world).await;
    let id = world.create_with("placeholder", drawing("")).await;
    world.ended(&id).await;
    let account = world.account.to_string();
    for (kind, id, said) in
        [("asset", &asset, "erased"), ("generation", &id, "erased the content"), ("account", &account, "is being erased")]
    {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_darkroom-under-test"));
        command.args(["erase", kind, id, "--api", &world.api, "--key", &world.key]);
        let output = command.current_dir(folder.path()).env_clear().kill_on_drop(true).output().await.expect("it ends");
        let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && out.contains(said) && out.contains(id), "{kind}: {out}{errors}");
    }
    assert_eq!(world.get("/v1/account/content").await.status, 200);
    assert_nothing_left(&world, &[SECRET, "results/", "uploads/"]).await;
}
