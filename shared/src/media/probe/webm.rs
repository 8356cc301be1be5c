//! WebM (RFC 9559 on RFC 8794): elements.

use std::io::{BufRead, Seek};
use std::time::Duration;

use super::source::Source;
use super::{MAX_VIDEO_SIDE_PX, Moving, Unfit};

/// Three minutes of 60 pictures and 50 pieces of sound a second are 20,000 blocks.
const MAX_ELEMENTS: u32 = 1_000_000;
const MAX_TRACKS: usize = 64;
const UNKNOWN: u64 = u64::MAX;

/// How long a number may be, in bytes.
const MAX_NUMBER_BYTES: u64 = 8;

mod id {
    pub(super) const EBML: u32 = 0x1a45_dfa3;
    pub(super) const DOC_TYPE: u32 = 0x4282;
    pub(super) const SEGMENT: u32 = 0x1853_8067;
    pub(super) const INFO: u32 = 0x1549_a966;
    pub(super) const TIMESTAMP_SCALE: u32 = 0x2a_d7b1;
    pub(super) const DURATION: u32 = 0x4489;
    pub(super) const TRACKS: u32 = 0x1654_ae6b;
    pub(super) const TRACK: u32 = 0xae;
    pub(super) const TRACK_NUMBER: u32 = 0xd7;
    pub(super) const TRACK_TYPE: u32 = 0x83;
    pub(super) const DEFAULT_DURATION: u32 = 0x23_e383;
    pub(super) const VIDEO: u32 = 0xe0;
    pub(super) const WIDTH: u32 = 0xb0;
    pub(super) const HEIGHT: u32 = 0xba;
    pub(super) const CLUSTER: u32 = 0x1f43_b675;
    pub(super) const TIMESTAMP: u32 = 0xe7;
    pub(super) const SIMPLE_BLOCK: u32 = 0xa3;
    pub(super) const BLOCK_GROUP: u32 = 0xa0;
    pub(super) const BLOCK: u32 = 0xa1;
    pub(super) const BLOCK_DURATION: u32 = 0x9b;
}

const VIDEO_TRACK: u64 = 1;

#[derive(Default)]
struct Track {
    number: u64,
    kind: u64,
    width: u64,
    height: u64,
    /// Of a frame, in nanoseconds; zero when it is not stated.
    frame_ns: u64,
    frames: u64,
}

/// What has been read so far. Elements are told apart by their ids alone, wherever they stand: those that matter exist on one level only.
struct Film {
    scale_ns: u64,
    /// In units of the scale.
    stated: f64,
    tracks: Vec<Track>,
    cluster_at: u64,
    /// The latest end of a block, in nanoseconds.
    end_ns: u128,
    /// Of the block that a duration would belong to, in nanoseconds.
    block_ns: u128,
}

pub(super) fn read<R: BufRead + Seek>(source: &mut Source<R>) -> Result<Moving, Unfit> {
    check_header(source)?;
    let mut film = Film { scale_ns: 1_000_000, stated: 0.0, tracks: Vec::new(), cluster_at: 0, end_ns: 0, block_ns: 0 };
    let mut has_segment = false;
    for count in 0.. {
        if source.left() == 0 {
            break;
        }
        if count >= MAX_ELEMENTS {
            return Err(source.damaged("it has too many elements"));
        }
        let (id, length) = element(source)?;
        if length != UNKNOWN && length > source.left() {
            return Err(source.truncated("the end of an element"));
        }
        match id {
            id::SEGMENT if has_segment => return Err(source.damaged("it has two segments")),
            id::SEGMENT => has_segment = true,
            // Entered: their children follow.
            id::INFO | id::TRACKS | id::VIDEO | id::CLUSTER | id::BLOCK_GROUP => {}
            id::TRACK if film.tracks.len() < MAX_TRACKS => film.tracks.push(Track::default()),
            id::TRACK => return Err(source.damaged("it has too many tracks")),
            _ if length == UNKNOWN => return Err(source.damaged("an element has no length")),
            _ => leaf(source, &mut film, id, length)?,
        }
    }
    film.judge(source)
}

/// The EBML header: `webm`, or we would not be here; but it has to say so itself.
fn check_header<R: BufRead + Seek>(source: &mut Source<R>) -> Result<(), Unfit> {
    let (header, length) = element(source)?;
    if header != id::EBML || length > 1000 {
        return Err(source.damaged("its header is none"));
    }
    let end = source.at() + length;
    let mut is_webm = false;
    while source.at() < end {
        let (id, length) = element(source)?;
        if length > end.saturating_sub(source.at()) {
            return Err(source.damaged("an element is longer than the one around it"));
        }
        let value = source.bytes(length, "the end of its header")?;
        is_webm |= id == id::DOC_TYPE && value.strip_suffix(b"\0").unwrap_or(&value) == b"webm";
    }
    if is_webm { Ok(()) } else { Err(Unfit::NotMedia { found: "video/x-matroska".to_owned() }) }
}

fn leaf<R: BufRead + Seek>(source: &mut Source<R>, film: &mut Film, id: u32, length: u64) -> Result<(), Unfit> {
    match id {
        id::DURATION => film.stated = float(source, length)?,
        id::SIMPLE_BLOCK | id::BLOCK => block(source, film, length)?,
        id::TIMESTAMP_SCALE | id::TIMESTAMP | id::BLOCK_DURATION => {
            let value = number(source, length)?;
            match id {
                id::TIMESTAMP_SCALE if value == 0 => return Err(source.damaged("its timescale is out of range")),
                id::TIMESTAMP_SCALE => film.scale_ns = value,
                id::TIMESTAMP => film.cluster_at = value,
                _ => {
                    let end = film.block_ns.saturating_add(u128::from(value) * u128::from(film.scale_ns));
                    film.end_ns = film.end_ns.max(end);
                }
            }
        }
        id::TRACK_NUMBER | id::TRACK_TYPE | id::DEFAULT_DURATION | id::WIDTH | id::HEIGHT => {
            let value = number(source, length)?;
            let Some(track) = film.tracks.last_mut() else {
                return Err(source.damaged("a track's data comes before the track"));
            };
            match id {
                id::TRACK_NUMBER => track.number = value,
                id::TRACK_TYPE => track.kind = value,
                id::DEFAULT_DURATION => track.frame_ns = value,
                id::WIDTH => track.width = value,
                _ => track.height = value,
            }
        }
        _ => source.skip(length, "the end of an element")?,
    }
    Ok(())
}

/// A block begins with its track's number, and its time from the cluster's.
fn block<R: BufRead + Seek>(source: &mut Source<R>, film: &mut Film, length: u64) -> Result<(), Unfit> {
    let begin = source.at();
    let number = variable(source)?.unwrap_or(0);
    let relative = i16::from_be_bytes(source.array("the end of a block")?);
    let Some(rest) = length.checked_sub(source.at() - begin) else {
        return Err(source.damaged("a block is shorter than its header"));
    };
    let Some(track) = film.tracks.iter_mut().find(|track| track.number == number) else {
        return Err(source.damaged("a block is of a track that does not exist"));
    };
    track.frames += 1;
    let units = film.cluster_at.saturating_add_signed(relative.into());
    film.block_ns = u128::from(units) * u128::from(film.scale_ns);
    film.end_ns = film.end_ns.max(film.block_ns + u128::from(track.frame_ns));
    source.skip(rest, "the end of a block")
}

impl Film {
    fn judge<R: BufRead + Seek>(&self, source: &Source<R>) -> Result<Moving, Unfit> {
        let mut videos = self.tracks.iter().filter(|track| track.kind == VIDEO_TRACK);
        let largest = videos.clone().max_by_key(|track| track.width.max(track.height));
        let video = videos.clone().find(|track| track.frames > 0).or_else(|| videos.next());
        let (Some(largest), Some(video)) = (largest, video) else {
            return Err(Unfit::NoVideoTrack { content_type: source.content_type });
        };
        let pixels = |side: u64| u32::try_from(side).unwrap_or(u32::MAX);
        if largest.width.max(largest.height) > MAX_VIDEO_SIDE_PX.into() {
            return Err(Unfit::TooManyPixels { width: pixels(largest.width), height: pixels(largest.height) });
        }
        let stated_ms = stated_ms(self.stated, self.scale_ns).ok_or_else(|| source.damaged("its duration is out of range"))?;
        let seen_ms = u64::try_from(self.end_ns.saturating_add(500_000) / 1_000_000).unwrap_or(u64::MAX);
        Ok(Moving {
            width: pixels(video.width),
            height: pixels(video.height),
            orientation: 1,
            duration_ms: stated_ms.max(seen_ms),
            frames: video.frames,
        })
    }
}

#[expect(clippy::float_arithmetic, reason = "WebM states its duration as a float; a millisecond more or less is nothing")]
fn stated_ms(units: f64, scale_ns: u64) -> Option<u64> {
    // A scale beyond 32 bits is more than four seconds a unit.
    let scale_ns = f64::from(u32::try_from(scale_ns).ok()?);
    let duration = Duration::try_from_secs_f64(units * scale_ns / 1e9).ok()?;
    u64::try_from(duration.saturating_add(Duration::from_micros(500)).as_millis()).ok()
}

/// An element's id, and its length or [`UNKNOWN`].
fn element<R: BufRead + Seek>(source: &mut Source<R>) -> Result<(u32, u64), Unfit> {
    let [first] = source.array("the end of an element")?;
    let more = first.leading_zeros();
    if more > 3 {
        return Err(source.damaged("an element has no id"));
    }
    let mut id = u32::from(first);
    for _ in 0..more {
        let [byte] = source.array("the end of an element")?;
        id = id << 8 | u32::from(byte);
    }
    Ok((id, variable(source)?.unwrap_or(UNKNOWN)))
}

/// A number whose first byte says how long it is; none if all its bits are ones.
fn variable<R: BufRead + Seek>(source: &mut Source<R>) -> Result<Option<u64>, Unfit> {
    let [first] = source.array("the end of an element")?;
    let more = first.leading_zeros();
    if more > 7 {
        return Err(source.damaged("a number is too long"));
    }
    let bits = 7 * (more + 1);
    let mut value = u64::from(first) & (0x7f_u64 >> more);
    for _ in 0..more {
        let [byte] = source.array("the end of an element")?;
        value = value << 8 | u64::from(byte);
    }
    Ok(Some(value).filter(|value| *value != (1 << bits) - 1))
}

fn number<R: BufRead + Seek>(source: &mut Source<R>, length: u64) -> Result<u64, Unfit> {
    if length > MAX_NUMBER_BYTES {
        return Err(source.damaged("a number is too long"));
    }
    Ok(source.bytes(length, "the end of a number")?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn float<R: BufRead + Seek>(source: &mut Source<R>, length: u64) -> Result<f64, Unfit> {
    match length {
        0 => Ok(0.0),
        4 => Ok(f32::from_be_bytes(source.array("its duration")?).into()),
        8 => Ok(f64::from_be_bytes(source.array("its duration")?)),
        _ => Err(source.damaged("its duration is out of range")),
    }
}
