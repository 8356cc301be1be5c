//! Results: fetched from where it is safe, up to a size, again when a link has expired, and never through much memory.

use std::path::{Path, PathBuf};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use futures_util::stream;
use serde_json::Value;
use tests::{PATIENCE, Process, Setting, World, free_port, serve};

use crate::PROVIDERS;

const PROGRAM: &str = env!("CARGO_BIN_EXE_darkroom-under-test");

/// Every file under a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

async fn world_on(folder: &tempfile::TempDir, max_result_bytes: u64) -> World {
    let environment = vec![("MAX_RESULT_BYTES", max_result_bytes.to_string())];
    World::with(Setting { data: Some(folder.path().to_owned()), environment, ..Setting::default() }).await
}

async fn assert_lost(world: &World, folder: &tempfile::TempDir, id: &str) -> Value {
    let done = world.minutes_until_ended(id).await;
    assert_eq!((&done["status"], &done["error"]["class"]), (&"failed".into(), &"result_lost".into()), "{done:#}");
    world.at_rest().await;
    let left = files(&folder.path().join("s3"));
    assert!(left.is_empty(), "left in the bucket: {left:?}");
    world.assert_released(id).await;
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_into_a_private_network_is_not_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = world_on(&folder, 1_000_000).await;
    for (model, _) in PROVIDERS {
        for fault in ["[[private_link]]", "[[private_link]] [[no_callback]]"] {
            let id = world.create(model, &format!("a fox {fault}")).await;
            let done = assert_lost(&world, &folder, &id).await;
            assert!(done["error"]["message"].as_str().expect("a message").contains("not public"), "{done:#}");
            assert!(!done.to_string().contains("10.0.0.1"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_over_the_cap_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = world_on(&folder, 1_000_000).await;
    for (model, _) in PROVIDERS {
        let id = world.create(model, "a fox [[huge=5MB]]").await;
        let done = assert_lost(&world, &folder, &id).await;
        assert!(done["error"]["message"].as_str().expect("a message").contains("1000000"), "{done:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_tell_the_size_is_cut_off_at_the_cap() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = world_on(&folder, 20_000_000).await;
    let endless = get(async || {
        let start = Bytes::from_static(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
        let pieces =
            stream::unfold(
                start,
                |piece| async move { Some((Ok::<_, std::io::Error>(piece), Bytes::from_static(&[0; 65_536]))) },
            );
        Body::from_stream(pieces)
    });
    let (media, _server) = serve(Router::new().route("/out.png", endless)).await;
    let id = world.create("flux-schnell", "a fox [[delay=5m]]").await;
    let job = world.job(&id).await;
    let message = World::success("replicate", &job, &format!("{media}/out.png"));
    let signed = world.sign("replicate", &message, world.stack.clock.now());
    assert_eq!(world.deliver(&world.callback_url("replicate", &id), &signed).await.status, 200);
    let done = world.ended(&id).await;
    assert!(done["error"]["message"].as_str().expect("a message").contains("20000000"), "{done:#}");
    assert_lost(&world, &folder, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_link_is_asked_for_anew() {
    let world = World::start().await;
    for (model, _) in PROVIDERS {
        for fault in ["[[expired_link]]", "[[expired_link]] [[no_callback]]"] {
            let id = world.create(model, &format!("a fox {fault}")).await;
            let done = world.minutes_until_ended(&id).await;
            assert_eq!(done["status"], "succeeded", "{done:#}");
            world.download(&done["results"][0]["url"]).await;
            world.assert_charged(&id).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stdout, reason = "the figure is wanted")]
async fn a_result_of_300_mb_takes_no_more_memory_than_a_small_one() {
    const HUGE: u64 = 300_000_000;
    let folder = tempfile::tempdir().expect("a folder");
    let product = Process::start(PROGRAM, folder.path(), free_port(), &[]).await;
    let small = product.create("flux-schnell", "a fox").await;
    assert_eq!(product.ended(&small).await["status"], "succeeded");

    product.reset_peak();
    let before = product.resident_kib();
    let id = product.create("flux-schnell", "a fox [[huge=300MB]]").await;
    // A program that is not optimized needs a while for that much.
    let done = product.ended_within(&id, 5 * PATIENCE).await;
    let growth = product.peak_kib().saturating_sub(before);
    println!("300 MB took {} MiB more than the {} MiB before", growth / 1_024, before / 1_024);
    assert_eq!((&done["status"], done["results"][0]["bytes"].as_u64()), (&"succeeded".into(), Some(HUGE)), "{done:#}");
    assert!(growth < 64 * 1_024, "{growth} KiB more");
    let stored = files(&folder.path().join("s3"));
    assert!(stored.iter().any(|path| path.metadata().is_ok_and(|file| file.len() == HUGE)), "{stored:?}");
    product.audit().await;
}
