use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::*;

const GENERATE: &str = "/openai/v1/images/generations";
const EDIT: &str = "/openai/v1/images/edits";

fn drawn(answer: &Answer, index: usize) -> (u32, u32, &'static str) {
    let picture = answer.body["data"][index]["b64_json"].as_str().unwrap();
    decoded(&BASE64_STANDARD.decode(picture).unwrap())
}

#[tokio::test]
async fn pictures_come_as_base64_with_their_usage() {
    let world = World::open().await;
    let body = json!({"model": "gpt-image-2", "prompt": "a fox", "n": 2, "size": "1024x768", "output_format": "webp"});
    let done = world.post(GENERATE, &body).await;
    assert_eq!((done.status, done.body["data"].as_array().unwrap().len()), (200, 2));
    assert_eq!(drawn(&done, 1), (1024, 768, "image/webp"));
    assert_eq!((&done.body["size"], &done.body["output_format"]), (&json!("1024x768"), &json!("webp")));
    let usage = &done.body["usage"];
    let sum = usage["input_tokens"].as_u64().unwrap() + usage["output_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"], sum);
    assert!(header(&done.headers, "x-request-id").starts_with("req_"));
}

#[tokio::test]
async fn pictures_are_edited_from_a_form_and_from_links() {
    let world = World::open().await;
    let given = picture(128, 128);
    let texts: [(&str, &str, &[u8]); 3] = [("model", "", b"gpt-image-2"), ("prompt", "", b"a hat"), ("size", "", b"1024x1024")];
    let files: [(&str, &str, &[u8]); 2] = [("image[]", "a.png", &given), ("image[]", "b.png", &given)];
    let mask: (&str, &str, &[u8]) = ("mask", "m.png", &given);
    let parts: Vec<_> = texts.into_iter().chain(files).chain([mask]).collect();
    let done = world.send(world.form(EDIT, &parts)).await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(drawn(&done, 0), (1024, 1024, "image/png"));
    let shown = &world.sim.journal().submits("openai")[0].body;
    assert_eq!((&shown["image[]"][1]["file"], &shown["prompt"]), (&json!("b.png"), &json!("a hat")));
    let wrong_mask = picture(64, 64);
    let parts: Vec<_> = texts.into_iter().chain(files).chain([("mask", "m.png", &wrong_mask[..])]).collect();
    assert_eq!(world.send(world.form(EDIT, &parts)).await.body["error"]["param"], "mask");
    assert_eq!(world.send(world.form(EDIT, &texts)).await.body["error"]["param"], "image");

    let link = format!("{}/picture.png", serve_inputs(given.clone()).await);
    let data = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(&given));
    let images = |first: Value| json!({"model": "gpt-image-2", "prompt": "a hat", "images": [first, {"image_url": data}]});
    assert_eq!(world.post(EDIT, &images(json!({"image_url": link}))).await.status, 200);
    let broken = link.replace("picture", "broken");
    for (image, param) in [(json!({"image_url": broken}), "images"), (json!({"file_id": "file-1"}), "images[0]")] {
        let refused = world.post(EDIT, &images(image)).await;
        assert_eq!((refused.status, &refused.body["error"]["param"]), (400, &json!(param)), "{}", refused.body);
    }
}

#[tokio::test]
async fn errors_carry_the_documented_codes() {
    let world = World::open().await;
    for (order, status, code) in [
        ("[[auth]]", 401, "invalid_api_key"),
        ("[[funds]]", 429, "insufficient_quota"),
        ("[[throttle]]", 429, "rate_limit_exceeded"),
        ("[[reject]]", 400, "invalid_value"),
        ("[[moderate]]", 400, "moderation_blocked"),
        ("[[filtered]]", 400, "moderation_blocked"),
        ("[[fail]]", 500, "server_error"),
    ] {
        let refused = world.post(GENERATE, &json!({"model": "gpt-image-2", "prompt": order})).await;
        assert_eq!((refused.status, refused.body["error"]["code"].as_str()), (status, Some(code)), "{order}");
        assert_eq!(refused.headers.contains_key("retry-after"), code == "rate_limit_exceeded");
    }
    for (body, param, code) in [
        (json!({"prompt": "x"}), "model", "missing_required_parameter"),
        (json!({"model": "gpt-image-2"}), "prompt", "missing_required_parameter"),
        (json!({"model": "dall-e-3", "prompt": "x"}), "model", "invalid_value"),
        (json!({"model": "gpt-image-2", "prompt": "x", "n": 11}), "n", "invalid_value"),
        (json!({"model": "gpt-image-2", "prompt": "x", "response_format": "url"}), "response_format", "unknown_parameter"),
    ] {
        let error = world.post(GENERATE, &body).await.body["error"].take();
        assert_eq!((error["param"].as_str(), error["code"].as_str()), (Some(param), Some(code)), "{body}");
    }
    let filtered = world.post(GENERATE, &json!({"model": "gpt-image-2", "prompt": "[[filtered]]"})).await;
    let details = json!({"moderation_stage": "output", "categories": ["other"]});
    assert_eq!(filtered.body["error"]["moderation_details"], details);
}

#[tokio::test]
async fn lost_and_cut_answers_are_drawn_all_the_same() {
    let world = World::open().await;
    let url = format!("{}{GENERATE}", world.root);
    let request = |prompt: &str| world.keyed("POST", &url).json(&json!({"model": "gpt-image-2", "prompt": prompt}));
    let cut = request("[[malformed]]").send().await.unwrap();
    assert_eq!(cut.status(), 200);
    assert!(serde_json::from_slice::<Value>(&cut.bytes().await.unwrap()).is_err());
    assert_eq!(request("[[error_after]]").send().await.unwrap().status(), 502);
    let hanging = tokio::spawn(request("[[hang]]").send());
    world.journal(|journal| journal.submits("openai").len() == 3 && journal.in_flight("openai") == 0).await;
    assert!(!hanging.is_finished());
    hanging.abort();
    let submits = world.sim.journal().submits("openai");
    assert_eq!(submits.iter().map(|submit| submit.status).collect::<Vec<_>>(), [200, 502, 0]);
    assert!(submits.iter().all(|submit| submit.job.is_some()));
}
