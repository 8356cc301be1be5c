//! What Stability refuses at once: the checks of each endpoint's fields.

use serde_json::{Value, json};
use shared::clock::random_bytes;
use shared::draw::Format;

use super::fields::{Fields, Wrong};
use super::media::Size;
use super::multipart::Form;
use super::wanted::{Make, Wanted, data_uri, probe};

const RATIOS: [&str; 9] = ["21:9", "16:9", "3:2", "5:4", "1:1", "4:5", "2:3", "9:16", "9:21"];
const FORMATS: [&str; 3] = ["png", "jpeg", "webp"];
const STYLES: [&str; 17] = [
    "enhance",
    "anime",
    "photographic",
    "digital-art",
    "comic-book",
    "fantasy-art",
    "line-art",
    "analog-film",
    "neon-punk",
    "isometric",
    "low-poly",
    "origami",
    "modeling-compound",
    "cinematic",
    "3d-model",
    "pixel-art",
    "tile-texture",
];
/// The old ids are re-routed to their successors.
const SD3_MODELS: [&str; 7] =
    ["sd3.5-large", "sd3.5-large-turbo", "sd3.5-medium", "sd3.5-flash", "sd3-large", "sd3-large-turbo", "sd3-medium"];
const SAMPLERS: [&str; 10] = [
    "DDIM",
    "DDPM",
    "K_DPMPP_2M",
    "K_DPMPP_2S_ANCESTRAL",
    "K_DPM_2",
    "K_DPM_2_ANCESTRAL",
    "K_EULER",
    "K_EULER_ANCESTRAL",
    "K_HEUN",
    "K_LMS",
];
const GUIDANCES: [&str; 7] = ["FAST_BLUE", "FAST_GREEN", "NONE", "SIMPLE", "SLOW", "SLOWER", "SLOWEST"];

const MAX_SEED: i64 = 4_294_967_294;
const MAX_SEED_V1: i64 = 4_294_967_295;
/// Pixels of a picture given to `upscale/creative`, and of one drawn by version 1.
const MAX_PIXELS: u64 = 1_048_576;
const MIN_PICTURE_PIXELS: u64 = 4_096;
const MIN_V1_PIXELS: u64 = 262_144;

/// The endpoints below `/v2beta/stable-image/generate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Ultra,
    Core,
    Sd3,
}

impl Service {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "ultra" => Some(Self::Ultra),
            "core" => Some(Self::Core),
            "sd3" => Some(Self::Sd3),
            _ => None,
        }
    }
}

/// What a form of `generate/{service}` wants.
pub(super) fn generation(service: Service, form: &Form) -> Result<Wanted, Wrong> {
    let texts = form.texts();
    let fields = Fields::of_form(&texts);
    let ratio = fields.word("aspect_ratio", &RATIOS)?;
    let square = |ratio: Option<&str>| Size::of_aspect_ratio(ratio.unwrap_or("1:1"));
    let image = picture(form, 64..=16_384, u64::MAX)?;
    let from_image = match service {
        Service::Core if image.is_some() => return Err(Wrong::new("image", "is not allowed")),
        Service::Core => false,
        Service::Ultra => image.is_some(),
        Service::Sd3 => {
            fields.word("model", &SD3_MODELS)?;
            fields.number("cfg_scale", 1.0..=10.0)?;
            fields.word("mode", &["text-to-image", "image-to-image"])? == Some("image-to-image")
        }
    };
    match (from_image, &image) {
        (true, None) => return Err(Wrong::required("image")),
        (false, Some(_)) => return Err(Wrong::new("image", "is only allowed when mode is image-to-image")),
        (true, Some(_)) | (false, None) => {}
    }
    let strength = fields.number("strength", 0.0..=1.0)?;
    if from_image && strength.is_none() {
        return Err(Wrong::required("strength"));
    }
    if from_image && service == Service::Sd3 && ratio.is_some() {
        return Err(Wrong::new("aspect_ratio", "is only allowed when mode is text-to-image"));
    }
    let size = match service {
        _ if from_image => None,
        Service::Core => square(ratio).map(|size| Size::new(size.width * 3 / 2, size.height * 3 / 2)),
        Service::Ultra | Service::Sd3 => square(ratio),
    };
    let common = common(fields)?;
    Ok(Wanted {
        prompt: common.prompt.to_owned(),
        field: "image".to_owned(),
        pictures: image.into_iter().collect(),
        make: Make::picture(common.format, size),
        echo: json!({"seed": common.seed}),
    })
}

/// What a form of `upscale/creative` wants.
pub(super) fn upscale(form: &Form) -> Result<Wanted, Wrong> {
    let texts = form.texts();
    let fields = Fields::of_form(&texts);
    let image = picture(form, 64..=16_384, MAX_PIXELS)?.ok_or_else(|| Wrong::required("image"))?;
    fields.number("creativity", 0.1..=0.5)?;
    let common = common(fields)?;
    Ok(Wanted {
        prompt: common.prompt.to_owned(),
        field: "image".to_owned(),
        pictures: vec![image],
        make: Make::Pictures { count: 1, format: common.format, size: None, scale: 4 },
        echo: json!({"seed": common.seed}),
    })
}

struct Common<'a> {
    prompt: &'a str,
    format: Format,
    seed: i64,
}

/// The fields that all forms of version 2 share.
fn common<'a>(fields: Fields<'a>) -> Result<Common<'a>, Wrong> {
    let prompt = fields.required_text("prompt", 1..=10_000)?;
    fields.text("negative_prompt", 0..=10_000)?;
    fields.word("style_preset", &STYLES)?;
    let format = fields.word("output_format", &FORMATS)?.and_then(Format::parse).unwrap_or(Format::Png);
    let seed = drawn_seed(fields.whole("seed", 0..=MAX_SEED)?);
    Ok(Common { prompt, format, seed })
}

/// 0 and none ask for a random one.
fn drawn_seed(asked: Option<i64>) -> i64 {
    asked.filter(|seed| *seed != 0).unwrap_or_else(|| i64::from(u32::from_le_bytes(random_bytes()) >> 1) + 1)
}

/// The picture of the field `image` as a data URI.
fn picture(form: &Form, sides: std::ops::RangeInclusive<u32>, most_pixels: u64) -> Result<Option<String>, Wrong> {
    let Some(file) = form.files("image").next() else {
        return Ok(None);
    };
    let (mime, size) = probe(&file.bytes).ok_or_else(|| Wrong::new("image", "must be a jpeg, png or webp file"))?;
    if !sides.contains(&size.width) || !sides.contains(&size.height) {
        return Err(Wrong::new("image", format!("must have sides of {} to {} pixels", sides.start(), sides.end())));
    }
    let pixels = u64::from(size.width) * u64::from(size.height);
    if !(MIN_PICTURE_PIXELS..=most_pixels).contains(&pixels) {
        return Err(Wrong::new("image", "must have a pixel count within the limits of this endpoint"));
    }
    Ok(Some(data_uri(mime, &file.bytes)))
}

/// What a body of version 1 wants; the error comes with its name.
pub(super) fn generation_v1(body: &Value, one_only: bool) -> Result<Wanted, (&'static str, Wrong)> {
    let fields = Fields::of_json(body);
    let bad = |wrong: Wrong| ("bad_request", wrong);
    let prompts = fields.get("text_prompts").and_then(Value::as_array).filter(|prompts| !prompts.is_empty());
    let prompts = prompts.ok_or_else(|| bad(Wrong::new("text_prompts", "must have at least 1 element")))?;
    for prompt in prompts {
        let prompt = Fields::of_json(prompt);
        prompt.required_text("text", 0..=2_000).map_err(bad)?;
        prompt.number("weight", f64::MIN..=f64::MAX).map_err(bad)?;
    }
    fields.number("cfg_scale", 0.0..=35.0).map_err(bad)?;
    fields.whole("steps", 10..=150).map_err(bad)?;
    fields.word("sampler", &SAMPLERS).map_err(bad)?;
    fields.word("clip_guidance_preset", &GUIDANCES).map_err(bad)?;
    let seed = fields.whole("seed", 0..=MAX_SEED_V1).map_err(bad)?;
    let samples = fields.whole("samples", 1..=10).map_err(|wrong| ("invalid_samples", wrong))?.unwrap_or(1);
    if one_only && samples > 1 {
        return Err(("invalid_samples", Wrong::new("samples", "must be 1 unless the response is JSON")));
    }
    let side = |name: &str| {
        let side = fields.whole(name, 128..=4_096).map_err(|wrong| ("invalid_height_or_width", wrong))?.unwrap_or(512);
        if side % 64 == 0 { Ok(side) } else { Err(("invalid_height_or_width", Wrong::new(name, "must be a multiple of 64"))) }
    };
    let (width, height) = (side("width")?, side("height")?);
    if !(MIN_V1_PIXELS..=MAX_PIXELS).contains(&(width * height).unsigned_abs()) {
        let text = format!("times width must be {MIN_V1_PIXELS} to {MAX_PIXELS} pixels");
        return Err(("invalid_pixel_count", Wrong::new("height", text)));
    }
    let whole = |number: i64| u32::try_from(number).expect("it was just checked to be small and positive");
    Ok(Wanted {
        prompt: prompts[0]["text"].as_str().unwrap_or_default().to_owned(),
        field: String::new(),
        pictures: Vec::new(),
        make: Make::Pictures {
            count: whole(samples),
            format: Format::Png,
            size: Some(Size::new(whole(width), whole(height))),
            scale: 1,
        },
        echo: json!({"seed": drawn_seed(seed)}),
    })
}
