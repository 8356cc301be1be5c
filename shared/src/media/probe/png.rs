//! PNG: chunks (W3C, Portable Network Graphics).

use std::io::{BufRead, Seek};

use super::source::Source;
use super::{Still, check_size, count_metadata, exif};
use crate::media::Unfit;

/// Deflate cannot pack better than this.
const BEST_COMPRESSION: u64 = 1032;

/// Walks all chunks to the last.
pub(super) fn read<R: BufRead + Seek>(source: &mut Source<R>) -> Result<Still, Unfit> {
    source.skip(8, "its first chunk")?;
    let header = header(source)?;
    let (mut orientation, mut metadata, mut packed) = (None, 0, 0_u64);
    loop {
        let (length, kind) = chunk(source)?;
        match &kind {
            b"IHDR" => return Err(source.damaged("it has two headers")),
            b"acTL" | b"fcTL" | b"fdAT" => return Err(Unfit::Animated { content_type: source.content_type }),
            b"IEND" => break,
            b"IDAT" => {
                packed = packed.saturating_add(length);
                source.skip(length + 4, "the end of its picture")?;
            }
            b"eXIf" => {
                count_metadata(source, &mut metadata, length)?;
                let data = source.bytes(length, "the end of its metadata")?;
                orientation = orientation.or_else(|| exif::orientation(&data));
                source.skip(4, "the end of its metadata")?;
            }
            _ => {
                count_metadata(source, &mut metadata, length)?;
                source.skip(length + 4, "the end of a chunk")?;
            }
        }
    }
    source.skip(4, "its last checksum")?;
    if packed.saturating_mul(BEST_COMPRESSION) < header.raw_bytes {
        return Err(source.truncated("the picture that its header announces"));
    }
    Ok(Still { orientation: orientation.unwrap_or(1), ..header.still })
}

struct Header {
    still: Still,
    /// The picture before it was packed.
    raw_bytes: u64,
}

fn header<R: BufRead + Seek>(source: &mut Source<R>) -> Result<Header, Unfit> {
    if chunk(source)? != (13, *b"IHDR") {
        return Err(source.damaged("it does not begin with its header"));
    }
    let width = u32::from_be_bytes(source.array("its width")?);
    let height = u32::from_be_bytes(source.array("its height")?);
    let [depth, colour, compression, filter, interlace] = source.array("its header's end")?;
    source.skip(4, "its header's checksum")?;
    let channels: u64 = match (colour, depth) {
        (0, 1 | 2 | 4 | 8 | 16) | (3, 1 | 2 | 4 | 8) => 1,
        (4, 8 | 16) => 2,
        (2, 8 | 16) => 3,
        (6, 8 | 16) => 4,
        _ => return Err(source.damaged("it has a colour type that does not exist")),
    };
    if compression != 0 || filter != 0 || interlace > 1 {
        return Err(source.damaged("it has a compression that does not exist"));
    }
    check_size(source, width, height)?;
    let row_bytes = (u64::from(width) * channels * u64::from(depth)).div_ceil(8);
    // Two rows, and the window of the packing with what is unpacked ahead.
    let still = Still { width, height, orientation: 1, working_bytes: 4 * row_bytes + 1_000_000 };
    Ok(Header { still, raw_bytes: row_bytes * u64::from(height) })
}

/// A chunk's length and name. Its data and checksum follow.
fn chunk<R: BufRead + Seek>(source: &mut Source<R>) -> Result<(u64, [u8; 4]), Unfit> {
    const END: &str = "its last chunk";
    let length = u32::from_be_bytes(source.array(END)?);
    let kind: [u8; 4] = source.array(END)?;
    if !kind.iter().all(u8::is_ascii_alphabetic) || i32::try_from(length).is_err() {
        return Err(source.damaged("a chunk's header is none"));
    }
    Ok((length.into(), kind))
}
