//! JSON templates with `{{variable}}` placeholders: how a manifest says what a provider's request looks like.
//!
//! A string that is exactly `{{x}}` becomes the value of x with its type. Inside a longer string the value is written as text. A
//! placeholder whose variable is absent drops its object key or array element; a longer string with an absent variable is dropped
//! whole. A list that is the only element of an array is spliced into it. Names may have parts: `{{job.id}}`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// The values that a template may use, by name.
pub type Variables = Map<String, Value>;

/// Where a template is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("`{0}` opens a placeholder with `{{{{` and does not close it with `}}}}`")]
    Unclosed(String),
    /// `{{}}` or a name with other characters.
    #[error("`{0}` is not a variable name: use letters, digits, `_` and `.`")]
    BadName(String),
    /// A list or an object inside a longer string.
    #[error("`{0}` is a list or an object and cannot stand inside a longer text")]
    NotText(String),
}

/// Fills in `template`; `None` when it is a single placeholder without a value.
pub fn render(template: &Value, variables: &Variables) -> Result<Option<Value>, TemplateError> {
    match template {
        Value::String(text) => render_text(text, variables),
        Value::Array(items) => render_array(items, variables).map(Some),
        Value::Object(fields) => {
            let mut out = Map::with_capacity(fields.len());
            for (key, field) in fields {
                if let Some(value) = render(field, variables)? {
                    out.insert(key.clone(), value);
                }
            }
            Ok(Some(Value::Object(out)))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(Some(template.clone())),
    }
}

/// Like [`render`] for a text such as a URL or a header, escaping each value with `escape`.
pub fn render_string(
    template: &str,
    variables: &Variables,
    escape: impl Fn(&str) -> String,
) -> Result<Option<String>, TemplateError> {
    let mut out = String::new();
    for part in parse(template)? {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Name(name) => match lookup(variables, name) {
                None | Some(Value::Null) => return Ok(None),
                Some(value) => out.push_str(&escape(&as_text(name, value)?)),
            },
        }
    }
    Ok(Some(out))
}

/// The names of all variables that a template uses.
pub fn variables(template: &Value) -> Result<BTreeSet<String>, TemplateError> {
    let mut names = BTreeSet::new();
    collect_names(template, &mut names)?;
    Ok(names)
}

fn collect_names(template: &Value, names: &mut BTreeSet<String>) -> Result<(), TemplateError> {
    match template {
        Value::String(text) => {
            names.extend(parse(text)?.into_iter().filter_map(|part| match part {
                Part::Name(name) => Some(name.to_owned()),
                Part::Text(_) => None,
            }));
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| collect_names(item, names)),
        Value::Object(fields) => fields.values().try_for_each(|field| collect_names(field, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn render_text(text: &str, variables: &Variables) -> Result<Option<Value>, TemplateError> {
    let parts = parse(text)?;
    if let [Part::Name(name)] = parts.as_slice() {
        return Ok(lookup(variables, name).filter(|value| !value.is_null()).cloned());
    }
    Ok(render_string(text, variables, str::to_owned)?.map(Value::String))
}

fn render_array(items: &[Value], variables: &Variables) -> Result<Value, TemplateError> {
    if let [Value::String(only)] = items
        && let Some(Value::Array(list)) = render_text(only, variables)?
    {
        return Ok(Value::Array(list));
    }
    let rendered = items.iter().map(|item| render(item, variables)).collect::<Result<Vec<_>, _>>()?;
    Ok(Value::Array(rendered.into_iter().flatten().collect()))
}

enum Part<'a> {
    Text(&'a str),
    Name(&'a str),
}

fn parse(text: &str) -> Result<Vec<Part<'_>>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        if open > 0 {
            parts.push(Part::Text(&rest[..open]));
        }
        let inside = &rest[open + 2..];
        let close = inside.find("}}").ok_or_else(|| TemplateError::Unclosed(text.to_owned()))?;
        let name = inside[..close].trim();
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        if !plain {
            return Err(TemplateError::BadName(name.to_owned()));
        }
        parts.push(Part::Name(name));
        rest = &inside[close + 2..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

fn lookup<'a>(variables: &'a Variables, name: &str) -> Option<&'a Value> {
    let mut parts = name.split('.');
    let first = variables.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

fn as_text(name: &str, value: &Value) -> Result<String, TemplateError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Array(_) | Value::Object(_) | Value::Null => Err(TemplateError::NotText(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(template: &Value, expected: &Value) {
        let variables = json!({
            "prompt": "a cat", "width": 512, "safe": true, "urls": ["u1", "u2"], "none": null,
            "job": {"id": "j1"}, "braces": "{{width}}",
        });
        let variables = variables.as_object().expect("an object");
        assert_eq!(render(template, variables), Ok(Some(expected.clone())), "{template}");
    }

    #[test]
    fn a_whole_placeholder_keeps_its_type() {
        check(&json!({"w": "{{width}}", "s": "{{ safe }}", "u": "{{urls}}"}), &json!({"w": 512, "s": true, "u": ["u1", "u2"]}));
    }

    #[test]
    fn inside_a_text_it_is_text() {
        check(&json!("{{width}}px of {{prompt}}, {{job.id}}"), &json!("512px of a cat, j1"));
    }

    #[test]
    fn an_absent_variable_drops_its_place() {
        check(
            &json!({"a": "{{gone}}", "b": ["{{gone}}", 1, "{{none}}"], "c": "x{{gone}}", "d": {"e": "{{gone.too}}"}}),
            &json!({"b": [1], "d": {}}),
        );
    }

    #[test]
    fn a_lone_list_is_spliced() {
        check(
            &json!({"a": ["{{urls}}"], "b": ["{{urls}}", "x"], "c": ["{{prompt}}"]}),
            &json!({"a": ["u1", "u2"], "b": [["u1", "u2"], "x"], "c": ["a cat"]}),
        );
    }

    #[test]
    fn values_are_not_templates() {
        check(&json!(["{{braces}}", "<{{braces}}>"]), &json!(["{{width}}", "<{{width}}>"]));
    }

    #[test]
    fn mistakes_are_named() {
        let render = |template: Value| render(&template, json!({"urls": []}).as_object().expect("an object"));
        assert_eq!(render(json!("a {{b")), Err(TemplateError::Unclosed("a {{b".into())));
        assert_eq!(render(json!("{{a b}}")), Err(TemplateError::BadName("a b".into())));
        assert_eq!(render(json!("x{{urls}}")), Err(TemplateError::NotText("urls".into())));
    }
}
