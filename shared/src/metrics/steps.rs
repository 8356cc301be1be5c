//! What one step of a generation tells.

use jiff::Timestamp;

use super::{
    CANCELED, COLLECTING_SECONDS, FAILED, Metric, PROVIDER_ALARMS, PROVIDER_ERRORS, QUEUED_SECONDS, RUNNING_SECONDS, SUCCEEDED,
    Sample, TOTAL_SECONDS, UNCONFIRMED, UNCONFIRMED_SECONDS, seconds,
};
use crate::failure::{Alarm, FailureClass};
use crate::generation::{AttemptResult, Generation, Source, State};
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
        State::Claimed { .. } => samples.extend(answered_with_results(after).map(|since| by_provider(RUNNING_SECONDS, since))),
        State::Running { since, .. } => samples.push(by_provider(RUNNING_SECONDS, *since)),
        State::Collecting { since, .. } => samples.push(by_provider(COLLECTING_SECONDS, *since)),
        State::Unconfirmed { since, .. } => samples.push(by_provider(UNCONFIRMED_SECONDS, *since)),
        State::Queued { .. } | State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. } => {}
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

/// When the current attempt was claimed, if it went from there straight to its results: a provider that answers with them never counts as running.
/// A refusal is no work, and what our own process makes is made later.
fn answered_with_results(after: &Generation) -> Option<Timestamp> {
    let State::Collecting { outcome, .. } = &after.state else { return None };
    if outcome.sources.contains(&Source::Local) {
        return None;
    }
    after.attempts.last().map(|attempt| attempt.claimed_at)
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

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::credits::Credits;
    use crate::failure::Failure;
    use crate::generation::{Job, Outcome};
    use crate::ids::{AccountId, GenerationId};
    use crate::lifecycle::tests::{order, rules};
    use crate::lifecycle::{Event, decide};

    fn seconds_of(number: i64) -> SignedDuration {
        SignedDuration::from_secs(number)
    }

    fn claimed_at(now: Timestamp) -> Generation {
        let (id, account) = (GenerationId::from_parts(1, [2; 10]), AccountId::from_parts(1, [1; 10]));
        let queued = Generation::accept(id, account, order("p"), Credits::ZERO, None, now, now + seconds_of(60));
        step(&queued, &Event::Claim { key: None, holds_slot: false }, now).0
    }

    /// The next record, and the values of `RunningSeconds` that the step tells.
    fn step(before: &Generation, event: &Event, now: Timestamp) -> (Generation, Vec<f64>) {
        let after = decide(before, event, &rules(), now).expect("it applies").next;
        let samples = of_step(before, &after, &rules(), now);
        let values = samples.into_iter().flat_map(|sample| sample.values);
        (after, values.filter(|(metric, _)| *metric == RUNNING_SECONDS).map(|(_, value)| value).collect())
    }

    fn succeeded(source: Source) -> Event {
        Event::Succeeded { attempt: 1, job: None, outcome: Outcome { sources: vec![source] } }
    }

    #[test]
    fn a_provider_has_worked_from_the_claim_if_it_answers_with_results_and_else_from_its_word() {
        let start = Timestamp::UNIX_EPOCH;
        let result = || Source::Link("https://x/1".to_owned());
        let claimed = claimed_at(start);
        let (_, at_once) = step(&claimed, &succeeded(result()), start + seconds_of(20));
        assert_eq!(at_once, [20.0]);

        let accepted = Event::Accepted { attempt: 1, job: Job { id: "job".to_owned(), facts: Default::default() } };
        let (running, nothing) = step(&claimed, &accepted, start + seconds_of(2));
        let (_, called_back) = step(&running, &succeeded(result()), start + seconds_of(32));
        assert_eq!((nothing, called_back), (vec![], vec![30.0]));
    }

    #[test]
    fn neither_a_refusal_nor_our_own_process_counts_as_a_provider_at_work() {
        let start = Timestamp::UNIX_EPOCH;
        let claimed = claimed_at(start);
        let failure = Failure::new(FailureClass::Moderated, "no");
        for event in [succeeded(Source::Local), Event::Failed { attempt: 1, failure, retry_after: None }] {
            let (_, running) = step(&claimed, &event, start + seconds_of(1));
            assert!(running.is_empty(), "{event:?}: {running:?}");
        }
    }
}
