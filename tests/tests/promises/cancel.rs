//! Canceling, in every state: at once where nothing was sent, through the provider where it works on it, and never at the books' cost.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Reply, Setting, World, free_port};

use crate::PROVIDERS;

async fn cancel(world: &World, id: &str) -> Reply {
    world.post(&format!("/v1/generations/{id}/cancel"), &json!({})).await
}

async fn assert_too_late(world: &World, id: &str) {
    let before = world.ledger().await;
    let reply = cancel(world, id).await;
    assert_eq!((reply.status, &reply.body["code"]), (409, &"too_late".into()), "{:?}", reply.body);
    assert_eq!(world.ledger().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_queue_is_canceled_at_once() {
    let environment = vec![("FAL_KEY", "any".to_owned()), ("FAL_BASE_URL", format!("http://127.0.0.1:{}", free_port()))];
    let world = World::with(Setting { environment, ..Setting::default() }).await;
    let id = world.create("flux-dev", "a fox").await;
    // The pause after the third failure is 18 s: time enough to cancel within it.
    let tried = |generation: &Value| generation["attempts"].as_array().map_or(0, Vec::len);
    for attempts in 1..=3 {
        world.until(&id, |generation| tried(generation) == attempts && generation["phase"] == "queued").await;
        if attempts < 3 {
            world.pass(Duration::from_secs(10)).await;
        }
    }
    let reply = cancel(&world, &id).await;
    assert_eq!((reply.status, &reply.body["status"]), (200, &"canceled".into()));
    world.assert_released(&id).await;
    for _ in 0..10 {
        world.pass(Duration::from_secs(61)).await;
        world.at_rest().await;
    }
    let after = world.generation(&id).await;
    assert_eq!((&after["status"], tried(&after)), (&"canceled".into(), 3));
    world.assert_released(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_works_on_is_stopped_there_first() {
    let world = World::start().await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox [[delay=5m]]").await;
        world.job(&id).await;
        let reply = cancel(&world, &id).await;
        assert_eq!(reply.status, 202, "{:?}", reply.body);
        assert!(!reply.body["cancel_requested_at"].is_null());
        let again = cancel(&world, &id).await;
        assert!(matches!(again.status, 200 | 202), "{:?}", again.body);
        let done = world.ended(&id).await;
        assert_eq!((&done["status"], &done["charged"]), (&"canceled".into(), &0.into()));
        assert!(!world.stack.simulators.journal().cancels(provider).is_empty());
        let third = cancel(&world, &id).await;
        assert_eq!((third.status, &third.body["status"]), (200, &"canceled".into()));
        world.pass(Duration::from_secs(600)).await;
        world.journal(|journal| !journal.callbacks(provider).is_empty()).await;
        world.at_rest().await;
        assert_eq!(world.generation(&id).await["status"], "canceled");
        world.assert_released(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_had_finished_meanwhile_is_delivered_and_charged() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::with(Setting { data: Some(folder.path().to_owned()), ..Setting::default() }).await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox [[no_callback]]").await;
        let job = world.job(&id).await;
        world.true_callback(provider, &job).await;
        assert_eq!(cancel(&world, &id).await.status, 202);
        let done = world.ended(&id).await;
        assert_eq!(done["status"], "succeeded", "{done:#}");
        assert!(!world.stack.simulators.journal().cancels(provider).is_empty());
        world.assert_charged(&id).await;
        assert_too_late(&world, &id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unconfirmed_is_canceled_at_the_deadline() {
    let world = World::start().await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox [[error_after]] [[no_callback]]").await;
        world.phase(&id, "unconfirmed").await;
        for _ in 0..2 {
            let reply = cancel(&world, &id).await;
            assert_eq!((reply.status, &reply.body["phase"]), (202, &"unconfirmed".into()));
            world.assert_held(&id).await;
        }
        let done = world.minutes_until_ended(&id).await;
        assert_eq!(done["status"], "canceled");
        assert_eq!(world.stack.simulators.journal().submits(provider).len(), 1);
        world.assert_released(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unconfirmed_and_then_turns_out_a_success_is_delivered() {
    let world = World::start().await;
    for (model, _) in PROVIDERS {
        let id = world.create(model, "a fox [[error_after]] [[delay=1m]]").await;
        world.phase(&id, "unconfirmed").await;
        assert_eq!(cancel(&world, &id).await.status, 202);
        world.pass(Duration::from_secs(60)).await;
        assert_eq!(world.ended(&id).await["status"], "succeeded");
        world.assert_charged(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_collected_is_past_canceling() {
    let world = World::start().await;
    let id = world.create("flux-schnell", "a fox [[delay=5m]]").await;
    let job = world.job(&id).await;
    // Nobody listens there: the result cannot be had for now, and is tried for again later.
    let message = World::success("replicate", &job, &format!("http://127.0.0.1:{}/out.png", free_port()));
    let signed = world.sign("replicate", &message, world.stack.clock.now());
    assert_eq!(world.deliver(&world.callback_url("replicate", &id), &signed).await.status, 200);
    world.phase(&id, "collecting").await;
    assert_too_late(&world, &id).await;
    world.assert_held(&id).await;
    let done = world.minutes_until_ended(&id).await;
    assert_eq!((&done["status"], &done["error"]["class"]), (&"failed".into(), &"result_lost".into()));
    world.assert_released(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_is_past_canceling() {
    let world = World::start().await;
    for (prompt, status) in [("a fox", "succeeded"), ("a fox [[fail]]", "failed")] {
        let id = world.create("placeholder", prompt).await;
        assert_eq!(world.ended(&id).await["status"], status);
        assert_too_late(&world, &id).await;
    }
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_placeholder_is_stopped() {
    let world = World::start().await;
    let id = world.create("placeholder", "a fox [[delay=1m]]").await;
    world.phase(&id, "running").await;
    assert!(matches!(cancel(&world, &id).await.status, 200 | 202));
    assert_eq!(world.ended(&id).await["status"], "canceled");
    world.pass(Duration::from_secs(120)).await;
    world.at_rest().await;
    assert_eq!(world.generation(&id).await["status"], "canceled");
    world.assert_released(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_cancels_at_once_release_once() {
    let world = World::start().await;
    let id = world.create("flux-schnell", "a fox [[delay=5m]]").await;
    world.job(&id).await;
    let replies = futures_util::future::join_all((0..20).map(|_| cancel(&world, &id))).await;
    assert!(replies.iter().all(|reply| matches!(reply.status, 200 | 202)), "{replies:?}");
    assert_eq!(world.ended(&id).await["status"], "canceled");
    world.at_rest().await;
    world.assert_released(&id).await;
}
