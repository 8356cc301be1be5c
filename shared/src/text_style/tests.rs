use serde_json::json;

use super::*;

#[test]
fn empty_style_and_nulls_are_the_defaults() {
    let nulls = json!({
        "size": null, "color": null, "position": null, "margin_percent": null, "margin_px": null, "plate": null, "align": null
    });
    for value in [json!({}), nulls] {
        assert_eq!(TextStyle::from_json(&value), Ok(TextStyle::default()), "{value}");
    }
    let bare = json!({"color": null, "opacity_percent": null, "radius_px": null, "blur_px": null, "padding_px": null});
    for plate in [json!({}), bare] {
        let style = TextStyle::from_json(&json!({"plate": plate})).expect("a style");
        assert_eq!(style.plate, Some(Plate::default()));
    }
}

#[test]
fn style_comes_back_as_it_went_out() {
    let values = [
        json!({}),
        json!({"size": "huge", "color": "red", "position": "top_left", "margin_percent": 45, "align": "right"}),
        json!({"size": 8, "color": "#1a2B3c", "position": "center", "margin_px": 4096}),
        json!({"size": 512, "plate": {"color": "auto", "opacity_percent": 0, "radius_px": 512, "blur_px": 100, "padding_px": 0}}),
    ];
    for value in values {
        let style = TextStyle::from_json(&value).expect("a style");
        let sent = serde_json::to_value(&style).expect("JSON");
        assert_eq!(TextStyle::from_json(&sent), Ok(style.clone()), "{sent}");
        assert_eq!(serde_json::from_value::<TextStyle>(sent).expect("a style"), style);
    }
}

#[test]
fn mistakes_are_refused_with_their_field() {
    let cases = [
        (json!({"size": "enormous"}), "size", "`small`"),
        (json!({"size": 7}), "size", "`7`"),
        (json!({"size": 513}), "size", "`513`"),
        (json!({"size": -1}), "size", "`-1`"),
        (json!({"color": "blurple"}), "color", "`blurple`"),
        (json!({"color": "#12345"}), "color", "`#12345`"),
        (json!({"position": "nowhere"}), "position", "bottom_left"),
        (json!({"margin_percent": 46}), "margin_percent", "`46`"),
        (json!({"margin_percent": 5, "margin_px": 20}), "margin_px", "margin_percent"),
        (json!({"plate": {"opacity_percent": 101}}), "plate.opacity_percent", "0 to 100"),
        (json!({"plate": {"blur_px": -3}}), "plate.blur_px", "`-3`"),
        (json!({"plate": {"shade": 1}}), "plate.shade", "`shade`"),
        (json!({"align": "justify"}), "align", "`justify`"),
        (json!({"font": "Comic Sans"}), "font", "`font`"),
        (json!([]), "style", ""),
    ];
    for (value, field, part) in cases {
        let error = TextStyle::from_json(&value).expect_err("a refusal");
        assert_eq!(error.field, field, "{value}: {error}");
        assert!(error.to_string().contains(part), "{value}: {error}");
    }
}

#[test]
fn colours_have_names_in_three_languages() {
    let colour = |text: &str| text.parse::<Ink>().map(|ink| ink.to_string());
    for (text, hex) in [
        ("AUTO", "auto"),
        ("White", "#ffffff"),
        ("чёрная", "#000000"),
        ("червоний", "#ff0000"),
        ("#F80", "#ff8800"),
        (" #00ff7F ", "#00ff7f"),
        ("dark blue", "#00007f"),
        ("тёмно-синий", "#00007f"),
        ("светло-серый", "#bfbfbf"),
    ] {
        assert_eq!(colour(text).as_deref(), Ok(hex), "{text}");
    }
    for text in ["", "#", "#ff", "#gggggg", "white black", "text", "белка"] {
        assert!(colour(text).is_err(), "{text}");
    }
}

#[test]
fn every_position_has_its_two_axes() {
    for vertical in [Vertical::Top, Vertical::Center, Vertical::Bottom] {
        for horizontal in [Horizontal::Left, Horizontal::Center, Horizontal::Right] {
            let position = Position::new(vertical, horizontal);
            assert_eq!((position.vertical(), position.horizontal()), (vertical, horizontal));
        }
    }
}

#[test]
fn strict_schema_takes_what_the_door_takes() {
    let schema = TextStyle::json_schema();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let complete = json!({
        "size": 72, "color": "white", "position": "bottom_left", "margin_percent": 10, "margin_px": null, "align": "left",
        "plate": {"color": "black", "opacity_percent": 50, "radius_px": 12, "blur_px": 5, "padding_px": null}
    });
    let nothing = json!({
        "size": null, "color": null, "position": null, "margin_percent": null, "margin_px": null, "plate": null, "align": null
    });
    for value in [complete, nothing] {
        assert!(validator.is_valid(&value), "{value}");
        TextStyle::from_json(&value).expect("a style");
    }
    assert!(!validator.is_valid(&json!({})));
    assert!(!validator.is_valid(&json!({"size": 1000})));
    every_object_is_strict(&schema);
}

fn every_object_is_strict(schema: &Value) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["required"], json!(properties.keys().collect::<Vec<_>>()));
    }
    for part in schema.as_object().into_iter().flat_map(|object| object.values()).chain(schema.as_array().into_iter().flatten()) {
        every_object_is_strict(part);
    }
}
