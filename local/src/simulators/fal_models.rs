//! What is known of fal's endpoints: what they need, and the shape of what they answer.

use serde_json::{Map, Value, json};
use shared::draw::{Format, MAX_SIDE_PX, MIN_SIDE_PX};

use super::jobs::{InputFault, Job};
use super::media::{self, Drawing, MediaFile, Plan, Size};
use super::prompt::prompt_of;

/// Seedream's bound on the pictures of one request.
const MAX_IMAGES: u32 = 15;

pub(super) struct Endpoint {
    required: &'static [&'static str],
    output: Output,
    format: Format,
    size: Size,
    png_inputs_only: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// `images`, and these fields beside it.
    Images(&'static [&'static str]),
    /// A single `image`, with a `seed`.
    SeededImage,
    /// A single `image`.
    Image,
    /// A single `image` without its width and height.
    UnsizedImage,
    /// `output`, a text.
    Text,
}

/// The facts of an endpoint. One that is not known is taken for an image model that needs a prompt, unless a picture is given.
pub(super) fn endpoint(id: &str, input: &Value) -> Endpoint {
    let images = |required, beside, format| Endpoint {
        required,
        output: Output::Images(beside),
        format,
        size: Size::new(1024, 1024),
        png_inputs_only: false,
    };
    let single = |required, output| Endpoint { output, ..images(required, &[], Format::Png) };
    const FLUX: &[&str] = &["prompt", "seed", "has_nsfw_concepts", "timings"];
    const EDIT: &[&str] = &["prompt", "image_urls"];
    match id {
        "fal-ai/nano-banana" => images(&["prompt"], &["description"], Format::Png),
        "fal-ai/nano-banana/edit" | "fal-ai/nano-banana-pro/edit" => images(EDIT, &["description"], Format::Png),
        "fal-ai/gpt-image-1-mini/edit" => images(EDIT, &[], Format::Png),
        "fal-ai/bytedance/seedream/v4/text-to-image" => images(&["prompt"], &["seed"], Format::Png),
        "fal-ai/bytedance/seedream/v4/edit" => images(EDIT, &["seed"], Format::Png),
        "fal-ai/flux/dev" => Endpoint { size: Size::new(1024, 768), ..images(&["prompt"], FLUX, Format::Jpeg) },
        "fal-ai/chrono-edit" => images(&["prompt", "image_url"], &["prompt", "seed"], Format::Jpeg),
        "fal-ai/flux-general/inpainting" => images(&["prompt", "image_url", "mask_url"], FLUX, Format::Png),
        "fal-ai/retoucher" => single(&["image_url"], Output::SeededImage),
        "fal-ai/recraft/upscale/crisp" => Endpoint { png_inputs_only: true, ..single(&["image_url"], Output::UnsizedImage) },
        "fal-ai/face-swap" => single(&["base_image_url", "swap_image_url"], Output::Image),
        "fal-ai/any-llm" => single(&["prompt"], Output::Text),
        "openrouter/router" => single(&["model", "prompt"], Output::Text),
        _ if media::linked_pictures(input).is_empty() => images(&["prompt"], &["seed"], Format::Png),
        _ => images(&[], &["seed"], Format::Png),
    }
}

impl Endpoint {
    pub(super) fn plan(&self, id: &str, input: &Value) -> Result<Plan, Vec<InputFault>> {
        let mut faults: Vec<InputFault> = self.missing(input).collect();
        let count = number(input, "num_images", 1, MAX_IMAGES).unwrap_or_else(|fault| {
            faults.push(fault);
            None
        });
        let size = asked_size(input).unwrap_or_else(|fault| {
            faults.push(fault);
            None
        });
        let format = match input.get("output_format").map(|format| format.as_str().unwrap_or_default()) {
            None => self.format,
            Some("png") => Format::Png,
            Some("jpeg") => Format::Jpeg,
            Some("webp") => Format::Webp,
            Some(_) => {
                faults.push(InputFault::new("output_format", "one_of", "Input should be one of 'jpeg', 'png', 'webp'"));
                self.format
            }
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        let prompt = prompt_of(input);
        if self.output == Output::Text {
            return Ok(Plan::Text(format!("Simulated answer to: {prompt}")));
        }
        let single = !matches!(self.output, Output::Images(_));
        Ok(Plan::Images(Drawing {
            count: if single { 1 } else { count.unwrap_or(1) },
            format,
            size,
            input_scale: if id.contains("upscale") { 2 } else { 1 },
            default_size: self.size,
            text: if prompt.is_empty() { id.to_owned() } else { prompt },
            inputs: media::linked_pictures(input),
            png_inputs_only: self.png_inputs_only,
        }))
    }

    fn missing(&self, input: &Value) -> impl Iterator<Item = InputFault> {
        self.required.iter().filter_map(move |field| match input.get(*field) {
            None | Some(Value::Null) => Some(InputFault::new(field, "missing", "field required")),
            Some(Value::Array(items)) if items.is_empty() => {
                Some(InputFault::new(field, "sequence_too_short", "List should have at least 1 item"))
            }
            Some(_) => None,
        })
    }

    /// The model's output for the files made.
    pub(super) fn output(&self, job: &Job, files: &[MediaFile]) -> Value {
        let images: Vec<Value> = files.iter().map(|file| self.image(job, file)).collect();
        let seed = job.input.get("seed").cloned().unwrap_or_else(|| json!(seed_of(&job.id)));
        let first = images.first().cloned().unwrap_or_default();
        match self.output {
            Output::Images(beside) => {
                let mut output = Map::new();
                output.insert("images".to_owned(), json!(images));
                for field in beside {
                    let value = match *field {
                        "seed" => seed.clone(),
                        "prompt" => json!(prompt_of(&job.input)),
                        "description" => json!(""),
                        "has_nsfw_concepts" => json!(vec![false; images.len()]),
                        _ => json!({}),
                    };
                    output.insert((*field).to_owned(), value);
                }
                Value::Object(output)
            }
            Output::SeededImage => json!({"image": first, "seed": seed}),
            Output::Image | Output::UnsizedImage => json!({"image": first}),
            Output::Text => Value::Null,
        }
    }

    fn image(&self, job: &Job, file: &MediaFile) -> Value {
        let mut image = json!({
            "url": job.link(file),
            "content_type": file.format.content_type(),
            "file_name": file.name,
            "file_size": file.bytes,
        });
        if self.output != Output::UnsizedImage {
            image["width"] = json!(file.size.width);
            image["height"] = json!(file.size.height);
        }
        image
    }
}

/// A seed as good as random, the same at every read.
fn seed_of(id: &str) -> u32 {
    id.bytes().fold(0, |seed: u32, byte| seed.wrapping_mul(31).wrapping_add(u32::from(byte)))
}

fn asked_size(input: &Value) -> Result<Option<Size>, InputFault> {
    let unknown = |field| InputFault::new(field, "one_of", format!("`{field}` is none of the known sizes"));
    match input.get("image_size") {
        None | Some(Value::Null) => {}
        Some(Value::String(name)) => return named_size(name).ok_or_else(|| unknown("image_size")),
        Some(sides) => {
            let width = number(sides, "width", MIN_SIDE_PX, MAX_SIDE_PX)?;
            let height = number(sides, "height", MIN_SIDE_PX, MAX_SIDE_PX)?;
            return match (width, height) {
                (Some(width), Some(height)) => Ok(Some(Size::new(width, height))),
                (None, _) => Err(InputFault::new("width", "missing", "field required")),
                (_, None) => Err(InputFault::new("height", "missing", "field required")),
            };
        }
    }
    let word = |field: &str| input.get(field).and_then(Value::as_str);
    let ratio = match word("aspect_ratio") {
        None | Some("auto") => None,
        Some(ratio) => Some(Size::of_aspect_ratio(ratio).ok_or_else(|| unknown("aspect_ratio"))?),
    };
    let square = Size::new(1024, 1024);
    match word("resolution") {
        None | Some("1K") => Ok(ratio),
        Some("2K") => Ok(Some(ratio.unwrap_or(square).scaled(2))),
        Some("4K") => Ok(Some(ratio.unwrap_or(square).scaled(4))),
        Some("480p") => Ok(Some(ratio.unwrap_or(Size::new(854, 480)))),
        Some("720p") => Ok(Some(ratio.unwrap_or(Size::new(1280, 720)))),
        Some(_) => Err(unknown("resolution")),
    }
}

/// The size of a preset or of `1024x1536`; an inner none leaves it to the input or the endpoint.
fn named_size(name: &str) -> Option<Option<Size>> {
    let (width, height) = match name {
        "auto" => return Some(None),
        "square_hd" => (1024, 1024),
        "square" => (512, 512),
        "portrait_4_3" => (768, 1024),
        "portrait_16_9" => (576, 1024),
        "landscape_4_3" => (1024, 768),
        "landscape_16_9" => (1024, 576),
        "auto_2K" => (2048, 2048),
        "auto_4K" => (4096, 4096),
        sides => {
            let (width, height) = sides.split_once('x')?;
            (width.parse().ok()?, height.parse().ok()?)
        }
    };
    let drawn = MIN_SIDE_PX..=MAX_SIDE_PX;
    (drawn.contains(&width) && drawn.contains(&height)).then_some(Some(Size::new(width, height)))
}

fn number(input: &Value, field: &str, least: u32, most: u32) -> Result<Option<u32>, InputFault> {
    let Some(value) = input.get(field).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let too_small = || InputFault::new(field, "greater_than_equal", format!("Input should be greater than or equal to {least}"));
    let number = value.as_u64().ok_or_else(too_small)?;
    if number < u64::from(least) {
        return Err(too_small());
    }
    u32::try_from(number)
        .ok()
        .filter(|number| *number <= most)
        .map(Some)
        .ok_or_else(|| InputFault::new(field, "less_than_equal", format!("Input should be less than or equal to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &Value, expected: Result<Option<(u32, u32)>, &str>) {
        let size = asked_size(input).map(|size| size.map(|size| (size.width, size.height)));
        assert_eq!(size.map_err(|fault| fault.kind), expected.map_err(str::to_owned), "{input}");
    }

    #[test]
    fn size_is_read_in_each_of_its_forms() {
        check(&json!({}), Ok(None));
        check(&json!({"image_size": "auto", "aspect_ratio": "16:9"}), Ok(None));
        check(&json!({"image_size": "landscape_16_9"}), Ok(Some((1024, 576))));
        check(&json!({"image_size": "1024x1536"}), Ok(Some((1024, 1536))));
        check(&json!({"image_size": {"width": 640, "height": 480}}), Ok(Some((640, 480))));
        check(&json!({"aspect_ratio": "16:9"}), Ok(Some((1344, 768))));
        check(&json!({"aspect_ratio": "1:1", "resolution": "2K"}), Ok(Some((2048, 2048))));
        check(&json!({"resolution": "720p"}), Ok(Some((1280, 720))));
        check(&json!({"image_size": "huge"}), Err("one_of"));
        check(&json!({"image_size": "9x9"}), Err("one_of"));
        check(&json!({"image_size": {"width": 640}}), Err("missing"));
        check(&json!({"image_size": {"width": 640, "height": 9000}}), Err("less_than_equal"));
        check(&json!({"aspect_ratio": "wide"}), Err("one_of"));
    }
}
