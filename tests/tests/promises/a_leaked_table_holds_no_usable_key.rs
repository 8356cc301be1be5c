//! Whoever gets hold of the table can open nothing with it.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::json;
use shared::signature::fingerprint;
use tests::{Wire, World};

/// Every item of the table, as text.
async fn items(world: &World) -> Vec<String> {
    let client = world.another_client(&Wire::default());
    let (mut items, mut start) = (Vec::new(), None);
    loop {
        let page = client.scan().table_name(&world.stack.backend.config.table).set_exclusive_start_key(start);
        let page = page.send().await.expect("the table answers");
        items.extend(page.items().iter().map(|item| format!("{item:?}")));
        match page.last_evaluated_key {
            Some(next) => start = Some(next),
            None => return items,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaked_table_holds_no_usable_key() {
    let world = World::start().await;
    let mut secrets: BTreeMap<String, String> = BTreeMap::new();
    secrets.insert("the development key".to_owned(), world.key.clone());
    let customer = world.customer(100).await;
    secrets.insert("a customer's key".to_owned(), customer.key.clone());
    let keys = format!("/{}/keys", customer.account);
    let made = world.operate_once("make", &keys, &json!({"name": "website"})).await;
    world.operate_once("make", &keys, &json!({"name": "website"})).await;
    let id = made.body["api_key"]["id"].as_str().expect("an id").to_owned();
    let rotated = world.operate_once("rotate", &format!("{keys}/{id}/rotate"), &json!({})).await;
    for (name, reply) in [("a made key", &made), ("a replacement", &rotated)] {
        secrets.insert(name.to_owned(), reply.body["key"].as_str().expect("a key").to_owned());
    }
    world.operate(Method::DELETE, &format!("{keys}/{id}"), &json!({})).await;
    world.add_credits(customer.account, "top-up", &json!({"amount": 5, "reason": "a gift"})).await;
    for (name, value) in world.stack.simulators.credentials() {
        secrets.insert(name.to_owned(), value);
    }
    let signing_secret = world.stack.backend.config.signing_secret().expect("it is set").to_owned();
    secrets.insert("the secret of callback addresses".to_owned(), signing_secret);

    for model in ["flux-schnell", "flux-dev", "placeholder"] {
        let body = json!({"model": model, "params": {"prompt": "a fox"}});
        for _ in 0..2 {
            let order = customer.request(Method::POST, "/v1/generations").header("idempotency-key", model).json(&body);
            let reply = customer.send(order).await;
            assert_eq!(reply.status, 202, "{:?}", reply.body);
            customer.ended(reply.body["id"].as_str().expect("an id")).await;
        }
    }
    assert!(secrets.len() > 10 && secrets.values().all(|secret| secret.len() >= 8), "{:?}", secrets.keys());
    let items = items(&world).await;
    assert!(items.len() > 20, "{} items", items.len());
    let all = items.join("\n");
    assert!(all.contains(&fingerprint(customer.key.as_bytes())), "keys are found by their fingerprints");
    for (name, secret) in &secrets {
        assert!(!all.contains(secret.as_str()), "{name} is in the table");
    }
    customer.audit().await;
}
