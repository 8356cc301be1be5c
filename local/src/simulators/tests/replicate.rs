use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::*;

fn ended(prediction: &Value) -> bool {
    !["starting", "processing"].contains(&prediction["status"].as_str().unwrap())
}

/// The documented rule, with the secret as the product gets it.
fn signature_holds(arrival: &Arrival, secret: &str) -> bool {
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let id = header(&arrival.headers, "webhook-id");
    let timestamp = header(&arrival.headers, "webhook-timestamp");
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", &arrival.raw].concat();
    let signature = header(&arrival.headers, "webhook-signature").strip_prefix("v1,").unwrap();
    let signature = BASE64_STANDARD.decode(signature).unwrap();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), &signed, &signature).is_ok()
}

#[tokio::test]
async fn prediction_is_created_polled_and_its_picture_fetched() {
    let mut world = World::open().await;
    let input = json!({"prompt": "a fox [[delay=10m]]", "width": 320, "height": 192, "num_outputs": 2, "output_format": "png"});
    let created = world.submit_input("replicate", input.clone()).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.body["status"], "starting");
    assert_eq!(created.body["model"], "black-forest-labs/flux-schnell");
    assert_eq!(created.body["version"], "hidden");
    assert_eq!(created.body["input"], input);
    for null in ["output", "error", "started_at", "completed_at"] {
        assert_eq!(created.body[null], Value::Null, "{null}");
    }
    let get = created.body["urls"]["get"].as_str().unwrap();
    assert_eq!(get, format!("{}/replicate/v1/predictions/{}", world.root, created.body["id"].as_str().unwrap()));
    world.clock.advance(MINUTE);
    assert_eq!(world.ask("GET", get).await.body["status"], "processing");
    world.clock.advance(10 * MINUTE);
    let done = world.poll(get, ended).await;
    assert_eq!((done.status, &done.body["status"]), (200, &json!("succeeded")));
    assert!(done.body["metrics"]["total_time"].as_f64().unwrap() >= 600.0);
    let links = done.body["output"].as_array().unwrap();
    assert_eq!(links.len(), 2);
    let (status, headers, bytes) = world.file(links[1].as_str().unwrap()).await;
    assert_eq!((status, header(&headers, "content-type")), (200, "image/png"));
    assert_eq!(decoded(&bytes), (320, 192, "image/png"));
    let arrival = world.receiver.next().await;
    assert_eq!(arrival.body, done.body);
    assert!(signature_holds(&arrival, &world.credential("REPLICATE_WEBHOOK_SECRET")));
    assert!(world.sim.journal().polls("replicate") >= 2 && world.sim.journal().polls_of("none") == 0);
}

#[tokio::test]
async fn webhook_secret_and_keys_are_guarded() {
    let world = World::open().await;
    let secret = format!("{}/replicate/v1/webhooks/default/secret", world.root);
    assert_eq!(world.ask("GET", &secret).await.body["key"], world.credential("REPLICATE_WEBHOOK_SECRET"));
    let create = format!("{}/replicate/v1/predictions", world.root);
    for request in [world.http.get(&secret), world.http.post(&create).bearer_auth("r8_wrong").json(&json!({}))] {
        let refused = world.send(request).await;
        assert_eq!(refused.status, 401);
        assert_eq!(refused.body["detail"], "You did not pass a valid authentication token");
    }
    let submits = world.sim.journal().submits("replicate");
    assert_eq!((submits.len(), submits[0].status, &submits[0].job), (1, 401, &None));
    assert_eq!(submits[0].path, "/v1/predictions");
    assert!(!submits[0].headers.contains_key("authorization"));
    let shown = world.get(&format!("{}/journal", world.root)).await;
    assert_eq!(shown.body["submits"][0]["status"], 401);
}

#[tokio::test]
async fn invalid_predictions_are_refused_with_their_fields() {
    let world = World::open().await;
    let url = format!("{}/replicate/v1/predictions", world.root);
    let hash = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa";
    let good = json!({"version": format!("a/b:{hash}"), "input": {"prompt": "x"}});
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    for (body, kind) in [
        (with("input", json!({})), "required"),
        (with("model", json!("a/b")), "additional_property_not_allowed"),
        (with("input", json!({"prompt": 7})), "invalid_type"),
        (with("input", json!({"prompt": "x", "num_outputs": 5})), "number_lte"),
        (with("input", json!({"prompt": "x", "output_format": "gif"})), "enum"),
        (with("webhook", json!("http://example.com/")), "format"),
        (with("webhook_events_filter", json!(["done"])), "enum"),
        (json!([]), "invalid_type"),
    ] {
        let refused = world.send(world.keyed("POST", &url).json(&body)).await;
        assert_eq!(refused.status, 422, "{body}");
        assert_eq!(refused.body["invalid_fields"][0]["type"], kind, "{body}");
    }
    let refused = world.send(world.keyed("POST", &url).json(&with("input", json!({})))).await;
    let documented = json!({
        "detail": "- input: prompt is required\n", "status": 422, "title": "Input validation failed",
        "invalid_fields": [{"type": "required", "field": "input", "description": "prompt is required"}],
    });
    assert_eq!(refused.body, documented);
    assert_eq!(world.send(world.keyed("POST", &url).json(&with("version", json!("nonsense")))).await.status, 422);
    let created = world.send(world.keyed("POST", &url).json(&good)).await;
    assert_eq!((created.status, &created.body["version"]), (201, &json!(hash)));
    assert_eq!(world.ask("GET", &format!("{url}/unknown")).await.status, 404);
}

#[tokio::test]
async fn canceled_prediction_stays_canceled_and_a_finished_one_succeeded() {
    let mut world = World::open().await;
    let slow = world.submit("replicate", "[[delay=1m]]").await;
    let canceled = world.ask("POST", slow.body["urls"]["cancel"].as_str().unwrap()).await;
    assert_eq!((canceled.status, &canceled.body["status"]), (200, &json!("canceled")));
    assert_eq!(world.receiver.next().await.body["status"], "canceled");
    let quick = world.submit("replicate", "[[delay=0s]]").await;
    assert_eq!(world.receiver.next().await.body["status"], "succeeded");
    let late = world.ask("POST", quick.body["urls"]["cancel"].as_str().unwrap()).await;
    assert_eq!((late.status, &late.body["status"]), (200, &json!("succeeded")));
    assert_eq!(world.sim.journal().cancels("replicate").len(), 2);
}

#[tokio::test]
async fn failures_carry_the_documented_texts() {
    let mut world = World::open().await;
    for (order, text) in [("[[fail]]", "Error running the model"), ("[[moderate]]", "flagged as sensitive")] {
        world.submit("replicate", order).await;
        let arrival = world.receiver.next().await;
        assert_eq!((&arrival.body["status"], &arrival.body["output"]), (&json!("failed"), &Value::Null));
        assert!(arrival.body["error"].as_str().unwrap().contains(text), "{order}");
    }
}

#[tokio::test]
async fn input_pictures_are_fetched_and_must_be_pictures() {
    let mut world = World::open().await;
    let inputs = serve_inputs(picture(200, 100)).await;
    let data = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(picture(100, 80)));
    for (link, size) in [(format!("{inputs}/picture.png"), (200, 100)), (data, (100, 80))] {
        world.submit_input("replicate", json!({"prompt": "x", "input_image": link})).await;
        let arrival = world.receiver.next().await;
        let (_, _, bytes) = world.file(arrival.body["output"][0].as_str().unwrap()).await;
        assert_eq!(decoded(&bytes), (size.0, size.1, "image/webp"));
    }
    let outside = "https://example.com/picture.png".to_owned();
    for link in [format!("{inputs}/broken.png"), format!("{inputs}/none.png"), outside, "data:image/png;base64,AAAA".to_owned()] {
        world.submit_input("replicate", json!({"prompt": "x", "image": link})).await;
        let arrival = world.receiver.next().await;
        assert_eq!(arrival.body["status"], "failed", "{link}");
        assert!(arrival.body["error"].as_str().unwrap().starts_with("Failed to"), "{link}");
    }
}

#[tokio::test]
async fn throttled_prompt_is_accepted_after_its_refusals() {
    let world = World::open().await;
    for _ in 0..2 {
        let refused = world.submit("replicate", "[[throttle=2]] one").await;
        assert_eq!((refused.status, header(&refused.headers, "retry-after")), (429, "1"));
        assert_eq!(refused.body["detail"], "Request was throttled. Your rate limit resets in ~1s.");
    }
    assert_eq!(world.submit("replicate", "[[throttle=2]] one").await.status, 201);
    assert_eq!(world.submit("replicate", "[[throttle=2]] other").await.status, 429);
    assert_eq!(world.submit("replicate", "[[error_before]]").await.status, 503);
    assert_eq!(world.submit("replicate", "[[error_before]]").await.status, 503);
    let jobs = world.sim.journal().submits("replicate").into_iter().filter_map(|submit| submit.job);
    assert_eq!(jobs.count(), 1);
}

#[tokio::test]
async fn job_runs_and_calls_back_though_its_submit_got_a_gateway_page() {
    let mut world = World::open().await;
    let lost = world.submit("replicate", "[[error_after]]").await;
    assert_eq!((lost.status, header(&lost.headers, "content-type")), (502, "text/html; charset=utf-8"));
    assert_eq!(world.receiver.next().await.body["status"], "succeeded");
    let submit = &world.sim.journal().submits("replicate")[0];
    assert!(submit.status == 502 && submit.job.is_some());
}

#[tokio::test]
async fn callback_is_resent_with_the_same_id_until_acknowledged() {
    let mut world = World::open().await;
    world.receiver.will_answer(&[500, 404]);
    world.submit("replicate", "x").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(header(&world.receiver.next().await.headers, "webhook-id").to_owned());
    }
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
    world.journal(|journal| journal.callbacks("replicate").len() == 3).await;
    assert_eq!(attempts(world.sim.journal(), "replicate"), [(1, Some(500)), (2, Some(404)), (3, Some(200))]);
}

#[tokio::test]
async fn unwanted_events_send_no_callback() {
    let mut world = World::open().await;
    let url = format!("{}/replicate/v1/models/a/b/predictions", world.root);
    let body = json!({"input": {"prompt": "[[delay=0s]]"}, "webhook": world.receiver.root, "webhook_events_filter": ["start"]});
    let created = world.send(world.keyed("POST", &url).json(&body)).await;
    world.poll(created.body["urls"]["get"].as_str().unwrap(), ended).await;
    world.submit("replicate", "other").await;
    assert_ne!(world.receiver.next().await.body["id"], created.body["id"]);
}

#[tokio::test]
async fn data_is_removed_an_hour_after_the_end() {
    let mut world = World::open().await;
    let created = world.submit("replicate", "x").await;
    let link = world.receiver.next().await.body["output"][0].as_str().unwrap().to_owned();
    assert_eq!(world.file(&link).await.0, 200);
    world.clock.advance(61 * MINUTE);
    let removed = world.ask("GET", created.body["urls"]["get"].as_str().unwrap()).await.body;
    assert_eq!((&removed["status"], &removed["data_removed"]), (&json!("succeeded"), &json!(true)));
    assert_eq!((&removed["output"], &removed["input"]), (&Value::Null, &json!({})));
    assert_eq!(world.file(&link).await.0, 404);
}
