//! What arrives is looked into before it can be used, and what can be used is what was looked into.

use std::io::Cursor;
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future::join_all;
use image::{DynamicImage, ImageFormat};
use serde_json::{Value, json};
use tests::{Fault, PATIENCE, Reply, Setting, World, with_each_call_cut};

fn sample(name: &str) -> Vec<u8> {
    let path = format!("{}/../events/media/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn drawn(format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    DynamicImage::new_rgb8(30, 20).write_to(&mut file, format).expect("it is encoded");
    file.into_inner()
}

fn sha256(file: &[u8]) -> String {
    hex::encode(digest(&SHA256, file))
}

async fn announce(world: &World, body: Value) -> Value {
    let reply = world.post("/v1/uploads", &body).await;
    assert_eq!(reply.status, 201, "{:?}", reply.body);
    reply.body
}

async fn sent(world: &World, content_type: &str, file: Vec<u8>) -> Value {
    let upload = announce(world, json!({"content_type": content_type, "bytes": file.len()})).await;
    assert_eq!(world.put_upload(&upload, file).await, 200);
    upload
}

fn path_of(upload: &Value) -> String {
    format!("/v1/assets/{}", upload["id"].as_str().expect("an id"))
}

async fn complete(world: &World, upload: &Value) -> Reply {
    world.post(&format!("/v1/uploads/{}/complete", upload["id"].as_str().expect("an id")), &json!({})).await
}

async fn minutes(world: &World, count: usize) {
    for _ in 0..count {
        world.minute().await;
    }
    world.at_rest().await;
}

/// Refused, for good, with nothing left behind.
async fn assert_refused(world: &World, upload: &Value, code: &str) {
    let first = complete(world, upload).await;
    assert_eq!((first.status, &first.body["code"]), (422, &json!(code)), "{:?}", first.body);
    let detail = first.body["detail"].as_str().expect("a detail");
    assert!(detail.contains("announce the file again"), "{detail}");
    let seen = world.get(&path_of(upload)).await.body;
    assert_eq!((&seen["status"], &seen["url"], &seen["error"]["code"]), (&json!("failed"), &Value::Null, &json!(code)));
    assert_eq!(seen["error"]["message"], json!(detail));
    let second = complete(world, upload).await;
    assert_eq!((second.status, &second.body["detail"]), (422, &json!(detail)));
    let order = json!({"model": "placeholder", "params": {"prompt": "x", "image": upload["id"]}});
    let refused = world.post("/v1/generations", &order).await;
    assert_eq!((refused.status, &refused.body["code"]), (422, &json!("asset_failed")), "{:?}", refused.body);
    assert!(world.whole_bucket().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn good_files_are_known_by_their_dimensions() {
    let world = World::with(Setting::idle()).await;
    let cases = [
        ("image/jpeg", World::photo(), json!([600, 400])),
        ("image/png", drawn(ImageFormat::Png), json!([30, 20])),
        ("image/webp", drawn(ImageFormat::WebP), json!([30, 20])),
        ("video/mp4", sample("video.mp4"), json!([854, 480])),
        ("video/quicktime", sample("video.mov"), json!([426, 240])),
        ("video/webm", sample("video.webm"), json!([426, 240])),
    ];
    for (content_type, file, size) in cases {
        let upload = sent(&world, content_type, file.clone()).await;
        let done = complete(&world, &upload).await;
        assert_eq!(done.status, 200, "{content_type}: {:?}", done.body);
        let media = &done.body["media"];
        assert_eq!(json!([media["width"], media["height"]]), size, "{content_type}: {media}");
        assert_eq!(media["duration_ms"].as_u64().is_some_and(|ms| ms > 2_000), content_type.starts_with("video/"), "{media}");
        assert_eq!(done.body["sha256"], json!(sha256(&file)));
        assert_eq!(world.download(&done.body["url"]).await, file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_files_are_refused_with_a_reason() {
    let world = World::with(Setting::idle()).await;
    let photo = World::photo();
    let with = |marker: &[u8], offset: usize, bytes: &[u8], file: &[u8]| {
        let mut file = file.to_vec();
        let at = file.windows(marker.len()).position(|part| part == marker).expect("the marker") + offset;
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let video = sample("video.mp4");
    let mvhd = video.windows(4).position(|part| part == b"mvhd").expect("a header");
    let timescale = u32::from_be_bytes(video[mvhd + 16..mvhd + 20].try_into().expect("four bytes"));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("image/jpeg", photo[..photo.len() / 2].to_vec(), "truncated"),
        ("image/png", drawn(ImageFormat::Png)[..40].to_vec(), "truncated"),
        ("video/mp4", video[..video.len() / 2].to_vec(), "truncated"),
        ("image/jpeg", [b"PK\x03\x04\x14\0\0\0\x08\0".as_slice(), &[7; 200]].concat(), "not_media"),
        ("image/jpeg", b"<!DOCTYPE html><html><script>alert(1)</script></html>".to_vec(), "not_media"),
        ("image/png", b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>".to_vec(), "not_media"),
        ("image/webp", b"%PDF-1.7\n1 0 obj".to_vec(), "not_media"),
        ("image/jpeg", vec![0; 64], "not_media"),
        ("image/jpeg", with(b"\xff\xc0", 5, &50_000_u16.to_be_bytes(), &photo), "too_many_pixels"),
        ("video/mp4", with(b"mvhd", 20, &(timescale * 181).to_be_bytes(), &video), "too_long"),
        ("image/png", photo.clone(), "content_type_mismatch"),
        ("image/jpeg", drawn(ImageFormat::Png), "content_type_mismatch"),
        ("video/quicktime", video.clone(), "content_type_mismatch"),
        ("video/mp4", sample("video.webm"), "content_type_mismatch"),
        ("image/jpeg", sample("video.mov"), "content_type_mismatch"),
    ];
    for (content_type, file, code) in cases {
        let upload = sent(&world, content_type, file).await;
        assert_refused(&world, &upload, code).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_may_not_say_another_type() {
    let world = World::with(Setting::idle()).await;
    for name in ["cat.png", "cat.jpg.svg", "cat.HTML"] {
        let reply = world.post("/v1/uploads", &json!({"content_type": "image/jpeg", "bytes": 7, "filename": name})).await;
        let found = (reply.status, &reply.body["code"], &reply.body["param"]);
        assert_eq!(found, (422, &json!("content_type_mismatch"), &json!("filename")), "{name}");
    }
    let upload = announce(&world, json!({"content_type": "image/jpeg", "bytes": 7, "filename": "v1.final"})).await;
    let renamed = world.patch(&path_of(&upload), &json!({"filename": "cat.png"})).await;
    assert_eq!((renamed.status, &renamed.body["code"]), (422, &json!("content_type_mismatch")));
    assert_eq!(world.patch(&path_of(&upload), &json!({"filename": "cat.jpeg"})).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_fingerprint_holds() {
    let world = World::with(Setting::idle()).await;
    let (photo, mut other) = (World::photo(), World::photo());
    other[100_000] ^= 1;
    let body = json!({"content_type": "image/jpeg", "bytes": photo.len(), "sha256": sha256(&photo).to_uppercase()});
    let upload = announce(&world, body.clone()).await;
    assert!(upload["headers"]["x-amz-checksum-sha256"].is_string(), "{upload}");
    assert_eq!(world.put_upload(&upload, other.clone()).await, 400, "S3 compares it");
    let mut without = upload.clone();
    without["headers"].as_object_mut().expect("headers").remove("x-amz-checksum-sha256");
    assert_eq!(world.put_upload(&without, photo.clone()).await, 403, "it is signed");
    assert_eq!(world.put_upload(&upload, photo.clone()).await, 200);
    let done = complete(&world, &upload).await;
    assert_eq!((done.status, &done.body["sha256"]), (200, &json!(sha256(&photo))), "{:?}", done.body);
    assert_eq!(world.delete(&path_of(&upload)).await.status, 204);
    // What comes in another way is compared all the same.
    let upload = announce(&world, body).await;
    let id = upload["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    let key = world.stack.backend.store.asset(world.account, id).await.expect("the table answers").expect("it is there").key;
    world.stack.backend.bucket.put(&key, other, "image/jpeg").await.expect("stored");
    assert_refused(&world, &upload, "checksum_mismatch").await;
    for wrong in ["", "00", &"g".repeat(64)] {
        let body = json!({"content_type": "image/jpeg", "bytes": 7, "sha256": wrong});
        assert_eq!(world.post("/v1/uploads", &body).await.status, 422, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_file_cannot_be_replaced_by_its_link() {
    let world = World::with(Setting::idle()).await;
    let (photo, mut other) = (World::photo(), World::photo());
    other[100_000] ^= 1;
    let upload = sent(&world, "image/jpeg", photo.clone()).await;
    let done = complete(&world, &upload).await.body;
    assert_eq!(world.put_upload(&upload, other).await, 200, "the link is good until it ends");
    for _ in 0..2 {
        let again = complete(&world, &upload).await;
        assert_eq!((again.status, &again.body["sha256"]), (200, &done["sha256"]));
        let seen = world.get(&path_of(&upload)).await.body;
        assert_eq!(world.download(&seen["url"]).await, photo);
    }
    assert!(!done["url"].as_str().expect("a URL").contains("/uploads/"), "{done}");
    // Erased, it is erased with what was sent after it.
    assert_eq!(world.delete(&path_of(&upload)).await.status, 204);
    assert!(world.whole_bucket().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_change_between_two_who_complete_are_one_of_them() {
    let world = World::with(Setting::idle()).await;
    let (one, mut two) = (World::photo(), World::photo());
    two[100_000] ^= 1;
    for _ in 0..6 {
        let upload = sent(&world, "image/jpeg", one.clone()).await;
        let replace = async {
            assert_eq!(world.put_upload(&upload, two.clone()).await, 200);
            complete(&world, &upload).await
        };
        let (first, second, third) = tokio::join!(complete(&world, &upload), replace, complete(&world, &upload));
        let seen = world.get(&path_of(&upload)).await.body;
        // A file that is replaced while it is read may be looked at in a state of its own; then it failed.
        let file = if seen["status"] == "ready" { world.download(&seen["url"]).await } else { Vec::new() };
        assert!(seen["status"] == "failed" || sha256(&file) == seen["sha256"].as_str().expect("a text"), "{seen}");
        for reply in [first, second, third] {
            assert!(reply.status == 409 || reply.body["sha256"] == seen["sha256"], "{:?}\n{seen}", reply.body);
        }
        assert_eq!(world.delete(&path_of(&upload)).await.status, 204);
        assert!(world.whole_bucket().await.is_empty(), "{:?}", world.whole_bucket().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_completed_is_deleted_when_its_link_has_ended() {
    let world = World::start().await;
    let forgotten = sent(&world, "image/jpeg", World::photo()).await;
    let refused = sent(&world, "image/png", World::photo()).await;
    assert_eq!(complete(&world, &refused).await.status, 422);
    assert_eq!(world.put_upload(&refused, World::photo()).await, 200, "the link is good until it ends");
    let used = world.upload("image/jpeg", World::photo()).await;
    assert_eq!(world.whole_bucket().await.len(), 3);
    minutes(&world, 18).await;
    let left = world.whole_bucket().await;
    assert!(left.len() == 1 && left[0].contains(&used), "{left:?}");
    let seen = world.get(&path_of(&forgotten)).await.body;
    assert_eq!((&seen["status"], &seen["error"]["code"]), (&json!("failed"), &json!("upload_expired")));
    let late = complete(&world, &forgotten).await;
    assert_eq!((late.status, &late.body["code"]), (410, &json!("upload_expired")));
    assert_eq!(complete(&world, &refused).await.body["code"], "content_type_mismatch");
}

/// Completes an upload while one call to the table is cut. How many calls were made, and whether the one that was to be cut came.
async fn complete_with_a_cut(world: &World, cut: Option<(u32, Fault)>, insist: bool) -> (u32, bool) {
    let upload = sent(world, "image/jpeg", World::photo()).await;
    let wire = &world.wire;
    wire.reset();
    if let Some((nth, fault)) = cut {
        wire.cut(nth, fault);
    }
    let started = Instant::now();
    let mut reply = complete(world, &upload).await;
    let calls = wire.seen();
    while insist && reply.status != 200 {
        assert!(matches!(reply.status, 500 | 503) && started.elapsed() < PATIENCE, "{cut:?}: {:?}", reply.body);
        reply = complete(world, &upload).await;
    }
    let was_cut = cut.is_some() && !wire.is_waiting();
    wire.mend();
    if insist {
        assert_eq!(world.download(&reply.body["url"]).await, World::photo(), "{cut:?}");
        assert_eq!(world.delete(&path_of(&upload)).await.status, 204);
    }
    (calls, was_cut)
}

#[tokio::test(flavor = "multi_thread")]
async fn completing_survives_the_loss_of_any_call_to_the_table() {
    let world = World::with(Setting::idle()).await;
    world.first_tick().await;
    let (calls, _) = complete_with_a_cut(&world, None, true).await;
    assert!(calls >= 2, "{calls} calls");
    with_each_call_cut(calls, 2, async |nth, fault| complete_with_a_cut(&world, Some((nth, fault)), true).await.1).await;
    assert!(world.whole_bucket().await.is_empty());
    // A worker that dies between the file and the record, and a customer who does not come back: the poll finds it.
    for nth in 1..=calls {
        complete_with_a_cut(&world, Some((nth, Fault::CutBefore)), false).await;
    }
    minutes(&world, 18).await;
    let ready = world.get("/v1/assets").await.body["assets"].as_array().expect("a list").len();
    assert_eq!(world.whole_bucket().await.len(), ready, "{:?}", world.whole_bucket().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_erased_while_it_is_completed_is_erased() {
    let world = World::start().await;
    for _ in 0..6 {
        let upload = sent(&world, "image/jpeg", World::photo()).await;
        let completing = join_all((0..3).map(|_| complete(&world, &upload)));
        let erasing = async { world.delete(&path_of(&upload)).await };
        let (completed, erased) = tokio::join!(completing, erasing);
        assert_eq!(erased.status, 204, "{:?}", erased.body);
        for reply in completed {
            assert!(matches!(reply.status, 200 | 409 | 410), "{:?}", reply.body);
        }
        assert_eq!(world.get(&path_of(&upload)).await.body["status"], "erased");
    }
    minutes(&world, 18).await;
    assert!(world.whole_bucket().await.is_empty(), "{:?}", world.whole_bucket().await);
}
