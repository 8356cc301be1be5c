//! Nobody spends what they do not have, however fast they ask.

use futures_util::future::join_all;
use serde_json::json;
use tests::{Setting, UNREAD, World};

/// A placeholder's price.
const COST: u64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_parallel_requests_cannot_spend_the_credits_of_ten() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(10 * COST).await;
    let body = json!({"model": "placeholder", "params": {"prompt": "me first"}});
    let replies = join_all((0..64).map(|_| customer.post("/v1/generations", &body))).await;
    let (accepted, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 202);
    assert_eq!((accepted.len(), refused.len()), (10, 54));
    for reply in refused {
        assert_eq!((reply.status, reply.header("content-type")), (402, "application/problem+json"), "{:?}", reply.body);
        assert_eq!(reply.body["code"], "insufficient_credits");
    }
    let mut spent: Vec<_> = accepted.iter().map(|reply| reply.body["balance_after"].as_u64().expect("a number")).collect();
    spent.sort_unstable();
    assert_eq!(spent, (0..10).map(|left| left * COST).collect::<Vec<_>>());
    assert_eq!(customer.balance().await, (0, 10 * COST));
    assert_eq!((customer.generations().await.len(), world.queues().peek(UNREAD).len()), (10, 10));
    assert_eq!(customer.audit().await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_in_the_rush_is_made_and_charged_once() {
    let world = World::start().await;
    let customer = world.customer(4 * COST).await;
    let body = json!({"model": "placeholder", "params": {"prompt": "small", "width": 64, "height": 64}});
    let replies = join_all((0..16).map(|_| customer.post("/v1/generations", &body))).await;
    for accepted in replies.iter().filter(|reply| reply.status == 202) {
        customer.ended(accepted.body["id"].as_str().expect("an id")).await;
    }
    assert_eq!(customer.balance().await, (0, 0));
    let closings = customer.audit().await;
    assert_eq!(closings.len(), 4);
    assert!(closings.values().all(|closing| (closing.charged, closing.released) == (COST, 0)), "{closings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_beyond_the_balance_leaves_no_trace() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(7).await;
    let (ledger, tables) = (customer.ledger().await, world.queues().peek(UNREAD));
    // Four images for two credits each.
    let body = json!({"model": "flux-schnell", "params": {"prompt": "x", "num_outputs": 4}});
    let reply = customer.post("/v1/generations", &body).await;
    assert_eq!((reply.status, &reply.body["code"]), (402, &json!("insufficient_credits")), "{:?}", reply.body);
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert_eq!(customer.balance().await, (7, 0));
    assert_eq!(customer.ledger().await, ledger);
    assert_eq!(customer.generations().await.len(), 0);
    assert_eq!(world.queues().peek(UNREAD), tables);
    // Three of them can be paid.
    let body = json!({"model": "flux-schnell", "params": {"prompt": "x", "num_outputs": 3}});
    assert_eq!(customer.post("/v1/generations", &body).await.status, 202);
    assert_eq!(customer.balance().await, (1, 6));
    customer.audit().await;
}
