//! What a generation costs us in calls: more of them is slower and dearer, for every customer.

use std::collections::BTreeMap;

use serde_json::json;
use shared::ids::GenerationId;
use tests::{PATIENCE, Setting, UNREAD, World};

fn count(counts: &BTreeMap<String, u32>, operations: &[&str]) -> u32 {
    operations.iter().filter_map(|operation| counts.get(*operation)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn accepting_is_one_transaction_and_one_message() {
    let world = World::with(Setting::idle()).await;
    world.first_tick().await;
    world.create("placeholder", "warm-up: the key is looked up, the counters are read").await;
    for (prompt, key) in [("without a key", None), ("with a key", Some("key"))] {
        let queued = world.queues().peek(UNREAD).len();
        let body = json!({"model": "placeholder", "params": {"prompt": prompt}});
        let mut request = world.request(reqwest::Method::POST, "/v1/generations").json(&body);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        world.wire.reset();
        let reply = world.send(request).await;
        let counts = world.wire.counts();
        assert_eq!(reply.status, 202, "{:?}", reply.body);
        assert_eq!(counts, BTreeMap::from([("TransactWriteItems".to_owned(), 1)]), "{prompt}");
        let sent = world.queues().peek(UNREAD).split_off(queued);
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert!(sent[0].contains(reply.body["id"].as_str().expect("an id")), "{sent:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_with_a_callback_stays_within_its_budget() {
    let world = World::start().await;
    // Looks without being counted.
    let onlooker = world.another_store();
    let over = async |id: &str| {
        let id: GenerationId = id.parse().expect("an id");
        let ended = async {
            while !onlooker.generation(id).await.expect("the table answers").expect("the generation").state.is_terminal() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
    };
    world.first_tick().await;
    over(&world.create("flux-schnell", "warm-up").await).await;
    world.wire.reset();
    let id = world.create("flux-schnell", "counted").await;
    over(&id).await;
    let counts = world.wire.counts();
    let writes = count(&counts, &["TransactWriteItems", "PutItem", "UpdateItem", "DeleteItem"]);
    let reads = count(&counts, &["GetItem", "Query", "TransactGetItems", "BatchGetItem"]);
    assert!(writes <= 6 && reads <= 4, "{writes} writes, {reads} reads: {counts:?}");
    assert_eq!(u64::from(world.wire.seen()), counts.values().copied().map(u64::from).sum::<u64>());
    assert_eq!(u64::from(writes + reads), u64::from(world.wire.seen()), "an operation of another kind: {counts:?}");
    let generation = world.generation(&id).await;
    assert_eq!((&generation["status"], generation["attempts"].as_array().map(Vec::len)), (&json!("succeeded"), Some(1)));
    println_counts(&counts, writes, reads);
    world.audit().await;
}

#[allow(clippy::print_stdout, reason = "the figure is worth knowing; `--nocapture` shows it")]
fn println_counts(counts: &BTreeMap<String, u32>, writes: u32, reads: u32) {
    println!("a generation with a callback: {writes} writes, {reads} reads: {counts:?}");
}
