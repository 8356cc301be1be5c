//! Whatever happens, in whatever order and however often: the books stay right, and the end comes.

use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{RngAlgorithm, TestRunner};
use serde_json::Value;

use super::*;

/// One thing that happens.
#[derive(Debug, Clone)]
struct Move {
    wait: Wait,
    word: &'static str,
    who: Who,
    details: Details,
}

#[derive(Debug, Clone, Copy)]
enum Wait {
    Seconds(i64),
    UntilDue,
}

/// The attempt that an event speaks of.
#[derive(Debug, Clone, Copy)]
enum Who {
    Current,
    Previous,
    /// The one whose late result is under way.
    Late,
    /// Any, right or wrong.
    Number(u32),
}

impl Who {
    fn attempt(self, generation: &Generation) -> u32 {
        match self {
            Self::Current => generation.attempt(),
            Self::Previous => generation.attempt().saturating_sub(1),
            Self::Late => generation.late.as_ref().map_or(generation.attempt(), |late| late.attempt),
            Self::Number(number) => number,
        }
    }
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let wait = prop_oneof![
        3 => Just(Wait::Seconds(0)),
        3 => (0..60_i64).prop_map(Wait::Seconds),
        1 => (0..5000_i64).prop_map(Wait::Seconds),
        3 => Just(Wait::UntilDue),
    ];
    // Nothing much happens without a claim, and most failures end it.
    let word = prop_oneof![
        2 => Just("claim"),
        4 => select(&["accepted", "failed", "lost", "succeeded"][..]),
        6 => select(&EVENTS[..19]),
        1 => select(&EVENTS[19..]),
    ];
    let who = prop_oneof![
        4 => Just(Who::Current),
        3 => Just(Who::Previous),
        2 => Just(Who::Late),
        1 => (0..=4_u32).prop_map(Who::Number),
    ];
    let class = prop_oneof![6 => Just(FailureClass::Throttled), 1 => select(&FailureClass::ALL[..])];
    let details = (class, option::of(0..2000_i64), any::<bool>(), option::of(0..=100_u8));
    let details = details.prop_map(|(class, retry_after, names_job, progress)| Details {
        class,
        retry_after: retry_after.map(seconds),
        job: names_job.then(|| provider_job(1)),
        progress,
    });
    vec((wait, word, who, details).prop_map(|(wait, word, who, details)| Move { wait, word, who, details }), 0..=60)
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let billed = subsequence(FailureClass::ALL.to_vec(), 0..=12);
    let repeated = subsequence(FailureClass::ALL.to_vec(), 0..=12);
    let passed_on = subsequence(FailureClass::ALL.to_vec(), 0..=12);
    let attempts = prop_oneof![1 => Just(1), 4 => 2..=4_u32];
    (any::<bool>(), attempts, 1..=4_u32, option::weighted(0.3, (billed, repeated, passed_on))).prop_map(
        |(safe, attempts, tries, exceptions)| {
            let policies = exceptions.map(|(billed, repeated, passed_on)| {
                let policy = |class: &FailureClass| {
                    let charge = if billed.contains(class) { "full" } else { "none" };
                    let retry = match (repeated.contains(class), passed_on.contains(class)) {
                        (true, _) => "same",
                        (false, true) => "next",
                        (false, false) => "no",
                    };
                    (
                        json!(class).as_str().expect("a word").to_owned(),
                        json!({"charge": charge, "retry": retry, "alarm": "nobody"}),
                    )
                };
                let all: Map<String, Value> = FailureClass::ALL.iter().map(policy).collect();
                serde_json::from_value(all.into()).expect("policies")
            });
            Rules {
                submit_repeat_safe: safe,
                max_attempts: attempts,
                max_attempts_before_next: attempts.min(2),
                max_throttled: attempts + 1,
                collect_for: seconds(i64::from(tries) * 100),
                // Short, so that waiting for it does not take most of the test's time.
                queue_limit: seconds(600),
                policies: policies.unwrap_or_default(),
                ..rules()
            }
        },
    )
}

/// 2,000 histories, or as many as `PROPTEST_CASES` says.
fn config() -> ProptestConfig {
    const PROPTESTS_OWN_DEFAULT: u32 = 256;
    let given = ProptestConfig::default();
    let cases = if given.cases == PROPTESTS_OWN_DEFAULT { 2_000 } else { given.cases };
    // The default generator, ChaCha, takes most of the time in a debug build.
    ProptestConfig { cases, rng_algorithm: RngAlgorithm::XorShift, source_file: Some(file!()), ..given }
}

#[test]
fn no_history_closes_a_hold_twice_or_never_ends() {
    let seen = RefCell::new(BTreeSet::new());
    let config = config();
    let thorough = config.cases >= 2_000;
    let histories = (any_rules(), 0..=25_u64, moves(), any::<bool>(), 1..=3_usize);
    let result = TestRunner::new(config).run(&histories, |(rules, hold, moves, provider_answers, candidates)| {
        let mut life = Life::new(25, hold, rules.requeue_every);
        life.generation.order.params.insert("prompt".to_owned(), json!("a fox"));
        life.generation.order.candidates = ["p", "q", "r"].iter().take(candidates).map(|name| candidate(name)).collect();
        for step in &moves {
            match step.wait {
                Wait::Seconds(s) => life.now += seconds(s),
                Wait::UntilDue if life.generation.due_at.is_some() => life.wait_until_due(),
                Wait::UntilDue => {}
            }
            let event = event(step.word, step.who.attempt(&life.generation), &step.details, life.now);
            apply(&mut life, &event, &rules);
            seen.borrow_mut().extend(landmarks(&life.generation));
        }
        let stored = serde_json::to_value(&life.generation).expect("serializes");
        assert_eq!(serde_json::from_value::<Generation>(stored).expect("reads back"), life.generation);
        reaches_its_end(&mut life, &rules, provider_answers);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    if thorough {
        let all = ["queued", "submitting", "running", "unconfirmed", "collecting", "succeeded", "failed", "canceled"];
        let all = all.into_iter().chain([
            "canceling",
            "late under way",
            "late collecting",
            "late stored",
            "late lost",
            "erasing",
            "erased",
            "second attempt",
            "in line",
            "next candidate",
            "resolved",
            "vouched for",
        ]);
        assert_eq!(*seen.borrow(), all.collect(), "the histories do not come everywhere");
    }
}

fn landmarks(generation: &Generation) -> Vec<&'static str> {
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
    seen.extend(generation.late.as_ref().map(|late| match late.state {
        LateState::Collecting { .. } if generation.state.is_terminal() => "late collecting",
        LateState::Collecting { .. } => "late under way",
        LateState::Stored { .. } => "late stored",
        LateState::Lost { .. } => "late lost",
    }));
    seen.extend(generation.erasure.map(|erasure| match erasure {
        Erasure::Erasing { .. } => "erasing",
        Erasure::Erased { .. } => "erased",
    }));
    seen
}

/// One event, and everything that must be true after it. Says whether anything changed: if not, there is nothing to write.
fn apply(life: &mut Life, event: &Event, rules: &Rules) -> bool {
    let Ok(decision) = decide(&life.generation, event, rules, life.now) else { return false };
    keeps_its_promises(life, event, &decision, rules);
    life.keep(decision);
    books::agree(life);
    assert!(life.generation.due_at.is_some() || life.generation.state.is_terminal(), "forgotten: {life:#?}");
    true
}

fn keeps_its_promises(before: &Life, event: &Event, decision: &Decision, rules: &Rules) {
    let (now, old, new) = (before.now, &before.generation, &decision.next);
    let told = || format!("{event:?} at {now} made of {old:#?}\n{decision:#?}");
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
    match event {
        Event::Erased => assert!(is_erased(new), "{}", told()),
        _ if is_erased(old) => assert!(is_erased(new), "{}", told()),
        _ => assert_eq!(new.order, old.order, "{}", told()),
    }
    let gone = |generation: &Generation| generation.results().filter(|result| result.erased_at.is_some()).count();
    let may_go = matches!(event, Event::Erased | Event::EraseResult { .. });
    assert!(may_go || gone(new) == gone(old), "{}", told());
    assert!(new.erasure.is_none() || new.state.is_terminal(), "erased before its end: {}", told());
}

/// Nothing else may move the time at which a state's patience ends: above all not the deadline of an unconfirmed submit.
fn due_when_its_state_says(now: Timestamp, decision: &Decision, rules: &Rules, told: &dyn Fn() -> String) {
    let new = &decision.next;
    let late = new.late.as_ref().is_some_and(|late| matches!(late.state, LateState::Collecting { .. }));
    match &new.state {
        State::Queued { not_before, .. } => assert!(new.due_at > Some(*not_before), "{}", told()),
        State::Claimed { lease_until } => assert_eq!(new.due_at, Some(*lease_until), "{}", told()),
        State::Collecting { .. } => {
            let latest = now + rules.collect_lease.max(rules.queue_limit);
            assert!(new.due_at.is_some_and(|due| due <= latest), "{}", told());
        }
        State::Unconfirmed { resolves_by, .. } => assert_eq!(new.due_at, Some(*resolves_by), "{}", told()),
        State::Running { expires_at, .. } => {
            let latest = (now + rules.ask_lease).max(*expires_at);
            assert!(new.due_at.is_some_and(|due| due <= latest), "{}", told());
        }
        State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. } => match new.erasure {
            None => assert_eq!(new.due_at.is_some(), late, "{}", told()),
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

/// The poll function alone, without any worker, callback or customer, brings everything to an end.
fn reaches_its_end(life: &mut Life, rules: &Rules, provider_answers: bool) {
    for _ in 0..100 {
        if life.generation.due_at.is_none() {
            assert!(life.generation.state.is_terminal(), "{life:#?}");
            return;
        }
        life.wait_until_due();
        let attempt = life.generation.attempt();
        if life.generation.erasure.is_some() {
            assert!(apply(life, &Event::Erased, rules), "being erased, and nothing was done: {life:#?}");
        } else if let State::Running { .. } = life.generation.state {
            assert!(apply(life, &Event::Asking { attempt }, rules), "what is due may be asked for: {life:#?}");
            let answer = match provider_answers {
                true => Event::StillRunning { attempt, progress: Some(1), queue_position: None },
                false => Event::AskFailed { attempt },
            };
            assert!(apply(life, &answer, rules), "{life:#?}");
        } else {
            assert!(apply(life, &Event::Due, rules), "due, and nothing was done: {life:#?}");
        }
    }
    panic!("it goes on for ever: {life:#?}");
}
