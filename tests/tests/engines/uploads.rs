//! A file goes up by its link, is edited, and the result comes down, in parts as well.

use reqwest::StatusCode;
use serde_json::json;
use tests::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_edited_and_the_result_downloaded_in_parts() {
    let world = World::start().await;
    let photo = world.upload("image/jpeg", World::photo()).await;
    let asset = world.get(&format!("/v1/assets/{photo}")).await.body;
    assert_eq!(world.download(&asset["url"]).await, World::photo());
    let id = world.create_with("nano-banana-edit", json!({"prompt": "at night", "images": [photo]})).await;
    let done = world.ended(&id).await;
    assert_eq!(done["status"], "succeeded", "{done:#}");
    let result = &done["results"][0];
    let whole = world.download(&result["url"]).await;
    let part = async |range: &str| {
        let request = world.http.media().get(result["url"].as_str().expect("a URL")).header("range", range);
        let answer = request.send().await.expect("S3 answers");
        let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
        let (status, place, kind) = (answer.status(), header("content-range"), header("content-type"));
        (status, place, kind, answer.bytes().await.expect("a body").to_vec())
    };
    let (status, place, kind, bytes) = part("bytes=10-19").await;
    assert_eq!((status, place), (StatusCode::PARTIAL_CONTENT, format!("bytes 10-19/{}", whole.len())));
    assert_eq!((kind.as_str(), bytes.as_slice()), (result["content_type"].as_str().expect("text"), &whole[10..20]));
    let (status, _, _, bytes) = part("bytes=-7").await;
    assert_eq!((status, bytes.as_slice()), (StatusCode::PARTIAL_CONTENT, &whole[whole.len() - 7..]));
    world.assert_charged(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_never_arrived_is_not_completed() {
    let world = World::start().await;
    let announced = json!({"content_type": "image/jpeg", "bytes": World::photo().len()});
    let upload = world.post("/v1/uploads", &announced).await.body;
    let complete = format!("/v1/uploads/{}/complete", upload["id"].as_str().expect("an id"));
    let early = world.post(&complete, &json!({})).await;
    assert_eq!((early.status, &early.body["code"]), (409, &json!("upload_missing")), "{:?}", early.body);
    assert_eq!(world.put_upload(&upload, World::photo()).await, 200);
    let done = world.post(&complete, &json!({})).await;
    assert_eq!((done.status, &done.body["status"]), (200, &json!("ready")), "{:?}", done.body);
    let again = world.post(&complete, &json!({})).await;
    assert_eq!((again.status, &again.body["status"]), (200, &json!("ready")), "{:?}", again.body);
    // Only what was looked into is left.
    let keys = world.whole_bucket().await;
    assert!(keys.len() == 1 && keys[0].starts_with("media/"), "{keys:?}");
}
