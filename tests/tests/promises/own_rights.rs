//! Functions as if in processes of their own: none knows what another one has read, so that each needs every right it uses. The world that
//! is dropped at the end fails the test if a policy of template.yaml did not grant a call.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Setting, World};

use crate::run_time_catalog::{chain, drawing_provider, model};

async fn send(world: &World, method: Method, path: &str, body: Option<Value>) -> Value {
    let request = world.request(method.clone(), path);
    let reply = world.send(body.iter().fold(request, |request, body| request.json(body))).await;
    assert!((200..300).contains(&reply.status), "{method} {path}: {} {:#}", reply.status, reply.body);
    reply.body
}

#[tokio::test(flavor = "multi_thread")]
async fn each_function_may_do_by_itself_all_that_it_does() {
    let environment = vec![("REQUESTS_PER_SECOND", "500".to_owned())];
    let world = World::with(Setting { environment, separate_memories: true, ..Setting::default() }).await;
    let photo = world.upload("image/jpeg", World::photo()).await;
    for (model, params) in [
        ("flux-dev", json!({"prompt": "a fox"})),
        ("flux-dev", json!({"prompt": "a fox [[no_callback]]"})),
        ("flux-dev", json!({"prompt": "a fox [[error_after]]"})),
        ("placeholder", json!({"prompt": "a fox"})),
        ("gemini/gemini-3.1-flash-image", json!({"prompt": "a fox", "images": [photo]})),
        ("seedream", json!({"prompt": "лиса"})),
    ] {
        let id = world.create_with(model, params).await;
        assert_eq!(world.minutes_until_ended(&id).await["status"], "succeeded", "{model}");
        send(&world, Method::GET, &format!("/v1/admin/generations/{id}"), None).await;
    }
    let canceled = world.create("flux-dev", "a fox [[delay=50m]]").await;
    world.job(&canceled).await;
    send(&world, Method::POST, &format!("/v1/generations/{canceled}/cancel"), Some(json!({}))).await;
    world.minutes_until_ended(&canceled).await;

    let quoted = json!({"model": "flux-dev", "params": {"prompt": "a fox"}});
    send(&world, Method::POST, "/v1/quotes", Some(quoted)).await;
    let own = send(&world, Method::POST, "/v1/boxes", Some(json!({"name": "foxes"}))).await;
    let moved = json!({"box_id": own["id"]});
    send(&world, Method::PATCH, &format!("/v1/assets/{photo}"), Some(moved)).await;
    for path in [
        "/v1/models",
        "/v1/tools",
        "/v1/account",
        "/v1/account/ledger",
        "/v1/generations",
        "/v1/assets",
        "/v1/boxes",
        "/v1/admin/accounts",
        "/v1/admin/catalog",
        "/v1/admin/providers",
        "/v1/admin/reconciliations",
        "/v1/admin/status",
    ] {
        send(&world, Method::GET, path, None).await;
    }
    send(&world, Method::POST, "/v1/admin/dead-letters/collect/redrive", None).await;
    send(&world, Method::DELETE, &format!("/v1/assets/{photo}"), None).await;
    world.minute().await;
    world.until_nothing_is_left_of(&photo).await;
}

/// Where orders are taken, entries of the catalog are checked; the other functions read them as they were put.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_at_run_time_is_sold_by_one_function_and_made_by_others() {
    let world = World::with(Setting { separate_memories: true, ..Setting::default() }).await;
    for (path, body) in [
        ("/v1/admin/providers/atelier", drawing_provider("atelier")),
        ("/v1/admin/models/atelier/poster", model("atelier/poster", 7)),
        ("/v1/admin/chains/posters", chain("posters", "atelier/poster")),
    ] {
        send(&world, Method::PUT, path, Some(body)).await;
    }
    world.minute().await;
    for (name, credits) in [("atelier/poster", 7), ("posters", 6)] {
        let id = world.create_with(name, json!({"prompt": "a fox"})).await;
        let ended = world.minutes_until_ended(&id).await;
        assert_eq!((&ended["status"], &ended["charged"]), (&json!("succeeded"), &json!(credits)), "{ended:#}");
        let offered = send(&world, Method::GET, "/v1/models", None).await;
        assert!(offered["models"].as_array().is_some_and(|models| models.iter().any(|model| model["name"] == name)), "{name}");
    }
}
