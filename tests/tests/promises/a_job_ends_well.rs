//! A job with each provider: accepted, paid for, made, stored, charged, seen.

use image::ImageFormat;
use serde_json::json;
use tests::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_goes_through_every_provider() {
    let world = World::start().await;
    let photo = world.upload("image/jpeg", World::photo()).await;
    let orders = [
        ("placeholder", json!({"prompt": "Маяк 🌊", "image": photo, "format": "webp"}), ImageFormat::WebP, 5),
        ("replicate/black-forest-labs/flux-schnell", json!({"prompt": "a lighthouse", "num_outputs": 2}), ImageFormat::WebP, 4),
        ("replicate/black-forest-labs/flux-kontext-pro", json!({"prompt": "at night", "image": photo}), ImageFormat::Png, 10),
        ("fal/fal-ai/flux/dev", json!({"prompt": "a lighthouse"}), ImageFormat::Jpeg, 4),
        ("fal/fal-ai/nano-banana/edit", json!({"prompt": "at night", "images": [photo, photo]}), ImageFormat::Png, 5),
    ];
    let (mut expected, _) = world.balance().await;
    for (model, params, format, cost) in orders {
        let id = world.create_with(model, params).await;
        let done = world.ended(&id).await;
        assert_eq!(done["status"], "succeeded", "{done:#}");
        assert_eq!((done["cost"].as_u64(), done["charged"].as_u64()), (Some(cost), Some(cost)));
        assert_eq!((done["progress"].as_u64(), done["attempts"].as_array().map(Vec::len)), (Some(100), Some(1)));
        for result in done["results"].as_array().expect("results") {
            let bytes = world.download(&result["url"]).await;
            assert_eq!(result["bytes"].as_u64(), Some(bytes.len() as u64));
            assert_eq!(result["content_type"], format.to_mime_type());
            image::load_from_memory_with_format(&bytes, format).expect("the result is the image it claims to be");
        }
        expected -= cost;
        assert_eq!(world.balance().await, (expected, 0));
    }
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_can_be_the_input_of_the_next_job() {
    let world = World::start().await;
    let first = world.create("placeholder", "first").await;
    let first = world.ended(&first).await;
    let asset = first["results"][0]["asset_id"].clone();
    assert_eq!(world.get(&format!("/v1/assets/{}", asset.as_str().expect("an id"))).await.body["source"], "generated");
    let second = world.create_with("nano-banana-edit", json!({"prompt": "second", "images": [asset]})).await;
    assert_eq!(world.ended(&second).await["status"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_prefers_to_wait_gets_the_result_at_once() {
    let world = World::start().await;
    let body = json!({"model": "placeholder", "params": {"prompt": "quick"}});
    let request = world.request(reqwest::Method::POST, "/v1/generations").header("prefer", "wait=20").json(&body);
    let reply = world.send(request).await;
    assert_eq!((reply.status, &reply.body["status"]), (200, &json!("succeeded")), "{:?}", reply.body);
    let slow = json!({"model": "placeholder", "params": {"prompt": "slow [[delay=5m]]"}});
    let request = world.request(reqwest::Method::POST, "/v1/generations").header("prefer", "wait=1").json(&slow);
    let reply = world.send(request).await;
    assert_eq!((reply.status, &reply.body["status"]), (202, &json!("queued")), "{:?}", reply.body);
    assert!(reply.header("location").ends_with(reply.body["id"].as_str().expect("an id")));
}

/// RFC 7240: a preference that is not understood is not an error.
#[tokio::test(flavor = "multi_thread")]
async fn a_preference_that_is_not_understood_is_ignored() {
    let world = World::start().await;
    let body = json!({"model": "placeholder", "params": {"prompt": "no hurry [[delay=5m]]"}});
    for preference in ["wait=abc", "wait=-1", "wait=1.5", "respond-async, foo;wait=5", "wait"] {
        let request = world.request(reqwest::Method::POST, "/v1/generations").header("prefer", preference).json(&body);
        assert_eq!(world.send(request).await.status, 202, "{preference}");
    }
}
