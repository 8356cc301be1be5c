//! From the queue to the function and back: what failed comes again, and ends as a dead letter.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use local::engines::Queues;
use local::event_source;
use local::invoker::{Invoker, handler};
use local::template::{BUILT_IN, LocalValues, Template};
use serde_json::{Value, json};
use shared::clock::{Clock, random_bytes};
use shared::ids::{AccountId, GenerationId};
use shared::messages::Message;
use shared::queue::Depth;
use tests::{PATIENCE, Setting, World, endpoints};
use tokio::sync::mpsc;

/// How long a message that failed stays hidden here, and its function may run; the deployed queues hide it for up to an hour. Long enough
/// for whatever else the function has to do on a slow machine.
const VISIBILITY: Duration = Duration::from_secs(20);

/// The built-in template with one queue that brings a message back soon, and gives it up after the second time: the one with this visibility
/// time-out, whose function has that time-out.
fn impatient(visibility_s: u32, timeout_s: u32) -> String {
    let short_s = VISIBILITY.as_secs();
    let text = BUILT_IN.replace(&format!(" Timeout: {timeout_s}\n"), &format!(" Timeout: {short_s}\n"));
    let (before, after) = text.split_once(&format!(" VisibilityTimeout: {visibility_s}\n")).expect("the queue is there");
    let after = after.replacen("maxReceiveCount: 5", "maxReceiveCount: 2", 1);
    format!("{before} VisibilityTimeout: {short_s}\n{after}")
}

async fn until_depth(queues: &Queues, queue: &str, wanted: Depth) {
    let started = Instant::now();
    loop {
        let depth = queues.depth(queue).await.expect("the queues answer");
        if depth == wanted {
            return;
        }
        assert!(started.elapsed() < PATIENCE + 3 * VISIBILITY, "{queue} holds {depth:?} instead of {wanted:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn visible(count: usize) -> Depth {
    Depth { visible: count, ..Depth::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_failed_comes_again_and_then_lies_among_the_dead_letters() {
    let parameters = [("SigningSecret".to_owned(), "s".repeat(32))].into();
    let template =
        Template::parse(&impatient(3_600, 600), &LocalValues { parameters, ..LocalValues::default() }).expect("it is a template");
    let (seen, mut events) = mpsc::unbounded_channel();
    let dispatch = handler(move |event: Value| {
        let failed: Vec<Value> = event["Records"]
            .as_array()
            .expect("records")
            .iter()
            .filter(|record| record["body"] == "bad")
            .map(|record| json!({"itemIdentifier": record["messageId"]}))
            .collect();
        seen.send(event).expect("the test listens");
        async move { Ok(json!({"batchItemFailures": failed})) }
    });
    let mut handlers: HashMap<_, _> =
        template.functions.iter().map(|function| (function.binary.clone(), handler(async |_| Ok(Value::Null)))).collect();
    handlers.insert("dispatch".to_owned(), dispatch);
    let invoker = Arc::new(Invoker::new(&template, &handlers).expect("every function"));
    let clock = Clock::system();
    let owner = AccountId::from_parts(1, random_bytes());
    let queues = Queues::start(&endpoints(), event_source::queue_specs(&template), owner, &clock).await.expect("the queues");
    let mut urls = [("DISPATCH_QUEUE_URL".to_owned(), "memory://queues/DispatchQueue".to_owned())].into();
    queues.address(&mut urls);
    for body in ["good", "bad", "fine"] {
        queues.sender().send(&urls["DISPATCH_QUEUE_URL"], body.to_owned(), Duration::ZERO, "acct_1").await.expect("sent");
    }
    let started = Instant::now();
    let _mappings = event_source::start(&template, &invoker, &queues);

    let mut records: Vec<Value> = Vec::new();
    let mut next = async |wanted: usize| {
        while records.len() < wanted {
            let event = tokio::time::timeout(PATIENCE, events.recv()).await.expect("it comes in time").expect("an event");
            records.extend(event["Records"].as_array().expect("records").iter().cloned());
        }
        records.clone()
    };
    let mut bodies: Vec<_> = next(3).await.iter().map(|record| record["body"].clone()).collect();
    bodies.sort_by_key(Value::to_string);
    assert_eq!(bodies, ["bad", "fine", "good"]);
    until_depth(&queues, "DispatchQueue", Depth { in_flight: 1, ..Depth::default() }).await;
    if let Queues::Memory(_) = queues {
        clock.advance(VISIBILITY);
    }
    let again = next(4).await.remove(3);
    let told = |name: &str| again["attributes"][name].clone();
    assert_eq!(
        (&again["body"], told("ApproximateReceiveCount"), told("MessageGroupId")),
        (&json!("bad"), json!("2"), json!("acct_1"))
    );
    if let Queues::Sqs(_) = queues {
        assert!(started.elapsed() + Duration::from_secs(1) >= VISIBILITY, "hidden for {:?}", started.elapsed());
    }
    until_depth(&queues, "DispatchQueue", Depth { in_flight: 1, ..Depth::default() }).await;
    if let Queues::Memory(_) = queues {
        clock.advance(VISIBILITY);
    }
    until_depth(&queues, "DispatchDeadLetters", visible(1)).await;
    until_depth(&queues, "DispatchQueue", Depth::default()).await;
    assert_eq!(next(4).await.len(), 4, "it was not handed out a third time");
    let dead = tokio::time::timeout(PATIENCE, queues.receive("DispatchDeadLetters", 10)).await.expect("it comes in time");
    let dead = dead.expect("the queues answer");
    assert_eq!(dead.iter().map(|message| message.body.as_str()).collect::<Vec<_>>(), ["bad"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_no_worker_can_handle_holds_up_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("template.yaml");
    std::fs::write(&path, impatient(1_800, 300)).expect("written");
    std::fs::create_dir(folder.path().join("infra")).expect("a folder for what it nests");
    for nested in ["data.yaml", "monitoring.yaml"] {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra").join(nested);
        std::fs::copy(own, folder.path().join("infra").join(nested)).expect("copied");
    }
    let world = World::with(Setting { template: Some(path), ..Setting::default() }).await;
    let nobody = Message::Collect { generation: GenerationId::from_parts(1, random_bytes()) };
    let backend = &world.stack.backend;
    let url = backend.config.queue_url(nobody.queue());
    backend.queue.send(url, nobody.to_body(), Duration::ZERO, &world.account.to_string()).await.expect("sent");
    let id = world.create_with("placeholder", json!({"prompt": "others go on", "width": 64, "height": 64})).await;
    assert_eq!(world.ended(&id).await["status"], "succeeded");
    for _ in 0..2 {
        until_depth(&world.stack.queues, "CollectQueue", Depth { in_flight: 1, ..Depth::default() }).await;
        world.soon(VISIBILITY);
    }
    until_depth(&world.stack.queues, "CollectDeadLetters", visible(1)).await;
    let dead = tokio::time::timeout(PATIENCE, world.stack.queues.receive("CollectDeadLetters", 1)).await;
    let dead = dead.expect("it comes in time").expect("the queues answer");
    assert_eq!(dead[0].body, nobody.to_body());
    world.assert_charged(&id).await;
}
