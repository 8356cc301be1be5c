//! What operators see: every step is counted once, and says of which provider, model and kind it is.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use shared::clock::Clock;
use tests::{Setting, World};

fn count(world: &World, metric: &str, dimensions: &str) -> u64 {
    let totals = world.stack.backend.metrics.totals();
    totals.get(&(metric.to_owned(), dimensions.to_owned())).map_or(0, |total| total.count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_counted_in_each_of_its_phases() {
    let world = World::start().await;
    let id = world.create("flux-dev", "a lighthouse").await;
    world.ended(&id).await;
    world.at_rest().await;
    for (metric, dimensions) in [
        ("Accepted", "Model=fal/fal-ai/flux/dev"),
        ("QueuedSeconds", ""),
        ("RunningSeconds", "Provider=fal"),
        ("CollectingSeconds", "Provider=fal"),
        ("TotalSeconds", "Provider=fal"),
        ("Callbacks", "Provider=fal"),
        ("Succeeded", "Provider=fal,Model=fal/fal-ai/flux/dev"),
        ("Succeeded", ""),
    ] {
        assert_eq!(count(&world, metric, dimensions), 1, "{metric} {dimensions}: {:#?}", world.stack.backend.metrics.totals());
    }
    for metric in ["Failed", "LostCallbacks", "Unconfirmed", "ProviderErrors", "ProviderAlarms"] {
        assert_eq!(count(&world, metric, ""), 0, "{metric}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_is_counted_by_provider_and_class() {
    let world = World::start().await;
    let refused = world.create("flux-dev", "a fox [[moderate]]").await;
    world.ended(&refused).await;
    let without_a_key = world.create("flux-dev", "a fox [[auth]]").await;
    world.ended(&without_a_key).await;
    let forgotten = world.create("flux-dev", "a fox [[no_callback]]").await;
    world.steps_until_ended(&forgotten, Duration::from_secs(10)).await;
    let lost = world.create("flux-dev", "a fox [[error_after]]").await;
    world.steps_until_ended(&lost, Duration::from_secs(10)).await;
    world.at_rest().await;
    for (metric, dimensions, expected) in [
        ("Failed", "Provider=fal,Class=moderated", 1),
        ("Failed", "Provider=fal,Class=provider_auth", 1),
        ("ProviderAlarms", "Provider=fal,Class=provider_auth", 1),
        ("ProviderErrors", "Provider=fal,Class=provider_auth", 1),
        ("ProviderErrors", "Provider=fal", 1),
        ("LostCallbacks", "Provider=fal", 1),
        ("Unconfirmed", "Provider=fal", 1),
        ("UnconfirmedSeconds", "Provider=fal", 1),
    ] {
        let totals = world.stack.backend.metrics.totals();
        assert_eq!(count(&world, metric, dimensions), expected, "{metric} {dimensions}: {totals:#?}");
    }
}

/// Who cannot prove to be the provider only wakes the poll, and a canceled job needs no callback: neither is a callback that was lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_callback_without_proof_is_not_lost() {
    let world = World::start().await;
    let unsigned = world.create("minimax/MiniMax-Hailuo-02", "a fox").await;
    assert_eq!(world.ended(&unsigned).await["status"], "succeeded");
    let canceled = world.create("flux-dev", "a fox [[delay=5m]]").await;
    world.job(&canceled).await;
    assert_eq!(world.post(&format!("/v1/generations/{canceled}/cancel"), &json!({})).await.status, 202);
    world.ended(&canceled).await;
    world.at_rest().await;
    let totals = world.stack.backend.metrics.totals();
    assert!(count(&world, "Callbacks", "Provider=minimax") > 0, "{totals:#?}");
    assert_eq!(count(&world, "LostCallbacks", ""), 0, "{totals:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_says_how_old_its_holds_are() {
    let world = World::start().await;
    let id = world.create("flux-dev", "a fox [[no_callback]] [[delay=500m]]").await;
    world.phase(&id, "running").await;
    world.pass(Duration::from_secs(600)).await;
    let oldest = || {
        let totals = world.stack.backend.metrics.totals();
        totals.get(&("OldestHoldSeconds".to_owned(), String::new())).map_or(0.0, |total| total.max)
    };
    // A poll that comes first moves what is due on; a tick sees it in one of the minutes after that.
    for _ in 0..60 {
        if oldest() >= 600.0 {
            return;
        }
        world.minute().await;
    }
    panic!("no tick has seen it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daily_look_counts_open_holds_and_findings() {
    let world = World::start().await;
    let open = world.create("flux-dev", "a fox [[no_callback]] [[delay=500m]]").await;
    world.phase(&open, "running").await;
    let event = json!({"daily": "reconcile"});
    world.stack.invoker.invoke("PollFunction", event).await.expect("it runs");
    world.at_rest().await;
    let totals = world.stack.backend.metrics.totals();
    let sum = |metric: &str| totals.get(&(metric.to_owned(), String::new())).map(|total| total.sum);
    assert_eq!((sum("HoldsOpen"), sum("ReconcileFindings"), sum("DailyLooks")), (Some(1.0), Some(0.0), Some(1.0)));
    assert!(sum("OldestHoldSeconds").is_some(), "the daily look sees all holds, due or not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_rush_is_counted() {
    // Time passes by hand alone: all of them come in one second, however slow the machine is.
    let clock = Some(Clock::stopped(Clock::system().now()));
    let environment = vec![("REQUESTS_PER_SECOND", "1".to_owned())];
    let world = World::with(Setting { environment, clock, ..Setting::default() }).await;
    let mut refused = 0;
    for _ in 0..8 {
        let reply = world.send(world.request(Method::GET, "/v1/account")).await;
        refused += u64::from(reply.status == 429);
    }
    assert!(refused > 0);
    assert_eq!(count(&world, "RateLimited", ""), refused);
}
