use super::*;

#[tokio::test]
async fn a_waiting_receiver_gets_a_message_sent_later() {
    let stand = stand();
    let receiver = tokio::spawn({
        let queues = stand.queues.clone();
        async move { queues.receive("work", 10).await }
    });
    tokio::task::yield_now().await;
    stand.send("hello", "a");
    assert_eq!(bodies(&receiver.await.unwrap().unwrap()), ["hello"]);
}

#[tokio::test]
async fn a_waiting_receiver_wakes_when_time_makes_a_message_visible() {
    let stand = stand();
    stand.queues.send("work", "late".into(), 10 * SECOND, "a").unwrap();
    let receive = stand.queues.receive("work", 10);
    tokio::pin!(receive);
    assert!(futures_util::poll!(receive.as_mut()).is_pending());
    stand.clock.advance(10 * SECOND);
    assert_eq!(bodies(&receive.await.unwrap()), ["late"]);

    let receive = stand.queues.receive("work", 10);
    tokio::pin!(receive);
    assert!(futures_util::poll!(receive.as_mut()).is_pending());
    stand.clock.advance(VISIBILITY);
    assert_eq!(receive.await.unwrap()[0].receive_count, 2);
}

#[tokio::test]
async fn a_receiver_waiting_for_a_far_message_notices_a_nearer_one() {
    let stand = stand();
    stand.queues.send("work", "far".into(), MAX_DELAY, "a").unwrap();
    let receive = stand.queues.receive("work", 10);
    tokio::pin!(receive);
    assert!(futures_util::poll!(receive.as_mut()).is_pending());
    stand.queues.send("work", "near".into(), 5 * SECOND, "a").unwrap();
    assert!(futures_util::poll!(receive.as_mut()).is_pending());
    stand.clock.advance(5 * SECOND);
    assert_eq!(bodies(&receive.await.unwrap()), ["near"]);
}

#[tokio::test]
async fn a_receiver_of_the_dead_letter_queue_wakes_when_a_message_is_moved() {
    let stand = stand();
    stand.send("poison", "a");
    let receive = stand.queues.receive("dead", 1);
    tokio::pin!(receive);
    for _ in 0..3 {
        assert!(futures_util::poll!(receive.as_mut()).is_pending());
        stand.poll_one();
        stand.clock.advance(VISIBILITY);
    }
    assert!(stand.poll("work", 1).is_empty());
    assert_eq!(bodies(&receive.await.unwrap()), ["poison"]);
}

#[tokio::test]
async fn a_dropped_receive_loses_nothing() {
    let stand = stand();
    {
        let receive = stand.queues.receive("work", 10);
        tokio::pin!(receive);
        assert!(futures_util::poll!(receive.as_mut()).is_pending());
        stand.send("hello", "a");
    }
    let received = stand.poll_one();
    assert_eq!((received.body.as_str(), received.receive_count), ("hello", 1));
}

#[tokio::test]
async fn many_receivers_share_many_messages_without_loss_or_double() {
    let stand = stand();
    let (deleted, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let receivers: Vec<_> = (0..8)
        .map(|_| {
            let (queues, deleted) = (stand.queues.clone(), deleted.clone());
            tokio::spawn(async move {
                loop {
                    for message in queues.receive("work", 3).await.unwrap() {
                        tokio::task::yield_now().await;
                        queues.delete("work", &message.receipt).unwrap();
                        deleted.send(message.body).unwrap();
                    }
                }
            })
        })
        .collect();
    let sent: Vec<String> = (0..200).map(|number| format!("{number:03}")).collect();
    for (number, body) in sent.iter().enumerate() {
        stand.send(body, &format!("g{}", number % 7));
        if number % 10 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut got = Vec::new();
    while got.len() < sent.len() {
        got.push(seen.recv().await.unwrap());
    }
    got.sort();
    assert_eq!(got, sent);
    assert_eq!(stand.queues.depth("work"), Depth::default());
    for receiver in receivers {
        receiver.abort();
    }
}
