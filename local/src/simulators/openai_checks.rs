//! What OpenAI refuses at once: the checks of a picture's fields.

use serde_json::{Value, json};
use shared::draw::Format;

use super::fields::{Fields, Wrong};
use super::media::Size;
use super::wanted::{Make, Wanted, sides};

const FIELDS: [&str; 14] = [
    "model",
    "prompt",
    "n",
    "size",
    "quality",
    "complexity",
    "background",
    "output_format",
    "output_compression",
    "moderation",
    "stream",
    "partial_images",
    "user",
    "safety_identifier",
];
/// Edits have these besides; forms carry the first and the last as files.
const EDIT_FIELDS: [&str; 3] = ["images", "input_fidelity", "mask"];
/// The only sizes of the models before `gpt-image-2`.
const OLD_SIZES: [&str; 3] = ["1024x1024", "1536x1024", "1024x1536"];
const MAX_EDGE: u32 = 3_840;
const PIXELS: std::ops::RangeInclusive<u64> = 655_360..=8_294_400;

/// The two generations of models whose fields differ, and those with more qualities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Generation {
    One,
    Two,
    TwoFive,
    TwoSix,
}

impl Generation {
    /// None for a model that is unknown or has been shut down.
    fn of(model: &str) -> Option<Self> {
        let named = |start: &str| model.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        match model {
            // Shut down, and never there without a variant.
            "gpt-image-1" | "gpt-image-2.5" | "gpt-image-2.6" => None,
            "chatgpt-image-latest" => Some(Self::One),
            _ if named("gpt-image-1-mini") || named("gpt-image-1.5") => Some(Self::One),
            _ if named("gpt-image-2") => Some(Self::Two),
            _ if named("gpt-image-2.5-sunburst") || named("gpt-image-2.5-flare") => Some(Self::TwoFive),
            _ if named("gpt-image-2.6-sunburst") || named("gpt-image-2.6-flare") => Some(Self::TwoSix),
            _ => None,
        }
    }
}

/// What the fields of a generation, or of an edit of `pictures`, want. `field` is where the pictures were given.
pub(super) fn wanted(fields: Fields<'_>, field: &str, pictures: Vec<String>) -> Result<Wanted, Wrong> {
    let is_edit = !pictures.is_empty();
    let known: Vec<&str> = FIELDS.into_iter().chain(EDIT_FIELDS.into_iter().filter(|_| is_edit)).collect();
    fields.only(&known)?;
    let model = fields.required_text("model", 1..=200)?;
    let generation = Generation::of(model).ok_or_else(|| Wrong::new("model", "does not exist or has been shut down"))?;
    let prompt = fields.required_text("prompt", 1..=32_000)?;
    let count = fields.whole("n", 1..=10)?.and_then(|count| u32::try_from(count).ok()).unwrap_or(1);
    let quality = fields.word("quality", qualities(generation))?;
    if generation < Generation::TwoSix && fields.get("complexity").is_some() {
        return Err(Wrong::new("complexity", "is not supported by this model"));
    }
    fields.word("complexity", &["low", "medium", "high"])?;
    if generation > Generation::One && fields.get("input_fidelity").is_some() {
        return Err(Wrong::new("input_fidelity", "is not supported by this model"));
    }
    fields.word("input_fidelity", &["high", "low"])?;
    fields.word("moderation", &["auto", "low"])?;
    fields.text("user", 0..=1_000)?;
    fields.text("safety_identifier", 0..=128)?;
    if fields.flag("stream")? == Some(true) {
        return Err(Wrong::new("stream", "is not simulated: ask for the whole answer"));
    }
    let (format, background) = output(fields)?;
    let size = size(fields, generation)?;
    let named_size = size.unwrap_or(Size::new(1024, 1024));
    Ok(Wanted {
        prompt: prompt.to_owned(),
        field: field.to_owned(),
        pictures,
        make: Make::Pictures { count, format, size: Some(named_size), scale: 1 },
        echo: json!({
            "background": background,
            "output_format": fields.get("output_format").and_then(Value::as_str).unwrap_or("png"),
            "quality": quality.filter(|quality| *quality != "auto").unwrap_or("medium"),
            "size": format!("{}x{}", named_size.width, named_size.height),
        }),
    })
}

fn qualities(generation: Generation) -> &'static [&'static str] {
    match generation {
        Generation::One | Generation::Two => &["auto", "low", "medium", "high"],
        Generation::TwoFive | Generation::TwoSix => &["auto", "low", "medium", "high", "xhigh", "max"],
    }
}

/// The encoding, and the background the answer names.
fn output(fields: Fields<'_>) -> Result<(Format, &'static str), Wrong> {
    // GIF and SVG need an access that this account does not have.
    let format = fields.word("output_format", &["png", "jpeg", "webp"])?.and_then(Format::parse).unwrap_or(Format::Png);
    let compression = fields.whole("output_compression", 0..=100)?;
    if format == Format::Png && compression.is_some_and(|percent| percent != 100) {
        return Err(Wrong::new("output_compression", "is supported for jpeg and webp only"));
    }
    let background = fields.word("background", &["auto", "opaque", "transparent"])?;
    if background == Some("transparent") && format == Format::Jpeg {
        return Err(Wrong::new("background", "can be transparent for png and webp only"));
    }
    Ok((format, if background == Some("transparent") { "transparent" } else { "opaque" }))
}

fn size(fields: Fields<'_>, generation: Generation) -> Result<Option<Size>, Wrong> {
    let Some(word) = fields.text("size", 1..=20)?.filter(|size| *size != "auto") else {
        return Ok(None);
    };
    if generation == Generation::One {
        fields.word("size", &OLD_SIZES)?;
    }
    let wrong = || Wrong::new("size", format!("does not allow `{word}`"));
    let size = sides(word).ok_or_else(wrong)?;
    let (short, long) = (size.width.min(size.height), size.width.max(size.height));
    let pixels = u64::from(size.width) * u64::from(size.height);
    let in_shape = size.width % 16 == 0 && size.height % 16 == 0 && long <= MAX_EDGE && long <= 3 * short;
    if in_shape && PIXELS.contains(&pixels) { Ok(Some(size)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(model: &str, field: &str, value: Value, wrong: Option<&str>) {
        let body = json!({"model": model, "prompt": "a fox", field: value});
        let found = wanted(Fields::of_json(&body), "image", Vec::new()).err().map(|wrong| wrong.field);
        assert_eq!(found.as_deref(), wrong, "{body}");
    }

    #[test]
    fn retired_and_unknown_models_are_refused() {
        for model in ["gpt-image-2", "gpt-image-2-2026-04-21", "gpt-image-2.6-flare", "gpt-image-2.5-sunburst-2026-09-08"] {
            check(model, "n", json!(1), None);
        }
        for model in ["dall-e-3", "gpt-image-1", "gpt-image-2.5", "gpt-image-3", "flux"] {
            check(model, "n", json!(1), Some("model"));
        }
    }

    #[test]
    fn sizes_keep_to_the_rules_of_the_model() {
        for (model, size, wrong) in [
            ("gpt-image-2", "auto", None),
            ("gpt-image-2", "3840x2160", None),
            ("gpt-image-2", "1040x1024", None),
            ("gpt-image-2", "1000x1000", Some("size")),
            ("gpt-image-2", "512x512", Some("size")),
            ("gpt-image-2", "3200x1024", Some("size")),
            ("gpt-image-2", "3840x3840", Some("size")),
            ("gpt-image-1.5", "1536x1024", None),
            ("gpt-image-1.5", "1040x1024", Some("size")),
        ] {
            check(model, "size", json!(size), wrong);
        }
    }

    #[test]
    fn fields_that_a_model_does_not_know_are_refused() {
        check("gpt-image-2", "response_format", json!("url"), Some("response_format"));
        check("gpt-image-2", "quality", json!("max"), Some("quality"));
        check("gpt-image-2.5-flare", "quality", json!("max"), None);
        check("gpt-image-2.5-flare", "complexity", json!("low"), Some("complexity"));
        check("gpt-image-2.6-flare", "complexity", json!("low"), None);
        check("gpt-image-2", "output_format", json!("gif"), Some("output_format"));
        check("gpt-image-2", "output_compression", json!(50), Some("output_compression"));
    }
}
