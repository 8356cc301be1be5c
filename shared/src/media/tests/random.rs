//! Whatever the bytes are, there is an answer.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::make::{self, corners, file, oriented, png_header, progressive};
use super::video::{Clip, webm};
use super::*;

/// Small, so that thousands are tried in seconds.
fn good() -> Vec<Vec<u8>> {
    let delays = vec![(25, 1024), (25, 0)];
    vec![
        oriented(Format::Jpeg, 6, true),
        oriented(Format::Png, 3, false),
        oriented(Format::Webp, 8, true),
        progressive(40, 24),
        file(&corners().into(), image::ImageFormat::Png),
        // Lossy.
        CAT.to_vec(),
        Clip { edits: vec![1000, 1000], delays, ..Clip::default() }.file(),
        Clip::default().fragmented(0),
        webm(),
        MOV.to_vec(),
        WEBM[..6000].to_vec(),
    ]
}

#[derive(Debug, Clone)]
enum Change {
    Byte(Index, u8),
    Word(Index, u32),
    Cut(Index),
    Repeat(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    // Numbers that tables are broken with.
    let word = select(vec![0, 1, 7, 8, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, u32::MAX - 7, u32::MAX]);
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        4 => (any::<Index>(), word).prop_map(|(at, word)| Change::Word(at, word)),
        1 => any::<Index>().prop_map(Change::Cut),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Repeat(from, to)),
    ]
}

/// Most of what there is to break lies at the beginning.
fn at(index: &Index, length: usize, near: bool) -> usize {
    index.index(if near { length.min(700) } else { length }.max(1))
}

fn changed(mut file: Vec<u8>, changes: &[Change], near: bool) -> Vec<u8> {
    for change in changes {
        let length = file.len();
        match change {
            Change::Byte(index, byte) => file[at(index, length, near)] = *byte,
            Change::Word(index, word) => {
                let from = at(index, length, near);
                let count = (length - from).min(4);
                file[from..from + count].copy_from_slice(&word.to_be_bytes()[..count]);
            }
            Change::Cut(index) => file.truncate(at(index, length, false).max(1)),
            Change::Repeat(from, to) => {
                let (from, to) = (at(from, length, near), at(to, length, near));
                let part = file[from.min(to)..from.max(to)].to_vec();
                file.splice(from..from, part);
            }
        }
    }
    file
}

/// What the probe accepts is either decoded to the size it said, or refused.
fn try_everything(file: &[u8]) {
    let found = look(file);
    let _refused = fit(file, Limit { bytes: file.len() / 2 });
    if let (Ok(facts), Ok(picture)) = (found, decode(file, 20_000_000)) {
        assert_eq!((facts.width, facts.height), (picture.width(), picture.height()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_never_a_panic(start in select(vec![
        &b""[..], b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBPVP8 ", b"RIFF\x40\0\0\0WEBPVP8L", b"RIFF\x40\0\0\0WEBPVP8X",
        b"\0\0\0\x10ftypisom\0\0\0\0\0\0\x01\0moov", b"\0\0\0\x10ftypqt  \0\0\0\0\0\0\x01\0moov\0\0\0\xc0trak\0\0\0\xa0mdia",
        b"\x1a\x45\xdf\xa3\x87\x42\x82\x84webm\x18\x53\x80\x67\xff",
    ]), rest in vec(any::<u8>(), 0..400)) {
        try_everything(&[start, &rest].concat());
    }

    #[test]
    fn broken_files_are_never_a_panic(file in select(good()), near in any::<bool>(), changes in vec(change(), 1..6)) {
        try_everything(&changed(file, &changes, near));
    }

    #[test]
    fn claimed_sizes_are_never_allocated(width in any::<u32>(), height in any::<u32>(), depth in select(vec![1, 8, 16]), colour in select(vec![0, 2, 3, 4, 6])) {
        let png = [png_header(width, height, depth, colour), make::chunk(b"IDAT", &[0; 50]), make::chunk(b"IEND", &[])].concat();
        try_everything(&png);
    }
}
