//! Right books pass, in whatever order they are read; each way of being wrong is told once, by its name.

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::failure::{Failure, FailureClass};
use crate::ids::AccountId;
use crate::ledger::{Posting, SpendingLimits};
use crate::lifecycle::tests::order;

fn start() -> Timestamp {
    Timestamp::from_second(1_790_000_000).expect("in range")
}

fn credits(amount: u64) -> Credits {
    Credits::new(amount).expect("small")
}

fn key() -> ApiKeyId {
    ApiKeyId::from_parts(1, [9; 10])
}

/// Everything there is of one account.
#[derive(Clone)]
struct World {
    account: Account,
    entries: Vec<Entry>,
    generations: Vec<Generation>,
    now: Timestamp,
}

impl World {
    /// Five generations of 7 credits out of 100: charged, charged in part, released, canceled, queued.
    fn mixed() -> Self {
        let account = Account::open(AccountId::from_parts(1, [1; 10]), start());
        let account = account.with_key(key(), SpendingLimits::default(), None, start()).expect("room for a key").account;
        let mut world = Self { account, entries: Vec::new(), generations: Vec::new(), now: start() };
        let ends_at = Some(start() + SignedDuration::from_hours(90));
        world.post(&Posting::Grant { reference: "a".into(), amount: credits(60), ends_at: None, note: None });
        world.post(&Posting::Grant { reference: "b".into(), amount: credits(40), ends_at, note: None });
        (0..5).for_each(|number| world.hold(number));
        let finished_at = start();
        let failure = Failure::new(FailureClass::Moderated, "no");
        world.end(0, State::Succeeded { results: Vec::new(), charged: credits(7), finished_at }, Some(7));
        world.end(1, State::Succeeded { results: Vec::new(), charged: credits(4), finished_at }, Some(4));
        world.end(2, State::Failed { failure, charged: Credits::ZERO, finished_at }, None);
        world.end(3, State::Canceled { charged: Credits::ZERO, finished_at }, None);
        world
    }

    fn post(&mut self, posting: &Posting) {
        let posted = self.account.post(posting, self.now).expect("posted");
        self.account = posted.account;
        self.entries.extend(posted.entries);
        if let (Posting::Hold { .. }, Some(last)) = (posting, self.generations.last_mut()) {
            last.funds.from = posted.taken;
        }
    }

    fn hold(&mut self, number: u8) {
        let mut order = order("p");
        order.candidates[0].cost_micro_usd = Some(40_000);
        let id = GenerationId::from_parts(u64::from(number) + 1, [number; 10]);
        let due_at = start() + SignedDuration::from_mins(1);
        self.generations.push(Generation::accept(id, self.account.id, order, credits(7), Some(key()), self.now, due_at));
        self.post(&Posting::Hold { generation: id, amount: credits(7), key: Some(key()) });
    }

    fn end(&mut self, number: usize, state: State, charge: Option<u64>) {
        let hold = self.generations[number].hold();
        self.post(&match charge {
            Some(charge) => Posting::Charge { hold, charge: credits(charge) },
            None => Posting::Release { hold },
        });
        self.generations[number].state = state;
        self.generations[number].due_at = None;
    }

    fn entry(&mut self, id: &str) -> &mut Entry {
        self.entries.iter_mut().find(|entry| entry.id.starts_with(id)).expect("an entry")
    }

    /// As whoever reads it does.
    fn look(&self) -> Reconciliation {
        let mut books = Books::of(self.account.clone(), self.now);
        self.entries.iter().rev().for_each(|entry| books.entry(entry));
        let mut matching = books.closed(&self.account);
        self.generations.iter().for_each(|generation| matching.generation(generation));
        let (mut report, in_doubt) = matching.finish();
        for id in in_doubt {
            let mut line = Line::default();
            self.entries.iter().filter(|entry| entry.generation == Some(id)).for_each(|entry| line.add(entry));
            let generation = self.generations.iter().find(|generation| generation.id == id);
            report.add(judge(id, &line, generation, self.now));
        }
        report
    }
}

#[test]
fn right_books_are_clean_and_say_what_is_open() {
    let report = World::mixed().look();
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!((report.entries, report.generations, report.open_holds_total), (12, 5, 1));
    assert_eq!((report.open_holds[0].credits.get(), report.open_holds[0].phase.as_str()), (7, "queued"));
}

#[test]
fn each_way_of_being_wrong_is_told_once_by_its_name() {
    use FindingKind as K;
    type Tamper = fn(&mut World);
    let ways: [(Tamper, &[FindingKind]); 19] = [
        (|world| world.account.available = credits(1_000), &[K::CountersDiffer]),
        (|world| world.account.held = credits(70), &[K::CountersDiffer]),
        (|world| world.entries.retain(|entry| entry.id != "grant#a"), &[K::SequenceGap]),
        (|world| world.account.entries += 1, &[K::SequenceGap]),
        (|world| world.entry("grant#b").sequence = 1, &[K::SequenceTwice, K::SequenceGap]),
        (|world| world.entry("grant#b").balance_after = credits(99), &[K::WrongBalance]),
        (|world| world.entry("grant#b").amount = credits(41), &[K::WrongEntry]),
        (|world| drop(world.generations.remove(0)), &[K::HoldWithoutGeneration]),
        (
            |world| {
                let unheld = GenerationId::from_parts(99, [99; 10]);
                world.generations.push(Generation { id: unheld, ..world.generations[4].clone() });
            },
            &[K::GenerationWithoutHold],
        ),
        (|world| world.generations[4].hold = credits(8), &[K::HoldDiffers]),
        (
            |world| {
                let generation = world.generations[0].id;
                let release = Posting::Release { hold: world.generations[0].hold() };
                world.account.usage.in_flight += 1;
                world.account.keys.get_mut(&key()).expect("the key").usage.in_flight += 1;
                world.post(&release);
                assert_eq!(world.entries.last().expect("written").generation, Some(generation));
            },
            &[K::HoldClosedTwice],
        ),
        (
            |world| {
                let charged = Credits::ZERO;
                let finished_at = world.now;
                world.generations[4].state = State::Canceled { charged, finished_at };
            },
            &[K::HoldNeverClosed],
        ),
        (|world| world.generations[2].state = State::Queued { not_before: start(), waiting: None }, &[K::HoldClosedEarly]),
        (
            |world| {
                let (results, finished_at) = (Vec::new(), world.now);
                world.generations[0].state = State::Succeeded { results, charged: credits(6), finished_at };
            },
            &[K::ChargeDiffers],
        ),
        (
            |world| {
                let (results, finished_at) = (Vec::new(), world.now);
                world.generations[2].state = State::Succeeded { results, charged: Credits::ZERO, finished_at };
            },
            &[K::UnbilledSuccess],
        ),
        (
            |world| {
                let spent = Posting::Adjust { reference: "x".into(), change: -61, note: note() };
                let lots = world.account.lots.clone();
                world.post(&spent);
                world.account.lots = lots;
            },
            &[K::LotsAboveAvailable],
        ),
        (|world| world.account.usage.in_flight = 3, &[K::UsageDiffers]),
        (|world| world.account.keys.get_mut(&key()).expect("the key").usage.in_flight = 3, &[K::UsageDiffers]),
        (|world| world.generations[4].due_at = Some(start() - SignedDuration::from_mins(11)), &[K::Overdue]),
    ];
    for (number, (tamper, expected)) in ways.into_iter().enumerate() {
        let mut world = World::mixed();
        tamper(&mut world);
        let report = world.look();
        let mut kinds: Vec<FindingKind> = report.findings.iter().map(|finding| finding.kind).collect();
        kinds.sort_by_key(|kind| expected.iter().position(|own| own == kind));
        assert_eq!(kinds, expected, "way {number}: {:#?}", report.findings);
    }
}

fn note() -> crate::ledger::Note {
    crate::ledger::Note { by: None, reason: "as a test".into() }
}

#[test]
fn what_is_written_meanwhile_is_left_for_the_next_time() {
    let before = World::mixed();
    let mut after = before.clone();
    after.hold(5);
    let finished_at = start();
    after.end(4, State::Canceled { charged: Credits::ZERO, finished_at }, None);
    let mut books = Books::of(before.account.clone(), start());
    after.entries.iter().for_each(|entry| books.entry(entry));
    let mut matching = books.closed(&after.account);
    after.generations.iter().for_each(|generation| matching.generation(generation));
    let (report, in_doubt) = matching.finish();
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!(in_doubt, [after.generations[4].id, after.generations[5].id]);
}

#[test]
fn what_has_not_ended_for_days_is_told() {
    let mut world = World::mixed();
    world.now = start() + OLD_AFTER + SignedDuration::from_secs(1);
    world.generations[4].due_at = Some(world.now);
    let kinds: Vec<FindingKind> = world.look().findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::OldHold]);
}

#[test]
fn one_wrong_change_is_not_told_of_every_entry_after_it() {
    let mut world = World::mixed();
    let hold = world.entry("hold#");
    (hold.amount, hold.available_change, hold.held_change) = (credits(5), -5, 5);
    let found = world.look().findings;
    let balances = found.iter().filter(|finding| finding.kind == FindingKind::WrongBalance).count();
    assert_eq!(balances, 1, "{found:#?}");
}
