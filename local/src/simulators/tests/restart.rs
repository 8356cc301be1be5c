use super::*;

#[tokio::test]
async fn restart_resumes_unfinished_jobs_and_unsent_callbacks() {
    let mut world = World::open().await;
    let running = world.submit("replicate", "[[delay=10m]]").await;
    let ended = world.submit("fal", "[[callback_late=10m]][[delay=0s]]").await;
    let settled = world.submit("fal", "settled").await;
    assert_eq!(world.receiver.next().await.body["request_id"], settled.body["request_id"]);
    world.journal(|journal| journal.callbacks("fal").len() == 1).await;
    let done = |status: &Value| status["status"] == "COMPLETED";
    world.poll(ended.body["status_url"].as_str().unwrap(), done).await;
    world.sim.stop();

    let credentials = world.sim.credentials();
    world.sim = Simulators::open_with_clock(world.dir.path(), world.clock.clone()).unwrap();
    assert_eq!(world.sim.credentials(), credentials);
    world.root = serve(&world.sim).await;
    assert_eq!(world.sim.parts.jobs.unsettled().len(), 2);
    world.sim.resume();
    assert!(world.receiver.is_empty());
    world.clock.advance(10 * MINUTE);
    let mut arrived = Vec::new();
    for _ in 0..2 {
        let body = world.receiver.next().await.body;
        arrived.push(body.get("request_id").unwrap_or(&body["id"]).clone());
    }
    assert!(arrived.contains(&running.body["id"]) && arrived.contains(&ended.body["request_id"]));
    world.journal(|journal| journal.callbacks("fal").len() + journal.callbacks("replicate").len() == 2).await;

    let id = running.body["id"].as_str().unwrap();
    let prediction = world.ask("GET", &format!("{}/replicate/v1/predictions/{id}", world.root)).await;
    assert_eq!(prediction.body["status"], "succeeded");
    let again = Simulators::open(world.dir.path()).unwrap();
    assert!(again.parts.jobs.unsettled().is_empty());
}

#[tokio::test]
async fn jobs_are_forgotten_a_day_after_their_end() {
    let mut world = World::open().await;
    world.submit("fal", "x").await;
    world.receiver.next().await;
    world.journal(|journal| journal.callbacks("fal").len() == 1).await;
    world.sim.stop();
    let entries = |name: &str| std::fs::read_dir(world.dir.path().join(name)).unwrap().count();
    assert_eq!((entries("jobs"), entries("files")), (1, 1));
    world.clock.advance(25 * 60 * MINUTE);
    drop(Simulators::open_with_clock(world.dir.path(), world.clock.clone()).unwrap());
    assert_eq!((entries("jobs"), entries("files")), (0, 0));
}
