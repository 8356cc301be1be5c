//! An order that several providers can make, one after the other; and one that waits for its provider.

use serde_json::json;

use super::{Rules, check, check_chain, rules};

#[test]
fn a_provider_that_failed_is_followed_by_the_next_one() {
    check_chain(
        &rules(),
        "claim                -> submitting, due 30s
         failed 1 provider_failed -> queued by q, dispatch in 0s, due 60s
         claim                -> submitting by q, due 30s
         accepted 2           -> running by q, nudge in 10s, due 10s
         failed 1 moderated   -> stale
         failed 2 provider_failed -> failed provider_failed by q, release 7",
    );
}

#[test]
fn what_the_next_one_would_refuse_too_ends_it() {
    for class in ["rejected_input", "moderated"] {
        check_chain(&rules(), &format!("claim -> submitting, due 30s\n failed 1 {class} -> failed {class}, release 7"));
    }
}

#[test]
fn a_provider_that_is_away_is_tried_twice_before_the_next_one() {
    check_chain(
        &rules(),
        "claim                -> submitting, due 30s
         failed 1 unavailable -> queued, dispatch in 2s, due 62s
         +2s claim            -> submitting, due 30s
         failed 2 unavailable -> queued by q, dispatch in 0s, due 60s
         claim                -> submitting by q, due 30s
         failed 3 unavailable -> queued by q, dispatch in 2s, due 62s
         +2s claim            -> submitting by q, due 30s
         failed 4 unavailable -> queued by q, dispatch in 6s, due 66s
         +6s claim            -> submitting by q, due 30s
         failed 5 unavailable -> failed unavailable by q, release 7",
    );
}

#[test]
fn nobody_else_is_paid_before_the_time_for_evidence_is_over() {
    check_chain(
        &rules(),
        "claim                -> submitting, due 30s
         lost 1               -> unconfirmed, due 300s
         +299s due            -> not yet
         claim                -> already so
         +1s due              -> queued by q, dispatch in 0s, due 60s
         claim                -> submitting by q, due 30s
         succeeded 1          -> submitting by q, collect, due 30s, late 1 collecting, try 0
         succeeded 2          -> collecting, try 0 by q, collect, due 60s, late 1 collecting, try 0
         stored 1             -> collecting, try 0 by q, file 1, due 60s, late 1 stored
         stored 2             -> succeeded by q, charge 7 of 7, file 1, late 1 stored",
    );
}

#[test]
fn what_an_earlier_provider_delivers_is_never_taken_for_what_the_next_one_does() {
    check_chain(
        &rules(),
        "claim                -> submitting, due 30s
         lost 1               -> unconfirmed, due 300s
         +300s due            -> queued by q, dispatch in 0s, due 60s
         claim                -> submitting by q, due 30s
         accepted 2           -> running by q, nudge in 10s, due 10s
         ? succeeded 1        -> running by q, collect, due 10s, late 1 collecting, try 0
         succeeded 2          -> collecting, try 0 by q, collect, due 60s
         ? succeeded 1        -> collecting, try 0 by q, collect, due 60s, late 1 collecting, try 0
         stored 2             -> succeeded by q, charge 7 of 7, file 1
         ? succeeded 1        -> succeeded by q, collect, due 60s, late 1 collecting, try 0",
    );
}

#[test]
fn evidence_that_comes_before_the_next_one_is_asked_counts() {
    check_chain(
        &rules(),
        "claim                -> submitting, due 30s
         lost 1               -> unconfirmed, due 300s
         @due due             -> queued by q, dispatch in 0s, due 60s
         succeeded 1          -> collecting, try 0 by q, collect, due 60s
         claim                -> already so
         stored 1             -> succeeded by q, charge 7 of 7, file 1",
    );
}

#[test]
fn a_canceled_order_goes_to_nobody_else() {
    check_chain(
        &rules(),
        "claim                -> submitting, due 30s
         cancel               -> submitting, canceling, due 30s
         failed 1 unavailable -> canceled, release 7",
    );
}

#[test]
fn a_provider_that_cannot_be_asked_is_passed_over_without_an_attempt() {
    check_chain(
        &rules(),
        "pass_over            -> queued by q, dispatch in 0s, due 60s
         pass_over            -> too late
         claim                -> submitting by q, due 30s
         succeeded 1          -> collecting, try 0 by q, collect, due 60s",
    );
}

#[test]
fn who_waits_in_line_is_looked_at_now_and_then_and_can_leave_it() {
    check(
        &rules(),
        "wait                 -> queued in line, due 60s
         wait                 -> already so
         +60s due             -> queued in line, dispatch in 0s, due 60s
         +60s due             -> queued in line, dispatch in 0s, due 120s
         wait retry 20s       -> queued in line, dispatch in 20s, due 80s
         wait retry 20s       -> already so
         ? cancel             -> canceled, release 7
         ? claim              -> submitting, due 30s
         +20s claim           -> submitting, due 30s
         failed 1 throttled   -> queued, dispatch in 2s, due 62s",
    );
    check(&rules(), "wait -> queued in line, due 60s\n +3601s due -> failed expired, release 7");
}

#[test]
fn a_refused_key_is_followed_by_another_one_at_once() {
    check_chain(
        &rules(),
        "claim                        -> submitting, due 30s
         key_refused 1 provider_auth  -> queued, dispatch in 0s, due 60s
         claim                        -> submitting, due 30s
         key_refused 2 provider_funds -> queued, dispatch in 0s, due 60s
         claim                        -> submitting, due 30s
         ? cancel                     -> submitting, canceling, due 30s
         key_refused 3 provider_auth  -> queued by q, dispatch in 0s, due 60s",
    );
    check(
        &rules(),
        "claim                       -> submitting, due 30s
         cancel                      -> submitting, canceling, due 30s
         key_refused 1 provider_auth -> canceled, release 7",
    );
}

#[test]
fn a_provider_that_only_asks_to_slow_down_is_asked_more_often() {
    let patient = Rules { max_throttled: 4, max_attempts: 2, ..rules() };
    let again = |attempt: u32| {
        format!("claim -> submitting, due 30s\n failed {attempt} throttled retry 1s -> queued, dispatch in 1s, due 61s\n")
    };
    let script = format!(
        "{}+1s {}+1s {}+1s claim -> submitting, due 30s\n failed 4 throttled -> failed throttled, release 7",
        again(1),
        again(2),
        again(3)
    );
    check(&patient, &script);
}

/// Even where the provider bills what it cancels and what fails: it has never heard of this one.
#[test]
fn what_was_never_sent_is_not_charged() {
    let full = json!({"charge": "full", "retry": "no", "alarm": "nobody"});
    let policies = serde_json::from_value(json!({"canceled": full, "rejected_input": full})).expect("policies");
    let billing = Rules { policies, ..rules() };
    check(
        &billing,
        "claim                   -> submitting, due 30s
         ? failed 1 rejected_input -> failed rejected_input, charge 7 of 7
         ? unsent 1 rejected_input -> failed rejected_input, release 7
         cancel                  -> submitting, canceling, due 30s
         ? failed 1 canceled     -> canceled, charge 7 of 7
         unsent 1 canceled       -> canceled, release 7",
    );
}
