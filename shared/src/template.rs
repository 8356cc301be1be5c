//! JSON templates with `{{variable}}` placeholders: how a manifest says what a provider's request looks like.
//!
//! A string that is exactly `{{x}}` becomes the value of x with its type. Inside a longer string the value is written as text. A
//! placeholder whose variable is absent drops its object key or array element; a longer string with an absent variable is dropped
//! whole. A list that is the only element of an array is spliced into it. Names may have parts: `{{job.id}}`; on a list they are taken
//! from each element: `{{images.url}}` is a list of links.
//!
//! Four objects are not themselves: `{"$each": "{{xs}}", "$do": …}` is the list of what `$do` becomes for each `{{item}}`, spliced into an
//! array around it (a single value counts as a list of one, an absent one as an empty list); `{"$text": "{{x}}"}` is x as text;
//! `{"$map": "{{x}}", "$to": {"small": 512}}` is what x stands for; `{"$first": ["{{x}}", "{{y}}"]}` is the first that has a value.

use std::borrow::Cow;
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
    /// `$each` without `$do`, `$map` without `$to`, or something beside them.
    #[error("`{form}` needs `{partner}` beside it and nothing else")]
    Form { form: &'static str, partner: &'static str },
    /// An unknown `$…` member.
    #[error("`{0}` is not a form: use `$each` with `$do`, `$map` with `$to`, `$first` or `$text`")]
    UnknownForm(String),
}

/// An object that is not itself.
enum Form<'a> {
    Each { list: &'a Value, body: &'a Value },
    Text(&'a Value),
    First(&'a [Value]),
    Map { value: &'a Value, to: &'a Map<String, Value> },
}

impl<'a> Form<'a> {
    fn of(fields: &'a Map<String, Value>) -> Result<Option<Self>, TemplateError> {
        let Some(name) = fields.keys().find(|key| key.starts_with('$')) else { return Ok(None) };
        let whole =
            |form, partner, count: usize| if fields.len() == count { Ok(()) } else { Err(TemplateError::Form { form, partner }) };
        if let Some(alternatives) = fields.get("$first") {
            let alternatives = alternatives.as_array().ok_or(TemplateError::Form { form: "$first", partner: "a list" })?;
            return whole("$first", "a list", 1).map(|()| Some(Self::First(alternatives)));
        }
        match (fields.get("$each"), fields.get("$do"), fields.get("$text"), fields.get("$map"), fields.get("$to")) {
            (Some(list), Some(body), ..) => whole("$each", "$do", 2).map(|()| Some(Self::Each { list, body })),
            (Some(_), None, ..) => Err(TemplateError::Form { form: "$each", partner: "$do" }),
            (.., Some(text), _, _) => whole("$text", "a value", 1).map(|()| Some(Self::Text(text))),
            (.., Some(value), Some(Value::Object(to))) => whole("$map", "$to", 2).map(|()| Some(Self::Map { value, to })),
            (.., Some(_), _) => Err(TemplateError::Form { form: "$map", partner: "$to" }),
            _ => Err(TemplateError::UnknownForm(name.clone())),
        }
    }
}

/// Fills in `template`; `None` when it is a single placeholder without a value.
pub fn render(template: &Value, variables: &Variables) -> Result<Option<Value>, TemplateError> {
    match template {
        Value::String(text) => render_text(text, variables),
        Value::Array(items) => render_array(items, variables).map(Some),
        Value::Object(fields) => match Form::of(fields)? {
            Some(form) => render_form(&form, variables),
            None => {
                let mut out = Map::with_capacity(fields.len());
                for (key, field) in fields {
                    if let Some(value) = render(field, variables)? {
                        out.insert(key.clone(), value);
                    }
                }
                Ok(Some(Value::Object(out)))
            }
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(Some(template.clone())),
    }
}

fn render_form(form: &Form<'_>, variables: &Variables) -> Result<Option<Value>, TemplateError> {
    match form {
        Form::Each { list, body } => {
            let items = match render(list, variables)? {
                None => return Ok(None),
                Some(Value::Array(items)) => items,
                Some(single) => vec![single],
            };
            let mut inner = variables.clone();
            let mut out = Vec::with_capacity(items.len());
            for item in items {
                inner.insert(ITEM.to_owned(), item);
                out.extend(render(body, &inner)?);
            }
            Ok(Some(Value::Array(out)))
        }
        Form::Text(value) => match render(value, variables)? {
            None => Ok(None),
            Some(value) => as_text("$text", &value).map(|text| Some(Value::String(text))),
        },
        Form::First(alternatives) => {
            for alternative in *alternatives {
                if let Some(value) = render(alternative, variables)? {
                    return Ok(Some(value));
                }
            }
            Ok(None)
        }
        Form::Map { value, to } => match render(value, variables)? {
            None => Ok(None),
            Some(value) => match to.get(&as_text("$map", &value)?) {
                Some(other) => render(other, variables),
                None => Ok(None),
            },
        },
    }
}

/// What `$do` calls the element.
const ITEM: &str = "item";

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
                None => return Ok(None),
                Some(value) if value.is_null() => return Ok(None),
                Some(value) => out.push_str(&escape(&as_text(name, &value)?)),
            },
        }
    }
    Ok(Some(out))
}

/// The names of all variables that a template uses. What is taken from `{{item}}` is taken from the list's variable.
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
        Value::Object(fields) => match Form::of(fields)? {
            None => fields.values().try_for_each(|field| collect_names(field, names)),
            Some(Form::Text(value)) => collect_names(value, names),
            Some(Form::First(alternatives)) => alternatives.iter().try_for_each(|other| collect_names(other, names)),
            Some(Form::Map { value, to }) => {
                collect_names(value, names)?;
                to.values().try_for_each(|other| collect_names(other, names))
            }
            Some(Form::Each { list, body }) => collect_names_of_each(list, body, names),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn collect_names_of_each(list: &Value, body: &Value, names: &mut BTreeSet<String>) -> Result<(), TemplateError> {
    let lists = variables(list)?;
    let inner = variables(body)?;
    let takes_parts = inner.iter().any(|name| name.starts_with("item."));
    // `{{images}}` whose elements' parts are used is not used bare.
    names.extend(lists.iter().filter(|_| !takes_parts).cloned());
    for name in inner {
        match name.strip_prefix("item.") {
            Some(part) => names.extend(lists.iter().map(|list| format!("{list}.{part}"))),
            None if name == ITEM => {}
            None => {
                names.insert(name);
            }
        }
    }
    Ok(())
}

fn render_text(text: &str, variables: &Variables) -> Result<Option<Value>, TemplateError> {
    let parts = parse(text)?;
    if let [Part::Name(name)] = parts.as_slice() {
        return Ok(lookup(variables, name).filter(|value| !value.is_null()).map(Cow::into_owned));
    }
    Ok(render_string(text, variables, str::to_owned)?.map(Value::String))
}

fn render_array(items: &[Value], variables: &Variables) -> Result<Value, TemplateError> {
    if let [Value::String(only)] = items
        && let Some(Value::Array(list)) = render_text(only, variables)?
    {
        return Ok(Value::Array(list));
    }
    let mut out = Vec::with_capacity(items.len());
    for item in items {
        let is_each = item.as_object().is_some_and(|fields| fields.contains_key("$each"));
        match render(item, variables)? {
            Some(Value::Array(several)) if is_each => out.extend(several),
            other => out.extend(other),
        }
    }
    Ok(Value::Array(out))
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

fn lookup<'a>(variables: &'a Variables, name: &str) -> Option<Cow<'a, Value>> {
    let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
    part_of(variables.get(first)?, rest)
}

fn part_of<'a>(value: &'a Value, path: Option<&str>) -> Option<Cow<'a, Value>> {
    let Some(path) = path else { return Some(Cow::Borrowed(value)) };
    if let Value::Array(items) = value {
        let parts: Vec<Value> = items.iter().filter_map(|item| part_of(item, Some(path)).map(Cow::into_owned)).collect();
        return (!parts.is_empty()).then_some(Cow::Owned(Value::Array(parts)));
    }
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    part_of(value.get(first)?, rest)
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
            "job": {"id": "j1"}, "braces": "{{width}}", "files": [{"url": "f1"}, {"url": "f2"}],
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
    fn a_part_of_a_list_is_taken_from_each_element() {
        check(
            &json!({"a": ["{{files.url}}"], "b": "{{files.url}}", "c": "{{files.gone}}"}),
            &json!({"a": ["f1", "f2"], "b": ["f1", "f2"]}),
        );
    }

    #[test]
    fn each_makes_one_of_every_element() {
        let each = |of: &str| json!({"$each": of, "$do": {"link": "{{item.url}}", "of": "{{job.id}}"}});
        let (one, two) = (json!({"link": "f1", "of": "j1"}), json!({"link": "f2", "of": "j1"}));
        check(&json!(["x", each("{{files}}"), "y"]), &json!(["x", one, two, "y"]));
        check(&json!({"a": each("{{files}}"), "b": each("{{gone}}")}), &json!({"a": [one, two]}));
        check(&json!(["x", each("{{gone}}")]), &json!(["x"]));
        check(&json!([{"$each": "{{job.id}}", "$do": {"id": "{{item}}"}}]), &json!([{"id": "j1"}]));
        let names = variables(&json!([each("{{files}}"), {"$each": "{{urls}}", "$do": "{{item}}"}])).expect("fine");
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["files.url", "job.id", "urls"]);
    }

    #[test]
    fn values_can_be_made_text_or_stand_for_others() {
        check(&json!({"a": {"$text": "{{width}}"}, "b": {"$text": "{{gone}}"}}), &json!({"a": "512"}));
        let map = |of: &str| json!({"$map": of, "$to": {"512": {"w": "{{width}}"}, "a cat": 1}});
        check(&json!([map("{{width}}"), map("{{prompt}}"), map("{{safe}}"), map("{{gone}}")]), &json!([{"w": 512}, 1]));
    }

    #[test]
    fn the_first_that_has_a_value_is_taken() {
        let first = |all: &[&str]| json!({"$first": all});
        check(
            &json!({"a": first(&["{{gone}}", "{{width}}", "{{prompt}}"]), "b": first(&["{{gone}}", "x{{gone}}"])}),
            &json!({"a": 512}),
        );
        let names = variables(&first(&["{{gone}}", "{{job.id}}"])).expect("fine");
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["gone", "job.id"]);
        let alone = render(&json!({"$first": "{{width}}"}), &Variables::new());
        assert_eq!(alone, Err(TemplateError::Form { form: "$first", partner: "a list" }));
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
        assert_eq!(render(json!({"$each": "{{urls}}"})), Err(TemplateError::Form { form: "$each", partner: "$do" }));
        assert_eq!(render(json!({"$text": "x", "y": 1})), Err(TemplateError::Form { form: "$text", partner: "a value" }));
        assert_eq!(render(json!({"$eech": 1})), Err(TemplateError::UnknownForm("$eech".into())));
    }
}
