//! A submit whose answer is lost: never sent again, the credits held until there is evidence or the time is up.

use std::time::Duration;

use serde_json::Value;
use tests::{Setting, World};

use crate::PROVIDERS;

/// Nobody knows whether the provider has the job, and everybody can see that.
async fn assert_unconfirmed(world: &World, id: &str) -> Value {
    let generation = world.phase(id, "unconfirmed").await;
    assert_eq!((&generation["status"], &generation["unconfirmed"]["reason"]), (&"processing".into(), &"server_error".into()));
    let resolves_by = generation["unconfirmed"]["resolves_by"].as_str().expect("a time");
    assert!(resolves_by.parse::<jiff::Timestamp>().expect("RFC 3339") > world.stack.clock.now());
    assert_eq!(generation["attempts"][0]["status"], "unconfirmed");
    world.assert_held(id).await;
    generation
}

fn assert_sent_once(world: &World, provider: &str) {
    assert_eq!(world.stack.simulators.journal().submits(provider).len(), 1);
}

/// One minute's worth of deadline, so that the provider's callback can come after it.
async fn world_of_short_deadlines() -> World {
    World::with(Setting { environment: vec![("UNCONFIRMED_SECONDS", "60".to_owned())], ..Setting::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_resolved_by_the_callback() {
    let world = World::start().await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox [[error_after]] [[delay=5m]]").await;
        assert_unconfirmed(&world, &id).await;
        for _ in 0..4 {
            world.pass(Duration::from_secs(61)).await;
            world.at_rest().await;
        }
        assert_unconfirmed(&world, &id).await;
        assert_sent_once(&world, provider);
        world.pass(Duration::from_secs(60)).await;
        let done = world.ended(&id).await;
        assert_eq!(done["status"], "succeeded");
        assert!(done["unconfirmed"].is_null());
        assert_eq!(done["attempts"].as_array().map(Vec::len), Some(1));
        world.at_rest().await;
        assert_sent_once(&world, provider);
        world.assert_charged(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_told_by_the_callback_resolves_it_too() {
    let world = World::start().await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox [[error_after]] [[fail]] [[delay=1m]]").await;
        assert_unconfirmed(&world, &id).await;
        world.pass(Duration::from_secs(60)).await;
        let done = world.ended(&id).await;
        assert_eq!((&done["status"], &done["error"]["class"]), (&"failed".into(), &"provider_failed".into()));
        assert_sent_once(&world, provider);
        world.assert_released(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_evidence_it_fails_at_the_deadline_and_the_credits_return() {
    let world = World::start().await;
    for (fault, model, provider) in
        [("[[error_before]]", "flux-schnell", "replicate"), ("[[error_after]] [[no_callback]]", "flux-dev", "fal")]
    {
        let id = world.create(model, &format!("a fox {fault}")).await;
        let unconfirmed = assert_unconfirmed(&world, &id).await;
        let resolves_by: jiff::Timestamp =
            unconfirmed["unconfirmed"]["resolves_by"].as_str().expect("a time").parse().expect("a time");
        let left = resolves_by.duration_since(world.stack.clock.now()).as_secs();
        world.pass(Duration::from_secs(u64::try_from(left - 60).expect("much is left"))).await;
        world.at_rest().await;
        assert_eq!(world.generation(&id).await["phase"], "unconfirmed");
        let done = world.minutes_until_ended(&id).await;
        assert_eq!((&done["status"], &done["error"]["class"]), (&"failed".into(), &"expired".into()));
        assert!(done["finished_at"].as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time") >= resolves_by);
        assert_eq!(done["error"]["charge"], "none");
        world.at_rest().await;
        assert_sent_once(&world, provider);
        world.assert_released(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_after_the_deadline_is_kept_and_not_charged() {
    let world = world_of_short_deadlines().await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox [[error_after]] [[callback_late=10m]]").await;
        assert_unconfirmed(&world, &id).await;
        let failed = world.minutes_until_ended(&id).await;
        assert_eq!((&failed["status"], &failed["error"]["class"]), (&"failed".into(), &"expired".into()));
        assert!(failed["late_results"].is_null());
        let (ledger, balance) = (world.ledger().await, world.balance().await);

        // Its callback comes ten minutes after the job's end, which the minutes above may have overtaken.
        let job = world.stack.simulators.journal().submits(provider)[0].job.clone().expect("it took the job");
        world.true_callback(provider, &job).await;
        world.pass(Duration::from_secs(600)).await;
        let late = world.until(&id, |generation| !generation["late_results"].is_null()).await;
        assert_eq!(
            (&late["status"], &late["charged"], &late["finished_at"]),
            (&"failed".into(), &0.into(), &failed["finished_at"])
        );
        assert!(late["results"].as_array().is_some_and(Vec::is_empty));
        let bytes = world.download(&late["late_results"][0]["url"]).await;
        assert_eq!(late["late_results"][0]["bytes"].as_u64(), Some(bytes.len() as u64));
        world.at_rest().await;
        assert_eq!((world.ledger().await, world.balance().await), (ledger, balance));
        assert_sent_once(&world, provider);
        world.assert_released(&id).await;
    }
}
