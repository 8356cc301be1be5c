//! Tools: asked for by what they do, they work on real media through their providers, and without any provider.

use std::time::Duration;

use serde_json::{Value, json};
use shared::catalog::Catalog;
use tests::{Customer, Reply, Setting, World};

/// Providers are polled every ten seconds.
const STEP: Duration = Duration::from_secs(11);

/// A file of the repository.
fn sample(name: &str) -> Vec<u8> {
    let path = format!("{}/../events/media/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("`{path}`: {error}"))
}

struct Media {
    photo: String,
    portrait: String,
    video: String,
}

impl Media {
    async fn upload(customer: &Customer) -> Self {
        Self {
            photo: customer.upload("image/jpeg", sample("photo.jpg")).await,
            portrait: customer.upload("image/jpeg", sample("portrait.jpg")).await,
            video: customer.upload("video/mp4", sample("video.mp4")).await,
        }
    }

    /// Each tool once, on real media, and the model that is the first to do it.
    fn orders(&self) -> Vec<(&'static str, Value, &'static str)> {
        let Self { photo, portrait, video } = self;
        vec![
            ("create", json!({"prompt": "a lighthouse", "format": "landscape"}), "fal/fal-ai/nano-banana-pro"),
            (
                "create",
                json!({"prompt": "a lighthouse", "width": 2048, "height": 1024}),
                "fal/fal-ai/bytedance/seedream/v4/text-to-image",
            ),
            ("create", json!({"prompt": "a lighthouse", "steps": 20, "guidance": 5}), "fal/fal-ai/flux/dev"),
            ("create", json!({"prompt": "a lighthouse", "negative_prompt": "people"}), "replicate/stability-ai/sdxl"),
            ("write_prompt", json!({"description": "a girl on the beach"}), "openrouter/google/gemini-3.8-flash"),
            ("edit", json!({"prompt": "add a cat", "images": [photo, portrait]}), "fal/fal-ai/nano-banana-pro/edit"),
            ("retouch", json!({"image": portrait}), "fal/fal-ai/retoucher"),
            (
                "retouch",
                json!({"image": portrait, "instruction": "no circles under the eyes"}),
                "fal/fal-ai/bytedance/seedream/v4/edit",
            ),
            ("retouch", json!({"image": portrait, "mode": "enhance"}), "fal/fal-ai/bytedance/seedream/v4/edit"),
            (
                "add_text",
                json!({"image": photo, "text": "Кофе ☕\nкаждое утро", "wishes": "крупный белый текст снизу"}),
                "local/add-text",
            ),
            (
                "add_text",
                json!({"image": photo, "text": "Кофе", "style": {"size": 40, "plate": {"color": "black", "opacity_percent": 50}}}),
                "local/add-text",
            ),
            ("face_swap", json!({"source_face": portrait, "target_photo": photo}), "wavespeed/wavespeed-ai/image-face-swap"),
            ("upscale", json!({"image": photo}), "fal/fal-ai/recraft/upscale/crisp"),
            ("animate", json!({"image": photo, "duration": 10}), "minimax/MiniMax-Hailuo-2.3"),
            ("analyze", json!({"video": video, "keep_video": true}), "gemini/gemini-3.8-flash/json"),
        ]
    }
}

async fn order(customer: &Customer, tool: &str, params: &Value) -> String {
    let reply = customer.post("/v1/generations", &json!({"tool": tool, "params": params})).await;
    assert_eq!(reply.status, 202, "{tool} {params}: {:?}", reply.body);
    reply.body["id"].as_str().expect("an id").to_owned()
}

/// What came out is what the tool says.
async fn looks_right(customer: &Customer, tool: &str, generation: &Value) {
    assert_eq!(generation["status"], "succeeded", "{tool}: {generation:#}");
    let result = &generation["results"][0];
    let file = customer.download(&result["url"]).await;
    let found = shared::results::content_type_of(&file).unwrap_or("a text");
    match tool {
        "write_prompt" => {
            let text = result["text"].as_str().expect("a text");
            assert!(text.chars().count() >= 1_000, "{text}");
        }
        "analyze" => {
            let document: Value = serde_json::from_slice(&file).expect("JSON");
            let schema = Catalog::built_in().expect("loads").offer("analyze").expect("a tool").finish().schema.expect("a schema");
            assert!(jsonschema::is_valid(&schema, &document), "{document:#}");
        }
        "animate" => assert_eq!(found, "video/mp4"),
        "upscale" | "face_swap" => assert_eq!((found, &result["content_type"]), ("image/png", &json!("image/png"))),
        _ => {
            assert!(found.starts_with("image/"), "{tool}: {found}");
            image::load_from_memory(&file).expect("a picture");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_works_through_its_providers() {
    let world = World::start().await;
    let media = Media::upload(&world).await;
    for (tool, params, by) in media.orders() {
        let id = order(&world, tool, &params).await;
        let generation = world.steps_until_ended(&id, STEP).await;
        looks_right(&world, tool, &generation).await;
        assert_eq!(generation["attempts"][0]["model"], by, "{tool} {params}");
        world.assert_charged(&id).await;
    }
}

/// No provider has a key.
fn without_keys() -> Setting {
    let catalog = Catalog::built_in().expect("loads");
    let keys = catalog.providers().filter_map(|provider| Some(provider.http()?.key_env.clone()));
    let environment = keys.map(|name| (&*name.leak(), String::new())).collect();
    Setting { environment, ..Setting::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_works_without_a_key() {
    let world = World::with(without_keys()).await;
    let media = Media::upload(&world).await;
    for (tool, params, _) in media.orders() {
        let id = order(&world, tool, &params).await;
        let generation = world.steps_until_ended(&id, STEP).await;
        looks_right(&world, tool, &generation).await;
        assert!(["local", "placeholder"].contains(&generation["provider"].as_str().expect("a name")), "{generation:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_may_choose_the_model() {
    let world = World::start().await;
    let ask = async |body: Value| world.post("/v1/generations", &body).await;
    let by = async |reply: Reply| {
        assert_eq!(reply.status, 202, "{:?}", reply.body);
        let generation = world.steps_until_ended(reply.body["id"].as_str().expect("an id"), STEP).await;
        assert_eq!(generation["status"], "succeeded", "{generation:#}");
        (generation["attempts"][0]["model"].as_str().expect("a model").to_owned(), generation["cost"].as_u64().expect("a price"))
    };
    let params = json!({"prompt": "a fox", "format": "portrait"});
    let own = by(ask(json!({"tool": "create", "model": "seedream", "params": params})).await).await;
    assert_eq!(own, ("fal/fal-ai/bytedance/seedream/v4/text-to-image".to_owned(), 4));
    // One that the tool does not have, with what it knows itself.
    let other = by(ask(json!({"tool": "create", "model": "image-01", "params": {"prompt": "a fox"}})).await).await;
    assert_eq!(other, ("minimax/image-01".to_owned(), 1));
    let extended = json!({
        "tool": "create", "prompt_syntax": "extended",
        "params": {"prompt": "лиса | model=fal-ai/flux/dev | size=1024x768"},
    });
    assert_eq!(by(ask(extended).await).await, ("fal/fal-ai/flux/dev".to_owned(), 4));
    let before = world.balance().await;
    for (body, code, param) in [
        (json!({"params": {}}), "missing_param", "model"),
        (json!({"tool": "paint", "params": {}}), "unknown_tool", "tool"),
        (json!({"tool": "flux", "params": {}}), "unknown_tool", "tool"),
        (json!({"tool": "create", "model": "hailuo", "params": {"prompt": "x"}}), "unknown_model", "model"),
        (json!({"tool": "create", "model": "nano-banana", "params": {"prompt": "x", "steps": 3}}), "invalid_param", "params"),
        (json!({"tool": "create", "params": {"prompt": "x", "format": "round"}}), "invalid_param", "params.format"),
        (
            json!({"tool": "create", "prompt_syntax": "extended", "params": {"prompt": "x | size=big"}}),
            "invalid_param",
            "params.prompt",
        ),
        (
            json!({"tool": "create", "prompt_syntax": "extended", "params": {"prompt": "x | model=none"}}),
            "unknown_model",
            "model",
        ),
        (
            json!({"tool": "create", "model": "seedream", "prompt_syntax": "extended", "params": {"prompt": "x | model=flux"}}),
            "invalid_param",
            "model",
        ),
        (json!({"tool": "create", "prompt_syntax": "loud", "params": {"prompt": "x"}}), "invalid_param", "prompt_syntax"),
    ] {
        let reply = ask(body.clone()).await;
        let found = (reply.status, reply.body["code"].as_str(), reply.body["param"].as_str());
        assert_eq!(found, (422, Some(code), Some(param)), "{body}: {:?}", reply.body);
    }
    assert_eq!(world.balance().await, before, "a refusal costs nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_for_a_tool_is_for_the_model_that_was_chosen() {
    let world = World::start().await;
    let ask = json!({"tool": "create", "model": "nano-banana", "params": {"prompt": "a fox"}});
    let quote = world.post("/v1/quotes", &ask).await;
    assert_eq!((quote.status, &quote.body["credits"]), (200, &json!(5)), "{:?}", quote.body);
    let redeem = async |model: &str| {
        let body = json!({"tool": "create", "model": model, "params": {"prompt": "a fox"}, "quote": quote.body["quote"]});
        world.post("/v1/generations", &body).await
    };
    assert_eq!(redeem("nano-banana-pro").await.body["code"], "quote_mismatch");
    let accepted = redeem("nano-banana").await;
    assert_eq!((accepted.status, &accepted.body["cost"]), (202, &json!(5)), "{:?}", accepted.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_are_translated_for_models_that_read_english_only() {
    for text_model in ["text", ""] {
        let setting = Setting { environment: vec![("TEXT_MODEL", text_model.to_owned())], ..Setting::default() };
        let world = World::with(setting).await;
        let ask = json!({"tool": "create", "model": "seedream", "params": {"prompt": "лиса в снегу"}});
        let id = world.post("/v1/generations", &ask).await.body["id"].as_str().expect("an id").to_owned();
        let generation = world.steps_until_ended(&id, STEP).await;
        assert_eq!(generation["status"], "succeeded", "{generation:#}");
        assert_eq!(generation["params"]["prompt"], "лиса в снегу", "the order stays as it was");
        let preparation = &generation["attempts"][0]["preparations"][0];
        assert_eq!((&preparation["param"], &preparation["purpose"]), (&json!("prompt"), &json!("translate")), "{generation:#}");
        let sent = world.stack.simulators.journal().submits("fal")[0].body["prompt"].clone();
        if text_model.is_empty() {
            assert_eq!((&sent, &preparation["text"]), (&json!("лиса в снегу"), &Value::Null));
        } else {
            assert_eq!(sent, preparation["text"]);
            assert_ne!(sent, "лиса в снегу");
            assert_eq!(preparation["by"], "openrouter/google/gemini-3.8-flash");
        }
        // A model that reads any language gets what was written.
        let ask = json!({"tool": "create", "model": "nano-banana", "params": {"prompt": "лиса в снегу"}});
        let id = world.post("/v1/generations", &ask).await.body["id"].as_str().expect("an id").to_owned();
        let generation = world.steps_until_ended(&id, STEP).await;
        assert_eq!(generation["attempts"][0].get("preparations"), None, "{generation:#}");
    }
}

/// A photo of a few megapixels that no JPEG makes small at once: every pixel is another one.
fn noisy(side: u32, format: image::ImageFormat) -> Vec<u8> {
    let mut seed = 7_u32;
    let picture = image::RgbImage::from_fn(side, side, |_, _| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [_, r, g, b] = seed.to_be_bytes();
        image::Rgb([r, g, b])
    });
    let mut out = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut out, format).expect("encoded");
    out.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_compressed_and_left_over_by_nobody() {
    let world = World::start().await;
    let large = noisy(1_400, image::ImageFormat::Png);
    assert!(large.len() > 4_000_000);
    let large = world.upload("image/png", large).await;
    let small = world.upload("image/jpeg", sample("photo.jpg")).await;
    let id = order(&world, "edit", &json!({"prompt": "add a cat", "images": [large, small]})).await;
    let generation = world.steps_until_ended(&id, STEP).await;
    assert_eq!(generation["status"], "succeeded", "{generation:#}");
    let preparations = generation["attempts"][0]["preparations"].as_array().expect("a list");
    assert_eq!(preparations.len(), 1, "the small one goes as it is: {generation:#}");
    assert_eq!((&preparations[0]["asset_id"], &preparations[0]["content_type"]), (&json!(large), &json!("image/jpeg")));
    assert!(preparations[0]["bytes"].as_u64().is_some_and(|bytes| bytes <= 4_000_000), "{generation:#}");
    world.until_nothing_is_left("prepared/").await;
    // What it was made of is still there.
    assert_eq!(world.get(&format!("/v1/assets/{large}")).await.body["status"], "ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_formats_are_converted_for_who_takes_png_alone() {
    let world = World::start().await;
    let webp = world.upload("image/webp", sample("cat.webp")).await;
    let id = order(&world, "upscale", &json!({"image": webp})).await;
    let generation = world.steps_until_ended(&id, STEP).await;
    looks_right(&world, "upscale", &generation).await;
    assert_eq!(generation["attempts"][0]["preparations"][0]["content_type"], "image/png", "{generation:#}");
}

/// What becomes of an analysis, and whether the text model is at hand to put a document right.
const ANALYSES: [(&str, &str, &str); 8] = [
    ("", "text", "succeeded"),
    ("[[fenced]]", "", "succeeded"),
    ("[[chatty]]", "", "succeeded"),
    ("[[incomplete]]", "text", "succeeded"),
    ("[[incomplete]]", "", "failed provider_failed"),
    ("[[unwilling]]", "text", "failed provider_failed"),
    ("[[moderate]]", "text", "failed moderated"),
    ("[[throttle=2]] [[retry_after=20s]]", "text", "succeeded"),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_analysis_ends_as_it_should_and_its_video_is_gone() {
    for (instruction, text_model, end) in ANALYSES {
        let setting = Setting { environment: vec![("TEXT_MODEL", text_model.to_owned())], ..Setting::default() };
        let world = World::with(setting).await;
        let video = world.upload("video/mp4", sample("video.mp4")).await;
        let mut params = json!({"video": video, "language": "uk"});
        if !instruction.is_empty() {
            params["instruction"] = instruction.into();
        }
        let id = order(&world, "analyze", &params).await;
        let generation = world.steps_until_ended(&id, STEP).await;
        let class = generation["error"]["class"].as_str().map(|class| format!(" {class}")).unwrap_or_default();
        let status = generation["status"].as_str().unwrap_or_default();
        assert_eq!(format!("{status}{class}"), end, "{instruction}: {generation:#}");
        if status == "succeeded" {
            looks_right(&world, "analyze", &generation).await;
            world.assert_charged(&id).await;
        } else {
            world.assert_released(&id).await;
        }
        world.until_nothing_is_left_of(&video).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canceled_analysis_leaves_no_video() {
    let world = World::with(Setting::idle()).await;
    let video = world.upload("video/mp4", sample("video.mp4")).await;
    let id = order(&world, "analyze", &json!({"video": video})).await;
    assert_eq!(world.post(&format!("/v1/generations/{id}/cancel"), &json!({})).await.status, 200);
    world.until_nothing_is_left_of(&video).await;
    let kept = world.upload("video/mp4", sample("video.mp4")).await;
    let id = order(&world, "analyze", &json!({"video": kept, "keep_video": true})).await;
    assert_eq!(world.post(&format!("/v1/generations/{id}/cancel"), &json!({})).await.status, 200);
    world.pass(Duration::from_secs(300)).await;
    world.at_rest().await;
    assert_eq!(world.get(&format!("/v1/assets/{kept}")).await.body["status"], "ready");
}
