//! Every posting of a script goes through the auditor of the simulation; what he notices, and what is charged for fewer results.

use super::{Event, Life, Outcome, Source, credits, decide, rules, seconds, stored_file};
use crate::audit::Books;
use crate::failure::{Failure, FailureClass};
use crate::ledger::{Entry, Posting};

/// The entries, the account and the generation tell the same story.
#[track_caller]
pub(super) fn agree(life: &Life) {
    let books = Books::of(&life.entries);
    books.agree(&life.account);
    books.agree_with([&life.generation]);
}

#[test]
fn the_auditor_notices_forged_entries() {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    let honest = || {
        let mut life = Life::new(20, 7, seconds(60));
        let charge = Posting::Charge { hold: life.generation.hold(), charge: credits(4) };
        life.post(&charge);
        life.entries
    };
    assert_eq!(Books::of(&honest()).available, 16);
    let forgeries: [fn(&mut Vec<Entry>); 6] = [
        |entries| entries[2].sequence += 1,
        |entries| entries[2].amount = credits(5),
        |entries| entries[2].held_change = -7,
        |entries| entries[3].balance_after = credits(20),
        |entries| drop(entries.remove(1)),
        |entries| entries.push(Entry { sequence: 5, ..entries[2].clone() }),
    ];
    for (number, forge) in forgeries.into_iter().enumerate() {
        let mut entries = honest();
        forge(&mut entries);
        assert!(catch_unwind(AssertUnwindSafe(|| Books::of(&entries))).is_err(), "forgery {number} passes");
    }
}

#[test]
fn results_that_did_not_come_are_not_charged() {
    let one_price = Life::new(100, 8, seconds(60));
    let mut by_results = one_price.clone();
    by_results.generation.order.price_by_results = [2, 4, 6, 9].map(credits).to_vec();
    let stored = |life: &Life, results: usize| {
        let mut life = life.clone();
        for event in [
            Event::Claim { key: None, holds_slot: false },
            Event::Succeeded { attempt: 1, job: None, outcome: Outcome { sources: vec![Source::Local; results] } },
            Event::Stored { attempt: 1, results: vec![stored_file(); results] },
        ] {
            let decision = decide(&life.generation, &event, &rules(), life.now).expect("decided");
            life.keep(decision);
            agree(&life);
        }
        life.account.available.get()
    };
    assert_eq!([0, 1, 3, 4, 5].map(|results| stored(&by_results, results)), [100, 98, 94, 92, 92]);
    assert_eq!([0, 1, 2].map(|results| stored(&one_price, results)), [100, 92, 92]);
}

#[test]
fn what_a_job_gives_back_ends_when_it_would_have_ended() {
    // Of the seven held, five end after 100 s.
    let mut life = Life::granted_in_parts(&[(5, Some(seconds(100))), (10, None)], 7, seconds(60));
    life.generation.order.price_by_results = vec![credits(2)];
    let claim = Event::Claim { key: None, holds_slot: false };
    let succeeded = Event::Succeeded { attempt: 1, job: None, outcome: Outcome { sources: vec![Source::Local] } };
    let stored = Event::Stored { attempt: 1, results: vec![stored_file()] };
    let refused = Event::Failed { attempt: 1, failure: Failure::new(FailureClass::Moderated, "no"), retry_after: None };
    // What is available at the end, and how much of it ends.
    let lived = |last_after: i64, events: &[&Event]| {
        let mut life = life.clone();
        for (index, event) in events.iter().enumerate() {
            if index + 1 == events.len() {
                life.now += seconds(last_after);
            }
            let decision = decide(&life.generation, event, &rules(), life.now).expect("decided");
            life.keep(decision);
            agree(&life);
        }
        let ending = life.account.lots.iter().map(|lot| lot.left.get()).sum::<u64>();
        (life.account.available.get(), ending)
    };
    assert_eq!(lived(0, &[&Event::CancelRequested]), (15, 5));
    assert_eq!((lived(99, &[&claim, &refused]), lived(100, &[&claim, &refused])), ((15, 5), (10, 0)));
    // Charged two of the seven: what ends soonest was spent first.
    let success = [&claim, &succeeded, &stored];
    assert_eq!((lived(99, &success), lived(100, &success)), ((13, 3), (10, 0)));
}
