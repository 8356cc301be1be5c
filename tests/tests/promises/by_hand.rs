//! What operators do to generations by hand: every step is written down together with what it changes, and money still moves once.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Customer, Fault, PATIENCE, Reply, Setting, World};

use crate::PROVIDERS;

const PROGRAM: &str = env!("CARGO_BIN_EXE_darkroom-under-test");

async fn act(world: &World, id: &str, what: &str) -> Reply {
    act_with(world, id, what, &format!("{what} {id}")).await
}

async fn act_with(world: &World, id: &str, what: &str, key: &str) -> Reply {
    let request = world.request(Method::POST, &format!("/v1/admin/generations/{id}/{what}"));
    world.send(request.json(&json!({"reason": "the customer asked"})).header("idempotency-key", key)).await
}

async fn shown(world: &World, id: &str) -> Value {
    let reply = world.get(&format!("/v1/admin/generations/{id}")).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.body
}

fn actions(shown: &Value) -> Vec<&str> {
    let actions = shown["actions"].as_array().expect("a list").iter();
    actions.map(|action| action["what"].as_str().expect("a word")).collect()
}

fn attempts(generation: &Value) -> usize {
    generation["attempts"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_is_ended_by_hand_and_settled_once() {
    let world = World::start().await;
    for (what, charge, credits) in [("release", "none", false), ("charge", "full", true)] {
        for (model, prompt, phase) in [
            ("flux-schnell", "a fox [[delay=5m]]", "running"),
            ("flux-dev", "a fox [[error_after]] [[no_callback]]", "unconfirmed"),
        ] {
            let id = world.create(model, prompt).await;
            world.phase(&id, phase).await;
            let reply = act(&world, &id, what).await;
            assert_eq!(reply.status, 200, "{:?}", reply.body);
            let again = act(&world, &id, what).await;
            assert_eq!((again.status, again.header("idempotency-replayed")), (200, "true"));
            let seen = world.generation(&id).await;
            assert_eq!((&seen["status"], &seen["error"]["class"]), (&json!("failed"), &json!("resolved")), "{seen:#}");
            assert_eq!(seen["resolution"]["charge"], charge);
            assert_eq!(seen["resolution"]["reason"], "the customer asked");
            assert!(seen["resolution"].get("by").is_none());
            assert_eq!(
                seen["charge"],
                json!({"credits": if credits { seen["cost"].clone() } else { json!(0) }, "reason": "operator"})
            );
            let own = shown(&world, &id).await;
            assert_eq!((actions(&own), own["resolved_by"].is_string()), (vec![what], true));
            if credits { world.assert_charged(&id).await } else { world.assert_released(&id).await }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_comes_after_the_end_is_stored_and_not_charged() {
    let world = World::start().await;
    for (model, _) in PROVIDERS {
        let id = world.create(model, "a fox [[delay=5m]]").await;
        world.job(&id).await;
        assert_eq!(act(&world, &id, "release").await.status, 200);
        world.pass(Duration::from_secs(300)).await;
        let seen = world.until(&id, |generation| generation["late_results"].is_array()).await;
        assert_eq!((&seen["status"], &seen["charged"]), (&json!("failed"), &json!(0)));
        world.assert_released(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_stays_as_it_is() {
    let world = World::start().await;
    let id = world.create("placeholder", "a fox").await;
    let done = world.ended(&id).await;
    assert_eq!(done["charge"], json!({"credits": done["cost"], "reason": "delivered"}));
    for what in ["release", "charge"] {
        let reply = act(&world, &id, what).await;
        assert_eq!((reply.status, &reply.body["code"]), (409, &json!("too_late")), "{:?}", reply.body);
        let detail = reply.body["detail"].as_str().expect("text");
        assert!(detail.contains("succeeded") && detail.contains("darkroom credits add"), "{detail}");
    }
    world.assert_charged(&id).await;
    assert!(actions(&shown(&world, &id).await).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unconfirmed_one_is_submitted_again_on_the_operators_word() {
    let world = World::start().await;
    let id = world.create("flux-dev", "a fox [[error_after]] [[no_callback]]").await;
    world.phase(&id, "unconfirmed").await;
    let reply = act(&world, &id, "retry").await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let seen = world.until(&id, |generation| attempts(generation) == 2).await;
    assert_eq!(seen["attempts"][0]["error"]["class"], "resolved", "{seen:#}");
    world.journal(|journal| journal.submits("fal").len() == 2).await;
    world.assert_held(&id).await;
    assert_eq!(actions(&shown(&world, &id).await), ["retry"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_sent_on_at_once() {
    let idle = World::with(Setting::idle()).await;
    let id = idle.create("placeholder", "a fox").await;
    let reply = act(&idle, &id, "retry").await;
    assert_eq!((reply.status, &reply.body["generation"]["phase"]), (200, &json!("queued")), "{:?}", reply.body);
    let world = World::start().await;
    let running = world.create("flux-dev", "a fox [[delay=5m]] [[no_callback]]").await;
    world.phase(&running, "running").await;
    let due = |shown: &Value| shown["due_at"].as_str().map(str::to_owned);
    let before = due(&shown(&world, &running).await);
    let reply = act(&world, &running, "retry").await;
    assert_eq!(reply.status, 200);
    assert!(due(&reply.body) < before, "asked for at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_is_made_once_more_for_its_price() {
    let world = World::start().await;
    let customer = world.customer(100).await;
    let asset = customer.upload("image/jpeg", World::photo()).await;
    let id = customer.create_with("placeholder", json!({"prompt": "a fox [[fail]]", "image": asset})).await;
    let failed = customer.ended(&id).await;
    assert_eq!(failed["charge"], json!({"credits": 0, "reason": "not_charged_on_failure"}));
    let reply = act_with(&world, &id, "retry", "once").await;
    assert_eq!(reply.status, 202, "{:?}", reply.body);
    let again = reply.body["generation"]["id"].as_str().expect("an id").to_owned();
    assert_eq!((&reply.body["generation"]["retry_of"], &reply.body["funds"]["key"]), (&json!(id), &Value::Null));
    let replayed = act_with(&world, &id, "retry", "once").await;
    assert_eq!((replayed.status, &replayed.body["generation"]["id"]), (200, &json!(again)));
    let other = world.request(Method::POST, &format!("/v1/admin/generations/{id}/retry")).header("idempotency-key", "once");
    assert_eq!(world.send(other.json(&json!({"reason": "another"}))).await.body["code"], "idempotency_key_reused");
    customer.ended(&again).await;
    assert_eq!(customer.generation(&again).await["cost"], failed["cost"]);
    assert_eq!(customer.generations().await.len(), 2);
    customer.assert_released(&again).await;

    world.later(Duration::from_secs(31 * 86_400));
    let gone = act_with(&world, &id, "retry", "later").await;
    assert_eq!((gone.status, &gone.body["code"]), (409, &json!("input_gone")), "{:?}", gone.body);
    let poor = world.customer(5).await;
    let id = poor.create_with("placeholder", json!({"prompt": "a fox", "width": 64, "height": 64})).await;
    poor.ended(&id).await;
    let reply = act(&world, &id, "retry").await;
    assert_eq!((reply.status, &reply.body["code"]), (409, &json!("insufficient_credits")), "{:?}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_of_the_table_does_nothing_twice() {
    let world = World::start().await;
    world.first_tick().await;
    for nth in 1..=6 {
        for fault in [Fault::CutBefore, Fault::CutAfter] {
            let id = world.create("flux-schnell", "a fox [[delay=5m]]").await;
            world.phase(&id, "running").await;
            world.at_rest().await;
            world.wire.cut(nth, fault);
            let mut reply = act(&world, &id, "release").await;
            for _ in 0..5 {
                if reply.status == 200 {
                    break;
                }
                reply = act(&world, &id, "release").await;
            }
            assert_eq!(reply.status, 200, "{fault:?} {nth}: {:?}", reply.body);
            let cut = async {
                while world.wire.is_waiting() {
                    world.get("/v1/account").await;
                }
            };
            tokio::time::timeout(PATIENCE, cut).await.expect("a call comes that is cut");
            world.assert_released(&id).await;
            assert_eq!(actions(&shown(&world, &id).await), ["release"], "{fault:?} {nth}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_at_the_same_time_agree_on_one_end() {
    let world = World::with(Setting::idle()).await;
    let id = world.create("placeholder", "a fox").await;
    let both = futures_util::future::join_all((0..8).map(|number| {
        let (world, id) = (&world, &id);
        async move { act_with(world, id, if number % 2 == 0 { "release" } else { "charge" }, &number.to_string()).await }
    }));
    let replies = both.await;
    let first = world.generation(&id).await["resolution"]["charge"].clone();
    assert!(replies.iter().all(|reply| matches!(reply.status, 200 | 409 | 503)), "{replies:?}");
    if first == "full" {
        world.assert_charged(&id).await
    } else {
        world.assert_released(&id).await
    }
    assert_eq!(actions(&shown(&world, &id).await).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_is_needed_and_a_key_for_administration() {
    let world = World::with(Setting::idle()).await;
    let id = world.create("placeholder", "a fox").await;
    let path = format!("/v1/admin/generations/{id}/release");
    for (body, code) in [
        (json!({}), "missing_param"),
        (json!({"reason": ""}), "out_of_range"),
        (json!({"reason": "x".repeat(501)}), "out_of_range"),
        (json!({"reason": 7}), "invalid_type"),
    ] {
        let reply = world.post(&path, &body).await;
        assert_eq!(reply.status, 422, "{body}: {:?}", reply.body);
        assert_eq!((&reply.body["param"], &reply.body["code"]), (&json!("reason"), &json!(code)), "{:?}", reply.body);
    }
    let stranger: Customer = world.customer(1).await;
    assert_eq!(stranger.post(&path, &json!({"reason": "mine"})).await.status, 403);
    assert_eq!(world.post("/v1/admin/generations/none/release", &json!({"reason": "x"})).await.status, 404);
    world.assert_held(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_does_the_same() {
    let world = World::with(Setting::idle()).await;
    let id = world.create("placeholder", "a fox").await;
    let darkroom = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(PROGRAM);
        command.args(arguments).env("DARKROOM_API", &world.api).env("DARKROOM_API_KEY", &world.key);
        let output = command.output().await.expect("it runs");
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        (text, output.status.success())
    };
    let (text, good) = darkroom(&["generation", "release", &id, "--reason", "a test"]).await;
    assert_eq!((text, good), (format!("{id} is failed, 0 credits charged\n"), true));
    let (text, good) = darkroom(&["generation", "charge", &id, "--reason", "a test"]).await;
    assert!(!good && text.contains("too_late"), "{text}");
    let (text, good) = darkroom(&["generation", "retry", &id, "--reason", "a test"]).await;
    assert!(good && text.contains(&format!("made once more for {id}")), "{text}");
    let (text, good) = darkroom(&["generation", "show", &id]).await;
    assert!(good && text.contains("\"resolved_by\": \"key_"), "{text}");
}
