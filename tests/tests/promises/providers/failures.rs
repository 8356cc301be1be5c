//! A job that fails, or that the provider's content policy refuses: named as what it is, and never paid for.

use serde_json::json;

use super::cases::{Answers, Case};
use super::{Round, attempts};

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_named_and_not_paid_for() {
    let mut round = Round::start().await;
    round.order(|_| Some(" [[fail]]")).await;
    // What is left open by the answer stays so until its time is up.
    let is_open = |case: &Case| case.answers == Answers::AtOnce;
    let seen = round.until(|generation| generation["phase"] == "unconfirmed" || !generation["finished_at"].is_null()).await;
    for (case, generation) in &seen {
        assert_eq!(generation["phase"] == "unconfirmed", is_open(case), "{generation:#}");
        if is_open(case) {
            assert_eq!(generation["unconfirmed"]["reason"], "server_error");
            assert_eq!(attempts(generation)[0]["status"], "unconfirmed");
        }
    }
    round.assert_failed(|case| case.failed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_without_a_callback_is_found() {
    let mut round = Round::start().await;
    let later = |case: &Case| case.answers != Answers::AtOnce;
    round.order(|case| later(case).then_some(" [[fail]] [[no_callback]]")).await;
    round.assert_failed(|case| case.failed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moderated_content_is_told_apart_and_not_paid_for() {
    let mut round = Round::start().await;
    round.order(|_| Some(" [[moderate]]")).await;
    round.assert_failed(|case| case.moderated).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_and_held_back_is_moderated_too() {
    let mut round = Round::start().await;
    round.order(|case| case.filtered.map(|_| " [[filtered]]")).await;
    round.assert_failed(|case| case.filtered.expect("only these")).await;
    for (_, done) in round.until_ended().await {
        assert_eq!(done["results"], json!([]));
    }
}
