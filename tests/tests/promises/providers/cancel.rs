//! A cancel while the provider works: stopped and free where it can be stopped, delivered and paid for where it cannot.

use std::time::Duration;

use serde_json::json;

use super::cases::Answers;
use super::{CASES, Round};

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_stops_what_can_be_stopped_and_the_rest_is_delivered() {
    let mut round = Round::start().await;
    round.order(|_| Some(" [[delay=1m]]")).await;
    for (case, id) in &round.orders {
        let phase = if case.answers == Answers::AtOnce { "submitting" } else { "running" };
        round.customer.phase(id, phase).await;
        let reply = round.customer.post(&format!("/v1/generations/{id}/cancel"), &json!({})).await;
        assert_eq!(reply.status, 202, "{}: {:?}", case.name, reply.body);
        assert!(!reply.body["cancel_requested_at"].is_null());
    }
    for (_, id) in round.orders.iter().filter(|(case, _)| case.stops) {
        assert_eq!(round.customer.ended(id).await["status"], "canceled");
    }
    round.world.later(Duration::from_secs(60));
    for (case, done) in round.until_ended().await {
        let expected = if case.stops { "canceled" } else { "succeeded" };
        assert_eq!(done["status"], expected, "{}: {done:#}", case.name);
        let job = round.submits(case)[0].job.clone();
        let cancels = round.journal().cancels(case.provider);
        let cancels: Vec<_> = cancels.iter().filter(|cancel| Some(&cancel.job) == job.as_ref()).collect();
        assert_eq!(!cancels.is_empty(), case.stops, "{}", case.name);
        assert!(cancels.iter().any(|cancel| matches!(cancel.status, 200..=299)) || !case.stops, "{cancels:?}");
    }
    round.assert_paid(|case| !case.stops).await;
    for case in &CASES {
        assert_eq!(round.submits(case).len(), 1, "{}", case.name);
    }
}
