//! What ten wishes look like, compared with small pictures that somebody has looked at.

#![expect(clippy::float_arithmetic, reason = "a distance is a real number")]

use super::*;

/// Name, text, wishes.
const LOOKS: [(&str, &str, &str); 10] = [
    ("center_black_plate", "Лиса на снегу", "Крупный белый текст в центре, на чёрной плашке"),
    ("huge_red", "Зима близко", "Огромный текст по центру, красный цвет, без плашки"),
    ("bottom_white_plate", "Обычная подпись к фотографии", "Обычный текст снизу, белая плашка с прозрачностью 50%"),
    ("pixels_and_distance", "72 пикселя", "Текст размером 72px снизу, расстояние от низа 10%"),
    ("blurred_plate", "Матовое стекло", "Белая плашка с размытием, радиус размытия 5"),
    (
        "lines_and_emoji",
        "С днём рождения! 🎉🎂\nЖелаем здоровья, удачи и чтобы всё получалось ❤️\nТвои друзья 👩‍👩‍👧‍👦 🇺🇦",
        "в центре, полупрозрачная чёрная плашка",
    ),
    ("top_left", "Выставка\nДвенадцать работ\nВход свободный", "сверху слева, крупный, жёлтый текст"),
    ("long_word", "Превысокомногорассмотрительствующий-Превысокомногорассмотрительствующий", "огромный, снизу"),
    (
        "right_to_left",
        "שלום עולם 2026\nمرحبا بالعالم",
        "large text in the center, white on a dark blue plate, rounded corners 30px",
    ),
    (
        "right_aligned",
        "Small caption, bottom right\n© Darkroom ™ 2026",
        "small text at the bottom right, black plate with 40% opacity, margin 12px",
    ),
];

/// The longer side of a reference, in pixels.
const SIDE: u32 = 64;

fn thumbnail(picture: &RgbImage) -> GrayImage {
    resize(&DynamicImage::ImageRgb8(picture.clone()).into_luma8(), SIDE, SIDE, FilterType::Triangle)
}

fn references() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/draw/add_text/tests/references")
}

/// After a change that is meant: look at the pictures in `target/add_text`, then copy their `.small.png` over the references.
#[test]
fn wishes_look_as_they_did_when_somebody_looked() {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/add_text");
    std::fs::create_dir_all(&made).expect("a folder");
    let mut changed = Vec::new();
    for (name, text, wishes) in LOOKS {
        let picture = drawn(PHOTO, text, &parse(wishes).style);
        picture.save(made.join(format!("{name}.png"))).expect("a file");
        let thumbnail = thumbnail(&picture);
        thumbnail.save(made.join(format!("{name}.small.png"))).expect("a file");
        let reference = image::open(references().join(format!("{name}.png"))).map(DynamicImage::into_luma8);
        let distance = reference.map_or(255.0, |reference| distance(&thumbnail, &reference));
        if distance > 2.0 {
            changed.push(format!("{name}: {distance:.1}"));
        }
    }
    assert_eq!(changed, [""; 0], "these look different: see target/add_text");
}

#[test]
fn comparison_sees_a_missing_text() {
    let bare = thumbnail(&pixels(PHOTO));
    for (name, ..) in LOOKS {
        let reference = image::open(references().join(format!("{name}.png"))).expect("a reference").into_luma8();
        assert!(distance(&bare, &reference) > 2.0, "{name}");
    }
}

/// The root of the mean squared difference, of 255.
fn distance(one: &GrayImage, other: &GrayImage) -> f64 {
    assert_eq!(one.dimensions(), other.dimensions());
    let squares = one.pixels().zip(other.pixels()).map(|(Luma([one]), Luma([other]))| f64::from(one.abs_diff(*other)).powi(2));
    (squares.sum::<f64>() / f64::from(SIDE * SIDE)).sqrt()
}
