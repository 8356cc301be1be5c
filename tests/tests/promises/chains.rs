//! A chain: whoever cannot do it is followed by the next one, each is paid at most once, and the customer pays once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::post;
use jiff::Timestamp;
use serde_json::{Value, json};
use tests::{PATIENCE, Setting, World, free_port, serve};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Longer than the pause before a second try, and much shorter than any deadline.
const STEP: Duration = Duration::from_secs(3);

/// A provider of a test's own: how often it was asked, and what it answers.
struct Stub {
    url: String,
    asked: Arc<AtomicUsize>,
    _server: JoinSet<()>,
}

impl Stub {
    async fn answering(status: u16, body: Value) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let answer = post(async move || {
            counter.fetch_add(1, Ordering::SeqCst);
            (StatusCode::from_u16(status).expect("a status"), axum::Json(body.clone())).into_response()
        });
        let (url, server) = serve(Router::new().fallback(answer)).await;
        Self { url, asked, _server: server }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// A world in which Replicate, the first provider of `image`, is at this address.
async fn with_replicate_at(url: String) -> World {
    let environment = vec![("REPLICATE_API_TOKEN", "any".to_owned()), ("REPLICATE_BASE_URL", url)];
    World::with(Setting { environment, ..Setting::default() }).await
}

/// An address where nobody is.
fn nowhere() -> String {
    format!("http://127.0.0.1:{}", free_port())
}

fn submits(world: &World, provider: &str) -> usize {
    world.stack.simulators.journal().submits(provider).len()
}

/// Provider, status and class of each attempt.
fn attempts(generation: &Value) -> Vec<(&str, &str, &str)> {
    let text = |value: &'_ Value| value.as_str().map_or("", |text| Box::leak(text.to_owned().into_boxed_str()));
    let attempts = generation["attempts"].as_array().expect("attempts");
    for attempt in attempts {
        let (model, provider) = (text(&attempt["model"]), text(&attempt["provider"]));
        assert!(model.starts_with(provider), "{attempt}");
    }
    let seen = |attempt: &Value| (text(&attempt["provider"]), text(&attempt["status"]), text(&attempt["error"]["class"]));
    attempts.iter().map(seen).collect()
}

fn time(value: &Value) -> Timestamp {
    value.as_str().expect("a time").parse().expect("RFC 3339")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_one_that_can_does_it() {
    let world = World::start().await;
    let id = world.create("image", "a fox").await;
    let done = world.ended(&id).await;
    assert_eq!((&done["status"], &done["model"]), (&"succeeded".into(), &"image".into()));
    assert_eq!(attempts(&done), [("replicate", "succeeded", "")]);
    assert_eq!((&done["cost"], &done["charged"]), (&5.into(), &5.into()));
    world.assert_charged(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_is_followed_by_the_next() {
    let failed = json!({"id": "p1", "status": "failed", "error": "out of memory"});
    for (status, body, class, asked) in [
        (201, failed, "provider_failed", 1),
        (401, json!({"detail": "unauthenticated"}), "provider_auth", 1),
        (402, json!({"detail": "insufficient credit"}), "provider_funds", 1),
        (429, json!({"detail": "slow down"}), "throttled", 2),
    ] {
        let stub = Stub::answering(status, body).await;
        let world = with_replicate_at(stub.url.clone()).await;
        let id = world.create("image", "a fox").await;
        let done = world.steps_until_ended(&id, STEP).await;
        assert_eq!(done["status"], "succeeded", "{done:#}");
        let mut expected = vec![("replicate", "failed", class); asked];
        expected.push(("stability", "succeeded", ""));
        // A key that pauses is not waited for when there is somebody else.
        let seen = attempts(&done);
        assert!(seen == expected || (class == "throttled" && seen == expected[1..]), "{seen:?}");
        assert_eq!(submits(&world, "stability"), 1);
        world.assert_charged(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_would_make_ends_it() {
    let moderated = json!({"id": "p1", "status": "failed", "error": "NSFW content detected"});
    for (status, body, class) in
        [(201, moderated, "moderated"), (422, json!({"detail": "the prompt is not valid"}), "rejected_input")]
    {
        let stub = Stub::answering(status, body).await;
        let world = with_replicate_at(stub.url.clone()).await;
        let id = world.create("image", "a fox").await;
        let done = world.ended(&id).await;
        assert_eq!((&done["status"], &done["error"]["class"]), (&"failed".into(), &class.into()));
        assert_eq!(attempts(&done), [("replicate", "failed", class)]);
        assert_eq!((stub.asked(), submits(&world, "stability")), (1, 0));
        world.assert_released(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_asked_while_the_first_may_have_taken_it() {
    let environment = vec![("UNCONFIRMED_SECONDS", "120".to_owned())];
    let world = World::with(Setting { environment, ..Setting::default() }).await;
    // Whoever is asked takes the job and does not say so; the placeholder is no provider and knows no such fault.
    let id = world.create("image", "a fox [[error_after]] [[callback_late=40m]]").await;
    let lost = world.phase(&id, "unconfirmed").await;
    let resolves_by = time(&lost["unconfirmed"]["resolves_by"]);
    world.pass(Duration::from_secs(60)).await;
    world.at_rest().await;
    assert_eq!((submits(&world, "replicate"), submits(&world, "stability")), (1, 0));
    let done = world.steps_until_ended(&id, STEP).await;
    assert_eq!((&done["status"], &done["charged"]), (&"succeeded".into(), &5.into()));
    let seen: Vec<&str> = attempts(&done).iter().map(|(provider, _, _)| *provider).collect();
    assert_eq!(seen, ["replicate", "stability", "placeholder"]);
    assert!(world.stack.simulators.journal().submits("stability")[0].at >= resolves_by);
    let (ledger, balance) = (world.ledger().await, world.balance().await);

    world.pass(Duration::from_secs(40 * 60)).await;
    let late = world.until(&id, |generation| generation["late_results"].as_array().is_some_and(|late| !late.is_empty())).await;
    assert_eq!((&late["status"], &late["charged"]), (&"succeeded".into(), &5.into()));
    world.download(&late["late_results"][0]["url"]).await;
    assert_eq!((world.ledger().await, world.balance().await), (ledger, balance));
    assert_eq!((submits(&world, "replicate"), submits(&world, "stability")), (1, 1));
    world.assert_charged(&id).await;
}

/// A Replicate that can be opened where nobody was, and holds its answers back until it is told.
struct Late {
    answers: Arc<Semaphore>,
    asked: Arc<AtomicUsize>,
    _server: JoinSet<()>,
}

impl Late {
    async fn open(port: u16, media: String) -> Self {
        let (answers, asked) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (gate, counter) = (Arc::clone(&answers), Arc::clone(&asked));
        let answer = post(async move || {
            counter.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.expect("it is open").forget();
            (StatusCode::CREATED, axum::Json(json!({"id": "p1", "status": "succeeded", "output": [media]})))
        });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await.expect("it serves") });
        Self { answers, asked, _server: server }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn media_server() -> (String, JoinSet<()>) {
    let photo = axum::routing::get(async || ([("content-type", "image/jpeg")], World::photo()));
    let (url, server) = serve(Router::new().route("/out.jpg", photo)).await;
    (format!("{url}/out.jpg"), server)
}

/// Orders until Replicate counts as out of order.
async fn wear_out(world: &World) {
    for _ in 0..3 {
        let id = world.create("image", "a fox").await;
        let done = world.steps_until_ended(&id, STEP).await;
        assert_eq!(done["status"], "succeeded", "{done:#}");
        if attempts(&done) == [("stability", "succeeded", "")] {
            return;
        }
    }
    panic!("Replicate is still asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_is_passed_over_until_one_probe_finds_it_back() {
    let port = free_port();
    let world = with_replicate_at(format!("http://127.0.0.1:{port}")).await;
    wear_out(&world).await;
    let (media, _media) = media_server().await;
    let replicate = Late::open(port, media).await;
    world.pass(Duration::from_secs(15 * 60)).await;
    let probe = world.create("image", "the probe").await;
    world.until(&probe, |generation| generation["phase"] == "submitting").await;
    let asked = async {
        while replicate.asked() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("the probe is sent");
    for _ in 0..3 {
        let id = world.create("image", "meanwhile").await;
        assert_eq!(attempts(&world.ended(&id).await), [("stability", "succeeded", "")]);
    }
    assert_eq!(replicate.asked(), 1, "one probe");
    replicate.answers.add_permits(100);
    assert_eq!(attempts(&world.ended(&probe).await), [("replicate", "succeeded", "")]);
    world.at_rest().await;
    for _ in 0..3 {
        let id = world.create("image", "afterwards").await;
        assert_eq!(attempts(&world.ended(&id).await), [("replicate", "succeeded", "")]);
    }
    let closings = world.audit().await;
    assert!(closings.values().all(|closing| closing.charged == closing.held));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_other_provider_waits_for_the_one_it_has() {
    let port = free_port();
    let world = with_replicate_at(format!("http://127.0.0.1:{port}")).await;
    wear_out(&world).await;
    let waiting = [world.create("flux-schnell", "one").await, world.create("flux-schnell", "two").await];
    world.at_rest().await;
    for id in &waiting {
        let generation = world.generation(id).await;
        assert_eq!((&generation["phase"], generation["attempts"].as_array().map(Vec::len)), (&"queued".into(), Some(0)));
    }
    let (media, _media) = media_server().await;
    let replicate = Late::open(port, media).await;
    replicate.answers.add_permits(100);
    for id in &waiting {
        let done = world.steps_until_ended(id, STEP).await;
        assert_eq!(attempts(&done), [("replicate", "succeeded", "")]);
        world.assert_charged(id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_without_a_key_is_passed_over() {
    // A list of keys with no key in it.
    let none = || ",".to_owned();
    let environment = vec![("REPLICATE_API_TOKEN", none()), ("STABILITY_API_KEY", none())];
    let world = World::with(Setting { environment: environment[..1].to_vec(), ..Setting::default() }).await;
    let id = world.create("image", "a fox").await;
    assert_eq!(attempts(&world.ended(&id).await), [("stability", "succeeded", "")]);
    let world = World::with(Setting { environment, ..Setting::default() }).await;
    let id = world.create("image", "a fox").await;
    let done = world.ended(&id).await;
    assert_eq!(attempts(&done), [("placeholder", "succeeded", "")]);
    assert_eq!(done["charged"], 5);
    world.assert_charged(&id).await;
    let single = world.create("flux-schnell", "a fox").await;
    let done = world.ended(&single).await;
    assert_eq!((&done["status"], &done["error"]["class"]), (&"failed".into(), &"provider_auth".into()));
    world.assert_released(&single).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_placeholder_at_the_end_always_works() {
    let environment = vec![
        ("REPLICATE_API_TOKEN", "any".to_owned()),
        ("REPLICATE_BASE_URL", nowhere()),
        ("STABILITY_API_KEY", "any".to_owned()),
        ("STABILITY_BASE_URL", nowhere()),
    ];
    let world = World::with(Setting { environment, ..Setting::default() }).await;
    for _ in 0..4 {
        let id = world.create("image", "a fox").await;
        let done = world.steps_until_ended(&id, STEP).await;
        assert_eq!(attempts(&done).last(), Some(&("placeholder", "succeeded", "")), "{done:#}");
        world.assert_charged(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_chain_goes_on_with_its_next_provider() {
    for (chain, key, url, first, second) in [
        ("text", "OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "openrouter", "gemini"),
        ("edit", "FAL_KEY", "FAL_BASE_URL", "fal", "openai"),
        ("video", "MINIMAX_API_KEY", "MINIMAX_BASE_URL", "minimax", "kie"),
    ] {
        for is_away in [false, true] {
            let environment = match is_away {
                true => vec![(key, "any".to_owned()), (url, nowhere())],
                false => Vec::new(),
            };
            let world = World::with(Setting { environment, ..Setting::default() }).await;
            let mut params = json!({"prompt": "a fox runs"});
            if chain == "edit" {
                let photo = world.upload("image/jpeg", World::photo()).await;
                params["images"] = json!([photo]);
            }
            let id = world.create_with(chain, params).await;
            let done = world.steps_until_ended(&id, STEP).await;
            let away = (first, "failed", "unavailable");
            let expected = if is_away { vec![away, away, (second, "succeeded", "")] } else { vec![(first, "succeeded", "")] };
            assert_eq!(attempts(&done), expected, "{done:#}");
            if chain == "text" {
                assert!(done["results"][0]["text"].is_string());
            }
            world.assert_charged(&id).await;
        }
    }
}
