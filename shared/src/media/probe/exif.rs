//! The one entry of EXIF data that changes how a picture is shown.

const ORIENTATION: u16 = 0x0112;
/// The entry's type: unsigned, 16 bits.
const SHORT: u16 = 3;

/// The orientation, 1 to 8, of a TIFF structure as JPEG, PNG and WebP carry it. Damaged data says nothing: the photo is still a photo.
pub(super) fn orientation(exif: &[u8]) -> Option<u8> {
    // Some writers of WebP leave JPEG's prefix in front.
    let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let little = match tiff.get(..4)? {
        [b'I', b'I', 42, 0] => true,
        [b'M', b'M', 0, 42] => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = [*tiff.get(at)?, *tiff.get(at.checked_add(1)?)?];
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| {
        let (first, second) = (u32::from(short(at)?), u32::from(short(at.checked_add(2)?)?));
        Some(if little { second << 16 | first } else { first << 16 | second })
    };
    let directory = usize::try_from(long(4)?).ok()?;
    for entry in 0..usize::from(short(directory)?) {
        let at = directory.checked_add(2 + entry * 12)?;
        if (short(at)?, short(at + 2)?, long(at + 4)?) == (ORIENTATION, SHORT, 1) {
            return u8::try_from(short(at + 8)?).ok().filter(|value| (1..=8).contains(value));
        }
    }
    None
}
