//! Decoding, converting and enlarging.

use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, ImageFormat, LumaA, Rgba, Rgba32FImage};

use super::make::{corners, file, oriented, progressive, translucent};
use super::*;

fn decoded(file: &[u8]) -> DynamicImage {
    decode(file, WORKING_BYTES).unwrap_or_else(|error| panic!("{error}")).into_pixels()
}

/// Red, green or blue, whichever is strongest.
fn colour(pixels: &DynamicImage, x: u32, y: u32) -> char {
    let pixels = pixels.to_rgb8();
    let [red, green, blue] = pixels.get_pixel(x, y).0;
    if red > green.max(blue) {
        'r'
    } else if green > blue {
        'g'
    } else {
        'b'
    }
}

#[test]
fn pictures_come_out_upright_and_as_large_as_the_probe_says() {
    // Top left, top right, bottom left, bottom right of what has to be seen.
    let seen = ["rgbb", "grbb", "bbgr", "bbrg", "rbgb", "brbg", "bgbr", "gbrb"];
    for format in [Format::Jpeg, Format::Png, Format::Webp] {
        for (orientation, seen) in (1..).zip(seen) {
            let file = oriented(format, orientation, orientation % 2 == 0);
            let (pixels, facts) = (decoded(&file), facts(&file));
            let (right, bottom) = (pixels.width() - 1, pixels.height() - 1);
            assert_eq!((right + 1, bottom + 1), (facts.width, facts.height));
            let corners: String =
                [(0, 0), (right, 0), (0, bottom), (right, bottom)].map(|(x, y)| colour(&pixels, x, y)).iter().collect();
            assert_eq!(corners, seen, "{format:?} {orientation}");
        }
    }
}

#[test]
fn every_kind_of_pixel_becomes_eight_bits_of_rgb_or_rgba() {
    let deep = ImageBuffer::from_pixel(9, 5, Rgba([0xffff_u16, 0x8080, 0, 0x4040]));
    let cases: [(DynamicImage, [u8; 4], bool); 5] = [
        (GrayImage::from_pixel(9, 5, image::Luma([77])).into(), [77, 77, 77, 255], false),
        (GrayAlphaImage::from_pixel(9, 5, LumaA([77, 3])).into(), [77, 77, 77, 3], true),
        (deep.into(), [255, 128, 0, 64], true),
        (ImageBuffer::from_pixel(9, 5, image::Rgb([0x0101_u16, 0, 0xffff])).into(), [1, 0, 255, 255], false),
        (translucent().into(), [200, 0, 0, 255], true),
    ];
    for (pixels, expected, has_alpha) in cases {
        let picture = decode(&file(&pixels, ImageFormat::Png), WORKING_BYTES).unwrap();
        assert_eq!(
            (picture.has_alpha(), picture.pixels().color().bits_per_pixel()),
            (has_alpha, if has_alpha { 32 } else { 24 })
        );
        assert_eq!(picture.into_pixels().to_rgba8().get_pixel(0, 0).0, expected);
    }
    assert_eq!(Picture::new(Rgba32FImage::new(2, 2).into()).pixels().color().bits_per_pixel(), 32);
}

#[test]
fn memory_is_reckoned_before_anything_is_decoded() {
    let code = |file: &[u8], budget| decode(file, budget).err().map(|error| error.code());
    let png = oriented(Format::Png, 1, true);
    let plenty = 2_000_000;
    assert_eq!(code(&png, plenty), None);
    assert_eq!(code(&png, 48 * 32 * 3), Some("too_much_memory"));
    // Turned by a quarter, it is there twice for a moment.
    let (upright, turned) = (oriented(Format::Jpeg, 1, true), oriented(Format::Jpeg, 6, true));
    let once = 48 * 32 * 3 + upright.len() as u64;
    assert_eq!(code(&upright, once), None);
    assert_eq!(code(&turned, once.max(2 * 48 * 32 * 3 - 1)), Some("too_much_memory"));
    // A progressive JPEG is kept as coefficients: 50 megapixels would take 300 MB with a quarter of the colours' resolution.
    let progressive = progressive(160, 160);
    let (pixels, coefficients) = (160 * 160 * 3, 160 * 160 * 3);
    assert_eq!(code(&progressive, pixels + coefficients + progressive.len() as u64), None);
    assert_eq!(code(&progressive, pixels + coefficients), Some("too_much_memory"));
}

#[test]
fn what_is_no_image_is_not_decoded() {
    for (file, expected) in [(MP4, "not_an_image"), (&PHOTO[..50_000], "truncated"), (b"GIF89a", "not_media")] {
        assert_eq!(decode(file, WORKING_BYTES).unwrap_err().code(), expected);
        assert_eq!(convert(file, Target::Png).unwrap_err().code(), expected);
        assert_eq!(double(file, Target::Png).unwrap_err().code(), expected);
        assert_eq!(fit(file, Limit { bytes: 1 }).unwrap_err().code(), expected);
    }
}

#[test]
fn transparency_survives_where_the_encoding_has_it() {
    let pixels = translucent();
    let webp = file(&pixels.clone().into(), ImageFormat::WebP);
    for target in [Target::Png, Target::Webp] {
        let converted = convert(&webp, target).unwrap();
        assert_eq!(facts(&converted).content_type, target.format().content_type());
        assert_eq!(decoded(&converted).into_rgba8(), pixels, "{target:?}");
    }
    let jpeg = decoded(&convert(&webp, Target::Jpeg { quality: 95 }).unwrap()).into_rgb8();
    assert!(jpeg.get_pixel(35, 15).0.iter().all(|channel| *channel > 250), "transparent is white");
    assert!(jpeg.get_pixel(5, 15).0[0] > 180);
}

#[test]
fn photos_are_converted_upright_and_without_exif() {
    for target in [Target::Png, Target::Webp, Target::Jpeg { quality: 90 }] {
        let facts = facts(&convert(&oriented(Format::Jpeg, 6, true), target).unwrap());
        assert_eq!((facts.width, facts.height, facts.orientation), (32, 48, 1));
    }
    let low = convert(PHOTO, Target::Jpeg { quality: 10 }).unwrap().len();
    assert!(low < convert(PHOTO, Target::Jpeg { quality: 80 }).unwrap().len());
    for quality in [0, 101, 255] {
        assert_eq!(convert(PHOTO, Target::Jpeg { quality }).unwrap_err().code(), "quality");
    }
}

#[test]
fn colour_profile_goes_along_unless_it_is_of_other_pixels() {
    use image::{ImageDecoder, ImageEncoder};
    let carried = |space: &[u8; 4], target| {
        let profile = [&[0; 16][..], space, &[7; 300]].concat();
        let mut file = Vec::new();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut file);
        encoder.set_icc_profile(profile.clone()).unwrap();
        encoder.write_image(&corners(), 48, 32, image::ExtendedColorType::Rgb8).unwrap();
        let converted = convert(&file, target).unwrap();
        let reader = image::ImageReader::new(Cursor::new(converted)).with_guessed_format().unwrap();
        reader.into_decoder().unwrap().icc_profile().unwrap() == Some(profile)
    };
    for target in [Target::Png, Target::Webp, Target::Jpeg { quality: 90 }] {
        assert!(carried(b"RGB ", target), "{target:?}");
        assert!(!carried(b"CMYK", target), "{target:?}");
    }
}

#[test]
fn enlarged_is_twice_as_wide_and_high() {
    for (file, target) in [(PHOTO, Target::Png), (CAT, Target::Webp), (PORTRAIT, Target::Jpeg { quality: 90 })] {
        let (before, after) = (facts(file), facts(&double(file, target).unwrap()));
        assert_eq!((after.width, after.height), (2 * before.width, 2 * before.height));
        assert_eq!(after.content_type, target.format().content_type());
    }
    let turned = facts(&double(&oriented(Format::Jpeg, 8, true), Target::Png).unwrap());
    assert_eq!((turned.width, turned.height, turned.orientation), (64, 96, 1));
    let large = double(&oriented(Format::Png, 1, true), Target::Png).unwrap();
    assert_eq!(
        ["r", "g", "b"].join(""),
        [(10, 10), (80, 10), (10, 50)].map(|(x, y)| colour(&decoded(&large), x, y)).iter().collect::<String>()
    );
}

#[test]
fn enlarged_edges_show_nothing_of_what_is_hidden() {
    let large = decoded(&double(&file(&translucent().into(), ImageFormat::Png), Target::Png).unwrap()).into_rgba8();
    assert_eq!((large.get_pixel(5, 5).0, large.get_pixel(75, 5).0[3]), ([200, 0, 0, 255], 0));
    // The hidden half is green: red with a little opacity has to stay red.
    assert!(large.pixels().filter(|pixel| pixel.0[3] > 8).all(|pixel| pixel.0[1] < 30));
}

#[test]
fn what_would_be_too_large_is_not_enlarged() {
    for (width, height) in [(6001, 1), (4000, 4000), (1, 6001)] {
        let file = file(&GrayImage::new(width, height).into(), ImageFormat::Png);
        let refusal = double(&file, Target::Png).unwrap_err();
        assert_eq!(refusal.code(), "result_too_large");
        assert!(refusal.to_string().contains(&format!("`{}x{}`", 2 * width, 2 * height)), "{refusal}");
    }
}
