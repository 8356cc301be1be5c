//! A request sent twice with the same `Idempotency-Key` is one request.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use tests::{Customer, Reply, Setting, World};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A placeholder's price.
const COST: u64 = 5;

fn order(prompt: &str) -> String {
    json!({"model": "placeholder", "params": {"prompt": prompt, "width": 64, "height": 64}}).to_string()
}

/// The same as `order`, written in another way.
fn same_order_written_differently(prompt: &str) -> String {
    format!(r#"{{ "params" : {{"height":64, "prompt": {}, "width" :64}} , "model":"placeholder"}}"#, json!(prompt))
}

async fn ask(customer: &Customer, key: impl TryInto<HeaderValue>, body: String) -> Reply {
    let key = key.try_into().unwrap_or_else(|_| panic!("a header value"));
    customer.send(customer.request(Method::POST, "/v1/generations").header("idempotency-key", key).body(body)).await
}

#[track_caller]
fn replayed(reply: &Reply, first: &Reply) {
    assert_eq!((reply.status, reply.header("idempotency-replayed")), (202, "true"), "{:?}", reply.body);
    assert_eq!(reply.body, first.body);
    assert_eq!(reply.header("location"), first.header("location"));
}

#[track_caller]
fn fresh(reply: &Reply) {
    assert_eq!((reply.status, reply.header("idempotency-replayed")), (202, ""), "{:?}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_parallel_requests_with_one_key_are_one_generation() {
    let world = World::start().await;
    let bodies = (0..30).map(|i| if i % 2 == 0 { order("one") } else { same_order_written_differently("one") });
    let replies = join_all(bodies.map(|body| ask(&world, "key-1", body))).await;
    let (repeated, first): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| !reply.header("idempotency-replayed").is_empty());
    assert_eq!((first.len(), repeated.len()), (1, 29));
    fresh(first[0]);
    repeated.iter().for_each(|reply| replayed(reply, first[0]));
    assert_eq!(world.generations().await.len(), 1);
    let id = first[0].body["id"].as_str().expect("an id");
    world.ended(id).await;
    let closings = world.audit().await;
    assert_eq!((closings.len(), closings[id].held, closings[id].charged), (1, COST, COST));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_can_wait_for_the_result_of_the_first() {
    let world = World::start().await;
    let first = ask(&world, "key", order("one")).await;
    let again = world.request(Method::POST, "/v1/generations").header("idempotency-key", "key").header("prefer", "wait=20");
    let again = world.send(again.body(order("one"))).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, "true"), "{:?}", again.body);
    assert_eq!((&again.body["id"], &again.body["status"]), (&first.body["id"], &json!("succeeded")));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_request_with_a_used_key_is_refused_and_holds_nothing() {
    let world = World::with(Setting::idle()).await;
    fresh(&ask(&world, "key", order("one")).await);
    let balance = world.balance().await;
    let others = [order("two"), json!({"model": "flux-schnell", "params": {"prompt": "one"}}).to_string()];
    for other in others {
        let reply = ask(&world, "key", other).await;
        assert_eq!((reply.status, &reply.body["code"]), (422, &json!("idempotency_key_reused")), "{:?}", reply.body);
        assert_eq!((reply.header("content-type"), &reply.body["param"]), ("application/problem+json", &json!("Idempotency-Key")));
    }
    assert_eq!(world.balance().await, balance);
    assert_eq!((world.generations().await.len(), world.queues().peek(tests::UNREAD).len()), (1, 1));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_answered_even_when_the_credits_are_spent() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(COST).await;
    let first = ask(&customer, "key", order("one")).await;
    fresh(&first);
    assert_eq!(customer.balance().await, (0, COST));
    replayed(&ask(&customer, "key", order("one")).await, &first);
    assert_eq!(ask(&customer, "key", order("two")).await.body["code"], "idempotency_key_reused");
    assert_eq!(ask(&customer, "other key", order("one")).await.status, 402);
    customer.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_does_not_use_up_its_key() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(COST - 1).await;
    assert_eq!(ask(&customer, "key", order("one")).await.status, 402);
    assert_eq!(ask(&customer, "key", r#"{"model": "placeholder"}"#.to_owned()).await.status, 422);
    fresh(&ask(&customer, "key", json!({"model": "flux-schnell", "params": {"prompt": "cheaper"}}).to_string()).await);
    customer.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_one_account_is_free_for_another() {
    let world = World::with(Setting::idle()).await;
    let other = world.customer(100).await;
    let mine = ask(&world, "key", order("one")).await;
    let theirs = ask(&other, "key", order("two")).await;
    fresh(&mine);
    fresh(&theirs);
    assert_ne!(mine.body["id"], theirs.body["id"]);
    replayed(&ask(&other, "key", order("two")).await, &theirs);
    world.audit().await;
    other.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_free_again_after_a_day() {
    let world = World::start().await;
    let first = ask(&world, "key", order("one")).await;
    world.ended(first.body["id"].as_str().expect("an id")).await;
    world.later(DAY - Duration::from_secs(60));
    replayed(&ask(&world, "key", order("one")).await, &first);
    world.later(Duration::from_secs(61));
    let second = ask(&world, "key", order("two")).await;
    fresh(&second);
    replayed(&ask(&world, "key", order("two")).await, &second);
    world.ended(second.body["id"].as_str().expect("an id")).await;
    world.audit().await;
}

/// The table knows whole seconds only, and the second in which a key ends is neither too early nor too late to ask.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_no_gap_in_the_second_in_which_it_ends() {
    let world = World::start().await;
    let mut round = 0;
    let (key, first) = loop {
        let key = format!("key-{round}");
        let first = ask(&world, key.as_str(), order("one")).await;
        world.ended(first.body["id"].as_str().expect("an id")).await;
        let created_at: Timestamp = first.body["created_at"].as_str().and_then(|text| text.parse().ok()).expect("a time");
        if created_at.subsec_millisecond() < 300 {
            break (key, created_at);
        }
        world.later(Duration::from_millis(150));
        round += 1;
    };
    let just_over = first + DAY + Duration::from_millis(20);
    world.later(Duration::try_from(just_over.duration_since(world.stack.clock.now())).expect("ahead"));
    let reply = ask(&world, key.as_str(), order("one")).await;
    assert_eq!(reply.status, 202, "{:?}", reply.body);
    world.ended(reply.body["id"].as_str().expect("an id")).await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_remembered_over_a_restart() {
    let data = tempfile::tempdir().expect("a folder");
    let setting = Setting { data: Some(data.path().to_owned()), ..Setting::default() };
    let world = World::with(setting.clone()).await;
    let first = ask(&world, "key", order("one")).await;
    drop(world);
    let world = World::with(setting).await;
    replayed(&ask(&world, "key", order("one")).await, &first);
    assert_eq!(ask(&world, "key", order("two")).await.body["code"], "idempotency_key_reused");
    // The power went before or while it was worked on: it ends all the same.
    world.minutes_until(first.body["id"].as_str().expect("an id"), |generation| !generation["finished_at"].is_null()).await;
    assert_eq!(world.audit().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_two_equal_requests_are_two_generations() {
    let world = World::with(Setting::idle()).await;
    let body: Value = order("one").parse().expect("JSON");
    let (one, two) = (world.post("/v1/generations", &body).await, world.post("/v1/generations", &body).await);
    fresh(&one);
    fresh(&two);
    assert_ne!(one.body["id"], two.body["id"]);
    assert_eq!(world.audit().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_is_refused() {
    let world = World::with(Setting::idle()).await;
    for key in ["", "   ", &"k".repeat(256), &"k".repeat(300)] {
        let reply = ask(&world, key, order("one")).await;
        assert_eq!((reply.status, &reply.body["code"]), (422, &json!("invalid_param")), "{key}: {:?}", reply.body);
        assert_eq!(reply.body["param"], "Idempotency-Key");
    }
    let reply = ask(&world, HeaderValue::from_bytes("ключ".as_bytes()).expect("bytes"), order("one")).await;
    assert_eq!((reply.status, &reply.body["param"]), (422, &json!("Idempotency-Key")), "{:?}", reply.body);
    assert_eq!(world.generations().await.len(), 0);
    fresh(&ask(&world, "k".repeat(255), order("one")).await);
    world.audit().await;
}

async fn announce(customer: &Customer, key: &str, bytes: u64) -> Reply {
    let body = json!({"content_type": "image/jpeg", "bytes": bytes});
    customer.send(customer.request(Method::POST, "/v1/uploads").header("idempotency-key", key).json(&body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_announced_ten_times_with_one_key_is_one_upload() {
    let world = World::with(Setting::idle()).await;
    let photo = World::photo();
    let bytes = u64::try_from(photo.len()).expect("small");
    let replies = join_all((0..10).map(|_| announce(&world, "photo", bytes))).await;
    let first = replies.iter().filter(|reply| reply.header("idempotency-replayed").is_empty()).count();
    assert_eq!((first, replies.iter().filter(|reply| reply.status == 201).count()), (1, 10));
    assert!(replies.iter().all(|reply| reply.body["id"] == replies[0].body["id"]), "{replies:#?}");
    let other = announce(&world, "photo", bytes + 1).await;
    assert_eq!((other.status, &other.body["code"]), (422, &json!("idempotency_key_reused")));
    // A later link leads to the same place.
    assert_eq!(world.put_upload(&announce(&world, "photo", bytes).await.body, photo).await, 200);
    let path = format!("/v1/uploads/{}/complete", replies[0].body["id"].as_str().expect("an id"));
    assert_eq!(world.post(&path, &json!({})).await.status, 200);
    let late = announce(&world, "photo", bytes).await;
    assert_eq!((late.status, &late.body["code"]), (409, &json!("upload_completed")), "{:?}", late.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_time_is_over_is_not_announced_again_by_its_key() {
    let world = World::with(Setting::idle()).await;
    announce(&world, "slow", 100).await;
    world.later(Duration::from_secs(901));
    let late = announce(&world, "slow", 100).await;
    assert_eq!((late.status, &late.body["code"]), (410, &json!("upload_expired")), "{:?}", late.body);
}
