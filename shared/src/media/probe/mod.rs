//! What a file is, told from its content without decoding it.
//!
//! A file's own counts are never believed: a table is read only where its bytes are there, and nothing but a video's index, the
//! orientation's data and a header at a time is held in memory.

mod exif;
mod jpeg;
mod mp4;
mod png;
mod source;
mod webm;
mod webp;

use std::io::{BufRead, Seek};

use super::{
    Facts, MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS, MAX_IMAGE_SIDE_PX, MAX_VIDEO_BYTES, MAX_VIDEO_MS, MAX_VIDEO_SIDE_PX, Unfit,
    VIDEO_TOLERANCE_MS,
};
use source::Source;

/// How much of an unknown file is looked at to say what it is.
const HEAD_BYTES: u64 = 4096;
/// Most bytes of an image beside its picture: profiles, EXIF, XMP, texts.
const MAX_METADATA_BYTES: u64 = 8_000_000;
/// More frames a second than any camera's file holds: beyond it, the times are made up.
const MAX_FRAMES_A_SECOND: u64 = 1000;

/// Says what a file is, by its content, and refuses what we do not take. Its structure is walked to the end; nothing is decoded.
///
/// `bytes` is the file's length. At most about 16 MB are held in memory (a video's index), whatever the file claims. For a file of
/// 100 MB it takes up to about a second: async callers put it on a blocking thread.
pub fn probe<R: BufRead + Seek>(reader: R, bytes: u64) -> Result<Facts, Unfit> {
    let (mut source, kind) = open(reader, bytes)?;
    match kind {
        Kind::Jpeg | Kind::Png | Kind::Webp => {
            let still = read_still(&mut source, kind)?;
            let (width, height) = upright(still.width, still.height, still.orientation);
            let content_type = source.content_type.to_owned();
            Ok(Facts { content_type, width, height, orientation: still.orientation, duration_ms: None, frames: None })
        }
        Kind::Mp4 | Kind::QuickTime => {
            let moving = mp4::read(&mut source)?;
            moving_facts(&source, moving)
        }
        Kind::Webm => {
            let moving = webm::read(&mut source)?;
            moving_facts(&source, moving)
        }
    }
}

/// An image as it is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Still {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) orientation: u8,
    /// What a decoder holds beside the file and the pixels that it gives, in bytes.
    #[cfg_attr(not(feature = "media"), expect(dead_code, reason = "only decoding asks for it"))]
    pub(super) working_bytes: u64,
}

/// What an image is as it is stored; none for a video.
#[cfg(feature = "media")]
pub(super) fn still(bytes: &[u8]) -> Result<Option<Still>, Unfit> {
    let (mut source, kind) = open(std::io::Cursor::new(bytes), bytes.len() as u64)?;
    match kind {
        Kind::Jpeg | Kind::Png | Kind::Webp => read_still(&mut source, kind).map(Some),
        Kind::Mp4 | Kind::QuickTime | Kind::Webm => Ok(None),
    }
}

/// A video as its container tells it.
struct Moving {
    width: u32,
    height: u32,
    orientation: u8,
    duration_ms: u64,
    frames: u64,
}

#[derive(Clone, Copy)]
enum Kind {
    Jpeg,
    Png,
    Webp,
    Mp4,
    QuickTime,
    Webm,
}

impl Kind {
    fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
            Self::Mp4 => "video/mp4",
            Self::QuickTime => "video/quicktime",
            Self::Webm => "video/webm",
        }
    }

    fn max_bytes(self) -> u64 {
        match self {
            Self::Jpeg | Self::Png | Self::Webp => MAX_IMAGE_BYTES,
            Self::Mp4 | Self::QuickTime | Self::Webm => MAX_VIDEO_BYTES,
        }
    }
}

fn open<R: BufRead + Seek>(mut reader: R, bytes: u64) -> Result<(Source<R>, Kind), Unfit> {
    if bytes == 0 {
        return Err(Unfit::Empty);
    }
    if bytes > MAX_VIDEO_BYTES {
        return Err(Unfit::TooLarge { bytes, limit: MAX_VIDEO_BYTES });
    }
    let mut source = Source::open(&mut reader, bytes)?;
    let head = source.bytes(bytes.min(HEAD_BYTES), "its first bytes")?;
    let kind = kind(&head).ok_or_else(|| Unfit::NotMedia { found: name(&head).to_owned() })?;
    if bytes > kind.max_bytes() {
        return Err(Unfit::TooLarge { bytes, limit: kind.max_bytes() });
    }
    let mut source = Source::open(reader, bytes)?;
    source.content_type = kind.content_type();
    Ok((source, kind))
}

fn kind(head: &[u8]) -> Option<Kind> {
    match head {
        [0xff, 0xd8, 0xff, ..] => Some(Kind::Jpeg),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Kind::Png),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Kind::Webp),
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => match brand.get(..4)? {
            b"qt  " => Some(Kind::QuickTime),
            // Stills and sequences of stills in the same boxes.
            [b'h', b'e', ..] | b"mif1" | b"msf1" | b"avif" | b"avis" | b"crx " | b"jxl " => None,
            [b'3', b'g', b'p' | b'2', ..] => None,
            _ => Some(Kind::Mp4),
        },
        // Matroska says `matroska` where WebM says `webm`, near the beginning.
        [0x1a, 0x45, 0xdf, 0xa3, ..] => {
            let is_webm = head.get(..64).unwrap_or(head).windows(4).any(|word| word == b"webm");
            is_webm.then_some(Kind::Webm)
        }
        _ => None,
    }
}

/// What a file that we do not take is called.
fn name(head: &[u8]) -> &'static str {
    match head {
        [_, _, _, _, b'f', b't', b'y', b'p', b'h', b'e', ..] => return "image/heic",
        [_, _, _, _, b'f', b't', b'y', b'p', b'3', b'g', ..] => return "video/3gpp",
        [0x1a, 0x45, 0xdf, 0xa3, ..] => return "video/x-matroska",
        _ => {}
    }
    // A character may be cut where the head ends.
    let text = match str::from_utf8(head) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => head.get(..error.valid_up_to()).and_then(|whole| str::from_utf8(whole).ok()),
        Err(_) => None,
    };
    if text.is_some_and(|text| text.to_ascii_lowercase().contains("<svg")) {
        return "image/svg+xml";
    }
    if let Some(known) = infer::get(head) {
        return known.mime_type();
    }
    match text {
        Some(text) if !text.chars().any(|character| character.is_control() && !character.is_ascii_whitespace()) => "text/plain",
        _ => "application/octet-stream",
    }
}

fn read_still<R: BufRead + Seek>(source: &mut Source<R>, kind: Kind) -> Result<Still, Unfit> {
    match kind {
        Kind::Png => png::read(source),
        Kind::Webp => webp::read(source),
        Kind::Jpeg | Kind::Mp4 | Kind::QuickTime | Kind::Webm => jpeg::read(source),
    }
}

fn moving_facts<R: BufRead + Seek>(source: &Source<R>, moving: Moving) -> Result<Facts, Unfit> {
    let Moving { width, height, orientation, duration_ms, frames } = moving;
    if width == 0 || height == 0 {
        return Err(source.damaged("its picture has no size"));
    }
    if width.max(height) > MAX_VIDEO_SIDE_PX {
        return Err(Unfit::TooManyPixels { width, height });
    }
    if frames == 0 {
        return Err(source.damaged("its video track has no frames"));
    }
    if duration_ms > MAX_VIDEO_MS + VIDEO_TOLERANCE_MS {
        return Err(Unfit::TooLong { duration_ms });
    }
    if frames.saturating_sub(1).saturating_mul(1000) > duration_ms.saturating_mul(MAX_FRAMES_A_SECOND) {
        return Err(source.damaged("it has more frames than its duration can show"));
    }
    let (width, height) = upright(width, height, orientation);
    let content_type = source.content_type.to_owned();
    Ok(Facts { content_type, width, height, orientation, duration_ms: Some(duration_ms), frames: Some(frames) })
}

/// Refuses an image's size before anything is allocated for it.
fn check_size<R: BufRead + Seek>(source: &Source<R>, width: u32, height: u32) -> Result<(), Unfit> {
    if width == 0 || height == 0 {
        return Err(source.damaged("its picture has no size"));
    }
    if width.max(height) > MAX_IMAGE_SIDE_PX || u64::from(width) * u64::from(height) > MAX_IMAGE_PIXELS {
        return Err(Unfit::TooManyPixels { width, height });
    }
    Ok(())
}

/// Counts what lies beside the picture, and refuses too much of it.
fn count_metadata<R: BufRead + Seek>(source: &Source<R>, metadata: &mut u64, length: u64) -> Result<(), Unfit> {
    *metadata = metadata.saturating_add(length);
    if *metadata > MAX_METADATA_BYTES {
        return Err(Unfit::TooMuchMetadata { content_type: source.content_type, limit: MAX_METADATA_BYTES });
    }
    Ok(())
}

fn upright(width: u32, height: u32, orientation: u8) -> (u32, u32) {
    if (5..=8).contains(&orientation) { (height, width) } else { (width, height) }
}
