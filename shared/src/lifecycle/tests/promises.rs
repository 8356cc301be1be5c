//! Everything that must be true of any decision, whatever was decided on.

use super::*;

/// Where it has come to.
pub(super) fn landmarks(generation: &Generation) -> Vec<&'static str> {
    let mut seen = vec![generation.state.phase()];
    if generation.cancel_requested_at.is_some() {
        seen.push("canceling");
    }
    if generation.attempt() == 2 {
        seen.push("second attempt");
    }
    if let State::Queued { waiting: Some(_), .. } = generation.state {
        seen.push("in line");
    }
    if generation.candidate > 0 {
        seen.push("next candidate");
    }
    if generation.resolution.is_some() {
        seen.push("resolved");
    }
    if generation.attempts.iter().any(|attempt| is_resolved(&attempt.result)) {
        seen.push("vouched for");
    }
    seen.extend(generation.erasure.map(|erasure| match erasure {
        Erasure::Erasing { .. } => "erasing",
        Erasure::Erased { .. } => "erased",
    }));
    seen.extend(generation.late.as_ref().map(|late| match late.state {
        LateState::Collecting { .. } if generation.state.is_terminal() => "late collecting",
        LateState::Collecting { .. } => "late under way",
        LateState::Stored { .. } => "late stored",
        LateState::Lost { .. } => "late lost",
    }));
    seen
}

pub(super) fn keeps_its_promises(now: Timestamp, old: &Generation, event: &Event, decision: &Decision, rules: &Rules) {
    let (whole, new) = (old, &decision.next);
    let told = || format!("{event:?} at {now} made of {whole:#?}\n{decision:#?}");
    assert_eq!(new.version, old.version + 1, "{}", told());
    let unchanging = |generation: &Generation| (generation.id, generation.account, generation.created_at, generation.hold);
    assert_eq!(unchanging(new), unchanging(old), "{}", told());
    keeps_or_erases_content(now, event, old, new, &told);
    let (old, new) = (&old.without_content(now), &new.without_content(now));
    assert_eq!(new.order, old.order, "{}", told());
    let is_resolved_now = matches!(event, Event::Resolve { .. });
    assert_eq!(new.resolution != old.resolution, is_resolved_now, "{}", told());
    assert!(old.cancel_requested_at.is_none() || new.cancel_requested_at == old.cancel_requested_at, "{}", told());
    if old.state.is_terminal() {
        assert_eq!(new.state, old.state, "the end is the end: {}", told());
    }
    let ends = new.state.is_terminal() && !old.state.is_terminal();
    assert_eq!(decision.posting.is_some(), ends, "money moves at the end and only there: {}", told());
    if let Some(Posting::Charge { hold, charge }) = &decision.posting {
        assert!(*hold == old.hold() && *charge <= hold.amount, "{}", told());
        let by_hand = matches!(event, Event::Resolve { .. });
        assert!(by_hand || !matches!(old.state, State::Queued { .. }), "charged for waiting: {}", told());
    }
    let files = matches!(event, Event::Stored { .. });
    assert_eq!(!decision.assets.is_empty(), files, "{}", told());
    due_when_its_state_says(now, decision, rules, &told);
    pays_for_one_job_at_a_time(decision, rules, &told);
    sends_what_its_state_needs(decision, &told);
    if let Some(late) = &old.late {
        let next = new.late.as_ref().expect("a late result is not forgotten");
        assert_eq!((late.attempt, late.arrived_at), (next.attempt, next.arrived_at), "{}", told());
        assert!(matches!(late.state, LateState::Collecting { .. }) || late == next, "{}", told());
    }
}

/// Content goes when it is to be erased and never otherwise; from then on there is none, whatever comes.
fn keeps_or_erases_content(now: Timestamp, event: &Event, old: &Generation, new: &Generation, told: &dyn Fn() -> String) {
    let is_erased = |generation: &Generation| match generation.erasure {
        Some(Erasure::Erased { .. }) => *generation == generation.without_content(now),
        Some(Erasure::Erasing { .. }) | None => false,
    };
    if is_erased(old) || matches!(event, Event::Erased) {
        assert!(is_erased(new), "{}", told());
    } else {
        assert_eq!(new.order, old.order, "{}", told());
    }
    let gone = |generation: &Generation| generation.results().filter(|result| result.erased_at.is_some()).count();
    let may_go = matches!(event, Event::Erased | Event::EraseResult { .. });
    assert!(may_go || gone(new) == gone(old), "{}", told());
    assert!(new.erasure.is_none() || new.state.is_terminal(), "erased before its end: {}", told());
}

/// Nothing else may move the time at which a state's patience ends: above all not the deadline of an unconfirmed submit.
fn due_when_its_state_says(now: Timestamp, decision: &Decision, rules: &Rules, told: &dyn Fn() -> String) {
    let new = &decision.next;
    // Another process may have set it by its own clock.
    let by_any_clock = now + seconds(3);
    let late = new.late.as_ref().is_some_and(|late| matches!(late.state, LateState::Collecting { .. }));
    match &new.state {
        State::Queued { not_before, .. } => assert!(new.due_at > Some(*not_before), "{}", told()),
        State::Claimed { lease_until } => assert_eq!(new.due_at, Some(*lease_until), "{}", told()),
        State::Collecting { .. } => {
            let latest = by_any_clock + rules.collect_lease.max(rules.queue_limit);
            assert!(new.due_at.is_some_and(|due| due <= latest), "{}", told());
        }
        State::Unconfirmed { resolves_by, .. } => assert_eq!(new.due_at, Some(*resolves_by), "{}", told()),
        State::Running { expires_at, .. } => {
            let latest = (by_any_clock + rules.ask_lease).max(*expires_at);
            assert!(new.due_at.is_some_and(|due| due <= latest), "{}", told());
        }
        State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. } => match new.erasure {
            None => assert_eq!(new.due_at.is_some(), late || new.left_overs, "{}", told()),
            Some(Erasure::Erasing { .. }) => assert!(new.due_at.is_some() && !late, "{}", told()),
            Some(Erasure::Erased { .. }) => assert!(!late, "{}", told()),
        },
    }
}

/// An operator vouched that the provider does not have the job.
fn is_resolved(result: &AttemptResult) -> bool {
    matches!(result, AttemptResult::Failed { failure } if failure.class == FailureClass::Resolved)
}

/// A new attempt is claimed only when the fate of all earlier ones is known, or the time for evidence is over; and there are never too many.
fn pays_for_one_job_at_a_time(decision: &Decision, rules: &Rules, told: &dyn Fn() -> String) {
    let attempts = &decision.next.attempts;
    let candidates = decision.next.order.candidates.len();
    assert!(decision.next.candidate < candidates, "{}", told());
    for candidate in 0..candidates {
        let here = attempts.iter().filter(|attempt| attempt.candidate == candidate);
        let by_hand = here.clone().filter(|attempt| is_resolved(&attempt.result)).count();
        let most = rules.max_attempts.max(rules.max_throttled) as usize + by_hand;
        assert!(here.count() <= most, "{}", told());
    }
    assert!(attempts.iter().zip(1..).all(|(attempt, number)| attempt.number == number), "{}", told());
    for (earlier, later) in attempts.iter().zip(attempts.iter().skip(1)) {
        let known = match earlier.result {
            AttemptResult::Failed { .. } | AttemptResult::Succeeded => true,
            AttemptResult::Unconfirmed { .. } => {
                earlier.answered_at.is_some_and(|lost| lost + rules.unconfirmed_for <= later.claimed_at)
                    && later.candidate > earlier.candidate
            }
            AttemptResult::Submitting | AttemptResult::Accepted | AttemptResult::Canceled => false,
        };
        assert!(known, "an earlier job may still be alive: {}", told());
    }
    assert!(decision.attempt.is_none_or(|number| attempts.iter().any(|attempt| attempt.number == number)), "{}", told());
}

fn sends_what_its_state_needs(decision: &Decision, told: &dyn Fn() -> String) {
    let new = &decision.next;
    for send in &decision.send {
        let fits = match send {
            Send::Dispatch { after } => {
                matches!(new.state, State::Queued { .. }) && *after >= seconds(0) && *after <= seconds(900)
            }
            Send::Nudge { at } => new.due_at == Some(*at),
            Send::Collect => {
                let late = new.late.as_ref().is_some_and(|late| matches!(late.state, LateState::Collecting { .. }));
                late || matches!(new.state, State::Collecting { .. })
            }
        };
        assert!(fits, "{send:?} does not fit: {}", told());
    }
}
