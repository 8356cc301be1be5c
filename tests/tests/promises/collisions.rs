//! Two transactions on one account at the same moment: DynamoDB refuses one of them with TransactionConflict, which says nothing about the
//! credits. No embedded engine does so by itself, so it is done to the product here.

use axum::Router;
use axum::http::{StatusCode, header};
use futures_util::future::join_all;
use jiff::SignedDuration;
use serde_json::{Map, Value, json};
use shared::catalog::manifest::MediaKind;
use shared::credits::Credits;
use shared::generation::{Candidate, Finish, Generation, Order};
use shared::ids::{AccountId, GenerationId};
use shared::store::{Accepted, Store};
use tests::{Setting, UNREAD, World};

/// A DynamoDB that knows one answer only. Format: DynamoDB API reference, `TransactWriteItems`, "TransactionCanceledException".
async fn colliding_dynamodb() -> String {
    dynamodb_colliding_at(0, 3).await
}

/// As [`colliding_dynamodb`], for a transaction of so many writes of which this one collides.
async fn dynamodb_colliding_at(index: usize, writes: usize) -> String {
    let none = json!({"Code": "None"});
    let conflict = json!({"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"});
    let answer = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "message": "Transaction cancelled, please refer cancellation reasons for specific reasons [TransactionConflict, None, None]",
        "CancellationReasons": (0..writes).map(|at| if at == index { &conflict } else { &none }).collect::<Vec<_>>(),
    });
    let answer = (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/x-amz-json-1.0")], answer.to_string());
    let router = Router::new().fallback(move || std::future::ready(answer.clone()));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acceptance_survives_collisions_and_holds_once() {
    let world = World::with(Setting::idle()).await;
    let stub = colliding_dynamodb().await;
    world.first_tick().await;
    world.create("placeholder", "warm-up").await;
    world.wire.reset();
    world.wire.collide(6, &stub);
    let id = world.create("placeholder", "unlucky").await;
    assert_eq!(world.wire.counts(), [("TransactWriteItems".to_owned(), 7)].into());
    assert_eq!(world.balance().await, (990, 10));
    let closings = world.audit().await;
    assert_eq!((closings.len(), closings[&id].held), (2, 5));
    assert_eq!(world.queues().peek(UNREAD).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_every_transaction_collides_is_still_charged_once() {
    let world = World::start().await;
    let stub = colliding_dynamodb().await;
    world.wire.reset();
    world.wire.collide_each(3, &stub);
    let id = world.create_with("flux-schnell", json!({"prompt": "unlucky", "num_outputs": 3})).await;
    let done = world.ended(&id).await;
    assert_eq!((&done["status"], done["attempts"].as_array().map(Vec::len)), (&json!("succeeded"), Some(1)), "{done:#}");
    let failed = world.create("flux-schnell", "a release, too [[fail]]").await;
    assert_eq!(world.ended(&failed).await["status"], "failed");
    // Accepted, claimed, submitted, and settled at the least, each with three collisions before.
    assert!(world.wire.counts()["TransactWriteItems"] >= 2 * 4 * 4, "{:?}", world.wire.counts());
    let closings = world.audit().await;
    let closing = |id: &String| (closings[id].held, closings[id].charged, closings[id].released);
    assert_eq!((closing(&id), closing(&failed)), ((6, 6, 0), (2, 0, 2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_twin_is_being_written_is_told_to_ask_again() {
    let world = World::with(Setting::idle()).await;
    // Entry, account, generation, idempotency record.
    let stub = dynamodb_colliding_at(3, 4).await;
    let ask = async || {
        let body = json!({"model": "placeholder", "params": {"prompt": "twins"}});
        world.send(world.request(reqwest::Method::POST, "/v1/generations").header("idempotency-key", "twin").json(&body)).await
    };
    world.wire.collide(u32::MAX, &stub);
    let reply = ask().await;
    assert_eq!((reply.status, &reply.body["code"]), (409, &json!("request_in_progress")), "{:?}", reply.body);
    assert_eq!(reply.header("retry-after"), "1");
    world.wire.collide(3, &stub);
    let reply = ask().await;
    assert_eq!((reply.status, reply.header("idempotency-replayed")), (202, ""), "{:?}", reply.body);
    assert_eq!(world.balance().await, (995, 5));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_collisions_hold_nothing_and_ask_to_come_again() {
    let world = World::with(Setting::idle()).await;
    let stub = colliding_dynamodb().await;
    world.wire.collide(u32::MAX, &stub);
    let body = json!({"model": "placeholder", "params": {"prompt": "hopeless"}});
    let reply = world.post("/v1/generations", &body).await;
    assert_eq!((reply.status, &reply.body["code"]), (503, &json!("unavailable")), "{:?}", reply.body);
    assert_eq!(reply.header("content-type"), "application/problem+json");
    let seconds = reply.body["retry_after"].as_u64().expect("seconds");
    assert_eq!(reply.header("retry-after"), seconds.to_string());
    assert_eq!(world.balance().await, (1_000, 0));
    assert_eq!((world.generations().await.len(), world.queues().peek(UNREAD).len()), (0, 0));
    // When the crowd is gone, all is well.
    world.wire.collide(0, &stub);
    assert_eq!(world.post("/v1/generations", &body).await.status, 202);
    assert_eq!(world.audit().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_account_keep_its_books_right() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(150 * 5).await;
    // Each has its own memory of the counters, which the other one makes stale.
    let stores = [world.stack.backend.store.clone(), world.another_store()];
    let postings = (0..200).map(|number| accept(&world, &stores[number % 2], customer.account));
    let outcomes = join_all(postings).await;
    let accepted = outcomes.iter().filter(|outcome| matches!(outcome, Accepted::New(_))).count();
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Accepted::Refused(_))).count();
    assert_eq!((accepted, refused), (150, 50));
    assert_eq!(customer.balance().await, (0, 750));
    assert_eq!(customer.audit().await.len(), 150);
}

/// What `POST /v1/generations` writes, in a process of our choice.
async fn accept(world: &World, store: &Store, account: AccountId) -> Accepted {
    let now = world.stack.backend.now();
    let (unix_ms, random) = world.stack.backend.id_parts();
    let order = Order {
        model: "placeholder".to_owned(),
        kind: MediaKind::Image,
        box_id: None,
        candidates: vec![Candidate {
            model: "placeholder".to_owned(),
            provider: "placeholder".to_owned(),
            catalog_version: 1,
            model_version: None,
            params: None,
            cost_micro_usd: None,
        }],
        params: Map::from_iter([("prompt".to_owned(), Value::from("crowded"))]),
        inputs: Vec::new(),
        price_by_results: Vec::new(),
        finish: Finish::default(),
        erase_inputs: false,
    };
    let cost = Credits::new(5).expect("small");
    let due_at = now + SignedDuration::from_secs(60);
    let generation = Generation::accept(GenerationId::from_parts(unix_ms, random), account, order, cost, None, now, due_at);
    store.accept(&generation, None, None, now).await.expect("the table answers")
}
