//! Jobs that end well, by each way in which an end is heard of.

use std::time::Duration;

use serde_json::{Value, json};
use tests::World;

use crate::PROVIDERS;

/// It succeeded at the first attempt and is paid for; its results can be had as they are described.
async fn ended_well(world: &World, id: &str) -> Value {
    let done = world.ended(id).await;
    assert_eq!((&done["status"], done["attempts"].as_array().map(Vec::len)), (&json!("succeeded"), Some(1)), "{done:#}");
    for result in done["results"].as_array().expect("results") {
        let bytes = world.download(&result["url"]).await;
        assert_eq!(result["bytes"].as_u64(), Some(bytes.len() as u64));
    }
    world.assert_charged(id).await;
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_placeholder_is_drawn_stored_and_charged() {
    let world = World::start().await;
    let id = world.create_with("placeholder", json!({"prompt": "Маяк 🌊", "width": 64, "height": 64, "format": "webp"})).await;
    let done = ended_well(&world, &id).await;
    let bytes = world.download(&done["results"][0]["url"]).await;
    assert_eq!(done["results"][0]["content_type"], "image/webp");
    image::load_from_memory_with_format(&bytes, image::ImageFormat::WebP).expect("the result is the image it claims to be");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_ends_a_job() {
    let world = World::start().await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox").await;
        ended_well(&world, &id).await;
        assert_eq!(world.stack.simulators.journal().callbacks(provider).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_callback_is_made_up_for_by_a_delayed_message() {
    let world = World::start().await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox [[no_callback]]").await;
        let job = world.job(&id).await;
        world.at_rest().await;
        world.soon(Duration::from_secs(10));
        ended_well(&world, &id).await;
        let journal = world.stack.simulators.journal();
        assert!(journal.polls_of(&job) > 0 && journal.callbacks(provider).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_inside_the_answer_are_kept() {
    let world = World::start().await;
    let id = world.create_with("gpt-image", json!({"prompt": "a fox", "count": 2, "width": 1024, "height": 1024})).await;
    let done = ended_well(&world, &id).await;
    assert_eq!(done["results"].as_array().map(Vec::len), Some(2));
    let text = world.create("gemini-flash", "What does the fox say?").await;
    let done = ended_well(&world, &text).await;
    assert!(done["results"][0]["text"].as_str().is_some_and(|text| !text.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_of_two_accounts_all_end() {
    let world = World::start().await;
    let other = world.customer(100).await;
    let params = json!({"prompt": "small", "width": 64, "height": 64});
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push((&world.developer, world.create_with("placeholder", params.clone()).await));
        ids.push((&other, other.create_with("placeholder", params.clone()).await));
    }
    for (customer, id) in &ids {
        assert_eq!(customer.ended(id).await["status"], "succeeded");
    }
    for customer in [&world.developer, &other] {
        let closings = customer.audit().await;
        assert!(closings.len() == 10 && closings.values().all(|closing| closing.charged == closing.held), "{closings:?}");
    }
}
