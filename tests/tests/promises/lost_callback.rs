//! A callback that never comes: the poll finds the outcome, soon at first and then less and less often.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shared::generation::{Generation, State};
use tests::{PATIENCE, World};

use crate::PROVIDERS;

/// What the table has, which says more than the API does.
async fn record(world: &World, id: &str) -> Generation {
    let id = id.parse().expect("an id");
    world.stack.backend.store.generation(id).await.expect("the table answers").expect("it is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_callback_is_found_by_the_first_poll_after_ten_seconds() {
    let world = World::start().await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox [[no_callback]]").await;
        let job = world.job(&id).await;
        let running = record(&world, &id).await;
        let State::Running { since, .. } = running.state else { panic!("{:?}", running.state) };
        assert_eq!(running.due_at, Some(since + SignedDuration::from_secs(10)));
        world.true_callback(provider, &job).await;
        let asked_by_us = world.stack.simulators.journal().polls_of(&job);
        world.pass(Duration::from_secs(10)).await;
        assert_eq!(world.ended(&id).await["status"], "succeeded");
        let journal = world.stack.simulators.journal();
        assert!(journal.polls_of(&job) > asked_by_us);
        assert!(journal.callbacks(provider).is_empty());
        world.assert_charged(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_become_less_and_less_frequent() {
    let world = World::start().await;
    for (model, provider) in PROVIDERS {
        let id = world.create(model, "a fox [[no_callback]] [[delay=20m]]").await;
        let job = world.job(&id).await;
        for (count, pause_ms) in [(1, 15_000), (2, 22_500), (3, 33_750), (4, 50_625), (5, 75_937), (6, 113_905), (7, 120_000)] {
            let due = record(&world, &id).await.due_at.expect("a time");
            let before = now(&world);
            world.pass(Duration::try_from(due.duration_since(before)).unwrap_or_default()).await;
            let polled = async {
                loop {
                    let record = record(&world, &id).await;
                    let State::Running { polls, .. } = record.state else { panic!("{:?}", record.state) };
                    if polls == count {
                        break record;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let polled = tokio::time::timeout(PATIENCE, polled).await.expect("it is asked again");
            let next = polled.due_at.expect("a time");
            let pause = SignedDuration::from_millis(pause_ms);
            // The answer came between `due` and now.
            assert!(next >= due.min(now(&world)) + pause && next <= now(&world) + pause, "{provider}, poll {count}: {next}");
            assert_eq!(world.stack.simulators.journal().polls_of(&job), u64::from(count));
        }
        assert_eq!(world.minutes_until_ended(&id).await["status"], "succeeded");
        world.assert_charged(&id).await;
    }
}

fn now(world: &World) -> Timestamp {
    world.stack.clock.now()
}
