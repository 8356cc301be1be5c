//! What EventBridge does: invokes functions at their rate.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::clock::{Clock, random_bytes};
use tokio::task::JoinSet;

use crate::invoker::Invoker;
use crate::template::{ACCOUNT_ID, REGION, Schedule, Template, arn};

/// Starts every schedule of the template; they end when the returned set is dropped. Each fires at once, so that work left
/// over by the last run is picked up without waiting, and then at its rate; one of more than an hour has no such work and waits its time.
/// A clock that jumps ahead makes it fire once.
pub fn start(template: &Template, invoker: &Arc<Invoker>, clock: &Clock) -> JoinSet<()> {
    let mut schedules = JoinSet::new();
    for function in &template.functions {
        for schedule in &function.schedules {
            schedules.spawn(run(function.logical_id.clone(), schedule.clone(), invoker.clone(), clock.clone()));
        }
    }
    schedules
}

/// Schedules of up to this rate fire at the start.
const AT_ONCE_UP_TO: SignedDuration = SignedDuration::from_hours(1);

async fn run(function: String, schedule: Schedule, invoker: Arc<Invoker>, clock: Clock) {
    let every = SignedDuration::try_from(schedule.every).unwrap_or(SignedDuration::MAX);
    let mut due = clock.now();
    if every > AT_ONCE_UP_TO {
        due = due.checked_add(every).unwrap_or(Timestamp::MAX);
    }
    loop {
        clock.sleep_until(due).await;
        // The invoker logs failures; the next tick sees the same work.
        let event = schedule.input.clone().unwrap_or_else(|| scheduled_event(&schedule.name, due));
        drop(invoker.invoke(&function, event).await);
        let now = clock.now();
        let next = due.checked_add(every).unwrap_or(Timestamp::MAX);
        due = if next < now { now } else { next };
    }
}

/// Format: <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-run-lambda-schedule.html>.
fn scheduled_event(name: &str, at: Timestamp) -> Value {
    json!({
        "version": "0",
        "id": uuid::Builder::from_random_bytes(random_bytes()).into_uuid().to_string(),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT_ID,
        "time": at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "region": REGION,
        "resources": [arn("events", &format!("rule/{name}"))],
        "detail": {},
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use aws_lambda_events::event::eventbridge::EventBridgeEvent;
    use tokio::sync::mpsc;

    use super::*;
    use crate::invoker::{Handler, handler};
    use crate::template::{BUILT_IN, LocalValues};

    #[tokio::test]
    async fn a_schedule_fires_at_the_start_and_then_at_its_rate() {
        let values = LocalValues { parameters: [("SigningSecret".to_owned(), "s".repeat(32))].into(), ..LocalValues::default() };
        let template = Template::parse(BUILT_IN, &values).unwrap_or_else(|error| panic!("{error}"));
        let (seen, mut events) = mpsc::unbounded_channel();
        let idle = handler(|_| async { Ok(Value::Null) });
        let mut handlers: HashMap<String, Handler> =
            template.functions.iter().map(|function| (function.binary.clone(), idle.clone())).collect();
        let poll = move |event| {
            let sent = seen.send(event).map_err(|error| error.to_string());
            async move { sent.map(|()| Value::Null) }
        };
        handlers.insert("poll".to_owned(), handler(poll));
        let invoker = Arc::new(Invoker::new(&template, &handlers).unwrap());
        let clock = Clock::system();
        let started = clock.now();
        let _schedules = start(&template, &invoker, &clock);

        let event: EventBridgeEvent<Value> = serde_json::from_value(events.recv().await.unwrap()).unwrap();
        assert_eq!((event.detail_type.as_str(), event.source.as_str()), ("Scheduled Event", "aws.events"));
        assert_eq!(event.resources.unwrap(), ["arn:aws:events:us-east-1:000000000000:rule/PollFunctionTick"]);
        assert!((event.time.unwrap().timestamp() - started.as_second()).abs() <= 1);

        for _ in 0..3 {
            clock.advance(Duration::from_secs(60));
            let event: EventBridgeEvent<Value> = serde_json::from_value(events.recv().await.unwrap()).unwrap();
            assert_eq!(event.detail, json!({}));
        }
        clock.advance(Duration::from_secs(59));
        tokio::task::yield_now().await;
        assert!(events.try_recv().is_err());
    }
}
