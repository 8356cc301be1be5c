//! WebP: a RIFF container (RFC 9649).

use std::io::{BufRead, Seek};

use super::source::Source;
use super::{Still, check_size, count_metadata, exif};
use crate::media::Unfit;

const ANIMATION_FLAG: u8 = 0b10;

/// Walks all chunks to the end that the container states.
pub(super) fn read<R: BufRead + Seek>(source: &mut Source<R>) -> Result<Still, Unfit> {
    source.skip(4, "its length")?;
    let riff_end = 8 + u64::from(u32::from_le_bytes(source.array("its length")?));
    if riff_end > source.end() {
        return Err(source.truncated("the length it states"));
    }
    source.skip(4, "its first chunk")?;
    let (mut canvas, mut picture, mut orientation, mut metadata) = (None, None, None, 0);
    while source.at() < riff_end {
        let kind: [u8; 4] = source.array("its last chunk")?;
        let length = u64::from(u32::from_le_bytes(source.array("its last chunk")?));
        let behind = source.at() + length + length % 2;
        // The last chunk's padding is left out by some writers.
        if source.at() + length > riff_end {
            return Err(source.truncated("the end of a chunk"));
        }
        match &kind {
            b"VP8X" if canvas.is_none() && picture.is_none() => canvas = Some(extended(source)?),
            b"ANIM" | b"ANMF" => return Err(Unfit::Animated { content_type: source.content_type }),
            b"VP8 " if picture.is_none() => picture = Some(lossy(source)?),
            b"VP8L" if picture.is_none() => picture = Some(lossless(source)?),
            b"VP8X" | b"VP8 " | b"VP8L" => return Err(source.damaged("it has two pictures")),
            b"ALPH" => {}
            b"EXIF" => {
                count_metadata(source, &mut metadata, length)?;
                let data = source.bytes(length, "the end of its metadata")?;
                orientation = orientation.or_else(|| exif::orientation(&data));
            }
            _ => count_metadata(source, &mut metadata, length)?,
        }
        let Some(rest) = behind.min(riff_end).checked_sub(source.at()) else {
            return Err(source.damaged("a chunk is shorter than its header"));
        };
        source.skip(rest, "the end of a chunk")?;
    }
    let picture: Still = picture.ok_or_else(|| source.truncated("its picture"))?;
    if canvas.is_some_and(|canvas| canvas != (picture.width, picture.height)) {
        return Err(source.damaged("its picture has another size than it states"));
    }
    Ok(Still { orientation: orientation.unwrap_or(1), ..picture })
}

fn extended<R: BufRead + Seek>(source: &mut Source<R>) -> Result<(u32, u32), Unfit> {
    let [flags, _, _, _, w0, w1, w2, h0, h1, h2] = source.array("its size")?;
    if flags & ANIMATION_FLAG != 0 {
        return Err(Unfit::Animated { content_type: source.content_type });
    }
    let (width, height) = (u32::from_le_bytes([w0, w1, w2, 0]) + 1, u32::from_le_bytes([h0, h1, h2, 0]) + 1);
    check_size(source, width, height)?;
    Ok((width, height))
}

fn lossy<R: BufRead + Seek>(source: &mut Source<R>) -> Result<Still, Unfit> {
    let [tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1] = source.array("its size")? else {
        return Err(source.damaged("its picture does not begin with a key frame"));
    };
    if tag & 1 != 0 {
        return Err(source.damaged("its picture does not begin with a key frame"));
    }
    let (width, height) = (u32::from(u16::from_le_bytes([w0, w1]) & 0x3fff), u32::from(u16::from_le_bytes([h0, h1]) & 0x3fff));
    check_size(source, width, height)?;
    // Brightness, two colours of a quarter each, and transparency.
    let working_bytes = u64::from(width) * u64::from(height) * 5 / 2;
    Ok(Still { width, height, orientation: 1, working_bytes })
}

fn lossless<R: BufRead + Seek>(source: &mut Source<R>) -> Result<Still, Unfit> {
    let [0x2f, b0, b1, b2, b3] = source.array("its size")? else {
        return Err(source.damaged("its picture does not begin with its signature"));
    };
    let bits = u32::from_le_bytes([b0, b1, b2, b3]);
    if bits >> 29 != 0 {
        return Err(source.damaged("its picture has a version that does not exist"));
    }
    let (width, height) = ((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1);
    check_size(source, width, height)?;
    Ok(Still { width, height, orientation: 1, working_bytes: u64::from(width) * u64::from(height) * 4 })
}
