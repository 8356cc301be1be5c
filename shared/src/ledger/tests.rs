use jiff::SignedDuration;

use super::*;

fn credits(amount: u64) -> Credits {
    Credits::new(amount).expect("small")
}

fn account(available: u64, held: u64) -> Account {
    let id = AccountId::from_parts(1, [1; 10]);
    let open = Account::open(id, Timestamp::UNIX_EPOCH);
    Account { available: credits(available), held: credits(held), entries: 7, version: 9, ..open }
}

fn generation(number: u8) -> GenerationId {
    GenerationId::from_parts(1, [number; 10])
}

fn key(number: u8) -> ApiKeyId {
    ApiKeyId::from_parts(1, [number; 10])
}

fn hold_of(amount: u64) -> Hold {
    Hold { generation: generation(2), amount: credits(amount), key: None, held_at: at(0), from: Vec::new() }
}

fn hold(number: u8, amount: u64, key: Option<ApiKeyId>) -> Posting {
    Posting::Hold { generation: generation(number), amount: credits(amount), key }
}

fn at(hours: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
}

fn grant(reference: &str, amount: u64, ends_at: Option<Timestamp>) -> Posting {
    Posting::Grant { reference: reference.to_owned(), amount: credits(amount), ends_at, note: None }
}

fn note() -> Note {
    Note { by: None, reason: "a test".to_owned() }
}

/// Posts one after the other; the kinds and amounts of what was written, and the account.
#[track_caller]
fn post(account: &Account, postings: &[(i64, Posting)]) -> (Account, Vec<String>) {
    let mut account = account.clone();
    let mut lines = Vec::new();
    for (hours, posting) in postings {
        let posted = account.post(posting, at(*hours)).unwrap_or_else(|refusal| panic!("{posting:?}: {refusal}"));
        assert_eq!(posted.account.version, account.version + 1);
        for entry in &posted.entries {
            lines.push(format!("{} {}", entry.id.split("gen_").next().unwrap_or_default().trim_end_matches('#'), entry.amount));
        }
        account = posted.account;
        let ending = account.lots.iter().fold(0, |sum, lot| sum + lot.left.get());
        assert!(ending <= account.available.get(), "more ends than there is: {account:?}");
    }
    (account, lines)
}

#[test]
fn a_hold_needs_the_whole_amount() {
    let refusal = account(9, 100).post(&hold(2, 10, None), at(0)).expect_err("one short");
    assert_eq!(refusal, Refusal::InsufficientCredits { available: credits(9), needed: credits(10) });
    let posted = account(10, 100).post(&hold(2, 10, None), at(0)).expect("exactly enough");
    assert_eq!((posted.account.available, posted.account.held), (credits(0), credits(110)));
    assert_eq!(posted.entries[0].id, format!("hold#{}", generation(2)));
    assert_eq!((posted.entries[0].sequence, posted.account.entries, posted.account.version), (8, 8, 10));
}

#[test]
fn a_charge_below_the_hold_gives_back_the_rest() {
    let charge = Posting::Charge { hold: hold_of(10), charge: credits(7) };
    let posted = account(5, 10).post(&charge, at(0)).expect("posts");
    assert_eq!((posted.account.available, posted.account.held), (credits(8), credits(0)));
    let kinds: Vec<_> = posted.entries.iter().map(|entry| (entry.kind, entry.amount)).collect();
    assert_eq!(kinds, [(EntryKind::Charge, credits(7)), (EntryKind::Release, credits(3))]);
}

#[test]
fn what_was_done_by_hand_says_who_did_it_and_why() {
    let grant = Posting::Grant { reference: "x".into(), amount: credits(1), ends_at: Some(at(9)), note: Some(note()) };
    let adjust = Posting::Adjust { reference: "y".into(), change: -1, note: note() };
    for (posting, ends_at) in [(grant, Some(at(9))), (adjust, None)] {
        let posted = account(5, 0).post(&posting, at(0)).expect("posts");
        assert_eq!((&posted.entries[0].note, posted.entries[0].ends_at), (&Some(note()), ends_at));
    }
}

#[test]
fn no_entry_is_older_than_the_one_before_it() {
    let (own, _) = post(&account(10, 0), &[(5, hold(2, 1, None))]);
    let posted = own.post(&hold(3, 1, None), at(5) - SignedDuration::from_mins(4)).expect("enough");
    assert_eq!(posted.entries[0].created_at, at(5));
    assert_eq!(posted.account.post(&hold(4, 1, None), at(6)).expect("enough").entries[0].created_at, at(6));
}

#[test]
fn what_costs_nothing_is_closed_all_the_same() {
    let (_, lines) = post(&account(0, 0), &[(0, Posting::Charge { hold: hold_of(0), charge: credits(0) })]);
    assert_eq!(lines, ["charge 0"]);
    let (_, lines) = post(&account(0, 0), &[(0, Posting::Release { hold: hold_of(0) })]);
    assert_eq!(lines, ["release 0"]);
}

#[test]
fn a_charge_above_the_hold_is_refused() {
    let charge = Posting::Charge { hold: hold_of(10), charge: credits(11) };
    let refusal = account(50, 10).post(&charge, at(0)).expect_err("above");
    assert_eq!(refusal, Refusal::ChargeAboveHold { held: credits(10), charge: credits(11) });
}

#[test]
fn a_hold_that_is_not_there_cannot_be_closed() {
    for posting in [Posting::Release { hold: hold_of(10) }, Posting::Charge { hold: hold_of(10), charge: credits(10) }] {
        let refusal = account(50, 9).post(&posting, at(0)).expect_err("books are wrong");
        assert_eq!(refusal, Refusal::HeldTooLow { held: credits(9), closing: credits(10) });
        assert!(account(50, 10).post(&posting, at(0)).is_ok());
    }
}

#[test]
fn balances_stop_at_the_maximum() {
    let most = Posting::Grant { reference: "x".into(), amount: Credits::MAX, ends_at: None, note: None };
    assert_eq!(account(1, 0).post(&most, at(0)), Err(Refusal::Overflow));
    assert_eq!(account(0, 1).post(&most, at(0)), Err(Refusal::Overflow));
    assert!(account(0, 0).post(&most, at(0)).is_ok());
}

#[test]
fn a_correction_goes_both_ways_but_not_below_zero() {
    let adjust = |change| Posting::Adjust { reference: "a".into(), change, note: note() };
    let (up, lines) = post(&account(5, 3), &[(0, adjust(4))]);
    assert_eq!((up.available, up.held, lines), (credits(9), credits(3), vec!["adjust#a 4".to_owned()]));
    let (down, lines) = post(&account(5, 3), &[(0, adjust(-5))]);
    assert_eq!((down.available, down.held, lines), (credits(0), credits(3), vec!["adjust#a 5".to_owned()]));
    let refusal = account(5, 3).post(&adjust(-6), at(0)).expect_err("below zero");
    assert_eq!(refusal, Refusal::InsufficientCredits { available: credits(5), needed: credits(6) });
    assert_eq!(account(5, 3).post(&adjust(i64::MIN), at(0)), Err(Refusal::Overflow));
}

#[test]
fn credits_end_at_their_time_and_those_that_end_soonest_are_spent_first() {
    let granted = [(0, grant("good", 10, None)), (0, grant("b", 5, Some(at(20)))), (0, grant("a", 5, Some(at(10))))];
    let (own, _) = post(&account(0, 0), &granted);
    assert_eq!((own.spendable(at(9)), own.spendable(at(10)), own.spendable(at(20))), (credits(20), credits(15), credits(10)));
    let (own, lines) = post(&own, &[(1, hold(2, 7, None)), (10, Posting::Expire), (20, hold(3, 1, None))]);
    assert_eq!(lines, ["hold 7", "expire#grant#b#12 3", "hold 1"]);
    assert_eq!((own.available, own.held, own.due_at()), (credits(9), credits(8), None));
}

#[test]
fn what_a_hold_gives_back_goes_where_it_came_from() {
    let granted = [(0, grant("good", 10, None)), (0, grant("a", 5, Some(at(10)))), (0, grant("b", 5, Some(at(20))))];
    let (own, _) = post(&account(0, 0), &granted);
    let posted = own.post(&hold(2, 12, None), at(1)).expect("enough");
    let held = Hold { amount: credits(12), from: posted.taken.clone(), ..hold_of(0) };
    let taken: Vec<_> = held.from.iter().map(|lot| (lot.grant.as_str(), lot.left.get())).collect();
    assert_eq!(taken, [("a", 5), ("b", 5)]);
    let release = Posting::Release { hold: held.clone() };
    // In time: as if nothing had been.
    let (back, lines) = post(&posted.account, &[(9, release.clone())]);
    assert_eq!(lines, ["release 12"]);
    assert_eq!((&back.lots, back.available), (&own.lots, own.available));
    // One of the two has ended meanwhile.
    let (back, lines) = post(&posted.account, &[(15, release)]);
    assert_eq!(lines, ["release 12", "expire 5"]);
    assert_eq!((back.available, back.due_at()), (credits(15), Some(at(20))));
    // Charged in part: what ended is what was spent.
    let (back, lines) = post(&posted.account, &[(15, Posting::Charge { hold: held, charge: credits(6) })]);
    assert_eq!(lines, ["charge 6", "release 6"]);
    assert_eq!((back.available, back.spendable(at(20))), (credits(14), credits(10)));
}

#[test]
fn a_grant_that_ends_has_to_end_later() {
    let refusal = account(0, 0).post(&grant("x", 1, Some(at(1))), at(1)).expect_err("over");
    assert_eq!(refusal, Refusal::EndedGrant { ends_at: at(1) });
    let mut own = account(0, 0);
    for number in 0..Lots::MAX {
        own = own.post(&grant(&number.to_string(), 1, Some(at(1))), at(0)).expect("room").account;
    }
    assert_eq!(own.post(&grant("y", 1, Some(at(1))), at(0)), Err(Refusal::TooManyEndingGrants));
    assert!(own.post(&grant("y", 1, None), at(0)).is_ok());
    let (own, lines) = post(&own, &[(1, Posting::Expire)]);
    assert_eq!((own.available, lines.len()), (credits(0), Lots::MAX));
}

#[test]
fn a_suspended_account_pays_for_what_it_has_begun_and_begins_nothing() {
    let own = Account { suspended: true, ..account(100, 10) };
    assert_eq!(own.post(&hold(2, 1, None), at(0)), Err(Refusal::Suspended));
    assert!(own.post(&Posting::Charge { hold: hold_of(10), charge: credits(10) }, at(0)).is_ok());
    assert!(own.post(&grant("x", 1, None), at(0)).is_ok());
}

/// An account with one key of these limits.
fn with_key(limits: SpendingLimits, ends_at: Option<Timestamp>) -> Account {
    let own = KeyUse { limits, ends_at, ..KeyUse::default() };
    Account { keys: BTreeMap::from([(key(1), own)]), ..account(100, 0) }
}

#[test]
fn a_key_that_has_ended_spends_nothing() {
    let own = with_key(SpendingLimits::default(), Some(at(5)));
    assert!(own.post(&hold(2, 1, Some(key(1))), at(4)).is_ok());
    assert_eq!(own.post(&hold(2, 1, Some(key(1))), at(5)), Err(Refusal::KeyEnded));
    assert_eq!(own.post(&hold(2, 1, Some(key(2))), at(4)), Err(Refusal::KeyEnded));
}

#[test]
fn so_many_at_once_and_no_more() {
    let limits = SpendingLimits { in_flight: Some(2), ..SpendingLimits::default() };
    let reached = LimitReached::InFlight { limit: 2 };
    let (own, _) = post(&Account { limits, ..account(100, 0) }, &[(0, hold(2, 1, None)), (0, hold(3, 1, None))]);
    assert_eq!(own.post(&hold(4, 1, None), at(0)), Err(Refusal::Limit { whose: Whose::Account, reached }));
    let (own, _) = post(&own, &[(1, Posting::Release { hold: hold_of(1) })]);
    assert!(own.post(&hold(4, 1, None), at(1)).is_ok());

    let (own, _) = post(&with_key(limits, None), &[(0, hold(2, 1, Some(key(1)))), (0, hold(3, 1, Some(key(1))))]);
    assert_eq!(own.post(&hold(4, 1, Some(key(1))), at(0)), Err(Refusal::Limit { whose: Whose::Key, reached }));
    assert!(own.post(&hold(4, 1, None), at(0)).is_ok());
    let charge = Posting::Charge { hold: Hold { key: Some(key(1)), ..hold_of(1) }, charge: credits(1) };
    let (own, _) = post(&own, &[(1, charge)]);
    assert!(own.post(&hold(4, 1, Some(key(1))), at(1)).is_ok());
}

#[test]
fn so_much_a_day_and_a_month_and_no_more() {
    let day = SpendingLimits { spend_per_day: Some(credits(10)), ..SpendingLimits::default() };
    let month = SpendingLimits { spend_per_month: Some(credits(10)), ..SpendingLimits::default() };
    for (limits, same, next) in [(day, 23, 24), (month, 30 * 24, 31 * 24)] {
        let (own, _) = post(&with_key(limits, None), &[(0, hold(2, 7, Some(key(1))))]);
        let refused = own.post(&hold(3, 4, Some(key(1))), at(same)).expect_err("above the limit");
        let Refusal::Limit { whose: Whose::Key, reached } = refused else { panic!("{refused}") };
        let (limit, spent, needed) = (credits(10), credits(7), credits(4));
        let expected =
            if limits == day { LimitReached::Day { limit, spent, needed } } else { LimitReached::Month { limit, spent, needed } };
        assert_eq!(reached, expected);
        assert!(own.post(&hold(3, 3, Some(key(1))), at(same)).is_ok(), "exactly the limit");
        assert!(own.post(&hold(3, 10, Some(key(1))), at(next)).is_ok(), "a new period");
        // What is given back can be spent again, in the period in which it was held.
        let returned = Hold { key: Some(key(1)), ..hold_of(7) };
        let charge = Posting::Charge { hold: returned, charge: credits(2) };
        let (back, _) = post(&own, &[(1, charge.clone())]);
        assert!(back.post(&hold(3, 8, Some(key(1))), at(same)).is_ok());
        assert!(back.post(&hold(3, 9, Some(key(1))), at(same)).is_err());
        let (later, _) = post(&own, &[(next, hold(3, 10, Some(key(1)))), (next, charge)]);
        assert!(later.post(&hold(4, 1, Some(key(1))), at(next)).is_err(), "yesterday's credits are not today's");
    }
}

#[test]
fn a_clock_that_is_behind_brings_back_nothing_that_has_ended() {
    let second = SignedDuration::from_secs(1);
    let (own, _) = post(&account(0, 0), &[(0, grant("a", 5, Some(at(10))))]);
    let posted = own.post(&hold(2, 3, None), at(1)).expect("enough");
    assert_eq!((posted.at, posted.account.posted_at), (at(1), at(1)));
    let held = Hold { amount: credits(3), from: posted.taken, ..hold_of(0) };
    let (own, lines) = post(&posted.account, &[(10, Posting::Expire)]);
    assert_eq!(lines, ["expire#grant#a#10 2"]);
    let late = own.post(&Posting::Release { hold: held }, at(10) - second).expect("posts");
    let kinds: Vec<_> = late.entries.iter().map(|entry| (entry.kind, entry.amount.get(), entry.created_at)).collect();
    assert_eq!(kinds, [(EntryKind::Release, 3, at(10)), (EntryKind::Expire, 3, at(10))]);
    assert_eq!((late.account.available, late.account.due_at(), late.at), (credits(0), None, at(10)));
    // A clock that is wrong altogether is not followed for ever.
    let minutes = SignedDuration::from_mins(5);
    assert_eq!(own.time_of_posting(at(10) - minutes), at(10));
    assert_eq!(own.time_of_posting(at(10) - minutes - second), at(10) - minutes - second);
    assert_eq!(own.time_of_posting(at(11)), at(11));
}

#[test]
fn a_clock_that_is_behind_midnight_does_not_open_another_days_limit() {
    let limits = SpendingLimits { spend_per_day: Some(credits(10)), ..SpendingLimits::default() };
    let (own, _) = post(&Account { limits, ..account(100, 0) }, &[(24, hold(2, 7, None))]);
    let yesterday = at(24) - SignedDuration::from_millis(1);
    let refused = own.post(&hold(3, 4, None), yesterday).expect_err("today's limit");
    assert!(matches!(refused, Refusal::Limit { reached: LimitReached::Day { spent, .. }, .. } if spent == credits(7)));
    let posted = own.post(&hold(3, 3, None), yesterday).expect("exactly the limit").account;
    assert_eq!((posted.usage.spent(at(24)), posted.usage.spent(at(0))), ((credits(10), credits(10)), (credits(0), credits(10))));
}

#[test]
fn what_a_key_does_after_its_end_is_refused_whatever_the_time_is_elsewhere() {
    let own = with_key(SpendingLimits::default(), None).with_key_ending(key(1), at(5), at(5)).account;
    assert_eq!(own.post(&hold(2, 1, Some(key(1))), at(5) - SignedDuration::from_secs(2)), Err(Refusal::KeyEnded));
}

#[test]
fn parts_of_one_grant_that_end_at_different_times_have_entries_of_their_own() {
    let mut own = account(3, 0);
    for (ends_at, left) in [(1, 1), (2, 2)] {
        own.lots.put(Lot { grant: "a".to_owned(), ends_at: at(ends_at), left: credits(left) });
    }
    let (own, lines) = post(&own, &[(1, Posting::Expire), (2, Posting::Expire)]);
    assert_eq!((own.available, lines), (credits(0), vec!["expire#grant#a#8 1".to_owned(), "expire#grant#a#9 2".to_owned()]));
}
