//! Every event in every state: what happens, or why nothing does.

use std::collections::BTreeSet;

use super::{EVENTS, check, rules};

const QUEUED: &str = "
    ? claim                  -> submitting, due 30s
    ? wait                   -> queued in line, due 60s
    ? wait retry 20s         -> queued in line, dispatch in 20s, due 80s
    ? pass_over              -> too late
    ? prepared 1             -> stale
    ? accepted 1             -> stale
    ? accepted 0             -> stale
    ? failed 1 throttled     -> stale
    ? failed 0 throttled     -> stale
    ? succeeded 0            -> stale
    ? lost 1                 -> stale
    ? key_refused 1 provider_auth -> stale
    ? unsent 1 unavailable -> stale
    ? succeeded 1            -> stale
    ? provider_canceled 1    -> stale
    ? asking 1               -> stale
    ? still_running 1        -> stale
    ? ask_failed 1           -> stale
    ? woken 1                -> stale
    ? woken 1 job            -> stale
    ? collecting 1           -> stale
    ? stored 1               -> stale
    ? collect_delayed 1      -> stale
    ? collect_failed 1       -> stale
    ? cancel                 -> canceled, release 7
    ? erase                  -> not yet
    ? erased                 -> not yet
    ? erase_result           -> already so
    ? tidied                 -> already so
    ? due                    -> not yet
    ? +60s due               -> queued, dispatch in 0s, due 60s
    ? let_go                 -> failed resolved, release 7
    ? bill                   -> failed resolved, charge 7 of 7
    ? +5s retry_now          -> queued, dispatch in 0s, due 60s";

const QUEUED_AGAIN: &str = "
    claim                    -> submitting, due 30s
    failed 1 throttled       -> queued, dispatch in 2s, due 62s
    ? claim                  -> not yet
    ? +2s claim              -> submitting, due 30s
    ? accepted 1             -> already so
    ? failed 1 throttled     -> already so
    ? lost 1                 -> already so
    ? key_refused 1 provider_auth -> already so
    ? unsent 1 unavailable -> already so
    ? succeeded 1            -> collecting, try 0, collect, due 60s
    ? provider_canceled 1    -> already so
    ? asking 1               -> already so
    ? still_running 1        -> already so
    ? ask_failed 1           -> already so
    ? woken 1                -> already so
    ? woken 1 job            -> already so
    ? collecting 1           -> already so
    ? stored 1               -> already so
    ? collect_delayed 1      -> already so
    ? collect_failed 1       -> already so
    ? cancel                 -> canceled, release 7
    ? erase                  -> not yet
    ? erased                 -> not yet
    ? erase_result           -> already so
    ? tidied                 -> already so
    ? due                    -> not yet
    ? +62s due               -> queued, dispatch in 0s, due 62s
    ? let_go                 -> failed resolved, release 7
    ? bill                   -> failed resolved, charge 7 of 7
    ? retry_now              -> queued, dispatch in 0s, due 60s";

const SUBMITTING: &str = "
    claim                    -> submitting, due 30s
    ? claim                  -> already so
    ? wait                   -> already so
    ? pass_over              -> already so
    ? prepared 1             -> submitting, due 30s
    ? accepted 1             -> running, nudge in 10s, due 10s
    ? failed 1 throttled     -> queued, dispatch in 2s, due 62s
    ? failed 1 moderated     -> failed moderated, release 7
    ? lost 1                 -> unconfirmed, due 300s
    ? key_refused 1 provider_auth -> queued, dispatch in 0s, due 60s
    ? unsent 1 unavailable -> queued, dispatch in 2s, due 62s
    ? succeeded 1            -> collecting, try 0, collect, due 60s
    ? provider_canceled 1    -> failed provider_failed, release 7
    ? asking 1               -> already so
    ? still_running 1        -> already so
    ? ask_failed 1           -> already so
    ? woken 1                -> not yet
    ? woken 1 job            -> running, nudge in 0s, due 0s
    ? collecting 1           -> already so
    ? stored 1               -> already so
    ? collect_delayed 1      -> already so
    ? collect_failed 1       -> already so
    ? cancel                 -> submitting, canceling, due 30s
    ? erase                  -> not yet
    ? erased                 -> not yet
    ? erase_result           -> already so
    ? tidied                 -> already so
    ? due                    -> not yet
    ? +30s due               -> unconfirmed, due 300s
    ? let_go                 -> failed resolved, release 7
    ? bill                   -> failed resolved, charge 7 of 7
    ? retry_now              -> not yet";

const RUNNING: &str = "
    claim                    -> submitting, due 30s
    accepted 1               -> running, nudge in 10s, due 10s
    ? claim                  -> already so
    ? wait                   -> already so
    ? pass_over              -> already so
    ? prepared 1             -> already so
    ? accepted 1             -> already so
    ? failed 1 throttled     -> queued, dispatch in 2s, due 62s
    ? failed 1 moderated     -> failed moderated, release 7
    ? lost 1                 -> already so
    ? key_refused 1 provider_auth -> failed provider_auth, release 7
    ? unsent 1 unavailable -> already so
    ? succeeded 1            -> collecting, try 0, collect, due 60s
    ? provider_canceled 1    -> failed provider_failed, release 7
    ? asking 1               -> not yet
    ? +10s asking 1          -> running, due 45s
    ? still_running 1        -> running, nudge in 20s, due 20s
    ? +200s still_running 1  -> failed expired, release 7
    ? ask_failed 1           -> running, nudge in 20s, due 20s
    ? +200s ask_failed 1     -> failed expired, release 7
    ? woken 1                -> running, nudge in 0s, due 0s
    ? woken 1 job            -> running, nudge in 0s, due 0s
    ? collecting 1           -> already so
    ? stored 1               -> already so
    ? collect_delayed 1      -> already so
    ? collect_failed 1       -> already so
    ? cancel                 -> running, canceling, nudge in 0s, due 0s
    ? erase                  -> not yet
    ? erased                 -> not yet
    ? erase_result           -> already so
    ? tidied                 -> already so
    ? due                    -> not yet
    ? +10s due               -> already so
    ? let_go                 -> failed resolved, release 7
    ? bill                   -> failed resolved, charge 7 of 7
    ? retry_now              -> running, nudge in 0s, due 0s";

const UNCONFIRMED: &str = "
    claim                    -> submitting, due 30s
    lost 1                   -> unconfirmed, due 300s
    ? claim                  -> already so
    ? wait                   -> already so
    ? pass_over              -> already so
    ? prepared 1             -> already so
    ? accepted 1             -> running, nudge in 10s, due 10s
    ? failed 1 throttled     -> queued, dispatch in 2s, due 62s
    ? failed 1 moderated     -> failed moderated, release 7
    ? lost 1                 -> already so
    ? key_refused 1 provider_auth -> queued, dispatch in 0s, due 60s
    ? unsent 1 unavailable -> queued, dispatch in 2s, due 62s
    ? succeeded 1            -> collecting, try 0, collect, due 60s
    ? provider_canceled 1    -> failed provider_failed, release 7
    ? asking 1               -> already so
    ? still_running 1        -> already so
    ? ask_failed 1           -> already so
    ? woken 1                -> not yet
    ? woken 1 job            -> running, nudge in 0s, due 0s
    ? collecting 1           -> already so
    ? stored 1               -> already so
    ? collect_delayed 1      -> already so
    ? collect_failed 1       -> already so
    ? cancel                 -> unconfirmed, canceling, due 300s
    ? erase                  -> not yet
    ? erased                 -> not yet
    ? erase_result           -> already so
    ? tidied                 -> already so
    ? due                    -> not yet
    ? +300s due              -> failed expired, release 7
    ? let_go                 -> failed resolved, release 7
    ? bill                   -> failed resolved, charge 7 of 7
    ? retry_now              -> queued, dispatch in 0s, due 60s";

const COLLECTING: &str = "
    claim                    -> submitting, due 30s
    accepted 1               -> running, nudge in 10s, due 10s
    succeeded 1              -> collecting, try 0, collect, due 60s
    ? claim                  -> already so
    ? wait                   -> already so
    ? pass_over              -> already so
    ? prepared 1             -> already so
    ? accepted 1             -> already so
    ? failed 1 moderated     -> already so
    ? lost 1                 -> already so
    ? key_refused 1 provider_auth -> already so
    ? unsent 1 unavailable -> already so
    ? succeeded 1            -> already so
    ? provider_canceled 1    -> already so
    ? asking 1               -> already so
    ? still_running 1        -> already so
    ? ask_failed 1           -> already so
    ? woken 1                -> already so
    ? woken 1 job            -> already so
    ? collecting 1           -> collecting, try 1, due 90s
    ? stored 1               -> succeeded, charge 7 of 7, file 1
    ? collect_delayed 1      -> collecting, try 0, nudge in 2s, due 2s
    ? collect_failed 1       -> failed provider_failed, release 7
    ? cancel                 -> too late
    ? erase                  -> not yet
    ? erased                 -> not yet
    ? erase_result           -> already so
    ? tidied                 -> already so
    ? due                    -> not yet
    ? +60s due               -> collecting, try 0, collect, due 60s
    ? let_go                 -> failed resolved, release 7, collect, due 60s, late 1 collecting, try 0
    ? bill                   -> failed resolved, charge 7 of 7, collect, due 60s, late 1 collecting, try 0
    ? retry_now              -> collecting, try 0, collect, due 60s";

const SUCCEEDED: &str = "
    claim                    -> submitting, due 30s
    succeeded 1              -> collecting, try 0, collect, due 60s
    stored 1                 -> succeeded, charge 7 of 7, file 1
    ? claim                  -> already so
    ? wait                   -> already so
    ? pass_over              -> already so
    ? prepared 1             -> already so
    ? accepted 1             -> too late
    ? failed 1 moderated     -> too late
    ? lost 1                 -> already so
    ? key_refused 1 provider_auth -> too late
    ? unsent 1 unavailable -> too late
    ? succeeded 1            -> already so
    ? provider_canceled 1    -> too late
    ? asking 1               -> already so
    ? still_running 1        -> already so
    ? ask_failed 1           -> already so
    ? woken 1                -> too late
    ? woken 1 job            -> too late
    ? collecting 1           -> already so
    ? stored 1               -> already so
    ? collect_delayed 1      -> already so
    ? collect_failed 1       -> already so
    ? cancel                 -> too late
    ? erase                  -> succeeded, erasing, due 60s
    ? erased                 -> not yet
    ? erase_result           -> succeeded, 1 erased
    ? tidied                 -> already so
    ? +9999s due             -> not yet

    ? let_go                 -> too late
    ? bill                   -> too late
    ? retry_now              -> too late";

const FAILED: &str = "
    claim                    -> submitting, due 30s
    failed 1 moderated       -> failed moderated, release 7
    ? claim                  -> already so
    ? wait                   -> already so
    ? pass_over              -> already so
    ? prepared 1             -> already so
    ? accepted 1             -> too late
    ? failed 1 moderated     -> too late
    ? lost 1                 -> already so
    ? key_refused 1 provider_auth -> too late
    ? unsent 1 unavailable -> too late
    ? succeeded 1            -> failed moderated, collect, due 60s, late 1 collecting, try 0
    ? provider_canceled 1    -> too late
    ? asking 1               -> already so
    ? still_running 1        -> already so
    ? ask_failed 1           -> already so
    ? woken 1                -> too late
    ? woken 1 job            -> too late
    ? collecting 1           -> already so
    ? stored 1               -> failed moderated, file 1, late 1 stored
    ? collect_delayed 1      -> already so
    ? collect_failed 1       -> already so
    ? cancel                 -> too late
    ? erase                  -> failed moderated, erasing, due 60s
    ? erased                 -> not yet
    ? erase_result           -> already so
    ? tidied                 -> already so
    ? +9999s due             -> not yet

    ? let_go                 -> too late
    ? bill                   -> too late
    ? retry_now              -> too late";

const CANCELED: &str = "
    claim                    -> submitting, due 30s
    cancel                   -> submitting, canceling, due 30s
    provider_canceled 1      -> canceled, release 7
    ? claim                  -> already so
    ? wait                   -> already so
    ? pass_over              -> already so
    ? prepared 1             -> already so
    ? accepted 1             -> too late
    ? failed 1 moderated     -> too late
    ? lost 1                 -> already so
    ? key_refused 1 provider_auth -> too late
    ? unsent 1 unavailable -> too late
    ? succeeded 1            -> canceled, collect, due 60s, late 1 collecting, try 0
    ? provider_canceled 1    -> already so
    ? asking 1               -> already so
    ? still_running 1        -> already so
    ? ask_failed 1           -> already so
    ? woken 1                -> too late
    ? woken 1 job            -> too late
    ? collecting 1           -> already so
    ? stored 1               -> canceled, file 1, late 1 stored
    ? collect_delayed 1      -> already so
    ? collect_failed 1       -> already so
    ? cancel                 -> already so
    ? erase                  -> canceled, erasing, due 60s
    ? erased                 -> not yet
    ? erase_result           -> already so
    ? tidied                 -> already so
    ? +9999s due             -> not yet

    ? let_go                 -> too late
    ? bill                   -> too late
    ? retry_now              -> too late";

/// The late result is under way, the generation is over: only the copying goes on.
const LATE: &str = "
    claim                    -> submitting, due 30s
    failed 1 moderated       -> failed moderated, release 7
    succeeded 1              -> failed moderated, collect, due 60s, late 1 collecting, try 0
    ? claim                  -> already so
    ? wait                   -> already so
    ? pass_over              -> already so
    ? prepared 1             -> already so
    ? accepted 1             -> too late
    ? failed 1 moderated     -> too late
    ? lost 1                 -> already so
    ? key_refused 1 provider_auth -> too late
    ? unsent 1 unavailable -> too late
    ? succeeded 1            -> already so
    ? provider_canceled 1    -> too late
    ? asking 1               -> already so
    ? still_running 1        -> already so
    ? ask_failed 1           -> already so
    ? woken 1                -> too late
    ? woken 1 job            -> too late
    ? collecting 1           -> failed moderated, due 90s, late 1 collecting, try 1
    ? stored 1               -> failed moderated, file 1, late 1 stored
    ? stored 2               -> stale
    ? collect_delayed 1      -> failed moderated, due 2s, late 1 collecting, try 0
    ? collect_failed 1       -> failed moderated, late 1 lost
    ? cancel                 -> too late
    ? erase                  -> not yet
    ? erased                 -> not yet
    ? erase_result           -> already so
    ? tidied                 -> already so
    ? due                    -> not yet
    ? +60s due               -> failed moderated, collect, due 60s, late 1 collecting, try 0
    ? let_go                 -> too late
    ? bill                   -> too late
    ? retry_now              -> too late";

const RESOLVED: &str = "
    claim                    -> submitting, due 30s
    let_go                   -> failed resolved, release 7
    let_go                   -> already so
    bill                     -> too late
    retry_now                -> too late
    cancel                   -> too late
    accepted 1               -> too late
    ? stored 1               -> failed resolved, file 1, late 1 stored
    succeeded 1              -> failed resolved, collect, due 60s, late 1 collecting, try 0";

/// Nothing that comes brings content back.
const ERASING: &str = "
    claim                    -> submitting, due 30s
    failed 1 moderated       -> failed moderated, release 7
    erase                    -> failed moderated, erasing, due 60s
    ? claim                  -> already so
    ? wait                   -> already so
    ? pass_over              -> already so
    ? prepared 1             -> already so
    ? accepted 1             -> too late
    ? failed 1 moderated     -> too late
    ? lost 1                 -> already so
    ? key_refused 1 provider_auth -> too late
    ? unsent 1 unavailable -> too late
    ? succeeded 1            -> too late
    ? provider_canceled 1    -> too late
    ? asking 1               -> already so
    ? still_running 1        -> already so
    ? ask_failed 1           -> already so
    ? woken 1                -> too late
    ? woken 1 job            -> too late
    ? collecting 1           -> already so
    ? stored 1               -> too late
    ? collect_delayed 1      -> already so
    ? collect_failed 1       -> already so
    ? cancel                 -> too late
    ? erase                  -> already so
    ? erased                 -> failed moderated, erased, due 90s
    ? erase_result           -> already so
    ? tidied                 -> already so
    ? due                    -> not yet
    ? +60s due               -> already so
    ? let_go                 -> too late
    ? bill                   -> too late
    ? retry_now              -> too late";

const ERASED: &str = "
    claim                    -> submitting, due 30s
    failed 1 moderated       -> failed moderated, release 7
    erase                    -> failed moderated, erasing, due 60s
    erased                   -> failed moderated, erased, due 90s
    ? claim                  -> already so
    ? wait                   -> already so
    ? pass_over              -> already so
    ? prepared 1             -> already so
    ? accepted 1             -> too late
    ? failed 1 moderated     -> too late
    ? lost 1                 -> already so
    ? key_refused 1 provider_auth -> too late
    ? unsent 1 unavailable -> too late
    ? succeeded 1            -> too late
    ? provider_canceled 1    -> too late
    ? asking 1               -> already so
    ? still_running 1        -> already so
    ? ask_failed 1           -> already so
    ? woken 1                -> too late
    ? woken 1 job            -> too late
    ? collecting 1           -> already so
    ? stored 1               -> too late
    ? collect_delayed 1      -> already so
    ? collect_failed 1       -> already so
    ? cancel                 -> too late
    ? erase                  -> already so
    ? erased                 -> not yet
    ? +90s erased            -> failed moderated, erased
    ? erase_result           -> already so
    ? tidied                 -> already so
    ? due                    -> not yet
    ? +90s due               -> already so
    ? let_go                 -> too late
    ? bill                   -> too late
    ? retry_now              -> too late";

#[test]
fn every_event_has_its_answer_in_every_state() {
    let mut tried = BTreeSet::new();
    for script in [
        QUEUED,
        QUEUED_AGAIN,
        SUBMITTING,
        RUNNING,
        UNCONFIRMED,
        COLLECTING,
        SUCCEEDED,
        FAILED,
        CANCELED,
        LATE,
        RESOLVED,
        ERASING,
        ERASED,
    ] {
        tried.extend(check(&rules(), script));
    }
    let phases = ["queued", "submitting", "running", "unconfirmed", "collecting", "succeeded", "failed", "canceled"];
    let missing: Vec<_> = phases
        .iter()
        .flat_map(|phase| EVENTS.iter().map(move |event| (*phase, *event)))
        .filter(|pair| !tried.contains(pair))
        .collect();
    assert!(missing.is_empty(), "no script tries {missing:?}");
}
