//! `moof`: a fragment's samples.

use super::boxes::{Boxes, Fields, Parsed};
use super::track::Track;

/// `trex`: what a track's fragments say when they say nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Defaults {
    track: u32,
    duration: u32,
    size: u32,
}

impl Defaults {
    pub(super) fn read(content: &[u8]) -> Parsed<Self> {
        let mut fields = Fields(content);
        fields.skip(4)?;
        let track = fields.u32()?;
        fields.skip(4)?;
        Ok(Self { track, duration: fields.u32()?, size: fields.u32()? })
    }
}

/// Adds a fragment, whose box begins at `start`, to its tracks. Gives the end of its data, in bytes of the file.
pub(super) fn read(moof: &[u8], start: u64, tracks: &mut [Track], defaults: &[Defaults]) -> Parsed<u64> {
    let (mut end, mut at) = (0, start);
    for child in Boxes(moof) {
        if let (b"traf", content) = child? {
            at = track_fragment(content, start, at, tracks, defaults)?;
            end = end.max(at);
        }
    }
    Ok(end)
}

struct Header {
    track: u32,
    base: u64,
    duration: u32,
    size: u32,
}

/// `previous_end`: where the data of the track fragment before ended. Gives where this one's ends.
fn track_fragment(traf: &[u8], start: u64, previous_end: u64, tracks: &mut [Track], defaults: &[Defaults]) -> Parsed<u64> {
    let mut header = None;
    let mut decode_time = None;
    for child in Boxes(traf) {
        match child? {
            (b"tfhd", content) => header = Some(fragment_header(content, start, previous_end, defaults)?),
            (b"tfdt", content) => {
                let mut fields = Fields(content);
                let [version, ..] = fields.array::<4>()?;
                decode_time = Some(if version == 1 { fields.u64()? } else { fields.u32()?.into() });
            }
            _ => {}
        }
    }
    let header = header.ok_or("a fragment does not name its track")?;
    let track = tracks.iter_mut().find(|track| track.id == header.track).ok_or("a fragment is of a track that does not exist")?;
    let begin = decode_time.or(track.fragments.span.map(|(_, end)| end)).unwrap_or(track.indexed_ticks());
    let (mut at, mut end, mut time) = (header.base, header.base, begin);
    for child in Boxes(traf) {
        let (b"trun", content) = child? else { continue };
        let run = run(content, &header)?;
        if let Some(offset) = run.data_offset {
            at = header.base.checked_add_signed(offset.into()).ok_or("a fragment's data lies before the file")?;
        }
        at = at.saturating_add(run.bytes);
        end = end.max(at);
        time = time.saturating_add(run.ticks);
        track.fragments.samples = track.fragments.samples.saturating_add(run.samples);
    }
    let (first, last) = track.fragments.span.unwrap_or((begin, time));
    track.fragments.span = Some((first.min(begin), last.max(time)));
    Ok(end)
}

fn fragment_header(content: &[u8], start: u64, previous_end: u64, defaults: &[Defaults]) -> Parsed<Header> {
    let mut fields = Fields(content);
    let flags = fields.u32()?;
    let track = fields.u32()?;
    let default = defaults.iter().find(|default| default.track == track).copied().unwrap_or_default();
    let base = match flags {
        _ if flags & 0x01 != 0 => fields.u64()?,
        _ if flags & 0x2_0000 != 0 => start,
        // Of the first one in a fragment it is the fragment's own start.
        _ => previous_end,
    };
    if flags & 0x02 != 0 {
        fields.skip(4)?;
    }
    let duration = if flags & 0x08 != 0 { fields.u32()? } else { default.duration };
    let size = if flags & 0x10 != 0 { fields.u32()? } else { default.size };
    Ok(Header { track, base, duration, size })
}

struct Run {
    samples: u64,
    ticks: u64,
    bytes: u64,
    data_offset: Option<i32>,
}

fn run(content: &[u8], header: &Header) -> Parsed<Run> {
    let mut fields = Fields(content);
    let flags = fields.u32()?;
    let count = fields.u32()?;
    let data_offset = if flags & 0x01 != 0 { Some(fields.i32()?) } else { None };
    if flags & 0x04 != 0 {
        fields.skip(4)?;
    }
    let (has_durations, has_sizes) = (flags & 0x100 != 0, flags & 0x200 != 0);
    let columns = (flags & 0xf00).count_ones();
    let samples = u64::from(count);
    let mut run =
        Run { samples, ticks: samples * u64::from(header.duration), bytes: samples * u64::from(header.size), data_offset };
    if columns == 0 {
        return Ok(run);
    }
    let row_bytes = usize::try_from(columns * 4).unwrap_or(16);
    let rows = usize::try_from(count).ok().and_then(|count| fields.0.get(..count.checked_mul(row_bytes)?));
    let rows = rows.ok_or("a table has fewer rows than it counts")?.chunks_exact(row_bytes);
    if has_durations {
        run.ticks = 0;
    }
    if has_sizes {
        run.bytes = 0;
    }
    for row in rows {
        let mut fields = Fields(row);
        if has_durations {
            run.ticks = run.ticks.saturating_add(fields.u32()?.into());
        }
        if has_sizes {
            run.bytes = run.bytes.saturating_add(fields.u32()?.into());
        }
    }
    Ok(run)
}
