use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::*;

const CHAT: &str = "/openrouter/api/v1/chat/completions";
const IMAGES: &str = "/openrouter/api/v1/images";
const VIDEOS: &str = "/openrouter/api/v1/videos";

fn message(prompt: &str) -> Value {
    json!({"model": "google/gemini-3.8-flash", "messages": [{"role": "user", "content": prompt}]})
}

/// The documented rule, with the secret as the product gets it.
fn signature_holds(arrival: &Arrival, secret: &str) -> bool {
    let (time, signature) = header(&arrival.headers, "x-openrouter-signature").split_once(",v1=").unwrap();
    let signed = [time.strip_prefix("t=").unwrap().as_bytes(), b",", &arrival.raw].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::verify(&key, &signed, &hex::decode(signature).unwrap()).is_ok()
}

#[tokio::test]
async fn chat_answers_with_text_and_with_json_of_the_schema() {
    let world = World::open().await;
    let done = world.post(CHAT, &message("a fox")).await;
    let choice = &done.body["choices"][0];
    assert_eq!((done.status, &choice["finish_reason"]), (200, &json!("stop")));
    assert_eq!(choice["message"], json!({"role": "assistant", "content": "Simulated answer to: a fox"}));
    assert!(done.body["id"].as_str().unwrap().starts_with("gen-") && done.body["usage"]["cost"].is_f64());
    let mut strict = message("a fox");
    let schema = json!({"type": "object", "properties": {"title": {"type": "string"}, "n": {"type": "integer"}}});
    strict["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    let text = world.post(CHAT, &strict).await.body["choices"][0]["message"]["content"].take();
    assert_eq!(serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap(), json!({"title": "a fox", "n": 1}));
    let mut short = message("a fox");
    short["max_tokens"] = json!(2);
    let cut = world.post(CHAT, &short).await;
    assert_eq!(
        (&cut.body["choices"][0]["finish_reason"], &cut.body["choices"][0]["message"]["content"]),
        (&json!("length"), &json!("Simulate"))
    );
}

#[tokio::test]
async fn chat_draws_where_images_are_asked_for() {
    let world = World::open().await;
    let inputs = serve_inputs(picture(96, 64)).await;
    let parts = |prompt: &str, name: &str| {
        let url = format!("{inputs}/{name}.png");
        json!([{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": url}}])
    };
    let body = |content: Value| {
        let messages = json!([{"role": "user", "content": content}]);
        json!({"model": "google/gemini-3.1-flash-image", "modalities": ["image", "text"], "messages": messages})
    };
    let done = world.post(CHAT, &body(parts("a fox", "picture"))).await;
    let url = done.body["choices"][0]["message"]["images"][0]["image_url"]["url"].as_str().unwrap();
    let bytes = BASE64_STANDARD.decode(url.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
    assert_eq!(decoded(&bytes), (96, 64, "image/png"));
    let refused = world.post(CHAT, &body(parts("[[filtered]]", "picture"))).await;
    let message = &refused.body["choices"][0]["message"];
    assert_eq!((refused.status, message.get("images"), message["content"].as_str()), (200, None, Some("I cannot draw that.")));
    assert_eq!(world.post(CHAT, &body(parts("a fox", "broken"))).await.status, 400);
}

#[tokio::test]
async fn images_come_with_their_media_type() {
    let world = World::open().await;
    let model = "google/gemini-3.1-flash-image";
    for (asked, drawn) in [
        (json!({"resolution": "512", "aspect_ratio": "9:19.5", "output_format": "jpeg"}), (352, 768, "image/jpeg")),
        (json!({"size": "320x256", "n": 2}), (320, 256, "image/png")),
    ] {
        let mut body = asked.clone();
        body["model"] = json!(model);
        body["prompt"] = json!("a fox");
        let done = world.post(IMAGES, &body).await;
        assert_eq!(done.body["data"].as_array().map(Vec::len), Some(asked.get("n").map_or(1, |_| 2)), "{}", done.body);
        assert_eq!(done.body["data"][0]["media_type"], drawn.2);
        let bytes = BASE64_STANDARD.decode(done.body["data"][0]["b64_json"].as_str().unwrap()).unwrap();
        assert_eq!(decoded(&bytes), drawn);
    }
    let svg = world.post(IMAGES, &json!({"model": model, "prompt": "x", "output_format": "svg"})).await;
    assert_eq!(svg.body["data"][0]["media_type"], "image/svg+xml");
    for (name, value) in
        [("n", json!(11)), ("aspect_ratio", json!("16:10")), ("size", json!("big")), ("input_references", json!("x"))]
    {
        let mut body = json!({"model": model, "prompt": "x"});
        body[name] = value;
        assert_eq!(world.post(IMAGES, &body).await.status, 400, "{body}");
    }
}

#[tokio::test]
async fn errors_carry_their_status_as_a_number() {
    let world = World::open().await;
    for (order, status) in
        [("[[auth]]", 401), ("[[funds]]", 402), ("[[reject]]", 400), ("[[throttle]]", 429), ("[[error_before]]", 503)]
    {
        for answer in [
            world.post(CHAT, &message(order)).await,
            world.post(VIDEOS, &json!({"model": "google/veo-3.1", "prompt": format!("{order} again")})).await,
        ] {
            assert_eq!((answer.status, &answer.body["error"]["code"]), (status, &json!(status)), "{order}");
        }
    }
    for (order, status) in [("[[moderate]]", 403), ("[[fail]]", 502)] {
        let answer = world.post(CHAT, &message(order)).await;
        assert_eq!((answer.status, &answer.body["error"]["code"]), (status, &json!(status)), "{order}");
        assert!(answer.body["error"]["metadata"].is_object());
    }
    for (body, status) in [
        (json!({"messages": []}), 400),
        (json!({"model": "a/b", "messages": []}), 400),
        (json!({"model": "a/b", "messages": [{"role": "robot", "content": "x"}]}), 400),
        (json!({"model": "unknown", "messages": [{"role": "user", "content": "x"}]}), 404),
    ] {
        assert_eq!(world.post(CHAT, &body).await.status, status, "{body}");
    }
}

#[tokio::test]
async fn video_is_polled_fetched_with_the_key_and_called_back() {
    let mut world = World::open().await;
    let hook = world.receiver.root.clone();
    let mut body = json!({"model": "google/veo-3.1", "prompt": "a fox [[delay=1m]]", "duration": 4, "resolution": "480p"});
    body["callback_url"] = json!(hook);
    let accepted = world.post(VIDEOS, &body).await;
    assert_eq!((accepted.status, &accepted.body["status"]), (202, &json!("pending")));
    let id = accepted.body["id"].as_str().unwrap();
    let path = accepted.body["polling_url"].as_str().unwrap();
    let url = format!("{}{path}", world.root.strip_suffix("/_sim").unwrap());
    world.clock.advance(MINUTE / 2);
    assert_eq!(world.ask("GET", &url).await.body["status"], "in_progress");
    world.clock.advance(MINUTE);
    let done = world.poll(&url, |body| body["status"] == "completed").await;
    let link = done.body["unsigned_urls"][0].as_str().unwrap();
    assert_eq!(link, format!("{}{VIDEOS}/{id}/content?index=0", world.root));
    assert_eq!(world.file(link).await.0, 401);
    let file = world.keyed("GET", link).send().await.unwrap();
    assert_eq!(header(file.headers(), "content-type"), "video/mp4");
    assert_eq!(infer::get(&file.bytes().await.unwrap()).unwrap().mime_type(), "video/mp4");
    let arrival = world.receiver.next().await;
    assert_eq!(arrival.body["type"], "video.generation.completed");
    assert_eq!(arrival.body["data"]["unsigned_urls"], done.body["unsigned_urls"]);
    assert_eq!(header(&arrival.headers, "x-openrouter-idempotency-key"), format!("{id}-completed"));
    assert!(signature_holds(&arrival, &world.credential("OPENROUTER_WEBHOOK_SECRET")));
    assert_eq!(world.ask("GET", &format!("{}{VIDEOS}/unknown", world.root)).await.status, 404);
}

#[tokio::test]
async fn videos_fail_in_words_and_are_refused_in_detail() {
    let mut world = World::open().await;
    let hook = world.receiver.root.clone();
    let video = |prompt: &str| json!({"model": "google/veo-3.1", "prompt": prompt, "resolution": "480p", "callback_url": hook});
    for order in ["[[fail]]", "[[moderate]]", "[[bad_signature]][[fail]]"] {
        world.post(VIDEOS, &video(order)).await;
        let arrival = world.receiver.next().await;
        assert_eq!(arrival.body["type"], "video.generation.failed");
        assert!(arrival.body["data"]["error"].is_string() && arrival.body["data"].get("unsigned_urls").is_none());
        let holds = signature_holds(&arrival, &world.credential("OPENROUTER_WEBHOOK_SECRET"));
        assert_eq!(holds, !order.contains("bad_signature"));
    }
    for (name, value) in [
        ("duration", json!(0)),
        ("resolution", json!("999p")),
        ("callback_url", json!("http://example.com/hook")),
        ("frame_images", json!([{"type": "image_url", "image_url": {"url": "https://x/y.png"}}])),
        ("size", json!("1280x720")),
    ] {
        let mut body = video("x");
        body[name] = value;
        assert_eq!(world.post(VIDEOS, &body).await.status, 400, "{name}");
    }
}

#[tokio::test]
async fn expired_links_of_a_video_work_at_the_next_poll() {
    let world = World::open().await;
    let body = json!({"model": "google/veo-3.1", "prompt": "[[expired_link]]", "resolution": "480p"});
    let id = world.post(VIDEOS, &body).await.body["id"].take();
    let url = format!("{}{VIDEOS}/{}", world.root, id.as_str().unwrap());
    for expected in [403, 200] {
        let done = world.poll(&url, |body| body["status"] == "completed").await;
        assert_eq!(world.ask("GET", done.body["unsigned_urls"][0].as_str().unwrap()).await.status, expected);
    }
}
