//! Callbacks: twice, late, early or forged, they settle a generation at most once, and only the provider can settle it.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tests::{Callback, Setting, World};

use crate::PROVIDERS;

/// The generation without the links, which are signed anew each time.
fn without_links(mut generation: Value) -> Value {
    for result in generation["results"].as_array_mut().expect("results") {
        result["url"] = Value::Null;
    }
    generation
}

/// A world with a data folder, in which the simulators' keys lie.
async fn world_with_keys(folder: &tempfile::TempDir) -> World {
    World::with(Setting { data: Some(folder.path().to_owned()), ..Setting::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_delivered_twice_settles_once() {
    let world = World::start().await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox [[callback_twice]]").await;
        let journal = world.journal(|journal| journal.callbacks(provider).len() == 2).await;
        assert!(journal.callbacks(provider).iter().all(|callback| callback.status == Some(200)));
        assert_eq!(world.ended(&id).await["status"], "succeeded");
        world.at_rest().await;
        world.assert_charged(&id).await;
        assert_eq!(journal.submits(provider).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_callback_delivered_twenty_times_at_once_settles_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = world_with_keys(&folder).await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox [[no_callback]]").await;
        let job = world.job(&id).await;
        let callback = world.sign(provider, &world.true_callback(provider, &job).await, world.stack.clock.now());
        let url = world.callback_url(provider, &id);
        let replies = join_all((0..20).map(|_| world.deliver(&url, &callback))).await;
        assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
        assert_eq!(replies.iter().filter(|reply| reply.body["changed"] == true).count(), 1, "{replies:?}");
        let done = world.ended(&id).await;
        assert_eq!(done["status"], "succeeded");
        assert_eq!(world.deliver(&url, &callback).await.body, json!({"changed": false}));
        world.at_rest().await;
        assert_eq!(without_links(world.generation(&id).await), without_links(done));
        world.assert_charged(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_comes_after_the_poll_found_the_success_changes_nothing() {
    let world = World::start().await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox [[callback_late=10m]]").await;
        world.job(&id).await;
        let before = world.minutes_until_ended(&id).await;
        assert_eq!(before["status"], "succeeded");
        let ledger = world.ledger().await;
        assert!(world.stack.simulators.journal().callbacks(provider).is_empty());
        world.pass(Duration::from_secs(600)).await;
        let journal = world.journal(|journal| !journal.callbacks(provider).is_empty()).await;
        assert_eq!(journal.callbacks(provider)[0].status, Some(200));
        world.at_rest().await;
        assert_eq!(without_links(world.generation(&id).await), without_links(before));
        assert_eq!(world.ledger().await, ledger);
        world.assert_charged(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_overtakes_the_answer_to_the_submit_settles_once() {
    let world = World::start().await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox [[callback_first]]").await;
        assert_eq!(world.ended(&id).await["status"], "succeeded");
        world.journal(|journal| journal.submits(provider).len() == 1).await;
        world.at_rest().await;
        let done = world.generation(&id).await;
        assert_eq!(done["status"], "succeeded");
        let attempts = done["attempts"].as_array().expect("attempts");
        let job = world.stack.simulators.journal().submits(provider)[0].job.clone();
        assert_eq!((attempts.len(), attempts[0]["provider_job"].as_str()), (1, job.as_deref()));
        world.assert_charged(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_whose_signature_is_wrong_is_refused_and_then_asked() {
    let world = World::start().await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox [[bad_signature]]").await;
        world.job(&id).await;
        let journal = world.journal(|journal| !journal.callbacks(provider).is_empty()).await;
        assert_eq!(journal.callbacks(provider)[0].status, Some(401));
        assert_eq!(world.generation(&id).await["phase"], "running");
        world.assert_held(&id).await;
        assert_eq!(world.minutes_until_ended(&id).await["status"], "succeeded");
        world.assert_charged(&id).await;
    }
}

/// What somebody might try who is not the provider, or is no longer: what it is, the address, the message, the status it deserves.
fn forgeries(world: &World, provider: &str, id: &str, job: &str, other: &str) -> Vec<(&'static str, String, Callback, u16)> {
    let url = world.callback_url(provider, id);
    let now = world.stack.clock.now();
    let lie = World::success(provider, job, &format!("{}/nothing.png", world.api));
    let signed = world.sign(provider, &lie, now);
    let (signature, timestamp) = match provider {
        "replicate" => ("webhook-signature", "webhook-timestamp"),
        _ => ("x-fal-webhook-signature", "x-fal-webhook-timestamp"),
    };
    let unsigned = Callback { headers: Vec::new(), ..signed.clone() };
    let mut flipped = signed.clone();
    flipped.body[7] ^= 1;
    let another_body =
        Callback { body: World::success(provider, job, "http://127.0.0.1:1/x").to_string().into(), ..signed.clone() };
    let of_that = world.sign(provider, &lie, now - SignedDuration::from_mins(1));
    let message = |message: Callback, status| (url.clone(), message, status);
    let (address, token) = url.rsplit_once('/').expect("a token");
    let their_url = world.callback_url(provider, other);
    let (_, their_token) = their_url.rsplit_once('/').expect("a token");
    let tag = token.strip_prefix("1-").expect("the first attempt's");
    let to = |url: String| (url, signed.clone(), 404);
    let another_provider = if provider == "fal" { "replicate" } else { "fal" };
    let cases = [
        ("no signature", message(unsigned, 401)),
        ("another message's signature", message(signed.clone().with(signature, of_that.header(signature)), 401)),
        ("a made-up signature", message(signed.clone().with(signature, "v1,AAAA"), 401)),
        ("another timestamp", message(signed.clone().with(timestamp, of_that.header(timestamp)), 401)),
        ("a flipped bit", message(flipped, 401)),
        ("another body", message(another_body, 401)),
        ("an old message", message(world.sign(provider, &lie, now - SignedDuration::from_secs(301)), 401)),
        ("a message from the future", message(world.sign(provider, &lie, now + SignedDuration::from_secs(330)), 401)),
        ("a true message about another job", message(world.sign(provider, &World::success(provider, "x", &url), now), 422)),
        ("the token of another attempt", to(format!("{address}/2-{tag}"))),
        ("the token of another generation", to(format!("{address}/{their_token}"))),
        ("the token of another provider", to(url.replacen(&format!("/{provider}/"), &format!("/{another_provider}/"), 1))),
        ("a made-up token", to(format!("{address}/1-{}", "A".repeat(tag.len())))),
        ("no real token", to(format!("{address}/token"))),
        ("a provider that does not exist", to(url.replacen(&format!("/{provider}/"), "/nobody/", 1))),
        ("a generation that does not exist", to(url.replacen(id, "gen_00000000000170008000000000000000", 1))),
    ];
    cases.into_iter().map(|(what, (url, message, status))| (what, url, message, status)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_callbacks_change_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = world_with_keys(&folder).await;
    for (model, provider) in PROVIDERS {
        let other = world.create(model, "a hen").await;
        world.ended(&other).await;
        let id = world.create(model, "a fox [[no_callback]] [[delay=5m]]").await;
        let job = world.job(&id).await;
        let (before, ledger) = (world.generation(&id).await, world.ledger().await);
        for (what, url, message, status) in forgeries(&world, provider, &id, &job, &other) {
            let reply = world.deliver(&url, &message).await;
            assert_eq!(reply.status, status, "{provider}, {what}: {:?}", reply.body);
        }
        world.at_rest().await;
        assert_eq!(world.generation(&id).await, before);
        assert_eq!(world.ledger().await, ledger);
        world.assert_held(&id).await;
        let done = world.minutes_until_ended(&id).await;
        assert_eq!(done["status"], "succeeded");
        world.download(&done["results"][0]["url"]).await;
        world.assert_charged(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_true_message_for_an_attempt_that_was_never_made_changes_nothing() {
    let world = World::start().await;
    let id = world.create("flux-schnell", "a fox [[no_callback]] [[delay=5m]]").await;
    let job = world.job(&id).await;
    let secret = world.stack.backend.config.signing_secret().expect("a secret").to_owned();
    let token = shared::signature::callback_token(&secret, "replicate", id.parse().expect("an id"), 2);
    let url = format!("{}/v1/callbacks/replicate/{id}/{token}", world.api);
    let message = World::success("replicate", &job, &world.api);
    let reply = world.deliver(&url, &world.sign("replicate", &message, world.stack.clock.now())).await;
    assert_eq!((reply.status, reply.body), (200, json!({"changed": false})));
    assert_eq!(world.generation(&id).await["phase"], "running");
    world.assert_held(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_a_callback_is_only_a_reason_to_ask() {
    let environment = vec![("REPLICATE_WEBHOOK_SECRET", String::new())];
    let world = World::with(Setting { environment, ..Setting::default() }).await;
    let id = world.create("flux-schnell", "a fox [[delay=5m]]").await;
    let job = world.job(&id).await;
    let url = world.callback_url("replicate", &id);
    let lie = World::success("replicate", &job, &format!("{}/nothing.png", world.api));
    let lie = Callback { headers: Vec::new(), body: lie.to_string().into_bytes() };
    let reply = world.deliver(&url, &lie).await;
    assert_eq!((reply.status, reply.body), (200, json!({"changed": true})));
    world.journal(|journal| journal.polls_of(&job) == 1).await;
    world.at_rest().await;
    assert_eq!(world.generation(&id).await["phase"], "running");
    world.assert_held(&id).await;

    let quick = world.create("flux-schnell", "a hen").await;
    assert_eq!(world.ended(&quick).await["status"], "succeeded");
    let job = world.generation(&quick).await["attempts"][0]["provider_job"].as_str().expect("a job").to_owned();
    assert_eq!(world.stack.simulators.journal().polls_of(&job), 1);
    assert_eq!(world.minutes_until_ended(&id).await["status"], "succeeded");
    world.assert_charged(&id).await;
}
