//! Credits by hand: each top-up once, for ever, whatever is repeated, lost or cut.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Customer, Fault, Reply, Setting, World};

const HOUR: Duration = Duration::from_secs(3_600);

fn gift(amount: i64) -> Value {
    json!({"amount": amount, "reason": "invoice 17"})
}

#[track_caller]
fn is_first(reply: &Reply) {
    assert_eq!((reply.status, reply.header("idempotency-replayed")), (201, ""), "{:?}", reply.body);
}

#[track_caller]
fn is_again(reply: &Reply, first: &Reply) {
    assert_eq!((reply.status, reply.header("idempotency-replayed")), (201, "true"), "{:?}", reply.body);
    assert_eq!(reply.body, first.body);
}

async fn kinds(customer: &Customer) -> Vec<String> {
    customer.ledger().await.iter().map(|entry| entry["kind"].as_str().expect("a kind").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_tells_the_entry_and_the_balance() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(100).await;
    let reply = world.add_credits(customer.account, "k", &gift(50)).await;
    is_first(&reply);
    let told = (&reply.body["available"], &reply.body["held"], &reply.body["entry"]["kind"], &reply.body["entry"]["reason"]);
    assert_eq!(told, (&json!(150), &json!(0), &json!("grant"), &json!("invoice 17")));
    assert_eq!(customer.ledger().await[1], reply.body["entry"]);
    let taken = world.add_credits(customer.account, "l", &json!({"amount": -30, "reason": "given twice"})).await;
    is_first(&taken);
    assert_eq!((&taken.body["available"], &taken.body["entry"]["available_change"]), (&json!(120), &json!(-30)));
    customer.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_equal_top_ups_are_one() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(0).await;
    let replies = join_all((0..50).map(|_| async { world.add_credits(customer.account, "invoice-17", &gift(70)).await })).await;
    let (again, first): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| !reply.header("idempotency-replayed").is_empty());
    assert_eq!((first.len(), again.len()), (1, 49));
    again.iter().for_each(|reply| is_again(reply, first[0]));
    is_again(&world.add_credits(customer.account, "invoice-17", &gift(70)).await, first[0]);
    assert_eq!(customer.balance().await, (70, 0));
    customer.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_top_up_is_the_same_one_also_when_its_key_is_a_day_old() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(0).await;
    let ends_at = (world.stack.clock.now() + jiff::SignedDuration::from_hours(30)).to_string();
    let ending = json!({"amount": 5, "reason": "trial", "ends_at": ends_at});
    let first = world.add_credits(customer.account, "k", &gift(70)).await;
    let trial = world.add_credits(customer.account, "trial", &ending).await;
    let taken = world.add_credits(customer.account, "minus", &json!({"amount": -1, "reason": "r"})).await;
    world.later(25 * HOUR);
    is_again(&world.add_credits(customer.account, "k", &gift(70)).await, &first);
    world.later(10 * HOUR);
    is_again(&world.add_credits(customer.account, "trial", &ending).await, &trial);
    is_again(&world.add_credits(customer.account, "minus", &json!({"amount": -1, "reason": "r"})).await, &taken);
    for (body, param) in [
        (gift(71), "amount"),
        (gift(-70), "amount"),
        (json!({"amount": 70, "reason": "another"}), "reason"),
        (json!({"amount": 70, "reason": "invoice 17", "ends_at": "2200-01-01T00:00:00Z"}), "ends_at"),
    ] {
        let reply = world.add_credits(customer.account, "k", &body).await;
        let found = (reply.status, reply.body["code"].as_str(), reply.body["param"].as_str());
        assert_eq!(found, (422, Some("idempotency_key_reused"), Some(param)), "{:?}", reply.body);
    }
    assert_eq!(
        customer.ledger().await.iter().filter(|entry| entry["kind"] != "expire").count(),
        4,
        "{:#?}",
        customer.ledger().await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn giving_and_taking_with_one_key_at_once_is_one_of_them() {
    let world = World::with(Setting::idle()).await;
    for round in 0..10 {
        let customer = world.customer(100).await;
        let key = format!("key-{round}");
        let (up, down) = (gift(10), gift(-10));
        let (given, taken) =
            tokio::join!(world.add_credits(customer.account, &key, &up), world.add_credits(customer.account, &key, &down));
        let mut statuses = [given.status, taken.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 422], "{given:?} {taken:?}");
        assert_eq!(kinds(&customer).await.len(), 2);
        customer.audit().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customers_own_keys_are_not_those_of_operators() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(100).await;
    let body = json!({"model": "placeholder", "params": {"prompt": "x"}});
    let order = customer.request(Method::POST, "/v1/generations").header("idempotency-key", "one").json(&body);
    assert_eq!(customer.send(order).await.status, 202);
    is_first(&world.add_credits(customer.account, "one", &gift(5)).await);
    is_first(&world.add_credits(world.account, "one", &gift(5)).await);
    customer.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_taken_than_there_is() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(10).await;
    customer.create("placeholder", "x").await;
    let ledger = customer.ledger().await;
    let refused = world.add_credits(customer.account, "k", &gift(-6)).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("insufficient_credits")), "{:?}", refused.body);
    let most = i64::try_from(shared::credits::Credits::MAX.get()).expect("it fits");
    let refused = world.add_credits(customer.account, "m", &gift(most)).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("balance_too_large")), "{:?}", refused.body);
    assert_eq!((customer.ledger().await, customer.balance().await), (ledger, (5, 5)));
    assert!(world.actions(customer.account).await.iter().all(|action| action["what"] != "adjust"));
    is_first(&world.add_credits(customer.account, "k", &gift(-5)).await);
    assert_eq!(customer.balance().await, (0, 5));
    customer.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_top_up_that_is_not_understood_says_why() {
    let world = World::with(Setting::idle()).await;
    let path = format!("/{}/credits", world.account);
    let balance = world.balance().await;
    let long = "r".repeat(501);
    for (body, code, param) in [
        (json!({"reason": "r"}), "missing_param", "amount"),
        (json!({"amount": 5}), "missing_param", "reason"),
        (json!({"amount": 5, "reason": ""}), "out_of_range", "reason"),
        (json!({"amount": 5, "reason": long}), "out_of_range", "reason"),
        (json!({"amount": 0, "reason": "r"}), "out_of_range", "amount"),
        (json!({"amount": 1.5, "reason": "r"}), "invalid_type", "amount"),
        (json!({"amount": 1_000_000_000_001_i64, "reason": "r"}), "out_of_range", "amount"),
        (json!({"amount": -5, "reason": "r", "ends_at": "2200-01-01T00:00:00Z"}), "invalid_param", "ends_at"),
        (json!({"amount": 5, "reason": "r", "ends_at": "soon"}), "invalid_param", "ends_at"),
        (json!({"amount": 5, "reason": "r", "ends_at": "2001-01-01T00:00:00Z"}), "out_of_range", "ends_at"),
    ] {
        let reply = world.operate_once("k", &path, &body).await;
        let found = (reply.status, reply.body["code"].as_str(), reply.body["param"].as_str());
        assert_eq!(found, (422, Some(code), Some(param)), "{body}: {:?}", reply.body);
    }
    let reply = world.operate(Method::POST, &path, &gift(5)).await;
    let found = (reply.status, reply.body["code"].as_str(), reply.body["param"].as_str());
    assert_eq!(found, (422, Some("missing_param"), Some("Idempotency-Key")), "{:?}", reply.body);
    assert_eq!(world.balance().await, balance);
}

#[tokio::test(flavor = "multi_thread")]
async fn credits_with_an_end_are_spent_first_and_end() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(20).await;
    let ends_at = (world.stack.clock.now() + jiff::SignedDuration::from_hours(1)).to_string();
    let given = world.add_credits(customer.account, "k", &json!({"amount": 12, "reason": "trial", "ends_at": ends_at})).await;
    is_first(&given);
    customer.create("placeholder", "x").await;
    let account = customer.get("/v1/account").await.body;
    assert_eq!((&account["available"], &account["ending"][0]["credits"]), (&json!(27), &json!(7)), "{account:#}");
    world.later(HOUR);
    assert_eq!(customer.balance().await, (20, 5), "what has ended cannot be spent, whoever has noticed");
    for _ in 0..100 {
        if kinds(&customer).await.iter().any(|kind| kind == "expire") {
            break;
        }
        world.minute().await;
    }
    assert_eq!(kinds(&customer).await, ["grant", "grant", "hold", "expire"]);
    assert_eq!(customer.ledger().await[3]["amount"], 7);
    customer.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_top_up_survives_the_loss_of_any_call_to_the_table() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(0).await;
    world.first_tick().await;
    is_first(&world.add_credits(customer.account, "warm-up", &gift(1)).await);
    world.wire.reset();
    is_first(&world.add_credits(customer.account, "counted", &gift(1)).await);
    let calls = world.wire.seen();
    assert!(calls >= 3, "{calls} calls");
    let mut given = 2;
    for nth in 1..=calls {
        for fault in [Fault::CutBefore, Fault::CutAfter] {
            let key = format!("{nth} {fault:?}");
            world.wire.cut(nth, fault);
            let mut tries = 0;
            while world.add_credits(customer.account, &key, &gift(1)).await.status != 201 {
                tries += 1;
                assert!(tries < 5, "{key}: never done");
            }
            given += 1;
            assert!(!world.wire.is_waiting(), "{key}: nothing was cut");
            assert_eq!(customer.balance().await, (given, 0), "{key}");
            let again = world.add_credits(customer.account, &key, &gift(1)).await;
            assert_eq!((again.status, again.header("idempotency-replayed")), (201, "true"), "{key}: {:?}", again.body);
        }
    }
    assert_eq!(u64::try_from(kinds(&customer).await.len()).expect("few"), given + 1);
    assert_eq!(customer.balance().await, (given, 0));
    customer.audit().await;
}
