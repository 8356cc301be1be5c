//! The extended prompt: `a red fox | model=flux | size=1024x768 | aspect_ratio=3:2 | negative=people`. One line says what is to be made and
//! how, for where there is one line only, as in a chat.

use serde_json::{Map, Value, json};

use crate::catalog::InvalidParam;

/// What an extended prompt says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtendedPrompt {
    /// What is to be made.
    pub prompt: String,
    /// A model's name or alias.
    pub model: Option<String>,
    /// Width and height in pixels.
    pub size: Option<(u32, u32)>,
    /// As `16:9`.
    pub aspect_ratio: Option<String>,
    /// What is not to be in it.
    pub negative: Option<String>,
}

/// The settings, as they are written.
const SETTINGS: &str = "`model=`, `size=`, `aspect_ratio=` and `negative=`";

fn wrong(detail: String) -> InvalidParam {
    InvalidParam { code: "invalid_param", param: "params.prompt".to_owned(), detail }
}

impl ExtendedPrompt {
    /// Reads a line. A part that is no setting, as there is no `=` in it, belongs to the prompt.
    pub fn parse(line: &str) -> Result<Self, InvalidParam> {
        let mut parts = line.split('|');
        let mut read = Self { prompt: parts.next().unwrap_or_default().trim().to_owned(), ..Self::default() };
        for part in parts {
            match part.split_once('=') {
                Some((name, value)) => read.set(name.trim(), value.trim())?,
                None if part.trim().is_empty() => {}
                None => read.prompt = format!("{} | {}", read.prompt, part.trim()),
            }
        }
        Ok(read)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), InvalidParam> {
        if value.is_empty() {
            return Err(wrong(format!("`{name}=` says nothing: write a value behind it, or leave it out")));
        }
        let twice = || wrong(format!("`{name}=` is written twice: once is enough"));
        let once = |place: &mut Option<String>| match place.replace(value.to_owned()) {
            None => Ok(()),
            Some(_) => Err(twice()),
        };
        match name.to_ascii_lowercase().as_str() {
            "model" => once(&mut self.model),
            "aspect_ratio" | "ratio" => once(&mut self.aspect_ratio),
            "negative" | "negative_prompt" => once(&mut self.negative),
            "size" => match self.size.replace(size(value)?) {
                None => Ok(()),
                Some(_) => Err(twice()),
            },
            _ => Err(wrong(format!("`{name}=` is no setting of the extended syntax; it has {SETTINGS}"))),
        }
    }

    /// Writes what it says into the parameters of a model or tool whose JSON Schema is `schema`. What that does not take is refused, and so is
    /// what `params` say already. The model is not among them.
    pub fn into_params(self, schema: &Value, params: &mut Map<String, Value>) -> Result<(), InvalidParam> {
        params.insert("prompt".to_owned(), Value::from(self.prompt));
        let known = |name: &str| schema.pointer(&format!("/properties/{name}")).is_some();
        let mut add = |name: &str, setting: &str, value: Value| {
            if !known(name) {
                return Err(wrong(format!("`{setting}=` cannot be met: what was asked for takes no `{name}`")));
            }
            match params.insert(name.to_owned(), value) {
                None => Ok(()),
                Some(_) => Err(wrong(format!("`{setting}=` is said by `params.{name}` too: say it once"))),
            }
        };
        if let Some((width, height)) = self.size {
            if known("width") && known("height") {
                add("width", "size", Value::from(width))?;
                add("height", "size", Value::from(height))?;
            } else {
                add("image_size", "size", json!({"width": width, "height": height}))?;
            }
        }
        if let Some(ratio) = self.aspect_ratio {
            add("aspect_ratio", "aspect_ratio", Value::from(ratio))?;
        }
        match self.negative {
            Some(negative) => add("negative_prompt", "negative", Value::from(negative)),
            None => Ok(()),
        }
    }
}

/// `1024x768`, with a Latin or Cyrillic x, a times sign or a star.
fn size(text: &str) -> Result<(u32, u32), InvalidParam> {
    let (width, height) = text
        .split_once(['x', 'X', '×', '*', 'х', 'Х'])
        .ok_or_else(|| wrong(format!("`size={text}` is no size: write it as `size=1024x1024`")))?;
    let side = |side: &str| match side.trim().parse::<u32>() {
        Ok(pixels) if (1..=65_535).contains(&pixels) => Ok(pixels),
        Ok(_) | Err(_) => Err(wrong(format!("`size={text}` is no size: each side is a number of pixels, 1 to 65535"))),
    };
    Ok((side(width)?, side(height)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> ExtendedPrompt {
        ExtendedPrompt::parse(line).expect("an extended prompt")
    }

    #[test]
    fn a_line_says_all_of_it() {
        let line = "лиса в снегу | model=fal-ai/flux/dev | size=1024x768 | aspect_ratio=4:3 | negative=люди, текст";
        let all = ExtendedPrompt {
            prompt: "лиса в снегу".to_owned(),
            model: Some("fal-ai/flux/dev".to_owned()),
            size: Some((1024, 768)),
            aspect_ratio: Some("4:3".to_owned()),
            negative: Some("люди, текст".to_owned()),
        };
        assert_eq!(read(line), all);
        assert_eq!(read("a fox|SIZE = 1024 х 768|").size, Some((1024, 768)));
        assert_eq!(read("a = b").prompt, "a = b");
        assert_eq!(read("black | white").prompt, "black | white");
        assert_eq!(read("a fox | negative=x=1, y").negative.as_deref(), Some("x=1, y"));
    }

    #[test]
    fn a_mistake_is_named() {
        for (line, told) in [
            ("a | style=noir", "`style=` is no setting"),
            ("a | size=big", "`size=big` is no size"),
            ("a | size=0x10", "1 to 65535"),
            ("a | size=99999999999x1", "1 to 65535"),
            ("a | model=", "`model=` says nothing"),
            ("a | model=b | model=c", "twice"),
            ("a | size=1x1 | size=1x1", "twice"),
        ] {
            let error = ExtendedPrompt::parse(line).expect_err(line);
            assert!(error.detail.contains(told), "{line}: {}", error.detail);
        }
    }

    #[test]
    fn what_is_not_taken_is_refused() {
        let schema = json!({"properties": {"prompt": {}, "width": {}, "height": {}}});
        let mut params = Map::new();
        read("a | size=10x20").into_params(&schema, &mut params).expect("taken");
        assert_eq!(Value::Object(params.clone()), json!({"prompt": "a", "width": 10, "height": 20}));
        let twice = read("a | size=10x20").into_params(&schema, &mut params).expect_err("said twice");
        assert!(twice.detail.contains("params.width"), "{}", twice.detail);
        let not_known = read("a | negative=b").into_params(&schema, &mut Map::new()).expect_err("not known");
        assert!(not_known.detail.contains("takes no `negative_prompt`"), "{}", not_known.detail);
        let by_object = json!({"properties": {"prompt": {}, "image_size": {}}});
        let mut params = Map::new();
        read("a | size=10x20").into_params(&by_object, &mut params).expect("taken");
        assert_eq!(params["image_size"], json!({"width": 10, "height": 20}));
    }
}
