//! What stands in for a language model where none is set up: texts by a pattern, which say what they are. So every tool can be tried
//! without a key, and nobody takes a pattern for an analysis.

use serde_json::{Value, json};

/// A prompt of 1,000 characters and more around a short description, by a pattern.
pub fn spelled_out(description: &str) -> String {
    let description = description.trim().trim_end_matches('.');
    let parts = [
        format!("The subject is this, and nothing else competes with it: {description}."),
        "It stands clearly in front, is complete, and is drawn with care for its shape, its surface and its material. What can be counted is \
         as many as the description says, and everything that belongs to the subject is connected to it in a way that could be real."
            .to_owned(),
        "Its posture and what it does follow from the description alone; it looks natural, caught in a quiet moment rather than posed."
            .to_owned(),
        "The surroundings are those in which one would meet such a subject. They are simple, a little softer than the subject, and hold no \
         other people, no writing and no signs that the description does not name."
            .to_owned(),
        "The light is that of one late afternoon: one warm source from the left, soft shadows that all fall to the right, and a calm, even \
         sky. Nothing glows by itself."
            .to_owned(),
        "The colours are few and belong together: warm light, cooler shadows, and one accent that leads the eye to the subject. Whites are \
         not burnt out, and the dark parts still show what is in them."
            .to_owned(),
        "It is seen from the height of the subject, straight on, with some room around it on all sides, so that nothing is cut off. The horizon \
         is level."
            .to_owned(),
        "The mood is quiet and attentive. The style is that of a careful photograph: real proportions, real materials, no borders, no frame, \
         no collage, one single picture."
            .to_owned(),
    ];
    parts.join(" ")
}

/// What can be said of a video without watching it, in the shape in which a language model would answer.
pub fn analysis(content_type: &str, bytes: u64, seconds: Option<u64>, sides: Option<(u32, u32)>) -> Value {
    let length = seconds.map_or_else(|| "of unknown length".to_owned(), |seconds| format!("of {seconds} seconds"));
    let sides = sides.map_or_else(|| "of unknown size".to_owned(), |(width, height)| format!("{width}x{height} pixels large"));
    let facts = format!("The video is {length}, {sides}, {bytes} bytes of {content_type}");
    let not_watched = "No model is set up that could watch it: this is a stand-in.";
    let keys = ["hook", "structure", "delivery", "visuals", "audio"];
    json!({
        "original": {"transcription": "", "translation": ""},
        "keys": keys.map(|title| json!({"title": title, "description": not_watched})),
        "script": [{
            "time": seconds.map_or_else(|| "0 s".to_owned(), |seconds| format!("0-{seconds} s")),
            "visual": format!("{facts}."), "text": "", "note": not_watched,
        }],
        "recommendations": [{"category": "setup", "text": "Set the key of a model that can watch videos, and ask again."}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::catalog::manifest::MediaKind;
    use crate::finished;

    #[test]
    fn stand_ins_are_what_their_tools_promise() {
        let catalog = Catalog::built_in().expect("loads");
        let finish = |tool: &str| catalog.offer(tool).expect("a tool").finish();
        for description in ["кот", "a girl on the beach.", &"x".repeat(2_000)] {
            let prompt = spelled_out(description);
            finished::text(&prompt, MediaKind::Text, &finish("write_prompt")).expect("long enough");
            assert!(prompt.contains(description.trim_end_matches('.')));
        }
        for (seconds, sides) in [(None, None), (Some(12), Some((720, 1280)))] {
            let document = analysis("video/mp4", 1_000, seconds, sides).to_string();
            finished::text(&document, MediaKind::Json, &finish("analyze")).expect("the tool's schema");
        }
    }
}
