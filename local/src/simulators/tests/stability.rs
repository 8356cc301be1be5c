use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::*;

const CORE: &str = "/stability/v2beta/stable-image/generate/core";
const UPSCALE: &str = "/stability/v2beta/stable-image/upscale/creative";

fn text<'a>(name: &'a str, text: &'a str) -> (&'a str, &'a str, &'a [u8]) {
    (name, "", text.as_bytes())
}

#[tokio::test]
async fn picture_comes_as_bytes_or_as_base64() {
    let world = World::open().await;
    let sd3 = "/stability/v2beta/stable-image/generate/sd3";
    let parts = [text("prompt", "a fox"), text("aspect_ratio", "16:9"), text("output_format", "jpeg"), text("seed", "7")];
    let answer = world.form(sd3, &parts).header("accept", "image/*").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    for (name, value) in [("content-type", "image/jpeg"), ("finish-reason", "SUCCESS"), ("seed", "7")] {
        assert_eq!(header(answer.headers(), name), value);
    }
    assert_eq!(decoded(&answer.bytes().await.unwrap()), (1344, 768, "image/jpeg"));
    let parts = [text("prompt", "a fox"), ("none", "none", b"")];
    let answer = world.send(world.form(CORE, &parts).header("accept", "application/json")).await;
    assert_eq!((answer.status, header(&answer.headers, "content-type")), (200, "application/json; type=image/png"));
    assert_eq!(answer.body["finish_reason"], "SUCCESS");
    let picture = BASE64_STANDARD.decode(answer.body["image"].as_str().unwrap()).unwrap();
    assert_eq!(decoded(&picture), (1536, 1536, "image/png"));
    let submit = &world.sim.journal().submits("stability")[1];
    assert_eq!((submit.path.as_str(), submit.status), ("/v2beta/stable-image/generate/core", 200));
    assert_eq!(submit.body, json!({"prompt": "a fox", "none": {"file": "none", "content_type": "image/png", "bytes": 0}}));
}

#[tokio::test]
async fn invalid_forms_are_refused_with_the_errors_list() {
    let world = World::open().await;
    let ultra = "/stability/v2beta/stable-image/generate/ultra";
    let (small, big) = (picture(32, 32), picture(64, 64));
    for (path, parts, error) in [
        (CORE, vec![], "prompt: is required"),
        (CORE, vec![text("prompt", "")], "prompt: must be a string of 1 to 10000 characters"),
        (CORE, vec![text("prompt", "x"), text("aspect_ratio", "4:3")], "aspect_ratio: must be one of"),
        (CORE, vec![text("prompt", "x"), text("seed", "4294967295")], "seed: must be a whole number"),
        (CORE, vec![text("prompt", "x"), ("image", "a.png", &big[..])], "image: is not allowed"),
        (ultra, vec![text("prompt", "x"), ("image", "a.png", &big[..])], "strength: is required"),
        (ultra, vec![text("prompt", "x"), ("image", "a.png", &small[..])], "image: must have sides"),
        (UPSCALE, vec![text("prompt", "x")], "image: is required"),
    ] {
        let refused = world.send(world.form(path, &parts)).await;
        assert_eq!((refused.status, &refused.body["name"]), (400, &json!("bad_request")), "{error}");
        assert!(refused.body["errors"][0].as_str().unwrap().starts_with(error), "{}", refused.body);
    }
    assert_eq!(world.post(CORE, &json!({"prompt": "x"})).await.body["errors"][0], "content-type: must be multipart/form-data");
    let accept = world.form(CORE, &[text("prompt", "x")]).header("accept", "image/png");
    assert_eq!(world.send(accept).await.status, 400);
    let large = vec![0; 10 * 1024 * 1024];
    let refused = world.send(world.form(CORE, &[text("prompt", "x"), ("image", "a.png", &large)])).await;
    assert_eq!((refused.status, &refused.body["name"]), (413, &json!("payload_too_large")));
}

#[tokio::test]
async fn refusals_carry_the_documented_names() {
    let world = World::open().await;
    for (order, status, name) in [
        ("[[auth]]", 401, "unauthorized"),
        ("[[funds]]", 402, "payment_required"),
        ("[[reject]]", 400, "bad_request"),
        ("[[throttle]]", 429, "rate_limit_exceeded"),
        ("[[moderate]]", 403, "content_moderation"),
        ("[[fail]]", 500, "internal_error"),
    ] {
        let refused = world.send(world.form(CORE, &[text("prompt", order)])).await;
        assert_eq!((refused.status, refused.body["name"].as_str()), (status, Some(name)), "{order}");
    }
    let filtered = world.form(CORE, &[text("prompt", "[[filtered]]")]).send().await.unwrap();
    assert_eq!((filtered.status().as_u16(), header(filtered.headers(), "finish-reason")), (200, "CONTENT_FILTERED"));
    let wrong = world.http.post(format!("{}{CORE}", world.root)).bearer_auth("sk-wrong");
    assert_eq!(world.send(wrong).await.status, 401);
}

#[tokio::test]
async fn upscale_is_fetched_later_with_the_key_that_submitted_it() {
    let world = World::open().await;
    world.sim.accept_key("stability", "sk-other").unwrap();
    let input = picture(80, 64);
    let submitted = world.send(world.form(UPSCALE, &[text("prompt", "a fox [[delay=1m]]"), ("image", "a.png", &input)])).await;
    assert_eq!(submitted.status, 200);
    let id = submitted.body["id"].as_str().unwrap();
    let url = format!("{}/stability/v2beta/results/{id}", world.root);
    let pending = world.ask("GET", &url).await;
    assert_eq!((pending.status, pending.body), (202, json!({"id": id, "status": "in-progress"})));
    let stranger = world.send(world.http.get(&url).bearer_auth("sk-other")).await;
    assert_eq!((stranger.status, &stranger.body["name"]), (404, &json!("generation_not_found")));
    world.clock.advance(MINUTE);
    world.journal(|journal| journal.in_flight("stability") == 0).await;
    let done = world.keyed("GET", &url).header("accept", "image/*").send().await.unwrap();
    assert_eq!((done.status().as_u16(), header(done.headers(), "finish-reason")), (200, "SUCCESS"));
    assert_eq!(decoded(&done.bytes().await.unwrap()), (320, 256, "image/png"));
    let older = format!("{}{UPSCALE}/result/{id}", world.root);
    let json = world.send(world.keyed("GET", &older).header("accept", "application/json")).await;
    assert!(json.body["image"].is_string());
    world.clock.advance(25 * 60 * MINUTE);
    assert_eq!(world.ask("GET", &url).await.status, 404);
    assert_eq!(world.sim.journal().polls("stability"), 3);
}

#[tokio::test]
async fn version_1_answers_artifacts_and_messages() {
    let world = World::open().await;
    let path = "/stability/v1/generation/stable-diffusion-xl-1024-v1-0/text-to-image";
    let body = |prompt: &str| json!({"text_prompts": [{"text": prompt, "weight": 1}], "samples": 2, "width": 640, "height": 512});
    let done = world.post(path, &body("a fox")).await;
    let artifacts = done.body["artifacts"].as_array().unwrap();
    assert_eq!((done.status, artifacts.len(), &artifacts[1]["finishReason"]), (200, 2, &json!("SUCCESS")));
    let picture = BASE64_STANDARD.decode(artifacts[0]["base64"].as_str().unwrap()).unwrap();
    assert_eq!(decoded(&picture), (640, 512, "image/png"));
    let filtered = world.post(path, &body("[[filtered]]")).await;
    assert_eq!(filtered.body["artifacts"][0]["finishReason"], "CONTENT_FILTERED");
    let mut odd = body("x");
    odd["width"] = json!(650);
    for (path, body, status, name) in [
        (path, body("[[moderate]]"), 400, "invalid_prompts"),
        (path, body("[[auth]]"), 401, "unauthorized"),
        (path, odd, 400, "invalid_height_or_width"),
        (path, json!({}), 400, "bad_request"),
        ("/stability/v1/generation/none/text-to-image", body("x"), 404, "not_found"),
    ] {
        let refused = world.post(path, &body).await;
        assert_eq!((refused.status, refused.body["name"].as_str()), (status, Some(name)), "{}", refused.body);
        assert!(refused.body["message"].is_string());
    }
    let engines = world.ask("GET", &format!("{}/stability/v1/engines/list", world.root)).await;
    assert_eq!(engines.body[0]["id"], "stable-diffusion-xl-1024-v1-0");
}
