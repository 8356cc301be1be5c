//! What operators see of the whole: what is due, what is stuck, what has failed again and again, and how that is tried once more.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Setting, UNREAD, World};

async fn status(world: &World) -> Value {
    let reply = world.get("/v1/admin/status").await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.body
}

fn dispatch(status: &Value) -> &Value {
    status["queues"].as_array().and_then(|queues| queues.iter().find(|own| own["name"] == "dispatch")).expect("the queue")
}

#[tokio::test(flavor = "multi_thread")]
async fn at_rest_nothing_is_due_stuck_or_queued() {
    let world = World::start().await;
    let id = world.create("placeholder", "a fox").await;
    world.ended(&id).await;
    world.at_rest().await;
    let status = status(&world).await;
    assert_eq!((&status["due"]["stuck"], &status["due"]["stuck_records"]), (&json!(0), &json!([])), "{status:#}");
    for queue in status["queues"].as_array().expect("queues") {
        assert_eq!((&queue["waiting"], &queue["dead_letters"]), (&json!(0), &json!(0)), "{status:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_works_on_is_stuck_and_named() {
    // Its poll is as dead as its dispatch: what is due stays due.
    let environment = vec![("DISPATCH_QUEUE_URL", UNREAD.to_owned()), ("POLL_QUEUE_URL", UNREAD.to_owned())];
    let world = World::with(Setting { environment, ..Setting::default() }).await;
    let id = world.create("placeholder", "a fox").await;
    world.later(Duration::from_secs(600));
    let status = status(&world).await;
    assert_eq!(status["due"]["stuck"], 1, "{status:#}");
    let stuck = &status["due"]["stuck_records"][0];
    assert_eq!(
        (&stuck["kind"], &stuck["id"], &stuck["phase"]),
        (&json!("generation"), &json!(id), &json!("queued")),
        "{status:#}"
    );
    assert!(status["due"]["oldest_s"].as_u64().is_some_and(|seconds| seconds >= 480), "{status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_counted_and_tried_once_more() {
    let world = World::with(Setting::idle()).await;
    let id = world.create("placeholder", "a fox").await;
    // The message lies in the dead-letter queue, as if it had failed again and again.
    assert_eq!(dispatch(&status(&world).await)["dead_letters"], 1);
    let reply = world.post("/v1/admin/dead-letters/dispatch/redrive", &json!({})).await;
    assert_eq!((reply.status, &reply.body), (202, &json!({"queue": "dispatch", "messages": 1})));
    assert_eq!(world.ended(&id).await["status"], "succeeded");
    world.at_rest().await;
    assert_eq!(dispatch(&status(&world).await)["dead_letters"], 0);
    // A second time there is nothing to move; a message that is moved twice changes nothing.
    let reply = world.post("/v1/admin/dead-letters/dispatch/redrive", &json!({})).await;
    assert_eq!(reply.body["messages"], 0);
    let reply = world.post("/v1/admin/dead-letters/nothing/redrive", &json!({})).await;
    assert_eq!(reply.status, 404);
    let actions = world.actions(world.account).await;
    let redrives: Vec<_> = actions.iter().filter(|one| one["what"] == "redrive").map(|one| (&one["about"], &one["by"])).collect();
    assert_eq!(redrives.len(), 2, "{actions:#?}");
    assert!(redrives.iter().all(|(about, by)| **about == "dispatch" && by.is_string()), "who asked is known: {redrives:?}");
    world.assert_charged(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_see_it() {
    let world = World::start().await;
    let customer = world.customer(10).await;
    for (method, path) in [(Method::GET, "/v1/admin/status"), (Method::POST, "/v1/admin/dead-letters/poll/redrive")] {
        assert_eq!(customer.send(customer.request(method, path).json(&json!({}))).await.status, 403, "{path}");
    }
}
