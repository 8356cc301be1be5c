//! `kill -9` in the middle of fifty jobs of a real process: all of them end, and the books are right.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Process, free_port};

const PROGRAM: &str = env!("CARGO_BIN_EXE_darkroom-under-test");
const JOBS: usize = 50;
/// Short leases, so that the dead worker's jobs are taken over soon, and yet long enough for a worker on a busy machine: whoever is overtaken
/// while it lives makes more work, or gives a result up.
const LEASES: [(&str, &str); 5] = [
    ("REQUEUE_SECONDS", "5"),
    ("CLAIM_LEASE_SECONDS", "20"),
    ("COLLECT_LEASE_SECONDS", "20"),
    ("ASK_LEASE_SECONDS", "20"),
    ("UNCONFIRMED_SECONDS", "40"),
];
/// The slowest net is the minute's tick; a few of them may be needed on a busy machine.
const LONGEST: Duration = Duration::from_secs(600);
/// Orders at a time: more only wait for each other at the account, and are told to come again.
const AT_ONCE: usize = 5;

fn order(number: usize) -> Value {
    let prompt = |delay: &str| format!("number {number} [[delay={delay}]]");
    match number % 5 {
        0 => json!({"model": "placeholder", "params": {"prompt": prompt("100ms"), "width": 64, "height": 64}}),
        1 | 2 => json!({"model": "placeholder", "params": {"prompt": prompt("2s"), "width": 64, "height": 64}}),
        // They run when the kill comes, however long it takes until all are accepted and handed over.
        3 => json!({"model": "flux-schnell", "params": {"prompt": prompt("45s")}}),
        _ => json!({"model": "flux-dev", "params": {"prompt": prompt("45s")}}),
    }
}

/// Orders until it is accepted, with the same key each time, as a customer does whom a busy machine tells to come again.
async fn insist(product: &Process, number: usize) {
    let started = Instant::now();
    loop {
        let request = product.request(Method::POST, "/v1/generations").header("idempotency-key", number.to_string());
        let reply = product.send(request.json(&order(number))).await;
        if reply.status == 202 {
            return;
        }
        assert!(matches!(reply.status, 409 | 500 | 503) && started.elapsed() < LONGEST, "{:?}", reply.body);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How many generations are in this phase.
fn count(generations: &[Value], phase: &str) -> usize {
    generations.iter().filter(|generation| generation["phase"] == phase).count()
}

async fn until(product: &Process, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let started = Instant::now();
    loop {
        let generations = product.generations().await;
        if wanted(&generations) {
            return generations;
        }
        assert!(started.elapsed() < LONGEST, "waited in vain: {generations:#?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_jobs_survive_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let product = Process::start(PROGRAM, folder.path(), port, &LEASES).await;
    for some in (0..JOBS).collect::<Vec<_>>().chunks(AT_ONCE) {
        join_all(some.iter().map(|number| insist(&product, *number))).await;
    }
    // Some may still be queued: the kill finds jobs in any phase.
    let at_the_kill =
        until(&product, |generations| count(generations, "running") >= 10 && count(generations, "succeeded") >= 5).await;
    product.kill().await;

    let product = Process::start(PROGRAM, folder.path(), port, &LEASES).await;
    let ended = until(&product, |generations| generations.iter().all(|generation| !generation["finished_at"].is_null())).await;
    assert_eq!(ended.len(), JOBS);
    let closings = product.audit().await;
    assert_eq!(closings.len(), JOBS);
    for generation in &ended {
        let closing = closings[generation["id"].as_str().expect("an id")];
        assert_eq!(closing.charged + closing.released, closing.held, "{generation:#}");
    }
    // What had ended before is as it was, and what a provider had taken was not lost.
    for before in &at_the_kill {
        let after = ended.iter().find(|after| after["id"] == before["id"]).expect("it is still there");
        if !before["finished_at"].is_null() {
            assert_eq!((&after["status"], &after["finished_at"]), (&before["status"], &before["finished_at"]));
        }
        if before["phase"] == "running" || before["phase"] == "collecting" {
            assert_eq!(after["status"], "succeeded", "{after:#}");
        }
    }
    let (available, held) = product.balance().await;
    let spent: u64 = closings.values().map(|closing| closing.charged).sum();
    assert_eq!((available + spent, held), (1_000, 0));
}
