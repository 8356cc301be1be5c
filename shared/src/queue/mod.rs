//! Sending messages: SQS standard queues in the cloud, the same semantics in memory on a laptop.
//!
//! Receiving is not here: in the cloud Lambda receives, locally the one-process run does, from [`MemoryQueues`].

use std::time::Duration;

use crate::sdk::Lazy;

pub mod memory;
mod sqs;

pub use memory::{Depth, MemoryQueues, QueueSpec, Received};

/// The longest delay of a message (SQS `DelaySeconds`).
pub const MAX_DELAY: Duration = Duration::from_secs(900);
/// The largest body of a message in bytes (SQS `SendMessage`: 1 MiB).
pub const MAX_BODY_BYTES: usize = 1_048_576;
/// The most messages one receive returns (SQS `MaxNumberOfMessages`).
pub const MAX_BATCH: usize = 10;
/// The longest visibility time-out (SQS: 12 hours).
pub const MAX_VISIBILITY: Duration = Duration::from_secs(43_200);
/// The longest message group id in characters (SQS `MessageGroupId`).
pub const MAX_GROUP_CHARS: usize = 128;

/// Where messages are sent.
#[derive(Clone, Debug)]
pub enum Queue {
    Sqs(Lazy<aws_sdk_sqs::Client>),
    Memory(MemoryQueues),
}

impl Queue {
    /// Sends one message, to be delivered at least once.
    ///
    /// - `queue_url`: the queue's URL; in memory its last segment is the queue's name, so that a plain name works too.
    /// - `body`: 1 byte to 1 MiB of text.
    /// - `delay`: 0 to 900 s, rounded up to whole seconds; zero means the queue's own delay.
    /// - `group`: whom the message belongs to, so that a busy one does not starve the others (SQS fair queues); at most 128
    ///   visible ASCII characters; empty means nobody in particular.
    pub async fn send(&self, queue_url: &str, body: String, delay: Duration, group: &str) -> Result<(), QueueError> {
        match self {
            Self::Sqs(client) => sqs::send(client, queue_url, body, delay, group).await,
            Self::Memory(queues) => queues.send(name_of(queue_url), body, delay, group).map(drop),
        }
    }

    /// How many messages a queue holds.
    pub async fn standing(&self, queue_url: &str) -> Result<Standing, QueueError> {
        match self {
            Self::Sqs(client) => sqs::standing(client, queue_url).await,
            Self::Memory(queues) => queues.standing(name_of(queue_url)),
        }
    }

    /// Lets the messages of a dead-letter queue go back to the queues that they came from, and says how many there are. With SQS they go by
    /// and by (`StartMessageMoveTask`); until they have, another call is refused ([`QueueError::MovedAlready`]).
    pub async fn redrive(&self, dead_letter_url: &str) -> Result<u64, QueueError> {
        match self {
            Self::Sqs(client) => sqs::redrive(client, dead_letter_url).await,
            Self::Memory(queues) => queues.redrive(name_of(dead_letter_url)),
        }
    }
}

fn name_of(queue_url: &str) -> &str {
    queue_url.rsplit('/').next().unwrap_or(queue_url)
}

/// How many messages a queue holds: exact in memory, approximate in SQS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Waiting to be received.
    pub waiting: u64,
    /// Received, and neither deleted nor given back.
    pub in_flight: u64,
    /// Not to be received yet.
    pub delayed: u64,
}

/// Why a queue refused a call.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("there is no queue `{queue}`; declare it in the template")]
    UnknownQueue { queue: String },
    #[error("the delay of {} s is over SQS's limit of 900 s; send it later", .delay.as_secs())]
    DelayTooLong { delay: Duration },
    #[error("the message body of {bytes} bytes is over SQS's limit of 1048576; put the content into the bucket and send its key")]
    BodyTooLarge { bytes: usize },
    #[error("the message body {problem}; send non-empty text without control characters")]
    BodyNotText { problem: &'static str },
    #[error("the message group `{group}` is not 1 to 128 visible ASCII characters; use an account id")]
    GroupInvalid { group: String },
    #[error("a receive of {max} messages is outside SQS's range of 1 to 10")]
    BatchOutOfRange { max: usize },
    #[error("the visibility time-out of {} s is over SQS's limit of 43200 s", .timeout.as_secs())]
    VisibilityTooLong { timeout: Duration },
    #[error("`{receipt}` is not a receipt of this queue")]
    ReceiptInvalid { receipt: String },
    #[error("the receipt `{receipt}` is stale: the message was received again; raise the queue's visibility time-out")]
    ReceiptStale { receipt: String },
    #[error("the message of receipt `{receipt}` is not in flight: its visibility time-out is over or it was deleted")]
    NotInFlight { receipt: String },
    #[error("the policy of this function does not grant `{action}` on the queue `{queue}`; template.yaml says what it grants")]
    NotGranted { action: &'static str, queue: String },
    #[error("the messages of `{queue_url}` are being moved already, and SQS does that once at a time; wait until they are")]
    MovedAlready { queue_url: String },
    #[error("SQS did not do what was asked of queue `{queue_url}`")]
    Sqs {
        queue_url: String,
        retryable: bool,
        #[source]
        source: Box<aws_sdk_sqs::Error>,
    },
}

impl QueueError {
    /// Whether the same call may succeed later, unchanged.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Sqs { retryable, .. } => *retryable,
            // When that move is over.
            Self::MovedAlready { .. } => true,
            Self::UnknownQueue { .. }
            | Self::NotGranted { .. }
            | Self::DelayTooLong { .. }
            | Self::BodyTooLarge { .. }
            | Self::BodyNotText { .. }
            | Self::GroupInvalid { .. }
            | Self::BatchOutOfRange { .. }
            | Self::VisibilityTooLong { .. }
            | Self::ReceiptInvalid { .. }
            | Self::ReceiptStale { .. }
            | Self::NotInFlight { .. } => false,
        }
    }
}

/// SQS's rules for a message, checked for both kinds of queue alike. Returns the delay in whole seconds, rounded up.
fn check_message(body: &str, delay: Duration, group: &str) -> Result<u16, QueueError> {
    if delay > MAX_DELAY {
        return Err(QueueError::DelayTooLong { delay });
    }
    if body.is_empty() {
        return Err(QueueError::BodyNotText { problem: "is empty" });
    }
    if body.len() > MAX_BODY_BYTES {
        return Err(QueueError::BodyTooLarge { bytes: body.len() });
    }
    if !body.chars().all(is_message_char) {
        return Err(QueueError::BodyNotText { problem: "has a control character" });
    }
    if group.len() > MAX_GROUP_CHARS || !group.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(QueueError::GroupInvalid { group: group.to_owned() });
    }
    let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
    Ok(u16::try_from(seconds).expect("a delay of at most 900 s was checked above"))
}

/// The characters SQS takes (`SendMessage`): #x9 | #xA | #xD | #x20-#xD7FF | #xE000-#xFFFD | #x10000-#x10FFFF.
fn is_message_char(char: char) -> bool {
    matches!(char, '\u{9}' | '\u{A}' | '\u{D}' | '\u{20}'..='\u{FFFD}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_rounded_up_to_whole_seconds() {
        for (milliseconds, seconds) in [(0, 0), (1, 1), (1000, 1), (1001, 2), (899_001, 900), (900_000, 900)] {
            assert_eq!(check_message("x", Duration::from_millis(milliseconds), "").unwrap(), seconds, "{milliseconds} ms");
        }
    }

    #[test]
    fn messages_outside_the_limits_are_refused() {
        let refused = |body: &str, delay, group: &str| check_message(body, delay, group).unwrap_err();
        assert!(matches!(refused("x", Duration::from_millis(900_001), ""), QueueError::DelayTooLong { .. }));
        assert!(matches!(refused("", Duration::ZERO, ""), QueueError::BodyNotText { .. }));
        assert!(matches!(refused("a\u{0}b", Duration::ZERO, ""), QueueError::BodyNotText { .. }));
        assert!(matches!(refused("a\u{FFFF}b", Duration::ZERO, ""), QueueError::BodyNotText { .. }));
        let large = "x".repeat(MAX_BODY_BYTES + 1);
        assert!(matches!(refused(&large, Duration::ZERO, ""), QueueError::BodyTooLarge { bytes: 1_048_577 }));
        assert!(matches!(refused("x", Duration::ZERO, "a b"), QueueError::GroupInvalid { .. }));
        assert!(matches!(refused("x", Duration::ZERO, &"g".repeat(129)), QueueError::GroupInvalid { .. }));
        check_message(&large[1..], MAX_DELAY, &"g".repeat(128)).unwrap();
        check_message("строка\t🙂\r\n", Duration::ZERO, "acct_1#a").unwrap();
    }

    #[tokio::test]
    async fn a_url_and_a_name_reach_the_same_memory_queue() {
        let spec =
            QueueSpec { name: "collect".into(), visibility: Duration::from_secs(30), delay: Duration::ZERO, dead_letter: None };
        let queues = MemoryQueues::new(vec![spec], crate::clock::Clock::system());
        let queue = Queue::Memory(queues.clone());
        queue.send("collect", "1".into(), Duration::ZERO, "a").await.unwrap();
        queue.send("https://sqs.eu-central-1.amazonaws.com/123456789012/collect", "2".into(), Duration::ZERO, "a").await.unwrap();
        assert_eq!(queues.peek("collect"), ["1", "2"]);
    }
}
