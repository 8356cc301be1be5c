//! A crash at any point: the generation still ends, its credits are settled once, and the provider is paid at most once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::get;
use local::simulators::Submit;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::generation::Generation;
use shared::ids::GenerationId;
use shared::store::Store;
use tests::{Fault, PATIENCE, Setting, World, free_port, serve};
use tokio::sync::Notify;

/// One world in which call after call to the table is cut.
struct Lab {
    world: World,
    /// Reads the table past the wire that is cut, so that looking on changes nothing.
    eye: Store,
    order: Value,
}

/// What became of one generation during which one call to the table was cut.
#[derive(Debug)]
struct Run {
    end: Generation,
    /// Whether the call came at all.
    was_cut: bool,
    /// Calls until the end.
    calls: u32,
}

impl Lab {
    async fn new(order: Value) -> Self {
        let world = World::start().await;
        let eye = world.another_store();
        let lab = Self { world, eye, order };
        lab.swept(lab.world.queries_of_a_tick().await).await;
        lab
    }

    /// Waits until the due index has been read that often in all and nothing is left to do.
    async fn swept(&self, reads: u32) {
        let started = Instant::now();
        while self.reads_of_the_index() < reads {
            assert!(started.elapsed() < PATIENCE, "no tick");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.world.at_rest().await;
    }

    fn reads_of_the_index(&self) -> u32 {
        self.world.wire.looks()
    }

    async fn look(&self, id: GenerationId) -> Generation {
        self.eye.generation(id).await.expect("the table answers").expect("it is there")
    }

    /// Orders until it is accepted, with the same key each time, as a customer would who got no answer.
    async fn insist(&self, key: &str) -> GenerationId {
        for _ in 0..10 {
            let request = self.world.request(reqwest::Method::POST, "/v1/generations").header("idempotency-key", key);
            let reply = self.world.send(request.json(&self.order)).await;
            if reply.status == 202 {
                return reply.body["id"].as_str().expect("an id").parse().expect("an id");
            }
            assert!(matches!(reply.status, 500 | 503), "{:?}", reply.body);
        }
        panic!("never accepted");
    }

    async fn run(&self, cut: Option<(u32, Fault)>) -> Run {
        let wire = &self.world.wire;
        wire.reset();
        if let Some((nth, fault)) = cut {
            wire.cut(nth, fault);
        }
        let id = self.insist(&format!("{cut:?}")).await;
        let (mut started, mut minutes) = (Instant::now(), 0);
        let end = loop {
            let generation = self.look(id).await;
            if generation.state.is_terminal() {
                break generation;
            }
            assert!(started.elapsed() < PATIENCE && minutes < 600, "{cut:?}: never ends, {generation:?}");
            if cut.is_some() && !wire.is_waiting() {
                // Whoever met the cut has ended by then.
                self.world.minute().await;
                (started, minutes) = (Instant::now(), minutes + 1);
            } else {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let (calls, was_cut) = (wire.seen(), cut.is_some() && !wire.is_waiting());
        // Whatever was left lying about comes back after its visibility time-out.
        self.world.idle().await;
        let reads = self.reads_of_the_index();
        self.world.later(Duration::from_secs(3_700));
        self.swept(reads + self.world.queries_of_a_tick().await).await;
        Run { end, was_cut, calls }
    }

    /// Cuts the first call of a whole job, then the second, and so on to the last one, before it is made and after it.
    async fn cut_every_call(&self, provider: &str) {
        let whole = self.run(None).await;
        assert_eq!(whole.end.state.phase(), "succeeded");
        assert!(whole.calls >= 7, "a whole job takes {} calls", whole.calls);
        let mut runs = vec![];
        for nth in 1..=whole.calls {
            for fault in [Fault::CutBefore, Fault::CutAfter] {
                runs.push((nth, fault, self.run(Some((nth, fault))).await));
            }
        }
        let closings = self.world.audit().await;
        assert_eq!(closings.len(), runs.len() + 1, "an order was accepted more than once");
        let submits = self.world.stack.simulators.journal().submits(provider);
        for (nth, fault, run) in &runs {
            let id = run.end.id.to_string();
            assert_eq!(self.look(run.end.id).await.state, run.end.state, "{fault:?} {nth}: changed after its end");
            for result in run.end.results() {
                let object = self.world.stack.backend.bucket.head(&result.key).await.expect("the bucket answers");
                assert!(object.is_some(), "{fault:?} {nth}: a result is lost, {result:?}");
            }
            let closing = closings[&id];
            assert_eq!(closing.charged + closing.released, closing.held, "{fault:?} {nth}");
            let taken =
                |submit: &&Submit| submit.job.is_some() && submit.callback_url.as_ref().is_some_and(|url| url.contains(&id));
            assert!(submits.iter().filter(taken).count() <= 1, "{fault:?} {nth}: bought twice, {submits:?}");
        }
        // The order of calls can differ a little from run to run, so that the last ones may not come.
        let cuts = runs.iter().filter(|(_, _, run)| run.was_cut).count();
        assert!(cuts + 4 >= runs.len(), "{cuts} cuts in {} runs", runs.len());
        let lost: Vec<_> = runs.iter().filter(|(_, _, run)| run.end.state.phase() != "succeeded").collect();
        assert!(lost.len() <= 3, "more than a lost claim came to nothing: {lost:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_survives_the_loss_of_any_call_to_the_table() {
    let order = json!({"model": "flux-schnell", "params": {"prompt": "a fox [[delay=100ms]]"}});
    Lab::new(order).await.cut_every_call("replicate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_placeholder_job_survives_the_loss_of_any_call_to_the_table() {
    let order = json!({"model": "placeholder", "params": {"prompt": "a fox", "width": 64, "height": 64}});
    Lab::new(order).await.cut_every_call("none").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_made_ready_first_survives_the_loss_of_any_call_to_the_table() {
    let order = json!({"tool": "create", "model": "seedream", "params": {"prompt": "лиса [[delay=100ms]]"}});
    Lab::new(order).await.cut_every_call("fal").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_converted_result_survives_the_loss_of_any_call_to_the_table() {
    let lab = Lab::new(json!({"model": "print", "params": {"prompt": "a fox"}})).await;
    let prompt = json!({"type": "string", "minLength": 1, "maxLength": 100});
    // Its result comes inside the answer: there is no second copy to convert.
    let chain = json!({
        "name": "print", "version": 1, "kind": "image", "price": {"credits": 10}, "finish": {"image_format": "jpeg"},
        "params": {"type": "object", "additionalProperties": false, "required": ["prompt"], "properties": {"prompt": prompt}},
        "candidates": [{"model": "openai/gpt-image-2.6-flare", "params": {"prompt": "{{prompt}}", "width": 1024, "height": 1024}}],
    });
    let put = lab.world.request(reqwest::Method::PUT, "/v1/admin/chains/print").json(&chain);
    assert_eq!(lab.world.send(put).await.status, 200);
    lab.cut_every_call("openai").await;
}

/// Worlds that follow each other on the same folder, port and clock.
struct Series {
    _folder: tempfile::TempDir,
    setting: Setting,
}

impl Series {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = Some(folder.path().to_owned());
        Self { _folder: folder, setting: Setting { data, clock: Some(Clock::system()), port: free_port(), ..Setting::default() } }
    }

    async fn world(&self, environment: Vec<(&'static str, String)>) -> World {
        World::with(Setting { environment, ..self.setting.clone() }).await
    }
}

fn attempts(generation: &Value) -> usize {
    generation["attempts"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_that_providers_work_on() {
    let series = Series::new();
    let world = series.world(Vec::new()).await;
    let (release, released) = (Arc::new(Notify::new()), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    // A media server that does not answer before the power cut.
    let answer = {
        let (release, released) = (Arc::clone(&release), Arc::clone(&released));
        get(async move || {
            if !released.load(std::sync::atomic::Ordering::SeqCst) {
                release.notified().await;
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            ([("content-type", "image/jpeg")], World::photo()).into_response()
        })
    };
    let (media, _server) = serve(Router::new().route("/out.jpg", answer)).await;

    let running = world.create("flux-dev", "running [[delay=5m]]").await;
    let polled = world.create("flux-schnell", "polled [[delay=5m]] [[no_callback]]").await;
    let drawn = world.create("placeholder", "drawn [[delay=5m]]").await;
    let unconfirmed = world.create("flux-dev", "unconfirmed [[delay=5m]] [[error_after]]").await;
    let collecting = world.create("flux-schnell", "collecting [[delay=5m]]").await;
    let job = world.job(&collecting).await;
    let message = World::success("replicate", &job, &format!("{media}/out.jpg"));
    let signed = world.sign("replicate", &message, world.stack.clock.now());
    assert_eq!(world.deliver(&world.callback_url("replicate", &collecting), &signed).await.status, 200);
    for (id, phase) in [
        (&running, "running"),
        (&polled, "running"),
        (&drawn, "running"),
        (&unconfirmed, "unconfirmed"),
        (&collecting, "collecting"),
    ] {
        world.phase(id, phase).await;
        world.assert_held(id).await;
    }
    let submitted = |world: &World| {
        world.stack.simulators.journal().submits("replicate").len() + world.stack.simulators.journal().submits("fal").len()
    };
    assert_eq!(submitted(&world), 4);
    drop(world);

    released.store(true, std::sync::atomic::Ordering::SeqCst);
    release.notify_waiters();
    let world = series.world(Vec::new()).await;
    for id in [running, polled, drawn, unconfirmed, collecting] {
        let done = world.minutes_until_ended(&id).await;
        assert_eq!((&done["status"], attempts(&done)), (&"succeeded".into(), 1), "{done:#}");
        world.assert_charged(&id).await;
    }
    assert_eq!(submitted(&world), 0, "what the provider has is not handed in again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_before_the_provider_answered_is_not_paid_for() {
    let series = Series::new();
    let silent = get(async || std::future::pending::<()>().await).post(async || std::future::pending::<()>().await);
    let (silent, _server) = serve(Router::new().fallback(silent)).await;
    let environment = vec![
        ("REPLICATE_API_TOKEN", "any".to_owned()),
        ("REPLICATE_BASE_URL", silent),
        ("FAL_KEY", "any".to_owned()),
        ("FAL_BASE_URL", format!("http://127.0.0.1:{}", free_port())),
    ];
    let world = series.world(environment).await;
    let submitting = world.create("flux-schnell", "submitting").await;
    let queued = world.create("flux-dev", "queued").await;
    world.phase(&submitting, "submitting").await;
    world.until(&queued, |generation| generation["phase"] == "queued" && attempts(generation) == 1).await;
    drop(world);

    let world = series.world(Vec::new()).await;
    let done = world.minutes_until_ended(&queued).await;
    assert_eq!(done["status"], "succeeded", "{done:#}");
    world.assert_charged(&queued).await;
    let lost = world.minutes_until(&submitting, |generation| generation["phase"] != "submitting").await;
    assert_eq!(lost["unconfirmed"]["reason"], "worker_lost", "{lost:#}");
    let done = world.minutes_until_ended(&submitting).await;
    assert_eq!((&done["status"], &done["error"]["class"], attempts(&done)), (&"failed".into(), &"expired".into(), 1));
    world.assert_released(&submitting).await;
    let journal = world.stack.simulators.journal();
    assert_eq!((journal.submits("replicate").len(), journal.submits("fal").len()), (0, 1));
}
