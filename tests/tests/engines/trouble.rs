//! Jobs that do not end well: each costs nothing, and nothing is done twice.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tests::{Setting, World};

use crate::PROVIDERS;

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_gives_the_credits_back() {
    let world = World::start().await;
    for model in ["placeholder", "flux-schnell", "flux-dev"] {
        let id = world.create(model, "a fox [[fail]]").await;
        let done = world.ended(&id).await;
        assert_eq!((&done["status"], &done["error"]["class"]), (&json!("failed"), &json!("provider_failed")), "{done:#}");
        world.assert_released(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_stops_the_provider_and_gives_the_credits_back() {
    let world = World::start().await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox [[delay=5m]]").await;
        world.job(&id).await;
        let reply = world.post(&format!("/v1/generations/{id}/cancel"), &json!({})).await;
        assert_eq!(reply.status, 202, "{:?}", reply.body);
        assert_eq!(world.ended(&id).await["status"], "canceled");
        assert!(!world.stack.simulators.journal().cancels(provider).is_empty());
        world.assert_released(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_resolved_by_evidence() {
    let world = World::start().await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox [[error_after]] [[delay=20s]]").await;
        let lost = world.phase(&id, "unconfirmed").await;
        assert_eq!(lost["unconfirmed"]["reason"], "server_error");
        world.assert_held(&id).await;
        world.soon(Duration::from_secs(20));
        let done = world.ended(&id).await;
        assert_eq!((&done["status"], done["attempts"].as_array().map(Vec::len)), (&json!("succeeded"), Some(1)), "{done:#}");
        assert_eq!(world.stack.simulators.journal().submits(provider).len(), 1);
        world.assert_charged(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_sent_many_times_is_one_generation() {
    let world = World::start().await;
    let body = json!({"model": "placeholder", "params": {"prompt": "once", "width": 64, "height": 64}});
    let ask = async |body: serde_json::Value| {
        let request = world.request(Method::POST, "/v1/generations").header("idempotency-key", "key-1").json(&body);
        world.send(request).await
    };
    let replies = join_all((0..16).map(|_| ask(body.clone()))).await;
    // Who comes while the first is being written may be told to ask again.
    let accepted: Vec<_> = replies.iter().filter(|reply| reply.status == 202).collect();
    assert!(replies.iter().all(|reply| matches!(reply.status, 202 | 409)), "{replies:?}");
    assert!(accepted.iter().all(|reply| reply.body["id"] == accepted[0].body["id"]));
    assert_eq!(accepted.iter().filter(|reply| reply.header("idempotency-replayed").is_empty()).count(), 1);
    let id = accepted[0].body["id"].as_str().expect("an id").to_owned();
    world.ended(&id).await;
    let again = ask(body).await;
    assert_eq!((again.status, again.header("idempotency-replayed"), &again.body["id"]), (202, "true", &json!(id)));
    let other = ask(json!({"model": "placeholder", "params": {"prompt": "another"}})).await;
    assert_eq!((other.status, &other.body["code"]), (422, &json!("idempotency_key_reused")), "{:?}", other.body);
    assert_eq!(world.audit().await.len(), 1);
    world.assert_charged(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_parallel_requests_cannot_spend_the_credits_of_ten() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(50).await;
    let body = json!({"model": "placeholder", "params": {"prompt": "me first"}});
    let replies = join_all((0..64).map(|_| customer.post("/v1/generations", &body))).await;
    let count = |status| replies.iter().filter(|reply| reply.status == status).count();
    assert_eq!((count(202), count(402)), (10, 54));
    assert_eq!(customer.balance().await, (0, 50));
    assert_eq!(customer.audit().await.len(), 10);
}
