//! The faults that all providers share.

use super::*;

#[tokio::test]
async fn keys_money_and_input_are_refused_in_the_providers_words() {
    let world = World::open().await;
    for (order, replicate, fal) in [("[[auth]]", 401, 401), ("[[funds]]", 402, 403), ("[[reject]]", 422, 422)] {
        assert_eq!(world.submit("replicate", order).await.status, replicate, "{order}");
        assert_eq!(world.submit("fal", order).await.status, fal, "{order}");
    }
    let journal = world.sim.journal();
    for provider in ["replicate", "fal"] {
        assert!(journal.submits(provider).iter().all(|submit| submit.job.is_none()));
        assert_eq!(journal.in_flight_peak(provider), 0);
    }
}

#[tokio::test]
async fn malformed_answer_is_the_half_of_a_whole_one() {
    let mut world = World::open().await;
    let url = format!("{}/fal/fal-ai/flux/dev?fal_webhook={}", world.root, world.receiver.root);
    let answer = world.keyed("POST", &url).json(&json!({"prompt": "[[malformed]]"})).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(answer.headers(), "content-type")), (200, "application/json"));
    let text = answer.text().await.unwrap();
    assert!(text.starts_with("{\"status\":\"IN_QUEUE\"") && serde_json::from_str::<Value>(&text).is_err());
    assert_eq!(world.receiver.next().await.body["status"], "OK");
}

#[tokio::test]
async fn malformed_picture_breaks_the_connection() {
    let world = World::open().await;
    let url = format!("{}/huggingface/hf-inference/models/owner/model", world.root);
    let request = world.keyed("POST", &url).json(&json!({"inputs": "[[malformed]]"}));
    // With or without the beginning of the answer.
    let answered = async { request.send().await?.bytes().await };
    assert!(answered.await.is_err());
    assert!(world.sim.journal().submits("huggingface")[0].job.is_some());
}

#[tokio::test]
async fn throttle_names_the_wait_that_is_asked_for() {
    let world = World::open().await;
    let answer = world.submit("fal", "[[throttle]] [[retry_after=20s]]").await;
    assert_eq!((answer.status, header(&answer.headers, "retry-after")), (429, "20"));
}

#[tokio::test]
async fn submit_without_a_prompt_suffers_what_was_supposed() {
    let world = World::open().await;
    assert!(world.sim.suppose_prompt("nobody", "").is_err());
    world.sim.suppose_prompt("wavespeed", "[[funds]]").unwrap();
    let url = format!("{}/wavespeed/api/v3/wavespeed-ai/image-face-swap", world.root);
    for (body, status) in [(json!({"image": "x"}), 402), (json!({"prompt": "a fox"}), 400)] {
        assert_eq!(world.keyed("POST", &url).json(&body).send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn job_of_a_submit_that_is_never_answered_runs() {
    let mut world = World::open().await;
    let url = format!("{}/fal/fal-ai/flux/dev?fal_webhook={}", world.root, world.receiver.root);
    let request = world.keyed("POST", &url).json(&json!({"prompt": "[[hang]]"}));
    let hanging = tokio::spawn(request.send());
    let arrival = world.receiver.next().await;
    assert!(!hanging.is_finished());
    hanging.abort();
    let submit = &world.sim.journal().submits("fal")[0];
    assert_eq!((submit.status, submit.job.as_deref()), (0, arrival.body["request_id"].as_str()));
}

#[tokio::test]
async fn further_keys_are_taken_and_told_apart() {
    let mut world = World::open().await;
    assert!(world.sim.accept_key("nobody", "x").is_err());
    for key in ["second:key", "third:key"] {
        world.sim.accept_key("fal", key).unwrap();
    }
    for key in ["third:key", "unknown:key"] {
        let url = format!("{}/fal/fal-ai/flux/dev", world.root);
        world.send(world.http.post(url).header("authorization", format!("Key {key}")).json(&json!({"prompt": "x"}))).await;
    }
    world.submit("fal", "x").await;
    world.receiver.next().await;
    let submits = world.sim.journal().submits("fal");
    let keys: Vec<_> = submits.iter().map(|submit| (submit.status, submit.key.as_deref())).collect();
    assert_eq!(keys, [(200, Some("further-2")), (401, None), (200, Some("primary"))]);
    assert!(submits.windows(2).all(|pair| pair[0].at <= pair[1].at));
}

#[tokio::test]
async fn jobs_in_flight_are_counted_until_they_end() {
    let mut world = World::open().await;
    for _ in 0..3 {
        world.submit("replicate", "[[delay=10m]]").await;
    }
    assert_eq!((world.sim.journal().in_flight("replicate"), world.sim.journal().in_flight_peak("replicate")), (3, 3));
    world.clock.advance(11 * MINUTE);
    for _ in 0..3 {
        world.receiver.next().await;
    }
    world.submit("replicate", "x").await;
    world.receiver.next().await;
    assert_eq!((world.sim.journal().in_flight("replicate"), world.sim.journal().in_flight_peak("replicate")), (0, 3));
}
