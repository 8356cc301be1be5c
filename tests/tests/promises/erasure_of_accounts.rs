//! All content of an account erased on request, by the poll alone, whatever state it is in and whatever fails meanwhile.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::ids::AssetId;
use shared::keys::Scope;
use tests::{Customer, Fault, PATIENCE, Setting, World, free_port, with_each_call_cut};

use crate::erasure::{SECRET, assert_nothing_left, key_with, upload};

const CONTENT: &str = "/v1/account/content";

/// Lets minute after minute pass until the erasure has ended; how it ended.
async fn minutes_until_erased(world: &World, customer: &Customer) -> Value {
    for _ in 0..600 {
        let reply = customer.get(CONTENT).await;
        if reply.body["finished_at"].is_string() {
            return reply.body;
        }
        world.minute().await;
    }
    panic!("ten hours passed in vain; it is {:#}", customer.get(CONTENT).await.body);
}

fn fox(more: &str) -> String {
    format!("a fox in {SECRET} {more}")
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_whatever_state_it_is_in() {
    let world = World::start().await;
    let other = world.customer(100).await;
    let others = other.create_with("placeholder", json!({"prompt": "theirs", "width": 64, "height": 64})).await;
    other.ended(&others).await;
    let kept = world.whole_bucket().await;
    upload(&world).await;
    let pending = json!({"content_type": "image/png", "bytes": 7, "filename": format!("{SECRET}.png")});
    assert_eq!(world.post("/v1/uploads", &pending).await.status, 201);
    let done = world.create("gemini-flash", &fox("")).await;
    let failed = world.create("placeholder", &fox("[[fail]]")).await;
    for id in [&done, &failed] {
        world.ended(id).await;
    }
    let running = world.create("flux-schnell", &fox("[[delay=1380m]]")).await;
    let unconfirmed = world.create("flux-dev", &fox("[[error_after]] [[no_callback]]")).await;
    world.phase(&running, "running").await;
    world.phase(&unconfirmed, "unconfirmed").await;
    let early = world.create("placeholder", &fox("[[delay=10m]]")).await;
    let own_box = world.make_box(&fox("box")).await;
    let boxed = json!({"content_type": "image/jpeg", "filename": format!("{SECRET}.jpg"), "box_id": own_box});
    world.upload_with(boxed, World::photo()).await;

    // The table has forgotten its upload, and the bucket has not yet.
    let lost = format!("media/{}/{}-0.jpg", world.account, AssetId::from_parts(1, [7; 10]));
    world.stack.backend.bucket.put(&lost, World::photo(), "image/jpeg").await.expect("stored");

    assert_eq!(world.get(CONTENT).await.status, 404, "nobody has asked for it");
    let asked = world.delete(CONTENT).await;
    assert_eq!(asked.status, 202, "{:?}", asked.body);
    let ended = minutes_until_erased(&world, &world).await;
    assert_eq!((&ended["requested_at"], &ended["generations"]), (&asked.body["requested_at"], &json!(5)), "{ended}");
    assert_eq!(ended["assets"], 4, "three uploads and a result: {ended}");
    assert_eq!(world.get(&format!("/v1/boxes/{own_box}")).await.status, 404);
    assert!(!world.whole_table().await.contains(SECRET));
    assert_eq!(world.whole_bucket().await, kept, "what another account has stays");
    for id in [done, failed, running, unconfirmed, early] {
        let seen = world.generation(&id).await;
        assert!(seen["erased_at"].is_string() && seen["finished_at"].is_string(), "{seen:#}");
    }
    world.audit().await;
    assert!(other.generation(&others).await["erased_at"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_page_is_erased_page_after_page() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for number in 0..45 {
        ids.push(world.create_with("placeholder", json!({"prompt": fox(&number.to_string()), "width": 64, "height": 64})).await);
    }
    for id in &ids {
        world.ended(id).await;
    }
    let before = (world.ledger().await, world.balance().await);
    for _ in 0..3 {
        assert_eq!(world.delete(CONTENT).await.status, 202);
    }
    let ended = minutes_until_erased(&world, &world).await;
    assert_eq!((&ended["generations"], &ended["assets"]), (&json!(45), &json!(45)));
    assert_nothing_left(&world, &[SECRET, "results/"]).await;
    assert_eq!((world.ledger().await, world.balance().await), before);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_the_request_stays_until_the_next_one() {
    let world = World::start().await;
    let drawing = |prompt: &str| json!({"prompt": prompt, "width": 64, "height": 64});
    let early = world.create_with("placeholder", drawing("early")).await;
    world.ended(&early).await;
    let slow = world.create("flux-dev", &fox("[[error_after]] [[no_callback]]")).await;
    world.phase(&slow, "unconfirmed").await;
    let first = world.delete(CONTENT).await.body;
    world.later(Duration::from_millis(5));
    let late = world.create_with("placeholder", drawing("came later")).await;
    world.ended(&late).await;
    world.until(&early, |generation| generation["erased_at"].is_string()).await;
    assert_eq!(world.generation(&late).await["params"]["prompt"], "came later");
    // While the first one still waits, a second one takes in what has come since.
    world.later(Duration::from_millis(5));
    let second = world.delete(CONTENT).await.body;
    assert_ne!(first["requested_at"], second["requested_at"]);
    let ended = minutes_until_erased(&world, &world).await;
    assert_eq!((&ended["requested_at"], &ended["generations"]), (&second["requested_at"], &json!(3)));
    assert_nothing_left(&world, &[SECRET, "came later", "results/"]).await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_erase_for_others_and_it_is_written_down() {
    let world = World::start().await;
    let customer = world.customer(100).await;
    upload(&customer).await;
    let id = customer.create_with("placeholder", json!({"prompt": fox(""), "width": 64, "height": 64})).await;
    customer.ended(&id).await;
    let path = format!("/v1/admin/accounts/{}/content", customer.account);
    assert_eq!(customer.delete(&path).await.status, 403);
    let own = key_with(&world, &customer, vec![Scope::User, Scope::Read]).await;
    assert_eq!(world.send(world.request_as(&own, Method::DELETE, &path)).await.status, 403);
    for unknown in ["/v1/admin/accounts/42/content", "/v1/admin/accounts/acct_00000000000070008000000000000000/content"] {
        let reply = world.delete(unknown).await;
        assert_eq!((reply.status, &reply.body["code"]), (404, &json!("not_found")));
    }
    assert_eq!(world.delete(&path).await.status, 202);
    minutes_until_erased(&world, &customer).await;
    assert_nothing_left(&world, &[SECRET, "results/", "uploads/"]).await;
    let actions = world.stack.backend.store.actions(customer.account, None, 100).await.expect("the table answers");
    let actions = actions.expect("no cursor was given").items;
    let erased: Vec<_> = actions.iter().filter(|action| action.what == "erase_content").collect();
    assert!(erased.len() == 1 && erased[0].by.is_some() && erased[0].about == customer.account.to_string(), "{actions:?}");
    customer.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_does_not_keep_what_is_to_be_erased() {
    let folder = tempfile::tempdir().expect("a folder");
    let setting =
        Setting { data: Some(folder.path().to_owned()), clock: Some(Clock::system()), port: free_port(), ..Setting::default() };
    let world = World::with(setting.clone()).await;
    upload(&world).await;
    let done = world.create_with("placeholder", json!({"prompt": fox(""), "width": 64, "height": 64})).await;
    world.ended(&done).await;
    let running = world.create("flux-schnell", &fox("[[delay=5m]]")).await;
    world.phase(&running, "running").await;
    assert_eq!(world.delete(CONTENT).await.status, 202);
    drop(world);
    let world = World::with(setting).await;
    let ended = minutes_until_erased(&world, &world).await;
    assert_eq!((&ended["generations"], &ended["assets"]), (&json!(2), &json!(2)), "an upload and a result");
    assert_nothing_left(&world, &[SECRET, "results/", "uploads/"]).await;
    world.audit().await;
}

/// One account with a result and an upload, all of which is to be erased while one call to the table is cut. How many calls were made, and
/// whether the one that was to be cut came.
async fn erase_all(world: &World, cut: Option<(u32, Fault)>) -> (u32, bool) {
    let customer = world.customer(100).await;
    upload(&customer).await;
    let id = customer.create_with("placeholder", json!({"prompt": fox(""), "width": 64, "height": 64})).await;
    customer.ended(&id).await;
    // What the last one left lying about comes back after its visibility time-out.
    world.pass_with_tick(Duration::from_secs(3_700)).await;
    world.at_rest().await;
    let before = (customer.ledger().await, customer.balance().await);
    let wire = &world.wire;
    wire.reset();
    if let Some((nth, fault)) = cut {
        wire.cut(nth, fault);
    }
    let started = Instant::now();
    while customer.delete(CONTENT).await.status != 202 {
        assert!(started.elapsed() < PATIENCE, "{cut:?}: never accepted");
    }
    // Looked at past the wire that is cut, so that looking on changes nothing.
    let eye = world.another_store();
    let (mut looked_since, mut minutes) = (Instant::now(), 0);
    loop {
        let erasure = eye.erasure(customer.account).await.expect("the table answers").expect("it was asked for");
        if erasure.finished_at().is_some() {
            assert_eq!((erasure.generations, erasure.assets), (1, 2), "{cut:?}");
            break;
        }
        assert!(looked_since.elapsed() < PATIENCE && minutes < 600, "{cut:?}: never ends, {erasure:?}");
        if cut.is_some() && !wire.is_waiting() {
            world.minute().await;
            (looked_since, minutes) = (Instant::now(), minutes + 1);
        } else {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let seen = (wire.seen(), cut.is_some() && !wire.is_waiting());
    assert_nothing_left(world, &[SECRET, "results/", "uploads/"]).await;
    assert_eq!((customer.ledger().await, customer.balance().await), before, "{cut:?}");
    customer.audit().await;
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_survives_the_loss_of_any_call_to_the_table() {
    let world = World::start().await;
    world.first_tick().await;
    world.at_rest().await;
    let (calls, _) = erase_all(&world, None).await;
    assert!(calls >= 10, "a whole erasure takes {calls} calls");
    with_each_call_cut(calls, 4, async |nth, fault| erase_all(&world, Some((nth, fault))).await.1).await;
}
