//! A submit whose answer is lost or cannot be read: never sent again, the credits held until there is evidence or the time is up.

use jiff::Timestamp;
use serde_json::{Value, json};
use tests::Setting;

use super::cases::{Answers, Calls, Case};
use super::{Round, attempts};

/// Loses the answer of each submit by a fault, in two wordings; `reason` is then told.
async fn check(setting: Setting, [fault, delayed]: [&'static str; 2], reason: impl Fn(&Case) -> &'static str) {
    let mut round = Round::with(setting).await;
    // The job's end comes long after its answer, where the answer is not the end.
    round.order(|case| Some(if case.answers == Answers::AtOnce { fault } else { delayed })).await;
    let lost = round.until(|generation| generation["phase"] == "unconfirmed").await;
    for (case, generation) in &lost {
        assert_eq!(generation["status"], "processing");
        assert_eq!(generation["unconfirmed"]["reason"], reason(case), "{}", case.name);
        assert_eq!(attempts(generation)[0]["status"], "unconfirmed");
    }
    for (name, (held, charged, released)) in round.money().await {
        assert!(held > 0 && (charged, released) == (0, 0), "{name}");
    }
    let ended = round.until_ended().await;
    for ((case, before), (_, done)) in lost.iter().zip(&ended) {
        assert_eq!((round.submits(case).len(), attempts(done).len()), (1, 1), "{}", case.name);
        if has_evidence(case) {
            assert_eq!(done["status"], "succeeded", "{}: {done:#}", case.name);
            assert_eq!(done["results"][0]["content_type"], case.content_type);
        } else {
            assert_eq!((&done["status"], &done["error"]["class"]), (&json!("failed"), &json!("expired")), "{done:#}");
            assert!(time(&done["finished_at"]) >= time(&before["unconfirmed"]["resolves_by"]));
        }
    }
    round.assert_paid(has_evidence).await;
}

/// The job's callback.
fn has_evidence(case: &Case) -> bool {
    case.calls != Calls::Never
}

fn time(value: &Value) -> Timestamp {
    value.as_str().expect("a time").parse().expect("RFC 3339")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_cut_in_the_middle_leaves_the_job_unconfirmed() {
    check(Setting::default(), [" [[malformed]]", " [[malformed]] [[delay=10m]]"], Case::cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateways_error_page_leaves_the_job_unconfirmed() {
    check(Setting::default(), [" [[error_after]]", " [[error_after]] [[delay=10m]]"], |_| "server_error").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_comes_leaves_the_job_unconfirmed() {
    let environment = vec![("SUBMIT_TIMEOUT_SECONDS", "4".to_owned())];
    check(Setting { environment, ..Setting::default() }, [" [[hang]]", " [[hang]] [[delay=10m]]"], |_| "timed_out").await;
}
