//! JPEG (ITU-T T.81): markers and the segments behind them.

use std::io::{BufRead, Seek};

use super::source::Source;
use super::{Still, check_size, count_metadata, exif};
use crate::media::Unfit;

const EXIF: &[u8] = b"Exif\0\0";
/// A progressive picture comes in about ten. Each is a walk over the whole picture for the decoder.
const MAX_SCANS: u32 = 100;

/// Walks all segments and scans to the end marker. What follows that is not looked at: cameras append previews there.
pub(super) fn read<R: BufRead + Seek>(source: &mut Source<R>) -> Result<Still, Unfit> {
    source.skip(2, "its first marker")?;
    let (mut still, mut orientation, mut scans, mut metadata) = (None, None, 0, 0);
    loop {
        match next_marker(source)? {
            0x01 | 0xd0..=0xd8 => {}
            0xd9 => break,
            0xc0..=0xc2 if still.is_some() => return Err(source.damaged("it has two frame headers")),
            marker @ 0xc0..=0xc2 => still = Some(frame_header(source, marker == 0xc2)?),
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return Err(source.unsupported("a lossless, hierarchical or arithmetic encoding"));
            }
            0xda => {
                if still.is_none() {
                    return Err(source.damaged("its picture comes before its size"));
                }
                scans += 1;
                if scans > MAX_SCANS {
                    return Err(source.damaged("its picture comes in too many scans"));
                }
                let length = segment_length(source)?;
                source.skip(length, "the end of a scan's header")?;
            }
            0xe1 => {
                let length = segment_length(source)?;
                count_metadata(source, &mut metadata, length)?;
                let segment = source.bytes(length, "the end of its metadata")?;
                if orientation.is_none() && segment.starts_with(EXIF) {
                    orientation = exif::orientation(&segment);
                }
            }
            marker => {
                let length = segment_length(source)?;
                if matches!(marker, 0xe0..=0xef | 0xfe) {
                    count_metadata(source, &mut metadata, length)?;
                }
                source.skip(length, "the end of a segment")?;
            }
        }
    }
    match still {
        Some(still) if scans > 0 => Ok(Still { orientation: orientation.unwrap_or(1), ..still }),
        _ => Err(source.truncated("its picture")),
    }
}

/// The next marker; whatever lies in front of it is a scan's data, in which `FF 00` is a byte and `FF D0` to `FF D7` are restarts.
fn next_marker<R: BufRead + Seek>(source: &mut Source<R>) -> Result<u8, Unfit> {
    const END: &str = "its end marker";
    while source.skip_past(0xff)? {
        let mut byte = [0xff];
        while byte == [0xff] {
            byte = source.array(END)?;
        }
        if !matches!(byte, [0x00 | 0xd0..=0xd7]) {
            return Ok(byte[0]);
        }
    }
    Err(source.truncated(END))
}

fn segment_length<R: BufRead + Seek>(source: &mut Source<R>) -> Result<u64, Unfit> {
    let length = u16::from_be_bytes(source.array("a segment's length")?);
    length.checked_sub(2).map(u64::from).ok_or_else(|| source.damaged("a segment is shorter than its header"))
}

fn frame_header<R: BufRead + Seek>(source: &mut Source<R>, is_progressive: bool) -> Result<Still, Unfit> {
    let length = segment_length(source)?;
    let [precision, h1, h0, w1, w0, components] = source.array("its size")?;
    let (width, height) = (u32::from(u16::from_be_bytes([w1, w0])), u32::from(u16::from_be_bytes([h1, h0])));
    if precision != 8 {
        return Err(source.unsupported("other than 8 bits a channel"));
    }
    if !matches!(components, 1 | 3 | 4) || length != 6 + 3 * u64::from(components) {
        return Err(source.damaged("its frame header does not add up"));
    }
    check_size(source, width, height)?;
    let mut factors = [(1, 1); 4];
    for factor in factors.iter_mut().take(components.into()) {
        let [_, sampling, _] = source.array("its frame header's end")?;
        *factor = (u64::from(sampling >> 4), u64::from(sampling & 0xf));
        if !(1..=4).contains(&factor.0) || !(1..=4).contains(&factor.1) {
            return Err(source.damaged("its sampling factors are out of range"));
        }
    }
    let working_bytes = if is_progressive { coefficient_bytes(width, height, &factors[..components.into()]) } else { 0 };
    Ok(Still { width, height, orientation: 1, working_bytes })
}

/// A progressive picture is kept as 16-bit coefficients until its last scan, a whole number of blocks for each component.
fn coefficient_bytes(width: u32, height: u32, factors: &[(u64, u64)]) -> u64 {
    let across = factors.iter().map(|(across, _)| *across).max().unwrap_or(1);
    let down = factors.iter().map(|(_, down)| *down).max().unwrap_or(1);
    let units = u64::from(width).div_ceil(8 * across) * u64::from(height).div_ceil(8 * down);
    factors.iter().map(|(across, down)| units * across * down * 64 * 2).sum()
}
