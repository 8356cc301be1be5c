//! Whole lives, told in order.

use super::{Rules, billing, check, rules};

fn repeat_safe() -> Rules {
    Rules { submit_repeat_safe: true, ..rules() }
}

#[test]
fn a_success_is_charged_and_every_duplicate_changes_nothing() {
    check(
        &rules(),
        "claim                    -> submitting, due 30s
         claim                    -> already so
         +2s accepted 1           -> running, nudge in 10s, due 10s
         accepted 1               -> already so
         lost 1                   -> already so
         @due asking 1            -> running, due 45s
         asking 1                 -> not yet
         +1s succeeded 1          -> collecting, try 0, collect, due 60s
         succeeded 1              -> already so
         still_running 1          -> already so
         +3s stored 1             -> succeeded, charge 7 of 7, file 1
         stored 1                 -> already so
         succeeded 1              -> already so
         collect_delayed 1        -> already so
         collect_failed 1         -> already so
         accepted 1               -> too late
         failed 1 moderated       -> too late
         provider_canceled 1      -> too late
         cancel                   -> too late
         claim                    -> already so
         +9999s due               -> not yet",
    );
}

#[test]
fn a_callback_may_come_before_the_answer_to_the_submit() {
    check(
        &rules(),
        "claim                    -> submitting, due 30s
         succeeded 1 job          -> collecting, try 0, collect, due 60s
         accepted 1               -> already so
         lost 1                   -> already so
         failed 1 throttled       -> already so
         stored 1                 -> succeeded, charge 7 of 7, file 1",
    );
}

#[test]
fn a_lost_answer_waits_for_evidence() {
    let lost = "claim                 -> submitting, due 30s
                +5s lost 1            -> unconfirmed, due 300s
                lost 1                -> already so
                ? +299s due           -> not yet
                woken 1               -> not yet";
    check(
        &rules(),
        &format!(
            "{lost}\n +299s succeeded 1 job -> collecting, try 0, collect, due 60s\n stored 1 -> succeeded, charge 7 of 7, file 1"
        ),
    );
    check(
        &rules(),
        &format!("{lost}\n accepted 1 -> running, nudge in 10s, due 10s\n failed 1 -> failed provider_failed, release 7"),
    );
    check(&rules(), &format!("{lost}\n woken 1 job -> running, nudge in 0s, due 0s\n asking 1 -> running, due 45s"));
    check(&rules(), &format!("{lost}\n failed 1 moderated -> failed moderated, release 7"));
    check(
        &rules(),
        &format!("{lost}\n failed 1 throttled -> queued, dispatch in 2s, due 62s\n +2s claim -> submitting, due 30s"),
    );
}

#[test]
fn a_worker_that_does_not_report_back_leaves_it_unconfirmed() {
    check(
        &rules(),
        "claim                    -> submitting, due 30s
         +29s due                 -> not yet
         +1s due                  -> unconfirmed, due 300s
         claim                    -> already so
         +9s accepted 1           -> running, nudge in 10s, due 10s",
    );
}

#[test]
fn what_comes_after_the_deadline_is_stored_and_not_charged() {
    let expired = "claim                  -> submitting, due 30s
                   +1s lost 1             -> unconfirmed, due 300s
                   @due due               -> failed expired, release 7
                   due                    -> not yet
                   +60s succeeded 1 job   -> failed expired, collect, due 60s, late 1 collecting, try 0
                   succeeded 1            -> already so
                   accepted 1             -> too late
                   cancel                 -> too late
                   due                    -> not yet";
    let stored = "+1s stored 1            -> failed expired, file 1, late 1 stored
                  stored 1                -> already so
                  succeeded 1             -> already so
                  collect_delayed 1       -> already so
                  collect_failed 1        -> already so
                  due                     -> not yet";
    let delayed = "+5s collecting 1       -> failed expired, due 90s, late 1 collecting, try 1
                   +5s collect_delayed 1  -> failed expired, due 6s, late 1 collecting, try 1
                   collect_delayed 1      -> failed expired, due 6s, late 1 collecting, try 1
                   @due due               -> failed expired, collect, due 60s, late 1 collecting, try 1
                   +1s collecting 1       -> failed expired, due 90s, late 1 collecting, try 2
                   @due due               -> failed expired, collect, due 107s, late 1 collecting, try 2
                   +300s collecting 1     -> failed expired, due 90s, late 1 collecting, try 3";
    let lost = "succeeded 1               -> already so
                stored 1                  -> already so
                due                       -> not yet";
    check(&rules(), &format!("{expired}\n {stored}"));
    check(&rules(), &format!("{expired}\n {delayed}\n {stored}"));
    check(&rules(), &format!("{expired}\n {delayed}\n collect_delayed 1 -> failed expired, late 1 lost\n {lost}"));
    check(&rules(), &format!("{expired}\n {delayed}\n @due due -> failed expired, late 1 lost\n {lost}"));
    check(&rules(), &format!("{expired}\n collect_failed 1 -> failed expired, late 1 lost\n {lost}"));
}

/// The second attempt's own times are not touched by the first one's belated result.
#[test]
fn a_late_result_of_an_earlier_attempt_does_not_disturb_the_current_one() {
    let second = "claim                   -> submitting, due 30s
                  failed 1 throttled      -> queued, dispatch in 2s, due 62s
                  +2s claim               -> submitting, due 30s
                  +1s succeeded 1         -> submitting, collect, due 29s, late 1 collecting, try 0
                  succeeded 1             -> already so";
    check(
        &rules(),
        &format!(
            "{second}
             collecting 1             -> submitting, due 29s, late 1 collecting, try 1
             collect_delayed 1        -> not yet
             lost 2                   -> unconfirmed, due 300s, late 1 collecting, try 1
             +1s collect_delayed 1    -> not yet
             ? +298s due              -> not yet
             @due due                 -> failed expired, release 7, due 90s, late 1 collecting, try 1
             collect_delayed 1        -> failed expired, due 6s, late 1 collecting, try 1
             @due due                 -> failed expired, collect, due 306s, late 1 collecting, try 1
             stored 1                 -> failed expired, file 1, late 1 stored"
        ),
    );
    check(
        &rules(),
        &format!(
            "{second}
             stored 1                 -> submitting, file 1, due 29s, late 1 stored
             succeeded 2              -> collecting, try 0, collect, due 60s, late 1 stored
             succeeded 1              -> already so
             stored 1                 -> stale
             stored 2                 -> succeeded, charge 7 of 7, file 1, late 1 stored"
        ),
    );
    check(
        &rules(),
        &format!(
            "{second}
             succeeded 2              -> collecting, try 0, collect, due 60s, late 1 collecting, try 0
             stored 2                 -> succeeded, charge 7 of 7, file 1, due 90s, late 1 collecting, try 0
             collect_failed 1         -> succeeded, late 1 lost"
        ),
    );
}

#[test]
fn a_certain_refusal_is_tried_again_up_to_the_limit() {
    check(
        &rules(),
        "claim                            -> submitting, due 30s
         failed 1 unavailable retry 20s     -> queued, dispatch in 20s, due 80s
         failed 1 unavailable retry 20s     -> already so
         +19s claim                       -> not yet
         +1s claim                        -> submitting, due 30s
         failed 1 unavailable               -> stale
         failed 2 unavailable             -> queued, dispatch in 6s, due 66s
         @due due                         -> queued, dispatch in 0s, due 86s
         claim                            -> submitting, due 30s
         failed 3 unavailable retry 20s     -> failed unavailable, release 7
         claim                            -> already so",
    );
    check(&rules(), "claim -> submitting, due 30s\n failed 1 throttled retry 9999s -> queued, dispatch in 900s, due 960s");
}

#[test]
fn a_refusal_that_would_come_again_ends_it() {
    for class in [
        "rejected_input",
        "moderated",
        "provider_auth",
        "provider_funds",
        "provider_failed",
        "result_lost",
        "expired",
        "internal",
    ] {
        check(&rules(), &format!("claim -> submitting, due 30s\n failed 1 {class} -> failed {class}, release 7"));
    }
}

#[test]
fn a_job_that_was_interrupted_is_submitted_again() {
    check(
        &rules(),
        "claim                    -> submitting, due 30s
         accepted 1               -> running, nudge in 10s, due 10s
         failed 1 unavailable     -> queued, dispatch in 2s, due 62s
         +1s succeeded 1          -> collecting, try 0, collect, due 60s
         claim                    -> already so
         stored 1                 -> succeeded, charge 7 of 7, file 1",
    );
}

#[test]
fn only_what_a_provider_may_have_billed_is_charged() {
    let running = "claim                  -> submitting, due 30s
                   accepted 1             -> running, nudge in 10s, due 10s";
    check(&rules(), &format!("{running}\n failed 1 moderated -> failed moderated, release 7"));
    let bills = billing(&["moderated", "canceled", "expired"]);
    check(&bills, &format!("{running}\n failed 1 moderated -> failed moderated, charge 7 of 7\n failed 1 moderated -> too late"));
    check(&bills, &format!("{running}\n failed 1 provider_failed -> failed provider_failed, release 7"));
    check(&bills, &format!("{running}\n +200s still_running 1 -> failed expired, charge 7 of 7"));
    check(
        &bills,
        &format!(
            "{running}\n cancel -> running, canceling, nudge in 0s, due 0s\n provider_canceled 1 -> canceled, charge 7 of 7"
        ),
    );
    // What the provider did counts, not what the customer wished: a refusal is free, a refused content is not.
    let canceling = "claim -> submitting, due 30s\n cancel -> submitting, canceling, due 30s";
    check(&bills, &format!("{canceling}\n failed 1 throttled -> canceled, release 7"));
    check(&bills, &format!("{canceling}\n failed 1 moderated -> canceled, charge 7 of 7"));
    // Nothing is at the provider while it waits.
    check(&bills, "cancel -> canceled, release 7");
    check(&bills, "+3601s due -> failed expired, release 7");
    let refused = "claim -> submitting, due 30s\n failed 1 throttled -> queued, dispatch in 2s, due 62s";
    check(&bills, &format!("{refused}\n cancel -> canceled, release 7"));
    check(&bills, &format!("{refused}\n +3601s due -> failed expired, release 7"));
}

#[test]
fn canceling_in_the_queue_ends_it_at_once() {
    check(
        &rules(),
        "cancel                   -> canceled, release 7
         cancel                   -> already so
         claim                    -> already so
         due                      -> not yet",
    );
}

#[test]
fn canceling_while_it_is_submitted_waits_for_the_provider() {
    let canceling = "claim                -> submitting, due 30s
                     cancel               -> submitting, canceling, due 30s
                     cancel               -> already so";
    check(
        &rules(),
        &format!(
            "{canceling}
             accepted 1               -> running, canceling, nudge in 0s, due 0s
             provider_canceled 1      -> canceled, release 7
             provider_canceled 1      -> already so
             succeeded 1              -> canceled, collect, due 60s, late 1 collecting, try 0
             stored 1                 -> canceled, file 1, late 1 stored"
        ),
    );
    check(&rules(), &format!("{canceling}\n failed 1 throttled -> canceled, release 7"));
    check(&rules(), &format!("{canceling}\n provider_canceled 1 -> canceled, release 7"));
    check(
        &rules(),
        &format!(
            "{canceling}\n succeeded 1 -> collecting, try 0, canceling, collect, due 60s\n stored 1 -> succeeded, charge 7 of 7, file 1"
        ),
    );
    check(&repeat_safe(), &format!("{canceling}\n lost 1 -> canceled, release 7"));
}

#[test]
fn canceling_while_it_runs_asks_the_provider_now() {
    let canceling = "claim                -> submitting, due 30s
                     accepted 1           -> running, nudge in 10s, due 10s
                     +1s cancel           -> running, canceling, nudge in 0s, due 0s
                     cancel               -> already so
                     asking 1             -> running, canceling, due 45s
                     still_running 1      -> running, canceling, nudge in 20s, due 20s";
    check(&rules(), &format!("{canceling}\n provider_canceled 1 -> canceled, release 7"));
    check(&rules(), &format!("{canceling}\n failed 1 unavailable -> canceled, release 7"));
    check(&rules(), &format!("{canceling}\n +200s still_running 1 -> canceled, release 7"));
    check(
        &rules(),
        &format!(
            "{canceling}
             succeeded 1              -> collecting, try 0, canceling, collect, due 60s
             provider_canceled 1      -> too late
             cancel                   -> too late
             stored 1                 -> succeeded, charge 7 of 7, file 1"
        ),
    );
}

#[test]
fn canceling_what_nobody_confirmed_ends_it_at_the_deadline() {
    let canceling = "claim                -> submitting, due 30s
                     lost 1               -> unconfirmed, due 300s
                     +1s cancel           -> unconfirmed, canceling, due 299s
                     cancel               -> already so
                     due                  -> not yet";
    check(&rules(), &format!("{canceling}\n @due due -> canceled, release 7"));
    check(&rules(), &format!("{canceling}\n woken 1 job -> running, canceling, nudge in 0s, due 0s"));
    check(
        &rules(),
        &format!(
            "{canceling}\n succeeded 1 -> collecting, try 0, canceling, collect, due 60s\n stored 1 -> succeeded, charge 7 of 7, file 1"
        ),
    );
}

#[test]
fn a_provider_that_stops_on_its_own_has_failed() {
    check(
        &rules(),
        "claim                    -> submitting, due 30s
         accepted 1               -> running, nudge in 10s, due 10s
         provider_canceled 1      -> failed provider_failed, release 7
         provider_canceled 1      -> too late",
    );
}

#[test]
fn polls_grow_rarer_until_the_time_is_up() {
    check(
        &rules(),
        "claim                    -> submitting, due 30s
         accepted 1               -> running, nudge in 10s, due 10s
         asking 1                 -> not yet
         @due asking 1            -> running, due 45s
         still_running 1 50%      -> running 50%, nudge in 20s, due 20s
         @due asking 1            -> running 50%, due 45s
         ask_failed 1             -> running 50%, nudge in 40s, due 40s
         @due still_running 1 20% -> running 50%, nudge in 40s, due 40s
         @due still_running 1     -> running 50%, nudge in 40s, due 40s
         @due ask_failed 1        -> running 50%, nudge in 40s, due 40s
         @due still_running 1 90% -> running 90%, nudge in 10s, due 10s
         @due ask_failed 1        -> failed expired, release 7
         still_running 1          -> already so",
    );
}

#[test]
fn a_long_pause_is_left_to_the_tick() {
    let mut slow = rules();
    slow.poll.first = super::seconds(60);
    slow.poll.max = super::seconds(60);
    check(&slow, "claim -> submitting, due 30s\n accepted 1 -> running, due 60s\n @due still_running 1 -> running, due 60s");
}

#[test]
fn a_poll_worker_that_disappears_is_replaced() {
    check(
        &rules(),
        "claim                    -> submitting, due 30s
         accepted 1               -> running, nudge in 10s, due 10s
         @due asking 1            -> running, due 45s
         +44s asking 1            -> not yet
         +1s asking 1             -> running, due 45s
         due                      -> not yet
         woken 1                  -> running, nudge in 0s, due 0s
         due                      -> already so
         asking 1                 -> running, due 45s",
    );
}

#[test]
fn a_result_is_copied_for_as_long_as_it_can_be_had_and_then_lost() {
    let begun = "claim                    -> submitting, due 30s
                 succeeded 1              -> collecting, try 0, collect, due 60s
                 +5s collecting 1         -> collecting, try 1, due 90s
                 +5s collect_delayed 1    -> collecting, try 1, nudge in 6s, due 6s
                 collect_delayed 1        -> collecting, try 1, nudge in 6s, due 6s
                 @due due                 -> collecting, try 1, collect, due 60s
                 +1s collecting 1         -> collecting, try 2, due 90s
                 +89s due                 -> not yet
                 +1s due                  -> collecting, try 2, collect, due 107s
                 +292s collecting 1       -> collecting, try 3, due 90s";
    check(&rules(), &format!("{begun}\n stored 1 -> succeeded, charge 7 of 7, file 1"));
    check(&rules(), &format!("{begun}\n collect_delayed 1 result_lost -> collecting, try 3, nudge in 50s, due 50s"));
    check(&rules(), &format!("{begun}\n +1s collect_delayed 1 result_lost -> failed result_lost, release 7"));
    check(
        &rules(),
        &format!("{begun}\n @due due -> failed result_lost, release 7\n stored 1 -> failed result_lost, file 1, late 1 stored"),
    );
    check(
        &rules(),
        "claim -> submitting, due 30s\n succeeded 1 -> collecting, try 0, collect, due 60s\n collect_failed 1 result_lost -> failed result_lost, release 7",
    );
}

/// Nobody has looked whether the result is still there: the time is not over before somebody did.
#[test]
fn a_result_that_waits_for_a_worker_is_not_lost() {
    check(
        &rules(),
        "claim                    -> submitting, due 30s
         succeeded 1              -> collecting, try 0, collect, due 60s
         @due due                 -> collecting, try 0, collect, due 60s
         +1000s due               -> collecting, try 0, collect, due 1060s
         +1s collecting 1         -> collecting, try 1, due 90s
         stored 1                 -> succeeded, charge 7 of 7, file 1",
    );
    check(
        &rules(),
        "claim                    -> submitting, due 30s
         succeeded 1              -> collecting, try 0, collect, due 60s
         +3600s due               -> failed result_lost, release 7",
    );
}

#[test]
fn a_lost_answer_of_a_repeat_safe_provider_is_simply_submitted_again() {
    check(
        &repeat_safe(),
        "claim                    -> submitting, due 30s
         lost 1                   -> queued, dispatch in 0s, due 60s
         accepted 1               -> already so
         claim                    -> submitting, due 30s
         accepted 1               -> stale
         @due due                 -> queued, dispatch in 0s, due 60s
         claim                    -> submitting, due 30s
         lost 3                   -> failed unavailable, release 7",
    );
}

#[test]
fn a_lost_dispatch_message_is_sent_again_until_the_queue_limit() {
    check(
        &rules(),
        "due                      -> not yet
         @due due                 -> queued, dispatch in 0s, due 60s
         @due due                 -> queued, dispatch in 0s, due 120s
         ? claim                  -> submitting, due 30s
         +3479s due               -> queued, dispatch in 0s, due 3599s
         @due due                 -> failed expired, release 7",
    );
}

#[test]
fn evidence_of_another_attempt_is_not_evidence_of_this_one() {
    let second = "claim                   -> submitting, due 30s
                  failed 1 throttled      -> queued, dispatch in 2s, due 62s
                  +2s claim               -> submitting, due 30s";
    let events = ["accepted", "failed", "lost", "provider_canceled", "asking", "still_running", "ask_failed", "woken", "stored"];
    for event in events.into_iter().chain(["collect_delayed", "collect_failed"]) {
        for state in [
            "? due -> not yet",
            "accepted 2 -> running, nudge in 10s, due 10s",
            "succeeded 2 -> collecting, try 0, collect, due 60s",
        ] {
            check(&rules(), &format!("{second}\n {state}\n ? {event} 0 -> stale\n ? {event} 1 -> stale\n ? {event} 3 -> stale"));
        }
    }
    check(&rules(), &format!("{second}\n succeeded 0 -> stale\n succeeded 3 -> stale"));
}
