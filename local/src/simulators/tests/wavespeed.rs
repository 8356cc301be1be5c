use aws_lc_rs::hmac;

use super::*;

async fn submit(world: &World, model: &str, body: Value) -> Answer {
    world.post(&format!("/wavespeed/api/v3/{model}?webhook={}", world.receiver.root), &body).await
}

async fn flux(world: &World, prompt: &str) -> Answer {
    submit(world, "wavespeed-ai/flux-dev", json!({"prompt": prompt})).await
}

fn result(answer: &Answer) -> &str {
    answer.body["data"]["urls"]["get"].as_str().unwrap()
}

fn completed(body: &Value) -> bool {
    body["data"]["status"] == "completed"
}

/// The documented rule, with the secret as its endpoint gives it.
async fn signature_holds(world: &World, arrival: &Arrival) -> bool {
    let secret =
        world.ask("GET", &format!("{}/wavespeed/api/v3/webhook/secret", world.root)).await.body["data"]["secret"].clone();
    assert_eq!(secret, world.credential("WAVESPEED_WEBHOOK_SECRET"));
    let key = secret.as_str().unwrap().strip_prefix("whsec_").unwrap();
    let of = |name: &str| header(&arrival.headers, name).to_owned();
    let signed = [of("webhook-id").as_bytes(), b".", of("webhook-timestamp").as_bytes(), b".", &arrival.raw].concat();
    let signature = hex::decode(of("webhook-signature").strip_prefix("v3,").unwrap()).unwrap();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), &signed, &signature).is_ok()
}

#[tokio::test]
async fn prediction_is_submitted_polled_and_its_picture_fetched() {
    let mut world = World::open().await;
    let body = json!({"prompt": "a fox [[delay=10m]]", "size": "320*192", "output_format": "png"});
    let created = submit(&world, "wavespeed-ai/flux-dev", body.clone()).await;
    assert_eq!((created.status, &created.body["code"], &created.body["message"]), (200, &json!(200), &json!("success")));
    assert_eq!((&created.body["data"]["status"], &created.body["data"]["outputs"]), (&json!("created"), &json!([])));
    world.clock.advance(MINUTE);
    assert_eq!(world.ask("GET", result(&created)).await.body["data"]["status"], "processing");
    world.clock.advance(10 * MINUTE);
    let done = world.poll(result(&created), completed).await.body["data"].clone();
    assert_eq!(done["has_nsfw_contents"], json!([false]));
    let (status, headers, bytes) = world.file(done["outputs"][0].as_str().unwrap()).await;
    assert_eq!((status, header(&headers, "content-type")), (200, "image/png"));
    assert_eq!(decoded(&bytes), (320, 192, "image/png"));
    let arrival = world.receiver.next().await;
    assert_eq!((&arrival.body["id"], &arrival.body["input"], &arrival.body["status"]), (&done["id"], &body, &json!("completed")));
    assert!(arrival.body.get("data").is_none());
    assert!(signature_holds(&world, &arrival).await);
    let short = result(&created).strip_suffix("/result").unwrap();
    assert!(completed(&world.ask("GET", short).await.body));
    assert_eq!(world.sim.journal().submits("wavespeed")[0].path, "/api/v3/wavespeed-ai/flux-dev");
}

#[tokio::test]
async fn face_swap_has_the_size_of_the_picture_worked_on() {
    let mut world = World::open().await;
    let inputs = serve_inputs(picture(200, 100)).await;
    let good =
        json!({"face_image": format!("{inputs}/picture.png"), "image": format!("{inputs}/picture.png"), "output_format": "webp"});
    let swap = "wavespeed-ai/image-face-swap";
    assert_eq!(submit(&world, swap, good.clone()).await.status, 200);
    let arrival = world.receiver.next().await.body;
    let (_, _, bytes) = world.file(arrival["outputs"][0].as_str().unwrap()).await;
    assert_eq!(decoded(&bytes), (200, 100, "image/webp"));
    let mut lost = good.clone();
    lost["face_image"] = json!(format!("{inputs}/none.png"));
    submit(&world, swap, lost).await;
    let arrival = world.receiver.next().await.body;
    assert_eq!((&arrival["status"], &arrival["code"], &arrival["outputs"]), (&json!("failed"), &json!(1402), &json!([])));
    for (field, value) in
        [("image", Value::Null), ("target_index", json!(11)), ("output_format", json!("gif")), ("face_image", json!(7))]
    {
        let mut wrong = good.clone();
        wrong[field] = value;
        let refused = submit(&world, swap, wrong).await;
        assert_eq!((refused.status, &refused.body["code"]), (400, &json!(400)), "{field}");
    }
}

#[tokio::test]
async fn failures_are_told_in_the_prediction_and_refusals_by_the_http_status() {
    let mut world = World::open().await;
    for (order, code) in [("[[fail]]", 5000), ("[[moderate]]", 1200)] {
        let created = flux(&world, order).await;
        let arrival = world.receiver.next().await;
        assert_eq!((&arrival.body["status"], &arrival.body["outputs"]), (&json!("failed"), &json!([])));
        let polled = world.ask("GET", result(&created)).await;
        assert_eq!((polled.status, &polled.body["code"], &polled.body["data"]["code"]), (200, &json!(200), &json!(code)));
        assert!(!polled.body["data"]["error"].as_str().unwrap().is_empty());
    }
    for (order, status) in [("auth", 401), ("funds", 402), ("throttle", 429), ("error_before", 503), ("reject", 400)] {
        let refused = flux(&world, &format!("[[{order}]]")).await;
        assert_eq!((refused.status, &refused.body["code"]), (status, &json!(status)), "{order}");
    }
    assert_eq!(submit(&world, "wavespeed-ai/flux-dev", json!({"size": "big", "prompt": "x"})).await.status, 400);
    assert_eq!(submit(&world, "wavespeed-ai/flux-dev", json!({})).await.status, 400);
    let unknown = world.ask("GET", &format!("{}/wavespeed/api/v3/predictions/none/result", world.root)).await;
    assert_eq!(unknown.status, 404);
    let keyless = world.get(&format!("{}/wavespeed/api/v3/webhook/secret", world.root)).await;
    assert_eq!((keyless.status, &keyless.body["code"]), (401, &json!(401)));
}

#[tokio::test]
async fn faults_of_answers_and_callbacks_act() {
    let mut world = World::open().await;
    assert_eq!(flux(&world, "[[error_after]]").await.status, 502);
    assert_eq!(world.receiver.next().await.body["status"], "completed");
    let malformed = flux(&world, "[[malformed]]").await;
    assert_eq!((malformed.status, &malformed.body), (200, &Value::Null));
    assert_eq!(world.receiver.next().await.body["status"], "completed");
    flux(&world, "[[callback_twice]]").await;
    let (first, second) = (world.receiver.next().await, world.receiver.next().await);
    assert_eq!(header(&first.headers, "webhook-id"), header(&second.headers, "webhook-id"));
    flux(&world, "[[bad_signature]]").await;
    let arrival = world.receiver.next().await;
    assert!(!signature_holds(&world, &arrival).await);
    let early = flux(&world, "[[callback_first]]").await;
    assert_eq!(early.body["data"]["status"], "created");
    assert_eq!(world.receiver.next().await.body["id"], early.body["data"]["id"]);
}

#[tokio::test]
async fn synchronous_submit_is_answered_with_the_result() {
    let mut world = World::open().await;
    let done = submit(&world, "wavespeed-ai/flux-dev", json!({"prompt": "x", "enable_sync_mode": true})).await;
    assert!(completed(&done.body));
    assert_eq!(world.file(done.body["data"]["outputs"][0].as_str().unwrap()).await.0, 200);
    assert_eq!(world.receiver.next().await.body["id"], done.body["data"]["id"]);
    assert_eq!(world.sim.journal().submits("wavespeed")[0].status, 200);
}

#[tokio::test]
async fn uploaded_files_are_inputs() {
    let mut world = World::open().await;
    let bytes = picture(300, 200);
    let told = json!({"filename": "a.png", "size": bytes.len(), "content_type": "image/png"});
    let announced = world.post("/wavespeed/api/v3/media/uploads", &told).await.body["data"].clone();
    assert_eq!(
        (&announced["upload"]["method"], &announced["upload"]["headers"]),
        (&json!("PUT"), &json!({"Content-Type": "image/png"}))
    );
    let link = announced["download_url"].as_str().unwrap();
    assert_eq!(world.file(link).await.0, 404);
    let put = |bytes: Vec<u8>| {
        world.http.put(announced["upload"]["url"].as_str().unwrap()).header("content-type", "image/png").body(bytes)
    };
    assert_eq!(world.send(put(vec![1])).await.status, 403);
    assert_eq!(world.send(put(bytes.clone())).await.status, 200);
    assert_eq!(world.file(link).await.2, bytes);
    submit(&world, "wavespeed-ai/image-upscaler", json!({"image": link})).await;
    let arrival = world.receiver.next().await.body;
    let (_, _, bytes) = world.file(arrival["outputs"][0].as_str().unwrap()).await;
    assert_eq!(decoded(&bytes), (600, 400, "image/jpeg"));
    let form = [
        &b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"b.png\"\r\n\r\n"[..],
        &picture(64, 64),
        b"\r\n--x--\r\n",
    ];
    let request = world.keyed("POST", &format!("{}/wavespeed/api/v3/media/upload/binary", world.root)).body(form.concat());
    let uploaded = world.send(request.header("content-type", "multipart/form-data; boundary=x")).await.body;
    assert_eq!((&uploaded["data"]["type"], &uploaded["data"]["filename"]), (&json!("image"), &json!("b.png")));
    assert_eq!(world.file(uploaded["data"]["download_url"].as_str().unwrap()).await.0, 200);
    assert_eq!(world.sim.journal().uploads("wavespeed").len(), 2);
}
