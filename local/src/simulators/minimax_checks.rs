//! What MiniMax refuses at once: the checks of the three create calls.

use serde_json::Value;

use super::fields::{Fields, Wrong};

const TEXT_MODELS: [&str; 4] = ["MiniMax-Hailuo-2.3", "MiniMax-Hailuo-02", "T2V-01-Director", "T2V-01"];
const FRAME_MODELS: [&str; 6] =
    ["MiniMax-Hailuo-2.3", "MiniMax-Hailuo-2.3-Fast", "MiniMax-Hailuo-02", "I2V-01-Director", "I2V-01-live", "I2V-01"];
const SUBJECT_MODEL: &str = "S2V-01";
const V2_ROLES: [&str; 6] = ["first_frame", "last_frame", "reference_image", "reference_video", "reference_audio", "base_video"];
const V2_RATIOS: [&str; 7] = ["adaptive", "21:9", "16:9", "4:3", "1:1", "3:4", "9:16"];
const IMAGE_RATIOS: [&str; 8] = ["1:1", "16:9", "4:3", "3:2", "2:3", "3:4", "9:16", "21:9"];

/// Checks the body of a v1 video: which models take which frames, and the lengths and resolutions they can do.
pub(super) fn check_video(body: &Value) -> Result<(), Wrong> {
    let fields = Fields::of_json(body);
    let model = fields.required_text("model", 1..=100)?;
    let prompt = fields.text("prompt", 0..=2_000)?.unwrap_or_default();
    let first = fields.text("first_frame_image", 1..=usize::MAX)?;
    let last = fields.text("last_frame_image", 1..=usize::MAX)?;
    fields.text("callback_url", 1..=2_000)?;
    for name in ["prompt_optimizer", "fast_pretreatment", "aigc_watermark"] {
        fields.flag(name)?;
    }
    if model == SUBJECT_MODEL {
        subject(body, "image")?;
    } else if !TEXT_MODELS.contains(&model) && !FRAME_MODELS.contains(&model) {
        return Err(Wrong::new("model", "is not supported"));
    } else if last.is_some() && model != "MiniMax-Hailuo-02" {
        return Err(Wrong::new("last_frame_image", "is not supported by the model"));
    } else if first.is_none() && last.is_none() && !TEXT_MODELS.contains(&model) {
        return Err(Wrong::required("first_frame_image"));
    } else if first.is_some() && !FRAME_MODELS.contains(&model) {
        return Err(Wrong::new("first_frame_image", "is not supported by the model"));
    }
    if prompt.is_empty() && first.is_none() && last.is_none() && model != SUBJECT_MODEL {
        return Err(Wrong::required("prompt"));
    }
    check_length(fields, model, first.is_some() && last.is_none())
}

fn check_length(fields: Fields<'_>, model: &str, takes_512p: bool) -> Result<(), Wrong> {
    let newer = model.starts_with("MiniMax-Hailuo");
    let seconds = fields.whole("duration", 6..=10)?.unwrap_or(6);
    let resolutions: &[&str] = match (newer, seconds) {
        (true, 6) if model == "MiniMax-Hailuo-02" && takes_512p => &["512P", "768P", "1080P"],
        (true, 6) => &["768P", "1080P"],
        (true, 10) if model == "MiniMax-Hailuo-02" && takes_512p => &["512P", "768P"],
        (true, 10) => &["768P"],
        (false, 6) => &["720P"],
        _ => return Err(Wrong::new("duration", "is not supported by the model")),
    };
    fields.word("resolution", resolutions).map(|_| ())
}

/// One subject with one picture.
fn subject(body: &Value, picture: &str) -> Result<(), Wrong> {
    let given = body.get("subject_reference").ok_or_else(|| Wrong::required("subject_reference"))?;
    let flawed = || Wrong::new("subject_reference", "must be one character with one image");
    let subject = given.as_array().filter(|subjects| subjects.len() == 1).ok_or_else(flawed)?[0].as_object();
    let image = subject.filter(|subject| subject.get("type").is_some_and(|kind| kind == "character"));
    let image = image.and_then(|subject| subject.get(picture)).ok_or_else(flawed)?;
    let is_one = image.is_string() || image.as_array().is_some_and(|images| images.len() == 1 && images[0].is_string());
    if is_one { Ok(()) } else { Err(flawed()) }
}

/// Checks the body of an image.
pub(super) fn check_image(body: &Value) -> Result<(), Wrong> {
    let fields = Fields::of_json(body);
    if !["image-01", "image-01-live"].contains(&fields.required_text("model", 1..=100)?) {
        return Err(Wrong::new("model", "is not supported"));
    }
    fields.required_text("prompt", 1..=1_500)?;
    fields.word("aspect_ratio", &IMAGE_RATIOS)?;
    fields.word("response_format", &["url", "base64"])?;
    fields.whole("n", 1..=9)?;
    fields.whole("seed", i64::MIN..=i64::MAX)?;
    for name in ["prompt_optimizer", "aigc_watermark"] {
        fields.flag(name)?;
    }
    let sides = (fields.whole("width", 512..=2_048)?, fields.whole("height", 512..=2_048)?);
    match sides {
        (None, None) => {}
        (Some(width), Some(height)) if width % 8 == 0 && height % 8 == 0 => {}
        (Some(_), Some(_)) => return Err(Wrong::new("width", "and height must be multiples of 8")),
        (Some(_), None) => return Err(Wrong::required("height")),
        (None, Some(_)) => return Err(Wrong::required("width")),
    }
    if body.get("subject_reference").is_some() { subject(body, "image_file") } else { Ok(()) }
}

/// Checks the body of a v2 video. `is_file` tells whether a file id was given out.
pub(super) fn check_v2(body: &Value, is_file: impl Fn(&str) -> bool) -> Result<(), Wrong> {
    let fields = Fields::of_json(body);
    let (resolutions, least_seconds): (&[&str], i64) = match fields.required_text("model", 1..=100)? {
        "MiniMax-H3" => (&["768P", "2K"], 4),
        "MiniMax-H3-Max" => (&["480P", "768P"], 5),
        _ => return Err(Wrong::new("model", "is not supported")),
    };
    fields.word("resolution", resolutions)?;
    fields.whole("duration", least_seconds..=15)?;
    let ratio = fields.word("ratio", &V2_RATIOS)?;
    fields.text("callback_url", 1..=2_000)?;
    fields.flag("aigc_watermark")?;
    if let Some(extra) = fields.get("extra") {
        Fields::of_json(extra).word("prompt_expansion_mode", &["disabled", "balanced", "quality"])?;
    }
    let content = fields.get("content").ok_or_else(|| Wrong::required("content"))?;
    let items = content.as_array().ok_or_else(|| Wrong::new("content", "must be a list"))?;
    check_content(items, is_file)?;
    if items.len() == 1 && ratio.is_none_or(|ratio| ratio == "adaptive") {
        return Err(Wrong::new("ratio", "must be other than adaptive without a picture or a video"));
    }
    Ok(())
}

fn check_content(items: &[Value], is_file: impl Fn(&str) -> bool) -> Result<(), Wrong> {
    let mut roles = Vec::new();
    let mut texts = 0;
    for item in items {
        let fields = Fields::of_json(item);
        let kind =
            fields.word("type", &["text", "image_url", "video_url", "audio_url"])?.ok_or_else(|| Wrong::required("type"))?;
        if kind == "text" {
            fields.required_text("text", 1..=7_000)?;
            texts += 1;
            continue;
        }
        roles.push(fields.word("role", &V2_ROLES)?.ok_or_else(|| Wrong::required("role"))?);
        let url = item.pointer(&format!("/{kind}/url")).and_then(Value::as_str).ok_or_else(|| Wrong::required("url"))?;
        if url.strip_prefix("mm_file://").is_some_and(|id| !is_file(id)) {
            return Err(Wrong::new("url", "names a file that does not exist"));
        }
    }
    if texts != 1 {
        return Err(Wrong::new("content", "must hold exactly one text"));
    }
    let frames = roles.iter().filter(|role| role.ends_with("_frame")).count();
    let references = roles.iter().filter(|role| role.starts_with("reference_")).count();
    if frames > 0 && references > 0 {
        return Err(Wrong::new("content", "must not mix frames and references"));
    }
    for (role, most) in
        [("first_frame", 1), ("last_frame", 1), ("reference_image", 9), ("reference_video", 3), ("reference_audio", 3)]
    {
        if roles.iter().filter(|given| **given == role).count() > most {
            return Err(Wrong::new("content", format!("must hold at most {most} of the role {role}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field(checked: Result<(), Wrong>) -> Option<String> {
        checked.err().map(|wrong| wrong.field)
    }

    #[test]
    fn models_take_the_frames_and_lengths_of_the_documented_table() {
        let hailuo = |more: Value| {
            let mut body = json!({"model": "MiniMax-Hailuo-02", "prompt": "x"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        for (body, wrong) in [
            (hailuo(json!({})), None),
            (hailuo(json!({"resolution": "1080P"})), None),
            (hailuo(json!({"resolution": "1080P", "duration": 10})), Some("resolution")),
            (hailuo(json!({"resolution": "512P"})), Some("resolution")),
            (hailuo(json!({"resolution": "512P", "first_frame_image": "https://x/y"})), None),
            (
                hailuo(json!({"resolution": "512P", "first_frame_image": "https://x/y", "last_frame_image": "https://x/y"})),
                Some("resolution"),
            ),
            (hailuo(json!({"duration": 7})), Some("duration")),
            (hailuo(json!({"model": "MiniMax-Hailuo-2.3-Fast"})), Some("first_frame_image")),
            (hailuo(json!({"model": "MiniMax-Hailuo-2.3", "last_frame_image": "https://x/y"})), Some("last_frame_image")),
            (hailuo(json!({"model": "T2V-01", "duration": 10})), Some("duration")),
            (hailuo(json!({"model": "T2V-01", "first_frame_image": "https://x/y"})), Some("first_frame_image")),
            (hailuo(json!({"model": "S2V-01"})), Some("subject_reference")),
            (hailuo(json!({"model": "S2V-01", "subject_reference": [{"type": "character", "image": ["https://x/y"]}]})), None),
            (hailuo(json!({"model": "Sora"})), Some("model")),
            (json!({"model": "MiniMax-Hailuo-02"}), Some("prompt")),
        ] {
            assert_eq!(field(check_video(&body)).as_deref(), wrong, "{body}");
        }
    }

    #[test]
    fn content_of_the_second_generation_is_checked() {
        let text = json!({"type": "text", "text": "x"});
        let picture = |role: &str, url: &str| json!({"type": "image_url", "role": role, "image_url": {"url": url}});
        let body = |content: Value| json!({"model": "MiniMax-H3", "content": content, "ratio": "16:9"});
        for (content, wrong) in [
            (json!([text]), None),
            (json!([]), Some("content")),
            (json!([text, text]), Some("content")),
            (json!([text, picture("first_frame", "https://x/y")]), None),
            (json!([text, picture("first_frame", "mm_file://1")]), None),
            (json!([text, picture("first_frame", "mm_file://2")]), Some("url")),
            (json!([text, picture("frame", "https://x/y")]), Some("role")),
            (json!([text, picture("first_frame", "a"), picture("reference_image", "b")]), Some("content")),
            (json!([text, picture("first_frame", "a"), picture("first_frame", "b")]), Some("content")),
        ] {
            assert_eq!(field(check_v2(&body(content.clone()), |id| id == "1")).as_deref(), wrong, "{content}");
        }
        let plain = json!({"model": "MiniMax-H3", "content": [text]});
        assert_eq!(field(check_v2(&plain, |_| false)).as_deref(), Some("ratio"));
    }
}
