//! The value of an expression, exactly.

use serde_json::{Map, Value as Json};

use super::parse::{Arithmetic, Comparison, Extreme, Logic, Node, Rounding};
use super::ratio::Ratio;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value<'a> {
    Number(Ratio),
    Text(&'a str),
    Truth(bool),
}

/// The number that `node` is.
pub(super) fn number(node: &Node, params: &Map<String, Json>) -> Option<Ratio> {
    match value(node, params)? {
        Value::Number(number) => Some(number),
        Value::Text(_) | Value::Truth(_) => None,
    }
}

fn truth(node: &Node, params: &Map<String, Json>) -> Option<bool> {
    match value(node, params)? {
        Value::Truth(truth) => Some(truth),
        Value::Number(_) | Value::Text(_) => None,
    }
}

fn value<'a>(node: &'a Node, params: &'a Map<String, Json>) -> Option<Value<'a>> {
    Some(match node {
        Node::Number(number) => Value::Number(*number),
        Node::Text(text) => Value::Text(text),
        Node::Param(name) => param(params.get(name)?)?,
        Node::Not(inner) => Value::Truth(!truth(inner, params)?),
        Node::Arithmetic(operator, left, right) => {
            Value::Number(arithmetic(*operator, number(left, params)?, number(right, params)?)?)
        }
        Node::Comparison(comparison, left, right) => {
            Value::Truth(compare(*comparison, value(left, params)?, value(right, params)?)?)
        }
        Node::Logic(Logic::And, left, right) => Value::Truth(truth(left, params)? && truth(right, params)?),
        Node::Logic(Logic::Or, left, right) => Value::Truth(truth(left, params)? || truth(right, params)?),
        Node::Choice(condition, first, second) => value(if truth(condition, params)? { first } else { second }, params)?,
        Node::Rounding(rounding, inner) => Value::Number(round(*rounding, number(inner, params)?)),
        Node::Extreme(extreme, first, more) => {
            let mut best = number(first, params)?;
            for node in more {
                best = extreme_of(*extreme, best, number(node, params)?);
            }
            Value::Number(best)
        }
    })
}

fn param(given: &Json) -> Option<Value<'_>> {
    match given {
        // A number written with a point, as 2.0, is read by its text: no float is reckoned with.
        Json::Number(number) => {
            number.as_i64().map(Ratio::whole).or_else(|| Ratio::decimal(&number.to_string())).map(Value::Number)
        }
        Json::String(text) => Some(Value::Text(text)),
        Json::Bool(truth) => Some(Value::Truth(*truth)),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

pub(super) fn arithmetic(operator: Arithmetic, left: Ratio, right: Ratio) -> Option<Ratio> {
    match operator {
        Arithmetic::Plus => left.plus(right),
        Arithmetic::Minus => left.minus(right),
        Arithmetic::Times => left.times(right),
        Arithmetic::Over => left.over(right),
    }
}

pub(super) fn round(rounding: Rounding, number: Ratio) -> Ratio {
    match rounding {
        Rounding::Ceil => Ratio::integer(number.ceil()),
        Rounding::Floor => Ratio::integer(number.floor()),
    }
}

pub(super) fn extreme_of(extreme: Extreme, left: Ratio, right: Ratio) -> Ratio {
    match extreme {
        Extreme::Min => left.min(right),
        Extreme::Max => left.max(right),
    }
}

fn compare(comparison: Comparison, left: Value<'_>, right: Value<'_>) -> Option<bool> {
    let ordering = match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.cmp(&right),
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (Value::Number(_) | Value::Text(_) | Value::Truth(_), _) => return None,
    };
    Some(match comparison {
        Comparison::Equal => ordering.is_eq(),
        Comparison::Unequal => ordering.is_ne(),
        Comparison::Less => ordering.is_lt(),
        Comparison::AtMost => ordering.is_le(),
        Comparison::Greater => ordering.is_gt(),
        Comparison::AtLeast => ordering.is_ge(),
    })
}
