use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::*;

const TEXT: &str = "/gemini/v1beta/models/gemini-3.8-flash:generateContent";
const IMAGE: &str = "/gemini/v1beta/models/gemini-3.1-flash-image:generateContent";
const INTERACTIONS: &str = "/gemini/v1beta/interactions";

fn ask(prompt: &str) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": prompt}]}]})
}

fn parts(answer: &Answer) -> &Vec<Value> {
    answer.body["candidates"][0]["content"]["parts"].as_array().unwrap()
}

#[tokio::test]
async fn text_and_json_are_answered() {
    let world = World::open().await;
    let done = world.post(TEXT, &ask("a fox")).await;
    assert_eq!((done.status, parts(&done)), (200, &vec![json!({"text": "Simulated answer to: a fox"})]));
    assert_eq!(
        (&done.body["candidates"][0]["finishReason"], &done.body["modelVersion"]),
        (&json!("STOP"), &json!("gemini-3.8-flash"))
    );
    for (name, kind) in [("responseSchema", "OBJECT"), ("responseJsonSchema", "object")] {
        let mut body = ask("a fox");
        let schema =
            json!({"type": kind, "properties": {"score": {"type": "INTEGER"}, "x": {"type": "STRING"}}, "required": ["score"]});
        body["generationConfig"] = json!({"responseMimeType": "application/json", name: schema});
        let done = world.post(TEXT, &body).await;
        assert_eq!(serde_json::from_str::<Value>(parts(&done)[0]["text"].as_str().unwrap()).unwrap(), json!({"score": 1}));
    }
    let mut body = ask("a fox");
    body["generationConfig"] = json!({"maxOutputTokens": 2, "thinkingConfig": {"includeThoughts": true}});
    let cut = world.post(TEXT, &body).await;
    assert_eq!(cut.body["candidates"][0]["finishReason"], "MAX_TOKENS");
    assert_eq!((&parts(&cut)[0]["thought"], &parts(&cut)[1]["text"]), (&json!(true), &json!("Simulate")));
}

#[tokio::test]
async fn pictures_come_inline() {
    let world = World::open().await;
    let given = BASE64_STANDARD.encode(picture(96, 64));
    let mut body = ask("a fox");
    let inline = json!({"inlineData": {"mimeType": "image/png", "data": given}});
    body["contents"][0]["parts"].as_array_mut().unwrap().push(inline);
    let done = world.post(IMAGE, &body).await;
    let picture = parts(&done)[1]["inlineData"].clone();
    assert_eq!(picture["mimeType"], "image/png");
    assert_eq!(decoded(&BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()), (96, 64, "image/png"));
    let mut body = ask("a fox");
    body["generationConfig"] = json!({"responseModalities": ["IMAGE"], "imageConfig": {"aspectRatio": "16:9"}});
    let done = world.post(IMAGE, &body).await;
    let bytes = BASE64_STANDARD.decode(parts(&done)[0]["inlineData"]["data"].as_str().unwrap()).unwrap();
    assert_eq!(decoded(&bytes), (1376, 768, "image/png"));
}

#[tokio::test]
async fn refusals_are_told_in_each_of_their_shapes() {
    let world = World::open().await;
    for (order, status, word) in [
        ("[[auth]]", 400, "INVALID_ARGUMENT"),
        ("[[funds]]", 402, "RESOURCE_EXHAUSTED"),
        ("[[reject]]", 400, "INVALID_ARGUMENT"),
        ("[[throttle]]", 429, "RESOURCE_EXHAUSTED"),
        ("[[error_before]]", 503, "UNAVAILABLE"),
        ("[[fail]]", 500, "INTERNAL"),
    ] {
        let refused = world.post(TEXT, &ask(order)).await;
        let error = &refused.body["error"];
        assert_eq!((refused.status, &error["code"], error["status"].as_str()), (status, &json!(status), Some(word)), "{order}");
        match order {
            "[[auth]]" => assert_eq!(error["details"][0]["reason"], "API_KEY_INVALID"),
            "[[throttle]]" => assert_eq!(error["details"][2]["retryDelay"], "1s"),
            _ => {}
        }
    }
    let blocked = world.post(TEXT, &ask("[[moderate]]")).await;
    assert_eq!((blocked.status, &blocked.body["promptFeedback"]["blockReason"]), (200, &json!("PROHIBITED_CONTENT")));
    assert!(blocked.body.get("candidates").is_none());
    for (path, reason) in [(IMAGE, "IMAGE_SAFETY"), (TEXT, "SAFETY")] {
        let held_back = world.post(path, &ask("[[filtered]]")).await;
        assert_eq!(held_back.body["candidates"][0]["finishReason"], reason);
        assert!(held_back.body["candidates"][0].get("content").is_none());
    }
    let keyless = world.http.post(format!("{}{TEXT}", world.root)).bearer_auth(world.credential("GEMINI_API_KEY"));
    assert_eq!(world.send(keyless.json(&ask("x"))).await.body["error"]["details"][0]["reason"], "API_KEY_INVALID");
}

#[tokio::test]
async fn invalid_requests_are_refused() {
    let world = World::open().await;
    let with = |name: &str, value: Value| {
        let mut body = ask("x");
        body[name] = value;
        body
    };
    for body in [
        json!({}),
        with("contents", json!([])),
        with("contents", json!([{"parts": [{"inline_data": {}}]}])),
        with("contents", json!([{"parts": [{"inlineData": {"mimeType": "image/png", "data": "?"}}]}])),
        with("generation_config", json!({})),
        with("generationConfig", json!({"responseModalities": ["IMAGE"]})),
        with("generationConfig", json!({"responseSchema": {"type": "STRING"}})),
        with("safetySettings", json!([{"category": "HARM_CATEGORY_X", "threshold": "OFF"}])),
    ] {
        let refused = world.post(TEXT, &body).await;
        assert_eq!((refused.status, &refused.body["error"]["status"]), (400, &json!("INVALID_ARGUMENT")), "{body}");
    }
    for call in
        ["gemini-2.5-flash-image:generateContent", "gemini-omni-1.1-flash:generateContent", "gemini-3.8-flash:predict", "x"]
    {
        assert_eq!(world.post(&format!("/gemini/v1beta/models/{call}"), &ask("x")).await.status, 404, "{call}");
    }
}

/// Begins an upload; where its bytes go.
async fn begin(world: &World, name: &str, bytes: usize) -> String {
    let start = world
        .keyed("POST", &format!("{}/gemini/upload/v1beta/files", world.root))
        .header("x-goog-upload-protocol", "resumable")
        .header("x-goog-upload-command", "start")
        .header("x-goog-upload-header-content-length", bytes)
        .header("x-goog-upload-header-content-type", "video/mp4");
    let started = world.send(start.json(&json!({"file": {"displayName": name}}))).await;
    assert_eq!((started.status, header(&started.headers, "x-goog-upload-status")), (200, "active"));
    header(&started.headers, "x-goog-upload-url").to_owned()
}

async fn send_piece(world: &World, url: &str, command: &str, offset: usize, bytes: &[u8]) -> Answer {
    let piece = world.http.post(url).header("x-goog-upload-command", command).header("x-goog-upload-offset", offset);
    world.send(piece.body(bytes.to_vec())).await
}

#[tokio::test]
async fn file_is_uploaded_in_pieces_processed_used_and_deleted() {
    let world = World::open().await;
    let url = begin(&world, "clip [[delay=1m]]", 10).await;
    assert_eq!(send_piece(&world, &url, "upload", 0, b"01234").await.status, 200);
    assert_eq!(send_piece(&world, &url, "upload", 4, b"x").await.status, 400);
    let done = send_piece(&world, &url, "upload, finalize", 5, b"56789").await;
    assert_eq!((done.status, header(&done.headers, "x-goog-upload-status")), (200, "final"));
    let file = &done.body["file"];
    assert_eq!(
        (&file["state"], &file["sizeBytes"], &file["mimeType"]),
        (&json!("PROCESSING"), &json!("10"), &json!("video/mp4"))
    );
    let uri = file["uri"].as_str().unwrap();
    let used = json!({"contents": [{"parts": [{"fileData": {"mimeType": "video/mp4", "fileUri": uri}}, {"text": "tell"}]}]});
    assert_eq!(world.post(TEXT, &used).await.status, 400);
    assert_eq!(world.ask("GET", uri).await.body["state"], "PROCESSING");
    world.clock.advance(MINUTE);
    let shown = world.ask("GET", uri).await;
    assert_eq!((&shown.body["state"], &shown.body["name"]), (&json!("ACTIVE"), &file["name"]));
    assert_eq!(world.post(TEXT, &used).await.status, 200);
    assert_eq!(world.ask("DELETE", uri).await.body, json!({}));
    assert_eq!(world.ask("GET", uri).await.body["error"]["status"], "PERMISSION_DENIED");
    assert_eq!(world.post(TEXT, &used).await.status, 403);
    assert_eq!(world.sim.journal().uploads("gemini").len(), 4);
}

#[tokio::test]
async fn files_fail_where_asked_and_end_after_two_days() {
    let world = World::open().await;
    for (name, state) in [("[[fail]]", "FAILED"), ("clip", "ACTIVE")] {
        let url = begin(&world, name, 1).await;
        let done = send_piece(&world, &url, "upload, finalize", 0, b"0").await;
        let uri = done.body["file"]["uri"].as_str().unwrap();
        world.clock.advance(MINUTE);
        assert_eq!(world.ask("GET", uri).await.body["state"], state);
        world.clock.advance(48 * 60 * MINUTE);
        assert_eq!(world.ask("GET", uri).await.status, 403);
    }
    let url = begin(&world, "short", 2).await;
    assert_eq!(send_piece(&world, &url, "upload, finalize", 0, b"0").await.status, 400);
}

fn video(prompt: &str) -> Value {
    let given = BASE64_STANDARD.encode(picture(96, 64));
    json!({
        "model": "gemini-omni-1.1-flash", "background": true,
        "input": [{"type": "image", "data": given, "mime_type": "image/png"}, {"type": "text", "text": prompt}],
        "response_format": {"type": "video", "delivery": "uri", "aspect_ratio": "9:16", "resolution": "360p", "duration": "5s"},
    })
}

#[tokio::test]
async fn interaction_ends_with_a_video_that_needs_the_key() {
    let world = World::open().await;
    let created = world.post(INTERACTIONS, &video("a fox [[delay=1m]]")).await;
    assert_eq!((created.status, &created.body["status"]), (200, &json!("in_progress")));
    let url = format!("{}{INTERACTIONS}/{}", world.root, created.body["id"].as_str().unwrap());
    assert_eq!(world.ask("GET", &url).await.body["status"], "in_progress");
    world.clock.advance(MINUTE);
    let done = world.poll(&url, |body| body["status"] == "completed").await;
    let step = &done.body["steps"][0];
    assert_eq!((&step["type"], &step["content"][0]["type"]), (&json!("model_output"), &json!("video")));
    let uri = step["content"][0]["uri"].as_str().unwrap();
    assert_eq!(world.file(&format!("{uri}?alt=media")).await.0, 400);
    assert_eq!(world.ask("GET", uri).await.body["mimeType"], "video/mp4");
    let file = world.keyed("GET", &format!("{uri}?alt=media")).send().await.unwrap();
    assert_eq!(infer::get(&file.bytes().await.unwrap()).unwrap().mime_type(), "video/mp4");
    assert_eq!(world.sim.journal().submits("gemini")[0].path, "/v1beta/interactions");
}

#[tokio::test]
async fn interactions_fail_are_refused_and_canceled() {
    let world = World::open().await;
    for (order, status, kind) in [("[[fail]]", "failed", None), ("[[moderate]]", "completed", Some("text"))] {
        let id = world.post(INTERACTIONS, &video(order)).await.body["id"].take();
        let url = format!("{}{INTERACTIONS}/{}", world.root, id.as_str().unwrap());
        let ended = world.poll(&url, |body| body["status"] != "in_progress").await;
        assert_eq!(ended.body["status"], status);
        assert_eq!(ended.body.pointer("/steps/0/content/0/type").and_then(Value::as_str), kind);
    }
    let id = world.post(INTERACTIONS, &video("[[delay=1m]]")).await.body["id"].take();
    let url = format!("{}{INTERACTIONS}/{}", world.root, id.as_str().unwrap());
    assert_eq!(world.ask("POST", &format!("{url}/cancel")).await.body["status"], "cancelled");
    assert_eq!(world.ask("GET", &url).await.body["status"], "cancelled");
    assert_eq!(world.sim.journal().in_flight("gemini"), 0);
    let mut long = video("x");
    long["response_format"]["duration"] = json!("11s");
    for body in [video("[[filtered]]"), long, json!({"model": "gemini-omni-1.1-flash"})] {
        assert_eq!(world.post(INTERACTIONS, &body).await.status, 400);
    }
    let unknown = world.ask("GET", &format!("{}{INTERACTIONS}/v1_unknown", world.root)).await;
    assert_eq!((unknown.status, &unknown.body["error"]["message"]), (400, &json!("Invalid interaction name")));
}
