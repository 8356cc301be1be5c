//! What was measured: as a table, as JSON, and compared with what was measured before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::measure::{Starts, Times};

/// A binary or an archive may be larger than before by this factor.
const SIZE: f64 = 1.10;
/// Memory, too.
const MEMORY: f64 = 1.25;
/// Times are compared by the fastest start, in multiples of what the machine takes to run a program that does nothing. Even so they differ
/// between machines, so that only what is plainly wrong is found by them.
const TIME: f64 = 4.0;

/// Everything that one run measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Of each function.
    pub(crate) starts_each: usize,
    /// To run `true` and wait for its end.
    pub(crate) spawn_ms: Times,
    pub(crate) functions: BTreeMap<String, Measured>,
}

/// One function.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) binary_bytes: usize,
    /// One entry, deflate at its best level.
    pub(crate) zip_bytes: usize,
    /// None: only its sizes were asked for.
    #[serde(flatten)]
    pub(crate) starts: Option<Starts>,
}

fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

impl Report {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut text =
            String::from("| function | init ms | first call ms | RSS ready MiB | RSS after MiB | binary MB | zip MB |\n");
        text.push_str("|---|---:|---:|---:|---:|---:|---:|\n");
        let times = |times: &Times| format!("{:.1} ({:.1})", times.median, times.fastest);
        let none = || "–".to_owned();
        for (name, measured) in &self.functions {
            let (binary, zip) = (megabytes(measured.binary_bytes), megabytes(measured.zip_bytes));
            let starts = measured.starts.as_ref();
            let init = starts.map_or_else(none, |starts| times(&starts.init_ms));
            let call = starts.and_then(|starts| starts.first_call_ms.as_ref()).map_or_else(none, times);
            let ready = starts.map_or_else(none, |starts| format!("{:.1}", starts.rss_ready_mib));
            let after = starts.map_or_else(none, |starts| format!("{:.1}", starts.rss_after_mib));
            text.push_str(&format!("| {name} | {init} | {call} | {ready} | {after} | {binary:.1} | {zip:.2} |\n"));
        }
        let (starts, spawn) = (self.starts_each, &self.spawn_ms);
        text.push_str(&format!(
            "\nMedians of {starts} starts, the fastest in parentheses. To run `true` takes {:.1} ms ({:.1}).\n",
            spawn.median, spawn.fastest
        ));
        text
    }

    /// What is worse than in `before`, in sentences. Functions that were not measured then are not compared.
    pub(crate) fn worse_than(&self, before: &Self) -> Vec<String> {
        let mut worse = Vec::new();
        for (name, now) in &self.functions {
            let Some(then) = before.functions.get(name) else { continue };
            let mut compare = |what: &str, now: f64, then: f64, most: f64, unit: &str| {
                if now > then * most {
                    worse.push(format!("`{name}`: {what} is {now:.2} {unit}, {:.2} times what it was ({then:.2})", now / then));
                }
            };
            compare("the binary", megabytes(now.binary_bytes), megabytes(then.binary_bytes), SIZE, "MB");
            compare("the archive", megabytes(now.zip_bytes), megabytes(then.zip_bytes), SIZE, "MB");
            let (Some(now), Some(then)) = (&now.starts, &then.starts) else { continue };
            compare("memory at rest", now.rss_ready_mib, then.rss_ready_mib, MEMORY, "MiB");
            compare("memory after an event", now.rss_after_mib, then.rss_after_mib, MEMORY, "MiB");
            let (spawn, spawn_then) = (self.spawn_ms.fastest, before.spawn_ms.fastest);
            compare("the start", now.init_ms.fastest / spawn, then.init_ms.fastest / spawn_then, TIME, "spawns");
            if let (Some(now), Some(then)) = (&now.first_call_ms, &then.first_call_ms) {
                compare("the first call", now.fastest / spawn, then.fastest / spawn_then, TIME, "spawns");
            }
        }
        worse
    }
}
