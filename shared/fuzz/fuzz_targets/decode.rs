//! What is decoded is as large as the probe said, and within its memory.

#![no_main]

use std::io::Cursor;

use shared::media::{Limit, decode, fit, probe};

/// Small enough for many tries a second.
const BUDGET_BYTES: u64 = 20_000_000;

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    let facts = probe(Cursor::new(file), file.len() as u64);
    if let Ok(picture) = decode(file, BUDGET_BYTES) {
        let facts = facts.expect("what is decoded was accepted");
        assert_eq!((facts.width, facts.height), (picture.width(), picture.height()));
        let _fitted = fit(file, Limit { bytes: file.len() / 2 });
    }
});
