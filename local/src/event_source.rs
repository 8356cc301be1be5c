//! What Lambda's event source mappings do: take messages from a queue, invoke the function with a batch of them and
//! delete what it is done with. What failed comes back after the queue's visibility time-out.

use std::collections::HashSet;
use std::sync::Arc;

use s3s::crypto::{Checksum as _, Md5};
use serde_json::{Value, json};
use shared::queue::{QueueSpec, Received};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{error, warn};

use crate::engines::Queues;
use crate::invoker::Invoker;
use crate::template::{ACCOUNT_ID, QueueSource, REGION, Template, arn};

/// The most invocations at a time per mapping, whatever the template allows: this is one machine.
const MAX_CONCURRENCY: usize = 16;

/// The template's queues, named by their logical ids.
pub fn queue_specs(template: &Template) -> Vec<QueueSpec> {
    let spec = |queue: &crate::template::Queue| QueueSpec {
        name: queue.logical_id.clone(),
        visibility: queue.visibility,
        delay: queue.delay,
        dead_letter: queue.dead_letter.clone(),
    };
    template.queues.iter().map(spec).collect()
}

/// Starts every mapping of the template. They end when the returned set is dropped; what they invoked runs on.
pub fn start(template: &Template, invoker: &Arc<Invoker>, queues: &Queues) -> JoinSet<()> {
    let mut mappings = JoinSet::new();
    for function in &template.functions {
        for source in &function.queues {
            let mapping = Mapping {
                function: function.logical_id.clone(),
                source: source.clone(),
                invoker: invoker.clone(),
                queues: queues.clone(),
            };
            mappings.spawn(Arc::new(mapping).run());
        }
    }
    mappings
}

struct Mapping {
    function: String,
    source: QueueSource,
    invoker: Arc<Invoker>,
    queues: Queues,
}

impl Mapping {
    async fn run(self: Arc<Self>) {
        let concurrency = self.source.max_concurrency.unwrap_or(MAX_CONCURRENCY).clamp(1, MAX_CONCURRENCY);
        let slots = Arc::new(Semaphore::new(concurrency));
        let mut invocations = JoinSet::new();
        loop {
            // A message is taken only when there is somebody to work on it: its visibility time-out runs from then on.
            let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
            while invocations.try_join_next().is_some() {}
            // It counts as running from the moment in which it is no longer visible until what is done with is deleted.
            let invoker = self.invoker.clone();
            let taking = self.queues.receive_with(&self.source.queue, self.source.batch_size, move || invoker.begin());
            let (batch, running) = match taking.await {
                Ok(taken) => taken,
                Err(problem) => {
                    let queue = self.source.queue.as_str();
                    error!(
                        queue,
                        error = &problem as &dyn std::error::Error,
                        "the queue gives no messages, its function no longer runs"
                    );
                    return;
                }
            };
            let mapping = self.clone();
            invocations.spawn(async move {
                mapping.work(batch).await;
                drop(running);
                drop(slot);
            });
        }
    }

    async fn work(&self, batch: Vec<Received>) {
        let answer = match self.invoker.invoke(&self.function, sqs_event(&self.source.queue, &batch)).await {
            Ok(answer) => answer,
            // The invoker has logged it; the whole batch comes back.
            Err(_) => return,
        };
        let failed = match self.source.report_batch_item_failures {
            true => failed_items(&answer, &batch),
            false => Some(HashSet::new()),
        };
        let Some(failed) = failed else {
            warn!(function = self.function, "the answer names no valid batch item failures: the whole batch failed");
            return;
        };
        for message in batch.iter().filter(|message| !failed.contains(message.message_id.as_str())) {
            if let Err(problem) = self.queues.delete(&self.source.queue, &message.receipt).await {
                let error = &problem as &dyn std::error::Error;
                warn!(function = self.function, message_id = message.message_id, error, "message was not deleted");
            }
        }
    }
}

/// The ids of the messages that failed, or none if the answer is such that Lambda takes the whole batch as failed.
///
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>, "success and failure conditions".
fn failed_items<'a>(answer: &'a Value, batch: &[Received]) -> Option<HashSet<&'a str>> {
    let items = match answer {
        Value::Null => return Some(HashSet::new()),
        Value::Object(fields) => match fields.get("batchItemFailures") {
            None | Some(Value::Null) => return Some(HashSet::new()),
            Some(items) => items.as_array()?,
        },
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => return None,
    };
    let known = |id: &&str| batch.iter().any(|message| message.message_id == *id);
    items.iter().map(|item| item.get("itemIdentifier")?.as_str().filter(known)).collect()
}

fn sqs_event(queue: &str, batch: &[Received]) -> Value {
    let record = |message: &Received| {
        let mut attributes = json!({
            "ApproximateReceiveCount": message.receive_count.to_string(),
            "SentTimestamp": message.sent_at.as_millisecond().to_string(),
            "SenderId": ACCOUNT_ID,
            "ApproximateFirstReceiveTimestamp": message.first_received_at.as_millisecond().to_string(),
        });
        if !message.group.is_empty() {
            attributes["MessageGroupId"] = message.group.as_str().into();
        }
        json!({
            "messageId": message.message_id,
            "receiptHandle": message.receipt,
            "body": message.body,
            "attributes": attributes,
            "messageAttributes": {},
            "md5OfBody": hex::encode(Md5::checksum(message.body.as_bytes())),
            "eventSource": "aws:sqs",
            "eventSourceARN": arn("sqs", queue),
            "awsRegion": REGION,
        })
    };
    json!({ "Records": batch.iter().map(record).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use aws_lambda_events::event::sqs::SqsEvent;
    use shared::clock::Clock;
    use shared::queue::{Depth, MemoryQueues};
    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::invoker::{Handler, handler};
    use crate::template::{BUILT_IN, LocalValues};

    const QUEUE: &str = "DispatchQueue";
    /// Longer than the queue's visibility time-out.
    const LATER: Duration = Duration::from_secs(3_601);

    struct Fixture {
        queues: MemoryQueues,
        clock: Clock,
        events: mpsc::UnboundedReceiver<Value>,
        _mappings: JoinSet<()>,
    }

    /// The built-in template with `dispatch` as given and everything else idle. What was sent before is one batch.
    fn fixture(bodies: &[&str], dispatch: impl Fn(Value) -> Result<Value, String> + Send + Sync + 'static) -> Fixture {
        let (seen, events) = mpsc::unbounded_channel();
        let dispatch = Arc::new(dispatch);
        start_with(
            bodies,
            events,
            handler(move |event| {
                let (seen, dispatch) = (seen.clone(), dispatch.clone());
                async move {
                    let answer = dispatch(event.clone());
                    seen.send(event).unwrap();
                    answer
                }
            }),
        )
    }

    fn start_with(bodies: &[&str], events: mpsc::UnboundedReceiver<Value>, dispatch: Handler) -> Fixture {
        let values = LocalValues { parameters: [("SigningSecret".to_owned(), "s".repeat(32))].into(), ..LocalValues::default() };
        let template = Template::parse(BUILT_IN, &values).unwrap_or_else(|error| panic!("{error}"));
        let idle = handler(|_| async { Ok(Value::Null) });
        let mut handlers: HashMap<String, Handler> =
            template.functions.iter().map(|function| (function.binary.clone(), idle.clone())).collect();
        handlers.insert("dispatch".to_owned(), dispatch);
        let invoker = Arc::new(Invoker::new(&template, &handlers).unwrap());
        let clock = Clock::system();
        let queues = MemoryQueues::new(queue_specs(&template), clock.clone());
        for body in bodies {
            queues.send(QUEUE, (*body).to_owned(), Duration::ZERO, "acct_1").unwrap();
        }
        let mappings = start(&template, &invoker, &Queues::Memory(queues.clone()));
        Fixture { queues, clock, events, _mappings: mappings }
    }

    impl Fixture {
        async fn bodies(&mut self) -> Vec<String> {
            let event: SqsEvent = serde_json::from_value(self.events.recv().await.unwrap()).unwrap();
            event.records.into_iter().map(|record| record.body.unwrap()).collect()
        }

        /// Waits until the queue holds this much; a hang is the failure.
        async fn settle(&self, visible: usize, in_flight: usize) {
            while self.queues.depth(QUEUE) != (Depth { visible, in_flight, delayed: 0 }) {
                tokio::task::yield_now().await;
            }
        }
    }

    fn failures(ids: &[&str]) -> Value {
        json!({ "batchItemFailures": ids.iter().map(|id| json!({ "itemIdentifier": id })).collect::<Vec<_>>() })
    }

    #[tokio::test]
    async fn a_batch_is_a_true_sqs_event() {
        let mut fixture = fixture(&["hello"], |_| Ok(Value::Null));
        let event: SqsEvent = serde_json::from_value(fixture.events.recv().await.unwrap()).unwrap();
        let record = &event.records[0];
        assert_eq!(record.md5_of_body.as_deref(), Some("5d41402abc4b2a76b9719d911017c592"));
        assert_eq!(record.event_source_arn.as_deref(), Some("arn:aws:sqs:us-east-1:000000000000:DispatchQueue"));
        assert_eq!(record.attributes["ApproximateReceiveCount"], "1");
        assert_eq!(record.attributes["MessageGroupId"], "acct_1");
        fixture.settle(0, 0).await;
    }

    #[tokio::test]
    async fn a_batch_holds_no_more_than_its_size() {
        let mut fixture = fixture(&["1", "2", "3", "4", "5", "6"], |_| Ok(Value::Null));
        let mut sizes = vec![fixture.bodies().await.len(), fixture.bodies().await.len()];
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 5]);
        fixture.settle(0, 0).await;
    }

    #[tokio::test]
    async fn only_the_failed_messages_come_back() {
        let mut fixture = fixture(&["good", "bad", "fine"], |event| {
            let records = event["Records"].as_array().unwrap();
            let bad: Vec<&str> =
                records.iter().filter(|r| r["body"] == "bad").map(|r| r["messageId"].as_str().unwrap()).collect();
            Ok(failures(&bad))
        });
        assert_eq!(fixture.bodies().await, ["good", "bad", "fine"]);
        fixture.settle(0, 1).await;
        fixture.clock.advance(LATER);
        assert_eq!(fixture.bodies().await, ["bad"]);
    }

    #[tokio::test]
    async fn answers_that_name_no_message_fail_the_whole_batch() {
        for answer in [
            failures(&["no-such-id"]),
            failures(&[""]),
            json!({ "batchItemFailures": [{ "itemIdentifier": null }] }),
            json!({ "batchItemFailures": [{ "id": "x" }] }),
            json!({ "batchItemFailures": "all" }),
            json!("failed"),
        ] {
            let text = answer.to_string();
            let mut fixture = fixture(&["1", "2"], move |_| Ok(answer.clone()));
            assert_eq!(fixture.bodies().await, ["1", "2"], "{text}");
            fixture.settle(0, 2).await;
            fixture.clock.advance(LATER);
            assert_eq!(fixture.bodies().await, ["1", "2"], "{text}");
        }
    }

    #[tokio::test]
    async fn a_failed_function_gets_the_batch_again_until_it_is_a_dead_letter() {
        let mut fixture = fixture(&["poison"], |_| Err("cannot".to_owned()));
        for _ in 0..5 {
            assert_eq!(fixture.bodies().await, ["poison"]);
            fixture.settle(0, 1).await;
            fixture.clock.advance(LATER);
        }
        while fixture.queues.depth("DispatchDeadLetters").visible == 0 {
            tokio::task::yield_now().await;
        }
        assert!(fixture.events.try_recv().is_err());
    }

    #[tokio::test]
    async fn no_more_invocations_run_than_the_mapping_allows() {
        let (seen, events) = mpsc::unbounded_channel();
        let (release, released) = watch::channel(false);
        let bodies: Vec<String> = (0..(MAX_CONCURRENCY + 4) * 5).map(|n| n.to_string()).collect();
        let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
        let mut fixture = start_with(
            &bodies,
            events,
            handler(move |event| {
                let (seen, mut released) = (seen.clone(), released.clone());
                async move {
                    seen.send(event).unwrap();
                    released.wait_for(|released| *released).await.unwrap();
                    Ok(Value::Null)
                }
            }),
        );
        for _ in 0..MAX_CONCURRENCY {
            assert_eq!(fixture.bodies().await.len(), 5);
        }
        fixture.settle(4 * 5, MAX_CONCURRENCY * 5).await;
        assert!(fixture.events.try_recv().is_err());
        release.send(true).unwrap();
        fixture.settle(0, 0).await;
    }
}
