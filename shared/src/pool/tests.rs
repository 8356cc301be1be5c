use jiff::SignedDuration;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::ids::{AccountId, GenerationId};

const UNLIMITED: KeyLimits = KeyLimits { concurrency: None, per_minute: None, per_day: None };

fn at(second: i64) -> Timestamp {
    millisecond(second * 1000)
}

fn millisecond(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_790_000_000_000 + ms).expect("in range")
}

fn slots(concurrency: u32) -> KeyLimits {
    KeyLimits { concurrency: Some(concurrency), ..UNLIMITED }
}

fn taken(state: &KeyState, holder: &str, limits: &KeyLimits, until: i64, now: i64) -> KeyState {
    state.take(holder, limits, at(until), at(now)).expect("free").next
}

fn busy(state: &KeyState, holder: &str, limits: &KeyLimits, now: i64) -> (BusyWhy, Timestamp) {
    let busy = state.take(holder, limits, at(now + 60), at(now)).expect_err("not free");
    (busy.why, busy.free_at)
}

fn noted(state: &KeyState, signs: &[(Sign, i64)]) -> KeyState {
    signs.iter().fold(state.clone(), |state, (sign, now)| state.note(*sign, at(*now)))
}

const THROTTLED: Sign = Sign::Throttled { retry_after: None };

fn throttled(seconds: i64) -> Sign {
    Sign::Throttled { retry_after: Some(SignedDuration::from_secs(seconds)) }
}

#[test]
fn a_key_is_named_without_being_told() {
    let id = KeyId::of("r8_secret");
    assert_eq!(id.to_string(), &signature::fingerprint(b"r8_secret")[..12]);
    assert_eq!(serde_json::from_value::<KeyId>(json!(id)).expect("its own text"), id);
    for text in ["r8_secret", "0123456789AB", "0123456789abc", ""] {
        let error = text.parse::<KeyId>().expect_err("not a name").to_string();
        assert!(text.is_empty() || !error.contains(text), "{error}");
    }
}

#[test]
fn limits_are_above_zero_and_known_by_name() {
    let read = |value| serde_json::from_value::<KeyLimits>(value).map_err(|error| error.to_string());
    let limits = KeyLimits { concurrency: Some(2), per_minute: Some(3), per_day: Some(4) };
    assert_eq!(read(json!({"concurrency": 2, "per_minute": 3, "per_day": 4})), Ok(limits));
    assert_eq!((read(json!({})), json!(UNLIMITED)), (Ok(UNLIMITED), json!({})));
    assert!(read(json!({"per_minute": 0})).is_err_and(|error| error.contains("`per_minute` is `0`")));
    assert!(read(json!({"concurrency": 1001})).is_err_and(|error| error.contains("from 1 to 1000")));
    assert!(read(json!({"per_hour": 1})).is_err_and(|error| error.contains("per_hour")));
}

#[test]
fn slots_are_taken_until_none_is_left() {
    let one = taken(&KeyState::default(), "a", &slots(2), 90, 0);
    let two = taken(&one, "b", &slots(2), 60, 0);
    assert_eq!((two.in_use(at(0)), two.version), (2, 2));
    assert_eq!(busy(&two, "c", &slots(2), 1), (BusyWhy::Slots, at(60)));
}

#[test]
fn the_same_holder_again_is_one_lease_and_one_submit() {
    let limits = KeyLimits { per_minute: Some(2), ..slots(1) };
    let first = taken(&KeyState::default(), "a", &limits, 60, 0);
    let again = taken(&first, "a", &limits, 90, 1);
    assert_eq!(again.leases, [("a".to_owned(), at(90))].into());
    assert_eq!(again.minute.used(), 1);
    // A shorter lease does not shorten the one it has; there is nothing to write.
    let shorter = again.take("a", &limits, at(70), at(2)).expect("it has a slot");
    assert_eq!((shorter.lease, shorter.is_recorded()), (Some(at(90)), false));
}

#[test]
fn a_lease_that_is_over_is_evicted() {
    let full = taken(&KeyState::default(), "dead", &slots(1), 60, 0);
    assert_eq!(busy(&full, "b", &slots(1), 59), (BusyWhy::Slots, at(60)));
    let next = full.take("b", &slots(1), at(120), at(60)).expect("it is over");
    assert_eq!(next.evicted, [("dead".to_owned(), at(60))]);
    assert_eq!(next.next.leases, [("b".to_owned(), at(120))].into());
}

#[test]
fn many_leases_that_are_over_are_cleared_away_bit_by_bit() {
    let limits = slots(100);
    let old = (0..50).fold(KeyState::default(), |state, i| taken(&state, &format!("old {i:02}"), &limits, 10, 0));
    let next = old.take("new", &slots(1), at(60), at(10)).expect("none of them counts");
    assert_eq!((next.evicted.len(), next.next.leases.len(), next.next.in_use(at(10))), (20, 31, 1));
}

#[test]
fn a_key_without_limits_is_not_written() {
    let taken = KeyState::default().take("a", &UNLIMITED, at(60), at(0)).expect("free");
    assert_eq!((taken.is_recorded(), taken.lease), (false, None));
}

#[test]
fn a_minute_is_full_until_its_first_second_has_left_it_wholly() {
    let limits = KeyLimits { per_minute: Some(2), ..UNLIMITED };
    let full = taken(&taken(&KeyState::default(), "a", &limits, 9, 0), "b", &limits, 9, 30);
    assert_eq!(busy(&full, "c", &limits, 60), (BusyWhy::Minute, at(61)));
    let next = taken(&full, "c", &limits, 99, 61);
    assert_eq!(busy(&next, "d", &limits, 61), (BusyWhy::Minute, at(91)));
}

#[test]
fn a_day_is_counted_by_the_hour() {
    let limits = KeyLimits { per_day: Some(1), ..UNLIMITED };
    let hour = 3600 - at(0).as_second().rem_euclid(3600);
    let full = taken(&KeyState::default(), "a", &limits, 9, hour + 1800);
    assert_eq!(busy(&full, "b", &limits, hour + 24 * 3600), (BusyWhy::Day, at(hour + 25 * 3600)));
    taken(&full, "b", &limits, i64::from(u32::MAX), hour + 25 * 3600);
}

#[test]
fn who_is_held_up_twice_waits_for_the_later() {
    let limits = KeyLimits { per_minute: Some(1), ..slots(1) };
    let full = taken(&KeyState::default(), "a", &limits, 90, 0);
    assert_eq!(busy(&full, "b", &limits, 1), (BusyWhy::Slots, at(90)));
    let full = taken(&KeyState::default(), "a", &limits, 30, 0);
    assert_eq!(busy(&full, "b", &limits, 1), (BusyWhy::Minute, at(61)));
}

#[test]
fn three_misses_in_a_row_open_the_circuit_and_probes_double_it() {
    let two = noted(&KeyState::default(), &[(Sign::Unavailable, 0), (Sign::Unavailable, 1)]);
    taken(&two, "a", &UNLIMITED, 60, 1);
    assert_eq!(noted(&two, &[(Sign::Reachable, 2), (Sign::Unavailable, 3)]).open_until, None);
    let mut open = noted(&two, &[(Sign::Unavailable, 2)]);
    // What was under way when it opened says nothing new.
    assert_eq!(noted(&open, &[(Sign::Unavailable, 3), (Sign::Unavailable, 31)]), open);
    let mut now = 2;
    for pause in [30, 60, 120, 240, 480, 600, 600] {
        assert_eq!(busy(&open, "a", &UNLIMITED, now), (BusyWhy::OutOfOrder, at(now + pause)));
        now += pause;
        open = noted(&open, &[(Sign::Unavailable, now)]);
    }
}

#[test]
fn after_an_outage_one_probes_and_an_answer_opens_for_all() {
    let open = noted(&KeyState::default(), &[(Sign::Unavailable, 0); 3]);
    let probed = open.take("a", &UNLIMITED, at(90), at(30)).expect("the probe");
    assert!(probed.is_recorded());
    let probed = probed.next;
    assert_eq!(busy(&probed, "b", &UNLIMITED, 31), (BusyWhy::Probed, at(90)));
    let again = probed.take("a", &UNLIMITED, at(120), at(31)).expect("it probes already");
    assert!(!again.is_recorded());
    let dead = taken(&probed, "b", &UNLIMITED, 200, 90);
    assert_eq!(dead.probe, Some(Probe { holder: "b".to_owned(), until: at(200) }));
    assert_eq!(busy(&noted(&probed, &[(Sign::Unavailable, 40)]), "b", &UNLIMITED, 41), (BusyWhy::OutOfOrder, at(100)));
    for sign in [Sign::Reachable, throttled(1), Sign::Refused] {
        let closed = probed.note(sign, at(40));
        assert_eq!((closed.misses, closed.open_until, closed.probe), (0, None, None), "{sign:?}");
    }
}

#[test]
fn a_throttled_key_pauses_as_long_as_asked_or_ever_longer() {
    let asked = noted(&KeyState::default(), &[(throttled(40), 0)]);
    assert_eq!(busy(&asked, "a", &UNLIMITED, 1), (BusyWhy::Paused, at(40)));
    // The rest of the burst: only a later time is news.
    assert_eq!(noted(&asked, &[(THROTTLED, 1), (throttled(20), 2), (Sign::Reachable, 3)]), asked);
    assert_eq!(noted(&asked, &[(throttled(60), 1)]).paused_until, Some(at(61)));
    let nonsense = [(i64::MAX, 86_400), (-5, 1), (0, 1)];
    for (seconds, pause) in nonsense {
        assert_eq!(noted(&KeyState::default(), &[(throttled(seconds), 0)]).paused_until, Some(at(pause)));
    }
    let (mut state, mut now) = (KeyState::default(), 0);
    for pause in [5, 10, 20, 40, 80, 160, 320, 640, 900, 900] {
        state = noted(&state, &[(THROTTLED, now)]);
        assert_eq!(busy(&state, "a", &UNLIMITED, now), (BusyWhy::Paused, at(now + pause)));
        now += pause;
    }
    let calm = noted(&state, &[(Sign::Reachable, now)]);
    assert_eq!(calm, KeyState::default());
    assert_eq!(noted(&calm, &[(THROTTLED, now)]).paused_until, Some(at(now + 5)));
}

#[test]
fn a_refused_key_pauses_for_ten_minutes() {
    let refused = noted(&KeyState::default(), &[(Sign::Refused, 0), (Sign::Reachable, 1), (throttled(5), 2)]);
    assert_eq!(busy(&refused, "a", &UNLIMITED, 3), (BusyWhy::Paused, at(600)));
    taken(&refused, "a", &UNLIMITED, 660, 600);
}

#[test]
fn a_good_sign_of_a_healthy_key_is_no_news() {
    let used = taken(&KeyState::default(), "a", &slots(1), 60, 0);
    assert_eq!(used.note(Sign::Reachable, at(1)), used);
}

fn keys<const N: usize>(states: [KeyState; N]) -> Vec<(KeyId, KeyState)> {
    states.into_iter().enumerate().map(|(i, state)| (KeyId::of(&i.to_string()), state)).collect()
}

fn chosen(states: &[(KeyId, KeyState)], limits: &KeyLimits, holder: &str, now: i64) -> Result<usize, Busy> {
    let (key, _) = choose(states, limits, holder, at(now + 60), at(now))?;
    Ok(states.iter().position(|(other, _)| *other == key).expect("one of them"))
}

#[test]
fn the_key_with_the_most_free_slots_is_chosen() {
    let fresh = KeyState::default();
    let one = taken(&fresh, "a", &slots(2), 60, 0);
    let two = taken(&one, "b", &slots(2), 50, 0);
    let limits = slots(2);
    assert_eq!(chosen(&keys([one.clone(), fresh, two.clone()]), &limits, "c", 1), Ok(1));
    assert_eq!(chosen(&keys([two.clone(), one.clone()]), &limits, "c", 1), Ok(1));
    // Whoever has a slot keeps it.
    assert_eq!(chosen(&keys([two.clone(), KeyState::default()]), &limits, "a", 1), Ok(0));
    let first_free = Busy { free_at: at(50), why: BusyWhy::Slots };
    assert_eq!(chosen(&keys([noted(&one, &[(Sign::Refused, 0)]), two]), &limits, "c", 1), Err(first_free));
    assert_eq!(chosen(&[], &limits, "c", 1), Err(Busy { free_at: Timestamp::MAX, why: BusyWhy::Slots }));
}

#[test]
fn equal_keys_are_chosen_by_their_last_minute_and_then_in_turn() {
    let limits = KeyLimits { per_minute: Some(9), ..UNLIMITED };
    let used = taken(&KeyState::default(), "a", &limits, 60, 0);
    assert_eq!(chosen(&keys([used.clone(), KeyState::default(), used]), &limits, "c", 1), Ok(1));
    let fresh = keys([KeyState::default(), KeyState::default(), KeyState::default()]);
    let mut counts = [0; 3];
    for i in 0..300 {
        counts[chosen(&fresh, &UNLIMITED, &format!("holder {i}"), 1).expect("free")] += 1;
    }
    assert!(counts.iter().all(|count| *count > 60), "{counts:?}");
}

#[test]
fn a_healthy_key_goes_before_one_to_be_tried() {
    let open = noted(&KeyState::default(), &[(Sign::Unavailable, 0); 3]);
    let busier = taken(&KeyState::default(), "a", &slots(2), 90, 0);
    assert_eq!(chosen(&keys([open.clone(), busier.clone()]), &slots(2), "b", 30), Ok(1));
    assert_eq!(chosen(&keys([open, taken(&busier, "c", &slots(2), 90, 0)]), &slots(2), "b", 30), Ok(0));
}

#[test]
fn the_state_survives_its_form_in_the_table() {
    let limits = KeyLimits { concurrency: Some(3), per_minute: Some(9), per_day: Some(9) };
    let state = noted(&KeyState::default(), &[(Sign::Unavailable, 0), (Sign::Unavailable, 0), (Sign::Unavailable, 0)]);
    let state = noted(&taken(&state, "a", &limits, 60, 40), &[(Sign::Refused, 41)]);
    let doc = json!(state);
    let read: KeyState = serde_json::from_value(doc).expect("its own form");
    assert_eq!(KeyState { leases: state.leases.clone(), version: state.version, ..read }, state);
    assert_eq!(serde_json::from_value::<KeyState>(json!({})).expect("nothing"), KeyState::default());
}

#[test]
fn places_sort_as_they_are_served() {
    let (account, generation) = (AccountId::from_parts(1, [1; 10]), |n| GenerationId::from_parts(n, [0; 10]));
    let place = |round, n| Waiting::new("fal", account, round, generation(n)).place;
    let mut places = vec![place(10, 1), place(9, 3), place(100, 1), place(9, 2)];
    places.sort();
    assert_eq!(places, [place(9, 2), place(9, 3), place(10, 1), place(100, 1)]);
    let waiting = Waiting::new("fal", account, 77, generation(5));
    assert_eq!((waiting.round(), waiting.generation_text()), (77, generation(5).to_string().as_str()));
}

proptest! {
    /// Whoever comes when, no 60 seconds hold more takes than allowed; and the time that is named for the next one is right.
    #[test]
    fn no_minute_holds_more_than_its_limit(gaps in vec(0..20_000_i64, 1..200), limit in 1..12_u32) {
        check_window(&gaps, KeyLimits { per_minute: Some(limit), ..UNLIMITED }, limit, 60_000)?;
    }

    #[test]
    fn no_day_holds_more_than_its_limit(gaps in vec(0..10_000_000_i64, 1..200), limit in 1..12_u32) {
        check_window(&gaps, KeyLimits { per_day: Some(limit), ..UNLIMITED }, limit, 86_400_000)?;
    }

    /// Takes, returns and deaths in any order: a second count of the leases agrees.
    #[test]
    fn never_more_jobs_than_slots(steps in vec((0..30_u8, 0..4_i64, 1..20_i64, any::<bool>()), 1..200), limit in 1..6_u32) {
        let mut state = KeyState::default();
        let mut model: BTreeMap<u8, i64> = BTreeMap::new();
        let mut now = 0;
        for (holder, passed, length, returns) in steps {
            now += passed;
            model.retain(|_, end| *end > now);
            if returns {
                state.leases.remove(&holder.to_string());
                model.remove(&holder);
                continue;
            }
            let free = model.contains_key(&holder) || model.len() < limit as usize;
            match state.take(&holder.to_string(), &slots(limit), at(now + length), at(now)) {
                Ok(taken) => {
                    prop_assert!(free);
                    state = taken.next;
                    let end = model.entry(holder).or_default();
                    *end = (*end).max(now + length);
                }
                Err(busy) => {
                    prop_assert!(!free);
                    prop_assert_eq!(Some(busy.free_at), model.values().min().map(|end| at(*end)));
                }
            }
            prop_assert_eq!(state.in_use(at(now)), model.len());
        }
    }
}

fn check_window(gaps: &[i64], limits: KeyLimits, limit: u32, window_ms: i64) -> Result<(), TestCaseError> {
    let mut state = KeyState::default();
    let mut accepted: Vec<i64> = Vec::new();
    let mut now = 0;
    for gap in gaps {
        now += gap;
        match state.take("any", &limits, millisecond(now), millisecond(now)) {
            Ok(taken) => {
                state = taken.next;
                accepted.push(now);
            }
            Err(busy) => {
                prop_assert!(busy.free_at > millisecond(now));
                prop_assert!(state.take("any", &limits, busy.free_at, busy.free_at).is_ok());
                let before = busy.free_at - SignedDuration::from_millis(1);
                prop_assert!(state.take("any", &limits, before, before).is_err());
            }
        }
    }
    for last in &accepted {
        let in_window = accepted.iter().filter(|other| (*last - window_ms..=*last).contains(other)).count();
        prop_assert!(in_window <= limit as usize, "{in_window} in the window that ends at {last} ms");
    }
    Ok(())
}
