//! What an account, and each of its keys, may have in progress and spend: counted where the credits are held.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Customer, Reply, Setting, World};

/// A placeholder's price.
const COST: u64 = 5;
const DAY: Duration = Duration::from_secs(24 * 3_600);

async fn order(customer: &Customer) -> Reply {
    customer.post("/v1/generations", &json!({"model": "placeholder", "params": {"prompt": "x"}})).await
}

/// Twenty orders at once; how many were accepted. The others were refused with this status and code, for this reason.
async fn rush(customer: &Customer, status: u16, code: &str, reason: &str) -> usize {
    let replies = join_all((0..20).map(|_| order(customer))).await;
    let (accepted, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 202);
    for reply in refused {
        assert_eq!((reply.status, &reply.body["code"]), (status, &json!(code)), "{:?}", reply.body);
        assert!(reply.body["detail"].as_str().is_some_and(|detail| detail.contains(reason)), "{:?}", reply.body);
        assert_eq!(reply.header("retry-after").is_empty(), status != 429);
    }
    accepted.len()
}

/// An account with this limit on itself, and one with this limit on a key.
async fn limited(world: &World, limits: &Value) -> [(Customer, &'static str); 2] {
    let whole = world.customer(1_000).await;
    let reply = world.operate(Method::PATCH, &format!("/{}", whole.account), &json!({"limits": limits})).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let other = world.customer(1_000).await;
    let (_, by_key) = world.make_key(other.account, &json!({"limits": limits})).await;
    [(whole, "the limit of this account"), (by_key, "the limit of this API key")]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_the_limit_is_in_progress_at_once() {
    let world = World::with(Setting::idle()).await;
    for (customer, reason) in limited(&world, &json!({"in_flight": 3})).await {
        assert_eq!(rush(&customer, 429, "too_many_in_progress", reason).await, 3);
        let first = customer.generations().await[0]["id"].as_str().expect("an id").to_owned();
        assert_eq!(customer.post(&format!("/v1/generations/{first}/cancel"), &json!({})).await.status, 200);
        assert_eq!(rush(&customer, 429, "too_many_in_progress", reason).await, 1, "what ended makes room");
        customer.audit().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_the_limit_is_spent_in_a_day() {
    let world = World::with(Setting::idle()).await;
    world.until_noon();
    for (customer, reason) in limited(&world, &json!({"spend_per_day": 4 * COST + 1})).await {
        assert_eq!(rush(&customer, 402, "spending_limit_reached", reason).await, 4);
        let first = customer.generations().await[0]["id"].as_str().expect("an id").to_owned();
        customer.post(&format!("/v1/generations/{first}/cancel"), &json!({})).await;
        assert_eq!(rush(&customer, 402, "spending_limit_reached", reason).await, 1, "what was given back may be spent");
        world.later(DAY);
        assert_eq!(rush(&customer, 402, "spending_limit_reached", reason).await, 4, "the next day has its own");
        customer.audit().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_the_limit_is_spent_in_a_month() {
    let world = World::with(Setting::idle()).await;
    world.until_noon();
    for (customer, reason) in limited(&world, &json!({"spend_per_month": 2 * COST})).await {
        assert_eq!(rush(&customer, 402, "spending_limit_reached", reason).await, 2);
        world.later(31 * DAY);
        assert_eq!(rush(&customer, 402, "spending_limit_reached", reason).await, 2, "the next month has its own");
        customer.audit().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_key_leaves_the_others_alone() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(100).await;
    let (_, limited) = world.make_key(customer.account, &json!({"limits": {"spend_per_day": COST}})).await;
    assert_eq!(rush(&limited, 402, "spending_limit_reached", "this API key").await, 1);
    assert_eq!(order(&customer).await.status, 202);
    assert_eq!(customer.balance().await, (90, 10));
}
