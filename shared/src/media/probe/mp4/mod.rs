//! MP4 and QuickTime (ISO/IEC 14496-12): boxes.
//!
//! Written for hostile files: the index is read as a slice of at most [`MAX_INDEX_BYTES`], no table is copied, and whatever a count says,
//! work is bounded by the bytes that are there. The parsers on crates.io index and allocate by the file's own counts.

mod boxes;
mod fragment;
mod samples;
mod track;

use std::io::{BufRead, Seek};

use super::source::Source;
use super::{MAX_VIDEO_SIDE_PX, Moving, Unfit};
use boxes::{Boxes, Fields, Parsed};
use fragment::Defaults;
use track::Track;

/// Largest `moov` or `moof`, in bytes. Three minutes with sound take less than one megabyte.
const MAX_INDEX_BYTES: u64 = 16_000_000;
/// A fragment a frame, with its data and an index beside it, for three minutes.
const MAX_TOP_BOXES: u32 = 100_000;
const MAX_TRACKS: usize = 64;

/// What the boxes that matter say.
struct Movie {
    tracks: Vec<Track>,
    defaults: Vec<Defaults>,
    /// Ticks of [`Movie::timescale`] that a header or a list of edits gives.
    ticks: u64,
    timescale: u32,
}

pub(super) fn read<R: BufRead + Seek>(source: &mut Source<R>) -> Result<Moving, Unfit> {
    let (mut movie, mut has_data, mut data_end) = (None, false, 0);
    for count in 0.. {
        if source.left() == 0 {
            break;
        }
        if count >= MAX_TOP_BOXES {
            return Err(source.damaged("it has too many boxes"));
        }
        let start = source.at();
        let (kind, length) = top_box(source)?;
        match &kind {
            b"moov" if movie.is_none() => {
                let index = index(source, length)?;
                movie = Some(parse_movie(&index).map_err(|problem| source.damaged(problem))?);
            }
            b"moov" => return Err(source.damaged("it has two indexes")),
            b"moof" => {
                let index = index(source, length)?;
                let Some(movie) = &mut movie else {
                    return Err(source.damaged("a fragment comes before its index"));
                };
                let end = fragment::read(&index, start, &mut movie.tracks, &movie.defaults);
                data_end = data_end.max(end.map_err(|problem| source.damaged(problem))?);
            }
            b"mdat" => {
                has_data |= length > 0;
                source.skip(length, "the end of its frames")?;
            }
            _ => source.skip(length, "the end of a box")?,
        }
    }
    let movie = movie.ok_or_else(|| source.truncated("its index (`moov`)"))?;
    judge(source, &movie, has_data, data_end)
}

/// A box's name and the length of its content.
fn top_box<R: BufRead + Seek>(source: &mut Source<R>) -> Result<([u8; 4], u64), Unfit> {
    const END: &str = "the end of a box";
    let length = u32::from_be_bytes(source.array(END)?);
    let kind = source.array(END)?;
    let (length, header) = match length {
        0 => return Ok((kind, source.left())),
        1 => (u64::from_be_bytes(source.array(END)?), 16),
        length => (length.into(), 8),
    };
    let content = length.checked_sub(header).ok_or_else(|| source.damaged("a box is shorter than its header"))?;
    Ok((kind, content))
}

fn index<R: BufRead + Seek>(source: &mut Source<R>, length: u64) -> Result<Vec<u8>, Unfit> {
    if length > source.left() {
        return Err(source.truncated("the end of its index"));
    }
    if length > MAX_INDEX_BYTES {
        return Err(source.damaged("its index is larger than any that three minutes need"));
    }
    source.bytes(length, "the end of its index")
}

fn parse_movie(index: &[u8]) -> Parsed<Movie> {
    let mut movie = Movie { tracks: Vec::new(), defaults: Vec::new(), ticks: 0, timescale: 0 };
    for child in Boxes(index) {
        match child? {
            (b"mvhd", content) => {
                let (timescale, ticks) = boxes::times(content)?;
                movie.timescale = timescale;
                movie.ticks = movie.ticks.max(ticks);
            }
            (b"trak", content) => {
                let track = track::read(content)?;
                movie.ticks = movie.ticks.max(track.movie_ticks);
                movie.tracks.push(track);
                if movie.tracks.len() > MAX_TRACKS {
                    return Err("it has too many tracks");
                }
            }
            (b"mvex", content) => {
                for child in Boxes(content) {
                    match child? {
                        (b"trex", content) if movie.defaults.len() < MAX_TRACKS => movie.defaults.push(Defaults::read(content)?),
                        (b"mehd", content) => movie.ticks = movie.ticks.max(whole_duration(content)?),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if !boxes::is_timescale(movie.timescale) {
        return Err("its timescale is out of range");
    }
    Ok(movie)
}

/// `mehd`: how long all fragments together are.
fn whole_duration(content: &[u8]) -> Parsed<u64> {
    let mut fields = Fields(content);
    let [version, ..] = fields.array::<4>()?;
    if version == 1 { fields.u64() } else { fields.u32().map(u64::from) }
}

fn judge<R: BufRead + Seek>(source: &Source<R>, movie: &Movie, has_data: bool, data_end: u64) -> Result<Moving, Unfit> {
    let mut videos = movie.tracks.iter().filter(|track| track.is_video);
    let video = videos.clone().find(|track| track.frames() > 0).or_else(|| videos.next());
    let video = video.ok_or(Unfit::NoVideoTrack { content_type: source.content_type })?;
    if movie.tracks.iter().any(|track| track.is_external) {
        return Err(source.unsupported("frames that lie in other files"));
    }
    let data_end = movie.tracks.iter().map(|track| track.data_end).max().unwrap_or(0).max(data_end);
    if !has_data || data_end > source.end() {
        return Err(source.truncated("the end of its frames"));
    }
    let mut duration_ms = milliseconds(movie.ticks, movie.timescale);
    for track in &movie.tracks {
        duration_ms = duration_ms.max(milliseconds(track.ticks(), track.timescale));
    }
    // The one that is played gives the size, but none may be beyond the limit.
    if let Some(track) = movie.tracks.iter().find(|track| track.is_video && track.width.max(track.height) > MAX_VIDEO_SIDE_PX) {
        return Err(Unfit::TooManyPixels { width: track.width, height: track.height });
    }
    Ok(Moving { width: video.width, height: video.height, orientation: video.orientation, duration_ms, frames: video.frames() })
}

fn milliseconds(ticks: u64, timescale: u32) -> u64 {
    let timescale = u128::from(timescale.max(1));
    u64::try_from((u128::from(ticks) * 1000 + timescale / 2) / timescale).unwrap_or(u64::MAX)
}
