//! Whatever the bytes are, the probe gives an answer.

#![no_main]

use std::io::Cursor;

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    let _answer = shared::media::probe(Cursor::new(file), file.len() as u64);
});
