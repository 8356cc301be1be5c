//! Prices: what a generation costs, as an expression over its parameters, reckoned exactly.
//!
//! `ceil(width * height / 1000000) * (quality == 'high' ? 5 : 3)`: decimal numbers, names of parameters, `+ - * /`, `== != < <= > >=`,
//! `&& || !`, `a ? b : c`, `min`, `max`, `ceil`, `floor`, and texts in single quotes. Every number is a fraction of two integers: nothing is
//! rounded before the end.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::credits::Credits;

mod bounds;
mod evaluate;
mod expression;
mod parse;
mod ratio;
#[cfg(test)]
mod tests;
mod tokens;

pub use bounds::{Domain, Range};
pub use expression::{Expression, MAX_CHARS, MAX_DEPTH};
pub use ratio::Ratio;

/// What a generation costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Credits, as an expression over the parameters; rounded up to a whole number.
    #[schema(value_type = String)]
    pub credits: Expression,
    /// It never costs less than this many credits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<u64>"))]
    pub minimum: Option<Credits>,
    /// The integer parameter that counts results, if one does: fewer results than ordered cost what so many would have cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_result: Option<String>,
}

/// The price of one order: fixed when it is accepted, or quoted before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// What is held.
    pub credits: Credits,
    /// What 1, 2, … results cost, up to the number ordered, and never more than is held; empty when the price does not depend on results.
    #[serde(default)]
    pub by_results: Vec<Credits>,
}

impl Price {
    /// What an order with these checked parameters costs. `None` when the parameters are not such as the price was checked for, or the
    /// price is beyond [`Credits::MAX`].
    pub fn of(&self, params: &Map<String, Value>) -> Option<Cost> {
        let credits = self.credits_for(params)?;
        let Some(name) = &self.per_result else { return Some(Cost { credits, by_results: Vec::new() }) };
        let ordered = params.get(name)?.as_u64()?;
        let mut params = params.clone();
        let mut price_of = |results: u64| {
            params.insert(name.clone(), Value::from(results));
            Some(self.credits_for(&params)?.min(credits))
        };
        Some(Cost { credits, by_results: (1..=ordered).map(&mut price_of).collect::<Option<_>>()? })
    }

    fn credits_for(&self, params: &Map<String, Value>) -> Option<Credits> {
        let credits = self.credits.evaluate(params)?.ceil();
        let credits = Credits::new(u64::try_from(credits).ok()?).ok()?;
        Some(credits.max(self.minimum.unwrap_or(Credits::ZERO)))
    }
}

/// An amount of US dollars in millionths, rounded up. `None` below zero and beyond 64 bits.
pub fn micro_usd(usd: Ratio) -> Option<u64> {
    u64::try_from(usd.times(Ratio::whole(1_000_000))?.ceil()).ok()
}
