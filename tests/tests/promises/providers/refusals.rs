//! A submit that is refused for certain: the key, the funds, the input, or one too many.

use jiff::SignedDuration;
use serde_json::json;

use super::{Round, attempts};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_is_our_affair_and_is_never_told() {
    let mut round = Round::start().await;
    round.order(|_| Some(" [[auth]]")).await;
    round.assert_failed(|_| "provider_auth").await;
    let secrets = round.world.stack.simulators.credentials();
    let ids = round.orders.iter().map(|(_, id)| format!("/v1/generations/{id}"));
    let lists = ["/v1/generations", "/v1/account", "/v1/account/ledger", "/v1/models"].map(str::to_owned);
    for path in ids.chain(lists) {
        let reply = round.customer.get(&path).await;
        assert_eq!(reply.status, 200);
        let told = format!("{:?} {}", reply.headers, reply.body);
        assert!(secrets.iter().all(|(_, secret)| !told.contains(secret)), "{path} tells a key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_empty_account_with_a_provider_is_not_the_customers_affair() {
    let mut round = Round::start().await;
    round.order(|_| Some(" [[funds]]")).await;
    round.assert_failed(|_| "provider_funds").await;
    for (case, done) in round.until_ended().await {
        let message = done["error"]["message"].as_str().expect("a message").to_lowercase();
        assert!(!message.contains("credit") && !message.contains("balance"), "{}: {message}", case.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_input_is_told_in_the_providers_words() {
    let mut round = Round::start().await;
    round.order(|_| Some(" [[reject]]")).await;
    round.assert_failed(|_| "rejected_input").await;
    for (case, done) in round.until_ended().await {
        assert_ne!(done["error"]["message"], "the provider gave no reason", "{}", case.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_submit_is_repeated_once_the_wait_that_was_asked_for_is_over() {
    let mut round = Round::start().await;
    round.order(|_| Some(" [[throttle]] [[retry_after=150s]]")).await;
    for (case, done) in round.until_ended().await {
        assert_eq!(done["status"], "succeeded", "{done:#}");
        let [refused, taken] = attempts(&done).as_slice() else { panic!("{done:#}") };
        assert_eq!((&refused["status"], &refused["error"]["class"]), (&json!("failed"), &json!(case.throttled)), "{done:#}");
        assert_eq!(taken["status"], "succeeded");
        let submits = round.submits(case);
        let [first, second] = submits.as_slice() else { panic!("{}: {submits:#?}", case.name) };
        assert_eq!((&first.job, second.job.is_some()), (&None, true));
        let wait = second.at.duration_since(first.at);
        // Who names no wait is left alone for as long as we think fit.
        let least = SignedDuration::from_secs(if case.names_the_wait { 150 } else { 2 });
        assert!(wait >= least, "{}: {wait:#}", case.name);
    }
    round.assert_paid(|_| true).await;
}
