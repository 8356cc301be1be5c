//! A box that is removed: only with a word about what is in it, with nothing forgotten, whatever fails meanwhile.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared::ids::BoxId;
use tests::{Customer, Fault, PATIENCE, Setting, World, with_each_call_cut};

use crate::erasure::{SECRET, assert_nothing_left};

async fn photo_in(customer: &Customer, own: &str) -> String {
    let announced = json!({"content_type": "image/jpeg", "filename": format!("{SECRET}.jpg"), "box_id": own});
    customer.upload_with(announced, World::photo()).await
}

async fn drawing_in(customer: &Customer, own: &str) -> String {
    let params = json!({"prompt": format!("a fox in {SECRET}"), "width": 64, "height": 64});
    let order = json!({"model": "placeholder", "params": params, "box_id": own});
    let reply = customer.post("/v1/generations", &order).await;
    assert_eq!(reply.status, 202, "{:?}", reply.body);
    let done = customer.ended(reply.body["id"].as_str().expect("an id")).await;
    done["results"][0]["asset_id"].as_str().expect("an id").to_owned()
}

/// Lets minute after minute pass until the box is not found any more.
async fn minutes_until_gone(world: &World, own: &str) {
    for _ in 0..100 {
        let reply = world.get(&format!("/v1/boxes/{own}")).await;
        if reply.status == 404 {
            return;
        }
        assert_eq!((&reply.body["status"], &reply.body["name"]), (&json!("removing"), &Value::Null));
        world.minute().await;
    }
    panic!("the box is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_box_goes_only_with_a_word_about_its_content() {
    let world = World::start().await;
    let own = world.make_box(SECRET).await;
    let path = format!("/v1/boxes/{own}");
    let photo = photo_in(&world, &own).await;
    let refused = world.delete(&path).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("box_not_empty")), "{:?}", refused.body);
    let unclear = world.delete(&format!("{path}?content=maybe")).await;
    assert_eq!((unclear.status, &unclear.body["param"]), (422, &json!("content")));
    assert_eq!(world.get(&path).await.body["name"], SECRET);
    assert_eq!(world.delete(&format!("{path}?content=keep")).await.status, 204);
    let kept = world.get(&format!("/v1/assets/{photo}")).await.body;
    assert_eq!((&kept["status"], &kept["box_id"], kept["filename"].is_string()), (&json!("ready"), &Value::Null, true));
    for _ in 0..2 {
        assert_eq!(world.delete(&path).await.status, 404);
        assert_eq!(world.get(&path).await.status, 404);
    }
    assert_eq!(world.get(&format!("/v1/assets?box={own}")).await.body["assets"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_is_erased_with_everything_in_it() {
    let world = World::start().await;
    let (own, other) = (world.make_box(SECRET).await, world.make_box("kept").await);
    let (photo, drawing) = (photo_in(&world, &own).await, drawing_in(&world, &own).await);
    let pending = json!({"content_type": "image/png", "bytes": 7, "box_id": own});
    let pending = world.post("/v1/uploads", &pending).await.body["id"].as_str().expect("an id").to_owned();
    let kept = world.upload_with(json!({"content_type": "image/jpeg", "box_id": other}), World::photo()).await;
    assert_eq!(world.delete(&format!("/v1/boxes/{own}?content=erase")).await.status, 204);
    for id in [&photo, &drawing, &pending] {
        let seen = world.get(&format!("/v1/assets/{id}")).await.body;
        assert_eq!((&seen["status"], &seen["box_id"]), (&json!("erased"), &Value::Null), "{seen}");
    }
    let seen = world.get(&format!("/v1/assets/{kept}")).await.body;
    assert_eq!((&seen["status"], &seen["box_id"]), (&json!("ready"), &json!(other)));
    assert_eq!(world.whole_bucket().await.len(), 1);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_box_is_removed_page_after_page() {
    for content in ["erase", "keep"] {
        let world = World::with(Setting::idle()).await;
        let own = world.make_box(SECRET).await;
        for _ in 0..45 {
            let upload = json!({"content_type": "image/png", "bytes": 7, "filename": format!("{SECRET}.png"), "box_id": own});
            assert_eq!(world.post("/v1/uploads", &upload).await.status, 201);
        }
        let reply = world.delete(&format!("/v1/boxes/{own}?content={content}")).await;
        assert_eq!((reply.status, &reply.body["status"]), (202, &json!("removing")), "{:?}", reply.body);
        let late = json!({"content_type": "image/png", "bytes": 7, "box_id": own});
        let late = world.post("/v1/uploads", &late).await;
        assert_eq!((late.status, &late.body["code"]), (422, &json!("unknown_box")), "nothing is put into it any more");
        minutes_until_gone(&world, &own).await;
        let listed = world.get("/v1/assets?limit=100").await.body["assets"].as_array().expect("a list").clone();
        assert_eq!(listed.len(), if content == "keep" { 45 } else { 0 });
        assert!(listed.iter().all(|asset| asset["box_id"].is_null()));
        if content == "erase" {
            assert_nothing_left(&world, &[SECRET]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_result_comes_without_its_box_when_that_is_gone() {
    let world = World::start().await;
    let own = world.make_box("a box").await;
    let order = json!({"model": "flux-schnell", "params": {"prompt": "a fox [[delay=2m]]"}, "box_id": own});
    let id = world.post("/v1/generations", &order).await.body["id"].as_str().expect("an id").to_owned();
    world.phase(&id, "running").await;
    assert_eq!(world.delete(&format!("/v1/boxes/{own}?content=erase")).await.status, 204);
    let done = world.minutes_until_ended(&id).await;
    assert_eq!(done["status"], "succeeded", "{done:#}");
    let asset = done["results"][0]["asset_id"].as_str().expect("an id");
    let seen = world.get(&format!("/v1/assets/{asset}")).await.body;
    assert_eq!((&seen["status"], &seen["box_id"]), (&json!("ready"), &Value::Null));
    world.assert_charged(&id).await;
}

/// A box with an upload and a result, to be erased while one call to the table is cut. How many calls were made, and whether the one that
/// was to be cut came.
async fn erase_box(world: &World, cut: Option<(u32, Fault)>) -> (u32, bool) {
    let customer = world.customer(100).await;
    let own = customer.make_box(SECRET).await;
    photo_in(&customer, &own).await;
    let drawing = drawing_in(&customer, &own).await;
    let made_by = customer.get(&format!("/v1/assets/{drawing}")).await.body["generation_id"].clone();
    world.pass_with_tick(Duration::from_secs(3_700)).await;
    world.at_rest().await;
    let before = (customer.ledger().await, customer.balance().await);
    let wire = &world.wire;
    wire.reset();
    if let Some((nth, fault)) = cut {
        wire.cut(nth, fault);
    }
    let started = Instant::now();
    let path = format!("/v1/boxes/{own}?content=erase");
    while !matches!(customer.delete(&path).await.status, 202 | 204 | 404) {
        assert!(started.elapsed() < PATIENCE, "{cut:?}: never accepted");
    }
    // Looked at past the wire that is cut, so that looking on changes nothing.
    let eye = world.another_store();
    let id: BoxId = own.parse().expect("an id");
    let calls = wire.seen();
    let mut minutes = 0;
    while eye.asset_box(customer.account, id).await.expect("the table answers").is_some()
        || !world.whole_bucket().await.is_empty()
    {
        minutes += 1;
        assert!(minutes < 600, "{cut:?}: never gone");
        world.minute().await;
    }
    let was_cut = cut.is_some() && !wire.is_waiting();
    wire.mend();
    // The prompt stays with its generation, which is none of the box's content.
    let content = format!("/v1/generations/{}/content", made_by.as_str().expect("an id"));
    assert_eq!(customer.delete(&content).await.status, 204);
    assert_nothing_left(world, &[SECRET, "uploads/", "media/", "M#box_"]).await;
    assert_eq!((customer.ledger().await, customer.balance().await), before, "{cut:?}");
    customer.audit().await;
    (calls, was_cut)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_removal_of_a_box_survives_the_loss_of_any_call_to_the_table() {
    let world = World::start().await;
    world.first_tick().await;
    world.at_rest().await;
    let (calls, _) = erase_box(&world, None).await;
    assert!(calls >= 8, "a removal takes {calls} calls");
    with_each_call_cut(calls, 4, async |nth, fault| erase_box(&world, Some((nth, fault))).await.1).await;
}
