//! What content is, told from its bytes.

use std::str::Utf8Error;

use serde::de::IgnoredAny;

use super::StoreError;
use super::download::PART_BYTES;

/// A type we store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) content_type: &'static str,
    pub(super) extension: &'static str,
}

const MP4: Kind = Kind { content_type: "video/mp4", extension: "mp4" };
const JSON: Kind = Kind { content_type: "application/json", extension: "json" };
const TEXT: Kind = Kind { content_type: "text/plain; charset=utf-8", extension: "txt" };

/// What the `infer` crate calls it, and what we do. Types that can carry script (SVG, HTML, PDF) are left out on purpose.
const MEDIA: [(&str, Kind); 17] = [
    ("image/png", Kind { content_type: "image/png", extension: "png" }),
    ("image/jpeg", Kind { content_type: "image/jpeg", extension: "jpg" }),
    ("image/webp", Kind { content_type: "image/webp", extension: "webp" }),
    ("image/gif", Kind { content_type: "image/gif", extension: "gif" }),
    ("image/avif", Kind { content_type: "image/avif", extension: "avif" }),
    ("video/mp4", MP4),
    ("video/x-m4v", MP4),
    ("video/webm", Kind { content_type: "video/webm", extension: "webm" }),
    ("video/quicktime", Kind { content_type: "video/quicktime", extension: "mov" }),
    ("audio/mpeg", Kind { content_type: "audio/mpeg", extension: "mp3" }),
    ("audio/x-wav", Kind { content_type: "audio/wav", extension: "wav" }),
    ("audio/x-flac", Kind { content_type: "audio/flac", extension: "flac" }),
    ("audio/ogg", Kind { content_type: "audio/ogg", extension: "ogg" }),
    ("audio/opus", Kind { content_type: "audio/ogg", extension: "ogg" }),
    ("audio/m4a", Kind { content_type: "audio/mp4", extension: "m4a" }),
    ("audio/aac", Kind { content_type: "audio/aac", extension: "aac" }),
    ("audio/x-aiff", Kind { content_type: "audio/aiff", extension: "aiff" }),
];

/// What `bytes` are, if `accept` asks for it. `is_whole` says that nothing follows them, which text needs to be judged.
///
/// Media that is not asked for may still be asked-for text: a sentence can begin like a file of some type.
pub(super) fn detect(bytes: &[u8], is_whole: bool, accept: &[&str]) -> Result<Kind, StoreError> {
    let media = media(bytes);
    if let Some(kind) = media
        && accepts(accept, kind)
    {
        return Ok(kind);
    }
    let is_text = is_text(bytes, is_whole);
    if is_text && (accepts(accept, JSON) || accepts(accept, TEXT)) {
        if !is_whole {
            return Err(StoreError::TooLarge { limit: PART_BYTES as u64 });
        }
        if accepts(accept, JSON) && serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
            return Ok(JSON);
        }
        if accepts(accept, TEXT) {
            return Ok(TEXT);
        }
    }
    let found = match (media, infer::get(bytes)) {
        (Some(kind), _) => kind.content_type,
        (None, Some(other)) => other.mime_type(),
        (None, None) if is_text => "text/plain",
        (None, None) => "application/octet-stream",
    };
    Err(StoreError::WrongType { found: found.to_owned() })
}

/// The content type of media that begins with these bytes; `None` for everything that is not media we store.
pub fn content_type_of(bytes: &[u8]) -> Option<&'static str> {
    media(bytes).map(|kind| kind.content_type)
}

fn media(bytes: &[u8]) -> Option<Kind> {
    let known = infer::get(bytes).and_then(|found| MEDIA.iter().find(|(name, _)| *name == found.mime_type()));
    known.map(|(_, kind)| *kind).or_else(|| is_unlisted_mp4(bytes).then_some(MP4))
}

/// MP4 whose major brand `infer` does not list: later editions of the base format (`iso7`, `iso8`, …), CMAF.
fn is_unlisted_mp4(bytes: &[u8]) -> bool {
    bytes.get(4..11).is_some_and(|head| {
        matches!(head, [b'f', b't', b'y', b'p', b'i', b's', b'o'] | [b'f', b't', b'y', b'p', b'c', b'm', b'f'])
    })
}

/// UTF-8 without control characters other than line ends and tabs. A character cut off at the end is forgiven while
/// more bytes follow.
fn is_text(bytes: &[u8], is_whole: bool) -> bool {
    let is_cut = |error: &Utf8Error| error.error_len().is_none() && !is_whole;
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if is_cut(&error) => str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
        Err(_) => return false,
    };
    !text.is_empty() && !text.chars().any(|char| char.is_control() && !matches!(char, '\t' | '\n' | '\r'))
}

fn accepts(accept: &[&str], kind: Kind) -> bool {
    let content_type = essence(kind.content_type);
    accept.iter().map(|wanted| essence(wanted)).any(|wanted| match wanted.strip_suffix("/*") {
        Some(family) => family == "*" || content_type.split('/').next() == Some(family),
        None => canonical(wanted) == content_type,
    })
}

/// `text/plain` of `text/plain; charset=utf-8`.
fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Other names in use for the types we store.
fn canonical(content_type: &str) -> &str {
    match content_type {
        "image/jpg" => "image/jpeg",
        "audio/mp3" => "audio/mpeg",
        "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => "audio/wav",
        "audio/x-flac" => "audio/flac",
        "audio/opus" => "audio/ogg",
        "audio/m4a" | "audio/x-m4a" => "audio/mp4",
        "video/mov" => "video/quicktime",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: &[&str] = &["image/*", "video/*", "audio/*"];

    #[test]
    fn media_is_told_from_its_first_bytes() {
        let cases: [(&[u8], &str, &str); 12] = [
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png", "png"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "image/jpeg", "jpg"),
            (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp", "webp"),
            (b"GIF89a\x01\0\x01\0", "image/gif", "gif"),
            (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41", "video/mp4", "mp4"),
            (b"\0\0\0\x20ftypiso8\0\0\x02\0isommp41", "video/mp4", "mp4"),
            (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "video/quicktime", "mov"),
            (b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08\x42\x82\x84webm", "video/webm", "webm"),
            (b"ID3\x04\0\0\0\0\0\0", "audio/mpeg", "mp3"),
            (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav", "wav"),
            (b"fLaC\0\0\0\x22", "audio/flac", "flac"),
            (b"OggS\0\x02\0\0\0\0", "audio/ogg", "ogg"),
        ];
        for (start, content_type, extension) in cases {
            let mut bytes = start.to_vec();
            bytes.resize(300, 0);
            let kind = detect(&bytes, true, ANY).unwrap();
            assert_eq!((kind.content_type, kind.extension), (content_type, extension));
        }
    }

    #[test]
    fn only_accepted_types_pass() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        for accept in [&["image/png"] as &[_], &["image/jpeg", "image/png"], &["image/*"], &["*/*"]] {
            detect(png, true, accept).unwrap();
        }
        for accept in [&["image/jpeg"] as &[_], &["video/*"], &["text/*", "application/json"], &[]] {
            let error = detect(png, true, accept).unwrap_err();
            assert!(matches!(error, StoreError::WrongType { found } if found == "image/png"), "{accept:?}");
        }
        detect(b"RIFF\x24\0\0\0WAVEfmt ", true, &["audio/x-wav"]).unwrap();
        detect(b"\xff\xd8\xff\xe0\0\x10JFIF\0", true, &["image/jpg"]).unwrap();
    }

    #[test]
    fn an_error_page_is_not_a_picture() {
        let page = b"<!DOCTYPE html><html><body>Expired</body></html>";
        let error = detect(page, true, ANY).unwrap_err();
        assert!(matches!(error, StoreError::WrongType { found } if found == "text/html"));
        let error = detect(b"{\"error\":\"expired\"}", true, ANY).unwrap_err();
        assert!(matches!(error, StoreError::WrongType { found } if found == "text/plain"));
        let error = detect(b"\0\x01\x02\x03\x04", true, ANY).unwrap_err();
        assert!(matches!(error, StoreError::WrongType { found } if found == "application/octet-stream"));
    }

    #[test]
    fn text_and_json_pass_only_when_asked_for() {
        let both = &["text/plain", "application/json"] as &[_];
        assert_eq!(detect(b"{\"a\":[1]}", true, both).unwrap(), JSON);
        assert_eq!(detect(b"{\"a\":[1]}", true, &["text/plain"]).unwrap(), TEXT);
        assert_eq!(detect("кот\r\n\t🐈".as_bytes(), true, both).unwrap(), TEXT);
        assert_eq!(detect(b"ID3 is a tag format", true, &["text/*"]).unwrap(), TEXT);
        assert_eq!(detect(b"<!DOCTYPE html><html></html>", true, &["text/*"]).unwrap(), TEXT);
        for (bytes, accept) in [
            (b"plain" as &[u8], &["application/json"] as &[_]),
            (b"{\"a\":1", &["application/json"]),
            (b"a\0b", both),
            (b"\xd0", both),
            (b"{}", &["image/png"]),
        ] {
            assert!(matches!(detect(bytes, true, accept), Err(StoreError::WrongType { .. })), "{bytes:?}");
        }
    }

    #[test]
    fn text_over_one_part_is_too_large() {
        let mut start = "я".repeat(50).into_bytes();
        start.pop();
        assert!(matches!(detect(&start, false, &["text/*"]), Err(StoreError::TooLarge { .. })));
        assert!(matches!(detect(b"\xd0\0\xff", false, &["text/*"]), Err(StoreError::WrongType { .. })));
    }
}
