//! Files that lie, stop early, or are something else: each is refused with its code, and nothing panics.

use image::ImageFormat;

use super::make::{self, chunk, file, patched, png_header, png_with, riff, vp8x, webp};
use super::video::{CLUSTER, Clip, SEGMENT, atom, blocks, ebml, element, endless, info, tracks, webm, words};
use super::*;

#[track_caller]
fn check(cases: &[(&str, Vec<u8>, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .filter(|(_, file, expected)| code(file) != *expected)
        .map(|(name, file, expected)| format!("{name}: {:?}, not `{expected}`", look(file)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_no_media_is_named() {
    let names = [
        ("a zip", &b"PK\x03\x04\x14\0\0\0\x08\0"[..], "application/zip"),
        ("HTML", b"<!DOCTYPE html><html><body>photo.jpg</body></html>", "text/html"),
        ("SVG", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "image/svg+xml"),
        ("SVG behind a prologue", b"<?xml version='1.0'?>\n<!-- a photo -->\n<svg/>", "image/svg+xml"),
        ("PDF", b"%PDF-1.7\n1 0 obj", "application/pdf"),
        ("GIF", b"GIF89a\x01\0\x01\0\x80\0\0", "image/gif"),
        ("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
        ("AVIF", b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "image/avif"),
        ("3GP", b"\0\0\0\x18ftyp3gp5\0\0\0\x003gp5isom", "video/3gpp"),
        ("Matroska", &ebml(b"matroska"), "video/x-matroska"),
        ("a sentence", "Просто текст".as_bytes(), "text/plain"),
        ("noise", &[0x80, 0x81, 0, 1, 2, 3], "application/octet-stream"),
        ("one byte of a JPEG", &PHOTO[..1], "application/octet-stream"),
    ];
    for (name, file, expected) in names {
        let refusal = look(file).expect_err(name);
        assert!(matches!(&refusal, Unfit::NotMedia { found } if found == expected), "{name}: {refusal:?}");
    }
}

#[test]
fn files_of_another_length_than_announced_are_refused() {
    let refusal = |bytes| probe(Cursor::new(PHOTO), bytes).unwrap_err().code();
    assert_eq!(refusal(0), "empty");
    assert_eq!(refusal(PHOTO.len() as u64 + 1), "truncated");
    assert_eq!(refusal(MAX_IMAGE_BYTES + 1), "truncated");
    assert_eq!(refusal(MAX_VIDEO_BYTES + 1), "too_large");
    assert_eq!(refusal(u64::MAX), "too_large");
    assert_eq!(refusal(PHOTO.len() as u64 - 1), "truncated");
    let padded = [PHOTO, &vec![0; 50_000_001 - PHOTO.len()]].concat();
    assert_eq!(code(&padded), "too_large");
    assert_eq!(code(&padded[..50_000_000]), "accepted");
}

#[test]
fn files_cut_anywhere_are_not_whole() {
    let png = file(&make::corners().into(), ImageFormat::Png);
    let (clip, fragments) = (Clip::default().file(), Clip::default().fragmented(0));
    for (name, whole) in
        [("jpeg", PHOTO), ("webp", CAT), ("png", &png), ("mp4", MP4), ("mov", MOV), ("webm", WEBM), ("clip", &clip)]
    {
        let step = (whole.len() / 97).max(1);
        for end in (if whole == WEBM { 64 } else { 16 }..whole.len()).step_by(step).chain([whole.len() - 1]) {
            assert_eq!(code(&whole[..end]), "truncated", "{name} of {} bytes at {end}", whole.len());
        }
    }
    // Between two fragments nobody can tell; the rest is what was recorded until then.
    assert!(facts(&fragments[..fragments.len() - Clip::default().fragment(0, 10).len()]).frames == Some(40));
    assert_eq!(code(&fragments[..fragments.len() - 1]), "truncated");
}

#[test]
fn hostile_jpegs_are_refused() {
    let frame = PHOTO.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    let with_frame = |offset: usize, bytes: &[u8]| {
        let mut file = PHOTO.to_vec();
        file[frame + offset..frame + offset + bytes.len()].copy_from_slice(bytes);
        file
    };
    let header = &PHOTO[frame..frame + 19];
    let scan = [0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 0x55];
    let one_scan = [&[0xff, 0xd8][..], header, &scan, &[0xff, 0xd9]].concat();
    assert_eq!(code(&one_scan), "accepted");
    check(&[
        ("claims 50,000 x 50,000", with_frame(5, &[0xc3, 0x50, 0xc3, 0x50]), "too_many_pixels"),
        ("claims 12,001 in width", with_frame(5, &[0, 1, 0x2e, 0xe1]), "too_many_pixels"),
        ("claims no width", with_frame(7, &[0, 0]), "damaged"),
        ("claims no height", with_frame(5, &[0, 0]), "damaged"),
        ("twelve bits", with_frame(4, &[12]), "unsupported"),
        ("arithmetic coding", with_frame(1, &[0xc9]), "unsupported"),
        ("lossless", with_frame(1, &[0xc3]), "unsupported"),
        ("nine components", with_frame(9, &[9]), "damaged"),
        ("no sampling", with_frame(11, &[0]), "damaged"),
        ("two frames", [&[0xff, 0xd8][..], header, header, &scan, &[0xff, 0xd9]].concat(), "damaged"),
        ("a scan without a frame", [&[0xff, 0xd8][..], &scan, &[0xff, 0xd9]].concat(), "damaged"),
        ("nothing but ends", vec![0xff, 0xd8, 0xff, 0xd9], "truncated"),
        ("only its first marker", vec![0xff, 0xd8, 0xff], "truncated"),
        ("a frame without a scan", [&[0xff, 0xd8][..], header, &[0xff, 0xd9]].concat(), "truncated"),
        ("without an end", one_scan[..one_scan.len() - 2].to_vec(), "truncated"),
        ("a segment shorter than its length", vec![0xff, 0xd8, 0xff, 0xe0, 0, 1, 0xff, 0xd9], "damaged"),
        ("a segment longer than the file", vec![0xff, 0xd8, 0xff, 0xe1, 0xff, 0xff, 0, 0], "truncated"),
        ("nothing but fill bytes", [&[0xff, 0xd8][..], &[0xff; 5000]].concat(), "truncated"),
        ("a thousand scans", [&[0xff, 0xd8][..], header, &scan.repeat(1000), &[0xff, 0xd9]].concat(), "damaged"),
        (
            "nine megabytes of comments",
            [&[0xff, 0xd8][..], &[&[0xff, 0xfe, 0xff, 0xff][..], &[0; 65_533]].concat().repeat(140), &PHOTO[2..]].concat(),
            "too_much_metadata",
        ),
    ]);
}

#[test]
fn hostile_pngs_are_refused() {
    let end = chunk(b"IEND", &[]);
    let good = file(&make::corners().into(), ImageFormat::Png);
    check(&[
        ("claims 50,000 x 50,000", png_header(50_000, 50_000, 8, 6), "too_many_pixels"),
        ("claims 12,001 in height", png_header(1, 12_001, 8, 2), "too_many_pixels"),
        ("claims 2^32 - 1", png_header(u32::MAX, u32::MAX, 16, 6), "too_many_pixels"),
        ("claims no width", png_header(0, 5, 8, 2), "damaged"),
        ("a colour type that does not exist", png_header(5, 5, 8, 5), "damaged"),
        ("a depth that does not exist", png_header(5, 5, 3, 0), "damaged"),
        (
            "7,000 x 7,000 in ten bytes",
            [png_header(7000, 7000, 8, 2), chunk(b"IDAT", &[0; 10]), end.clone()].concat(),
            "truncated",
        ),
        ("no picture", [png_header(5, 5, 8, 2), end.clone()].concat(), "truncated"),
        ("a header alone", png_header(5, 5, 8, 2), "truncated"),
        ("two headers", png_with(&good[8..33]), "damaged"),
        ("animated", png_with(&chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0])), "animated"),
        ("animated without saying so", png_with(&chunk(b"fcTL", &[0; 26])), "animated"),
        ("a profile of nine megabytes", png_with(&chunk(b"iCCP", &vec![1; 9_000_000])), "too_much_metadata"),
        ("a text of nine megabytes", png_with(&chunk(b"zTXt", &vec![1; 9_000_000])), "too_much_metadata"),
        ("many texts", png_with(&chunk(b"tEXt", &[1; 100_000]).repeat(90)), "too_much_metadata"),
        ("a profile longer than the file", png_with(&[&[0x7f, 0xff, 0xff, 0xff][..], b"iCCP"].concat()), "too_much_metadata"),
        ("an orientation longer than the file", png_with(&[&[0, 0x70, 0, 0][..], b"eXIf"].concat()), "truncated"),
        ("a negative length", png_with(&[&[0xff; 4][..], b"tEXt"].concat()), "damaged"),
        ("a chunk without a name", png_with(&[0; 12]), "damaged"),
        ("another first chunk", [b"\x89PNG\r\n\x1a\n", &chunk(b"IDAT", &[0; 13])[..]].concat(), "damaged"),
    ]);
}

#[test]
fn hostile_webps_are_refused() {
    let lossless = file(&make::corners().into(), ImageFormat::WebP);
    let picture = &lossless[12..];
    // Sizes minus one, 14 bits each.
    let huge = |width: u32, height: u32| {
        riff(b"VP8L", &[&[0x2f][..], &((width - 1) | (height - 1) << 14).to_le_bytes(), &[0; 9]].concat())
    };
    check(&[
        ("claims 16,384 x 16,384", webp(&huge(16_384, 16_384)), "too_many_pixels"),
        ("claims 50,000 x 50,000", webp(&[vp8x(0, 50_000, 50_000), picture.to_vec()].concat()), "too_many_pixels"),
        ("lossy, claims 16,383 x 16,383", webp(&riff(b"VP8 ", b"\x10\0\0\x9d\x01\x2a\xff\x3f\xff\x3f")), "too_many_pixels"),
        ("lossy, no size", webp(&riff(b"VP8 ", b"\x10\0\0\x9d\x01\x2a\0\0\0\0")), "damaged"),
        ("lossy, no key frame", webp(&riff(b"VP8 ", b"\x11\0\0\x9d\x01\x2a\x10\0\x10\0")), "damaged"),
        ("lossy, no signature", webp(&riff(b"VP8 ", b"\x10\0\0\0\0\0\x10\0\x10\0")), "damaged"),
        ("a version that does not exist", webp(&riff(b"VP8L", &[0x2f, 0, 0, 0, 0xe0])), "damaged"),
        ("animated", webp(&[vp8x(2, 48, 32), riff(b"ANIM", &[0; 6])].concat()), "animated"),
        ("animated without saying so", webp(&[vp8x(0, 48, 32), riff(b"ANMF", &[0; 16])].concat()), "animated"),
        ("another canvas", webp(&[vp8x(0, 100, 100), picture.to_vec()].concat()), "damaged"),
        ("two pictures", webp(&[picture, picture].concat()), "damaged"),
        ("no picture", webp(&vp8x(0, 48, 32)), "truncated"),
        ("no chunk", webp(&[]), "truncated"),
        ("a picture of three bytes", webp(&riff(b"VP8L", &[0x2f, 0, 0])), "truncated"),
        ("a picture shorter than its header", webp(&[riff(b"VP8L", &[0x2f, 0]), vec![0; 20]].concat()), "damaged"),
        ("longer than the file", patched(&lossless, b"RIFF", 0, &[0xff; 4]), "truncated"),
        ("a chunk longer than the file", patched(&lossless, b"VP8L", 0, &[0xff; 4]), "truncated"),
        ("metadata of nine megabytes", webp(&[picture, &riff(b"XMP ", &vec![0; 9_000_000])].concat()), "too_much_metadata"),
    ]);
}

#[test]
fn hostile_mp4s_are_refused() {
    let clip = Clip::default();
    let good = clip.file();
    let billions = 0xffff_fff0_u32.to_be_bytes();
    let without_data = [clip.file_type(), atom(b"free", &[0; 500]), clip.index(true)].concat();
    let nested = (0..100_000).fold(Vec::new(), |inner: Vec<u8>, _| {
        let length = u32::try_from(inner.len() + 8).unwrap().to_be_bytes();
        // Written backwards, for speed.
        [inner, b"aorm".to_vec(), length.into_iter().rev().collect()].concat()
    });
    let nested: Vec<u8> = nested.into_iter().rev().collect();
    check(&[
        ("no index", [clip.file_type(), atom(b"mdat", &[0; 500])].concat(), "truncated"),
        ("no frames", without_data, "truncated"),
        ("two indexes", [good.clone(), clip.index(true)].concat(), "damaged"),
        ("an index of 17 megabytes", [clip.file_type(), atom(b"moov", &vec![0; 17_000_000])].concat(), "damaged"),
        ("an index that claims 4 gigabytes", patched(&good, b"moov", 0, &[0; 4])[..20].to_vec(), "truncated"),
        ("an empty index", [clip.file_type(), atom(b"mdat", &[0]), atom(b"moov", &[])].concat(), "damaged"),
        ("a box shorter than its header", [clip.file_type(), vec![0, 0, 0, 7], b"free".to_vec()].concat(), "damaged"),
        ("a box of 2^64 bytes", [clip.file_type(), vec![0, 0, 0, 1], b"free".to_vec(), vec![255; 8]].concat(), "truncated"),
        ("more boxes than a file needs", [clip.file_type(), atom(b"free", &[]).repeat(100_001)].concat(), "damaged"),
        ("nested a hundred thousand times", [clip.file_type(), atom(b"mdat", &[1]), atom(b"moov", &nested)].concat(), "damaged"),
        ("sizes of billions of frames", patched(&good, b"stsz", 8, &billions), "damaged"),
        ("billions of frames of one size", patched(&patched(&good, b"stsz", 8, &billions), b"stsz", 4, &[0, 0, 0, 1]), "damaged"),
        ("times for billions of frames", patched(&good, b"stts", 8, &billions), "damaged"),
        ("billions of rows of times", patched(&good, b"stts", 4, &billions), "damaged"),
        ("billions of delays", patched(&Clip { delays: vec![(50, 1)], ..clip.clone() }.file(), b"ctts", 4, &billions), "damaged"),
        ("billions of runs", patched(&good, b"stsc", 4, &billions), "damaged"),
        ("billions of chunks", patched(&good, b"stco", 4, &billions), "damaged"),
        ("no chunks", patched(&good, b"stco", 4, &[0; 4]), "damaged"),
        ("no runs", patched(&good, b"stsc", 4, &[0; 4]), "damaged"),
        ("empty chunks", patched(&good, b"stsc", 12, &[0; 4]), "damaged"),
        ("frames behind the file's end", patched(&good, b"stco", 8, &billions), "truncated"),
        ("a frame larger than the file", patched(&good, b"stsz", 12, &billions), "truncated"),
        ("frames in other files", Clip { is_self_contained: false, ..clip.clone() }.file(), "unsupported"),
        ("no video track", Clip { handler: *b"soun", ..clip.clone() }.file(), "no_video_track"),
        (
            "no track",
            [clip.file_type(), atom(b"mdat", &[1]), atom(b"moov", &atom(b"mvhd", &words(&[0, 0, 0, 1, 1])))].concat(),
            "no_video_track",
        ),
        ("no frames in the track", Clip { frames: 0, ..clip.clone() }.file(), "truncated"),
        ("no size", Clip { width: 0, ..clip.clone() }.file(), "damaged"),
        ("8,193 pixels wide", Clip { width: 8193, ..clip.clone() }.file(), "too_many_pixels"),
        ("65,535 pixels high", Clip { height: 65_535, ..clip.clone() }.file(), "too_many_pixels"),
        ("descriptions by the billion", patched(&good, b"stsd", 4, &billions), "damaged"),
        (
            "tracks by the hundred",
            [clip.file_type(), atom(b"mdat", &[1]), atom(b"moov", &clip.track(false).repeat(100))].concat(),
            "damaged",
        ),
    ]);
}

#[test]
fn videos_that_lie_about_time_are_refused() {
    let clip = Clip::default();
    let good = clip.file();
    let fragment = |at, frames| [clip.file_type(), clip.index(false), clip.fragment(0, 1), clip.fragment(at, frames)].concat();
    let trun = |count: u32| patched(&fragment(0, 1), b"trun", 4, &count.to_be_bytes());
    check(&[
        ("181 s by its frames", Clip { frames: 181 * 25, ..clip.clone() }.file(), "too_long"),
        ("180.501 s by its header", Clip { movie: (1000, 180_501), ..clip.clone() }.file(), "too_long"),
        ("180.5 s by its header", Clip { movie: (1000, 180_500), ..clip.clone() }.file(), "accepted"),
        ("181 s by its track's header", Clip { track: (12_800, 181 * 12_800), ..clip.clone() }.file(), "too_long"),
        ("181 s by its edits", Clip { edits: vec![1000; 181], ..clip.clone() }.file(), "too_long"),
        ("181 s by a delay", Clip { delays: vec![(49, 0), (1, 181 * 12_800)], ..clip.clone() }.file(), "too_long"),
        ("181 s by a negative delay", Clip { delays: vec![(1, -181 * 12_800), (49, 0)], ..clip.clone() }.file(), "too_long"),
        ("ends of time", patched(&good, b"stts", 12, &[0xff; 4]), "too_long"),
        ("no timescale", Clip { track: (0, 0), ..clip.clone() }.file(), "damaged"),
        ("no timescale of the movie", Clip { movie: (0, 0), ..clip.clone() }.file(), "damaged"),
        ("a negative timescale", Clip { track: (0x8000_0000, 0), ..clip.clone() }.file(), "damaged"),
        (
            "a timescale that makes it last no time",
            Clip { track: (0x7fff_ffff, 1), movie: (1000, 1), ..clip.clone() }.file(),
            "damaged",
        ),
        ("frames without time", Clip { ticks_a_frame: 0, movie: (1000, 0), track: (1000, 0), ..clip.clone() }.file(), "damaged"),
        ("a fragment after an hour", fragment(3600 * 12_800, 1), "too_long"),
        ("a fragment at the end of time", fragment(u32::MAX, 1), "too_long"),
        ("a fragment of billions of frames", trun(u32::MAX), "truncated"),
        ("a fragment whose frames are missing", trun(100), "truncated"),
        ("a fragment before the file", patched(&fragment(0, 1), b"trun", 8, &i32::MIN.to_be_bytes()), "damaged"),
        ("a fragment behind the file", patched(&fragment(0, 1), b"trun", 8, &i32::MAX.to_be_bytes()), "truncated"),
        ("a fragment of no track", patched(&fragment(0, 1), b"tfhd", 4, &[0, 0, 0, 9]), "damaged"),
        ("a fragment with missing rows", patched(&fragment(0, 1), b"trun", 0, &[0, 0, 3, 1]), "damaged"),
        ("a fragment before the index", [clip.file_type(), clip.fragment(0, 1), clip.index(false)].concat(), "damaged"),
        ("no fragment", [clip.file_type(), clip.index(false), atom(b"mdat", &[1])].concat(), "damaged"),
    ]);
}

#[test]
fn hostile_webms_are_refused() {
    let film = |parts: &[Vec<u8>]| [ebml(b"webm"), element(SEGMENT, &parts.concat())].concat();
    let (info_2s, picture) = (info(1_000_000, 2000.0), tracks(1, 320, 240));
    let cluster = element(CLUSTER, &blocks(0, &[0, 100]));
    let with_track = |track: Vec<u8>| film(&[info_2s.clone(), track, cluster.clone()]);
    let with_info = |info: Vec<u8>| film(&[info, picture.clone(), cluster.clone()]);
    let with_cluster = |cluster: Vec<u8>| film(&[info_2s.clone(), picture.clone(), cluster]);
    assert_eq!(code(&with_track(picture.clone())), "accepted");
    check(&[
        ("only sound", with_track(tracks(2, 320, 240)), "no_video_track"),
        ("no tracks", film(std::slice::from_ref(&info_2s)), "no_video_track"),
        ("no blocks", film(&[info_2s.clone(), picture.clone()]), "damaged"),
        ("no width", with_track(tracks(1, 0, 240)), "damaged"),
        ("50,000 pixels wide", with_track(tracks(1, 50_000, 240)), "too_many_pixels"),
        ("181 s by its header", with_info(info(1_000_000, 181_000.0)), "too_long"),
        ("181 s by its blocks", with_cluster(element(CLUSTER, &blocks(181_000, &[0]))), "too_long"),
        ("the end of time by its blocks", with_cluster(element(CLUSTER, &blocks(u64::MAX, &[0]))), "too_long"),
        ("an endless duration", with_info(info(1_000_000, f64::INFINITY)), "damaged"),
        ("a duration that is no number", with_info(info(1_000_000, f64::NAN)), "damaged"),
        ("a negative duration", with_info(info(1_000_000, -1.0)), "damaged"),
        ("no timescale", with_info(info(0, 2000.0)), "damaged"),
        ("a huge timescale", with_info(info(u64::MAX, 2000.0)), "damaged"),
        (
            "a timescale that makes it last no time",
            film(&[info(1, 1.0), picture.clone(), element(CLUSTER, &blocks(0, &[0; 50]))]),
            "damaged",
        ),
        ("a block of another track", with_cluster(element(CLUSTER, &element(&[0xa3], &[0x85, 0, 0, 0, 1]))), "damaged"),
        ("a block of two bytes", with_cluster(element(CLUSTER, &element(&[0xa3], &[0x81, 0]))), "truncated"),
        (
            "an element that is longer than the file",
            with_cluster([CLUSTER, &[0x01, 0xff, 0xff, 0xff, 0xff, 0, 0, 0]].concat()),
            "truncated",
        ),
        ("an endless leaf", with_cluster(endless(&[0xec], &[0; 50])), "damaged"),
        ("a number of nine bytes", with_cluster(element(CLUSTER, &element(&[0xe7], &[0; 9]))), "damaged"),
        ("ids of nothing", with_cluster(vec![0; 50]), "damaged"),
        (
            "tracks by the thousand",
            with_track(element(&[0x16, 0x54, 0xae, 0x6b], &element(&[0xae], &[]).repeat(1000))),
            "damaged",
        ),
        ("a width before the track", film(&[element(&[0xb0], &[1])]), "damaged"),
        ("two segments", [webm(), element(SEGMENT, &[])].concat(), "damaged"),
        ("more elements than a film needs", with_cluster([0xec, 0x80].repeat(1_000_001)), "damaged"),
        (
            "a header longer than headers are",
            [&[0x1a, 0x45, 0xdf, 0xa3, 0x4f, 0xff][..], b"webm", &[0; 5000]].concat(),
            "damaged",
        ),
        (
            "Matroska that mentions WebM",
            [element(&[0x1a, 0x45, 0xdf, 0xa3], &element(&[0xec], b"webm")), vec![0; 9]].concat(),
            "not_media",
        ),
    ]);
}
