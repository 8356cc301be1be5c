//! Nobody asks more often than agreed, in however many processes the answers are made; who waits as long as told is served again.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use shared::clock::Clock;
use shared::keys::{KeyTerms, Scope};
use shared::ledger::AccountChange;
use shared::rate_limit::{Rate, Verdict};
use shared::store::{Bucket, Changed, FiledKey, Store};
use tests::{Customer, Fault, Reply, Setting, World};

const ACCOUNT: &str = "/v1/account";

/// A world in which time passes by hand alone, so that nothing depends on how fast the machine is.
async fn world(requests_per_second: &str) -> World {
    let clock = Some(Clock::stopped(Clock::system().now()));
    let environment = vec![("REQUESTS_PER_SECOND", requests_per_second.to_owned())];
    let world = World::with(Setting { environment, clock, ..Setting::default() }).await;
    world.first_tick().await;
    world
}

/// Another key of the customer's account.
async fn another_key(world: &World, customer: &Customer, requests_per_second: Option<u32>) -> Customer {
    let now = world.stack.backend.now();
    let terms = KeyTerms { requests_per_second, ..KeyTerms::plain(vec![Scope::User]) };
    let (key, filed) = FiledKey::make(customer.account, terms, now);
    let action = world.stack.backend.action(customer.account, None, "create_key", &filed.key.id.to_string(), None);
    let filed = world.another_store().add_key(&filed, &action, None, now).await.expect("the table answers");
    assert!(matches!(filed, Changed::Done(_)), "{filed:?}");
    Customer { key, ..customer.clone() }
}

fn limits(reply: &Reply) -> [&str; 3] {
    ["ratelimit", "ratelimit-policy", "retry-after"].map(|name| reply.header(name))
}

fn assert_refused(reply: &Reply, whose: &str, limit: u32) {
    assert_eq!((reply.status, &reply.body["code"]), (429, &json!("rate_limited")), "{:?}", reply.body);
    assert_eq!(reply.body["retry_after"], 1);
    assert_eq!(limits(reply), [format!("\"{whose}\";r=0;t=1"), format!("\"{whose}\";q={limit};w=1"), "1".to_owned()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_a_limit_of_its_own() {
    let world = world("100").await;
    let slow = another_key(&world, &world, Some(3)).await;
    for left in [2, 1, 0] {
        let reply = slow.get(ACCOUNT).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        assert_eq!(limits(&reply), [format!("\"key\";r={left};t=1"), "\"key\";q=3;w=1".to_owned(), String::new()]);
    }
    for _ in 0..5 {
        assert_refused(&slow.get(ACCOUNT).await, "key", 3);
    }
    // Nothing that the key was refused is missed by the account's other keys.
    assert_eq!(limits(&world.get(ACCOUNT).await), ["\"account\";r=96;t=1", "\"account\";q=100;w=1", ""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_an_account_share_its_limit() {
    let world = world("100").await;
    let change = AccountChange { requests_per_second: Some(Some(4)), ..AccountChange::default() };
    let customer = world.customer(10).await;
    let action = world.stack.backend.action(customer.account, None, "change_account", "", None);
    world.another_store().change_account(customer.account, &change, &action).await.expect("the table answers");
    let keys = [customer.clone(), another_key(&world, &customer, None).await];
    for left in [3, 2, 1, 0] {
        let reply = keys[left % 2].get(ACCOUNT).await;
        assert_eq!((reply.status, reply.header("ratelimit")), (200, format!("\"account\";r={left};t=1").as_str()));
    }
    for key in &keys {
        assert_refused(&key.get(ACCOUNT).await, "account", 4);
        assert_refused(&key.post("/v1/generations", &json!({})).await, "account", 4);
        assert_refused(&key.get("/v1/admin/catalog").await, "account", 4);
    }
    assert_eq!(world.get(ACCOUNT).await.status, 200, "another account");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_time_that_was_told_it_works_again() {
    let world = world("2").await;
    for _ in 0..3 {
        for _ in 0..2 {
            assert_eq!(world.get(ACCOUNT).await.status, 200);
        }
        let refused = world.get(ACCOUNT).await;
        assert_refused(&refused, "account", 2);
        let seconds = refused.header("retry-after").parse().expect("a number");
        world.later(Duration::from_secs(seconds));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_not_the_request() {
    let world = world("1").await;
    let body = json!({"model": "placeholder", "params": {"prompt": "a fox", "width": 64, "height": 64}});
    let order = || world.request(reqwest::Method::POST, "/v1/generations").header("idempotency-key", "order-1").json(&body);
    assert_eq!(world.get(ACCOUNT).await.status, 200);
    assert_refused(&world.send(order()).await, "account", 1);
    world.later(Duration::from_secs(1));
    let accepted = world.send(order()).await;
    assert_eq!((accepted.status, accepted.header("idempotency-replayed")), (202, ""), "{:?}", accepted.body);
    assert_eq!(accepted.header("ratelimit"), "\"account\";r=0;t=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_costs_few_writes_and_refusing_none() {
    let world = world("100").await;
    assert_eq!(world.get(ACCOUNT).await.status, 200);
    world.wire.reset();
    for _ in 0..99 {
        assert_eq!(world.get(ACCOUNT).await.status, 200);
    }
    // Leases of 2, 4, 8 and then of a tenth of a second's worth.
    assert_eq!(world.wire.counts()["UpdateItem"], 12);
    assert_eq!(world.wire.seen(), 99 + 12, "and each reads the account");
    world.wire.reset();
    for _ in 0..50 {
        assert_refused(&world.get(ACCOUNT).await, "account", 100);
    }
    assert_eq!(world.wire.seen(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_key_is_told_so_and_an_account_without_a_limit_hears_of_none() {
    let world = world("1").await;
    for _ in 0..3 {
        let reply = world.send(world.request_as("dk_wrong", reqwest::Method::GET, ACCOUNT)).await;
        assert_eq!((reply.status, limits(&reply)), (401, ["", "", ""]));
    }
    let free = self::world("0").await;
    for _ in 0..3 {
        let reply = free.get(ACCOUNT).await;
        assert_eq!((reply.status, limits(&reply)), (200, ["", "", ""]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_table_nobody_is_refused() {
    for fault in [Fault::CutBefore, Fault::CutAfter] {
        let world = world("1").await;
        world.stack.backend.catalog().await.expect("it loads");
        assert_eq!(world.get(ACCOUNT).await.status, 200, "the key is looked up");
        world.later(Duration::from_secs(5));
        world.wire.cut(1, fault);
        for _ in 0..3 {
            let reply = world.get("/v1/models").await;
            assert_eq!((reply.status, limits(&reply)), (200, ["", "", ""]));
        }
        assert!(!world.wire.is_waiting());
        world.later(Duration::from_secs(1));
        assert_eq!(world.get(ACCOUNT).await.header("ratelimit-policy"), "\"account\";q=1;w=1");
    }
}

/// How many of `each` requests in each process, all made at once, pass.
async fn passing(stores: &[Store], bucket: Bucket, rate: Rate, clock: &Clock, each: usize) -> usize {
    let requests = stores.iter().flat_map(|store| (0..each).map(move |_| store.admit(bucket, rate, clock)));
    let verdicts = join_all(requests).await;
    assert!(!verdicts.contains(&Verdict::Unknown), "the table answers");
    verdicts.into_iter().filter(|verdict| matches!(verdict, Verdict::Pass(_))).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_together_let_no_more_through_than_one() {
    let world = world("").await;
    let (bucket, rate) = (Bucket::Account(world.account), Rate::new(50).expect("a limit"));
    let stores: Vec<Store> = (0..4).map(|_| world.another_store()).collect();
    let clock = &world.stack.clock;
    assert_eq!(passing(&stores, bucket, rate, clock, 50).await, 50);
    assert_eq!(passing(&stores, bucket, rate, clock, 50).await, 0);
    // A moment later there is as much as came in meanwhile, whoever takes it.
    clock.advance(Duration::from_millis(200));
    assert_eq!(passing(&stores, bucket, rate, clock, 50).await, 10);
    clock.advance(Duration::from_mins(1));
    assert_eq!(passing(&stores, bucket, rate, clock, 50).await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_in_several_processes_gets_what_was_agreed_and_never_more() {
    let world = world("").await;
    let (bucket, rate) = (Bucket::Account(world.account), Rate::new(40).expect("a limit"));
    let stores: Vec<Store> = (0..3).map(|_| world.another_store()).collect();
    let (mut passed, mut ms) = (0, 0);
    for pause_ms in [3, 7, 31, 64, 150].into_iter().cycle().take(100) {
        passed += passing(&stores, bucket, rate, &world.stack.clock, 5).await;
        assert!(passed * 1_000 <= 40 * (2_000 + ms), "{passed} in {ms} ms");
        world.later(Duration::from_millis(pause_ms));
        ms += usize::try_from(pause_ms).expect("short");
    }
    assert!(passed * 1_000 >= 40 * ms * 3 / 4, "{passed} in {ms} ms: nearly all that was agreed");
}
