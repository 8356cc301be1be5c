//! A provider's limits hold however much work there is: nothing fails because of them, nobody waits longer than is fair, and no slot is
//! lost with whoever held it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use local::simulators::Submit;
use serde_json::{Value, json};
use shared::admission::Admission;
use shared::clock::Clock;
use shared::lifecycle::Event;
use shared::pool::{KeyId, KeyLimits, PoolChange};
use shared::provider::provider_keys;
use tests::{Customer, Setting, World, free_port};

const MINUTE: Duration = Duration::from_secs(60);

fn limited(limits: &[(&'static str, u32)]) -> Setting {
    let environment = limits.iter().map(|(name, limit)| (*name, limit.to_string())).collect();
    Setting { environment, ..Setting::default() }
}

/// Asks for as small a picture as there is.
async fn order(customer: &Customer, prompt: &str) -> String {
    let size = json!({"width": 256, "height": 256});
    customer.create_with("flux-dev", json!({"prompt": prompt, "image_size": size})).await
}

async fn orders(customer: &Customer, prompt: &str, count: usize) -> Vec<String> {
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        let some = (count - ids.len()).min(10);
        ids.extend(join_all((0..some).map(|_| order(customer, prompt))).await);
    }
    ids
}

/// The same where time passes by hand alone, so that nobody is on the way while it does.
fn limited_and_stopped(limits: &[(&'static str, u32)]) -> Setting {
    Setting { clock: Some(Clock::stopped(Clock::system().now())), ..limited(limits) }
}

async fn questions(customer: &Customer, count: usize) -> Vec<String> {
    join_all((0..count).map(|_| customer.create("gemini-flash", "What does the fox say? [[delay=0ms]]"))).await
}

fn position(generation: &Value) -> Option<u64> {
    generation["queue_position"].as_u64().filter(|_| generation["phase"] == "queued")
}

async fn in_line(customer: &Customer, id: &str) -> u64 {
    position(&customer.until(id, |generation| position(generation).is_some()).await).expect("it waits")
}

async fn statuses(customer: &Customer) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for generation in customer.generations().await {
        *counts.entry(generation["status"].as_str().expect("a word").to_owned()).or_default() += 1;
    }
    counts
}

/// Waits until they have all succeeded; each has the usual patience. One by one: a whole list of results is dear to ask for.
async fn all_succeed(customer: &Customer, ids: &[String]) {
    for id in ids {
        let done = customer.ended(id).await;
        assert_eq!(done["status"], "succeeded", "{done:#}");
    }
}

/// Everybody has paid for everything, once.
async fn assert_all_charged(customer: &Customer, count: usize) {
    let closings = customer.audit().await;
    assert_eq!(closings.len(), count);
    assert!(closings.values().all(|closing| closing.charged == closing.held && closing.released == 0), "{closings:?}");
}

fn submits_of(world: &World, provider: &str) -> Vec<Submit> {
    world.stack.simulators.journal().submits(provider)
}

/// The keys of fal and who holds their slots.
async fn fal_slots(world: &World) -> Vec<String> {
    let backend = &world.stack.backend;
    let catalog = backend.catalog().await.expect("the catalog loads");
    let keys = provider_keys(backend, catalog.provider("fal").expect("it is there")).await.expect("its keys");
    let ids: Vec<KeyId> = keys.into_iter().map(|(id, _)| id).collect();
    let states = world.another_store().pool_states("fal", &ids).await.expect("the table answers");
    let now = backend.now();
    states.into_iter().flat_map(|(_, state)| state.leases).filter(|(_, end)| *end > now).map(|(holder, _)| holder).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_jobs_of_two_customers_pass_through_ten_slots_in_a_fair_order() {
    let world = World::with(limited(&[("FAL_CONCURRENCY", 10)])).await;
    let guest = world.customer(100).await;
    let plugs = orders(&world, "a fox [[delay=20m]]", 10).await;
    world.journal(|journal| journal.in_flight("fal") == 10).await;
    let crowd = orders(&world, "a fox [[delay=20ms]]", 180).await;
    world.at_rest().await;
    let ten = orders(&guest, "a crow [[delay=20ms]]", 10).await;
    world.at_rest().await;
    assert_eq!(world.another_store().line_length("fal").await.expect("counted"), 190);
    let mut last = 0;
    for id in &ten {
        last = last.max(in_line(&guest, id).await);
    }
    assert!(last < 25, "the guest's last one is at place {last}");
    assert!(in_line(&world, crowd.last().expect("many")).await > 50);

    world.later(20 * MINUTE);
    all_succeed(&guest, &ten).await;
    all_succeed(&world, &plugs).await;
    all_succeed(&world, &crowd).await;
    let submits = submits_of(&world, "fal");
    let is_of = |submit: &Submit, ids: &[String]| {
        submit.callback_url.as_ref().is_some_and(|url| ids.iter().any(|id| url.contains(id.as_str())))
    };
    assert!(submits.iter().take(10).all(|submit| is_of(submit, &plugs)));
    let last = submits.iter().rposition(|submit| is_of(submit, &ten)).expect("it was asked for");
    assert!(last < 45, "the guest's last one came as number {last}");
    assert_eq!(world.stack.simulators.journal().in_flight_peak("fal"), 10, "all slots are used, and no more");
    assert_eq!(submits.len(), 200, "each was bought once");
    assert_all_charged(&guest, 10).await;
    assert_all_charged(&world, 190).await;
    world.at_rest().await;
    assert_eq!(fal_slots(&world).await, [""; 0]);
    assert_eq!(world.another_store().line_length("fal").await.expect("counted"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_leaves_the_line_and_the_others_move_up() {
    let world = World::with(limited(&[("FAL_CONCURRENCY", 1)])).await;
    let guest = world.customer(100).await;
    let plug = order(&world, "a fox [[delay=20m]]").await;
    world.phase(&plug, "running").await;
    let mut line = Vec::new();
    for expected in 0..12 {
        let id = order(&world, "a fox [[delay=20ms]]").await;
        assert_eq!(in_line(&world, &id).await, expected);
        line.push(id);
    }
    // The last ones give up: that must not put others behind the places that they had.
    for id in line.split_off(3) {
        let reply = world.post(&format!("/v1/generations/{id}/cancel"), &json!({})).await;
        assert_eq!((reply.status, &reply.body["status"]), (200, &"canceled".into()));
    }
    let late = order(&guest, "a crow [[delay=20ms]]").await;
    assert!(in_line(&guest, &late).await <= 1, "behind those of one round only");
    let first = line.remove(0);
    world.post(&format!("/v1/generations/{first}/cancel"), &json!({})).await;
    assert!(position(&world.generation(&first).await).is_none());
    assert!(in_line(&guest, &late).await <= 1);
    assert!(in_line(&world, &line[1]).await <= 2);
    assert_eq!(world.another_store().line_length("fal").await.expect("counted"), 3);
    world.assert_released(&first).await;

    world.later(20 * MINUTE);
    all_succeed(&guest, &[late]).await;
    for id in line.iter().chain([&plug]) {
        assert_eq!(world.ended(id).await["status"], "succeeded");
        world.assert_charged(id).await;
    }
    world.at_rest().await;
    assert_eq!(fal_slots(&world).await, [""; 0]);
    assert_eq!(submits_of(&world, "fal").len(), 4);
}

/// Worlds that follow each other on one folder, port and clock.
struct Series {
    _folder: tempfile::TempDir,
    setting: Setting,
}

impl Series {
    fn new(limit: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let setting = Setting {
            data: Some(folder.path().to_owned()),
            clock: Some(Clock::system()),
            port: free_port(),
            ..limited(&[("FAL_CONCURRENCY", limit), ("UNCONFIRMED_SECONDS", 3600)])
        };
        Self { _folder: folder, setting }
    }

    async fn idle(&self) -> World {
        let environment = [self.setting.environment.clone(), Setting::idle().environment].concat();
        World::with(Setting { environment, ..self.setting.clone() }).await
    }

    async fn busy(&self) -> World {
        World::with(self.setting.clone()).await
    }
}

/// Claims a generation as a worker does that dies before it sends anything.
async fn claim_and_die(world: &World, id: &str) {
    let backend = &world.stack.backend;
    let generation = backend.load(id.parse().expect("an id")).await.expect("it is there");
    let Admission::Claim { key, holds_slot, changes } = backend.admit(&generation).await.expect("the table answers") else {
        panic!("there is room")
    };
    assert!(holds_slot);
    let applied = backend.apply_with(generation, &Event::Claim { key, holds_slot }, &changes).await.expect("the table answers");
    assert!(applied.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slots_of_dead_workers_come_back_by_themselves() {
    let series = Series::new(2);
    let world = series.idle().await;
    let dead = orders(&world, "a fox [[delay=20ms]]", 2).await;
    for id in &dead {
        claim_and_die(&world, id).await;
    }
    drop(world);
    let world = series.busy().await;
    let waiting = orders(&world, "a crow [[delay=20ms]]", 5).await;
    for id in &waiting {
        in_line(&world, id).await;
    }
    let died_at = world.stack.clock.now();
    for _ in 0..4 {
        world.pass(MINUTE).await;
    }
    for id in &waiting {
        let done = world.ended(id).await;
        assert_eq!(done["status"], "succeeded", "{done:#}");
        let finished: Timestamp = done["finished_at"].as_str().expect("a time").parse().expect("RFC 3339");
        assert!(finished.duration_since(died_at) < SignedDuration::from_mins(5), "{done:#}");
    }
    for id in &dead {
        assert_eq!(world.generation(id).await["unconfirmed"]["reason"], "worker_lost");
    }
    for id in &dead {
        assert_eq!(world.minutes_until_ended(id).await["status"], "failed");
        world.assert_released(id).await;
    }
    world.at_rest().await;
    assert_eq!((submits_of(&world, "fal").len(), fal_slots(&world).await), (5, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_waited_for_hours_goes_on_within_minutes_though_nobody_sends_for_it() {
    let world = World::with(limited(&[("FAL_CONCURRENCY", 1)])).await;
    let backend = &world.stack.backend;
    let catalog = backend.catalog().await.expect("the catalog loads");
    let keys = provider_keys(backend, catalog.provider("fal").expect("it is there")).await.expect("its keys");
    let (key, now) = (keys[0].0.clone(), backend.now());
    // A holder of whom nobody knows anything, so that nobody sends for the next one when its lease is over.
    let until = now + SignedDuration::from_hours(3);
    let state = backend.store.pool_states("fal", std::slice::from_ref(&key)).await.expect("read").remove(0).1;
    let limits = KeyLimits { concurrency: Some(1), per_minute: None, per_day: None };
    let taken = Box::new(state.take("ghost", &limits, until, now).expect("free"));
    assert!(backend.store.change_pool(&[PoolChange::Take { provider: "fal".to_owned(), key, taken }]).await.expect("written"));
    let id = order(&world, "a fox [[delay=20ms]]").await;
    assert_eq!(in_line(&world, &id).await, 0);
    for _ in 0..12 {
        world.pass(15 * MINUTE).await;
    }
    let done = world.minutes_until_ended(&id).await;
    assert_eq!(done["status"], "succeeded");
    let waited = world.stack.clock.now().duration_since(until);
    assert!(waited < SignedDuration::from_mins(20), "{waited:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_outlives_the_process() {
    let series = Series::new(2);
    let world = series.busy().await;
    let plugs = orders(&world, "a fox [[delay=20m]]", 2).await;
    world.journal(|journal| journal.in_flight("fal") == 2).await;
    let waiting = orders(&world, "a fox [[delay=20ms]]", 20).await;
    for id in &waiting {
        in_line(&world, id).await;
    }
    drop(world);
    let world = series.busy().await;
    let mut before = world.another_store().line_length("fal").await.expect("counted");
    assert_eq!(before, 20);
    for id in plugs.iter().chain(&waiting) {
        let done = world.steps_until_ended(id, MINUTE).await;
        assert_eq!(done["status"], "succeeded", "{done:#}");
        let length = world.another_store().line_length("fal").await.expect("counted");
        assert!(length <= before);
        before = length;
    }
    assert!(world.stack.simulators.journal().in_flight_peak("fal") <= 2);
    assert_all_charged(&world, 22).await;
    world.at_rest().await;
    assert_eq!(fal_slots(&world).await, [""; 0]);
}

/// No more than `limit` submits within any `span`, as the provider sees it.
fn assert_spaced(submits: &[Submit], limit: usize, span: SignedDuration) {
    for (first, next) in submits.iter().zip(submits.iter().skip(limit)) {
        let apart = next.at.duration_since(first.at);
        assert!(apart >= span, "{limit} and one more within {apart:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_a_minute_are_two_in_any_minute() {
    let world = World::with(limited_and_stopped(&[("GEMINI_PER_MINUTE", 2)])).await;
    let ids = questions(&world, 10).await;
    let started = world.stack.clock.now();
    for _ in 0..40 {
        if statuses(&world).await.get("succeeded") == Some(&10) {
            break;
        }
        world.pass(Duration::from_secs(20)).await;
    }
    for id in &ids {
        let done = world.generation(id).await;
        assert_eq!((&done["status"], done["attempts"].as_array().map(Vec::len)), (&"succeeded".into(), Some(1)), "{done:#}");
    }
    let submits = submits_of(&world, "gemini");
    assert_eq!((submits.len(), submits.iter().filter(|submit| submit.status == 200).count()), (10, 10));
    assert_spaced(&submits, 2, SignedDuration::from_mins(1));
    let took = submits.last().expect("ten").at.duration_since(started);
    assert!(took < SignedDuration::from_mins(8), "{took:#}");
    assert_all_charged(&world, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_for_today_is_done_tomorrow() {
    let world = World::with(limited_and_stopped(&[("GEMINI_PER_DAY", 2)])).await;
    let ids = questions(&world, 4).await;
    world.journal(|journal| journal.submits("gemini").len() == 2).await;
    for _ in 0..30 {
        if statuses(&world).await.get("succeeded") == Some(&4) {
            break;
        }
        world.pass(60 * MINUTE).await;
    }
    for id in &ids {
        assert_eq!(world.generation(id).await["status"], "succeeded");
        world.assert_charged(id).await;
    }
    let submits = submits_of(&world, "gemini");
    assert_eq!(submits.len(), 4);
    assert_spaced(&submits, 2, SignedDuration::from_hours(24));
}
