//! Files made in code.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

use crate::media::Format;

/// Bytes that look random and are the same every time (xorshift).
pub(super) struct Noise(pub(super) u64);

impl Noise {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// EXIF data that holds nothing but the orientation, in either byte order.
pub(super) fn exif(orientation: u8, is_little: bool) -> Vec<u8> {
    if is_little {
        let header = [b'I', b'I', 42, 0, 8, 0, 0, 0];
        let directory = [1, 0, 0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, 0, 0, 0, 0];
        [&header[..], &directory].concat()
    } else {
        let header = [b'M', b'M', 0, 42, 0, 0, 0, 8];
        let directory = [0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0];
        [&header[..], &directory].concat()
    }
}

/// Stored 48 x 32: red at the top left, green at the top right, blue below.
pub(super) fn corners() -> RgbImage {
    RgbImage::from_fn(48, 32, |x, y| match (x < 24, y < 16) {
        (true, true) => Rgb([220, 20, 20]),
        (false, true) => Rgb([20, 220, 20]),
        (_, false) => Rgb([20, 20, 220]),
    })
}

/// [`corners`] with an orientation.
pub(super) fn oriented(format: Format, orientation: u8, is_little: bool) -> Vec<u8> {
    let (pixels, exif) = (corners(), exif(orientation, is_little));
    let mut file = Cursor::new(Vec::new());
    match format {
        Format::Jpeg => write(JpegEncoder::new_with_quality(&mut file, 95), &pixels, exif),
        Format::Png => write(PngEncoder::new(&mut file), &pixels, exif),
        Format::Webp => write(WebPEncoder::new_lossless(&mut file), &pixels, exif),
    }
    file.into_inner()
}

fn write(mut encoder: impl ImageEncoder, pixels: &RgbImage, exif: Vec<u8>) {
    encoder.set_exif_metadata(exif).expect("a file in memory");
    encoder.write_image(pixels, pixels.width(), pixels.height(), ExtendedColorType::Rgb8).expect("a file in memory");
}

pub(super) fn file(pixels: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    pixels.write_to(&mut file, format).expect("a file in memory");
    file.into_inner()
}

/// Half of it red and opaque, half green and transparent.
pub(super) fn translucent() -> RgbaImage {
    RgbaImage::from_fn(40, 30, |x, _| if x < 20 { Rgba([200, 0, 0, 255]) } else { Rgba([0, 200, 0, 0]) })
}

pub(super) fn progressive(width: u16, height: u16) -> Vec<u8> {
    let pixels = vec![100; usize::from(width) * usize::from(height) * 3];
    let mut file = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut file, 80);
    encoder.set_progressive(true);
    encoder.encode(&pixels, width, height, jpeg_encoder::ColorType::Rgb).expect("a file in memory");
    file
}

/// A PNG chunk with its checksum.
pub(super) fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("a file in memory");
    let checked = [&kind[..], data].concat();
    [&length.to_be_bytes()[..], &checked, &crc32(&checked).to_be_bytes()].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

pub(super) fn png_header(width: u32, height: u32, depth: u8, colour: u8) -> Vec<u8> {
    let data = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[depth, colour, 0, 0, 0]].concat();
    [b"\x89PNG\r\n\x1a\n", &chunk(b"IHDR", &data)[..]].concat()
}

/// A small PNG with more chunks between its header and its picture.
pub(super) fn png_with(chunks: &[u8]) -> Vec<u8> {
    let good = file(&corners().into(), ImageFormat::Png);
    [&good[..33], chunks, &good[33..]].concat()
}

/// A RIFF chunk.
pub(super) fn riff(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("a file in memory");
    [&kind[..], &length.to_le_bytes(), data, &vec![0; data.len() % 2]].concat()
}

pub(super) fn webp(chunks: &[u8]) -> Vec<u8> {
    riff(b"RIFF", &[b"WEBP", chunks].concat())
}

pub(super) fn vp8x(flags: u8, width: u32, height: u32) -> Vec<u8> {
    let (width, height) = ((width - 1).to_le_bytes(), (height - 1).to_le_bytes());
    riff(b"VP8X", &[&[flags, 0, 0, 0], &width[..3], &height[..3]].concat())
}

/// The file with `bytes` in place of what lies `offset` bytes behind the first `mark`.
pub(super) fn patched(file: &[u8], mark: &[u8], offset: usize, bytes: &[u8]) -> Vec<u8> {
    let at = file.windows(mark.len()).position(|window| window == mark).expect("the mark") + mark.len() + offset;
    let mut file = file.to_vec();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}
