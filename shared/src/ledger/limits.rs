//! What an account, or one of its keys, may spend and have under way; counted where the money moves.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::credits::Credits;

/// What may be under way at once, and spent in a day and a month; what is left out is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SpendingLimits {
    /// Generations that have not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// Credits held in one day (UTC) and not given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub spend_per_day: Option<Credits>,
    /// Credits held in one calendar month (UTC) and not given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub spend_per_month: Option<Credits>,
}

/// What is under way and spent now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Holds that are open.
    pub in_flight: u32,
    /// In the last day in which something was held.
    pub day: Spent,
    /// In the last month in which something was held.
    pub month: Spent,
}

/// What was held in one period and not given back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// The period's first day.
    pub since: Date,
    /// How much.
    pub credits: Credits,
}

/// Which limit a hold would pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitReached {
    /// As many are under way as may be.
    #[error("{limit} generations are in progress, which is the most at once")]
    InFlight { limit: u32 },
    /// The day's limit.
    #[error("{spent} of {limit} credits a day are spent, and {needed} are needed")]
    Day { limit: Credits, spent: Credits, needed: Credits },
    /// The month's limit.
    #[error("{spent} of {limit} credits a month are spent, and {needed} are needed")]
    Month { limit: Credits, spent: Credits, needed: Credits },
}

/// The day of a time (UTC), and the first day of its month.
fn periods(at: Timestamp) -> (Date, Date) {
    let day = TimeZone::UTC.to_datetime(at).date();
    (day, day.first_of_month())
}

impl Spent {
    /// What was spent in the period that began at `since`.
    fn within(self, since: Date) -> Credits {
        if self.since == since { self.credits } else { Credits::ZERO }
    }

    fn add(&mut self, since: Date, amount: Credits) {
        let credits = self.within(since).plus(amount).unwrap_or(Credits::MAX);
        *self = Self { since, credits };
    }

    /// What is given back counts for the period in which it was held; one that is over is not counted any more.
    fn give_back(&mut self, since: Date, amount: Credits) {
        if self.since == since {
            self.credits = self.credits.minus(amount).unwrap_or(Credits::ZERO);
        }
    }
}

impl Usage {
    /// Counts a hold made at `now`; refuses, and counts nothing, when it passes a limit.
    pub(super) fn hold(&mut self, limits: &SpendingLimits, amount: Credits, now: Timestamp) -> Result<(), LimitReached> {
        if let Some(limit) = limits.in_flight
            && self.in_flight >= limit
        {
            return Err(LimitReached::InFlight { limit });
        }
        let (day, month) = periods(now);
        let passes = |limit: Credits, spent: Credits| spent.plus(amount).is_none_or(|sum| sum > limit);
        let (today, this_month) = (self.day.within(day), self.month.within(month));
        if let Some(limit) = limits.spend_per_day
            && passes(limit, today)
        {
            return Err(LimitReached::Day { limit, spent: today, needed: amount });
        }
        if let Some(limit) = limits.spend_per_month
            && passes(limit, this_month)
        {
            return Err(LimitReached::Month { limit, spent: this_month, needed: amount });
        }
        self.in_flight += 1;
        self.day.add(day, amount);
        self.month.add(month, amount);
        Ok(())
    }

    /// Counts the end of a hold made at `held_at`, of which `returned` was not spent.
    pub(super) fn close(&mut self, returned: Credits, held_at: Timestamp) {
        let (day, month) = periods(held_at);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.day.give_back(day, returned);
        self.month.give_back(month, returned);
    }

    /// What was spent on the day and in the month of `now`.
    pub fn spent(&self, now: Timestamp) -> (Credits, Credits) {
        let (day, month) = periods(now);
        (self.day.within(day), self.month.within(month))
    }
}
