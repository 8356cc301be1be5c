//! API keys: told once, limited by what they may do, and over when somebody says so.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Customer, Reply, Setting, World};

const HOUR: Duration = Duration::from_secs(3_600);

async fn order(customer: &Customer) -> Reply {
    customer.post("/v1/generations", &json!({"model": "placeholder", "params": {"prompt": "x"}})).await
}

async fn listed(world: &World, customer: &Customer) -> Vec<Value> {
    let reply = world.operate(Method::GET, &format!("/{}/keys", customer.account), &json!({})).await;
    reply.body["keys"].as_array().expect("a list").clone()
}

fn path(customer: &Customer, key: &Value) -> String {
    format!("/{}/keys/{}", customer.account, key["id"].as_str().expect("an id"))
}

#[track_caller]
fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, &reply.body["code"]), (status, &json!(code)), "{:?}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_told_once_and_listed_by_its_beginning_alone() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(100).await;
    let terms = json!({"name": "website", "limits": {"spend_per_day": 50}});
    let (made, owner) = world.make_key(customer.account, &terms).await;
    assert!(owner.key.starts_with("dk_") && owner.key.starts_with(made["prefix"].as_str().expect("text")));
    assert_eq!(order(&owner).await.status, 202);
    let text = json!(listed(&world, &customer).await).to_string();
    let secret = owner.key.trim_start_matches(made["prefix"].as_str().expect("text"));
    assert!(!text.contains(secret) && !text.contains("hash"), "{text}");
    let keys = listed(&world, &customer).await;
    let key = keys.iter().find(|key| key["id"] == made["id"]).expect("it is listed");
    let counted = (&key["name"], &key["scopes"], &key["in_flight"], &key["spent_today"], &key["spent_this_month"]);
    assert_eq!(counted, (&json!("website"), &json!(["user"]), &json!(1), &json!(5), &json!(5)));
    assert!(key["last_used_at"].is_string() && key["revoked_at"].is_null(), "{key:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_makes_no_second_key_and_tells_none() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(100).await;
    let keys = format!("/{}/keys", customer.account);
    for (name, path) in [("make", keys.clone()), ("rotate", String::new())] {
        let path =
            if path.is_empty() { format!("{}/rotate", self::path(&customer, &listed(&world, &customer).await[0])) } else { path };
        let before = listed(&world, &customer).await.len();
        let nothing = json!({});
        let replies = futures_util::future::join_all((0..10).map(|_| world.operate_once(name, &path, &nothing))).await;
        let (told, untold): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.body["key"].is_string());
        assert_eq!((told.len(), untold.len()), (1, 9), "{replies:?}");
        for reply in untold {
            assert_eq!((reply.status, reply.header("idempotency-replayed")), (201, "true"));
            assert_eq!((&reply.body["key"], &reply.body["api_key"]), (&Value::Null, &told[0].body["api_key"]));
        }
        assert_eq!(listed(&world, &customer).await.len(), before + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_spends_nothing_at_once_though_the_gateway_still_knows_it() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(100).await;
    let (made, owner) = world.make_key(customer.account, &json!({})).await;
    assert_eq!(order(&owner).await.status, 202);
    let revoked = world.operate(Method::DELETE, &path(&customer, &made), &json!({})).await;
    assert_eq!((revoked.status, revoked.body["revoked_at"].is_string()), (200, true), "{:?}", revoked.body);
    // The gateway lets it in for as long as it remembers it; the account does not.
    assert_eq!(owner.get("/v1/account").await.status, 200);
    refused(&order(&owner).await, 401, "unauthenticated");
    world.later(Duration::from_secs(61));
    refused(&owner.get("/v1/account").await, 401, "unauthenticated");
    refused(&order(&owner).await, 401, "unauthenticated");
    let again = world.operate(Method::DELETE, &path(&customer, &made), &json!({})).await;
    assert_eq!((again.status, &again.body["revoked_at"]), (200, &revoked.body["revoked_at"]));
    assert_eq!(order(&customer).await.status, 202, "the other keys go on");
    refused(&world.operate(Method::POST, &format!("{}/rotate", path(&customer, &made)), &json!({})).await, 409, "key_ended");
    assert_eq!(customer.balance().await, (90, 10));
    customer.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_nothing_after_its_end() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(100).await;
    let (_, owner) = world.make_key(customer.account, &json!({"expires_in_seconds": 3_600})).await;
    world.later(HOUR - Duration::from_secs(30));
    assert_eq!(order(&owner).await.status, 202);
    // The gateway remembers it beyond its end; its end is remembered with it.
    world.later(Duration::from_secs(31));
    refused(&order(&owner).await, 401, "unauthenticated");
    refused(&owner.get("/v1/account").await, 401, "unauthenticated");
    world.later(Duration::from_secs(61));
    refused(&owner.get("/v1/account").await, 401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_key_works_until_its_grace_is_over() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(100).await;
    let terms = json!({"name": "website", "scopes": ["user", "read"], "limits": {"in_flight": 3}});
    let (made, old) = world.make_key(customer.account, &terms).await;
    let reply =
        world.operate(Method::POST, &format!("{}/rotate", path(&customer, &made)), &json!({"grace_seconds": 3_600})).await;
    assert_eq!(reply.status, 201, "{:?}", reply.body);
    let told = &reply.body["api_key"];
    for field in ["name", "scopes", "limits", "requests_per_second"] {
        assert_eq!(told[field], made[field], "{field}");
    }
    assert_eq!((&told["replaces"], &told["expires_at"]), (&made["id"], &Value::Null));
    let new = Customer { key: reply.body["key"].as_str().expect("the key").to_owned(), ..old.clone() };
    for customer in [&old, &new] {
        assert_eq!(order(customer).await.status, 202);
    }
    world.later(HOUR + Duration::from_secs(1));
    refused(&order(&old).await, 401, "unauthenticated");
    assert_eq!(order(&new).await.status, 202);
    customer.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_can_do_what_its_scopes_say() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(100).await;
    let (_, reads) = world.make_key(customer.account, &json!({"scopes": ["read"]})).await;
    let (_, uses) = world.make_key(customer.account, &json!({"scopes": ["user"]})).await;
    let (_, rules) = world.make_key(customer.account, &json!({"scopes": ["admin"]})).await;
    for (customer, reading, ordering, ruling) in [(&reads, 200, 403, 403), (&uses, 200, 202, 403), (&rules, 403, 403, 200)] {
        assert_eq!(customer.get("/v1/account").await.status, reading);
        assert_eq!(order(customer).await.status, ordering);
        assert_eq!(customer.get("/v1/admin/accounts").await.status, ruling);
    }
    let upload = json!({"content_type": "image/png", "bytes": 7});
    refused(&reads.post("/v1/uploads", &upload).await, 403, "forbidden");
    for path in ["/v1/admin/accounts", &format!("/v1/admin/accounts/{}/keys", customer.account)] {
        refused(&uses.post(path, &json!({"scopes": ["admin"]})).await, 403, "forbidden");
    }
    assert_eq!(customer.balance().await, (95, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_end_a_key_at_once_the_stricter_one_wins() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(100).await;
    for _ in 0..10 {
        let (made, owner) = world.make_key(customer.account, &json!({})).await;
        let path = path(&customer, &made);
        let rotate = format!("{path}/rotate");
        let nothing = json!({});
        let (revoked, rotated) =
            tokio::join!(world.operate(Method::DELETE, &path, &nothing), world.operate(Method::POST, &rotate, &nothing));
        assert!(revoked.status == 200 && matches!(rotated.status, 201 | 409), "{revoked:?} {rotated:?}");
        refused(&owner.get("/v1/account").await, 401, "unauthenticated");
    }
}
