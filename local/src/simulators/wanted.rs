//! What a request wants made, in the same words for all providers whose requests differ too much to be read twice.

use std::io::Cursor;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::draw::{Format, MAX_SIDE_PX, MIN_SIDE_PX};

use super::Simulators;
use super::fields::Wrong;
use super::jobs::{Failure, Job};
use super::media::{self, Clip, Drawing, InputLink, Plan, Size};

/// A checked request, kept as the job's input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Wanted {
    pub(super) prompt: String,
    /// The field that the pictures were given in.
    pub(super) field: String,
    /// Links and data URIs of the pictures given; they are fetched and decoded before anything is drawn.
    pub(super) pictures: Vec<String>,
    pub(super) make: Make,
    /// What the answer says besides, in the provider's own words.
    pub(super) echo: Value,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Make {
    Pictures {
        count: u32,
        format: Format,
        /// Without one, the size of the first picture given, `scale` times; without that, 1024 by 1024.
        size: Option<Size>,
        scale: u32,
    },
    Text(String),
    Video {
        size: Size,
        seconds: u32,
    },
}

impl Make {
    pub(super) fn picture(format: Format, size: Option<Size>) -> Self {
        Self::Pictures { count: 1, format, size, scale: 1 }
    }
}

impl Wanted {
    pub(super) fn into_input(self) -> Value {
        json!(self)
    }

    fn links(&self) -> Vec<InputLink> {
        let link = |(index, url): (usize, &String)| InputLink { index: Some(index), ..InputLink::new(&self.field, url) };
        self.pictures.iter().enumerate().map(link).collect()
    }
}

/// What an admitted job makes.
pub(super) fn plan(job: &Job) -> Result<Plan, Failure> {
    let wanted: Wanted = serde_json::from_value(job.input.clone()).map_err(|error| Failure::Broken(error.to_string()))?;
    let inputs = wanted.links();
    let text = if wanted.prompt.is_empty() { job.model.clone() } else { wanted.prompt };
    Ok(match wanted.make {
        Make::Text(text) => Plan::Text(text),
        Make::Video { size, seconds } => Plan::Video(Clip { size, seconds, text, inputs }),
        Make::Pictures { count, format, size, scale } => Plan::Images(Drawing {
            count,
            format,
            size,
            input_scale: scale,
            default_size: Size::new(1024, 1024),
            text,
            inputs,
            png_inputs_only: false,
        }),
    })
}

/// A field of [`Wanted::echo`].
pub(super) fn echo<'a>(job: &'a Job, field: &str) -> &'a Value {
    &job.input["echo"][field]
}

/// Refuses pictures that cannot be fetched and read, for answers that are not drawn on them.
pub(super) async fn check_pictures(sim: &Simulators, wanted: &Wanted) -> Result<(), Wrong> {
    let inputs = media::fetch_inputs(&sim.parts.outbound, &wanted.links(), false).await;
    inputs.map(drop).map_err(|fault| Wrong::new(&fault.field, fault.text))
}

/// The content type and size of a picture as its first bytes tell them; none when it is not JPEG, PNG or WebP.
pub(super) fn probe(bytes: &[u8]) -> Option<(&'static str, Size)> {
    let mime = infer::get(bytes)?.mime_type();
    Format::parse(mime)?;
    let (width, height) = image::ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?.into_dimensions().ok()?;
    Some((mime, Size::new(width, height)))
}

pub(super) fn data_uri(content_type: &str, bytes: &[u8]) -> String {
    format!("data:{content_type};base64,{}", BASE64_STANDARD.encode(bytes))
}

/// Whether a text is a link or data URI that a picture may be given by.
pub(super) fn is_link(text: &str) -> bool {
    ["https://", "http://", "data:image/"].iter().any(|start| text.starts_with(start))
}

/// `1024x768`, within what is drawn.
pub(super) fn sides(text: &str) -> Option<Size> {
    let (width, height) = text.split_once('x')?;
    let side = |digits: &str| digits.parse().ok().filter(|side| (MIN_SIDE_PX..=MAX_SIDE_PX).contains(side));
    Some(Size::new(side(width)?, side(height)?))
}

/// The size of `ratio` (`16:9`, `9:19.5`) with the area of a square of that side, in multiples of 16 pixels.
pub(super) fn of_ratio(ratio: &str, square_side: u32) -> Option<Size> {
    let (width, height) = ratio.split_once(':')?;
    let (width, height) = (tenths(width)?, tenths(height)?);
    let area = u64::from(square_side) * u64::from(square_side);
    let side = |this: u64, other: u64| {
        let length = (area * this / other).isqrt().next_multiple_of(16);
        u32::try_from(length).map_or(MAX_SIDE_PX, |length| length.clamp(MIN_SIDE_PX, MAX_SIDE_PX))
    };
    Some(Size::new(side(width, height), side(height, width)))
}

/// The size of `ratio` whose shorter side is that long, both sides even.
pub(super) fn of_short_side(ratio: &str, short: u32) -> Option<Size> {
    let (width, height) = ratio.split_once(':')?;
    let (width, height) = (tenths(width)?, tenths(height)?);
    let side = |this: u64| {
        let length = (u64::from(short) * this / width.min(height)).next_multiple_of(2);
        u32::try_from(length).map_or(MAX_SIDE_PX, |length| length.clamp(MIN_SIDE_PX, MAX_SIDE_PX))
    };
    Some(Size::new(side(width), side(height)))
}

/// `19.5` as 195.
fn tenths(number: &str) -> Option<u64> {
    let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
    let (whole, tenth): (u64, u64) = (whole.parse().ok()?, tenth.parse().ok()?);
    (whole <= 100 && tenth < 10 && whole + tenth > 0).then_some(whole * 10 + tenth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_sides_are_kept() {
        assert_eq!(of_short_side("16:9", 720), Some(Size::new(1280, 720)));
        assert_eq!(of_short_side("9:21", 480), Some(Size::new(480, 1120)));
    }

    #[test]
    fn ratios_keep_the_area() {
        let check = |ratio: &str, side: u32, size: (u32, u32)| {
            assert_eq!(of_ratio(ratio, side).map(|size| (size.width, size.height)), Some(size), "{ratio}");
        };
        check("1:1", 1024, (1024, 1024));
        check("16:9", 1024, (1376, 768));
        check("1:8", 1024, (368, 2896));
        check("9:19.5", 512, (352, 768));
        check("1:8", 4096, (1456, 4096));
        for wrong in ["", "1", "0:1", "a:b", "1:0.0", "16:9:1"] {
            assert!(of_ratio(wrong, 1024).is_none(), "{wrong}");
        }
    }
}
