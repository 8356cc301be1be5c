//! What the simulated text models say: the prompt again, and JSON that fulfils the schema asked for.

use serde_json::{Map, Value, json};

/// Deeper parts of a schema are answered with null: a schema may contain itself.
const MAX_DEPTH: usize = 12;

/// The answer to a prompt as plain text. `asked`, all that was said to the model, may want a document by a JSON Schema, written in one line, or so
/// many characters.
pub(super) fn text(prompt: &str, asked: &str) -> String {
    let is_schema = |value: &Value| value.get("properties").is_some();
    if let Some(schema) = asked.lines().filter_map(|line| serde_json::from_str(line).ok()).find(is_schema) {
        return json(&schema, "simulated").to_string();
    }
    let mut answer = format!("Simulated answer to: {prompt}");
    let wanted = wanted_chars(asked).unwrap_or(0);
    while answer.chars().count() < wanted {
        answer.push_str(" And so on, as long as it was asked for.");
    }
    answer
}

/// A document as language models like to spoil it, when the prompt asks for that.
pub(super) fn spoilt(document: &Value, prompt: &str) -> String {
    let asks = |order: &str| prompt.contains(order);
    let mut document = document.clone();
    if asks("[[incomplete]]")
        && let Some(members) = document.as_object_mut()
        && let Some(last) = members.keys().next_back().cloned()
    {
        members.remove(&last);
    }
    match () {
        () if asks("[[unwilling]]") => "I am sorry, but I cannot help with that.".to_owned(),
        () if asks("[[fenced]]") => format!("```json\n{document:#}\n```\n"),
        () if asks("[[chatty]]") => format!("Here is the analysis:\n\n```json\n{document}\n```\n\nTell me if you need more."),
        () => document.to_string(),
    }
}

/// The number before the word `characters`, at most 20,000.
fn wanted_chars(asked: &str) -> Option<usize> {
    let (before, _) = asked.split_once(" characters")?;
    let number = before.split_whitespace().next_back()?.replace(',', "");
    number.parse::<usize>().ok().map(|wanted| wanted.min(20_000))
}

/// The text up to that many tokens of four characters, and whether it was longer.
pub(super) fn cut(text: String, max_tokens: Option<i64>) -> (String, bool) {
    let most = max_tokens.and_then(|tokens| usize::try_from(tokens).ok()).map_or(usize::MAX, |tokens| tokens.saturating_mul(4));
    match text.char_indices().nth(most) {
        None => (text, false),
        Some((end, _)) => (text[..end].to_owned(), true),
    }
}

/// Tokens of a text: one for each four characters begun.
pub(super) fn tokens(text: &str) -> usize {
    text.chars().count().div_ceil(4)
}

/// A value that `schema` admits: its required properties (all of them, where it requires none), texts that repeat the
/// prompt, the number 1, lists of one element. Takes JSON Schema and Gemini's upper-case types.
pub(super) fn json(schema: &Value, prompt: &str) -> Value {
    value(schema, schema, prompt, 0)
}

fn value(root: &Value, schema: &Value, prompt: &str, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    if let Some(pointer) = schema.get("$ref").and_then(Value::as_str).and_then(|link| link.strip_prefix('#')) {
        return root.pointer(pointer).map_or(Value::Null, |target| value(root, target, prompt, depth + 1));
    }
    if let Some(only) = schema.get("const") {
        return only.clone();
    }
    if let Some(first) = schema.get("enum").and_then(|words| words.get(0)) {
        return first.clone();
    }
    for branches in ["anyOf", "oneOf", "allOf"] {
        let branches = schema.get(branches).and_then(Value::as_array);
        let is_null = |branch: &Value| branch.get("type").is_some_and(|kind| kind == "null");
        if let Some(branch) = branches.and_then(|branches| branches.iter().find(|branch| !is_null(branch))) {
            return value(root, branch, prompt, depth + 1);
        }
    }
    match kind(schema).as_str() {
        "object" => object(root, schema, prompt, depth),
        "array" => {
            let element = schema.get("items").map_or(json!(prompt), |items| value(root, items, prompt, depth + 1));
            let least = bound(schema, "minItems").and_then(|least| usize::try_from(least).ok());
            Value::Array(vec![element; least.unwrap_or(1).clamp(1, 100)])
        }
        "string" => json!(words(schema, prompt)),
        "integer" => json!(bound(schema, "minimum").unwrap_or(1).max(1).min(bound(schema, "maximum").unwrap_or(i64::MAX))),
        "number" => number(schema),
        "boolean" => json!(true),
        _ => Value::Null,
    }
}

/// The type in lower case, guessed from the other words where it is left out.
fn kind(schema: &Value) -> String {
    let named = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        Some(kind) => kind.as_str(),
        None if schema.get("properties").is_some() => Some("object"),
        None if schema.get("items").is_some() => Some("array"),
        None => Some("string"),
    };
    named.unwrap_or_default().to_ascii_lowercase()
}

fn object(root: &Value, schema: &Value, prompt: &str, depth: usize) -> Value {
    let none = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let required = schema.get("required").and_then(Value::as_array).filter(|names| !names.is_empty());
    let is_wanted = |name: &str| required.is_none_or(|names| names.iter().any(|wanted| wanted == name));
    let wanted = properties.iter().filter(|(name, _)| is_wanted(name));
    wanted.map(|(name, property)| (name.clone(), value(root, property, prompt, depth + 1))).collect()
}

fn words(schema: &Value, prompt: &str) -> String {
    let most = bound(schema, "maxLength").and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let least = bound(schema, "minLength").and_then(|least| usize::try_from(least).ok()).unwrap_or(0).min(100_000);
    let cut: String = prompt.chars().take(most).collect();
    let missing = least.saturating_sub(cut.chars().count());
    cut + &".".repeat(missing)
}

fn number(schema: &Value) -> Value {
    let limit = |name: &str| schema.get(name).filter(|limit| limit.is_number());
    let above = limit("minimum").filter(|least| least.as_f64().is_some_and(|least| least > 1.0));
    let below = limit("maximum").filter(|most| most.as_f64().is_some_and(|most| most < 1.0));
    above.or(below).cloned().unwrap_or(json!(1))
}

/// A bound as a whole number; Gemini's own schemas write some of them as texts.
fn bound(schema: &Value, name: &str) -> Option<i64> {
    let bound = schema.get(name)?;
    bound.as_i64().or_else(|| bound.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_its_last_token() {
        assert_eq!(cut("eight ä!".to_owned(), Some(2)), ("eight ä!".to_owned(), false));
        assert_eq!(cut("nine ä!!!".to_owned(), Some(1)), ("nine".to_owned(), true));
        assert_eq!((cut("x".to_owned(), None), tokens("nine ä!!!")), (("x".to_owned(), false), 3));
    }

    #[test]
    fn a_text_is_as_long_as_it_was_asked_for() {
        assert_eq!(text("a fox", "Answer shortly."), "Simulated answer to: a fox");
        assert!(text("a fox", "Write 1,100 to 1,800 characters.").chars().count() >= 1_800);
        assert_eq!(wanted_chars("two characters"), None);
    }

    #[test]
    fn json_has_the_required_properties_only() {
        let schema = json!({
            "type": "object",
            "properties": {
                "title": {"type": "string"}, "score": {"type": "integer", "minimum": 3}, "share": {"type": "number", "maximum": 0.5},
                "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}}, "mood": {"enum": ["calm", "wild"]},
                "next": {"$ref": "#/$defs/step"}, "note": {"type": ["null", "boolean"]}, "left_out": {"type": "string"},
            },
            "required": ["title", "score", "share", "tags", "mood", "next", "note"],
            "$defs": {"step": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"n": {"type": "number"}}}]}},
        });
        let expected = json!({
            "title": "a fox", "score": 3, "share": 0.5, "tags": ["a f"], "mood": "calm", "next": {"n": 1}, "note": true,
        });
        assert_eq!(json(&schema, "a fox"), expected);
    }

    #[test]
    fn upper_case_types_are_understood() {
        let schema =
            json!({"type": "ARRAY", "minItems": "2", "items": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}});
        assert_eq!(json(&schema, "x"), json!([{"a": "x"}, {"a": "x"}]));
    }

    #[test]
    fn schema_that_contains_itself_ends() {
        let schema = json!({"type": "object", "properties": {"inner": {"$ref": "#"}}, "required": ["inner"]});
        assert!(json(&schema, "x").to_string().ends_with(r#"{"inner":null}}}}}}}"#));
    }
}
