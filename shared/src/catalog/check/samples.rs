//! Parameters as a customer could send them, made from their JSON Schema: to try templates and chains with.

use serde_json::{Map, Value, json};

use super::media::is_media;
use super::params::properties;
use crate::ids::AssetId;

/// Samples: the least that is needed; everything; every choice and both ends of each number. They need not satisfy rules between
/// parameters.
pub(super) fn unchecked(schema: &Value) -> Vec<Map<String, Value>> {
    let Some(own) = properties(schema) else { return Vec::new() };
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let valued = |name: &String, property: &Value| Some((name.clone(), example(property)?));
    let is_given = |name: &str, property: &Value| required.contains(&name) || property.get("default").is_some();
    let least: Map<String, Value> =
        own.iter().filter(|(name, property)| is_given(name, property)).filter_map(|(name, own)| valued(name, own)).collect();
    let all = own.iter().filter_map(|(name, property)| valued(name, property)).collect();
    let choices = own.iter().flat_map(|(name, property)| choices(property).into_iter().map(move |choice| (name, choice)));
    let varied: Vec<Map<String, Value>> = choices
        .map(|(name, choice)| {
            let mut sample = least.clone();
            sample.insert(name.clone(), choice.clone());
            sample
        })
        .collect();
    [least, all].into_iter().chain(varied).collect()
}

fn choices(property: &Value) -> Vec<&Value> {
    match property.get("enum").and_then(Value::as_array) {
        Some(choices) => choices.iter().collect(),
        None => ["minimum", "maximum"].iter().filter_map(|end| property.get(end)).collect(),
    }
}

/// One value that fits, as far as single keywords say; `None` for a text of a pattern without an example.
fn example(property: &Value) -> Option<Value> {
    let given = ["default", "const"].iter().find_map(|name| property.get(name));
    let listed = || ["examples", "enum"].iter().find_map(|name| property.get(name)?.get(0));
    if let Some(value) = given.or_else(listed) {
        return Some(value.clone());
    }
    if let Some(either) = ["oneOf", "anyOf"].iter().find_map(|name| property.get(name)?.get(0)) {
        return example(either);
    }
    let size =
        |name: &str| property.get(name).and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok()).unwrap_or(0).max(1);
    match property.get("type").and_then(Value::as_str)? {
        "string" if property.get("format") == Some(&Value::from("asset")) => Some(Value::from(asset())),
        "string" if property.get("pattern").is_some() => None,
        "string" => Some(Value::from("a".repeat(size("minLength")))),
        "integer" | "number" => {
            Some(["minimum", "maximum"].iter().find_map(|end| property.get(end)).cloned().unwrap_or(json!(1)))
        }
        "boolean" => Some(Value::Bool(true)),
        "array" => Some(Value::from(vec![example(property.get("items")?)?; size("minItems")])),
        "object" => Some(Value::Object(unchecked(property).into_iter().next().unwrap_or_default())),
        _ => None,
    }
}

/// An asset id of the right form.
fn asset() -> String {
    AssetId::from_parts(0, [0; 10]).to_string()
}

/// The sample with each media parameter in all the forms that the input template may use.
pub(super) fn with_media_parts(schema: &Value, mut sample: Map<String, Value>) -> Map<String, Value> {
    let parts = || {
        json!({
            "url": "https://media.example/a", "data_uri": "data:image/png;base64,AA==", "url_or_data_uri": "https://media.example/a",
            "base64": "AA==", "file": {"$file": "a"}, "uploaded": "a", "content_type": "image/png", "name": "a.png", "bytes": 1,
        })
    };
    for (name, value) in &mut sample {
        if !properties(schema).and_then(|own| own.get(name)).is_some_and(is_media) {
            continue;
        }
        match value.as_array_mut() {
            Some(items) => items.iter_mut().for_each(|item| *item = parts()),
            None => *value = parts(),
        }
    }
    sample.insert("callback_url".to_owned(), Value::from("https://callback.example/a"));
    sample
}
