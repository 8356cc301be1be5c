//! Files that fit.

use image::{ImageFormat, RgbImage};

use super::make::{self, Noise, file, oriented, translucent};
use super::*;

/// A picture with as much noise as `amplitude`, which decides how well it is packed.
fn noisy(width: u32, height: u32, amplitude: u64) -> RgbImage {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            let [base, ..] = ((x + y) / 64 % 128 + 32).to_le_bytes();
            let [grain, ..] = (noise.next() % amplitude).to_le_bytes();
            bytes.extend([base + grain, base / 2 + grain, 200 - grain]);
        }
    }
    RgbImage::from_raw(width, height, bytes).expect("three bytes a pixel")
}

fn jpeg(pixels: RgbImage, quality: u8) -> Vec<u8> {
    encode(Picture::new(pixels.into()), Target::Jpeg { quality }).expect("a JPEG")
}

#[test]
fn what_fits_is_not_touched() {
    let small = jpeg(noisy(1600, 1200, 60), 92);
    for size in [small.len(), 3_900_000, 4_000_000] {
        // What follows a JPEG's end is let be.
        let file = [&small[..], &vec![0; size - small.len()]].concat();
        let fitted = fit(&file, Limit::default()).unwrap();
        assert_eq!(fitted, Fitted::Untouched(&file));
        assert!(std::ptr::eq(fitted.bytes(), &file[..]), "no copy");
    }
    let file = [&small[..], &vec![0; 4_000_001 - small.len()]].concat();
    assert!(matches!(fit(&file, Limit::default()), Ok(Fitted::Compressed { quality: 85, .. })));
}

#[test]
fn twelve_megapixels_get_the_highest_quality_that_fits() {
    let file = jpeg(noisy(4000, 3000, 80), 97);
    assert!(file.len() > 9_000_000, "{} bytes", file.len());
    let limit = Limit::default();
    let Ok(Fitted::Compressed { jpeg, quality, width, height }) = fit(&file, limit) else { panic!("it is compressed") };
    assert!(jpeg.len() <= limit.bytes);
    assert_eq!((width, height), (4000, 3000));
    assert!(QUALITIES.contains(&quality) && quality < 85, "{quality}");
    let next = convert(&file, Target::Jpeg { quality: quality + 5 }).unwrap();
    assert!(next.len() > limit.bytes, "{} bytes at quality {}", next.len(), quality + 5);
    assert_eq!(facts(&jpeg).width, 4000);
}

#[test]
fn every_limit_gets_the_highest_quality_and_the_largest_size() {
    let photo = noisy(600, 400, 40);
    let file = file(&photo.clone().into(), ImageFormat::Png);
    let sizes = QUALITIES.map(|quality| jpeg(photo.clone(), quality).len());
    assert!(sizes.is_sorted_by(|larger, smaller| larger > smaller), "{sizes:?}");
    for (size, expected) in sizes.into_iter().zip(QUALITIES) {
        let Ok(Fitted::Compressed { quality, width, .. }) = fit(&file, Limit { bytes: size }) else { panic!("it is compressed") };
        assert_eq!((quality, width), (expected, 600));
    }
    let Ok(Fitted::Compressed { jpeg, width, height, .. }) = fit(&file, Limit { bytes: sizes[7] - 1 }) else { panic!("it fits") };
    assert!(jpeg.len() < sizes[7] && (width, height) == (510, 340), "{width}x{height}");
    let Ok(Fitted::Compressed { jpeg, width, .. }) = fit(&file, Limit { bytes: 3000 }) else { panic!("it fits") };
    assert!(jpeg.len() <= 3000 && width < 300, "{width}");
    assert_eq!(fit(&file, Limit { bytes: 400 }).unwrap_err().code(), "cannot_fit");
}

#[test]
fn compressed_is_upright_and_opaque() {
    for orientation in 1..=8 {
        let file = oriented(Format::Png, orientation, true);
        // Over the limit by a text that is let go.
        let file = [&file[..33], &make::chunk(b"tEXt", &[65; 9000]), &file[33..]].concat();
        let Ok(Fitted::Compressed { jpeg, .. }) = fit(&file, Limit { bytes: 5000 }) else { panic!("it is compressed") };
        let (width, height) = if orientation < 5 { (48, 32) } else { (32, 48) };
        let facts = facts(&jpeg);
        assert_eq!((facts.width, facts.height, facts.orientation), (width, height, 1));
        assert!(!jpeg.windows(4).any(|window| window == b"Exif"));
    }
    let file = file(&translucent().into(), ImageFormat::Png);
    let file = [&file[..33], &make::chunk(b"tEXt", &[65; 9000]), &file[33..]].concat();
    let fitted = fit(&file, Limit { bytes: 5000 }).unwrap();
    let pixels = decode(fitted.bytes(), WORKING_BYTES).unwrap().into_pixels().into_rgb8();
    assert!(pixels.get_pixel(35, 15).0.iter().all(|channel| *channel > 245));
    assert!(pixels.get_pixel(5, 15).0[0] > 160);
}
