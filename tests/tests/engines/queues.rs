//! What the queues promise the product: limits, delays, groups, and messages that come again.

use std::time::{Duration, Instant};

use local::engines::Queues;
use shared::clock::{Clock, random_bytes};
use shared::ids::AccountId;
use shared::queue::{MAX_BODY_BYTES, QueueError, QueueSpec, Received};
use tests::{PATIENCE, endpoints};

/// A delay in which a slow machine sends and receives what is not delayed.
const DELAY_S: u64 = 20;

/// A queue of a test's own, with its dead letters.
struct Stand {
    queues: Queues,
    clock: Clock,
    url: String,
}

impl Stand {
    async fn new(visibility_s: u64, delay_s: u64) -> Self {
        let plain = |name: &str| QueueSpec {
            name: name.to_owned(),
            visibility: Duration::from_secs(30),
            delay: Duration::ZERO,
            dead_letter: None,
        };
        let work = QueueSpec {
            visibility: Duration::from_secs(visibility_s),
            delay: Duration::from_secs(delay_s),
            dead_letter: Some(("Dead".to_owned(), 2)),
            ..plain("Work")
        };
        let (clock, owner) = (Clock::system(), AccountId::from_parts(1, random_bytes()));
        let queues = Queues::start(&endpoints(), vec![work, plain("Dead")], owner, &clock).await.expect("the queues");
        let mut urls = [("WORK_QUEUE_URL".to_owned(), "Work".to_owned())].into();
        queues.address(&mut urls);
        Self { queues, clock, url: urls["WORK_QUEUE_URL"].clone() }
    }

    async fn send(&self, body: &str, delay_s: u64, group: &str) -> Result<(), QueueError> {
        self.queues.sender().send(&self.url, body.to_owned(), Duration::from_secs(delay_s), group).await
    }

    /// What comes next.
    async fn receive(&self, queue: &str) -> Vec<Received> {
        let taken = tokio::time::timeout(PATIENCE, self.queues.receive(queue, 10)).await;
        taken.expect("it comes in time").expect("the queues answer")
    }

    fn soon(&self, by: Duration) {
        if let Queues::Memory(_) = self.queues {
            self.clock.advance(by);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_comes_as_it_was_sent() {
    let stand = Stand::new(30, 0).await;
    let body = "{\"строка\": \"🙂\t\r\n\"}";
    let before = stand.clock.now();
    stand.send(body, 0, "acct_1").await.expect("sent");
    let taken = stand.receive("Work").await;
    let message = &taken[0];
    assert_eq!((message.body.as_str(), message.group.as_str(), message.receive_count), (body, "acct_1", 1));
    // An SQS may tell whole seconds.
    let second = jiff::SignedDuration::from_secs(1);
    assert!(message.sent_at >= before - second && message.sent_at <= stand.clock.now() + second, "{}", message.sent_at);
    assert!(message.first_received_at >= message.sent_at);
    assert_eq!(stand.queues.depth("Work").await.expect("a depth").in_flight, 1);
    stand.queues.delete("Work", &message.receipt).await.expect("deleted");
    assert_eq!(stand.queues.depth("Work").await.expect("a depth"), shared::queue::Depth::default());
    stand.send("to nobody in particular", 0, "").await.expect("sent");
    assert_eq!(stand.receive("Work").await[0].group, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_one_mebibyte_is_taken_and_not_one_byte_more() {
    let stand = Stand::new(30, 0).await;
    let largest = "x".repeat(MAX_BODY_BYTES);
    stand.send(&largest, 0, "acct_1").await.expect("the largest is taken");
    let taken = stand.receive("Work").await;
    assert!(taken[0].body == largest, "{} bytes came", taken[0].body.len());
    let refused = stand.send(&format!("{largest}x"), 0, "acct_1").await.expect_err("too large");
    assert!(matches!(refused, QueueError::BodyTooLarge { .. }), "{refused:?}");
    // What is refused before it is sent is refused by SQS, too.
    if let Queues::Sqs(queues) = &stand.queues {
        for body in [format!("{largest}x"), String::new()] {
            let sent = queues.sender().send_message().queue_url(&stand.url).message_body(body).send().await;
            assert!(sent.is_err(), "{sent:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_message_comes_after_its_delay() {
    let stand = Stand::new(60, 0).await;
    let started = Instant::now();
    stand.send("later", DELAY_S, "acct_1").await.expect("sent");
    stand.send("now", 0, "acct_1").await.expect("sent");
    let taken = stand.receive("Work").await;
    assert_eq!(taken.iter().map(|message| message.body.as_str()).collect::<Vec<_>>(), ["now"]);
    assert_eq!(stand.queues.depth("Work").await.expect("a depth").delayed, 1);
    stand.soon(Duration::from_secs(DELAY_S));
    assert_eq!(stand.receive("Work").await[0].body, "later");
    if let Queues::Sqs(_) = stand.queues {
        let waited = started.elapsed();
        assert!(waited + Duration::from_secs(1) >= Duration::from_secs(DELAY_S), "{waited:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queues_own_delay_holds_for_messages_without_one() {
    let stand = Stand::new(30, DELAY_S).await;
    stand.send("as the queue says", 0, "acct_1").await.expect("sent");
    assert_eq!(stand.queues.depth("Work").await.expect("a depth").visible, 0);
    stand.soon(Duration::from_secs(DELAY_S));
    assert_eq!(stand.receive("Work").await[0].body, "as the queue says");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_deleted_comes_again_and_then_goes_to_the_dead_letters() {
    let stand = Stand::new(2, 0).await;
    stand.send("poison", 0, "acct_1").await.expect("sent");
    let first = stand.receive("Work").await;
    stand.soon(Duration::from_secs(2));
    let second = stand.receive("Work").await;
    assert_eq!((first[0].receive_count, second[0].receive_count), (1, 2));
    assert_eq!(first[0].message_id, second[0].message_id);
    assert_eq!(first[0].first_received_at, second[0].first_received_at);
    stand.soon(Duration::from_secs(2));
    // SQS moves a dead letter when somebody would receive it; ours is moved by now.
    let long_enough = Duration::from_secs(if let Queues::Sqs(_) = stand.queues { 15 } else { 1 });
    let third = tokio::time::timeout(long_enough, stand.queues.receive("Work", 10)).await;
    assert!(third.is_err(), "{third:?}");
    let dead = stand.receive("Dead").await;
    assert_eq!((dead[0].body.as_str(), dead[0].group.as_str()), ("poison", "acct_1"));
    assert_eq!(stand.queues.depth("Work").await.expect("a depth"), shared::queue::Depth::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_messages_are_the_most_of_one_receive() {
    let stand = Stand::new(30, 0).await;
    for number in 0..12 {
        stand.send(&number.to_string(), 0, "acct_1").await.expect("sent");
    }
    let mut bodies: Vec<u32> = Vec::new();
    while bodies.len() < 12 {
        let taken = stand.receive("Work").await;
        assert!((1..=10).contains(&taken.len()));
        bodies.extend(taken.iter().map(|message| message.body.parse::<u32>().expect("a number")));
    }
    bodies.sort_unstable();
    assert_eq!(bodies, (0..12).collect::<Vec<_>>());
    assert!(stand.queues.receive("Work", 11).await.is_err());
}
