//! Exact sliding windows. A token bucket would let its capacity and its refill through in one window; a provider counts more strictly.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A window of `units` units of `unit_s` seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    unit_s: i64,
    units: usize,
}

/// 60 seconds, counted by the second.
pub(super) const MINUTE: Span = Span { unit_s: 1, units: 60 };
/// 24 hours, counted by the hour.
pub(super) const DAY: Span = Span { unit_s: 3600, units: 24 };

/// How many takes there were in each unit of time of a window. A unit that is partly in the window counts wholly, so that there are
/// units + 1 counts at most and no window holds more takes than are counted here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The number of the newest unit since 1970.
    newest: i64,
    /// The newest unit first, without the zeros at the end.
    counts: Vec<u32>,
}

impl Window {
    /// Nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many takes are in it.
    pub fn used(&self) -> u32 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The window that ends now. A clock that is behind another one counts into the other's newest unit: that is later than it was, which
    /// lets nothing through too soon.
    pub(super) fn at(&self, span: Span, now: Timestamp) -> Self {
        let unit = now.as_second().div_euclid(span.unit_s);
        let newest = if self.is_empty() { unit } else { unit.max(self.newest) };
        let passed = usize::try_from(newest - self.newest).unwrap_or(0).min(span.units + 1);
        let mut counts = vec![0; passed];
        counts.extend(&self.counts);
        counts.truncate(span.units + 1);
        while counts.last() == Some(&0) {
            counts.pop();
        }
        Self { newest, counts }
    }

    /// When the next take fits; none when it fits now.
    pub(super) fn full(&self, span: Span, limit: Option<u32>) -> Option<Timestamp> {
        let limit = limit?;
        let mut left = self.used();
        if left < limit {
            return None;
        }
        for (age, count) in self.counts.iter().enumerate().rev() {
            left -= count;
            if left < limit {
                let units_ahead = i64::try_from(span.units + 1 - age).unwrap_or(0);
                let at = self.newest.saturating_add(units_ahead).saturating_mul(span.unit_s);
                return Some(Timestamp::from_second(at).unwrap_or(Timestamp::MAX));
            }
        }
        Some(Timestamp::MAX)
    }

    /// Counts a take in the newest unit, if there is a limit to count for.
    pub(super) fn count(&mut self, limit: Option<u32>) {
        if limit.is_none() {
            return;
        }
        match self.counts.first_mut() {
            Some(count) => *count = count.saturating_add(1),
            None => self.counts.push(1),
        }
    }
}
