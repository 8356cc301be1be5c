//! What an expression can come to, whatever its parameters are: shown by intervals, before anybody pays.

use std::collections::BTreeSet;

use super::evaluate::{arithmetic, extreme_of, round};
use super::parse::{Arithmetic, Comparison, Extreme, Node, Rounding};
use super::ratio::Ratio;

/// What a parameter may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Domain {
    /// A whole number between these two, both included.
    Whole { least: i64, most: i64 },
    /// One of these texts.
    Text(BTreeSet<String>),
    /// True or false.
    Truth,
}

/// Between which numbers a value lies, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The least.
    pub low: Ratio,
    /// The most.
    pub high: Ratio,
}

/// A number: where it lies, and how large the two numbers of its fraction can become.
#[derive(Debug, Clone, Copy)]
struct Number {
    range: Range,
    numerator: i128,
    denominator: i128,
}

#[derive(Debug, Clone)]
enum Kind {
    Number(Number),
    Text(BTreeSet<String>),
    Truth,
}

type Domains<'a> = &'a dyn Fn(&str) -> Result<Domain, String>;

const TOO_EXACT: &str = "its numbers may need more than 128 bits: make it simpler, or round a part of it with `ceil` or `floor`";

/// The range of `node`, which has to be a number.
pub(super) fn of(node: &Node, domains: Domains<'_>) -> Result<Range, String> {
    Ok(number(node, domains, "a price")?.range)
}

fn kind(node: &Node, domains: Domains<'_>) -> Result<Kind, String> {
    match node {
        Node::Number(value) => Ok(Kind::Number(constant(*value))),
        Node::Text(text) => Ok(Kind::Text(BTreeSet::from([text.clone()]))),
        Node::Param(name) => Ok(match domains(name)? {
            Domain::Whole { least, most } => Kind::Number(joined(constant(Ratio::whole(least)), constant(Ratio::whole(most)))),
            Domain::Text(texts) => Kind::Text(texts),
            Domain::Truth => Kind::Truth,
        }),
        Node::Not(inner) => truth(inner, domains, "`!`").map(|()| Kind::Truth),
        Node::Arithmetic(operator, left, right) => {
            let word = word(*operator);
            calculated(*operator, number(left, domains, word)?, number(right, domains, word)?).map(Kind::Number)
        }
        Node::Comparison(comparison, left, right) => {
            comparable(*comparison, kind(left, domains)?, kind(right, domains)?).map(|()| Kind::Truth)
        }
        Node::Logic(_, left, right) => {
            truth(left, domains, "`&&` or `||`")?;
            truth(right, domains, "`&&` or `||`").map(|()| Kind::Truth)
        }
        Node::Choice(condition, first, second) => {
            truth(condition, domains, "the condition before `?`")?;
            either(kind(first, domains)?, kind(second, domains)?)
        }
        Node::Rounding(rounding, inner) => {
            let inner = number(inner, domains, "`ceil` or `floor`")?;
            Ok(Kind::Number(rounded(*rounding, inner)))
        }
        Node::Extreme(extreme, first, more) => {
            let mut best = number(first, domains, "`min` or `max`")?;
            for node in more {
                best = best_of(*extreme, best, number(node, domains, "`min` or `max`")?);
            }
            Ok(Kind::Number(best))
        }
    }
}

fn number(node: &Node, domains: Domains<'_>, taker: &str) -> Result<Number, String> {
    match kind(node, domains)? {
        Kind::Number(number) => Ok(number),
        Kind::Text(_) => Err(format!("{taker} takes a number, not a text: texts can only be compared")),
        Kind::Truth => Err(format!("{taker} takes a number, not what is true or false: choose one with `a ? b : c`")),
    }
}

fn truth(node: &Node, domains: Domains<'_>, taker: &str) -> Result<(), String> {
    match kind(node, domains)? {
        Kind::Truth => Ok(()),
        Kind::Number(_) | Kind::Text(_) => Err(format!("{taker} takes what is true or false: compare the value with something")),
    }
}

fn constant(value: Ratio) -> Number {
    let (numerator, denominator) = value.size();
    Number { range: Range { low: value, high: value }, numerator, denominator }
}

fn product(left: i128, right: i128) -> Result<i128, String> {
    left.checked_mul(right).ok_or_else(|| TOO_EXACT.to_owned())
}

/// The largest number above the line of their sum.
fn over_one_line(left: &Number, right: &Number) -> Result<i128, String> {
    product(left.numerator, right.denominator)?
        .checked_add(product(right.numerator, left.denominator)?)
        .ok_or_else(|| TOO_EXACT.to_owned())
}

fn calculated(operator: Arithmetic, left: Number, right: Number) -> Result<Number, String> {
    if operator == Arithmetic::Over && right.range.contains_zero() {
        let Range { low, high } = right.range;
        return Err(format!(
            "it may divide by zero, since the divisor lies between {low} and {high}: raise a `minimum`, or use `max(1, …)`"
        ));
    }
    let (numerator, denominator) = match operator {
        Arithmetic::Plus | Arithmetic::Minus => (over_one_line(&left, &right)?, product(left.denominator, right.denominator)?),
        Arithmetic::Times => (product(left.numerator, right.numerator)?, product(left.denominator, right.denominator)?),
        Arithmetic::Over => (product(left.numerator, right.denominator)?, product(left.denominator, right.numerator)?),
    };
    // Each of the four operations has its extremes at ends of both ranges, where the divisor does not cross zero.
    let ends = [
        (left.range.low, right.range.low),
        (left.range.low, right.range.high),
        (left.range.high, right.range.low),
        (left.range.high, right.range.high),
    ];
    let ends: Option<Vec<Ratio>> = ends.into_iter().map(|(left, right)| arithmetic(operator, left, right)).collect();
    let ends = ends.ok_or(TOO_EXACT)?;
    let (Some(low), Some(high)) = (ends.iter().copied().min(), ends.iter().copied().max()) else {
        return Err(TOO_EXACT.to_owned());
    };
    Ok(Number { range: Range { low, high }, numerator, denominator })
}

fn comparable(comparison: Comparison, left: Kind, right: Kind) -> Result<(), String> {
    match (left, right) {
        (Kind::Number(_), Kind::Number(_)) => Ok(()),
        (Kind::Text(left), Kind::Text(right)) => match comparison {
            Comparison::Equal | Comparison::Unequal if left.is_disjoint(&right) => {
                Err(format!("{} and {} are never the same: correct one of them", told(&left), told(&right)))
            }
            Comparison::Equal | Comparison::Unequal => Ok(()),
            Comparison::Less | Comparison::AtMost | Comparison::Greater | Comparison::AtLeast => {
                Err("texts are compared with `==` and `!=` only".to_owned())
            }
        },
        (Kind::Truth, _) | (_, Kind::Truth) => {
            Err("what is true or false needs no comparison: use it as it is, or with `!`".to_owned())
        }
        (Kind::Number(_), Kind::Text(_)) | (Kind::Text(_), Kind::Number(_)) => {
            Err("a number is compared with a text: write numbers without quotes, and texts in single ones".to_owned())
        }
    }
}

fn told(texts: &BTreeSet<String>) -> String {
    texts.iter().map(|text| format!("`'{text}'`")).collect::<Vec<_>>().join(" or ")
}

fn either(first: Kind, second: Kind) -> Result<Kind, String> {
    match (first, second) {
        (Kind::Number(first), Kind::Number(second)) => Ok(Kind::Number(joined(first, second))),
        (Kind::Text(first), Kind::Text(second)) => Ok(Kind::Text(first.into_iter().chain(second).collect())),
        (Kind::Truth, Kind::Truth) => Ok(Kind::Truth),
        (Kind::Number(_) | Kind::Text(_) | Kind::Truth, _) => {
            Err("both sides of `:` have to be of one kind: two numbers, or two texts".to_owned())
        }
    }
}

/// What may be the one or the other.
fn joined(first: Number, second: Number) -> Number {
    let (one, other) = (first.range, second.range);
    Number {
        range: Range { low: one.low.min(other.low), high: one.high.max(other.high) },
        numerator: first.numerator.max(second.numerator),
        denominator: first.denominator.max(second.denominator),
    }
}

fn rounded(rounding: Rounding, inner: Number) -> Number {
    let range = Range { low: round(rounding, inner.range.low), high: round(rounding, inner.range.high) };
    Number { range, numerator: inner.numerator, denominator: 1 }
}

fn best_of(extreme: Extreme, left: Number, right: Number) -> Number {
    let best = |left, right| extreme_of(extreme, left, right);
    let range = Range { low: best(left.range.low, right.range.low), high: best(left.range.high, right.range.high) };
    Number { range, ..joined(left, right) }
}

fn word(operator: Arithmetic) -> &'static str {
    match operator {
        Arithmetic::Plus => "`+`",
        Arithmetic::Minus => "`-`",
        Arithmetic::Times => "`*`",
        Arithmetic::Over => "`/`",
    }
}

impl Range {
    fn contains_zero(self) -> bool {
        self.low.signum() <= 0 && self.high.signum() >= 0
    }
}
