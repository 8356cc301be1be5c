//! Content erased on request: nothing of it is left, and the bill is as it was.

use serde_json::json;
use tests::World;

const SECRET: &str = "zanzibar";

#[tokio::test(flavor = "multi_thread")]
async fn of_erased_generations_the_bill_is_left() {
    let world = World::start().await;
    let prompt = format!("a fox in {SECRET}");
    let orders = [
        ("placeholder", json!({"prompt": prompt, "width": 64, "height": 64})),
        ("flux-schnell", json!({"prompt": format!("{prompt} [[moderate]]")})),
        ("gemini-flash", json!({"prompt": prompt})),
        ("gpt-image", json!({"prompt": prompt, "count": 2, "width": 1024, "height": 1024})),
    ];
    for (model, params) in orders {
        let id = world.create_with(model, params).await;
        let done = world.ended(&id).await;
        world.audit().await;
        let before = (world.ledger().await, world.balance().await);
        for _ in 0..2 {
            assert_eq!(world.delete(&format!("/v1/generations/{id}/content")).await.status, 204, "{model}");
        }
        let table = world.whole_table().await;
        let text = done["results"][0]["text"].as_str().unwrap_or(SECRET);
        assert!(!table.contains(SECRET) && !table.contains(text), "{model}");
        assert_eq!(world.whole_bucket().await, Vec::<String>::new(), "{model}");
        let after = world.generation(&id).await;
        assert_eq!((&after["params"], after["erased_at"].is_string()), (&json!({}), true), "{after:#}");
        assert_eq!((world.ledger().await, world.balance().await), before);
        world.audit().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_erased_upload_only_its_id_is_left() {
    let world = World::start().await;
    let id = world.upload_with(json!({"content_type": "image/jpeg", "filename": format!("{SECRET}.jpg")}), World::photo()).await;
    let link = world.get(&format!("/v1/assets/{id}")).await.body["url"].clone();
    for _ in 0..2 {
        assert_eq!(world.delete(&format!("/v1/assets/{id}")).await.status, 204);
    }
    assert_eq!(world.get(&format!("/v1/assets/{id}")).await.body["status"], "erased");
    assert!(!world.whole_table().await.contains(SECRET));
    assert_eq!(world.whole_bucket().await, Vec::<String>::new());
    let answer = world.http.media().get(link.as_str().expect("a URL")).send().await.expect("S3 answers");
    assert_eq!(answer.status(), 404, "a link that was given out before");
}
