//! The JSON Schema that a language model answers by.

use serde_json::{Value, json};

/// Strict in the sense of OpenAI's structured outputs: no further properties, all of them required, null where nothing was said
/// (<https://platform.openai.com/docs/guides/structured-outputs#supported-schemas>).
pub(super) fn strict() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["size", "color", "position", "margin_percent", "margin_px", "plate", "align"],
        "properties": {
            "size": {
                "description": "Size of the letters: a word, or pixels if a number was given. null if nothing was said.",
                "anyOf": [
                    {"type": "string", "enum": ["small", "medium", "normal", "large", "huge"]},
                    {"type": "integer", "minimum": 8, "maximum": 512},
                    {"type": "null"}
                ]
            },
            "color": colour("Colour of the letters: an English name, #rrggbb, or auto for black or white by contrast."),
            "position": {
                "description": "Place on the photo. null if nothing was said.",
                "type": ["string", "null"],
                "enum": [
                    "top_left", "top", "top_right", "center_left", "center", "center_right", "bottom_left", "bottom",
                    "bottom_right", null
                ]
            },
            "margin_percent": number("Distance from the edge in percent. At most one of margin_percent and margin_px is not null.", 45),
            "margin_px": number("Distance from the edge in pixels.", 4096),
            "plate": {
                "description": "The coloured area under the text. null for no plate, or if nothing was said of one.",
                "anyOf": [plate(), {"type": "null"}]
            },
            "align": {
                "description": "How lines stand to each other. null if nothing was said.",
                "type": ["string", "null"],
                "enum": ["left", "center", "right", null]
            }
        }
    })
}

fn plate() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["color", "opacity_percent", "radius_px", "blur_px", "padding_px"],
        "properties": {
            "color": colour("Colour of the plate: an English name, #rrggbb, or auto."),
            "opacity_percent": number("100 minus the transparency: a transparency of 30% is an opacity of 70.", 100),
            "radius_px": number("How round the corners are, in pixels; 0 for sharp corners.", 512),
            "blur_px": number("How much the photo under the plate is blurred, in pixels.", 100),
            "padding_px": number("Room between text and the plate's edge, in pixels.", 512)
        }
    })
}

fn colour(description: &str) -> Value {
    json!({"type": ["string", "null"], "description": format!("{description} null if nothing was said.")})
}

fn number(description: &str, maximum: u16) -> Value {
    json!({"type": ["integer", "null"], "minimum": 0, "maximum": maximum, "description": format!("{description} null if nothing was said.")})
}
