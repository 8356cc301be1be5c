//! A file is taken exactly as it was announced, or not at all.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tests::{Customer, Reply, Setting, World};

async fn announce(customer: &Customer, content_type: &str, bytes: usize) -> Value {
    let reply = customer.post("/v1/uploads", &json!({"content_type": content_type, "bytes": bytes})).await;
    assert_eq!(reply.status, 201, "{:?}", reply.body);
    reply.body
}

async fn complete(customer: &Customer, upload: &Value) -> Reply {
    let id = upload["id"].as_str().expect("an id");
    customer.post(&format!("/v1/uploads/{id}/complete"), &json!({})).await
}

/// Sends a file with the length it has, whatever was announced.
async fn put(world: &World, upload: &Value, content_type: &str, file: Vec<u8>) -> u16 {
    let request = world.http.api().put(upload["url"].as_str().expect("a URL")).header(CONTENT_TYPE, content_type);
    request.body(file).send().await.expect("S3 answers").status().as_u16()
}

#[track_caller]
fn refused(reply: &Reply, status: u16, code: &str, param: Option<&str>) {
    let found = (reply.status, reply.body["code"].as_str(), reply.body["param"].as_str());
    assert_eq!(found, (status, Some(code), param), "{:?}", reply.body);
    assert_eq!(reply.header("content-type"), "application/problem+json");
}

/// The S3 key of an upload of the development account.
async fn key(world: &World, upload: &Value) -> String {
    let id = upload["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    world.stack.backend.store.asset(world.account, id).await.expect("the table answers").expect("the upload").key
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_comes_back_byte_for_byte() {
    let world = World::start().await;
    let photo = World::photo();
    let body = json!({"content_type": "image/jpeg", "bytes": photo.len(), "filename": "Кот 1.jpg"});
    let upload = world.post("/v1/uploads", &body).await.body;
    let asset = format!("/v1/assets/{}", upload["id"].as_str().expect("an id"));
    let before = world.get(&asset).await.body;
    assert_eq!((&before["status"], &before["url"]), (&json!("pending"), &Value::Null));
    assert_eq!(world.put_upload(&upload, photo.clone()).await, 200);
    let done = complete(&world, &upload).await;
    assert_eq!((done.status, &done.body["status"]), (200, &json!("ready")), "{:?}", done.body);
    let after = world.get(&asset).await.body;
    let expected = json!([upload["id"], "ready", "uploaded", "image/jpeg", photo.len(), "Кот 1.jpg"]);
    let found = json!([after["id"], after["status"], after["source"], after["content_type"], after["bytes"], after["filename"]]);
    assert_eq!(found, expected);
    assert_eq!(world.download(&after["url"]).await, photo);
    assert_eq!(world.download(&done.body["url"]).await, photo);
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_itself_refuses_another_size_or_type() {
    let world = World::start().await;
    let photo = World::photo();
    let upload = announce(&world, "image/jpeg", photo.len()).await;
    let longer = [photo.as_slice(), b"x"].concat();
    assert_eq!(put(&world, &upload, "image/jpeg", photo[1..].to_vec()).await, 403);
    assert_eq!(put(&world, &upload, "image/jpeg", longer).await, 403);
    assert_eq!(put(&world, &upload, "image/jpeg", Vec::new()).await, 403);
    assert_eq!(put(&world, &upload, "text/html", photo.clone()).await, 403);
    refused(&complete(&world, &upload).await, 409, "upload_missing", None);
    // None of this spoils the upload.
    assert_eq!(put(&world, &upload, "image/jpeg", photo).await, 200);
    assert_eq!(complete(&world, &upload).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_good_for_its_own_file_only() {
    let world = World::start().await;
    let photo = World::photo();
    let (one, two) = (announce(&world, "image/jpeg", photo.len()).await, announce(&world, "image/jpeg", photo.len()).await);
    let query = |upload: &Value| upload["url"].as_str().and_then(|url| url.split_once('?')).map(|(_, query)| query.to_owned());
    let path = two["url"].as_str().and_then(|url| url.split('?').next()).expect("a URL");
    let mixed = json!({"url": format!("{path}?{}", query(&one).expect("a signature"))});
    assert_eq!(put(&world, &mixed, "image/jpeg", photo.clone()).await, 403);
    assert_eq!(put(&world, &json!({"url": path}), "image/jpeg", photo).await, 403);
    refused(&complete(&world, &two).await, 409, "upload_missing", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_in_another_way_is_measured() {
    let world = World::start().await;
    let photo = World::photo();
    let upload = announce(&world, "image/jpeg", photo.len()).await;
    let bucket = &world.stack.backend.bucket;
    bucket.put(&key(&world, &upload).await, photo[1..].to_vec(), "image/jpeg").await.expect("it is stored");
    refused(&complete(&world, &upload).await, 422, "size_mismatch", Some("bytes"));
    assert_eq!(world.get(&format!("/v1/assets/{}", upload["id"].as_str().expect("an id"))).await.body["status"], "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_has_fifteen_minutes() {
    let world = World::start().await;
    let photo = World::photo();
    let upload = announce(&world, "image/jpeg", photo.len()).await;
    refused(&complete(&world, &upload).await, 409, "upload_missing", None);
    assert_eq!(world.put_upload(&upload, photo.clone()).await, 200);
    let in_time = announce(&world, "image/jpeg", photo.len()).await;
    assert_eq!(world.put_upload(&in_time, photo).await, 200);
    world.later(Duration::from_secs(890));
    assert_eq!(complete(&world, &in_time).await.status, 200);
    world.later(Duration::from_secs(11));
    refused(&complete(&world, &upload).await, 410, "upload_expired", None);
    // What was completed in time stays so.
    assert_eq!(complete(&world, &in_time).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn completing_it_again_changes_nothing() {
    let world = World::start().await;
    let upload = announce(&world, "image/jpeg", World::photo().len()).await;
    assert_eq!(world.put_upload(&upload, World::photo()).await, 200);
    let replies = join_all((0..8).map(|_| complete(&world, &upload))).await;
    let without_link = |reply: &Reply| {
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        let mut asset = reply.body.clone();
        asset["url"].take();
        asset
    };
    let first = without_link(&replies[0]);
    assert!(replies.iter().all(|reply| without_link(reply) == first));
    world.later(Duration::from_secs(3_600));
    assert_eq!(without_link(&complete(&world, &upload).await), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_is_refused_when_announced() {
    let world = World::start().await;
    let cases = [
        (json!({"content_type": "application/pdf", "bytes": 10}), "invalid_param", "content_type"),
        (json!({"content_type": "image/svg+xml", "bytes": 10}), "invalid_param", "content_type"),
        (json!({"content_type": "image/jpeg", "bytes": 0}), "out_of_range", "bytes"),
        (json!({"content_type": "image/jpeg", "bytes": -1}), "out_of_range", "bytes"),
        (json!({"content_type": "image/jpeg", "bytes": 50_000_001}), "out_of_range", "bytes"),
        (json!({"content_type": "image/jpeg", "bytes": "10"}), "invalid_type", "bytes"),
        (json!({"content_type": "image/jpeg"}), "missing_param", "bytes"),
        (json!({"bytes": 10}), "missing_param", "content_type"),
        (json!({"content_type": "image/jpeg", "bytes": 10, "key": "results/x"}), "unknown_param", "key"),
        (json!({"content_type": "image/jpeg", "bytes": 10, "filename": "x".repeat(201)}), "out_of_range", "filename"),
    ];
    for (body, code, param) in cases {
        refused(&world.post("/v1/uploads", &body).await, 422, code, Some(param));
    }
    announce(&world, "image/jpeg", 50_000_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_completes_the_upload_of_another() {
    let world = World::start().await;
    let other = world.customer(100).await;
    let upload = announce(&world, "image/jpeg", World::photo().len()).await;
    assert_eq!(world.put_upload(&upload, World::photo()).await, 200);
    refused(&complete(&other, &upload).await, 404, "not_found", None);
    assert_eq!(world.get(&format!("/v1/assets/{}", upload["id"].as_str().expect("an id"))).await.body["status"], "pending");
    assert_eq!(complete(&world, &upload).await.status, 200);
}

/// A completed upload, and an order with it.
async fn photo_to_edit(world: &World) -> (String, Value) {
    let photo = world.upload("image/jpeg", World::photo()).await;
    let order = json!({"model": "placeholder", "params": {"prompt": "x", "image": photo}});
    (format!("/v1/assets/{photo}"), order)
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_can_be_used_until_its_stated_end() {
    for (days, setting) in [(30, Setting::idle()), (2, Setting::idle())] {
        let mut setting = setting;
        if days != 30 {
            setting.environment.push(("UPLOAD_RETENTION_DAYS", days.to_string()));
        }
        let world = World::with(setting).await;
        let (path, order) = photo_to_edit(&world).await;
        world.later(DAY * days - Duration::from_secs(60));
        assert_eq!(world.post("/v1/generations", &order).await.status, 202);
        let listed = world.get("/v1/assets").await.body["assets"].as_array().map(Vec::len);
        assert_eq!(listed, Some(1));
        world.later(Duration::from_secs(61));
        refused(&world.post("/v1/generations", &order).await, 422, "asset_expired", Some("params.image"));
        let seen = world.get(&path).await.body;
        assert_eq!((&seen["url"], seen["expires_at"].is_string()), (&Value::Null, true));
        assert_eq!(world.get("/v1/assets").await.body, json!({"assets": [], "next_cursor": null}));
        refused(&world.patch(&path, &json!({"filename": "late.jpg"})).await, 410, "asset_expired", None);
        assert_eq!(world.audit().await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_can_be_kept_until_somebody_erases_them() {
    let mut setting = Setting::idle();
    setting.environment.push(("UPLOAD_RETENTION_DAYS", "0".to_owned()));
    let world = World::with(setting).await;
    let (path, order) = photo_to_edit(&world).await;
    world.later(DAY * 400);
    let seen = world.get(&path).await.body;
    assert_eq!((&seen["status"], &seen["expires_at"]), (&json!("ready"), &Value::Null));
    world.download(&seen["url"]).await;
    assert_eq!(world.post("/v1/generations", &order).await.status, 202);
}
