//! A provider's keys are shared by all processes: never more jobs on a key than it has slots, no slot is lost, and who waits is served in
//! a fair order.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use shared::ids::{AccountId, GenerationId};
use shared::pool::{Busy, BusyWhy, JoinPlan, KeyId, KeyLimits, KeyState, PoolChange, Sign, Taken, Waiting, choose};
use shared::store::Store;
use tests::{PATIENCE, Setting, World};
use tokio::sync::Notify;

const PROVIDER: &str = "fal";
const UNLIMITED: KeyLimits = KeyLimits { concurrency: None, per_minute: None, per_day: None };

fn slots(concurrency: u32) -> KeyLimits {
    KeyLimits { concurrency: Some(concurrency), ..UNLIMITED }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("in range")
}

fn key(name: &str) -> KeyId {
    KeyId::of(name)
}

fn generation(number: u64) -> GenerationId {
    GenerationId::from_parts(1_790_000_000_000 + number, [7; 10])
}

fn account(number: u8) -> AccountId {
    AccountId::from_parts(1, [number; 10])
}

/// Two processes, each with a client of its own.
async fn two_stores() -> (World, [Store; 2]) {
    let world = World::with(Setting::idle()).await;
    let stores = [world.stack.backend.store.clone(), world.another_store()];
    (world, stores)
}

async fn state(store: &Store, key: &KeyId) -> KeyState {
    let states = store.pool_states(PROVIDER, std::slice::from_ref(key)).await.expect("the table answers");
    states.into_iter().next().expect("as many as asked").1
}

async fn change(store: &Store, changes: &[PoolChange]) -> bool {
    store.change_pool(changes).await.expect("the table answers")
}

fn take(key: &KeyId, taken: Taken) -> PoolChange {
    PoolChange::Take { provider: PROVIDER.to_owned(), key: key.clone(), taken: Box::new(taken) }
}

fn release(key: &KeyId, holder: &str) -> PoolChange {
    PoolChange::Release { provider: PROVIDER.to_owned(), key: key.clone(), holder: holder.to_owned() }
}

fn renew(key: &KeyId, holder: &str, until: i64) -> PoolChange {
    PoolChange::Renew { provider: PROVIDER.to_owned(), key: key.clone(), holder: holder.to_owned(), until: at(until) }
}

/// Looks, chooses and writes until it has a place or there is none.
async fn acquire(store: &Store, keys: &[KeyId], limits: &KeyLimits, holder: &str, now: i64) -> Result<KeyId, Busy> {
    loop {
        let states = store.pool_states(PROVIDER, keys).await.expect("the table answers");
        let (key, taken) = choose(&states, limits, holder, at(now + 60), at(now))?;
        if change(store, &[take(&key, taken)]).await {
            return Ok(key);
        }
    }
}

fn holders(state: &KeyState) -> Vec<&str> {
    state.leases.keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_takers_in_two_processes_share_ten_slots() {
    let (_world, stores) = two_stores().await;
    let (keys, limits) = ([key("one"), key("two")], slots(5));
    let (working, most, freed) = (AtomicUsize::new(0), AtomicUsize::new(0), Notify::new());
    let work = async |number: usize| {
        let (store, holder) = (&stores[number % 2], generation(number as u64).to_string());
        let key = loop {
            match acquire(store, &keys, &limits, &holder, 0).await {
                Ok(key) => break key,
                Err(busy) => assert_eq!(busy, Busy { free_at: at(60), why: BusyWhy::Slots }),
            }
            freed.notified().await;
        };
        most.fetch_max(working.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let seen = state(store, &key).await;
        assert!(seen.leases.len() <= 5 && seen.leases.contains_key(&holder), "{:?}", seen.leases);
        working.fetch_sub(1, Ordering::SeqCst);
        assert!(change(store, &[release(&key, &holder)]).await);
        freed.notify_one();
    };
    tokio::time::timeout(5 * PATIENCE, join_all((0..200).map(work))).await.expect("all get through");
    assert!(most.load(Ordering::SeqCst) <= 10, "{most:?} at once");
    for (_, state) in stores[0].pool_states(PROVIDER, &keys).await.expect("the table answers") {
        assert_eq!(holders(&state), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_take_decided_on_an_old_look_is_refused() {
    let (_world, [one, two]) = two_stores().await;
    let key = key("one");
    let look = state(&one, &key).await;
    let decide = |holder| look.take(holder, &slots(1), at(60), at(0)).expect("it looked free");
    assert!(change(&one, &[take(&key, decide("a"))]).await);
    assert!(!change(&two, &[take(&key, decide("b"))]).await);
    assert_eq!(acquire(&two, std::slice::from_ref(&key), &slots(1), "b", 1).await.expect_err("full").free_at, at(60));
    // The same again is no second lease.
    assert_eq!(acquire(&two, std::slice::from_ref(&key), &slots(1), "a", 1).await, Ok(key.clone()));
    assert_eq!(state(&one, &key).await.leases, [("a".to_owned(), at(61))].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_given_back_can_be_taken_and_stays_given_back() {
    let (_world, [one, two]) = two_stores().await;
    let (key, limits) = (key("one"), slots(2));
    let keys = std::slice::from_ref(&key);
    acquire(&one, keys, &limits, "a", 0).await.expect("free");
    let look = state(&two, &key).await;
    let decided = look.take("b", &limits, at(60), at(0)).expect("free");
    // Given back between the look and the write: the write goes through, and brings nothing back.
    assert!(change(&one, &[release(&key, "a")]).await);
    assert!(change(&two, &[take(&key, decided)]).await);
    assert_eq!(holders(&state(&one, &key).await), ["b"]);
    acquire(&one, keys, &limits, "c", 0).await.expect("free again");
    assert!(acquire(&two, keys, &limits, "d", 0).await.is_err());
    assert!(change(&two, &[release(&key, "c")]).await);
    assert_eq!(acquire(&two, keys, &limits, "d", 0).await, Ok(key.clone()));
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_and_returns_at_the_same_moment_do_not_undo_each_other() {
    let (_world, stores) = two_stores().await;
    let (keys, limits) = ([key("one")], slots(100));
    let old: Vec<String> = (0..20).map(|i| format!("old {i}")).collect();
    let new: Vec<String> = (0..20).map(|i| format!("new {i:02}")).collect();
    for holder in &old {
        acquire(&stores[0], &keys, &limits, holder, 0).await.expect("free");
    }
    let takes = join_all(new.iter().map(|holder| acquire(&stores[0], &keys, &limits, holder, 0)));
    let returns = join_all(old.iter().map(async |holder| change(&stores[1], &[release(&keys[0], holder)]).await));
    let (taken, returned) = tokio::join!(takes, returns);
    assert!(taken.iter().all(Result::is_ok) && returned.iter().all(|done| *done));
    assert_eq!(holders(&state(&stores[0], &keys[0]).await), new);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slot_of_a_dead_worker_comes_back_with_its_lease() {
    let (_world, [one, two]) = two_stores().await;
    let key = key("one");
    let keys = std::slice::from_ref(&key);
    acquire(&one, keys, &slots(1), "dead", 0).await.expect("free");
    assert_eq!(acquire(&two, keys, &slots(1), "b", 59).await, Err(Busy { free_at: at(60), why: BusyWhy::Slots }));
    acquire(&two, keys, &slots(1), "b", 60).await.expect("the lease is over");
    assert_eq!(holders(&state(&one, &key).await), ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_renewed_in_the_last_moment_is_not_evicted() {
    let (_world, [one, two]) = two_stores().await;
    let key = key("one");
    let keys = std::slice::from_ref(&key);
    acquire(&one, keys, &slots(1), "slow", 0).await.expect("free");
    let decided = state(&two, &key).await.take("b", &slots(1), at(120), at(60)).expect("the lease is over");
    assert!(change(&one, &[renew(&key, "slow", 200)]).await);
    assert!(!change(&two, &[take(&key, decided)]).await);
    assert_eq!(acquire(&two, keys, &slots(1), "b", 60).await, Err(Busy { free_at: at(200), why: BusyWhy::Slots }));
}

#[tokio::test(flavor = "multi_thread")]
async fn giving_back_and_renewing_what_is_gone_is_no_error() {
    let (_world, [one, _]) = two_stores().await;
    let (never, once) = (key("never used"), key("used once"));
    assert!(change(&one, &[release(&never, "a"), release(&once, "a")]).await);
    assert!(change(&one, &[renew(&once, "late", 60)]).await);
    let decided = state(&one, &once).await;
    assert_eq!((decided.version, holders(&decided)), (0, vec!["late"]));
    // Such an item is as good as a new one.
    for key in [never, once] {
        acquire(&one, std::slice::from_ref(&key), &slots(2), "b", 0).await.expect("free");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_take_that_is_refused_leaves_the_rest_of_its_transaction_unwritten() {
    let (_world, [one, two]) = two_stores().await;
    let (busy, free) = (key("busy"), key("free"));
    let stale = state(&one, &busy).await.take("b", &slots(1), at(60), at(0)).expect("it looked free");
    acquire(&two, std::slice::from_ref(&busy), &slots(1), "a", 0).await.expect("free");
    let other = state(&one, &free).await.take("b", &slots(1), at(60), at(0)).expect("free");
    assert!(!change(&one, &[take(&busy, stale), take(&free, other)]).await);
    assert_eq!(state(&one, &free).await, KeyState::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_submits_of_a_minute() {
    let (_world, stores) = two_stores().await;
    let limits = KeyLimits { per_minute: Some(7), ..UNLIMITED };
    let keys = [key("one")];
    let names: Vec<String> = (0..30).map(|i| i.to_string()).collect();
    let takers = names.iter().enumerate().map(|(i, name)| acquire(&stores[i % 2], &keys, &limits, name, 0));
    let outcomes = join_all(takers).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 7);
    let busy = Busy { free_at: at(61), why: BusyWhy::Minute };
    assert!(outcomes.iter().all(|outcome| outcome.is_ok() || *outcome == Err(busy)), "{outcomes:?}");
    acquire(&stores[0], &keys, &limits, "later", 61).await.expect("a new minute");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_limits_and_in_good_health_costs_no_write() {
    let (world, [one, _]) = two_stores().await;
    let key = key("one");
    acquire(&one, std::slice::from_ref(&key), &UNLIMITED, "a", 0).await.expect("free");
    assert_eq!(one.note_sign(PROVIDER, &key, Sign::Reachable, at(1)).await.expect("noted"), KeyState::default());
    let counts = world.wire.counts();
    assert_eq!((counts.get("UpdateItem"), counts.get("DeleteItem")), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_remembered_once_and_ended_by_one_probe() {
    let (_world, stores) = two_stores().await;
    let keys = [key("one")];
    let note = |i: usize, sign, now| stores[i % 2].note_sign(PROVIDER, &keys[0], sign, at(now));
    // Twenty jobs meet the outage at once: it opens once, for the first time.
    let misses = join_all((0..20).map(|i| note(i, Sign::Unavailable, 0))).await;
    assert!(misses.iter().all(Result::is_ok));
    let open = state(&stores[0], &keys[0]).await;
    assert_eq!((open.misses, open.open_until), (3, Some(at(30))));
    let names: Vec<String> = (0..20).map(|i| i.to_string()).collect();
    let all_try = async |now| {
        let takers = names.iter().enumerate().map(|(i, name)| acquire(&stores[i % 2], &keys, &UNLIMITED, name, now));
        join_all(takers).await.into_iter().filter(Result::is_ok).count()
    };
    assert_eq!(all_try(29).await, 0);
    assert_eq!(all_try(30).await, 1);
    assert_eq!(note(0, Sign::Unavailable, 31).await.expect("noted").open_until, Some(at(91)));
    assert_eq!(all_try(91).await, 1);
    note(1, Sign::Reachable, 92).await.expect("noted");
    assert_eq!(all_try(92).await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_key_is_passed_over_by_every_process() {
    let (_world, [one, two]) = two_stores().await;
    let keys = [key("one"), key("two")];
    let sign = Sign::Throttled { retry_after: Some(SignedDuration::from_secs(20)) };
    one.note_sign(PROVIDER, &keys[0], sign, at(0)).await.expect("noted");
    for i in 0..10 {
        assert_eq!(acquire(&two, &keys, &UNLIMITED, &i.to_string(), 1).await, Ok(keys[1].clone()));
    }
    one.note_sign(PROVIDER, &keys[1], Sign::Refused, at(1)).await.expect("noted");
    assert_eq!(acquire(&two, &keys, &UNLIMITED, "a", 2).await, Err(Busy { free_at: at(20), why: BusyWhy::Paused }));
    assert_eq!(acquire(&two, &keys, &UNLIMITED, "a", 20).await, Ok(keys[0].clone()));
}

async fn plan(store: &Store, account: AccountId, number: u64) -> JoinPlan {
    store.join_place(PROVIDER, account, generation(number), at(0)).await.expect("the table answers")
}

async fn join(store: &Store, account: AccountId, number: u64) -> Waiting {
    let plan = plan(store, account, number).await;
    let waiting = plan.waiting.clone();
    assert!(change(store, &[PoolChange::Join(plan)]).await);
    waiting
}

/// Serves the first so many; whose they were.
async fn serve(store: &Store, count: usize) -> Vec<AccountId> {
    let mut served = Vec::new();
    for _ in 0..count {
        let heads = store.line_heads(PROVIDER, 1).await.expect("the table answers");
        let Some(head) = heads.into_iter().next() else { break };
        let waiting = Waiting { provider: PROVIDER.to_owned(), account: head.account, place: head.place };
        assert!(change(store, &[PoolChange::Leave { waiting: waiting.clone() }]).await);
        store.note_served(&waiting).await.expect("the table answers");
        served.push(head.account);
    }
    served
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_jobs_of_one_account_do_not_wait_for_hundreds_of_another() {
    let (_world, stores) = two_stores().await;
    let (crowd, guest) = (account(1), account(2));
    join_all((0..190).map(|i| join(&stores[i % 2], crowd, i as u64))).await;
    // Some of the crowd are served before the other account comes.
    assert_eq!(serve(&stores[0], 40).await, [crowd; 40]);
    join_all((200..210).map(|i| join(&stores[i % 2], guest, i as u64))).await;
    assert_eq!(stores[1].line_length(PROVIDER).await.expect("counted"), 160);
    let next = serve(&stores[1], 21).await;
    assert_eq!(next.iter().filter(|account| **account == guest).count(), 10, "{next:?}");
    assert!(next.chunks(2).take(10).all(|pair| pair.contains(&guest) && pair.contains(&crowd)), "{next:?}");
    // Who used the pool while it was free is not made to wait for it later.
    assert_eq!(serve(&stores[0], 1000).await.len(), 139);
    let again = [join(&stores[0], guest, 300).await, join(&stores[0], crowd, 301).await, join(&stores[0], account(3), 302).await];
    assert!(again.iter().all(|waiting| waiting.round() == 191), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_place_knows_how_many_are_before_it() {
    let (_world, [one, two]) = two_stores().await;
    let mut line = Vec::new();
    for number in 0..5 {
        line.push(join(&one, account(1), number).await);
    }
    line.insert(1, join(&two, account(2), 9).await);
    for (before, waiting) in line.iter().enumerate() {
        assert_eq!(two.line_position(waiting).await.expect("counted") as usize, before);
    }
    let places: Vec<String> = two.line_heads(PROVIDER, 3).await.expect("read").into_iter().map(|head| head.place).collect();
    assert_eq!(places, line.iter().take(3).map(|waiting| waiting.place.clone()).collect::<Vec<_>>());
    assert!(change(&one, &[PoolChange::Leave { waiting: line.remove(2) }]).await);
    let last = line.last().expect("somebody waits");
    assert_eq!((two.line_position(last).await.expect("counted"), two.line_length(PROVIDER).await.expect("counted")), (4, 5));
    assert_eq!(two.line_length("replicate").await.expect("counted"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_twice_keeps_the_first_place() {
    let (_world, [one, two]) = two_stores().await;
    let first = join(&one, account(1), 1).await;
    join(&one, account(1), 2).await;
    assert_eq!(join(&two, account(1), 1).await, first);
    // Two workers with the same message at the same moment.
    let (early, late) = (plan(&one, account(1), 3).await, plan(&two, account(1), 3).await);
    assert_ne!(early.waiting, late.waiting);
    assert!(change(&two, &[PoolChange::Join(early.clone())]).await);
    assert!(!change(&one, &[PoolChange::Join(late)]).await);
    assert_eq!(join(&one, account(1), 3).await, early.waiting);
    assert_eq!(one.line_length(PROVIDER).await.expect("counted"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_twice_is_no_error_and_one_may_join_again() {
    let (_world, [one, two]) = two_stores().await;
    let first = join(&one, account(1), 1).await;
    for store in [&one, &two] {
        assert!(change(store, &[PoolChange::Leave { waiting: first.clone() }]).await);
    }
    assert_eq!(one.line_length(PROVIDER).await.expect("counted"), 0);
    assert!(join(&one, account(1), 1).await.round() > first.round());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_never_goes_back() {
    let (_world, [one, two]) = two_stores().await;
    let waiting = |round| Waiting::new(PROVIDER, account(1), round, generation(round));
    one.note_served(&waiting(50)).await.expect("noted");
    two.note_served(&waiting(20)).await.expect("noted");
    assert_eq!(plan(&one, account(2), 1).await.waiting.round(), 51);
}
