//! Several keys of one provider: the work is spread over them, and one that is refused is no reason to fail.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Setting, World, free_port};

/// A world whose `provider` has these keys, of which it takes the second half of the list.
async fn world_with_keys(provider: &str, key_name: &'static str, url_name: &'static str, given: &str, taken: &[&str]) -> World {
    let port = free_port();
    let environment = vec![(key_name, given.to_owned()), (url_name, format!("http://127.0.0.1:{port}/_sim/{provider}"))];
    let world = World::with(Setting { environment, port, ..Setting::default() }).await;
    for key in taken {
        world.stack.simulators.accept_key(provider, key).expect("it is simulated");
    }
    world
}

async fn fal(given: &str, taken: &[&str]) -> World {
    world_with_keys("fal", "FAL_KEY", "FAL_BASE_URL", given, taken).await
}

async fn replicate(given: &str, taken: &[&str]) -> World {
    world_with_keys("replicate", "REPLICATE_API_TOKEN", "REPLICATE_BASE_URL", given, taken).await
}

/// How often each key was used; the refused ones have no name.
fn uses(world: &World, provider: &str) -> BTreeMap<String, usize> {
    let mut uses = BTreeMap::new();
    for submit in world.stack.simulators.journal().submits(provider) {
        *uses.entry(submit.key.unwrap_or_default()).or_default() += 1;
    }
    uses
}

fn attempts(generation: &Value) -> usize {
    generation["attempts"].as_array().map_or(0, Vec::len)
}

async fn all_end(world: &World, model: &str, count: usize) -> Vec<Value> {
    let prompt = json!({"prompt": "a fox [[delay=20ms]]"});
    let ids = join_all((0..count).map(|_| world.create_with(model, prompt.clone()))).await;
    join_all(ids.iter().map(|id| world.ended(id))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_is_spread_over_the_keys() {
    let world = fal("k1,k2", &["k1", "k2"]).await;
    for done in all_end(&world, "flux-dev", 20).await {
        assert_eq!((&done["status"], attempts(&done)), (&"succeeded".into(), 1));
    }
    let uses = uses(&world, "fal");
    assert_eq!(uses.values().sum::<usize>(), 20);
    assert!(uses["further-1"] >= 5 && uses["further-2"] >= 5, "{uses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_key_of_two_fails_nothing() {
    for (world, model, provider) in [
        (fal("bad,good", &["good"]).await, "flux-dev", "fal"),
        (replicate("bad,good", &["good"]).await, "flux-schnell", "replicate"),
    ] {
        for done in all_end(&world, model, 12).await {
            assert_eq!(done["status"], "succeeded", "{done:#}");
            assert!(attempts(&done) <= 2, "{done:#}");
        }
        let refused = uses(&world, provider).get("").copied().unwrap_or_default();
        assert!((1..=12).contains(&refused), "{refused} refused");
        // From then on the bad one is left alone.
        for done in all_end(&world, model, 6).await {
            assert_eq!((&done["status"], attempts(&done)), (&"succeeded".into(), 1), "{done:#}");
        }
        let uses = uses(&world, provider);
        assert_eq!((uses[""], uses["further-1"]), (refused, 18));
        let closings = world.audit().await;
        assert!(closings.len() == 18 && closings.values().all(|closing| closing.charged == closing.held));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_key_is_refused_each_has_been_tried_once() {
    let world = fal("bad,worse,worst", &[]).await;
    let id = world.create("flux-dev", "a fox").await;
    let done = world.ended(&id).await;
    assert_eq!((&done["status"], &done["error"]["class"], attempts(&done)), (&"failed".into(), &"provider_auth".into(), 3));
    assert_eq!(uses(&world, "fal")[""], 3);
    world.assert_released(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_funds_is_followed_by_the_next_key() {
    let world = replicate("k1,k2", &["k1", "k2"]).await;
    let id = world.create("flux-schnell", "a fox [[funds]]").await;
    let done = world.ended(&id).await;
    assert_eq!((&done["error"]["class"], attempts(&done)), (&"provider_funds".into(), 2), "{done:#}");
    assert_eq!(uses(&world, "replicate"), BTreeMap::from([("further-1".to_owned(), 1), ("further-2".to_owned(), 1)]));
    world.assert_released(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_asked_about_with_the_key_that_it_was_ordered_with() {
    let world = world_with_keys("stability", "STABILITY_API_KEY", "STABILITY_BASE_URL", "k1,k2", &["k1", "k2"]).await;
    let photo = world.upload("image/jpeg", World::photo()).await;
    let order = json!({"prompt": "a fox [[delay=20ms]]", "image": photo});
    let ids = join_all((0..8).map(|_| world.create_with("creative-upscale", order.clone()))).await;
    for id in &ids {
        // Anybody else's key would be told that there is no such job.
        let done = world.minutes_until_ended(id).await;
        assert_eq!(done["status"], "succeeded", "{done:#}");
        world.assert_charged(id).await;
    }
    let uses = uses(&world, "stability");
    assert_eq!((uses.len(), uses.values().sum::<usize>()), (2, 8), "{uses:?}");
}
