//! A job that succeeds: told by a callback, found by a poll, or in the answer itself; its result is stored and paid for.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::PATIENCE;

use super::cases::{Answers, CASES, Calls, Case};
use super::{Round, attempts};

impl Round {
    async fn assert_succeeded(&self) {
        for (case, done) in self.until_ended().await {
            assert_eq!(done["status"], "succeeded", "{done:#}");
            let [attempt] = attempts(&done).as_slice() else { panic!("{done:#}") };
            assert_eq!((&attempt["status"], &attempt["provider"]), (&json!("succeeded"), &json!(case.provider)));
            let result = &done["results"][0];
            assert_eq!(result["content_type"], case.content_type, "{}: {done:#}", case.name);
            let file = self.customer.download(&result["url"]).await;
            assert_eq!(Some(file.len() as u64), result["bytes"].as_u64());
            let kind = shared::results::content_type_of(&file).unwrap_or("text");
            assert!(case.content_type.starts_with(kind) || kind == "text", "{}: {kind}", case.name);
            assert_text(case, result, &file);
            let submits = self.submits(case);
            let [submit] = submits.as_slice() else { panic!("{}: {submits:#?}", case.name) };
            assert!(matches!(submit.status, 200..=202), "{}", case.name);
            assert_eq!(submit.key.as_deref(), Some("primary"));
            assert_eq!(submit.callback_url.is_some(), case.calls != Calls::Never, "{}", case.name);
            if case.answers != Answers::AtOnce {
                assert_eq!(attempt["provider_job"].as_str(), submit.job.as_deref(), "{}", case.name);
            }
        }
        self.assert_paid(|_| true).await;
    }

    fn polls(&self, case: &Case) -> u64 {
        let submits = self.submits(case);
        self.journal().polls_of(submits[0].job.as_deref().expect("a job"))
    }
}

/// Texts are in the answer, too.
fn assert_text(case: &Case, result: &Value, file: &[u8]) {
    let is_text = ["text/plain; charset=utf-8", "application/json"].contains(&case.content_type);
    assert_eq!(result["text"].is_string(), is_text, "{result:#}");
    if is_text {
        assert_eq!(result["text"].as_str().map(str::as_bytes), Some(file));
    }
    if case.content_type == "application/json" {
        let value: Value = serde_json::from_slice(file).expect("JSON");
        assert!(value.is_object());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_told_by_the_callback_is_stored_and_charged() {
    let mut round = Round::start().await;
    // Told before anything could be asked for.
    let has_callback = |case: &Case| case.calls != Calls::Never;
    round.order(|case| has_callback(case).then_some(" [[callback_first]]")).await;
    let started = Instant::now();
    for (case, id) in &round.orders {
        let done = round.customer.ended(id).await;
        assert_eq!(done["status"], "succeeded", "{}: {done:#}", case.name);
    }
    assert!(started.elapsed() < PATIENCE);
    round.world.at_rest().await;
    round.assert_succeeded().await;
    for (case, _) in &round.orders {
        let job = round.submits(case)[0].job.clone().expect("a job");
        let told = round.journal().callbacks(case.provider);
        let told: Vec<_> = told.into_iter().filter(|callback| callback.job == job).collect();
        assert!(told.iter().all(|callback| callback.status == Some(200)), "{}: {told:#?}", case.name);
        assert_eq!(told.last().map(|callback| callback.event), Some("end"));
        assert_eq!(told.iter().any(|callback| callback.event == "challenge"), case.provider == "minimax");
        // Who proves it need not be asked; who does not, is asked at once.
        assert_eq!(round.polls(case) == 0, case.calls == Calls::Proves, "{}", case.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_without_a_callback_is_found_stored_and_charged() {
    let mut round = Round::start().await;
    round.order(|_| Some(" [[no_callback]]")).await;
    round.assert_succeeded().await;
    for case in &CASES {
        assert!(round.journal().callbacks(case.provider).iter().all(|callback| callback.event != "end"));
        assert_eq!(round.polls(case) > 0, case.answers != Answers::AtOnce, "{}", case.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_link_is_asked_for_anew_wherever_there_are_links() {
    let mut round = Round::start().await;
    let by_link = |case: &Case| case.answers == Answers::ByLink;
    round.order(|case| by_link(case).then_some(" [[expired_link]] [[no_callback]]")).await;
    round.assert_succeeded().await;
    // The poll that found the end gave a dead link: there was another one.
    for (case, _) in &round.orders {
        assert!(round.polls(case) >= 2, "{}", case.name);
    }
    round.world.pass(Duration::from_secs(600)).await;
    round.assert_paid(|_| true).await;
}
