//! Parameters: a JSON Schema that says what customers may send, and nothing else.

use serde_json::{Map, Value};

use super::place::Place;
use super::{Checked, media, templates};

/// The keywords of JSON Schema 2020-12 that say something of a value. A misspelt one would be ignored without a word.
const KEYWORDS: &[&str] = &[
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$ref",
    "$schema",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "default",
    "dependentRequired",
    "dependentSchemas",
    "deprecated",
    "description",
    "else",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "if",
    "items",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "readOnly",
    "required",
    "then",
    "title",
    "type",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
    "writeOnly",
];

/// The members of `properties`.
pub(super) fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

/// The schema of a model's or a chain's parameters.
pub(super) fn schema(place: &Place<'_>, schema: &Value) -> Checked {
    if schema.get("type") != Some(&Value::from("object")) {
        return place.key("type").refuse("has to be `\"object\"`: parameters are an object");
    }
    let Some(own) = properties(schema) else {
        return place.key("properties").refuse("is missing: name the parameters there, or give `{}` for none");
    };
    if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
        return place.key("additionalProperties").refuse("has to be `false`, so that unknown parameters are refused");
    }
    keywords(place, schema)?;
    for (name, property) in own {
        parameter(&place.key("properties").key(name), name, property)?;
    }
    for (index, name) in schema.get("required").and_then(Value::as_array).into_iter().flatten().enumerate() {
        if !name.as_str().is_some_and(|name| own.contains_key(name)) {
            return place.key("required").index(index).refuse(format!("`{}` is not one of the `properties`", plain(name)));
        }
    }
    compiles(place, schema, own)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn parameter(place: &Place<'_>, name: &str, property: &Value) -> Checked {
    if !templates::is_word(name) {
        return place.refuse(format!("`{name}` cannot be named in a template: use letters, digits and `_`"));
    }
    if name == "callback_url" || name == "item" {
        return place.refuse(format!("`{{{{{name}}}}}` means something else in templates: choose another name"));
    }
    if !property.is_object() {
        return place.refuse("has to be an object, such as `{\"type\": \"string\"}`");
    }
    keywords(place, property)?;
    if let Some(items) = property.get("items") {
        keywords(&place.key("items"), items)?;
    }
    media::parameter(place, property)
}

fn keywords(place: &Place<'_>, schema: &Value) -> Checked {
    let known = |key: &str| key.starts_with("x-") || KEYWORDS.contains(&key);
    match schema.as_object().into_iter().flat_map(Map::keys).find(|key| !known(key)) {
        Some(key) => {
            place.key(key).refuse(format!("`{key}` is not a keyword of JSON Schema 2020-12: correct it, or begin it with `x-`"))
        }
        None => Ok(()),
    }
}

fn compiles(place: &Place<'_>, schema: &Value, properties: &Map<String, Value>) -> Checked {
    let validator = jsonschema::options()
        .build(schema)
        .map_err(|error| place.pointer(error.instance_path().as_str()).wrong(format!("is not JSON Schema: {error}")))?;
    for (name, default) in properties.iter().filter_map(|(name, property)| Some((name, property.get("default")?))) {
        let alone = Value::Object(Map::from_iter([(name.clone(), default.clone())]));
        let error = validator.iter_errors(&alone).find(|error| !error.instance_path().as_str().is_empty());
        if let Some(error) = error {
            return place.key("properties").key(name).key("default").refuse(format!("is not a valid value: {error}"));
        }
    }
    Ok(())
}
