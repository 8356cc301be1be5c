//! What one step of a generation tells.

use jiff::Timestamp;

use super::{
    CANCELED, COLLECTING_SECONDS, FAILED, Metric, PROVIDER_ALARMS, PROVIDER_ERRORS, QUEUED_SECONDS, RUNNING_SECONDS, SUCCEEDED,
    Sample, TOTAL_SECONDS, UNCONFIRMED, UNCONFIRMED_SECONDS, seconds,
};
use crate::failure::{Alarm, FailureClass};
use crate::generation::{AttemptResult, Generation, State};
use crate::lifecycle::Rules;

/// What the step from `before` to `after` tells: the end of a phase, of an attempt, of the generation.
pub fn of_step(before: &Generation, after: &Generation, rules: &Rules, now: Timestamp) -> Vec<Sample> {
    let mut samples = failed_attempts(before, after, rules);
    if before.state.phase() == after.state.phase() {
        return samples;
    }
    let provider = before.candidate().provider.as_str();
    let by_provider = |metric, since| Sample::of(&[("Provider", provider)], vec![(metric, seconds(now.duration_since(since)))]);
    match &before.state {
        State::Queued { .. } if before.attempts.is_empty() && after.attempts.len() == 1 => {
            samples.push(Sample::of(&[], vec![(QUEUED_SECONDS, seconds(now.duration_since(before.created_at)))]));
        }
        State::Running { since, .. } => samples.push(by_provider(RUNNING_SECONDS, *since)),
        State::Collecting { since, .. } => samples.push(by_provider(COLLECTING_SECONDS, *since)),
        State::Unconfirmed { since, .. } => samples.push(by_provider(UNCONFIRMED_SECONDS, *since)),
        State::Queued { .. }
        | State::Claimed { .. }
        | State::Succeeded { .. }
        | State::Failed { .. }
        | State::Canceled { .. } => {}
    }
    let (provider, model) = (after.candidate().provider.as_str(), after.candidate().model.as_str());
    let ended = |metric: Metric, second: Option<(&'static str, &str)>| {
        let dimensions: Vec<_> = std::iter::once(("Provider", provider)).chain(second).collect();
        Sample::count(metric, &dimensions)
    };
    match &after.state {
        State::Unconfirmed { .. } => samples.push(ended(UNCONFIRMED, None)),
        State::Succeeded { .. } => samples.push(ended(SUCCEEDED, Some(("Model", model)))),
        State::Failed { failure, .. } => samples.push(ended(FAILED, Some(("Class", failure.class.word())))),
        State::Canceled { .. } => samples.push(ended(CANCELED, None)),
        State::Queued { .. } | State::Claimed { .. } | State::Running { .. } | State::Collecting { .. } => {}
    }
    if after.state.is_terminal() && !before.state.is_terminal() {
        let total = seconds(now.duration_since(after.created_at));
        samples.push(Sample::of(&[("Provider", provider)], vec![(TOTAL_SECONDS, total)]));
    }
    samples
}

/// Attempts that have failed in this step for what is the provider's doing, or the operator's to mend.
fn failed_attempts(before: &Generation, after: &Generation, rules: &Rules) -> Vec<Sample> {
    let was = |number| before.attempts.iter().find(|own| own.number == number).map(|own| &own.result);
    let mut samples = Vec::new();
    for attempt in &after.attempts {
        let AttemptResult::Failed { failure } = &attempt.result else { continue };
        if was(attempt.number) == Some(&attempt.result) {
            continue;
        }
        let dimensions = [("Provider", attempt.provider.as_str()), ("Class", failure.class.word())];
        match failure.class {
            FailureClass::Throttled
            | FailureClass::Unavailable
            | FailureClass::ProviderAuth
            | FailureClass::ProviderFunds
            | FailureClass::ProviderFailed
            | FailureClass::ResultLost
            | FailureClass::Expired => samples.push(Sample::count(PROVIDER_ERRORS, &dimensions)),
            FailureClass::RejectedInput
            | FailureClass::Moderated
            | FailureClass::Canceled
            | FailureClass::Internal
            | FailureClass::Resolved => {}
        }
        if rules.policies.of(failure.class).alarm == Alarm::Operator {
            samples.push(Sample::count(PROVIDER_ALARMS, &dimensions));
        }
    }
    samples
}
