//! An expression: its text, and what it means.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::bounds::{self, Domain, Range};
use super::evaluate::number;
use super::parse::{Node, parse};
use super::ratio::Ratio;

/// The longest text of an expression, in characters.
pub const MAX_CHARS: usize = 500;

/// How deep parentheses, functions, choices and signs may be nested.
pub const MAX_DEPTH: usize = 32;

/// A number as an expression over parameters. In JSON a whole number, or the expression as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    text: String,
    root: Node,
}

impl Expression {
    /// Reads `text`; or says what is wrong with it, and where.
    pub fn new(text: &str) -> Result<Self, String> {
        let chars = text.chars().count();
        if chars > MAX_CHARS {
            return Err(format!("the expression has {chars} characters, at most {MAX_CHARS} are taken"));
        }
        Ok(Self { root: parse(text).map_err(|reason| format!("`{text}` cannot be read: {reason}"))?, text: text.to_owned() })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its exact value. `None` when a parameter is not such as the expression was checked for, with [`Expression::bounds`].
    pub fn evaluate(&self, params: &Map<String, Value>) -> Option<Ratio> {
        number(&self.root, params)
    }

    /// Between which numbers its value lies, whatever the parameters are, `domain` being what each of them may be; or why that cannot be
    /// told, and what to do. When it can be told, [`Expression::evaluate`] never fails.
    pub fn bounds(&self, domain: &dyn Fn(&str) -> Result<Domain, String>) -> Result<Range, String> {
        bounds::of(&self.root, domain)
    }

    /// Whether the parameter plays a part in it.
    pub fn uses(&self, param: &str) -> bool {
        names(&self.root, param)
    }
}

fn names(node: &Node, param: &str) -> bool {
    match node {
        Node::Number(_) | Node::Text(_) => false,
        Node::Param(name) => name == param,
        Node::Not(inner) | Node::Rounding(_, inner) => names(inner, param),
        Node::Arithmetic(_, left, right) | Node::Comparison(_, left, right) | Node::Logic(_, left, right) => {
            names(left, param) || names(right, param)
        }
        Node::Choice(condition, first, second) => [condition, first, second].into_iter().any(|node| names(node, param)),
        Node::Extreme(_, first, more) => names(first, param) || more.iter().any(|node| names(node, param)),
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl serde::de::Visitor<'_> for Visitor {
    type Value = Expression;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, or an expression as text")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Expression, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Expression, E> {
        Expression::new(text).map_err(E::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Expression {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Expression".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "minLength": 1, "maxLength": MAX_CHARS }],
            "description": "A number as an expression over the parameters: decimal numbers, names of parameters, `+ - * /`, `== != < <= > >=`, \
                            `&& || !`, `a ? b : c`, `min`, `max`, `ceil`, `floor`, and texts in single quotes.",
        })
    }
}
