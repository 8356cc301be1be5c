//! A model's parameters: checked against its JSON Schema, defaults filled in, media marked.

use std::collections::HashMap;
use std::sync::OnceLock;

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

use crate::ids::AssetId;

/// Compiled parameters.
#[derive(Debug)]
pub struct Params {
    schema: Value,
    validator: OnceLock<Validator>,
    defaults: Vec<(String, Value)>,
    assets: Vec<String>,
    media: HashMap<String, MediaRule>,
}

/// Which files a media parameter takes.
#[derive(Debug, Clone)]
struct MediaRule {
    /// Content types.
    types: Vec<String>,
    max_bytes: Option<u64>,
    compress_over_bytes: Option<u64>,
    /// Empty: as they are.
    send_as: Vec<String>,
}

/// What has to be done to an image before it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preparation {
    /// It is larger than this many bytes.
    Compress { over_bytes: u64 },
    /// The provider takes this content type.
    Convert { to: String },
}

impl MediaRule {
    /// `x-content-types`, `x-max-bytes`, `x-compress-over-bytes` and `x-send-as` of a media parameter or of its elements.
    fn of(property: &Value) -> Self {
        let stated = |name: &str| property.get(name).or_else(|| property.get("items")?.get(name));
        let words = |name: &str| {
            let words = stated(name)?.as_array()?;
            Some(words.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>())
        };
        let images = || ["image/jpeg", "image/png", "image/webp"].map(str::to_owned).to_vec();
        Self {
            types: words("x-content-types").unwrap_or_else(images),
            max_bytes: stated("x-max-bytes").and_then(Value::as_u64),
            compress_over_bytes: stated("x-compress-over-bytes").and_then(Value::as_u64),
            send_as: words("x-send-as").unwrap_or_default(),
        }
    }
}

/// One parameter that is not as the model needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidParam {
    /// A stable word: `missing_param`, `unknown_param`, `invalid_type`, `out_of_range`, `invalid_param`.
    pub code: &'static str,
    /// Which one, as `params.prompt` or `params.images.0`.
    pub param: String,
    /// What is wrong with it, and what would be right.
    pub detail: String,
}

impl Params {
    /// Compiles a JSON Schema (2020-12, no remote references).
    pub fn compile(schema: &Value) -> Result<Self, String> {
        let params = Self { validator: OnceLock::from(validator(schema)?), ..Self::known(schema) };
        for (name, default) in &params.defaults {
            let alone = Value::Object(Map::from_iter([(name.clone(), default.clone())]));
            let wrong = params.validator().iter_errors(&alone).any(|error| !error.instance_path().as_str().is_empty());
            if wrong {
                return Err(format!("the default of `{name}` is not a valid value of it"));
            }
        }
        Ok(params)
    }

    /// Of a schema that compiles, as a test has shown, or a check when it was put: compiled when it is first needed. A function's start is
    /// waited for, and most need none of all the schemas.
    pub(super) fn known(schema: &Value) -> Self {
        let mut defaults = Vec::new();
        let mut assets = Vec::new();
        let mut media = HashMap::new();
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if let Some(default) = property.get("default") {
                defaults.push((name.clone(), default.clone()));
            }
            let is_asset = |value: Option<&Value>| value.and_then(|v| v.get("format")) == Some(&Value::from("asset"));
            if is_asset(Some(property)) || is_asset(property.get("items")) {
                assets.push(name.clone());
                media.insert(name.clone(), MediaRule::of(property));
            }
        }
        Self { schema: schema.clone(), validator: OnceLock::new(), defaults, assets, media }
    }

    fn validator(&self) -> &Validator {
        self.validator.get_or_init(|| validator(&self.schema).expect("the schema compiles: it was checked"))
    }

    /// Checks what a customer sent and fills in the defaults. `at` is where it stood in the request, as `params.`; empty at the top.
    pub fn check(&self, at: &str, given: &Map<String, Value>) -> Result<Map<String, Value>, InvalidParam> {
        let mut params = given.clone();
        params.values_mut().for_each(whole_number);
        for (name, default) in &self.defaults {
            params.entry(name.clone()).or_insert_with(|| default.clone());
        }
        let params = Value::Object(params);
        if let Some(error) = self.validator().iter_errors(&params).next() {
            return Err(explain(at, &error));
        }
        for (name, id) in self.asset_texts(&params) {
            let param = format!("{at}{name}");
            id.parse::<AssetId>().map_err(|error| InvalidParam { code: "invalid_param", param, detail: error.to_string() })?;
        }
        match params {
            Value::Object(params) => Ok(params),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Ok(Map::new()),
        }
    }

    /// The media that checked parameters name: where, and which.
    pub fn assets(&self, params: &Map<String, Value>) -> Vec<(String, AssetId)> {
        let params = Value::Object(params.clone());
        self.asset_texts(&params).into_iter().filter_map(|(at, id)| id.parse().ok().map(|id| (at, id))).collect()
    }

    /// Whether the media parameter at `name` (`images.0`) takes a file like this; if not, why.
    pub fn admits(&self, name: &str, content_type: &str, bytes: u64) -> Result<(), String> {
        let Some(rule) = self.media.get(name.split('.').next().unwrap_or_default()) else { return Ok(()) };
        if !rule.types.iter().any(|own| own == content_type) {
            return Err(format!("this file is {content_type}; it has to be {}", rule.types.join(" or ")));
        }
        match rule.max_bytes {
            Some(max) if bytes > max => Err(format!("this file has {bytes} bytes; this model takes at most {max}")),
            Some(_) | None => Ok(()),
        }
    }

    /// What has to be done to the file at `name` (`images.0`) before it is sent; nothing to what is no image.
    pub fn preparation(&self, name: &str, content_type: &str, bytes: u64) -> Option<Preparation> {
        let rule = self.media.get(name.split('.').next().unwrap_or_default())?;
        if !content_type.starts_with("image/") {
            return None;
        }
        if let Some(over_bytes) = rule.compress_over_bytes.filter(|most| bytes > *most) {
            return Some(Preparation::Compress { over_bytes });
        }
        let to = rule.send_as.first().filter(|_| rule.send_as.iter().all(|own| own != content_type))?;
        Some(Preparation::Convert { to: to.clone() })
    }

    /// Puts `replace(id)` in place of each media parameter's asset id.
    pub fn replace_assets(&self, params: &Map<String, Value>, replace: impl Fn(AssetId) -> Option<Value>) -> Map<String, Value> {
        let mut out = params.clone();
        let swap = |value: &mut Value| {
            if let Some(new) = value.as_str().and_then(|id| id.parse().ok()).and_then(&replace) {
                *value = new;
            }
        };
        for name in &self.assets {
            match out.get_mut(name) {
                Some(Value::Array(items)) => items.iter_mut().for_each(swap),
                Some(value) => swap(value),
                None => {}
            }
        }
        out
    }

    fn asset_texts(&self, params: &Value) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for name in &self.assets {
            match params.get(name) {
                Some(Value::String(id)) => found.push((name.clone(), id.clone())),
                Some(Value::Array(items)) => found.extend(
                    items.iter().enumerate().filter_map(|(i, item)| Some((format!("{name}.{i}"), item.as_str()?.to_owned()))),
                ),
                Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {}
            }
        }
        found
    }
}

fn validator(schema: &Value) -> Result<Validator, String> {
    jsonschema::options().build(schema).map_err(|error| format!("`params` is not a JSON Schema: {error}"))
}

/// JSON has one kind of number: `2.0` is the integer 2.
fn whole_number(value: &mut Value) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Some(number) = value.as_f64().filter(|number| value.is_f64() && number.fract() == 0.0 && number.abs() < EXACT) {
        #[allow(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        let whole = number as i64;
        *value = Value::from(whole);
    }
}

fn explain(at: &str, error: &jsonschema::ValidationError<'_>) -> InvalidParam {
    use ValidationErrorKind as Kind;
    let inside = error.instance_path().as_str().trim_start_matches('/').replace('/', ".");
    let within = |name: &str| match inside.as_str() {
        "" => format!("{at}{name}"),
        path => format!("{at}{path}.{name}"),
    };
    let at = format!("{at}{inside}");
    // Only the constraint is told, never the value: it may be a customer's long prompt.
    #[allow(clippy::wildcard_enum_match_arm)]
    let (code, param, detail) = match error.kind() {
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            ("missing_param", within(name), format!("`{name}` is needed"))
        }
        Kind::AdditionalProperties { unexpected } => {
            let name: String = unexpected.first().map(String::as_str).unwrap_or_default().chars().take(80).collect();
            ("unknown_param", within(&name), format!("there is no parameter `{name}` here"))
        }
        Kind::Type { kind } => ("invalid_type", at, format!("has to be of type {}", type_word(kind))),
        Kind::Minimum { limit } => ("out_of_range", at, format!("has to be at least {limit}")),
        Kind::Maximum { limit } => ("out_of_range", at, format!("has to be at most {limit}")),
        Kind::MinLength { limit } => ("out_of_range", at, format!("has to have at least {limit} characters")),
        Kind::MaxLength { limit } => ("out_of_range", at, format!("has to have at most {limit} characters")),
        Kind::MinItems { limit } => ("out_of_range", at, format!("has to have at least {limit} elements")),
        Kind::MaxItems { limit } => ("out_of_range", at, format!("has to have at most {limit} elements")),
        Kind::Enum { options } => ("invalid_param", at, format!("has to be one of {options}")),
        other => ("invalid_param", at, format!("does not satisfy `{}`", other.keyword())),
    };
    InvalidParam { code, param, detail }
}

fn type_word(kind: &jsonschema::error::TypeKind) -> String {
    match kind {
        jsonschema::error::TypeKind::Single(one) => one.to_string(),
        jsonschema::error::TypeKind::Multiple(many) => many.iter().map(|one| one.to_string()).collect::<Vec<_>>().join(" or "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use serde_json::json;

    #[track_caller]
    fn check(model: &str, given: Value) -> Result<Value, (&'static str, String)> {
        let catalog = Catalog::built_in().expect("loads");
        let given = given.as_object().expect("an object").clone();
        let model = catalog.model(model).expect("known");
        model.params.check("params.", &given).map(Value::Object).map_err(|error| (error.code, error.param))
    }

    #[test]
    fn defaults_are_filled_in() {
        let checked = check("placeholder", json!({"prompt": "x", "width": 100}));
        assert_eq!(checked, Ok(json!({"prompt": "x", "width": 100, "height": 1024, "format": "png"})));
    }

    #[test]
    fn each_mistake_has_its_code_and_place() {
        let mistake = |given| check("placeholder", given).expect_err("a mistake");
        assert_eq!(mistake(json!({})), ("missing_param", "params.prompt".into()));
        assert_eq!(mistake(json!({"prompt": 7})), ("invalid_type", "params.prompt".into()));
        assert_eq!(mistake(json!({"prompt": "x", "width": 1})), ("out_of_range", "params.width".into()));
        assert_eq!(mistake(json!({"prompt": "x", "width": 1.5})), ("invalid_type", "params.width".into()));
        assert_eq!(mistake(json!({"prompt": "x", "size": 1})), ("unknown_param", "params.size".into()));
        assert_eq!(mistake(json!({"prompt": "x", "format": "bmp"})), ("invalid_param", "params.format".into()));
        assert_eq!(mistake(json!({"prompt": "x", "image": "cat.jpg"})), ("invalid_param", "params.image".into()));
        let images = check("nano-banana-edit", json!({"prompt": "x", "images": ["a", "b"]})).expect_err("not ids");
        assert_eq!(images, ("invalid_param", "params.images.0".into()));
    }
}
