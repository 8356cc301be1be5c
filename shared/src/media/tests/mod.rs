//! What [`super`] promises, tried on real files, on files made here, and on hostile ones.

mod compress;
mod facts;
mod hostile;
mod make;
mod pixels;
mod random;
mod video;

use std::io::Cursor;

use super::*;

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../events/media/", $name))
    };
}

const PHOTO: &[u8] = sample!("photo.jpg");
const PORTRAIT: &[u8] = sample!("portrait.jpg");
const CAT: &[u8] = sample!("cat.webp");
const MP4: &[u8] = sample!("video.mp4");
const MOV: &[u8] = sample!("video.mov");
const WEBM: &[u8] = sample!("video.webm");

fn look(file: &[u8]) -> Result<Facts, Unfit> {
    probe(Cursor::new(file), file.len() as u64)
}

#[track_caller]
fn facts(file: &[u8]) -> Facts {
    look(file).unwrap_or_else(|error| panic!("{error}"))
}

fn code(file: &[u8]) -> &'static str {
    match look(file) {
        Ok(_) => "accepted",
        Err(error) => error.code(),
    }
}
