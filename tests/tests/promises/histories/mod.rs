//! Random histories of accounts on the real table: two processes with memories of their own, the wire cut before or after any call, answers
//! that are lost, callers who ask again. At the end everything due is looked at until nothing is, and the auditor reads what the table says.
//!
//! `DARKROOM_TABLE_HISTORIES=2000` plays more of them, as `.ci/run` does. A history that fails is one line with its seed; `DARKROOM_SEED=<seed>`
//! plays it again and tells it. The choices are the same then; which of two parallel writers wins may differ.
#![allow(clippy::disallowed_methods, reason = "tests read how often, and with which seed, from the environment")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tests::{Setting, World};
use tokio::task::JoinSet;

mod operators;
mod story;

use story::{Lines, Story};

/// About a minute of two cores, unoptimised.
const HISTORIES: u64 = 100;
/// So many are played at once: the table answers one of them while the others think.
const AT_ONCE: usize = 4;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("`{variable}` is a whole number, not `{text}`")))
}

/// The line that a failing history ends with.
fn replay_command(seed: u64) -> String {
    format!("DARKROOM_SEED={seed} cargo test -p tests --test promises histories -- --nocapture")
}

/// What it tells of itself, when asked; or why it must not have happened.
async fn play(world: &Arc<World>, lines: &Arc<Lines>, seed: u64, trace: bool, forged: bool) -> Result<Vec<String>, String> {
    let (world, lines) = (Arc::clone(world), Arc::clone(lines));
    let told = tokio::spawn(async move {
        let mut story = Story::begin(&world, &lines, seed, trace).await;
        story.live().await;
        let mut statement = story.ends().await;
        if forged {
            statement.entries[0].amount = shared::credits::Credits::MAX;
        }
        statement.audit();
        story.told
    });
    told.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_owned()),
        Err(error) => error.to_string(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_history_on_the_real_table_makes_or_loses_a_credit() {
    let world = Arc::new(World::with(Setting::idle()).await);
    if let Some(seed) = number("DARKROOM_SEED") {
        match play(&world, &Arc::new(Lines::of(&world)), seed, true, false).await {
            Ok(told) => eprintln!("{}", told.join("\n")),
            Err(failure) => panic!("{failure}\n{}", replay_command(seed)),
        }
        return;
    }
    let histories = number("DARKROOM_TABLE_HISTORIES").unwrap_or(HISTORIES);
    let next = Arc::new(AtomicU64::new(0));
    let mut players = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (world, next) = (Arc::clone(&world), Arc::clone(&next));
        players.spawn(async move {
            let lines = Arc::new(Lines::of(&world));
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= histories {
                    return Ok(());
                }
                play(&world, &lines, seed, false, false).await.map_err(|failure| (seed, failure))?;
            }
        });
    }
    while let Some(player) = players.join_next().await {
        if let Err((seed, failure)) = player.expect("its panics are caught") {
            panic!("{failure}\n{}", replay_command(seed));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_tells_its_history_again_and_a_forged_entry_is_noticed() {
    let world = Arc::new(World::with(Setting::idle()).await);
    let lines = Arc::new(Lines::of(&world));
    let told = play(&world, &lines, 7, true, false).await.expect("an honest history");
    let again = play(&world, &lines, 7, true, false).await.expect("an honest history");
    // Times and ids are others, and so may be what comes of a race: what is done first is the same.
    let first = |told: &[String]| told.iter().take(3).map(|line| line.split(' ').next().map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!((first(&told).len(), first(&told)), (3, first(&again)), "{told:#?}\n{again:#?}");
    let failure = play(&world, &lines, 7, false, true).await.expect_err("forged");
    assert!(failure.contains("the changes do not fit the kind"), "{failure}");
    assert!(replay_command(7).starts_with("DARKROOM_SEED=7 cargo test "));
}
