use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

use super::*;

fn drawing(text: &str) -> Drawing<'_> {
    Drawing { text, width: 320, height: 200, format: Format::Png, background: None }
}

fn pixels(drawing: &Drawing<'_>) -> RgbImage {
    let encoded = render(drawing).expect("a drawing");
    image::load_from_memory(&encoded).expect("a decodable drawing").into_rgb8()
}

fn png(image: &RgbImage) -> Vec<u8> {
    let mut encoded = Cursor::new(Vec::new());
    image.write_to(&mut encoded, ImageFormat::Png).expect("a PNG");
    encoded.into_inner()
}

/// EXIF data that holds nothing but the orientation.
fn exif(orientation: u8) -> Vec<u8> {
    let header = [b'I', b'I', 42, 0, 8, 0, 0, 0];
    let directory = [1, 0, 0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, 0, 0, 0, 0];
    [&header[..], &directory[..]].concat()
}

/// A JPEG whose stored left half is red and right half blue.
fn red_blue_jpeg(orientation: u8) -> Vec<u8> {
    let image = RgbImage::from_fn(128, 64, |x, _| if x < 64 { Rgb([220, 20, 20]) } else { Rgb([20, 20, 220]) });
    let mut encoded = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut encoded, 95);
    encoder.set_exif_metadata(exif(orientation)).expect("JPEG carries EXIF data");
    encoder.write_image(&image, 128, 64, ExtendedColorType::Rgb8).expect("a JPEG");
    encoded
}

fn is_red(pixel: &Rgb<u8>) -> bool {
    pixel.0[0] > 180 && pixel.0[2] < 80
}

fn is_blue(pixel: &Rgb<u8>) -> bool {
    pixel.0[2] > 180 && pixel.0[0] < 80
}

#[test]
fn drawing_is_in_the_format_and_size_asked_for() {
    let photo = red_blue_jpeg(1);
    for (format, decoder) in
        [(Format::Png, ImageFormat::Png), (Format::Jpeg, ImageFormat::Jpeg), (Format::Webp, ImageFormat::WebP)]
    {
        for (width, height) in [(64, 64), (321, 199), (64, 1000)] {
            for background in [None, Some(&photo[..])] {
                let drawing = Drawing { text: "Лиса in the snow", width, height, format, background };
                let encoded = render(&drawing).expect("a drawing");
                assert_eq!(image::guess_format(&encoded).expect("a known format"), decoder);
                let decoded = image::load_from_memory(&encoded).expect("a decodable drawing");
                assert_eq!((decoded.width(), decoded.height()), (width, height));
            }
        }
    }
}

#[test]
fn formats_are_read_from_names_extensions_and_media_types() {
    for format in [Format::Png, Format::Jpeg, Format::Webp] {
        assert_eq!(Format::parse(format.content_type()), Some(format));
        assert_eq!(Format::parse(format.extension()), Some(format));
        let name = serde_json::to_value(format).expect("a name");
        assert_eq!(Format::parse(name.as_str().expect("a word")), Some(format));
    }
    assert_eq!(Format::parse("JPEG"), Some(Format::Jpeg));
    assert_eq!(Format::parse("gif"), None);
}

#[test]
fn cyrillic_text_leaves_ink() {
    let (width, height) = (320, 200);
    for text in ["Рыжая лиса на снегу", "A red fox", "ё"] {
        let bare = background::gradient(text, width, height);
        let drawn = pixels(&drawing(text));
        assert!(drawn.pixels().zip(bare.pixels()).filter(|(drawn, bare)| drawn != bare).count() > 50, "`{text}`");
        assert!(drawn.pixels().any(|pixel| pixel.0 == INK), "`{text}`");
    }
    assert_eq!(pixels(&drawing("")), background::gradient("", width, height));
}

#[test]
fn emoji_are_drawn_in_their_colours() {
    let bare = background::gradient("🍎", 320, 200);
    let drawn = pixels(&drawing("🍎"));
    let reds = |image: &RgbImage| image.pixels().filter(|pixel| pixel.0[0] > 200 && pixel.0[1] < 80).count();
    assert!(reds(&drawn) > reds(&bare) + 20);
}

#[test]
fn same_drawing_gives_the_same_bytes() {
    assert_eq!(render(&drawing("fox")).expect("a drawing"), render(&drawing("fox")).expect("a drawing"));
    assert_ne!(background::gradient("fox", 64, 64), background::gradient("owl", 64, 64));
}

#[test]
fn margins_stay_free_of_ink() {
    for text in ["слово ".repeat(1_700), "Ы".repeat(10_000), "шщ\n".repeat(40)] {
        let (width, height) = (1024, 1024);
        let bare = background::gradient(&text, width, height);
        let drawn = pixels(&Drawing { width: 1024, height: 1024, ..drawing(&text) });
        let margin = 1024 / 12 - 2;
        let inside = margin..1024 - margin;
        let mut differing = drawn.enumerate_pixels().zip(bare.pixels()).filter(|((_, _, drawn), bare)| drawn != bare);
        assert!(differing.all(|((x, y, _), _)| inside.contains(&x) && inside.contains(&y)));
    }
}

#[test]
fn sizes_out_of_range_are_refused() {
    for (width, height) in [(63, 100), (100, 4097), (0, 0), (u32::MAX, 64)] {
        let refusal = render(&Drawing { width, height, ..drawing("fox") }).expect_err("a refusal");
        assert!(matches!(refusal, DrawError::Size { .. }));
        assert!(refusal.to_string().contains(&format!("`{width}x{height}`")));
    }
}

#[test]
fn photo_comes_out_upright() {
    let upright = |orientation| {
        let photo = red_blue_jpeg(orientation);
        let (width, height) = if orientation < 5 { (256, 128) } else { (128, 256) };
        pixels(&Drawing { width, height, background: Some(&photo), ..drawing("") })
    };
    for orientation in 1..=8 {
        let drawn = upright(orientation);
        let (right, bottom) = (drawn.width() - 1, drawn.height() - 1);
        let (first, last) = (drawn.get_pixel(0, 0), drawn.get_pixel(right, bottom));
        // 1 and 4 start at the left, 5 and 6 at the top; 2, 3, 7 and 8 are their mirror images.
        let red_first = matches!(orientation, 1 | 4 | 5 | 6);
        let (red, blue) = if red_first { (first, last) } else { (last, first) };
        assert!(is_red(red) && is_blue(blue), "orientation {orientation}: {first:?} to {last:?}");
    }
}

#[test]
fn photo_keeps_its_middle_and_its_aspect() {
    let image = RgbImage::from_fn(300, 100, |x, _| if (100..200).contains(&x) { Rgb([20, 220, 20]) } else { Rgb([0; 3]) });
    let photo = png(&image);
    let drawn = pixels(&Drawing { width: 64, height: 64, background: Some(&photo), ..drawing("") });
    assert!(drawn.pixels().all(|pixel| pixel.0[1] > 200));
}

#[test]
fn caption_darkens_only_the_bottom_of_a_photo() {
    let photo = png(&RgbImage::from_pixel(100, 100, Rgb([200, 200, 200])));
    let drawn = pixels(&Drawing { background: Some(&photo), ..drawing("Кот") });
    assert_eq!(drawn.get_pixel(160, 60).0, [200, 200, 200]);
    assert!(drawn.get_pixel(2, 197).0[0] < 100);
    assert!(drawn.pixels().any(|pixel| pixel.0 == INK));
}

#[test]
fn transparent_photo_shows_the_gradient() {
    let mut encoded = Cursor::new(Vec::new());
    let image = RgbaImage::from_pixel(80, 80, Rgba([255, 0, 0, 0]));
    image.write_to(&mut encoded, ImageFormat::Png).expect("a PNG");
    let photo = encoded.into_inner();
    let drawn = pixels(&Drawing { background: Some(&photo), ..drawing("") });
    assert_eq!(drawn, background::gradient("", 320, 200));
}

/// The start of a PNG that claims the size; its rows would come next.
fn png_header(width: u32, height: u32, bits: u8) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([bits, 6, 0, 0, 0]);
    let crc = crc32(&chunk);
    let rows = [&[0, 0, 0, 4][..], b"IDAT", &[0x78, 0x9c, 0, 0]].concat();
    [b"\x89PNG\r\n\x1a\n", &[0, 0, 0, 13][..], &chunk, &crc.to_be_bytes(), &rows].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

fn refusal(photo: &[u8]) -> &'static str {
    match render(&Drawing { background: Some(photo), ..drawing("fox") }).expect_err("a refusal") {
        DrawError::Background(error) => error.code(),
        other @ (DrawError::Size { .. } | DrawError::Encoding(_)) => panic!("{other:?}"),
    }
}

#[test]
fn bomb_is_refused_by_its_header() {
    // 16 GB and 13 GB if they were allocated; the last breaks a single limit.
    for (width, height) in [(65_000, 65_000), (12_001, 64), (8_000, 8_000)] {
        assert_eq!(refusal(&png_header(width, height, 8)), "too_many_pixels", "{width}x{height}");
    }
}

#[test]
fn jpeg_bomb_is_refused_by_its_header() {
    let mut photo = red_blue_jpeg(1);
    let frame = photo.windows(2).position(|marker| marker == [0xff, 0xc0]).expect("a frame header");
    photo[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
    assert_eq!(refusal(&photo), "too_many_pixels");
}

#[test]
fn photo_that_is_none_is_refused() {
    let cut_short = &png(&RgbImage::new(64, 64))[..60];
    for (photo, code) in
        [(&b""[..], "empty"), (b"GIF89a\x01\x00\x01\x00", "not_media"), (b"not a photo", "not_media"), (cut_short, "truncated")]
    {
        assert_eq!(refusal(photo), code);
    }
}
