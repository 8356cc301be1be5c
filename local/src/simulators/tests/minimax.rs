use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::*;

async fn create(world: &World, prompt: &str) -> Answer {
    let body = json!({"model": "MiniMax-Hailuo-02", "prompt": prompt, "resolution": "768P", "callback_url": world.receiver.root});
    world.post("/minimax/v1/video_generation", &body).await
}

async fn create_v2(world: &World, prompt: &str) -> Answer {
    let content = json!([{"type": "text", "text": prompt}]);
    let body = json!({
        "model": "MiniMax-H3", "content": content, "resolution": "768P", "duration": 4, "ratio": "16:9",
        "callback_url": world.receiver.root,
    });
    world.post("/minimax/v2/video_generation", &body).await
}

fn query(world: &World, created: &Answer) -> String {
    format!("{}/minimax/v1/query/video_generation?task_id={}", world.root, created.body["task_id"].as_str().unwrap())
}

fn query_v2(world: &World, created: &Answer) -> String {
    format!("{}/minimax/v2/query/video_generation/{}", world.root, created.body["task_id"].as_str().unwrap())
}

fn retrieve(world: &World, task: &Value) -> String {
    format!("{}/minimax/v1/files/retrieve?file_id={}", world.root, task["file_id"].as_str().unwrap())
}

/// The words of the callbacks of one task, up to its end.
async fn told(world: &mut World) -> Vec<String> {
    let mut words = Vec::new();
    loop {
        let body = world.receiver.next().await.body;
        let status = if body.get("challenge").is_some() {
            &json!("challenge")
        } else {
            body.get("status").unwrap_or(&body["task"]["status"])
        };
        words.push(status.as_str().unwrap().to_owned());
        if ["success", "failed", "succeeded", "cancelled"].contains(&words.last().unwrap().as_str()) {
            return words;
        }
    }
}

#[tokio::test]
async fn video_is_created_announced_queried_and_its_file_retrieved() {
    let mut world = World::open().await;
    let created = create(&world, "a fox [[delay=10m]]").await;
    assert_eq!((created.status, &created.body["base_resp"]["status_code"]), (200, &json!(0)));
    let challenge = world.receiver.next().await.body;
    assert_eq!(challenge.as_object().unwrap().keys().collect::<Vec<_>>(), ["challenge"]);
    let url = query(&world, &created);
    let early = world.ask("GET", &url).await.body;
    assert_eq!((&early["status"], &early["file_id"]), (&json!("Preparing"), &json!("")));
    world.clock.advance(MINUTE);
    assert_eq!(world.receiver.next().await.body["status"], "processing");
    assert_eq!(world.ask("GET", &url).await.body["status"], "Processing");
    world.clock.advance(10 * MINUTE);
    let done = world.poll(&url, |task| task["status"] == "Success").await.body;
    assert_eq!((&done["video_width"], &done["video_height"]), (&json!(1366), &json!(768)));
    let arrival = world.receiver.next().await.body;
    assert_eq!((&arrival["status"], &arrival["file_id"]), (&json!("success"), &done["file_id"]));
    let file = world.ask("GET", &retrieve(&world, &done)).await.body["file"].clone();
    assert_eq!(file["file_id"].as_u64().unwrap().to_string(), done["file_id"].as_str().unwrap());
    let (status, headers, bytes) = world.file(file["download_url"].as_str().unwrap()).await;
    assert_eq!((status, header(&headers, "content-type")), (200, "video/mp4"));
    assert_eq!((infer::get(&bytes).unwrap().mime_type(), &file["bytes"]), ("video/mp4", &json!(bytes.len())));
    let events: Vec<_> = world.sim.journal().callbacks("minimax").iter().map(|sent| (sent.event, sent.attempt)).collect();
    assert_eq!(events, [("challenge", 1), ("start", 2), ("end", 3)]);
}

#[tokio::test]
async fn receiver_that_fails_the_challenge_hears_nothing_more() {
    let mut world = World::open().await;
    world.receiver.will_answer(&[404]);
    let created = create(&world, "x").await;
    assert!(world.receiver.next().await.body["challenge"].is_string());
    world.poll(&query(&world, &created), |task| task["status"] == "Success").await;
    let second = create(&world, "y [[delay=0s]]").await;
    assert!(world.receiver.next().await.body["challenge"].is_string());
    for _ in 0..2 {
        assert_eq!(world.receiver.next().await.body["task_id"], second.body["task_id"]);
    }
    create(&world, "[[no_callback]][[delay=0s]]").await;
    let last = create_v2(&world, "[[delay=0s]]").await;
    assert!(world.receiver.next().await.body["challenge"].is_string());
    assert_eq!(world.receiver.next().await.body["task"]["id"], last.body["task_id"]);
}

#[tokio::test]
async fn first_generation_tells_its_errors_in_the_body_of_a_200() {
    let mut world = World::open().await;
    for (order, code) in [("auth", 1004), ("funds", 1008), ("throttle", 1002), ("error_before", 1033), ("reject", 2013)] {
        let refused = create(&world, &format!("[[{order}]]")).await;
        assert_eq!((refused.status, &refused.body["base_resp"]["status_code"]), (200, &json!(code)), "{order}");
    }
    let keyless = world.http.post(format!("{}/minimax/v1/video_generation", world.root)).json(&json!({}));
    assert_eq!(world.send(keyless).await.body["base_resp"]["status_code"], 1004);
    let wrong = json!({"model": "MiniMax-Hailuo-02", "prompt": "x", "duration": 10, "resolution": "1080P"});
    let refused = world.post("/minimax/v1/video_generation", &wrong).await.body;
    assert_eq!(
        refused["base_resp"],
        json!({"status_code": 2013, "status_msg": "invalid params, resolution must be one of: 768P"})
    );
    for (order, code) in [("[[fail]]", 1000), ("[[moderate]]", 1027)] {
        let created = create(&world, order).await;
        assert_eq!(told(&mut world).await, ["challenge", "processing", "failed"]);
        let task = world.ask("GET", &query(&world, &created)).await.body;
        assert_eq!((&task["status"], &task["file_id"]), (&json!("Fail"), &json!("")));
        assert_eq!(task["base_resp"]["status_code"], code);
    }
    let unknown = world.ask("GET", &format!("{}/minimax/v1/files/retrieve?file_id=7", world.root)).await;
    assert_eq!(unknown.body["base_resp"]["status_code"], 2013);
}

#[tokio::test]
async fn retrieving_again_replaces_an_expired_link() {
    let mut world = World::open().await;
    let created = create(&world, "[[expired_link]][[delay=0s]]").await;
    told(&mut world).await;
    let task = world.ask("GET", &query(&world, &created)).await.body;
    let mut codes = Vec::new();
    for _ in 0..3 {
        let file = world.ask("GET", &retrieve(&world, &task)).await.body;
        codes.push(world.file(file["file"]["download_url"].as_str().unwrap()).await.0);
    }
    assert_eq!(codes, [403, 200, 200]);
}

#[tokio::test]
async fn second_generation_is_created_listed_and_queried() {
    let mut world = World::open().await;
    let created = create_v2(&world, "a fox").await;
    assert_eq!((created.status, created.body.as_object().unwrap().len()), (200, 1));
    assert_eq!(told(&mut world).await, ["challenge", "running", "succeeded"]);
    let done = world.ask("GET", &query_v2(&world, &created)).await.body["task"].clone();
    assert_eq!(
        (&done["status"], &done["error"], &done["usage"]["output_seconds"]),
        (&json!("succeeded"), &Value::Null, &json!(4))
    );
    let (_, _, bytes) = world.file(done["content"]["url"].as_str().unwrap()).await;
    assert_eq!(infer::get(&bytes).unwrap().mime_type(), "video/mp4");
    create_v2(&world, "[[moderate]]").await;
    assert_eq!(told(&mut world).await, ["challenge", "running", "failed"]);
    let list = |more: &str| format!("{}/minimax/v2/query/video_generation?page_num=1&page_size=1{more}", world.root);
    let all = world.ask("GET", &list("")).await.body;
    assert_eq!((&all["total"], &all["items"][0]["error"]["code"]), (&json!(2), &json!("1026")));
    let filtered = world.ask("GET", &list("&filter.status=succeeded")).await.body;
    assert_eq!((&filtered["total"], &filtered["items"][0]["id"]), (&json!(1), &created.body["task_id"]));
    world.clock.advance(8 * 24 * 60 * MINUTE);
    let forgotten = world.ask("GET", &query_v2(&world, &created)).await;
    assert_eq!((forgotten.status, &forgotten.body["error"]["type"]), (400, &json!("bad_request_error")));
}

#[tokio::test]
async fn queued_task_is_cancelled_a_running_one_is_not_and_an_ended_one_is_removed() {
    let mut world = World::open().await;
    let delete =
        |created: &Answer| format!("{}/minimax/v2/video_generation/{}", world.root, created.body["task_id"].as_str().unwrap());
    let slow = create_v2(&world, "[[delay=10m]]").await;
    let url = delete(&slow);
    let cancelled = world.ask("DELETE", &url).await;
    assert_eq!((cancelled.status, &cancelled.body["status"]), (200, &json!("cancelled")));
    assert_eq!(cancelled.body["task_id"], slow.body["task_id"]);
    assert_eq!(world.ask("GET", &query_v2(&world, &slow)).await.body["task"]["status"], "cancelled");
    assert_eq!(world.ask("DELETE", &url).await.status, 400);
    assert_eq!(told(&mut world).await.last().unwrap(), "cancelled");

    let running = create_v2(&world, "[[no_callback]][[delay=10m]]").await;
    let url = format!("{}/minimax/v2/video_generation/{}", world.root, running.body["task_id"].as_str().unwrap());
    world.clock.advance(MINUTE);
    let refused = world.ask("DELETE", &url).await;
    assert_eq!((refused.status, &refused.body["error"]["http_code"]), (400, &json!("400")));
    world.clock.advance(10 * MINUTE);
    world.poll(&query_v2(&world, &running), |task| task["task"]["status"] == "succeeded").await;
    assert_eq!(world.ask("DELETE", &url).await.status, 200);
    assert_eq!(world.ask("GET", &query_v2(&world, &running)).await.status, 400);
    let statuses: Vec<u16> = world.sim.journal().cancels("minimax").iter().map(|cancel| cancel.status).collect();
    assert_eq!(statuses, [200, 400, 400, 200]);
    assert_eq!(world.sim.journal().in_flight("minimax"), 0);
}

#[tokio::test]
async fn second_generation_answers_errors_with_their_http_status() {
    let world = World::open().await;
    for (order, status, kind, code) in [
        ("auth", 401, "authorized_error", "(1004)"),
        ("funds", 402, "insufficient_balance_error", "(1008)"),
        ("throttle", 429, "rate_limit_error", "(1002)"),
        ("error_before", 500, "server_error", "(1000)"),
        ("reject", 400, "bad_request_error", "(2013)"),
    ] {
        let refused = create_v2(&world, &format!("[[{order}]]")).await;
        assert_eq!(
            (refused.status, &refused.body["type"], &refused.body["error"]["type"]),
            (status, &json!("error"), &json!(kind))
        );
        assert!(refused.body["error"]["message"].as_str().unwrap().ends_with(code), "{order}");
        assert_eq!(refused.body["error"]["http_code"], status.to_string());
    }
    assert_eq!(world.post("/minimax/v2/video_generation", &json!({"model": "MiniMax-H3"})).await.status, 400);
}

#[tokio::test]
async fn images_are_answered_as_links_or_as_they_are() {
    let world = World::open().await;
    let ask = async |more: Value| {
        let mut body = json!({"model": "image-01", "prompt": "a fox", "aspect_ratio": "16:9", "n": 2});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.post("/minimax/v1/image_generation", &body).await
    };
    let linked = ask(json!({})).await.body;
    assert_eq!(linked["metadata"], json!({"success_count": "2", "failed_count": "0"}));
    let (_, _, bytes) = world.file(linked["data"]["image_urls"][1].as_str().unwrap()).await;
    assert_eq!(decoded(&bytes), (1344, 768, "image/jpeg"));
    let inline = ask(json!({"response_format": "base64", "n": 1})).await.body;
    let bytes = BASE64_STANDARD.decode(inline["data"]["image_base64"][0].as_str().unwrap()).unwrap();
    assert_eq!(decoded(&bytes), (1344, 768, "image/jpeg"));
    for (more, code) in [
        (json!({"prompt": "[[moderate]]"}), 1026),
        (json!({"prompt": "[[fail]]"}), 1000),
        (json!({"prompt": "[[funds]]"}), 1008),
        (json!({"n": 10}), 2013),
        (json!({"width": 512}), 2013),
        (json!({"aspect_ratio": "5:4"}), 2013),
    ] {
        let refused = ask(more.clone()).await;
        assert_eq!((refused.status, &refused.body["base_resp"]["status_code"]), (200, &json!(code)), "{more}");
    }
    let submits = world.sim.journal().submits("minimax");
    assert!(submits.iter().all(|submit| submit.status == 200 && submit.path == "/v1/image_generation"));
    assert_eq!(world.sim.journal().in_flight_peak("minimax"), 1);
}

#[tokio::test]
async fn image_request_that_is_never_answered_is_in_the_journal() {
    let world = World::open().await;
    let body = json!({"model": "image-01", "prompt": "[[hang]]"});
    let url = format!("{}/minimax/v1/image_generation", world.root);
    let hanging = tokio::spawn(world.keyed("POST", &url).json(&body).send());
    world.journal(|journal| journal.in_flight_peak("minimax") == 1 && journal.in_flight("minimax") == 0).await;
    assert!(!hanging.is_finished());
    hanging.abort();
    let submits = world.sim.journal().submits("minimax");
    assert_eq!((submits.len(), submits[0].status, submits[0].job.is_some()), (1, 0, true));
}

#[tokio::test]
async fn uploaded_file_is_referred_to_by_its_number() {
    let mut world = World::open().await;
    let upload = async |world: &World, purpose: &str, bytes: Vec<u8>| {
        let part = |head: &str| format!("--x\r\nContent-Disposition: form-data; {head}\r\n\r\n").into_bytes();
        let body = [
            part("name=\"purpose\""),
            purpose.into(),
            b"\r\n".into(),
            part("name=\"file\"; filename=\"a.png\""),
            bytes,
            b"\r\n--x--\r\n".into(),
        ];
        let request = world.keyed("POST", &format!("{}/minimax/v1/files/upload", world.root)).body(body.concat());
        world.send(request.header("content-type", "multipart/form-data; boundary=x")).await
    };
    assert_eq!(upload(&world, "voice_clone", picture(64, 64)).await.status, 400);
    assert_eq!(upload(&world, "video_generation_input", b"text".to_vec()).await.status, 400);
    let uploaded = upload(&world, "video_generation_input", picture(400, 300)).await;
    let id = uploaded.body["file"]["file_id"].as_u64().unwrap();
    let create = async |world: &World, url: String| {
        let content = json!([
            {"type": "text", "text": "a fox [[delay=0s]]"},
            {"type": "image_url", "role": "first_frame", "image_url": {"url": url}},
        ]);
        let body = json!({"model": "MiniMax-H3", "content": content, "callback_url": world.receiver.root});
        world.post("/minimax/v2/video_generation", &body).await.status
    };
    assert_eq!(create(&world, format!("mm_file://{id}")).await, 200);
    assert_eq!(told(&mut world).await.last().unwrap(), "succeeded");
    assert_eq!(create(&world, "mm_file://1".to_owned()).await, 400);
    let told = world.sim.journal().uploads("minimax")[2].body.clone();
    assert_eq!(told["file"]["file"], "a.png");
}
