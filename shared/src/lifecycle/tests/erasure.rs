//! Content erased on request, told in order; and what is left of a record.

use serde_json::Map;

use super::*;

const DONE: &str = "claim                    -> submitting, due 30s
                    succeeded 1              -> collecting, try 0, collect, due 60s
                    stored 1                 -> succeeded, charge 7 of 7, file 1";

#[test]
fn what_has_ended_is_erased_and_looked_after_once_more() {
    check(
        &rules(),
        &format!(
            "{DONE}
             erase                    -> succeeded, erasing, due 60s
             erase                    -> already so
             stored 1                 -> too late
             erased                   -> succeeded, erased, due 90s
             erased                   -> not yet
             erase                    -> already so
             stored 1                 -> too late
             @due erased              -> succeeded, erased
             erased                   -> already so
             +9999s due               -> not yet"
        ),
    );
}

#[test]
fn a_late_result_is_waited_for() {
    check(
        &rules(),
        "claim                    -> submitting, due 30s
         failed 1 moderated       -> failed moderated, release 7
         succeeded 1              -> failed moderated, collect, due 60s, late 1 collecting, try 0
         erase                    -> not yet
         stored 1                 -> failed moderated, file 1, late 1 stored
         erase                    -> failed moderated, erasing, due 60s, late 1 stored
         erased                   -> failed moderated, erased, due 90s, late 1 stored",
    );
}

#[test]
fn a_single_result_is_erased_once() {
    check(
        &rules(),
        &format!(
            "{DONE}
             erase_result             -> succeeded, 1 erased
             erase_result             -> already so
             erase                    -> succeeded, erasing, due 60s"
        ),
    );
    // A late one while the next attempt is under way.
    check(
        &rules(),
        "claim                    -> submitting, due 30s
         failed 1 throttled       -> queued, dispatch in 2s, due 62s
         +2s claim                -> submitting, due 30s
         stored 1                 -> stale
         succeeded 1              -> submitting, collect, due 30s, late 1 collecting, try 0
         erase_result             -> already so
         stored 1                 -> submitting, file 1, due 30s, late 1 stored
         erase_result             -> submitting, 1 erased, due 30s, late 1 stored",
    );
}

#[test]
fn nothing_of_the_content_is_left_and_all_of_the_bill() {
    let mut life = Life::new(100, 7, seconds(60));
    life.generation.order.params = Map::from_iter([("prompt".to_owned(), json!("a secret fox"))]);
    life.generation.order.candidates[0].params = Some(life.generation.order.params.clone());
    let failure = Failure::new(FailureClass::Throttled, "no secret fox today");
    let outcome = Outcome { sources: vec![Source::Link("https://x/secret-fox".into())] };
    for event in [
        Event::Claim { key: None, holds_slot: false },
        Event::Failed { attempt: 1, failure, retry_after: Some(seconds(0)) },
        Event::Claim { key: None, holds_slot: false },
        Event::Succeeded { attempt: 2, job: Some(provider_job(2)), outcome },
        Event::Stored { attempt: 2, results: vec![stored_file()] },
    ] {
        let decision = decide(&life.generation, &event, &rules(), life.now).expect("decided");
        life.keep(decision);
    }
    let before = life.generation.clone();
    let entries = life.entries.len();
    for event in [Event::EraseRequested, Event::Erased] {
        let decision = decide(&life.generation, &event, &rules(), life.now).expect("decided");
        assert!(decision.posting.is_none() && decision.assets.is_empty() && decision.send.is_empty());
        life.keep(decision);
        books::agree(&life);
    }
    let text = json!(life.generation).to_string();
    for content in ["secret", "results/1", "told by the model", "image/png"] {
        assert!(json!(before).to_string().contains(content));
        assert!(!text.contains(content), "`{content}` is left: {text}");
    }
    let after = &life.generation;
    assert_eq!((entries, after.hold, &after.funds), (life.entries.len(), before.hold, &before.funds));
    let (State::Succeeded { charged, finished_at, results }, State::Succeeded { charged: paid, finished_at: end, .. }) =
        (&after.state, &before.state)
    else {
        panic!("{after:#?}");
    };
    assert_eq!((charged, finished_at, results[0].asset), (paid, end, stored_file().asset));
    let told = |generation: &Generation| {
        let attempts = generation.attempts.iter();
        attempts.map(|attempt| (attempt.number, attempt.provider.clone(), attempt.job.clone())).collect::<Vec<_>>()
    };
    assert_eq!(told(after), told(&before));
    assert!(text.contains("throttled"), "{text}");
}

#[test]
fn what_was_prepared_for_it_is_tidied_away_once_it_has_ended() {
    let mut life = Life::new(100, 7, seconds(60));
    let outcome = Outcome { sources: vec![Source::Link("https://x/1".into())] };
    for event in [
        Event::Claim { key: None, holds_slot: false },
        Event::Prepared { attempt: 1, prepared: prepared_file() },
        Event::Succeeded { attempt: 1, job: None, outcome },
        Event::Stored { attempt: 1, results: vec![stored_file()] },
    ] {
        assert_eq!(decide(&life.generation, &Event::Tidied, &rules(), life.now).err(), Some(Unchanged::AlreadySo), "{event:?}");
        let decision = decide(&life.generation, &event, &rules(), life.now).expect("decided");
        let (next, nudge) = (&decision.next, Send::Nudge { at: life.now });
        let is_over = next.state.is_terminal();
        assert_eq!((next.left_overs, decision.send.contains(&nudge)), (is_over, is_over), "{event:?}");
        assert!(!is_over || next.due_at == Some(life.now), "{event:?}");
        life.keep(decision);
    }
    assert!(life.generation.left_overs);
    let tidied = decide(&life.generation, &Event::Tidied, &rules(), life.now).expect("decided");
    assert!(tidied.posting.is_none() && tidied.send.is_empty());
    assert_eq!((tidied.next.left_overs, tidied.next.due_at), (false, None));
    life.keep(tidied);
    assert_eq!(decide(&life.generation, &Event::Tidied, &rules(), life.now).err(), Some(Unchanged::AlreadySo));
}
