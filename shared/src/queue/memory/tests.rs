use futures_util::FutureExt;

use super::*;
use crate::queue::{MAX_BODY_BYTES, MAX_DELAY};

mod waiting;

const SECOND: Duration = Duration::from_secs(1);
const VISIBILITY: Duration = Duration::from_secs(30);

/// Two queues: `work`, which gives up after three receives, and its dead letter queue `dead`.
struct Stand {
    clock: Clock,
    queues: MemoryQueues,
}

fn stand() -> Stand {
    let clock = Clock::system();
    let work =
        QueueSpec { name: "work".into(), visibility: VISIBILITY, delay: Duration::ZERO, dead_letter: Some(("dead".into(), 3)) };
    Stand { queues: MemoryQueues::new(vec![work], clock.clone()), clock }
}

impl Stand {
    fn send(&self, body: &str, group: &str) -> String {
        self.queues.send("work", body.into(), Duration::ZERO, group).unwrap()
    }

    /// What is visible right now.
    fn poll(&self, queue: &str, max: usize) -> Vec<Received> {
        self.queues.receive(queue, max).now_or_never().map(Result::unwrap).unwrap_or_default()
    }

    fn poll_one(&self) -> Received {
        self.poll("work", 1).pop().expect("a visible message")
    }
}

fn bodies(received: &[Received]) -> Vec<&str> {
    received.iter().map(|message| message.body.as_str()).collect()
}

fn depth(visible: usize, in_flight: usize, delayed: usize) -> Depth {
    Depth { visible, in_flight, delayed }
}

#[tokio::test]
async fn a_message_is_received_deleted_and_gone() {
    let stand = stand();
    let id = stand.send("hello", "acct_1");
    assert_eq!(stand.queues.depth("work"), depth(1, 0, 0));

    let received = stand.poll_one();
    assert_eq!((received.message_id, received.body.as_str(), received.group.as_str()), (id, "hello", "acct_1"));
    assert_eq!(received.receive_count, 1);
    assert!(received.sent_at <= received.first_received_at);
    assert_eq!(stand.queues.depth("work"), depth(0, 1, 0));
    assert!(stand.poll("work", 1).is_empty());

    stand.queues.delete("work", &received.receipt).unwrap();
    stand.queues.delete("work", &received.receipt).unwrap();
    stand.clock.advance(VISIBILITY * 2);
    assert_eq!(stand.queues.depth("work"), Depth::default());
    assert!(stand.poll("work", 1).is_empty());
}

#[tokio::test]
async fn an_undeleted_message_comes_back_after_its_visibility_timeout() {
    let stand = stand();
    stand.send("hello", "a");
    let first = stand.poll_one();
    stand.clock.advance(VISIBILITY - 5 * SECOND);
    assert!(stand.poll("work", 1).is_empty());
    stand.clock.advance(5 * SECOND);
    let second = stand.poll_one();
    assert_eq!(second.receive_count, 2);
    assert_eq!(second.message_id, first.message_id);
    assert_eq!(second.first_received_at, first.first_received_at);
    assert_eq!(second.sent_at, first.sent_at);
}

#[tokio::test]
async fn stale_receipt_cannot_delete() {
    let stand = stand();
    stand.send("hello", "a");
    let first = stand.poll_one();
    stand.clock.advance(VISIBILITY);
    let second = stand.poll_one();
    assert!(matches!(stand.queues.delete("work", &first.receipt), Err(QueueError::ReceiptStale { .. })));
    assert!(matches!(
        stand.queues.change_visibility("work", &first.receipt, Duration::ZERO),
        Err(QueueError::ReceiptStale { .. })
    ));
    assert_eq!(stand.queues.depth("work"), depth(0, 1, 0));
    stand.queues.delete("work", &second.receipt).unwrap();
    stand.queues.delete("work", &first.receipt).unwrap();
    assert_eq!(stand.queues.depth("work"), Depth::default());
}

#[tokio::test]
async fn an_overdue_receipt_still_deletes_until_the_next_receive() {
    let stand = stand();
    stand.send("hello", "a");
    let received = stand.poll_one();
    stand.clock.advance(VISIBILITY * 2);
    assert_eq!(stand.queues.depth("work"), depth(1, 0, 0));
    stand.queues.delete("work", &received.receipt).unwrap();
    assert_eq!(stand.queues.depth("work"), Depth::default());
    assert!(stand.poll("work", 1).is_empty());
}

#[tokio::test]
async fn a_message_received_too_often_moves_to_the_dead_letter_queue() {
    let stand = stand();
    let id = stand.send("poison", "a");
    let mut last = None;
    for receive_count in 1..=3 {
        let received = stand.poll_one();
        assert_eq!(received.receive_count, receive_count);
        stand.clock.advance(VISIBILITY);
        last = Some(received);
    }
    assert_eq!(stand.queues.depth("work"), Depth::default());
    assert_eq!(stand.queues.depth("dead"), depth(1, 0, 0));
    assert!(stand.poll("work", 1).is_empty());

    // The last receipt of the old queue has no power over the new one.
    let last = last.unwrap();
    stand.queues.delete("work", &last.receipt).unwrap();
    assert!(matches!(stand.queues.change_visibility("work", &last.receipt, SECOND), Err(QueueError::NotInFlight { .. })));
    assert_eq!(stand.queues.peek("dead"), ["poison"]);

    let dead = stand.poll("dead", 10).pop().unwrap();
    assert_eq!((dead.message_id, dead.receive_count, dead.sent_at), (id, 1, last.sent_at));
    for _ in 0..5 {
        stand.clock.advance(VISIBILITY);
        assert_eq!(stand.poll("dead", 10).len(), 1, "a dead letter stays until it is deleted");
    }
}

#[tokio::test]
async fn a_delayed_message_is_hidden_until_its_time() {
    let stand = stand();
    stand.queues.send("work", "late".into(), 10 * SECOND, "a").unwrap();
    stand.queues.send("work", "later".into(), MAX_DELAY, "a").unwrap();
    assert_eq!(stand.queues.depth("work"), depth(0, 0, 2));
    assert!(stand.poll("work", 10).is_empty());
    stand.clock.advance(10 * SECOND);
    assert_eq!(stand.queues.depth("work"), depth(1, 0, 1));
    assert_eq!(bodies(&stand.poll("work", 10)), ["late"]);
    stand.clock.advance(MAX_DELAY);
    assert_eq!(bodies(&stand.poll("work", 10)), ["late", "later"]);
}

#[tokio::test]
async fn a_queue_with_a_delay_delays_messages_sent_without_one() {
    let clock = Clock::system();
    let spec = QueueSpec { name: "slow".into(), visibility: VISIBILITY, delay: 60 * SECOND, dead_letter: None };
    let queues = MemoryQueues::new(vec![spec], clock.clone());
    queues.send("slow", "default".into(), Duration::ZERO, "").unwrap();
    queues.send("slow", "own".into(), 20 * SECOND, "").unwrap();
    clock.advance(20 * SECOND);
    assert_eq!(bodies(&queues.receive("slow", 10).now_or_never().unwrap().unwrap()), ["own"]);
    clock.advance(40 * SECOND);
    assert_eq!(queues.depth("slow").visible, 2, "the first one's delay and the second one's visibility time-out are over");
}

#[tokio::test]
async fn visibility_can_be_extended_and_given_up() {
    let stand = stand();
    stand.send("hello", "a");
    let received = stand.poll_one();
    stand.queues.change_visibility("work", &received.receipt, 100 * SECOND).unwrap();
    stand.clock.advance(98 * SECOND);
    assert!(stand.poll("work", 1).is_empty());
    stand.queues.change_visibility("work", &received.receipt, Duration::ZERO).unwrap();
    let again = stand.poll_one();
    assert_eq!(again.receive_count, 2);
    stand.clock.advance(VISIBILITY);
    assert!(matches!(stand.queues.change_visibility("work", &again.receipt, SECOND), Err(QueueError::NotInFlight { .. })));
    assert!(matches!(
        stand.queues.change_visibility("work", &again.receipt, MAX_VISIBILITY + SECOND),
        Err(QueueError::VisibilityTooLong { .. })
    ));
}

#[tokio::test]
async fn a_group_with_many_in_flight_yields_to_a_quiet_one() {
    let stand = stand();
    for number in 0..6 {
        stand.send(&format!("busy-{number}"), "busy");
    }
    assert_eq!(bodies(&stand.poll("work", 3)), ["busy-0", "busy-1", "busy-2"]);
    stand.send("quiet-0", "quiet");
    stand.send("quiet-1", "quiet");
    assert_eq!(bodies(&stand.poll("work", 4)), ["quiet-0", "quiet-1", "busy-3", "busy-4"]);
}

#[tokio::test]
async fn groups_take_turns_within_one_batch() {
    let stand = stand();
    for body in ["a1", "a2", "a3", "b1", "b2", "c1"] {
        stand.send(body, &body[..1]);
    }
    assert_eq!(bodies(&stand.poll("work", 6)), ["a1", "b1", "c1", "a2", "b2", "a3"]);
}

#[tokio::test]
async fn messages_without_a_group_do_not_count_against_each_other() {
    let stand = stand();
    for body in ["1", "2", "3"] {
        stand.send(body, "");
    }
    stand.send("4", "a");
    assert_eq!(bodies(&stand.poll("work", 10)), ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_deleted_or_expired_message_no_longer_counts_as_in_flight() {
    let stand = stand();
    for body in ["a1", "a2", "a3"] {
        stand.send(body, "a");
    }
    for message in stand.poll("work", 2) {
        stand.queues.delete("work", &message.receipt).unwrap();
    }
    stand.send("b1", "b");
    assert_eq!(bodies(&stand.poll("work", 2)), ["a3", "b1"], "both groups are quiet, so the older message is first");
    stand.clock.advance(VISIBILITY);
    assert_eq!(stand.queues.depth("work"), depth(2, 0, 0));
    assert_eq!(bodies(&stand.poll("work", 2)), ["a3", "b1"]);
}

#[tokio::test]
async fn limits_are_those_of_sqs() {
    let stand = stand();
    let too_large = "x".repeat(MAX_BODY_BYTES + 1);
    assert!(matches!(stand.queues.send("work", too_large, Duration::ZERO, "a"), Err(QueueError::BodyTooLarge { .. })));
    assert!(matches!(stand.queues.send("work", "x".into(), MAX_DELAY + SECOND, "a"), Err(QueueError::DelayTooLong { .. })));
    for max in [0, 11] {
        let answer = stand.queues.receive("work", max).now_or_never().unwrap();
        assert!(matches!(answer, Err(QueueError::BatchOutOfRange { .. })));
    }
    for number in 0..12 {
        stand.send(&number.to_string(), "a");
    }
    assert_eq!(stand.poll("work", 10).len(), 10);
}

#[tokio::test]
async fn unknown_queues_and_receipts_are_named() {
    let stand = stand();
    let error = stand.queues.send("wrok", "x".into(), Duration::ZERO, "a").unwrap_err();
    assert_eq!(error.to_string(), "there is no queue `wrok`; declare it in the template");
    assert!(!error.is_retryable());
    assert!(matches!(stand.queues.delete("work", "nonsense"), Err(QueueError::ReceiptInvalid { .. })));
    assert_eq!(stand.queues.depth("wrok"), Depth::default());
    assert_eq!(stand.queues.queues(), ["dead", "work"]);
}
