use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn check(table: &[(&str, Value)]) {
    for (wishes, expected) in table {
        let expected = TextStyle::from_json(expected).expect("a style");
        let reading = parse(wishes);
        assert_eq!(reading.style, expected, "`{wishes}`, understood: {:?}", reading.understood);
    }
}

#[test]
fn examples_that_customers_are_shown_are_read_exactly() {
    check(&[
        (
            "Крупный белый текст в центре, на чёрной плашке",
            json!({"size": "large", "color": "white", "position": "center", "plate": {"color": "black"}}),
        ),
        ("Огромный текст по центру, красный цвет, без плашки", json!({"size": "huge", "color": "red", "position": "center"})),
        (
            "Обычный текст снизу, белая плашка с прозрачностью 50%",
            json!({"size": "normal", "position": "bottom", "plate": {"color": "white", "opacity_percent": 50}}),
        ),
        ("Текст размером 72px снизу, расстояние от низа 10%", json!({"size": 72, "position": "bottom", "margin_percent": 10})),
        ("Белая плашка с размытием, радиус размытия 5", json!({"plate": {"color": "white", "blur_px": 5}})),
        (
            "Large white text in the center, on a black plate",
            json!({"size": "large", "color": "white", "position": "center", "plate": {"color": "black"}}),
        ),
        ("Huge text in the center, red color, no plate", json!({"size": "huge", "color": "red", "position": "center"})),
        (
            "Normal text at the bottom, white plate with 50% transparency",
            json!({"size": "normal", "position": "bottom", "plate": {"color": "white", "opacity_percent": 50}}),
        ),
        (
            "Text of size 72px at the bottom, distance from the bottom 10%",
            json!({"size": 72, "position": "bottom", "margin_percent": 10}),
        ),
        ("White plate with blur, blur radius 5", json!({"plate": {"color": "white", "blur_px": 5}})),
    ]);
}

#[test]
fn sizes_are_words_or_pixels() {
    check(&[
        ("маленький", json!({"size": "small"})),
        ("СРЕДНИМ шрифтом", json!({"size": "medium"})),
        ("очень крупно", json!({"size": "huge"})),
        ("большими буквами", json!({"size": "large"})),
        ("48px", json!({"size": 48})),
        ("72 пикселей", json!({"size": 72})),
        ("размер 96", json!({"size": 96})),
        ("размер: 96", json!({"size": 96})),
        ("Size 72, top", json!({"size": 72, "position": "top"})),
        ("шрифт 64 пикселя", json!({"size": 64})),
        ("крупный текст 60px", json!({"size": 60})),
        ("100000px", json!({"size": 512})),
        ("very large", json!({"size": "huge"})),
        ("великий текст", json!({"size": "large"})),
    ]);
}

#[test]
fn colour_goes_to_the_noun_beside_it() {
    check(&[
        ("белым", json!({"color": "white"})),
        ("жёлтая надпись на тёмно-синей подложке", json!({"color": "yellow", "plate": {"color": "dark blue"}})),
        ("#ffcc00", json!({"color": "#ffcc00"})),
        ("цвет текста #f00, цвет плашки #00F", json!({"color": "#ff0000", "plate": {"color": "#0000ff"}})),
        ("чёрная плашка и белый текст", json!({"color": "white", "plate": {"color": "black"}})),
        ("текст белый плашка чёрная", json!({"color": "white", "plate": {"color": "black"}})),
        ("белым по центру на чёрном", json!({"color": "white", "position": "center", "plate": {"color": "black"}})),
        ("white on black", json!({"color": "white", "plate": {"color": "black"}})),
        ("pink caption, background purple", json!({"color": "pink", "plate": {"color": "purple"}})),
        ("голубой текст с чёрной обводкой", json!({"color": "skyblue"})),
        ("светлая плашка", json!({"plate": {"color": "white"}})),
        ("білий текст на червоній плашці", json!({"color": "white", "plate": {"color": "red"}})),
    ]);
}

#[test]
fn places_are_found_in_any_words() {
    check(&[
        ("внизу слева", json!({"position": "bottom_left"})),
        ("в правом верхнем углу", json!({"position": "top_right"})),
        ("сверху по центру", json!({"position": "top"})),
        ("слева по центру", json!({"position": "center_left"})),
        ("справа", json!({"position": "center_right"})),
        ("посередине", json!({"position": "center"})),
        ("at the bottom left", json!({"position": "bottom_left"})),
        ("top-right corner", json!({"position": "top_right"})),
        ("знизу праворуч", json!({"position": "bottom_right"})),
        ("у нижнего края", json!({"position": "bottom"})),
    ]);
}

#[test]
fn distances_are_measured_from_edges() {
    check(&[
        ("10% from the bottom", json!({"margin_percent": 10})),
        ("сверху, отступ 20px", json!({"position": "top", "margin_px": 20})),
        ("отступ сверху 15 процентов", json!({"position": "top", "margin_percent": 15})),
        ("снизу 10%", json!({"margin_percent": 10})),
        ("80% от верха", json!({"position": "top", "margin_percent": 45})),
        ("white text 40px, 30 pixels from the top", json!({"color": "white", "size": 40, "position": "top", "margin_px": 30})),
        ("снизу, отступ слева 20px", json!({"position": "bottom_left", "margin_px": 20})),
        ("відступ 12%", json!({"margin_percent": 12})),
    ]);
}

#[test]
fn plates_have_opacity_blur_and_corners() {
    check(&[
        ("без плашки", json!({})),
        ("плашка не нужна", json!({})),
        ("no background, white", json!({"color": "white"})),
        ("полупрозрачная чёрная плашка", json!({"plate": {"color": "black", "opacity_percent": 50}})),
        ("плашка прозрачная на 30%", json!({"plate": {"opacity_percent": 70}})),
        ("плашка с непрозрачностью 30%", json!({"plate": {"opacity_percent": 30}})),
        ("непрозрачная плашка", json!({"plate": {"opacity_percent": 100}})),
        ("semi-transparent plate", json!({"plate": {"opacity_percent": 50}})),
        ("plate with 40% opacity and 8px blur", json!({"plate": {"opacity_percent": 40, "blur_px": 8}})),
        ("плашка с размытием", json!({"plate": {"blur_px": 12}})),
        ("плашка с размытием, радиус 7", json!({"plate": {"blur_px": 7}})),
        ("плашка без размытия", json!({"plate": {}})),
        ("скруглённые углы 12px", json!({"plate": {"radius_px": 12}})),
        ("rounded corners 12px, blurred 4", json!({"plate": {"radius_px": 12, "blur_px": 4}})),
        ("blur 5px corner radius 12px", json!({"plate": {"radius_px": 12, "blur_px": 5}})),
        ("12px corners 5px blur", json!({"plate": {"radius_px": 12, "blur_px": 5}})),
        ("плашка с прямыми углами", json!({"plate": {"radius_px": 0}})),
        ("серая плашка, внутренний отступ 16px", json!({"plate": {"color": "gray", "padding_px": 16}})),
        ("напівпрозора плашка", json!({"plate": {"opacity_percent": 50}})),
    ]);
}

#[test]
fn lines_are_aligned_apart_from_the_place() {
    check(&[
        ("выравнивание по левому краю", json!({"align": "left"})),
        ("текст снизу с выравниванием по правому краю", json!({"position": "bottom", "align": "right"})),
        ("left-aligned text at the top right", json!({"position": "top_right", "align": "left"})),
        ("сверху слева, выровнять по центру", json!({"position": "top_left", "align": "center"})),
    ]);
}

#[test]
fn unknown_words_are_passed_over_and_named() {
    let reading = parse("Сделай красиво, 🙂 foo бар 12");
    assert_eq!(reading.style, TextStyle::default());
    assert_eq!(reading.understood, []);
    assert_eq!(reading.unknown, ["красиво", "foo", "бар"]);
}

#[test]
fn reading_says_which_words_set_which_field() {
    let reading = parse("Крупный белый текст, плашка с прозрачностью 50%");
    let understood: Vec<_> = reading.understood.iter().map(|finding| (finding.field, finding.said.as_str())).collect();
    assert_eq!(
        understood,
        [("color", "белый"), ("plate", "плашка"), ("plate.opacity_percent", "прозрачностью 50 %"), ("size", "крупный")]
    );
    assert_eq!(reading.unknown, [""; 0]);
}

proptest! {
    #[test]
    fn any_wishes_are_read(wishes in "\\PC{0,80}") {
        parse(&wishes);
    }

    #[test]
    fn any_mixture_of_known_words_is_read(words in proptest::collection::vec(proptest::sample::select(vec![
        "белый", "плашка", "без", "72", "px", "%", ",", "от", "снизу", "слева", "центр", "align", "радиус", "размытие", "text", "on",
        "dark", "полупрозрачный", "углы", "отступ", "крупный", "очень", "size", "#fff",
    ]), 0..20)) {
        let style = parse(&words.join(" ")).style;
        let sent = serde_json::to_value(&style).expect("JSON");
        prop_assert_eq!(TextStyle::from_json(&sent), Ok(style));
    }
}
