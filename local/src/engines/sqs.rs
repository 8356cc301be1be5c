//! Queues of an SQS that somebody else runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::operation::receive_message::ReceiveMessageError;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use jiff::Timestamp;
use serde_json::json;
use shared::queue::{Depth, QueueSpec, Received};
use tracing::warn;

use super::{EngineError, sdk};

/// How long one receive waits for a message (SQS `WaitTimeSeconds`: at most 20).
const LONG_POLL: Duration = Duration::from_secs(20);
/// How long an SQS that did not answer is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// The template's queues at an SQS. Clones share them.
#[derive(Clone, Debug)]
pub struct SqsQueues {
    sender: Client,
    /// With the patience of a long poll.
    receiver: Client,
    /// By the names that the template gives them.
    urls: Arc<BTreeMap<String, String>>,
}

impl SqsQueues {
    /// Makes the queues, each called `<prefix>-<name>`, or finds them as they were made before.
    pub async fn make(endpoint_url: &str, prefix: &str, specs: Vec<QueueSpec>) -> Result<Self, EngineError> {
        let sdk = sdk(endpoint_url);
        // Both: whatever is not given here stays as it is for all other calls, and a poll that is given up too early takes messages with it.
        let patience = TimeoutConfig::builder()
            .operation_attempt_timeout(LONG_POLL + Duration::from_secs(5))
            .operation_timeout(LONG_POLL + Duration::from_secs(10))
            .build();
        let receiver = aws_sdk_sqs::config::Builder::from(&sdk).timeout_config(patience).build();
        let mut made = Self { sender: Client::new(&sdk), receiver: Client::from_conf(receiver), urls: Arc::default() };
        let (mut urls, mut arns) = (BTreeMap::new(), BTreeMap::new());
        // Whoever others point at comes first.
        let (pointing, plain): (Vec<_>, Vec<_>) = specs.into_iter().partition(|spec| spec.dead_letter.is_some());
        for spec in plain.into_iter().chain(pointing) {
            let redrive = spec.dead_letter.as_ref().and_then(|(target, count)| Some((arns.get(target)?, *count)));
            let redrive =
                redrive.map(|(arn, count): (&String, u32)| json!({"deadLetterTargetArn": arn, "maxReceiveCount": count}));
            let url = made.make_one(prefix, &spec, redrive).await?;
            arns.insert(spec.name.clone(), made.arn(&spec.name, &url).await?);
            urls.insert(spec.name, url);
        }
        made.urls = Arc::new(urls);
        Ok(made)
    }

    async fn make_one(&self, prefix: &str, spec: &QueueSpec, redrive: Option<serde_json::Value>) -> Result<String, EngineError> {
        let create = self.sender.create_queue().queue_name(format!("{prefix}-{}", spec.name));
        let create = create.attributes(QueueAttributeName::VisibilityTimeout, spec.visibility.as_secs().to_string());
        let create = create.attributes(QueueAttributeName::DelaySeconds, spec.delay.as_secs().to_string());
        let create = match redrive {
            Some(policy) => create.attributes(QueueAttributeName::RedrivePolicy, policy.to_string()),
            None => create,
        };
        let created = create.send().await.map_err(|error| refused("make", &spec.name, error))?;
        created.queue_url.ok_or_else(|| EngineError::QueueUnknown { queue: spec.name.clone(), what: "URL" })
    }

    async fn arn(&self, queue: &str, url: &str) -> Result<String, EngineError> {
        let read = self.sender.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::QueueArn);
        let answer = read.send().await.map_err(|error| refused("look at", queue, error))?;
        let arn = answer.attributes.and_then(|mut attributes| attributes.remove(&QueueAttributeName::QueueArn));
        arn.ok_or_else(|| EngineError::QueueUnknown { queue: queue.to_owned(), what: "ARN" })
    }

    /// The client that functions send with.
    pub fn sender(&self) -> Client {
        self.sender.clone()
    }

    /// The URL of a queue of the template.
    pub fn url(&self, queue: &str) -> Option<&str> {
        self.urls.get(queue).map(String::as_str)
    }

    fn known_url(&self, queue: &str) -> Result<&str, EngineError> {
        self.url(queue).ok_or_else(|| EngineError::QueueUnknown { queue: queue.to_owned(), what: "URL" })
    }

    /// Waits until there is at least one message and takes up to `max` (1 to 10) of them. An SQS that does not answer is asked again; one
    /// that refuses to is an error.
    pub async fn receive(&self, queue: &str, max: usize) -> Result<Vec<Received>, EngineError> {
        let url = self.known_url(queue)?;
        loop {
            let receive = self.receiver.receive_message().queue_url(url);
            let receive = receive.max_number_of_messages(i32::try_from(max).unwrap_or(i32::MAX));
            let receive = receive.wait_time_seconds(i32::try_from(LONG_POLL.as_secs()).unwrap_or(0));
            match receive.message_system_attribute_names(MessageSystemAttributeName::All).send().await {
                Ok(answer) => {
                    let taken: Vec<Received> = answer.messages.unwrap_or_default().into_iter().map(received).collect();
                    if !taken.is_empty() {
                        return Ok(taken);
                    }
                }
                Err(error) if is_final(&error) => return Err(refused("receive from", queue, error)),
                Err(error) => {
                    warn!(queue, error = &error as &dyn std::error::Error, "SQS gave no answer; it is asked again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Deletes a received message.
    pub async fn delete(&self, queue: &str, receipt: &str) -> Result<(), EngineError> {
        let delete = self.sender.delete_message().queue_url(self.known_url(queue)?).receipt_handle(receipt);
        delete.send().await.map(drop).map_err(|error| refused("delete a message of", queue, error))
    }

    /// How many messages a queue holds, as far as SQS knows.
    pub async fn depth(&self, queue: &str) -> Result<Depth, EngineError> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesDelayed as Delayed,
            ApproximateNumberOfMessagesNotVisible as InFlight,
        };
        let read = self.sender.get_queue_attributes().queue_url(self.known_url(queue)?);
        let read = read.set_attribute_names(Some(vec![Visible, Delayed, InFlight]));
        let answer = read.send().await.map_err(|error| refused("look at", queue, error))?;
        let attributes = answer.attributes.unwrap_or_default();
        let count = |name| attributes.get(&name).and_then(|count| count.parse().ok()).unwrap_or(0);
        Ok(Depth { visible: count(Visible), in_flight: count(InFlight), delayed: count(Delayed) })
    }
}

fn refused<E>(action: &'static str, queue: &str, error: E) -> EngineError
where
    aws_sdk_sqs::Error: From<E>,
{
    EngineError::QueueCall { action, queue: queue.to_owned(), source: Box::new(aws_sdk_sqs::Error::from(error)) }
}

/// Whether asking again would change nothing: SQS has understood the request, and refuses it.
fn is_final(error: &SdkError<ReceiveMessageError>) -> bool {
    match error {
        SdkError::ServiceError(context) => {
            matches!(context.raw().status().as_u16(), 400..=428 | 430..=499) && !is_over_limit(error)
        }
        SdkError::ConstructionFailure(_) => true,
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) | _ => false,
    }
}

fn is_over_limit(error: &SdkError<ReceiveMessageError>) -> bool {
    error
        .as_service_error()
        .is_some_and(|error| error.is_over_limit() || error.is_request_throttled() || error.is_kms_throttled())
}

fn received(message: Message) -> Received {
    let attributes = message.attributes.unwrap_or_default();
    let text = |name: MessageSystemAttributeName| attributes.get(&name).map(String::as_str).unwrap_or_default();
    let at = |name| text(name).parse().ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::UNIX_EPOCH);
    Received {
        message_id: message.message_id.unwrap_or_default(),
        receipt: message.receipt_handle.unwrap_or_default(),
        body: message.body.unwrap_or_default(),
        group: text(MessageSystemAttributeName::MessageGroupId).to_owned(),
        receive_count: text(MessageSystemAttributeName::ApproximateReceiveCount).parse().unwrap_or(1),
        sent_at: at(MessageSystemAttributeName::SentTimestamp),
        first_received_at: at(MessageSystemAttributeName::ApproximateFirstReceiveTimestamp),
    }
}
