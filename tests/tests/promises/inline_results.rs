//! Results that come inside the answer to the submit: kept once, shown as they are, and never lost though there is no second answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use shared::api::AssetStatus;
use shared::assets::Asset;
use shared::clock::Clock;
use shared::ids::AssetId;
use tests::{PATIENCE, Setting, World};

const MINUTE: Duration = Duration::from_secs(60);

fn submits(world: &World, provider: &str) -> usize {
    world.stack.simulators.journal().submits(provider).len()
}

fn attempts(generation: &Value) -> usize {
    generation["attempts"].as_array().map_or(0, Vec::len)
}

/// It ended well, was bought once and is paid for; its results.
async fn results(world: &World, provider: &str, id: &str) -> Vec<Value> {
    let done = world.ended(id).await;
    assert_eq!((&done["status"], attempts(&done)), (&"succeeded".into(), 1), "{done:#}");
    assert_eq!(submits(world, provider), 1);
    world.assert_charged(id).await;
    done["results"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_inside_the_answer_are_kept_as_they_are() {
    for (model, provider, params, count) in [
        ("gpt-image", "openai", json!({"prompt": "a fox", "count": 2, "width": 1024, "height": 1024}), 2),
        ("stable-image-core", "stability", json!({"prompt": "a fox"}), 1),
        ("stable-diffusion-2-1", "huggingface", json!({"prompt": "a fox"}), 1),
        ("gemini-image", "gemini", json!({"prompt": "a fox"}), 1),
        ("flash-image", "openrouter", json!({"prompt": "a fox"}), 1),
    ] {
        let world = World::start().await;
        let id = world.create_with(model, params).await;
        let results = results(&world, provider, &id).await;
        assert_eq!(results.len(), count, "{model}");
        for result in &results {
            let file = world.download(&result["url"]).await;
            assert_eq!(result["bytes"].as_u64(), Some(file.len() as u64));
            assert!(result["content_type"].as_str().is_some_and(|kind| kind.starts_with("image/")), "{result}");
            assert!(image::load_from_memory(&file).is_ok(), "{model}: not a picture");
            assert!(result["text"].is_null());
            let asset = world.get(&format!("/v1/assets/{}", result["asset_id"].as_str().expect("an id"))).await;
            assert_eq!((asset.status, &asset.body["status"]), (200, &"ready".into()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_shown_and_kept() {
    for (model, provider, kind) in [
        ("gemini-flash", "gemini", "text/plain"),
        ("gemini/json", "gemini", "application/json"),
        ("flash-text", "openrouter", "text/plain"),
        ("flash-text/json", "openrouter", "application/json"),
    ] {
        let world = World::start().await;
        let id = world.create(model, "What does the fox say?").await;
        let results = results(&world, provider, &id).await;
        let text = results[0]["text"].as_str().expect("a text");
        assert!(!text.is_empty());
        assert!(results[0]["content_type"].as_str().is_some_and(|own| own.starts_with(kind)), "{results:?}");
        assert_eq!(world.download(&results[0]["url"]).await, text.as_bytes());
        if kind == "application/json" {
            serde_json::from_str::<Value>(text).expect("it is JSON");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_after_keeping_a_paid_answer_loses_nothing() {
    for (model, provider) in [("gpt-image-flare", "openai"), ("gemini-flash", "gemini")] {
        let world = World::start().await;
        let id = world.create(model, "a fox [[delay=2m]]").await;
        world.journal(|journal| journal.submits(provider).len() == 1).await;
        // The answer comes, its results are put into the bucket, and then nobody can write that down.
        world.wire.sever();
        world.later(2 * MINUTE);
        world.journal(|journal| journal.submits(provider)[0].status == 200).await;
        let gone = async {
            while world.queues().depth("DispatchQueue").in_flight == 0 || !has_note(&world, &id).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("the results are kept");
        let given_up = async {
            while world.wire.severed() < 3 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, given_up).await.expect("it is tried again and again");
        world.wire.mend();
        let done = world.minutes_until_ended(&id).await;
        assert_eq!((&done["status"], attempts(&done)), (&"succeeded".into(), 1), "{done:#}");
        assert_eq!(submits(&world, provider), 1, "bought twice");
        world.assert_charged(&id).await;
    }
}

/// Whether the results of the first attempt are in the bucket, with the note that tells so.
async fn has_note(world: &World, id: &str) -> bool {
    world.stack.backend.bucket.get(&format!("staged/{id}/1.json"), 1_000_000).await.is_ok()
}

/// A bucket that takes nothing: a file lies where its folder should be.
struct Broken {
    bucket: PathBuf,
    away: PathBuf,
}

impl Broken {
    fn bucket(data: &Path) -> Self {
        let (bucket, away) = (data.join("s3/darkroom"), data.join("away"));
        std::fs::rename(&bucket, &away).expect("renamed");
        std::fs::write(&bucket, "not a folder").expect("written");
        Self { bucket, away }
    }

    fn repair(&self) {
        std::fs::remove_file(&self.bucket).expect("removed");
        std::fs::rename(&self.away, &self.bucket).expect("renamed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_answer_that_cannot_be_kept_is_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::with(Setting { data: Some(folder.path().to_owned()), ..Setting::default() }).await;
    let bucket = Broken::bucket(folder.path());
    let id = world.create("stable-image-core", "a fox").await;
    let lost = world.until(&id, |generation| generation["phase"] == "unconfirmed").await;
    assert_eq!(lost["unconfirmed"]["reason"], "results_not_kept", "{lost:#}");
    world.assert_held(&id).await;
    bucket.repair();
    let done = world.minutes_until_ended(&id).await;
    assert_eq!((&done["status"], &done["error"]["class"], attempts(&done)), (&"failed".into(), &"expired".into(), 1));
    assert_eq!(submits(&world, "stability"), 1);
    world.assert_released(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_back_in_time_costs_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Some(Clock::stopped(Clock::system().now()));
    let world = World::with(Setting { data: Some(folder.path().to_owned()), clock, ..Setting::default() }).await;
    let bucket = Broken::bucket(folder.path());
    let id = world.create("stable-image-core", "a fox [[delay=0ms]]").await;
    world.journal(|journal| journal.submits("stability").first().is_some_and(|submit| submit.status == 200)).await;
    // Time stands still: however slow the machine is, no more than the first of three tries has come by now.
    bucket.repair();
    // Each step is longer than the pause before the second one, and all together are shorter than the claim's lease.
    for _ in 0..240 {
        if world.generation(&id).await["phase"] != "submitting" {
            break;
        }
        world.later(Duration::from_millis(250));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let done = world.ended(&id).await;
    assert_eq!((&done["status"], attempts(&done)), (&"succeeded".into(), 1), "{done:#}");
    world.assert_charged(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_large_is_not_paid_for() {
    let environment = vec![("MAX_RESULT_BYTES", "1000".to_owned())];
    let world = World::with(Setting { environment, ..Setting::default() }).await;
    let id = world.create("stable-image-core", "a fox").await;
    let done = world.ended(&id).await;
    assert_eq!((&done["status"], &done["error"]["class"]), (&"failed".into(), &"provider_failed".into()), "{done:#}");
    assert!(done["error"]["message"].as_str().is_some_and(|message| message.contains("1000")), "{done:#}");
    assert_eq!((submits(&world, "stability"), attempts(&done)), (1, 1));
    world.assert_released(&id).await;

    // Larger than any answer of this provider is read.
    let world = World::start().await;
    let id = world.create("stable-image-core", "a fox [[huge=200MB]]").await;
    let done = world.minutes_until_ended(&id).await;
    assert_eq!((&done["status"], attempts(&done), submits(&world, "stability")), (&"failed".into(), 1, 1), "{done:#}");
    world.assert_released(&id).await;
}

/// A video of the given size: the beginning of an MP4 and zero bytes.
fn video(bytes: usize) -> Vec<u8> {
    let mut file = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom".to_vec();
    file.resize(bytes, 0);
    file
}

/// Files an asset past the upload of its bytes.
async fn put_asset(world: &World, content_type: &str, file: Vec<u8>) -> String {
    let backend = &world.stack.backend;
    let (unix_ms, random) = backend.id_parts();
    let id = AssetId::from_parts(unix_ms, random);
    let announced = Asset::announced(id, world.account, content_type.to_owned(), file.len() as u64, SignedDuration::ZERO);
    let key = format!("media/{}/{id}/video.mp4", world.account);
    let asset = Asset { status: AssetStatus::Ready, expires_at: None, due_at: None, key, ..announced };
    backend.bucket.put(&asset.key, file, content_type).await.expect("stored");
    backend.store.put_asset(&asset, None).await.expect("filed");
    id.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_video_is_handed_over_before_the_question() {
    let world = World::start().await;
    for (bytes, uploaded) in [(100_000, 0), (15_000_000, 2)] {
        let before = world.stack.simulators.journal().uploads("gemini").len();
        let video = put_asset(&world, "video/mp4", video(bytes)).await;
        let id = world.create_with("gemini/json", json!({"prompt": "What is in it?", "video": video})).await;
        let done = world.steps_until_ended(&id, Duration::from_secs(1)).await;
        assert_eq!((&done["status"], attempts(&done)), (&"succeeded".into(), 1), "{done:#}");
        let uploads = world.stack.simulators.journal().uploads("gemini");
        assert_eq!(uploads.len() - before, uploaded, "{uploads:?}");
        let submit = world.stack.simulators.journal().submits("gemini").pop().expect("it was asked");
        assert_eq!(submit.body.to_string().contains("fileUri"), uploaded > 0);
        world.assert_charged(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pictures_travel_in_one_form() {
    let world = World::start().await;
    let images = [world.upload("image/jpeg", World::photo()).await, world.upload("image/jpeg", World::photo()).await];
    let id = world.create_with("gpt-image-edit", json!({"prompt": "merge them", "images": images})).await;
    assert_eq!(results(&world, "openai", &id).await.len(), 1);
    let submit = world.stack.simulators.journal().submits("openai").pop().expect("it was asked");
    let parts = submit.body["image[]"].as_array().expect("two parts of one name").clone();
    assert_eq!(parts.len(), 2);
    for part in parts {
        assert_eq!((&part["content_type"], part["bytes"].as_u64()), (&"image/jpeg".into(), Some(World::photo().len() as u64)));
    }
}
