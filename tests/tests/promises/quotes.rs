//! A quote is a price that holds: what was quoted is held and charged, whatever becomes of the catalog meanwhile.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use shared::credits::Credits;
use shared::price::Cost;
use shared::quote::Quote;
use tests::{Closing, Customer, Reply, Setting, World};

use crate::run_time_catalog::{drawing_provider, model};

/// As template.yaml says.
const VALID: Duration = Duration::from_secs(600);

async fn quote(customer: &Customer, model: &str, params: Value) -> Value {
    let reply = customer.post("/v1/quotes", &json!({"model": model, "params": params})).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.body
}

async fn redeem(customer: &Customer, quote: &Value, model: &str, params: Value) -> Reply {
    customer.post("/v1/generations", &json!({"model": model, "params": params, "quote": quote})).await
}

async fn put(world: &World, path: &str, body: &Value) {
    let reply = world.send(world.request(Method::PUT, &format!("/v1/admin/{path}")).json(body)).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
}

#[track_caller]
fn refused(reply: &Reply, code: &str) {
    let found = (reply.status, reply.body["code"].as_str(), reply.body["param"].as_str());
    assert_eq!(found, (422, Some(code), Some("quote")), "{:?}", reply.body);
}

fn id(reply: &Reply) -> String {
    assert_eq!(reply.status, 202, "{:?}", reply.body);
    reply.body["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_quoted_is_held_and_charged_as_often_as_it_is_redeemed() {
    let world = World::start().await;
    let params = json!({"prompt": "a fox", "num_outputs": 2});
    let before = world.balance().await;
    let quoted = quote(&world, "flux-schnell", params.clone()).await;
    assert_eq!(world.balance().await, before, "a quote holds nothing");
    assert_eq!((&quoted["credits"], &quoted["price_by_results"]), (&json!(4), &json!([2, 4])));
    assert_eq!(quoted["model"], "replicate/black-forest-labs/flux-schnell");
    assert_eq!((&quoted["params"]["num_outputs"], &quoted["params"]["output_format"]), (&json!(2), &json!("webp")));
    let expires_at: Timestamp = quoted["expires_at"].as_str().and_then(|text| text.parse().ok()).expect("a time");
    let left = expires_at.duration_since(world.stack.clock.now());
    assert!(left > SignedDuration::from_secs(590) && left <= SignedDuration::from_secs(600), "{left}");

    let orders = [
        ("flux-schnell", params),
        ("replicate/black-forest-labs/flux-schnell", json!({"num_outputs": 2.0, "prompt": "a fox"})),
        ("flux-schnell", quoted["params"].clone()),
    ];
    let mut ids = Vec::new();
    for (model, params) in orders {
        let reply = redeem(&world, &quoted["quote"], model, params).await;
        assert_eq!(reply.body["cost"], 4);
        ids.push(id(&reply));
    }
    for id in &ids {
        assert_eq!(world.ended(id).await["charged"], 4);
    }
    let closings = world.audit().await;
    assert_eq!(ids.iter().map(|id| closings[id]).collect::<Vec<_>>(), [Closing { held: 4, charged: 4, released: 0 }; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quoted_price_outlives_a_change_of_the_catalog() {
    let world = World::start().await;
    put(&world, "providers/acme", &drawing_provider("acme")).await;
    put(&world, "models/acme/small", &model("acme/small", 3)).await;
    let params = || json!({"prompt": "a fox"});
    let quoted = quote(&world, "acme/small", params()).await;
    put(&world, "models/acme/small", &model("acme/small", 9)).await;
    world.later(Duration::from_secs(61));
    let without = world.post("/v1/generations", &json!({"model": "acme/small", "params": params()})).await;
    assert_eq!(
        (without.body["cost"].as_u64(), quote(&world, "acme/small", params()).await["credits"].as_u64()),
        (Some(9), Some(9))
    );
    let with = redeem(&world, &quoted["quote"], "acme/small", params()).await;
    assert_eq!(with.body["cost"], 3);
    assert_eq!(world.ended(&id(&with)).await["charged"], 3);
    assert_eq!(world.ended(&id(&without)).await["charged"], 9);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_results_than_quoted_are_charged_less() {
    let world = World::start().await;
    put(&world, "providers/acme", &drawing_provider("acme")).await;
    // It draws one picture, however many are wished.
    let mut several = model("acme/several", 0);
    several["params"]["properties"]["count"] = json!({"type": "integer", "minimum": 1, "maximum": 4, "default": 1});
    several["price"] = json!({"credits": "1.5 + 2 * count", "per_result": "count"});
    put(&world, "models/acme/several", &several).await;
    let params = || json!({"prompt": "a fox", "count": 3});
    let quoted = quote(&world, "acme/several", params()).await;
    assert_eq!((&quoted["credits"], &quoted["price_by_results"]), (&json!(8), &json!([4, 6, 8])));
    // The quoted prices hold for fewer results, too.
    several["price"] = json!({"credits": "7 * count", "per_result": "count"});
    put(&world, "models/acme/several", &several).await;
    world.later(Duration::from_secs(61));
    let id = id(&redeem(&world, &quoted["quote"], "acme/several", params()).await);
    let done = world.ended(&id).await;
    assert_eq!((&done["cost"], &done["charged"], done["results"].as_array().map(Vec::len)), (&json!(8), &json!(4), Some(1)));
    assert_eq!(world.audit().await[&id], Closing { held: 8, charged: 4, released: 4 });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_quote_is_refused_but_a_repeated_request_is_answered() {
    let world = World::start().await;
    let params = || json!({"prompt": "a fox"});
    let quoted = quote(&world, "placeholder", params()).await;
    let body = json!({"model": "placeholder", "params": params(), "quote": quoted["quote"]});
    let request = || world.request(Method::POST, "/v1/generations").header("idempotency-key", "key");
    let first = world.send(request().json(&body)).await;
    world.ended(&id(&first)).await;
    world.later(VALID);
    refused(&redeem(&world, &quoted["quote"], "placeholder", params()).await, "quote_expired");
    let again = world.send(request().json(&body)).await;
    assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &first.body));
    // The quote is a part of the request: without it, it is another one.
    let other = world.send(request().json(&json!({"model": "placeholder", "params": params()}))).await;
    assert_eq!((other.status, &other.body["code"]), (422, &json!("idempotency_key_reused")));
    assert_eq!(world.audit().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_for_which_a_quote_holds_is_a_setting() {
    let environment = vec![("QUOTE_EXPIRES_SECONDS", "30".to_owned())];
    let world = World::with(Setting { environment, ..Setting::default() }).await;
    let quoted = quote(&world, "placeholder", json!({"prompt": "a fox"})).await;
    world.later(Duration::from_secs(30));
    refused(&redeem(&world, &quoted["quote"], "placeholder", json!({"prompt": "a fox"})).await, "quote_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_quote_is_refused_and_holds_nothing() {
    let world = World::with(Setting::idle()).await;
    let params = || json!({"prompt": "a fox"});
    let quoted = quote(&world, "placeholder", params()).await;
    let token = quoted["quote"].as_str().expect("text");
    let parts: Vec<&str> = token.split('.').collect();
    let cheap = Quote {
        account: world.account,
        model: "placeholder".to_owned(),
        params: String::new(),
        cost: Cost { credits: Credits::ZERO, by_results: Vec::new() },
        expires_at: Timestamp::MAX,
    };
    let of_another_key = cheap.sign("a secret that is not the deployment's").expect("signed");
    let cheaper = of_another_key.split('.').nth(1).expect("a payload");
    let forged = [
        String::new(),
        "quote".to_owned(),
        "q1.e30.e30".to_owned(),
        token[..token.len() - 4].to_owned(),
        format!("q2.{}.{}", parts[1], parts[2]),
        format!("q1.{cheaper}.{}", parts[2]),
        format!("{token}{}", "A".repeat(100_000)),
        of_another_key,
    ];
    for forged in forged {
        refused(&redeem(&world, &json!(forged), "placeholder", params()).await, "invalid_quote");
    }
    assert_eq!((world.balance().await, world.generations().await.len()), ((1_000, 0), 0));
    id(&redeem(&world, &json!(token), "placeholder", params()).await);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_is_for_one_account_and_one_order() {
    let world = World::with(Setting::idle()).await;
    let other = world.customer(100).await;
    let params = || json!({"prompt": "a fox"});
    let quoted = quote(&world, "placeholder", params()).await["quote"].clone();
    refused(&redeem(&other, &quoted, "placeholder", params()).await, "quote_mismatch");
    refused(&redeem(&world, &quoted, "flux-schnell", params()).await, "quote_mismatch");
    for changed in
        [json!({"prompt": "a fox."}), json!({"prompt": "a fox", "width": 64}), json!({"prompt": "a fox", "format": "webp"})]
    {
        refused(&redeem(&world, &quoted, "placeholder", changed).await, "quote_mismatch");
    }
    assert_eq!((world.balance().await, other.balance().await), ((1_000, 0), (100, 0)));
    world.audit().await;
    other.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_is_given_to_whoever_cannot_pay_yet() {
    let world = World::with(Setting::idle()).await;
    let poor = world.customer(0).await;
    let quoted = quote(&poor, "placeholder", json!({"prompt": "a fox"})).await;
    assert_eq!((quoted["credits"].as_u64(), quoted.get("price_by_results")), (Some(5), None));
    let reply = redeem(&poor, &quoted["quote"], "placeholder", json!({"prompt": "a fox"})).await;
    assert_eq!((reply.status, &reply.body["code"]), (402, &json!("insufficient_credits")), "{:?}", reply.body);
    poor.audit().await;
}
