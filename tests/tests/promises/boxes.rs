//! Boxes: made once, renamed, listed, filled by uploads and generations.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use shared::boxes::AssetBox;
use shared::ids::BoxId;
use shared::keys::Scope;
use shared::store::BoxMade;
use tests::{Reply, Setting, World};

use crate::erasure::key_with;

async fn make(world: &World, key: &str, name: &str) -> Reply {
    let request = world.request(Method::POST, "/v1/boxes").header("idempotency-key", key);
    world.send(request.json(&json!({ "name": name }))).await
}

async fn in_box(world: &World, own: &str) -> Vec<Value> {
    let reply = world.get(&format!("/v1/assets?box={own}")).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let assets = reply.body["assets"].as_array().expect("a list");
    assets.iter().map(|asset| asset["id"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_is_made_seen_and_renamed() {
    let world = World::with(Setting::idle()).await;
    let made = world.post("/v1/boxes", &json!({"name": "Ferien 🏖"})).await;
    assert_eq!((made.status, &made.body["name"], &made.body["status"]), (201, &json!("Ferien 🏖"), &json!("open")));
    let path = format!("/v1/boxes/{}", made.body["id"].as_str().expect("an id"));
    assert_eq!(made.header("location"), path);
    assert_eq!(world.get(&path).await.body, made.body);
    assert_eq!(world.patch(&path, &json!({"name": "Winter"})).await.body["name"], "Winter");
    assert_eq!(world.get(&path).await.body["name"], "Winter");
    let wrong =
        [json!({}), json!({"name": ""}), json!({"name": "x".repeat(101)}), json!({"name": 7}), json!({"name": "x", "y": 1})];
    for body in wrong {
        assert_eq!(world.post("/v1/boxes", &body).await.status, 422, "{body}");
        assert_eq!(world.patch(&path, &body).await.status, 422, "{body}");
    }
    assert_eq!(world.post("/v1/boxes", &json!({"name": "я".repeat(100)})).await.status, 201);
    let reader = key_with(&world, &world, vec![Scope::Read]).await;
    for (method, path) in [(Method::POST, "/v1/boxes"), (Method::PATCH, path.as_str()), (Method::DELETE, path.as_str())] {
        let reply = world.send(world.request_as(&reader, method.clone(), path).json(&json!({"name": "x"}))).await;
        assert_eq!((reply.status, &reply.body["code"]), (403, &json!("forbidden")), "{method} {path}");
    }
    assert_eq!(world.send(world.request_as(&reader, Method::GET, &path)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_makes_one_box() {
    let world = World::with(Setting::idle()).await;
    let replies = join_all((0..8).map(|_| make(&world, "once", "holiday"))).await;
    for reply in &replies {
        assert_eq!((reply.status, &reply.body), (201, &replies[0].body), "{:?}", reply.body);
    }
    assert_eq!(replies.iter().filter(|reply| reply.header("idempotency-replayed") == "true").count(), 7);
    assert_eq!(make(&world, "once", "another").await.body["code"], "idempotency_key_reused");
    assert_eq!(world.get("/v1/boxes").await.body["boxes"].as_array().map(Vec::len), Some(1));
    let path = format!("/v1/boxes/{}", replies[0].body["id"].as_str().expect("an id"));
    assert_eq!(world.delete(&path).await.status, 204);
    let gone = make(&world, "once", "holiday").await;
    assert_eq!((gone.status, &gone.body["code"]), (410, &json!("box_removed")));
    assert_eq!(make(&world, "twice", "holiday").await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn boxes_are_listed_newest_first_page_after_page() {
    let world = World::with(Setting::idle()).await;
    let mut made = Vec::new();
    for number in 0..5 {
        made.push(world.make_box(&format!("box {number}")).await);
        world.later(std::time::Duration::from_millis(2));
    }
    made.reverse();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/v1/boxes?limit=2{cursor}")).await.body;
        seen.extend(page["boxes"].as_array().expect("a list").iter().map(|own| own["id"].as_str().expect("an id").to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, made);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_at_most_a_thousand_boxes_however_many_ask_at_once() {
    let world = World::with(Setting::idle()).await;
    let backend = &world.stack.backend;
    for _ in 0..990 {
        let (unix_ms, random) = backend.id_parts();
        let own = AssetBox::new(BoxId::from_parts(unix_ms, random), world.account, "one of many".to_owned());
        let made = backend.store.create_box(&own, None, backend.now()).await.expect("the table answers");
        assert_eq!(made, BoxMade::New);
    }
    let body = json!({"name": "one of the last"});
    let last = join_all((0..16).map(|_| world.post("/v1/boxes", &body))).await;
    let (made, refused): (Vec<&Reply>, Vec<&Reply>) = last.iter().partition(|reply| reply.status == 201);
    assert_eq!((made.len(), refused.len()), (10, 6), "{last:?}");
    assert!(refused.iter().all(|reply| reply.status == 409 && reply.body["code"] == "too_many_boxes"), "{refused:?}");
    let path = format!("/v1/boxes/{}", made[0].body["id"].as_str().expect("an id"));
    // Asked for several times at once, it is counted once.
    let gone = join_all((0..4).map(|_| world.delete(&path))).await;
    assert!(gone.iter().all(|reply| matches!(reply.status, 204 | 404)), "{gone:?}");
    assert_eq!(world.post("/v1/boxes", &body).await.status, 201);
    assert_eq!(world.post("/v1/boxes", &body).await.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_and_results_go_into_the_box_they_name() {
    let world = World::start().await;
    let (one, two) = (world.make_box("one").await, world.make_box("two").await);
    let announced = json!({"content_type": "image/jpeg", "box_id": one});
    let photo = world.upload_with(announced, World::photo()).await;
    let drawn = async |own: &Value| {
        let order = json!({"model": "placeholder", "params": {"prompt": "x", "width": 64, "height": 64}, "box_id": own});
        let reply = world.post("/v1/generations", &order).await;
        assert_eq!(reply.status, 202, "{:?}", reply.body);
        world.ended(reply.body["id"].as_str().expect("an id")).await["results"][0]["asset_id"].clone()
    };
    let first = drawn(&json!(one)).await;
    let second = drawn(&json!(two)).await;
    assert_eq!(in_box(&world, &one).await, [first.clone(), json!(photo)]);
    assert_eq!(in_box(&world, &two).await, std::slice::from_ref(&second));
    let path = format!("/v1/assets/{}", first.as_str().expect("an id"));
    assert_eq!(world.get(&path).await.body["box_id"], json!(one));
    assert_eq!(world.patch(&path, &json!({"box_id": two})).await.body["box_id"], json!(two));
    assert_eq!(in_box(&world, &one).await, [json!(photo)]);
    assert_eq!(in_box(&world, &two).await, [second, first]);
    assert_eq!(world.get(&format!("/v1/assets?box={one}&kind=video")).await.body["assets"], json!([]));
    for unknown in ["box_1", "box_00000000000070008000000000000000", "one", ""] {
        let upload = world.post("/v1/uploads", &json!({"content_type": "image/png", "bytes": 7, "box_id": unknown})).await;
        let order = json!({"model": "placeholder", "params": {"prompt": "x"}, "box_id": unknown});
        for reply in [upload, world.post("/v1/generations", &order).await] {
            let found = (reply.status, &reply.body["code"], &reply.body["param"]);
            assert_eq!(found, (422, &json!("unknown_box"), &json!("box_id")), "{:?}", reply.body);
        }
    }
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_erased_leaves_its_box() {
    let world = World::start().await;
    let own = world.make_box("one").await;
    let photo = world.upload_with(json!({"content_type": "image/jpeg", "box_id": own}), World::photo()).await;
    assert_eq!(world.delete(&format!("/v1/assets/{photo}")).await.status, 204);
    assert!(in_box(&world, &own).await.is_empty());
    assert_eq!(world.delete(&format!("/v1/boxes/{own}")).await.status, 204, "it is empty");
}
