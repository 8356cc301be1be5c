use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::*;

const CREATE: &str = "/kie/api/v1/jobs/createTask";

async fn create(world: &World, model: &str, input: Value) -> Answer {
    world.post(CREATE, &json!({"model": model, "callBackUrl": world.receiver.root, "input": input})).await
}

async fn banana(world: &World, prompt: &str) -> Answer {
    create(world, "google/nano-banana", json!({"prompt": prompt})).await
}

fn record_url(world: &World, created: &Answer) -> String {
    format!("{}/kie/api/v1/jobs/recordInfo?taskId={}", world.root, created.body["data"]["taskId"].as_str().unwrap())
}

fn ended(record: &Value) -> bool {
    ["success", "fail"].contains(&record["data"]["state"].as_str().unwrap())
}

fn links(record: &Value) -> Vec<String> {
    let result: Value = serde_json::from_str(record["data"]["resultJson"].as_str().unwrap()).unwrap();
    result["resultUrls"].as_array().unwrap().iter().map(|link| link.as_str().unwrap().to_owned()).collect()
}

/// The documented rule; the body is not covered.
fn signature_holds(world: &World, arrival: &Arrival) -> bool {
    let key = world.credential("KIE_WEBHOOK_SECRET");
    let time = header(&arrival.headers, "x-webhook-timestamp");
    let signed = format!("{}.{time}", arrival.body["data"]["taskId"].as_str().unwrap());
    let signature = BASE64_STANDARD.decode(header(&arrival.headers, "x-webhook-signature")).unwrap();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), signed.as_bytes(), &signature).is_ok()
}

#[tokio::test]
async fn video_task_is_created_polled_and_its_film_fetched() {
    let mut world = World::open().await;
    let input = json!({"prompt": "a fox [[delay=10m]]", "aspect_ratio": "9:16", "resolution": "480p", "duration": 4});
    let created = create(&world, "bytedance/seedance-1.5-pro", input.clone()).await;
    assert_eq!((created.status, &created.body["code"], &created.body["msg"]), (200, &json!(200), &json!("success")));
    let url = record_url(&world, &created);
    let early = world.ask("GET", &url).await.body;
    assert_eq!((ended(&early), &early["data"]["resultJson"]), (false, &json!("")));
    world.clock.advance(MINUTE);
    assert_eq!(world.ask("GET", &url).await.body["data"]["state"], "generating");
    world.clock.advance(10 * MINUTE);
    let done = world.poll(&url, ended).await.body;
    assert!(done["data"]["costTime"].as_i64().unwrap() > 500_000);
    let echoed: Value = serde_json::from_str(done["data"]["param"].as_str().unwrap()).unwrap();
    assert_eq!(echoed["input"], input);
    let (status, headers, bytes) = world.file(&links(&done)[0]).await;
    assert_eq!((status, header(&headers, "content-type")), (200, "video/mp4"));
    assert_eq!(infer::get(&bytes).unwrap().mime_type(), "video/mp4");
    let arrival = world.receiver.next().await;
    assert_eq!((&arrival.body["code"], &arrival.body["data"]["state"]), (&json!(200), &json!("success")));
    assert_eq!(links(&arrival.body).len(), 1);
    assert!(arrival.body["data"]["costTime"].as_i64().unwrap() < 1_000);
    assert!(signature_holds(&world, &arrival));
}

#[tokio::test]
async fn errors_are_told_in_the_body_of_a_200() {
    let world = World::open().await;
    let code = async |input: Value| {
        let answer = create(&world, "bytedance/seedance-1.5-pro", input).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.body["msg"].as_str().unwrap().is_empty());
        answer.body["code"].as_u64().unwrap()
    };
    let good = json!({"prompt": "a fox", "aspect_ratio": "16:9", "duration": 8});
    assert_eq!(code(good.clone()).await, 200);
    for (field, value) in [
        ("prompt", json!("x")),
        ("prompt", json!(null)),
        ("aspect_ratio", json!("2:1")),
        ("duration", json!("eight")),
        ("duration", json!(13)),
        ("resolution", json!("4K")),
        ("input_urls", json!(["https://x/1", "https://x/2", "https://x/3"])),
        ("generate_audio", json!("yes")),
    ] {
        let mut input = good.clone();
        input[field] = value;
        assert_eq!(code(input.clone()).await, 422, "{input}");
    }
    let data = json!({"prompt": "x", "image_urls": ["data:image/png;base64,AA=="]});
    assert_eq!(create(&world, "google/nano-banana-edit", data).await.body["code"], 422);
    assert_eq!(world.post(CREATE, &json!({"input": {"prompt": "x"}})).await.body["code"], 422);
    assert_eq!(world.post(CREATE, &json!({"model": "m"})).await.body["code"], 422);
    for (order, expected) in [("auth", 401), ("funds", 402), ("throttle", 429), ("error_before", 455), ("reject", 422)] {
        assert_eq!(banana(&world, &format!("[[{order}]]")).await.body["code"], expected, "{order}");
    }
    let keyless = world.http.post(format!("{}{CREATE}", world.root)).json(&json!({}));
    assert_eq!(world.send(keyless).await.body, json!({"code": 401, "msg": "You do not have access permissions"}));
    let unknown = world.ask("GET", &format!("{}/kie/api/v1/jobs/recordInfo?taskId=none", world.root)).await;
    assert_eq!((&unknown.body["code"], &unknown.body["msg"]), (&json!(422), &json!("recordInfo is null")));
}

#[tokio::test]
async fn failed_tasks_call_back_with_501_and_are_polled_as_fail() {
    let mut world = World::open().await;
    for (order, code, text) in [("[[fail]]", "500", "Internal"), ("[[moderate]]", "422", "prohibited content")] {
        let created = banana(&world, order).await;
        let arrival = world.receiver.next().await.body;
        assert_eq!((&arrival["code"], &arrival["data"]["resultJson"]), (&json!(501), &Value::Null));
        let record = world.ask("GET", &record_url(&world, &created)).await.body;
        assert_eq!((&record["code"], &record["data"]["state"]), (&json!(200), &json!("fail")));
        assert_eq!(record["data"]["failCode"], code);
        assert!(record["data"]["failMsg"].as_str().unwrap().contains(text));
    }
}

#[tokio::test]
async fn uploaded_file_is_an_input_and_an_expired_link_is_renewed() {
    let mut world = World::open().await;
    let data = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(picture(200, 100)));
    let told = json!({"base64Data": data, "uploadPath": "images/x", "fileName": "a.png"});
    let uploaded = world.post("/kie/api/file-base64-upload", &told).await.body;
    assert_eq!((&uploaded["success"], &uploaded["data"]["filePath"]), (&json!(true), &json!("images/x/a.png")));
    assert_eq!(uploaded["data"]["mimeType"], "image/png");
    assert_eq!(world.sim.journal().uploads("kie").len(), 1);
    let input = json!({"prompt": "x [[expired_link]]", "image_urls": [uploaded["data"]["downloadUrl"]]});
    let created = create(&world, "google/nano-banana-edit", input).await;
    let arrival = world.receiver.next().await;
    assert!(signature_holds(&world, &arrival));
    let first = links(&world.ask("GET", &record_url(&world, &created)).await.body).remove(0);
    assert_eq!(world.file(&first).await.0, 403);
    let renewed = world.post("/kie/api/v1/common/download-url", &json!({"url": first})).await.body;
    let (status, _, bytes) = world.file(renewed["data"].as_str().unwrap()).await;
    assert_eq!((status, decoded(&bytes)), (200, (200, 100, "image/png")));
    let foreign = world.post("/kie/api/v1/common/download-url", &json!({"url": "https://example.com/x"})).await;
    assert_eq!(foreign.body["code"], 422);
}

#[tokio::test]
async fn wrong_signature_is_wrong_and_a_lost_answer_leaves_a_task() {
    let mut world = World::open().await;
    banana(&world, "[[bad_signature]]").await;
    let arrival = world.receiver.next().await;
    assert!(!signature_holds(&world, &arrival));
    assert_eq!(banana(&world, "[[error_after]]").await.status, 502);
    assert_eq!(world.receiver.next().await.body["data"]["state"], "success");
    let submits = world.sim.journal().submits("kie");
    assert_eq!(submits[0].path, "/api/v1/jobs/createTask");
    assert_eq!((submits[1].status, submits[1].callback_url.as_deref()), (502, Some(&*world.receiver.root)));
}
