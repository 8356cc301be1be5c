//! Random histories of one account, as deployed: several workers with memories and clocks of their own, one table with conditional writes,
//! messages that are lost, doubled and late, customers who ask twice, and operators. After each step the books are read; at the end the
//! poll alone brings everything to an end, and an auditor compares all that is said with the entries.
//!
//! `DARKROOM_HISTORIES=1000000` plays more of them. A history that fails is one line with its seed; `DARKROOM_SEED=<seed>` plays it
//! again and tells it step by step.
#![allow(clippy::disallowed_methods, reason = "tests read how often, and with which seed, from the environment")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use super::promises::{keeps_its_promises, landmarks};
use super::*;
use crate::audit::{Books, Random};
use crate::generation::Funds;
use crate::ids::ApiKeyId;
use crate::ledger::{AccountChange, EntryKind, LimitsChange, Posted, Refusal, SpendingLimits};

mod happenings;
mod operators;
mod table;
mod world;

use table::{Bug, Table};
use world::World;

/// Forty seconds of one core, unoptimised; two are used.
const HISTORIES: u64 = 100_000;

/// What has to be come across, or the histories are not worth much.
const LANDMARKS: [&str; 33] = [
    "queued",
    "submitting",
    "running",
    "unconfirmed",
    "collecting",
    "succeeded",
    "failed",
    "canceled",
    "canceling",
    "late under way",
    "late collecting",
    "late stored",
    "late lost",
    "second attempt",
    "in line",
    "next candidate",
    "resolved",
    "vouched for",
    "erasing",
    "erased",
    "decided on a stale record",
    "decided on stale counters",
    "an acceptance repeated",
    "two acceptances with one key at once",
    "a hold partly of credits that end",
    "ended while it was held",
    "ended unspent",
    "posted before an earlier time",
    "refused: suspended",
    "refused: key ended",
    "refused: limit",
    "refused: too few credits",
    "charged in part",
];

/// How one history went.
struct Told {
    seen: BTreeSet<&'static str>,
    steps: Vec<String>,
    /// Why it must not have happened.
    failure: Option<String>,
}

fn play(seed: u64, bug: Option<Bug>, trace: bool) -> Told {
    let mut world = World::new(seed, bug, trace);
    let played = catch_unwind(AssertUnwindSafe(|| world.live()));
    let failure = played.err().map(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    });
    Told { seen: world.seen, steps: world.steps.unwrap_or_default(), failure }
}

/// The line that a failing history ends with.
fn replay_command(seed: u64) -> String {
    format!("DARKROOM_SEED={seed} cargo test -p shared --no-default-features simulation -- --nocapture")
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("`{variable}` is a whole number, not `{text}`")))
}

/// Plays `seeds`; what was seen, and the first that failed.
fn play_all(seeds: impl Iterator<Item = u64>) -> (BTreeSet<&'static str>, Option<(u64, String)>) {
    let mut seen = BTreeSet::new();
    for seed in seeds {
        let told = play(seed, None, false);
        seen.extend(told.seen);
        if let Some(failure) = told.failure {
            return (seen, Some((seed, failure)));
        }
    }
    (seen, None)
}

#[test]
fn no_history_makes_or_loses_a_credit() {
    if let Some(seed) = number("DARKROOM_SEED") {
        let told = play(seed, None, true);
        eprintln!("{}", told.steps.join("\n"));
        return assert_eq!(told.failure, None, "{}", replay_command(seed));
    }
    let histories = number("DARKROOM_HISTORIES").unwrap_or(HISTORIES);
    let halves = std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| scope.spawn(move || play_all((half..histories).step_by(2))));
        halves.map(|half| half.join().expect("its panics are caught"))
    });
    let mut seen = BTreeSet::new();
    for (own, failed) in halves {
        seen.extend(own);
        if let Some((seed, failure)) = failed {
            panic!("{failure}\n{}", replay_command(seed));
        }
    }
    let missing: Vec<_> = LANDMARKS.iter().filter(|landmark| !seen.contains(*landmark)).collect();
    assert!(histories < 2_000 || missing.is_empty(), "the histories do not come to {missing:?}");
}

#[test]
fn every_deliberate_bug_is_found_soon_and_found_again_by_its_seed() {
    for bug in Bug::ALL {
        let found = (0..500).find(|seed| play(*seed, Some(bug), false).failure.is_some());
        let seed = found.unwrap_or_else(|| panic!("nobody notices {bug:?}"));
        let [once, again] = [false, true].map(|trace| play(seed, Some(bug), trace));
        assert_eq!(once.failure, again.failure, "{bug:?}: the seed tells another history");
        assert!(once.steps.is_empty() && !again.steps.is_empty(), "{bug:?}: the steps are told when they are asked for");
        assert_eq!(play(seed, None, false).failure, None, "{bug:?}: it is the bug that fails");
        assert!(replay_command(seed).starts_with(&format!("DARKROOM_SEED={seed} cargo test ")));
    }
}
