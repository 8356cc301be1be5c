use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageDecoder, ImageEncoder, ImageReader};

use super::*;

#[test]
fn photo_keeps_its_size_in_every_format() {
    for (format, decoder) in
        [(Format::Png, ImageFormat::Png), (Format::Jpeg, ImageFormat::Jpeg), (Format::Webp, ImageFormat::WebP)]
    {
        let encoded = add_text(PHOTO, "Кот", &TextStyle::default(), format).expect("a picture");
        assert_eq!(image::guess_format(&encoded).expect("a known format"), decoder);
        assert_eq!(pixels(&encoded).dimensions(), (600, 400));
    }
}

#[test]
fn nothing_changes_beside_text_and_plate() {
    for (wishes, spread) in [("в центре, на чёрной плашке", 0), ("снизу", 20), ("сверху справа, белая плашка с размытием 30", 0)]
    {
        let style = parse(wishes).style;
        let (_, place, _) = laid_out(PHOTO, "Лиса\nна снегу", &style);
        let changed = changed(&pixels(PHOTO), &drawn(PHOTO, "Лиса\nна снегу", &style)).expect("a change");
        let allowed = place.plate.unwrap_or(place.text).grown(spread, spread);
        assert!(is_inside(changed, allowed), "`{wishes}`: {changed:?} is not inside {allowed:?}");
    }
}

#[test]
fn plate_has_the_colour_and_opacity_asked_for() {
    let photo = plain(400, 300, 200);
    for (opacity, expected) in [(100, [0, 0, 255]), (50, [100, 100, 227]), (0, [200, 200, 200])] {
        let style = style(&json!({"plate": {"color": "blue", "opacity_percent": opacity, "radius_px": 20, "padding_px": 24}}));
        let plate = laid_out(&photo, "Кот", &style).1.plate.expect("a plate");
        let picture = drawn(&photo, "Кот", &style);
        let at = |x: i32, y: i32| picture.get_pixel(u32::try_from(x).expect("inside"), u32::try_from(y).expect("inside")).0;
        let middle = at((plate.left + plate.right) / 2, plate.top + 4);
        assert!(middle.iter().zip(expected).all(|(channel, expected)| channel.abs_diff(expected) <= 2), "{opacity}: {middle:?}");
        // Outside the round corner the photo is as it was.
        assert_eq!(at(plate.left + 1, plate.top + 1), [200; 3]);
        assert_eq!(at(plate.left - 1, plate.top + 30), [200; 3]);
    }
}

#[test]
fn padding_stands_around_the_letters() {
    let style = style(&json!({"plate": {"padding_px": 31}}));
    let (_, place, _) = laid_out(PHOTO, "Ёж", &style);
    let plate = place.plate.expect("a plate");
    assert_eq!((place.text.left - plate.left, plate.right - place.text.right), (31, 31));
    assert!(place.text.top - plate.top >= 31 && plate.bottom - place.text.bottom >= 31);
}

#[test]
fn automatic_ink_reads_well_on_any_even_ground() {
    for grey in (0..=255).step_by(51) {
        let photo = plain(300, 200, grey);
        for plate in [json!(null), json!({"color": "white"}), json!({"color": "black"}), json!({"color": "auto"})] {
            let style = style(&json!({"plate": plate}));
            let (_, place, _) = laid_out(&photo, "Кот", &style);
            let picture = drawn(&photo, "Кот", &style);
            let seen = |x: i32, y: i32| picture.get_pixel(u32::try_from(x).expect("inside"), u32::try_from(y).expect("inside")).0;
            let ground = luminance(seen(place.text.left - 4, place.text.top + 4));
            let places =
                (place.text.top..place.text.bottom).flat_map(|y| (place.text.left..place.text.right).map(move |x| (x, y)));
            let best = places.map(|(x, y)| contrast(luminance(seen(x, y)), ground)).fold(0.0, f32::max);
            assert!(best >= 4.5, "grey {grey}, {plate}: {best}");
        }
    }
}

#[test]
fn letters_on_a_mixed_ground_get_an_edge() {
    let stripes = RgbImage::from_fn(400, 200, |x, _| Rgb([if x / 20 % 2 == 0 { 255 } else { 0 }; 3]));
    let style = style(&json!({"color": "white", "position": "center", "size": 80}));
    let picture = drawn(&png(stripes.clone()), "НОЧЬ", &style);
    let darkened = stripes.enumerate_pixels().filter(|(x, y, before)| before.0[0] == 255 && picture.get_pixel(*x, *y).0[0] < 100);
    assert!(darkened.count() > 100);
    // On an even ground they need none.
    let photo = plain(400, 200, 0);
    let picture = drawn(&photo, "НОЧЬ", &style);
    assert!(picture.pixels().all(|pixel| pixel.0[0] == pixel.0[1]));
}

#[test]
fn text_stands_at_each_of_the_nine_places() {
    for (position, x, y) in [
        ("top_left", 0, 0),
        ("top", 1, 0),
        ("top_right", 2, 0),
        ("center_left", 0, 1),
        ("center", 1, 1),
        ("center_right", 2, 1),
        ("bottom_left", 0, 2),
        ("bottom", 1, 2),
        ("bottom_right", 2, 2),
    ] {
        let style = style(&json!({"position": position, "margin_px": 10}));
        let Rect { left, top, right, bottom } = laid_out(PHOTO, "Кот", &style).1.text;
        let third = |from: i32, to: i32, length: i32| (from + to) / 2 * 3 / length;
        assert_eq!((third(left, right, 600), third(top, bottom, 400)), (x, y), "{position}");
        let (gap_x, gap_y) = (left.min(600 - right), top.min(400 - bottom));
        assert!(x == 1 || gap_x == 10, "{position}: {gap_x}");
        assert!(y == 1 || (10..16).contains(&gap_y), "{position}: {gap_y}");
    }
}

#[test]
fn distance_is_kept_in_percent_of_the_height() {
    let style = parse("Текст размером 40px снизу, расстояние от низа 25%, чёрная плашка").style;
    assert_eq!(laid_out(PHOTO, "Кот", &style).1.plate.expect("a plate").bottom, 300);
}

#[test]
fn size_in_pixels_is_taken_as_it_is_and_shrinks_only_when_it_must() {
    let font = |text: &str, size: u16| laid_out(PHOTO, text, &style(&json!({"size": size}))).0.font_px;
    assert_eq!(font("Кот", 72), 72);
    assert_eq!(font("Кот", 8), 8);
    let shrunk = font(&"кот и пёс ".repeat(12), 200);
    assert!((30..80).contains(&shrunk), "{shrunk}");
}

#[test]
fn text_breaks_into_lines_and_stays_inside() {
    for text in ["слово ".repeat(60), "Ы".repeat(300), "🎉".repeat(100), "раз\nдва\n\nтри".to_owned(), "שלום ".repeat(50)]
    {
        for wishes in ["крупный", "огромный в центре на плашке", "сверху слева мелкий", "90px справа"]
        {
            let (_, place, photo) = laid_out(PHOTO, &text, &parse(wishes).style);
            assert!(is_inside(place.text, photo), "`{wishes}`: {:?}", place.text);
            assert!(place.plate.is_none_or(|plate| is_inside(plate, photo)), "`{wishes}`: {:?}", place.plate);
        }
    }
    let rows = |text: &str| laid_out(PHOTO, text, &style(&json!({"size": 20}))).0.rows;
    assert_eq!(rows("раз"), 1);
    assert_eq!(rows("раз\nдва\n\nтри"), 4);
    assert_eq!(rows("Эта подпись немного длиннее, чем помещается в одну строку этой фотографии"), 2);
}

#[test]
fn text_that_does_not_fit_is_refused() {
    let photo = plain(100, 60, 128);
    let error = add_text(&photo, &"слово ".repeat(80), &TextStyle::default(), Format::Png).expect_err("a refusal");
    assert!(matches!(error, AddTextError::DoesNotFit { width: 100, height: 60, smallest_px: 12 }), "{error:?}");
    let error = add_text(&plain(1, 1, 0), "Кот", &TextStyle::default(), Format::Png).expect_err("a refusal");
    assert!(matches!(error, AddTextError::DoesNotFit { .. }), "{error:?}");
}

#[test]
fn text_that_cannot_be_drawn_is_refused_by_its_letters() {
    let refusal = |text: &str| add_text(PHOTO, text, &TextStyle::default(), Format::Png).expect_err("a refusal");
    for text in ["", " \n\t ", "\u{200b}\u{202e}\u{0}"] {
        assert!(matches!(refusal(text), AddTextError::Empty), "{text:?}");
    }
    assert!(matches!(refusal(&"a".repeat(501)), AddTextError::TooLong { chars: 501 }));
    let error = refusal("猫 and 犬, 猫");
    assert!(matches!(&error, AddTextError::Undrawable { chars } if chars == "猫犬"), "{error:?}");
}

#[test]
fn direction_overrides_and_invisible_characters_change_nothing() {
    let style = TextStyle::default();
    let plain = drawn(PHOTO, "Счёт на 100 рублей", &style);
    let tricky = "\u{202e}Счёт\u{200b} на\u{2067} 100\u{2069} \u{feff}рублей\u{202c}\u{0}\u{7}";
    assert!(drawn(PHOTO, tricky, &style) == plain);
}

#[test]
fn right_to_left_line_begins_at_the_right() {
    // The first letter, alef, is heavy at its own place: where the ink of the first word ends, at the right.
    let style = style(&json!({"size": 40, "position": "center", "color": "white"}));
    let photo = plain(600, 200, 0);
    let both = laid_out(&photo, "אב גד", &style).1.text;
    let picture = drawn(&photo, "אב גד", &style);
    let first = drawn(&photo, "אב", &style);
    let crop = |picture: &RgbImage, right: i32, width: u32| {
        let left = u32::try_from(right).expect("inside") - width;
        image::imageops::crop_imm(picture, left, 0, width, 200).to_image()
    };
    let first_place = laid_out(&photo, "אב", &style).1.text;
    let width = u32::try_from(first_place.width() - 4).expect("some");
    let difference = crop(&picture, both.right, width)
        .pixels()
        .zip(crop(&first, first_place.right, width).pixels())
        .filter(|(one, other)| one.0[0].abs_diff(other.0[0]) > 120)
        .count();
    assert!(difference < 60, "{difference}");
}

#[test]
fn transparency_is_kept_where_the_format_has_it() {
    let photo = png(RgbaImage::from_pixel(300, 200, Rgba([255, 0, 0, 0])));
    let style = style(&json!({"color": "black", "position": "center", "size": 60}));
    let picture =
        image::load_from_memory(&add_text(&photo, "Кот", &style, Format::Png).expect("a picture")).expect("a PNG").into_rgba8();
    assert_eq!(picture.get_pixel(2, 2).0[3], 0);
    assert!(picture.pixels().any(|pixel| pixel.0 == [0, 0, 0, 255]));
    let flat = pixels(&add_text(&photo, "Кот", &style, Format::Jpeg).expect("a picture"));
    assert!(flat.get_pixel(2, 2).0.iter().all(|channel| *channel > 250));
}

#[test]
fn colour_profile_is_kept() {
    let mut profile = vec![0; 128];
    profile[16..20].copy_from_slice(b"RGB ");
    let mut photo = Vec::new();
    let mut encoder = JpegEncoder::new(&mut photo);
    encoder.set_icc_profile(profile.clone()).expect("JPEG has profiles");
    encoder.write_image(&[99; 200 * 100 * 3], 200, 100, ExtendedColorType::Rgb8).expect("a JPEG");
    for format in [Format::Jpeg, Format::Png, Format::Webp] {
        let encoded = add_text(&photo, "Кот", &TextStyle::default(), format).expect("a picture");
        let reader = ImageReader::new(std::io::Cursor::new(encoded)).with_guessed_format().expect("a format");
        let mut decoder = reader.into_decoder().expect("a picture");
        assert_eq!(decoder.icc_profile().expect("readable"), Some(profile.clone()), "{format:?}");
    }
}

#[test]
fn photo_of_a_phone_is_upright_and_whole() {
    // EXIF data that holds nothing but the orientation: turned by a quarter.
    let header = [b'I', b'I', 42, 0, 8, 0, 0, 0];
    let directory = [1, 0, 0x12, 0x01, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0];
    let mut photo = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut photo, 95);
    encoder.set_exif_metadata([&header[..], &directory[..]].concat()).expect("JPEG carries EXIF data");
    let stored = RgbImage::from_fn(300, 200, |x, _| if x < 150 { Rgb([220, 20, 20]) } else { Rgb([20, 20, 220]) });
    encoder.write_image(&stored, 300, 200, ExtendedColorType::Rgb8).expect("a JPEG");
    let picture = drawn(&photo, "Кот", &TextStyle::default());
    assert_eq!(picture.dimensions(), (200, 300));
    assert!(picture.get_pixel(100, 5).0[0] > 180 && picture.get_pixel(2, 297).0[2] > 180);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_is_drawn_or_refused(text in "\\PC{0,60}", wishes in proptest::sample::select(vec![
        "", "в центре на плашке", "72px слева", "огромный, плашка с размытием 9", "right-aligned at the top",
    ])) {
        let photo = plain(120, 90, 90);
        add_text(&photo, &text, &parse(wishes).style, Format::Png).ok();
    }

    #[test]
    fn any_mixture_of_scripts_and_marks_is_drawn(pieces in proptest::collection::vec(proptest::sample::select(vec![
        "а", "Щ", " ", "\n", "ש", "ב", "ם", "س", "ل", "ا", "\u{200d}", "\u{200c}", "\u{fe0f}", "\u{301}", "\u{64b}", "👩", "👧", "🇺", "🇦", "🏽", "1",
        "\u{20e3}", "❤", "🏴", "\u{e0067}", "\u{e007f}", "\u{202e}", "\u{2067}", "-", "\u{ad}", "\r", "\u{2029}", "\t", "©", "(", "%",
    ]), 0..40)) {
        let photo = plain(200, 150, 200);
        add_text(&photo, &pieces.concat(), &TextStyle::default(), Format::Png).ok();
    }
}
