//! Failures of every kind: named, and never paid for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tests::{Setting, World, free_port};

use crate::PROVIDERS;

async fn assert_failed(world: &World, id: &str, class: &str) -> Value {
    let done = world.minutes_until_ended(id).await;
    assert_eq!((&done["status"], &done["error"]["class"]), (&"failed".into(), &class.into()), "{done:#}");
    assert_eq!(done["error"]["charge"], "none");
    assert!(done["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
    world.assert_released(id).await;
    done
}

fn attempts(generation: &Value) -> &Vec<Value> {
    generation["attempts"].as_array().expect("attempts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_the_provider_is_not_paid_for() {
    let world = World::start().await;
    for model in ["flux-schnell", "flux-dev", "placeholder"] {
        for fault in ["[[fail]]", "[[fail]] [[no_callback]]", "[[fail]] [[delay=1m]]"] {
            let id = world.create(model, &format!("a fox {fault}")).await;
            let done = assert_failed(&world, &id, "provider_failed").await;
            assert_eq!(attempts(&done).len(), 1, "a failed job is not simply bought again");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn moderation_is_told_apart_and_not_paid_for() {
    let world = World::start().await;
    for (model, _) in PROVIDERS {
        for fault in ["[[moderate]]", "[[moderate]] [[no_callback]]"] {
            let id = world.create(model, &format!("a fox {fault}")).await;
            assert_failed(&world, &id, "moderated").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_submit_is_repeated_after_the_pause_that_was_asked_for() {
    let world = World::start().await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox [[throttle]]").await;
        let done = world.ended(&id).await;
        assert_eq!(done["status"], "succeeded");
        let [first, second] = attempts(&done).as_slice() else { panic!("{done:#}") };
        assert_eq!((&first["status"], &first["error"]["class"]), (&"failed".into(), &"throttled".into()));
        assert_eq!(second["status"], "succeeded");
        let time = |value: &Value| value.as_str().expect("a time").parse::<Timestamp>().expect("RFC 3339");
        let pause = time(&second["started_at"]).duration_since(time(&first["answered_at"]));
        assert!(pause >= SignedDuration::from_secs(1), "{pause}");
        let statuses: Vec<u16> = world.stack.simulators.journal().submits(provider).iter().map(|submit| submit.status).collect();
        assert_eq!((statuses.len(), statuses[0]), (2, 429));
        world.assert_charged(&id).await;
    }
}

/// What is gone does not come back: no provider is asked, and nobody waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_is_gone_from_the_bucket_fails_the_job_at_once() {
    let world = World::start().await;
    let photo = world.upload("image/jpeg", World::photo()).await;
    let backend = &world.stack.backend;
    let asset = backend.store.asset(world.stack.account, photo.parse().expect("an id")).await.expect("the table answers");
    let asset = asset.expect("it is there");
    backend.bucket.delete(&asset.key).await.expect("deleted");
    let id = world.create_with("gemini/gemini-3.1-flash-image", json!({"prompt": "at night", "images": [photo]})).await;
    let done = assert_failed(&world, &id, "internal").await;
    assert_eq!(attempts(&done).len(), 1);
    assert!(world.stack.simulators.journal().submits("gemini").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_throttles_for_good_is_given_up() {
    let world = World::start().await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox [[throttle=99]]").await;
        let done = assert_failed(&world, &id, "throttled").await;
        assert_eq!(attempts(&done).len(), 30);
        assert!(attempts(&done).iter().all(|attempt| attempt["error"]["class"] == "throttled"));
        world.pass(Duration::from_secs(3_600)).await;
        world.at_rest().await;
        let submits = world.stack.simulators.journal().submits(provider);
        assert_eq!((submits.len(), submits.iter().filter(|submit| submit.job.is_some()).count()), (30, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_is_our_affair_and_stays_secret() {
    let port = free_port();
    let key = "r8_a_key_that_is_not_right";
    let environment =
        vec![("REPLICATE_API_TOKEN", key.to_owned()), ("REPLICATE_BASE_URL", format!("http://127.0.0.1:{port}/_sim/replicate"))];
    let world = World::with(Setting { environment, port, ..Setting::default() }).await;
    assert!(!world.stack.simulated.iter().any(|name| name == "replicate"));
    let id = world.create("flux-schnell", "a fox").await;
    let done = assert_failed(&world, &id, "provider_auth").await;
    assert_eq!(attempts(&done).len(), 1);
    assert_eq!(world.stack.simulators.journal().submits("replicate")[0].status, 401);
    let paths = [
        format!("/v1/generations/{id}"),
        "/v1/generations".into(),
        "/v1/account/ledger".into(),
        "/v1/account".into(),
        "/v1/models".into(),
    ];
    for path in paths {
        let reply = world.get(&path).await;
        assert_eq!(reply.status, 200);
        assert!(!reply.body.to_string().contains(key) && !format!("{:?}", reply.headers).contains(key), "{path} tells the key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_out_of_reach_is_tried_again_since_nothing_was_sent() {
    let environment = vec![("FAL_KEY", "any".to_owned()), ("FAL_BASE_URL", format!("http://127.0.0.1:{}", free_port()))];
    let world = World::with(Setting { environment, ..Setting::default() }).await;
    let id = world.create("flux-dev", "a fox").await;
    let waiting = world.until(&id, |generation| attempts(generation).len() == 1 && generation["phase"] == "queued").await;
    assert_eq!(waiting["status"], "queued");
    world.assert_held(&id).await;
    let done = assert_failed(&world, &id, "unavailable").await;
    assert_eq!(attempts(&done).len(), 5);
    // Never in doubt: what was not sent cannot have been taken.
    for attempt in attempts(&done) {
        assert_eq!((&attempt["status"], &attempt["error"]["class"]), (&"failed".into(), &"unavailable".into()));
    }
}
