use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::*;

fn completed(status: &Value) -> bool {
    status["status"] == "COMPLETED"
}

/// The documented rule, with the key that the key set gives.
async fn signature_holds(world: &World, arrival: &Arrival) -> bool {
    let jwks = world.get(&format!("{}/fal/.well-known/jwks.json", world.root)).await.body;
    assert_eq!((&jwks["keys"][0]["kty"], &jwks["keys"][0]["crv"]), (&json!("OKP"), &json!("Ed25519")));
    let key = BASE64_URL_SAFE_NO_PAD.decode(jwks["keys"][0]["x"].as_str().unwrap()).unwrap();
    let of = |name: &str| header(&arrival.headers, name).to_owned();
    assert_eq!(of("x-fal-webhook-request-id"), arrival.body["request_id"].as_str().unwrap());
    let message = [
        of("x-fal-webhook-request-id"),
        of("x-fal-webhook-user-id"),
        of("x-fal-webhook-timestamp"),
        hex::encode(digest::digest(&digest::SHA256, &arrival.raw)),
    ];
    let signature = hex::decode(of("x-fal-webhook-signature")).unwrap();
    UnparsedPublicKey::new(&ED25519, key).verify(message.join("\n").as_bytes(), &signature).is_ok()
}

fn url<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.body[name].as_str().unwrap()
}

#[tokio::test]
async fn request_is_queued_polled_and_its_picture_fetched() {
    let mut world = World::open().await;
    let input = json!({"prompt": "a fox [[delay=10m]]", "image_size": "landscape_16_9", "num_images": 2, "seed": 7, "output_format": "png"});
    let queued = world.submit_input("fal", input).await;
    assert_eq!((queued.status, &queued.body["status"]), (200, &json!("IN_QUEUE")));
    let id = url(&queued, "request_id");
    assert_eq!(url(&queued, "response_url"), format!("{}/fal/fal-ai/flux/requests/{id}", world.root));
    let early = world.ask("GET", url(&queued, "response_url")).await;
    assert_eq!((early.status, &early.body["detail"]), (400, &json!("Request is still in progress")));
    let status_url = format!("{}?logs=1", url(&queued, "status_url"));
    world.clock.advance(MINUTE);
    let running = world.ask("GET", &status_url).await;
    assert_eq!((running.status, &running.body["status"]), (202, &json!("IN_PROGRESS")));
    assert!(running.body["logs"][0]["message"].is_string());
    world.clock.advance(10 * MINUTE);
    let done = world.poll(url(&queued, "status_url"), completed).await;
    assert_eq!((done.status, done.body.get("error")), (200, None));
    let result = world.ask("GET", url(&queued, "response_url")).await;
    assert_eq!((result.status, header(&result.headers, "x-fal-request-id")), (200, id));
    assert_eq!((&result.body["seed"], &result.body["prompt"]), (&json!(7), &json!("a fox [[delay=10m]]")));
    assert_eq!(result.body["images"].as_array().unwrap().len(), 2);
    let image = &result.body["images"][0];
    let (status, headers, bytes) = world.file(image["url"].as_str().unwrap()).await;
    assert_eq!((status, header(&headers, "content-type")), (200, "image/png"));
    assert_eq!(image["content_type"], "image/png");
    assert_eq!(image["file_size"], bytes.len());
    assert_eq!((&image["width"], &image["height"]), (&json!(1024), &json!(576)));
    assert_eq!(decoded(&bytes), (1024, 576, "image/png"));
    let arrival = world.receiver.next().await;
    assert_eq!((&arrival.body["status"], &arrival.body["payload"]), (&json!("OK"), &result.body));
    assert_eq!(arrival.body["gateway_request_id"], id);
    assert!(signature_holds(&world, &arrival).await);
}

#[tokio::test]
async fn keys_apps_and_unknown_requests_are_checked() {
    let world = World::open().await;
    let queued = world.submit("fal", "x").await;
    let id = url(&queued, "request_id");
    let refused = world.get(url(&queued, "status_url")).await;
    assert_eq!(refused.status, 401);
    let bearer = world.http.post(format!("{}/fal/fal-ai/flux/dev", world.root)).bearer_auth(world.credential("FAL_KEY"));
    assert_eq!(world.send(bearer.json(&json!({}))).await.status, 401);
    for path in ["fal-ai/flux/requests/unknown/status", &format!("fal-ai/flux/dev/requests/{id}/status")] {
        let answer = world.ask("GET", &format!("{}/fal/{path}", world.root)).await;
        assert_eq!((answer.status, &answer.body), (404, &json!({"status": "NOT_FOUND"})), "{path}");
    }
    assert_eq!(world.ask("POST", &format!("{}/fal/flux", world.root)).await.status, 404);
    let submits = world.sim.journal().submits("fal");
    assert_eq!(submits[0].path, "/fal-ai/flux/dev");
    assert_eq!((submits[0].job.as_deref(), submits[0].callback_url.as_deref()), (Some(id), Some(&*world.receiver.root)));
}

#[tokio::test]
async fn queue_takes_a_missing_prompt_and_the_result_refuses_it() {
    let mut world = World::open().await;
    let queued = world.submit_input("fal", json!({"num_images": 1})).await;
    assert_eq!(queued.status, 200);
    let arrival = world.receiver.next().await;
    assert_eq!((&arrival.body["status"], &arrival.body["error"]), (&json!("ERROR"), &json!("Invalid status code: 422")));
    let result = world.ask("GET", url(&queued, "response_url")).await;
    let documented = json!({"detail": [{
        "loc": ["body", "prompt"], "msg": "field required", "type": "missing",
        "url": "https://docs.fal.ai/errors/#missing", "ctx": {}, "input": {},
    }]});
    assert_eq!((result.status, &result.body), (422, &documented));
    assert_eq!(arrival.body["payload"], documented);
}

#[tokio::test]
async fn failures_complete_with_an_error_and_the_result_repeats_it() {
    let mut world = World::open().await;
    for (order, code, kind) in [("[[fail]]", 500, "internal_server_error"), ("[[moderate]]", 422, "content_policy_violation")] {
        let queued = world.submit("fal", order).await;
        let arrival = world.receiver.next().await;
        assert_eq!((&arrival.body["status"], &arrival.body["payload"]["detail"][0]["type"]), (&json!("ERROR"), &json!(kind)));
        let status = world.ask("GET", url(&queued, "status_url")).await;
        assert!(completed(&status.body) && status.body["error_type"] == kind && status.body["error"].is_string());
        let result = world.ask("GET", url(&queued, "response_url")).await;
        assert_eq!((result.status, &result.body), (code, &arrival.body["payload"]));
    }
}

#[tokio::test]
async fn canceled_request_ends_with_client_cancelled() {
    let mut world = World::open().await;
    let slow = world.submit("fal", "[[delay=1m]]").await;
    let canceled = world.ask("PUT", url(&slow, "cancel_url")).await;
    assert_eq!((canceled.status, &canceled.body["status"]), (202, &json!("CANCELLATION_REQUESTED")));
    assert_eq!(world.receiver.next().await.body["status"], "ERROR");
    let status = world.ask("GET", url(&slow, "status_url")).await;
    assert_eq!(status.body["error_type"], "client_cancelled");
    assert_eq!(world.ask("GET", url(&slow, "response_url")).await.status, 499);
    let again = world.ask("PUT", url(&slow, "cancel_url")).await;
    assert_eq!((again.status, &again.body["status"]), (400, &json!("ALREADY_COMPLETED")));
    let unknown = world.ask("PUT", &format!("{}/fal/fal-ai/flux/requests/none/cancel", world.root)).await;
    assert_eq!((unknown.status, &unknown.body["status"]), (404, &json!("NOT_FOUND")));
}

#[tokio::test]
async fn input_pictures_are_fetched_and_the_output_has_the_endpoints_shape() {
    let mut world = World::open().await;
    let inputs = serve_inputs(picture(200, 100)).await;
    let hook = world.receiver.root.clone();
    let submit = async |world: &World, endpoint: &str, input: Value| {
        let url = format!("{}/fal/{endpoint}?fal_webhook={hook}", world.root);
        assert_eq!(world.send(world.keyed("POST", &url).json(&input)).await.status, 200);
    };
    submit(&world, "fal-ai/recraft/upscale/crisp", json!({"image_url": format!("{inputs}/picture.png")})).await;
    let upscaled = world.receiver.next().await.body;
    assert_eq!(upscaled["payload"]["image"].get("width"), None);
    let (_, _, bytes) = world.file(upscaled["payload"]["image"]["url"].as_str().unwrap()).await;
    assert_eq!(decoded(&bytes), (400, 200, "image/png"));
    submit(&world, "fal-ai/any-llm", json!({"prompt": "hello"})).await;
    assert!(world.receiver.next().await.body["payload"]["output"].as_str().unwrap().contains("hello"));
    let lost = format!("{inputs}/none.png");
    for (link, kind) in [(lost.as_str(), "file_download_error"), (&format!("{inputs}/broken.png"), "image_load_error")] {
        let good = format!("{inputs}/picture.png");
        submit(&world, "fal-ai/nano-banana/edit", json!({"prompt": "x", "image_urls": [good, link]})).await;
        let detail = world.receiver.next().await.body["payload"]["detail"][0].clone();
        assert_eq!((&detail["type"], &detail["loc"]), (&json!(kind), &json!(["body", "image_urls", 1])));
    }
}

#[tokio::test]
async fn submit_faults_act_on_fal_too() {
    let mut world = World::open().await;
    let throttled = world.submit("fal", "[[throttle]]").await;
    assert_eq!((throttled.status, header(&throttled.headers, "retry-after")), (429, "1"));
    assert_eq!(world.submit("fal", "[[throttle]]").await.status, 200);
    assert_eq!(world.receiver.next().await.body["status"], "OK");
    assert_eq!(world.submit("fal", "[[error_before]]").await.status, 503);
    assert_eq!(world.submit("fal", "[[error_after]]").await.status, 502);
    assert_eq!(world.receiver.next().await.body["status"], "OK");
}

#[tokio::test]
async fn callbacks_come_never_twice_late_first_or_wrongly_signed() {
    let mut world = World::open().await;
    let silent = world.submit("fal", "[[no_callback]][[delay=0s]]").await;
    world.poll(url(&silent, "status_url"), completed).await;
    world.submit("fal", "[[callback_twice]]").await;
    let (first, second) = (world.receiver.next().await, world.receiver.next().await);
    assert_ne!(first.body["request_id"], silent.body["request_id"]);
    assert_eq!(first.raw, second.raw);
    let late = world.submit("fal", "[[callback_late=10m]]").await;
    world.poll(url(&late, "status_url"), completed).await;
    assert!(world.receiver.is_empty());
    world.clock.advance(10 * MINUTE);
    assert_eq!(world.receiver.next().await.body["request_id"], late.body["request_id"]);
    let early = world.submit("fal", "[[callback_first]]").await;
    assert_eq!(early.body["status"], "IN_QUEUE");
    let answered = world.sim.journal().callbacks("fal").into_iter().filter(|sent| early.body["request_id"] == sent.job);
    assert_eq!(answered.map(|sent| sent.status).collect::<Vec<_>>(), [Some(200)]);
    let arrival = world.receiver.next().await;
    assert!(signature_holds(&world, &arrival).await);
    world.submit("fal", "[[bad_signature]]").await;
    let arrival = world.receiver.next().await;
    assert!(!signature_holds(&world, &arrival).await);
    assert!(world.receiver.is_empty());
}

#[tokio::test]
async fn early_callback_that_is_refused_is_resent_after_the_answer() {
    let mut world = World::open().await;
    world.receiver.will_answer(&[404]);
    assert_eq!(world.submit("replicate", "[[callback_first]]").await.body["status"], "starting");
    world.journal(|journal| journal.callbacks("replicate").len() == 2).await;
    assert_eq!(attempts(world.sim.journal(), "replicate"), [(1, Some(404)), (2, Some(200))]);
    let (first, second) = (world.receiver.next().await, world.receiver.next().await);
    assert_eq!(first.body["id"], second.body["id"]);
}

#[tokio::test]
async fn expired_links_are_replaced_by_later_reads() {
    let mut world = World::open().await;
    let queued = world.submit("fal", "[[expired_link]]").await;
    let called = world.receiver.next().await.body["payload"]["images"][0]["url"].as_str().unwrap().to_owned();
    let mut codes = vec![world.file(&called).await.0];
    for _ in 0..3 {
        let result = world.ask("GET", url(&queued, "response_url")).await;
        codes.push(world.file(result.body["images"][0]["url"].as_str().unwrap()).await.0);
    }
    assert_eq!(codes, [403, 403, 200, 200]);
}

#[tokio::test]
async fn huge_file_is_a_picture_and_zeros_and_a_private_link_leads_inside() {
    let mut world = World::open().await;
    world.submit("fal", "[[huge=3MB]]").await;
    let image = world.receiver.next().await.body["payload"]["images"][0].clone();
    assert_eq!(image["file_size"], 3_000_000);
    let (status, headers, bytes) = world.file(image["url"].as_str().unwrap()).await;
    assert_eq!((status, header(&headers, "content-length"), bytes.len()), (200, "3000000", 3_000_000));
    assert_eq!(decoded(&bytes), (1024, 768, "image/png"));
    assert_eq!(bytes.last(), Some(&0));
    world.submit("replicate", "[[private_link]]").await;
    assert_eq!(world.receiver.next().await.body["output"], json!(["http://10.0.0.1/secret.png"]));
}
