//! An auditor who trusts nobody: it reads an account's entries only, by what each kind means, and says what must be in the account.

use std::collections::BTreeMap;

use super::{Event, Life, Outcome, Source, credits, decide, rules, seconds, stored_file};
use crate::credits::Credits;
use crate::generation::State;
use crate::ids::GenerationId;
use crate::ledger::{Entry, EntryKind};

/// What the entries add up to.
#[derive(Debug, Default, PartialEq)]
struct Books {
    available: i128,
    held: i128,
    granted: i128,
    charged: i128,
    /// What is left of each hold.
    holds: BTreeMap<GenerationId, i128>,
    /// How often each hold was closed.
    closings: BTreeMap<GenerationId, u32>,
}

/// Reads the entries in their order. Panics on anything that no honest history contains.
fn audit(entries: &[Entry]) -> Books {
    let mut books = Books::default();
    let mut known = std::collections::BTreeSet::new();
    for (index, entry) in entries.iter().enumerate() {
        assert_eq!(entry.sequence, index as u64 + 1, "a gap in the sequence: {entries:#?}");
        assert!(known.insert(entry.id.clone()), "`{}` is written twice: {entries:#?}", entry.id);
        let before = (books.available, books.held);
        let amount = i128::from(entry.amount.get());
        match entry.kind {
            EntryKind::Grant => {
                books.available += amount;
                books.granted += amount;
            }
            EntryKind::Hold => {
                books.available -= amount;
                books.held += amount;
                let again = books.holds.insert(entry.generation.expect("a hold is for a generation"), amount);
                assert_eq!(again, None, "a second hold: {entries:#?}");
            }
            EntryKind::Adjust => {
                books.available += i128::from(entry.available_change);
                books.granted += i128::from(entry.available_change);
            }
            EntryKind::Expire => {
                books.available -= amount;
                books.granted -= amount;
            }
            EntryKind::Charge | EntryKind::Release => {
                let generation = entry.generation.expect("what is closed was held for a generation");
                let rest = books.holds.get_mut(&generation).expect("closed before it was held");
                *rest -= amount;
                books.held -= amount;
                if entry.kind == EntryKind::Charge {
                    books.charged += amount;
                } else {
                    books.available += amount;
                }
                // What a charge gives back comes with it, as the very next entry.
                let part_of_charge =
                    index > 0 && entry.kind == EntryKind::Release && entries[index - 1].id == format!("charge#{generation}");
                *books.closings.entry(generation).or_default() += u32::from(!part_of_charge);
            }
        }
        let changes = (i128::from(entry.available_change), i128::from(entry.held_change));
        assert_eq!(changes, (books.available - before.0, books.held - before.1), "the changes do not fit the kind: {entry:#?}");
        let after = (i128::from(entry.balance_after.get()), i128::from(entry.held_after.get()));
        assert_eq!(after, (books.available, books.held), "the balances after it are wrong: {entry:#?}");
        assert!(
            books.available >= 0 && books.held >= 0 && books.holds.values().all(|rest| *rest >= 0),
            "below zero: {entries:#?}"
        );
    }
    books
}

/// The entries, the account and the generation tell the same story.
#[track_caller]
pub(super) fn agree(life: &Life) {
    let (account, generation) = (&life.account, &life.generation);
    let books = audit(&life.entries);
    let hold = i128::from(generation.hold.get());
    let signed = |credits: Credits| i128::from(credits.get());
    assert_eq!((books.available, books.held), (signed(account.available), signed(account.held)), "counters: {life:#?}");
    assert_eq!(account.entries, life.entries.len() as u64, "each entry is counted: {life:#?}");
    assert_eq!(books.available + books.held, books.granted - books.charged, "credits appeared or vanished: {life:#?}");
    let changes: i64 = life.entries.iter().map(|entry| entry.available_change + entry.held_change).sum();
    assert_eq!(i128::from(changes), books.available + books.held, "the changes do not add up: {life:#?}");

    let ended = generation.state.is_terminal();
    assert_eq!(books.closings.get(&generation.id).copied().unwrap_or(0), u32::from(ended), "closings of the hold: {life:#?}");
    assert_eq!(books.holds[&generation.id], if ended { 0 } else { hold }, "the hold: {life:#?}");
    let charged = match &generation.state {
        State::Succeeded { charged, .. } | State::Failed { charged, .. } | State::Canceled { charged, .. } => *charged,
        State::Queued { .. }
        | State::Claimed { .. }
        | State::Running { .. }
        | State::Unconfirmed { .. }
        | State::Collecting { .. } => Credits::ZERO,
    };
    assert_eq!(books.charged, signed(charged), "what the customer is told is not what was charged: {life:#?}");
}

#[test]
fn the_auditor_notices_forged_entries() {
    use crate::ledger::Posting;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    let honest = || {
        let mut life = Life::new(20, 7, seconds(60));
        let charge = Posting::Charge { hold: life.generation.hold(), charge: credits(4) };
        life.post(&charge);
        life.entries
    };
    assert_eq!((audit(&honest()).available, audit(&honest()).charged), (16, 4));
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
        assert!(catch_unwind(AssertUnwindSafe(|| audit(&entries))).is_err(), "forgery {number} passes");
    }
}

#[test]
fn results_that_did_not_come_are_not_charged() {
    let mut life = Life::new(100, 8, seconds(60));
    life.generation.order.price_by_results = [2, 4, 6, 8].map(credits).to_vec();
    let stored = |results: usize| {
        let mut life = life.clone();
        for event in [
            Event::Claim { key: None, holds_slot: false },
            Event::Succeeded { attempt: 1, job: None, outcome: Outcome { sources: vec![Source::Drawing; results] } },
            Event::Stored { attempt: 1, results: vec![stored_file(); results] },
        ] {
            let decision = decide(&life.generation, &event, &rules(), life.now).expect("decided");
            life.keep(decision);
            agree(&life);
        }
        life.account.available.get()
    };
    assert_eq!([stored(1), stored(3), stored(4), stored(5)], [98, 94, 92, 92]);
}
