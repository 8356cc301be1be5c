//! What providers were asked for, and what that cost and brought.

use std::collections::BTreeMap;

use super::{ProviderTotals, told_charge};
use crate::generation::{AttemptResult, Generation};

/// By provider.
#[derive(Debug, Default)]
pub(super) struct Totals(BTreeMap<String, ProviderTotals>);

impl Totals {
    pub(super) fn add(&mut self, generation: &Generation) {
        for attempt in &generation.attempts {
            let totals = self.of(&attempt.provider);
            totals.attempts += 1;
            match attempt.result {
                AttemptResult::Submitting | AttemptResult::Accepted => totals.in_progress += 1,
                AttemptResult::Unconfirmed { .. } => totals.unconfirmed += 1,
                AttemptResult::Failed { .. } => totals.failed += 1,
                AttemptResult::Canceled => totals.canceled += 1,
                AttemptResult::Succeeded => {
                    totals.succeeded += 1;
                    match generation.candidate_of(attempt.number).cost_micro_usd {
                        Some(cost) => totals.cost_micro_usd = totals.cost_micro_usd.saturating_add(cost),
                        None => totals.cost_unknown += 1,
                    }
                }
            }
        }
        if let Some(last) = generation.attempts.last()
            && let Some(charged) = told_charge(&generation.state)
        {
            let totals = self.of(&last.provider);
            totals.charged_credits = totals.charged_credits.saturating_add(charged.get());
        }
    }

    fn of(&mut self, provider: &str) -> &mut ProviderTotals {
        if !self.0.contains_key(provider) {
            let totals = ProviderTotals { provider: provider.to_owned(), ..ProviderTotals::default() };
            self.0.insert(provider.to_owned(), totals);
        }
        self.0.get_mut(provider).expect("it was put there")
    }

    pub(super) fn by_name(self) -> Vec<ProviderTotals> {
        self.0.into_values().collect()
    }
}
