//! What is said of files that are taken.

use image::{GrayImage, ImageFormat};

use super::make::{self, exif, file, patched};
use super::video::{CLUSTER, Clip, SEGMENT, blocks, ebml, element, endless, info, tracks, words};
use super::*;

fn is(facts: &Facts, content_type: &str, width: u32, height: u32) -> bool {
    (facts.content_type.as_str(), facts.width, facts.height) == (content_type, width, height)
}

#[test]
fn real_files_are_what_they_are_whatever_their_name() {
    for (file, content_type, width, height) in
        [(PHOTO, "image/jpeg", 600, 400), (PORTRAIT, "image/jpeg", 512, 512), (CAT, "image/webp", 451, 300)]
    {
        let facts = facts(file);
        assert!(is(&facts, content_type, width, height), "{facts:?}");
        assert_eq!((facts.orientation, facts.duration_ms, facts.frames), (1, None, None));
    }
    for (file, content_type, width, height, ms, frames) in [
        (MP4, "video/mp4", 854, 480, 5000, 125),
        (MOV, "video/quicktime", 426, 240, 3000, 75),
        (WEBM, "video/webm", 426, 240, 3000, 75),
    ] {
        let facts = facts(file);
        assert!(is(&facts, content_type, width, height), "{facts:?}");
        assert!(facts.duration_ms.is_some_and(|duration| duration.abs_diff(ms) < 50), "{facts:?}");
        assert_eq!(facts.frames, Some(frames));
    }
}

#[test]
fn other_parsers_agree_about_good_videos() {
    let made = Clip::default();
    for file in [MP4.to_vec(), MOV.to_vec(), made.file(), made.fragmented(0)] {
        let other = re_mp4::Mp4::read_bytes(&file).unwrap();
        let track = other.tracks().values().find(|track| track.width > 0).unwrap();
        let facts = facts(&file);
        assert_eq!(facts.frames, Some(track.samples.len() as u64));
        // It gives the size on the screen, in whole pixels of a square shape.
        assert!(facts.width.abs_diff(track.width.into()) <= 1 && facts.height == u32::from(track.height), "{facts:?}");
        let ms = track.samples.iter().map(|sample| sample.duration).sum::<u64>() * 1000 / track.timescale;
        assert!(facts.duration_ms.unwrap().abs_diff(ms) < 50, "{facts:?}, {ms} ms");
    }
    let mut other = matroska_demuxer::MatroskaFile::open(Cursor::new(WEBM)).unwrap();
    let facts = facts(WEBM);
    let ms = other.info().duration().unwrap();
    assert!((2950.0..=3050.0).contains(&ms), "{ms} ms");
    let (mut frame, mut frames) = (matroska_demuxer::Frame::default(), 0);
    while other.next_frame(&mut frame).unwrap() {
        frames += 1;
    }
    assert_eq!(facts.frames, Some(frames));
}

#[test]
fn sizes_are_given_upright_for_every_orientation_format_and_byte_order() {
    for format in [Format::Jpeg, Format::Png, Format::Webp] {
        for orientation in 1..=8 {
            for is_little in [true, false] {
                let facts = facts(&make::oriented(format, orientation, is_little));
                let (width, height) = if orientation < 5 { (48, 32) } else { (32, 48) };
                assert!(is(&facts, format.content_type(), width, height), "{facts:?}");
                assert_eq!(facts.orientation, orientation);
            }
        }
    }
}

#[test]
fn damaged_orientation_leaves_a_photo_as_it_is() {
    let good = make::oriented(Format::Jpeg, 6, true);
    let at = good.windows(4).position(|window| window == b"II\x2a\0").unwrap();
    for (offset, bytes) in [(0, &b"XX"[..]), (4, &[255; 4]), (8, &[0, 0]), (12, &[9]), (18, &[9]), (18, &[0])] {
        let mut file = good.clone();
        file[at + offset..at + offset + bytes.len()].copy_from_slice(bytes);
        assert_eq!(facts(&file).orientation, 1, "{offset}");
    }
    assert_eq!(exif(6, true).len(), exif(6, false).len());
}

#[test]
fn rotation_of_a_video_is_given_like_a_photos() {
    const ONE: i32 = 0x1_0000;
    for (matrix, orientation) in [
        ([ONE, 0, 0, ONE], 1),
        ([-ONE, 0, 0, -ONE], 3),
        ([0, ONE, -ONE, 0], 6),
        ([0, -ONE, ONE, 0], 8),
        ([-ONE, 0, 0, ONE], 2),
        ([0, ONE, ONE, 0], 5),
    ] {
        let facts = facts(&Clip { matrix, ..Clip::default() }.file());
        let (width, height) = if orientation < 5 { (320, 240) } else { (240, 320) };
        assert!(is(&facts, "video/mp4", width, height), "{facts:?}");
        assert_eq!(facts.orientation, orientation);
    }
}

#[test]
fn whatever_follows_a_whole_image_is_let_be() {
    let png = file(&GrayImage::new(5, 7).into(), ImageFormat::Png);
    for file in [PHOTO, CAT, &png] {
        assert_eq!(facts(&[file, b"trailing bytes \xff\xd9"].concat()), facts(file));
    }
}

#[test]
fn duration_is_the_longest_that_anything_says() {
    let clip = Clip::default();
    let ms = |clip: &Clip| facts(&clip.file()).duration_ms.unwrap();
    assert_eq!(ms(&clip), 2000);
    // Headers that make it shorter than its frames change nothing; those that make it longer are believed.
    assert_eq!(ms(&Clip { movie: (1000, 1), track: (12_800, 1), ..clip.clone() }), 2000);
    assert_eq!(ms(&Clip { movie: (1000, 9000), ..clip.clone() }), 9000);
    assert_eq!(ms(&Clip { movie: (1000, u32::MAX), ..clip.clone() }), 2000);
    assert_eq!(ms(&Clip { track: (12_800, 128_000), ..clip.clone() }), 10_000);
    // An edit that shows it three times, and a last frame that is shown a minute after it is decoded.
    assert_eq!(ms(&Clip { edits: vec![2000; 3], ..clip.clone() }), 6000);
    assert_eq!(ms(&Clip { delays: vec![(49, 0), (1, 60 * 12_800)], ..clip.clone() }), 62_000);
    // A delay that all frames share is none.
    assert_eq!(ms(&Clip { delays: vec![(50, 1024)], ..clip.clone() }), 2000);
}

#[test]
fn fragments_are_counted_wherever_they_begin() {
    let clip = Clip { movie: (1000, 0), track: (12_800, 0), ..Clip::default() };
    for first in [0, 12_800 * 3600] {
        let facts = facts(&clip.fragmented(first));
        assert!(is(&facts, "video/mp4", 320, 240));
        assert_eq!((facts.duration_ms, facts.frames), (Some(2000), Some(50)), "{first}");
    }
}

#[test]
fn fragments_with_columns_are_added_up() {
    let clip = Clip { movie: (1000, 0), track: (1000, 0), frames: 2, ..Clip::default() };
    // Durations and sizes for each of two frames, without a place: right behind the fragment's start.
    let run = video::atom(b"trun", &words(&[0x300, 2, 700, 8, 900, 9]));
    let header = video::atom(b"tfhd", &words(&[0x2_0000, 1]));
    let moof = video::atom(b"moof", &video::atom(b"traf", &[header, run].concat()));
    let file = [clip.file_type(), clip.index(false), moof, video::atom(b"mdat", &[1])].concat();
    let facts = facts(&file);
    assert_eq!((facts.duration_ms, facts.frames), (Some(1600), Some(2)));
}

#[test]
fn webm_of_unknown_length_is_measured_by_its_blocks() {
    let clusters = [endless(CLUSTER, &blocks(0, &[0, 500])), endless(CLUSTER, &blocks(1000, &[0, 750]))].concat();
    let segment = [info(1_000_000, 0.0), tracks(1, 320, 240), clusters].concat();
    let facts = facts(&[ebml(b"webm"), endless(SEGMENT, &segment)].concat());
    assert!(is(&facts, "video/webm", 320, 240));
    assert_eq!((facts.duration_ms, facts.frames), (Some(1750), Some(4)));
}

#[test]
fn webm_that_states_too_little_is_measured_by_its_blocks() {
    let stated = |units| {
        let segment = [info(1_000_000, units), tracks(1, 320, 240), element(CLUSTER, &blocks(5000, &[0, 40]))].concat();
        facts(&[ebml(b"webm"), element(SEGMENT, &segment)].concat()).duration_ms
    };
    assert_eq!(stated(1.0), Some(5040));
    assert_eq!(stated(7000.0), Some(7000));
}

#[test]
fn facts_go_through_json_and_come_back() {
    for file in [PHOTO, MP4] {
        let facts = facts(file);
        let json = serde_json::to_value(&facts).unwrap();
        assert_eq!(json.get("duration_ms").is_some(), facts.is_video());
        assert_eq!(serde_json::from_value::<Facts>(json).unwrap(), facts);
    }
}

#[test]
fn refusals_show_the_value_and_say_what_to_do() {
    let long = Clip { movie: (1000, 300_000), ..Clip::default() };
    let cases = [
        (make::png_header(50_000, 60_000, 8, 6), ["`50000x60000`", "send"]),
        (long.file(), ["`300000`", "at most 180 seconds"]),
        (b"%PDF-1.7\n%abc".to_vec(), ["`application/pdf`", "send a JPEG, PNG or WebP image"]),
        (PHOTO[..9000].to_vec(), ["`image/jpeg`", "send all of it"]),
        (patched(MP4, b"mvhd", 12, &[0; 4]), ["`video/mp4`", "save it anew"]),
    ];
    for (file, parts) in cases {
        let refusal = look(&file).unwrap_err().to_string();
        assert!(parts.iter().all(|part| refusal.contains(part)), "{refusal}");
    }
}
