//! Assets are found again: by box, kind, source and time, newest first, and each says what it was made from.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Customer, Setting, World};

/// The ids of a list, page after page.
async fn listed(customer: &Customer, query: &str, limit: u32) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    for _ in 0..50 {
        let reply = customer.get(&format!("/v1/assets?limit={limit}{query}{cursor}")).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        let page = reply.body["assets"].as_array().expect("a list");
        assert!(page.len() <= limit as usize);
        ids.extend(page.iter().map(id_of));
        match reply.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
    panic!("the list never ends: {ids:?}");
}

fn id_of(body: &Value) -> String {
    body["id"].as_str().expect("an id").to_owned()
}

async fn result(world: &World, model: &str, params: Value) -> String {
    let id = world.create_with(model, params).await;
    let done = world.ended(&id).await;
    done["results"][0]["asset_id"].as_str().unwrap_or_else(|| panic!("{done:#}")).to_owned()
}

fn small(prompt: &str) -> Value {
    json!({"prompt": prompt, "width": 64, "height": 64})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_everything_once_newest_first() {
    let world = World::with(Setting::idle()).await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(id_of(&world.post("/v1/uploads", &json!({"content_type": "image/png", "bytes": 7})).await.body));
        world.later(Duration::from_millis(2));
    }
    made.reverse();
    for limit in [1, 2, 3, 7, 100] {
        assert_eq!(listed(&world, "", limit).await, made, "{limit} a page");
    }
    assert_eq!(world.delete(&format!("/v1/assets/{}", made[2])).await.status, 204);
    made.remove(2);
    assert_eq!(listed(&world, "", 2).await, made, "what is erased is not listed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_can_be_of_one_kind_source_or_time() {
    let world = World::start().await;
    let video = id_of(&world.post("/v1/uploads", &json!({"content_type": "video/mp4", "bytes": 7})).await.body);
    let photo = world.upload("image/jpeg", World::photo()).await;
    world.later(Duration::from_secs(60));
    let text = result(&world, "gemini-flash", json!({"prompt": "What does the fox say?"})).await;
    let drawing = result(&world, "placeholder", small("a fox")).await;
    let edited = result(&world, "placeholder", json!({"prompt": "a fox", "width": 64, "height": 64, "image": photo})).await;
    let cases: [(&str, &[&String]); 9] = [
        ("&kind=video", &[&video]),
        ("&kind=image", &[&edited, &drawing, &photo]),
        ("&kind=text", &[&text]),
        ("&kind=json", &[]),
        ("&source=uploaded", &[&photo, &video]),
        ("&source=generated", &[&drawing, &text]),
        ("&source=derived", &[&edited]),
        ("&source=uploaded&kind=image", &[&photo]),
        ("", &[&edited, &drawing, &text, &photo, &video]),
    ];
    for (query, expected) in cases {
        for limit in [1, 20] {
            assert_eq!(listed(&world, query, limit).await.iter().collect::<Vec<_>>(), expected, "{query}");
        }
    }
    let time = |body: &Value| body["created_at"].as_str().expect("a time").to_owned();
    let of_text = time(&world.get(&format!("/v1/assets/{text}")).await.body);
    assert_eq!(listed(&world, &format!("&since={of_text}"), 2).await, [&edited, &drawing, &text].map(String::clone));
    assert_eq!(listed(&world, &format!("&until={of_text}"), 1).await, [&photo, &video].map(String::clone));
    assert_eq!(listed(&world, &format!("&since={of_text}&until={of_text}"), 1).await, Vec::<String>::new());
    assert_eq!(listed(&world, "&until=2001-02-03", 1).await, Vec::<String>::new());
    for wrong in ["kind=audio", "source=stolen", "since=soon", "box=1", "cursor=x", "limit=101"] {
        let reply = world.get(&format!("/v1/assets?{wrong}")).await;
        assert_eq!((reply.status, reply.body["param"].as_str()), (422, wrong.split('=').next()), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_says_what_it_was_made_from() {
    let world = World::start().await;
    let photo = world.upload("image/jpeg", World::photo()).await;
    let edited = result(&world, "placeholder", json!({"prompt": "hats", "image": photo, "width": 64, "height": 64})).await;
    let upscaled = result(&world, "upscale", json!({"image": edited})).await;
    let drawn = result(&world, "placeholder", small("alone")).await;
    let cases = [
        (&photo, "uploaded", json!([])),
        (&edited, "derived", json!([photo])),
        (&upscaled, "derived", json!([edited])),
        (&drawn, "generated", json!([])),
    ];
    for (id, source, parents) in cases {
        let seen = world.get(&format!("/v1/assets/{id}")).await.body;
        assert_eq!((&seen["source"], &seen["parents"]), (&json!(source), &parents), "{seen:#}");
        let media = &seen["media"];
        assert!(media["width"].is_u64() && media["height"].is_u64() && media.get("duration_ms").is_none(), "{seen:#}");
        let generation = seen["generation_id"].as_str();
        assert_eq!(generation.is_some(), source != "uploaded");
        if let Some(generation) = generation {
            let made = world.generation(generation).await;
            assert_eq!(made["results"][0]["asset_id"], json!(id));
        }
    }
    // What is erased stays named where something was made from it.
    assert_eq!(world.delete(&format!("/v1/assets/{edited}")).await.status, 204);
    assert_eq!(world.get(&format!("/v1/assets/{upscaled}")).await.body["parents"], json!([edited]));
    let erased = world.get(&format!("/v1/assets/{edited}")).await.body;
    assert_eq!((&erased["parents"], &erased["media"]), (&json!([photo]), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_has_the_name_that_was_asked_for() {
    let world = World::start().await;
    let named = json!({"content_type": "image/jpeg", "filename": "Кот 1.jpg"});
    let photo = world.upload_with(named, World::photo()).await;
    let drawn = result(&world, "placeholder", small("a fox")).await;
    let disposition = async |path: &str| {
        let reply = world.get(path).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        let answer = world.http.media().get(reply.body["url"].as_str().expect("a URL")).send().await.expect("S3 answers");
        assert_eq!(answer.status(), 200);
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        (header("content-disposition"), header("cache-control"))
    };
    let (none, cached) = disposition(&format!("/v1/assets/{drawn}")).await;
    assert_eq!((none.as_str(), cached.as_str()), ("", "private, max-age=31536000, immutable"));
    let (own, _) = disposition(&format!("/v1/assets/{photo}?download=1")).await;
    assert_eq!(own, "attachment; filename=\"___ 1.jpg\"; filename*=UTF-8''%D0%9A%D0%BE%D1%82%201.jpg");
    let (by_id, _) = disposition(&format!("/v1/assets/{drawn}?download=true")).await;
    assert_eq!(by_id, format!("attachment; filename=\"{drawn}.png\"; filename*=UTF-8''{drawn}.png"));
    let (asked, _) = disposition(&format!("/v1/assets/{drawn}?download=1&filename=fox.png")).await;
    assert_eq!(asked, "attachment; filename=\"fox.png\"; filename*=UTF-8''fox.png");
    for wrong in ["download=yes", "filename=fox.png", "download=1&filename=", "download=1&filename=a%0Ab"] {
        let reply = world.get(&format!("/v1/assets/{drawn}?{wrong}")).await;
        assert_eq!((reply.status, &reply.body["code"]), (422, &json!("invalid_param")), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_change_and_nothing_is_lost_to_two_hands_at_once() {
    let world = World::with(Setting::idle()).await;
    let photo = world.upload("image/jpeg", World::photo()).await;
    let path = format!("/v1/assets/{photo}");
    let (one, two) = (world.make_box("one").await, world.make_box("two").await);
    let changes: Vec<Value> = (0..12)
        .map(|number| match number % 3 {
            0 => json!({"box_id": one}),
            1 => json!({"box_id": two}),
            _ => json!({"filename": format!("{number}.jpg")}),
        })
        .collect();
    let replies = futures_util::future::join_all(changes.iter().map(|change| world.patch(&path, change))).await;
    assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
    let seen = world.get(&path).await.body;
    assert!(seen["filename"].is_string(), "{seen:#}");
    for own in [&one, &two] {
        let is_here = seen["box_id"] == json!(own);
        assert_eq!(listed(&world, &format!("&box={own}"), 5).await.len(), usize::from(is_here), "in one box only");
    }
    let reply = world.patch(&path, &json!({"box_id": null, "filename": null})).await;
    assert_eq!((&reply.body["box_id"], &reply.body["filename"]), (&Value::Null, &Value::Null));
    for own in [&one, &two] {
        assert!(listed(&world, &format!("&box={own}"), 5).await.is_empty());
    }
    for (body, param) in [(json!({"box_id": "box_1"}), "box_id"), (json!({"filename": ""}), "filename"), (json!({"x": 1}), "x")] {
        let reply = world.patch(&path, &body).await;
        assert_eq!((reply.status, reply.body["param"].as_str()), (422, Some(param)), "{:?}", reply.body);
    }
    assert_eq!(world.delete(&path).await.status, 204);
    assert_eq!(world.patch(&path, &json!({"filename": "x.jpg"})).await.body["code"], "asset_erased");
}
