//! `trak`: one track of a movie.

use super::boxes::{Boxes, Fields, Parsed, duration, times};
use super::samples::{self, Samples};

/// More descriptions than a track changes its encoding.
const MAX_DESCRIPTIONS: u32 = 64;

#[derive(Debug, Default)]
pub(super) struct Track {
    pub(super) id: u32,
    pub(super) is_video: bool,
    /// Pixels as stored; the largest of its descriptions.
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) orientation: u8,
    pub(super) timescale: u32,
    /// What its own header and its edits say, in ticks of the movie.
    pub(super) movie_ticks: u64,
    header_ticks: u64,
    samples: Samples,
    /// Some of its data lies in other files.
    pub(super) is_external: bool,
    /// Where the last byte of its samples in the index lies, and that of those in fragments.
    pub(super) data_end: u64,
    pub(super) fragments: Fragments,
}

/// What fragments add to a track.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    pub(super) samples: u64,
    /// The earliest and the latest time, in ticks.
    pub(super) span: Option<(u64, u64)>,
}

impl Track {
    pub(super) fn frames(&self) -> u64 {
        self.samples.count.saturating_add(self.fragments.samples)
    }

    /// The samples that the index lists, in ticks: fragments begin there.
    pub(super) fn indexed_ticks(&self) -> u64 {
        self.samples.ticks
    }

    /// The longest that anything says, in ticks of the track.
    pub(super) fn ticks(&self) -> u64 {
        let fragments = match self.fragments.span {
            // A recording of a broadcast begins at the broadcast's time.
            Some((start, end)) if self.samples.count == 0 => end.saturating_sub(start),
            Some((_, end)) => end,
            None => 0,
        };
        self.header_ticks.max(self.samples.ticks).max(self.samples.shown_ticks).max(fragments)
    }
}

pub(super) fn read(trak: &[u8]) -> Parsed<Track> {
    let mut track = Track { orientation: 1, ..Track::default() };
    let mut has_media = false;
    for child in Boxes(trak) {
        match child? {
            (b"tkhd", content) => header(&mut track, content)?,
            (b"edts", content) => {
                for child in Boxes(content) {
                    if let (b"elst", content) = child? {
                        track.movie_ticks = track.movie_ticks.max(edits(content)?);
                    }
                }
            }
            (b"mdia", content) if !has_media => {
                has_media = true;
                media(&mut track, content)?;
            }
            (b"mdia", _) => return Err("a track has two media"),
            _ => {}
        }
    }
    if track.timescale == 0 {
        return Err("a track has no timescale");
    }
    Ok(track)
}

fn header(track: &mut Track, content: &[u8]) -> Parsed<()> {
    let mut fields = Fields(content);
    let [version, ..] = fields.array::<4>()?;
    fields.skip(if version == 1 { 16 } else { 8 })?;
    track.id = fields.u32()?;
    fields.skip(4)?;
    track.movie_ticks = track.movie_ticks.max(duration(&mut fields, version)?);
    fields.skip(16)?;
    let [a, b, _, c, d] = [fields.i32()?, fields.i32()?, fields.i32()?, fields.i32()?, fields.i32()?];
    track.orientation = match [a, b, c, d].map(i32::signum) {
        [-1, 0, 0, 1] => 2,
        [-1, 0, 0, -1] => 3,
        [1, 0, 0, -1] => 4,
        [0, 1, 1, 0] => 5,
        [0, 1, -1, 0] => 6,
        [0, -1, -1, 0] => 7,
        [0, -1, 1, 0] => 8,
        _ => 1,
    };
    Ok(())
}

/// How long all edits together are, in ticks of the movie: they may show a part again.
fn edits(content: &[u8]) -> Parsed<u64> {
    let mut fields = Fields(content);
    let [version, ..] = fields.array::<4>()?;
    let count = fields.u32()?;
    let mut ticks = 0_u64;
    if version == 1 {
        for row in fields.rows::<20>(count)? {
            ticks = ticks.saturating_add(duration(&mut Fields(row), version)?);
        }
    } else {
        for row in fields.rows::<12>(count)? {
            ticks = ticks.saturating_add(duration(&mut Fields(row), version)?);
        }
    }
    Ok(ticks)
}

fn media(track: &mut Track, content: &[u8]) -> Parsed<()> {
    let mut information = None;
    for child in Boxes(content) {
        match child? {
            (b"mdhd", content) => (track.timescale, track.header_ticks) = times(content)?,
            (b"hdlr", content) => {
                let mut fields = Fields(content);
                fields.skip(8)?;
                track.is_video = fields.array()? == *b"vide";
            }
            (b"minf", content) => information = Some(content),
            _ => {}
        }
    }
    for child in Boxes(information.ok_or("a track has no media information")?) {
        match child? {
            (b"dinf", content) => {
                for child in Boxes(content) {
                    if let (b"dref", content) = child? {
                        track.is_external |= is_external(content)?;
                    }
                }
            }
            (b"stbl", content) => {
                track.samples = samples::read(content, track.is_video)?;
                track.data_end = track.data_end.max(track.samples.data_end);
                if track.is_video {
                    (track.width, track.height) = size(content)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_external(content: &[u8]) -> Parsed<bool> {
    let mut fields = Fields(content);
    fields.skip(8)?;
    for entry in Boxes(fields.0) {
        let (_, content) = entry?;
        let [_, _, _, flags] = Fields(content).array()?;
        if flags & 1 == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The largest width and height of a video track's descriptions.
fn size(table: &[u8]) -> Parsed<(u32, u32)> {
    let (mut width, mut height) = (0, 0);
    for child in Boxes(table) {
        let (b"stsd", content) = child? else { continue };
        let mut fields = Fields(content);
        fields.skip(4)?;
        if fields.u32()? > MAX_DESCRIPTIONS {
            return Err("a track has too many descriptions");
        }
        for entry in Boxes(fields.0) {
            let (_, content) = entry?;
            let mut fields = Fields(content);
            fields.skip(24)?;
            width = width.max(fields.u16()?.into());
            height = height.max(fields.u16()?.into());
        }
    }
    Ok((width, height))
}
