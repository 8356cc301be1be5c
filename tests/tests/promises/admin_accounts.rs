//! Operators open accounts, change them, and leave a trace of all that they do.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Setting, World};

fn order() -> Value {
    json!({"model": "placeholder", "params": {"prompt": "x", "width": 64, "height": 64}})
}

async fn open(world: &World, body: Value) -> Value {
    let reply = world.operate(Method::POST, "", &body).await;
    assert_eq!(reply.status, 201, "{:?}", reply.body);
    reply.body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_account_starts_with_what_the_deployment_or_its_operator_says() {
    let environment = vec![("STARTING_CREDITS", "12".to_owned())];
    let world = World::with(Setting { environment, ..Setting::idle() }).await;
    for (body, credits) in [(json!({}), 12), (json!({"credits": 500}), 500), (json!({"credits": 0}), 0)] {
        let account = open(&world, body).await;
        assert_eq!((&account["available"], &account["held"]), (&json!(credits), &json!(0)));
        let ledger = world.operate(Method::GET, &format!("/{}/ledger", account["id"].as_str().expect("an id")), &json!({})).await;
        let entry = &ledger.body["entries"][0];
        assert_eq!((&entry["id"], &entry["amount"]), (&json!("grant#opening"), &json!(credits)), "{:?}", ledger.body);
    }
    let world = World::with(Setting::idle()).await;
    assert_eq!(open(&world, json!({})).await["available"], 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_opens_one_account() {
    let world = World::with(Setting::idle()).await;
    let body = json!({"name": "Acme", "limits": {"in_flight": 2}});
    let replies = futures_util::future::join_all((0..20).map(|_| world.operate_once("open-1", "", &body))).await;
    let first = replies.iter().find(|reply| reply.header("idempotency-replayed").is_empty()).expect("one opened it");
    for reply in &replies {
        assert_eq!((reply.status, &reply.body), (201, &first.body), "{:?}", reply.body);
    }
    assert_eq!(replies.iter().filter(|reply| reply.header("idempotency-replayed") == "true").count(), 19);
    let list = world.operate(Method::GET, "", &json!({})).await.body;
    assert_eq!(list["accounts"].as_array().map(Vec::len), Some(2), "this one and the development account: {list:#}");
    let other = world.operate_once("open-1", "", &json!({"name": "Other"})).await;
    assert_eq!((other.status, &other.body["code"]), (422, &json!("idempotency_key_reused")));
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_listed_newest_first_in_pages() {
    let world = World::with(Setting::idle()).await;
    let mut opened = vec![world.account.to_string()];
    for number in 0..5 {
        let account = open(&world, json!({"name": format!("account {number}")})).await;
        opened.insert(0, account["id"].as_str().expect("an id").to_owned());
        // Ids are sorted by the millisecond in which they were made.
        world.later(std::time::Duration::from_millis(2));
    }
    let (mut seen, mut path) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = world.operate(Method::GET, &path, &json!({})).await.body;
        seen.extend(page["accounts"].as_array().expect("a list").iter().map(|one| one["id"].as_str().expect("an id").to_owned()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, opened);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_stays_and_null_takes_away() {
    let world = World::with(Setting::idle()).await;
    let body = json!({"name": "Acme", "limits": {"in_flight": 2, "spend_per_day": 10}, "requests_per_second": 5});
    let account = open(&world, body).await;
    let path = format!("/{}", account["id"].as_str().expect("an id"));
    let change = |body: Value| {
        let (world, path) = (&world, path.clone());
        async move {
            let reply = world.operate(Method::PATCH, &path, &body).await;
            assert_eq!(reply.status, 200, "{:?}", reply.body);
            reply.body
        }
    };
    let changed = change(json!({"limits": {"in_flight": 3}})).await;
    assert_eq!(changed["limits"], json!({"in_flight": 3, "spend_per_day": 10}));
    let changed = change(json!({"name": null, "limits": {"spend_per_day": null}, "requests_per_second": null})).await;
    assert_eq!(
        (&changed["name"], &changed["limits"], &changed["requests_per_second"]),
        (&json!(null), &json!({"in_flight": 3}), &json!(null))
    );
    let changed = change(json!({"limits": null})).await;
    assert_eq!(changed["limits"], json!({}));
    assert_eq!(world.operate(Method::GET, &path, &json!({})).await.body, changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_account_gets_nothing_new_and_keeps_what_it_has() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(100).await;
    let id = customer.create("placeholder", "before").await;
    let path = format!("/{}", customer.account);
    let reply = world.operate(Method::PATCH, &path, &json!({"suspended": true, "reason": "unpaid"})).await;
    assert_eq!((reply.status, &reply.body["suspended"]), (200, &json!(true)));
    let refused = customer.post("/v1/generations", &order()).await;
    assert_eq!((refused.status, &refused.body["code"]), (403, &json!("account_suspended")), "{:?}", refused.body);
    assert_eq!((customer.balance().await, customer.generation(&id).await["status"].clone()), ((95, 5), json!("queued")));
    world.operate(Method::PATCH, &path, &json!({"suspended": false, "reason": "paid"})).await;
    assert_eq!(customer.post("/v1/generations", &order()).await.status, 202);
    customer.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_by_hand_says_who_did_what_and_why() {
    let world = World::with(Setting::idle()).await;
    let own = world.operate(Method::GET, &format!("/{}/keys", world.account), &json!({})).await.body["keys"][0]["id"].clone();
    let account: shared::ids::AccountId = open(&world, json!({})).await["id"].as_str().expect("an id").parse().expect("an id");
    let path = format!("/{account}");
    world.operate(Method::PATCH, &path, &json!({"name": "Acme", "reason": "they have a name"})).await;
    world.operate(Method::PATCH, &path, &json!({"name": "Acme"})).await;
    world.operate(Method::PATCH, &path, &json!({"suspended": true, "reason": "unpaid"})).await;
    let (key, _) = world.make_key(account, &json!({})).await;
    let keys = format!("{path}/keys/{}", key["id"].as_str().expect("an id"));
    let new = world.operate(Method::POST, &format!("{keys}/rotate"), &json!({})).await.body["api_key"]["id"].clone();
    assert!(new.is_string());
    world.operate(Method::DELETE, &keys, &json!({})).await;
    world.operate(Method::DELETE, &keys, &json!({})).await;
    world.add_credits(account, "k", &json!({"amount": 5, "reason": "a gift"})).await;
    let entry = world.add_credits(account, "l", &json!({"amount": -5, "reason": "taken back"})).await.body["entry"]["id"].clone();
    let actions = world.actions(account).await;
    let told: Vec<_> = actions.iter().rev().map(|one| (one["what"].as_str().expect("a word"), one["reason"].as_str())).collect();
    let expected = [
        ("open_account", None),
        ("change_account", Some("they have a name")),
        ("suspend_account", Some("unpaid")),
        ("create_key", None),
        ("rotate_key", None),
        ("revoke_key", None),
        ("grant", Some("a gift")),
        ("adjust", Some("taken back")),
    ];
    let sorted = |mut list: Vec<(&'static str, Option<&'static str>)>| {
        list.sort_unstable();
        list
    };
    let told: Vec<_> = expected.iter().copied().filter(|one| told.contains(one)).collect();
    assert_eq!(sorted(told), sorted(expected.to_vec()), "{actions:#?}");
    assert_eq!(actions.len(), expected.len(), "what changed nothing is no action: {actions:#?}");
    assert!(actions.iter().all(|one| one["by"] == own && one["account_id"] == json!(account)), "{actions:#?}");
    assert!(actions.iter().any(|one| one["about"] == entry) && actions.iter().any(|one| one["about"] == key["id"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_gets_wrong_is_named() {
    let world = World::with(Setting::idle()).await;
    let own = format!("/{}", world.account);
    let keys = format!("{own}/keys");
    let rotate = format!("{keys}/{}/rotate", shared::ids::ApiKeyId::from_parts(1, [1; 10]));
    let cases = [
        (Method::POST, "", json!({"name": ""}), 422, "out_of_range", "name"),
        (Method::POST, "", json!({"credits": -1}), 422, "out_of_range", "credits"),
        (Method::POST, "", json!({"limits": {"in_flight": 0}}), 422, "out_of_range", "limits.in_flight"),
        (Method::POST, "", json!({"limits": {"per_week": 1}}), 422, "unknown_param", "limits.per_week"),
        (Method::POST, "", json!({"limits": null}), 422, "invalid_type", "limits"),
        (Method::PATCH, &own, json!({"suspended": null}), 422, "invalid_type", "suspended"),
        (Method::PATCH, &own, json!({"limits": {"spend_per_day": 1.5}}), 422, "invalid_type", "limits.spend_per_day"),
        (Method::PATCH, &own, json!({"credits": 5}), 422, "unknown_param", "credits"),
        (Method::POST, &keys, json!({"scopes": []}), 422, "out_of_range", "scopes"),
        (Method::POST, &keys, json!({"scopes": ["root"]}), 422, "invalid_param", "scopes.0"),
        (Method::POST, &keys, json!({"expires_at": "tomorrow"}), 422, "invalid_param", "expires_at"),
        (Method::POST, &keys, json!({"expires_at": "2001-01-01T00:00:00Z"}), 422, "out_of_range", "expires_at"),
        (Method::POST, &keys, json!({"expires_in_seconds": 0}), 422, "out_of_range", "expires_in_seconds"),
        (Method::POST, &rotate, json!({"grace_seconds": 2_592_001}), 422, "out_of_range", "grace_seconds"),
        (Method::POST, &rotate, json!({}), 404, "not_found", ""),
        (Method::GET, "?limit=0", json!({}), 422, "out_of_range", "limit"),
        (Method::GET, "?cursor=x", json!({}), 422, "invalid_param", "cursor"),
        (Method::GET, &format!("{own}/actions?cursor=x"), json!({}), 422, "invalid_param", "cursor"),
    ];
    for (method, path, body, status, code, param) in cases {
        let reply = world.operate(method, path, &body).await;
        let found = (reply.status, reply.body["code"].as_str(), reply.body["param"].as_str().unwrap_or_default());
        assert_eq!(found, (status, Some(code), param), "{path} {body}: {:?}", reply.body);
    }
    let nobody = "/acct_00000000000070008000000000000000";
    for (method, path) in [
        (Method::GET, ""),
        (Method::PATCH, ""),
        (Method::GET, "/ledger"),
        (Method::GET, "/actions"),
        (Method::GET, "/keys"),
        (Method::POST, "/keys"),
        (Method::DELETE, "/keys/key_00000000000070008000000000000000"),
    ] {
        for account in [nobody, "/42"] {
            let reply = world.operate(method.clone(), &format!("{account}{path}"), &json!({})).await;
            assert_eq!((reply.status, &reply.body["code"]), (404, &json!("not_found")), "{path}: {:?}", reply.body);
        }
    }
}
