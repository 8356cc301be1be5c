use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::*;

const MODEL: &str = "/huggingface/hf-inference/models/stabilityai/stable-diffusion-3-medium-diffusers";

#[tokio::test]
async fn picture_comes_as_raw_bytes_in_the_format_accepted() {
    let world = World::open().await;
    let body = json!({"inputs": "a fox", "parameters": {"width": 320, "height": 256, "seed": 7}});
    for (accept, mime) in [("image/png", "image/png"), ("*/*", "image/jpeg")] {
        let request = world.keyed("POST", &format!("{}{MODEL}", world.root)).header("accept", accept).json(&body);
        let answer = request.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(answer.headers(), "content-type")), (200, mime));
        assert!(header(answer.headers(), "x-request-id").starts_with("Root=1-"));
        assert_eq!(decoded(&answer.bytes().await.unwrap()), (320, 256, mime));
    }
    let submit = &world.sim.journal().submits("huggingface")[0];
    assert_eq!(submit.path, "/hf-inference/models/stabilityai/stable-diffusion-3-medium-diffusers");
    assert_eq!((&submit.body, submit.headers["accept"].as_str()), (&body, "image/png"));
}

#[tokio::test]
async fn picture_is_edited_from_base64_or_from_the_body_itself() {
    let world = World::open().await;
    let given = picture(200, 100);
    let body = json!({"inputs": BASE64_STANDARD.encode(&given), "parameters": {"prompt": "a fox"}});
    let request = world.keyed("POST", &format!("{}{MODEL}", world.root));
    for request in [request.try_clone().unwrap().json(&body), request.header("content-type", "image/png").body(given)] {
        let answer = request.send().await.unwrap();
        assert_eq!(decoded(&answer.bytes().await.unwrap()), (200, 100, "image/jpeg"));
    }
}

#[tokio::test]
async fn model_that_loads_names_the_wait_and_is_there_the_next_time() {
    let world = World::open().await;
    let body = json!({"inputs": "[[throttle]]"});
    let loading = world.post(MODEL, &body).await;
    let text = "Model stabilityai/stable-diffusion-3-medium-diffusers is currently loading";
    assert_eq!((loading.status, loading.body), (503, json!({"error": text, "estimated_time": 1.0})));
    assert_eq!(world.post(MODEL, &body).await.status, 200);
}

#[tokio::test]
async fn refusals_are_told_under_error() {
    let world = World::open().await;
    for (order, status, text) in [
        ("[[auth]]", 401, "Invalid credentials in Authorization header"),
        ("[[funds]]", 402, "You have exceeded your monthly included credits"),
        ("[[error_before]]", 503, "Service Unavailable"),
        ("[[fail]]", 500, "Internal server error"),
        ("[[moderate]]", 400, "The request was flagged"),
    ] {
        let refused = world.post(MODEL, &json!({"inputs": order})).await;
        assert_eq!(refused.status, status, "{order}");
        assert!(refused.body["error"].as_str().unwrap().starts_with(text), "{order}");
    }
    for body in [json!({}), json!({"inputs": 7}), json!({"inputs": "x", "parameters": {"width": "wide"}}), json!([])] {
        let refused = world.post(MODEL, &body).await;
        assert_eq!(refused.status, 400, "{body}");
        assert!(refused.body["error"][0].is_string(), "{body}");
    }
    assert_eq!(world.post("/huggingface/hf-inference/models/unknown/model", &json!({"inputs": "x"})).await.status, 404);
}
