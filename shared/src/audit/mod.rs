//! An auditor who trusts nobody: it reads an account's entries only, by what each kind means, and says what must be in the account.
//!
//! No function uses it. It judges the simulated histories of `lifecycle` and, in the crate `tests`, those of the real table, and panics at
//! the first thing that does not fit.

mod random;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::credits::Credits;
use crate::generation::{Generation, State};
use crate::ids::{ApiKeyId, GenerationId};
use crate::ledger::{Account, Entry, EntryKind, SpendingLimits};

pub use random::Random;

/// What the entries read so far add up to.
#[derive(Debug, Default)]
pub struct Books {
    pub available: i128,
    pub held: i128,
    granted: i128,
    charged: i128,
    /// What is left of grants that end, soonest end first.
    lots: BTreeMap<(Timestamp, String), i128>,
    holds: BTreeMap<GenerationId, Held>,
    ids: BTreeSet<String>,
    entries: u64,
    last_at: Timestamp,
    /// What the last entry has to be followed by.
    owed: Option<(EntryKind, GenerationId, i128)>,
}

#[derive(Debug)]
struct Held {
    amount: i128,
    at: Timestamp,
    key: Option<ApiKeyId>,
    /// What it took of grants that end.
    from: BTreeMap<(Timestamp, String), i128>,
    charged: Option<i128>,
    released: Option<i128>,
}

impl Held {
    fn rest(&self) -> i128 {
        self.amount - self.charged.unwrap_or(0) - self.released.unwrap_or(0)
    }

    fn is_open(&self) -> bool {
        self.charged.is_none() && self.released.is_none()
    }
}

fn plain(credits: Credits) -> i128 {
    i128::from(credits.get())
}

fn day(at: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(at).date()
}

/// Takes up to `amount` from what ends soonest.
fn take(lots: &mut BTreeMap<(Timestamp, String), i128>, amount: i128) -> BTreeMap<(Timestamp, String), i128> {
    let (mut wanted, mut taken) = (amount, BTreeMap::new());
    while wanted > 0 {
        let Some(mut soonest) = lots.first_entry() else { break };
        let part = wanted.min(*soonest.get());
        taken.insert(soonest.key().clone(), part);
        *soonest.get_mut() -= part;
        wanted -= part;
        if *soonest.get() == 0 {
            soonest.remove();
        }
    }
    taken
}

impl Books {
    /// Reads all of an account's entries, oldest first.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut books = Self::default();
        entries.into_iter().for_each(|entry| books.read(entry));
        books
    }

    /// Reads the next entry. Panics on anything that no honest history contains.
    pub fn read(&mut self, entry: &Entry) {
        let before = (self.available, self.held);
        let amount = plain(entry.amount);
        assert_eq!(entry.sequence, self.entries + 1, "a gap in the sequence: {entry:#?}");
        assert!(self.ids.insert(entry.id.clone()), "`{}` is written twice", entry.id);
        assert!(self.entries == 0 || self.last_at <= entry.created_at, "the account's time runs backwards: {entry:#?}");
        (self.entries, self.last_at) = (entry.sequence, entry.created_at);
        let owed = self.owed.take();
        if let Some(owed) = owed {
            let follows = entry.generation.map(|generation| (entry.kind, generation, amount));
            assert_eq!(follows, Some(owed), "another entry was to follow: {entry:#?}");
        }
        if entry.kind != EntryKind::Expire {
            let ended = self.lots.iter().find(|((ends_at, _), _)| *ends_at <= entry.created_at);
            assert!(ended.is_none() || owed.is_some(), "{ended:?} should have been taken away before {entry:#?}");
        }
        match entry.kind {
            EntryKind::Grant => self.granted(entry, amount),
            EntryKind::Adjust => self.corrected(entry, amount),
            EntryKind::Hold => self.held(entry, amount),
            EntryKind::Charge => self.closed(entry, amount, true),
            EntryKind::Release => self.closed(entry, amount, false),
            EntryKind::Expire => self.expired(entry, amount, owed.is_some()),
        }
        let changes = (i128::from(entry.available_change), i128::from(entry.held_change));
        assert_eq!(changes, (self.available - before.0, self.held - before.1), "the changes do not fit the kind: {entry:#?}");
        let after = (plain(entry.balance_after), plain(entry.held_after));
        assert_eq!(after, (self.available, self.held), "the balances after it are wrong: {entry:#?}");
        assert!(self.available >= 0 && self.held >= 0, "below zero: {entry:#?}");
        assert_eq!(self.available + self.held, self.granted - self.charged, "credits appeared or vanished: {entry:#?}");
    }

    fn granted(&mut self, entry: &Entry, amount: i128) {
        self.available += amount;
        self.granted += amount;
        if let Some(ends_at) = entry.ends_at {
            assert!(ends_at > entry.created_at, "given after its end: {entry:#?}");
            let reference = entry.id.strip_prefix("grant#").expect("a grant's id").to_owned();
            self.give_back([((ends_at, reference), amount)]);
        }
    }

    fn corrected(&mut self, entry: &Entry, amount: i128) {
        let change = i128::from(entry.available_change);
        assert!(change.abs() == amount && entry.note.is_some(), "a correction: {entry:#?}");
        self.available += change;
        self.granted += change;
        take(&mut self.lots, -change);
    }

    fn held(&mut self, entry: &Entry, amount: i128) {
        let generation = entry.generation.expect("a hold is for a generation");
        assert_eq!(entry.id, format!("hold#{generation}"));
        self.available -= amount;
        self.held += amount;
        let from = take(&mut self.lots, amount);
        let held = Held { amount, at: entry.created_at, key: entry.key, from, charged: None, released: None };
        assert!(self.holds.insert(generation, held).is_none(), "a second hold: {entry:#?}");
    }

    fn closed(&mut self, entry: &Entry, amount: i128, is_charge: bool) {
        let generation = entry.generation.expect("what is closed was held for a generation");
        assert_eq!(entry.id, format!("{}#{generation}", entry.kind.word()));
        let hold = self.holds.get_mut(&generation).expect("closed before it was held");
        assert!(hold.released.is_none() && (!is_charge || hold.charged.is_none()), "closed a second time: {entry:#?}");
        // What a charge gives back comes with it, as the very next entry, which is looked for when it is read.
        let follows_its_charge = hold.charged.is_some();
        self.held -= amount;
        if is_charge {
            assert!(amount <= hold.amount, "charged more than was held: {entry:#?}");
            hold.charged = Some(amount);
            self.charged += amount;
            take(&mut hold.from, amount);
            if hold.rest() > 0 {
                self.owed = Some((EntryKind::Release, generation, hold.rest()));
            }
            return;
        }
        assert_eq!(amount, hold.rest(), "released something else than the rest: {entry:#?}");
        assert!(!follows_its_charge || amount > 0, "nothing was left to release: {entry:#?}");
        hold.released = Some(amount);
        self.available += amount;
        let back = std::mem::take(&mut hold.from);
        let (ended, good): (Vec<_>, Vec<_>) = back.into_iter().partition(|((ends_at, _), _)| *ends_at <= entry.created_at);
        self.give_back(good);
        let ended: i128 = ended.iter().map(|(_, left)| left).sum();
        if ended > 0 {
            self.owed = Some((EntryKind::Expire, generation, ended));
        }
    }

    fn give_back(&mut self, lots: impl IntoIterator<Item = ((Timestamp, String), i128)>) {
        for (lot, left) in lots.into_iter().filter(|(_, left)| *left > 0) {
            *self.lots.entry(lot).or_default() += left;
        }
    }

    fn expired(&mut self, entry: &Entry, amount: i128, was_owed: bool) {
        self.available -= amount;
        self.granted -= amount;
        if !was_owed {
            let ((ends_at, grant), left) = self.lots.pop_first().expect("nothing was left that could end");
            let is_its_own = entry.id.starts_with(&format!("expire#grant#{grant}#")) && entry.generation.is_none();
            assert!(ends_at <= entry.created_at && left == amount && is_its_own, "`{grant}` had {left} left: {entry:#?}");
        }
    }

    /// What can be spent at a time.
    pub fn spendable(&self, at: Timestamp) -> i128 {
        let ended: i128 = self.lots.iter().filter(|((ends_at, _), _)| *ends_at <= at).map(|(_, left)| left).sum();
        self.available - ended
    }

    /// Holds that are open, of one key or of all; and what was held on a day, or in a month, and not given back.
    fn usage(&self, key: Option<ApiKeyId>, on: impl Fn(Date) -> bool) -> (i128, i128) {
        let own = || self.holds.values().filter(|hold| key.is_none() || hold.key == key);
        let open = own().filter(|hold| hold.is_open()).count() as i128;
        let spent = own().filter(|hold| on(day(hold.at))).map(|hold| hold.amount - hold.released.unwrap_or(0)).sum();
        (open, spent)
    }

    /// After a hold: no limit that was in force is passed.
    pub fn are_within(&self, limits: &SpendingLimits, key: Option<ApiKeyId>) {
        let today = day(self.last_at);
        let (open, spent) = self.usage(key, |day| day == today);
        let (_, in_month) = self.usage(key, |day| day.first_of_month() == today.first_of_month());
        let most = |limit: Option<Credits>| limit.map_or(i128::MAX, plain);
        assert!(open <= limits.in_flight.map_or(i128::MAX, i128::from), "{open} at once are too many for {limits:?}");
        assert!(spent <= most(limits.spend_per_day) && in_month <= most(limits.spend_per_month), "{limits:?} passed: {self:#?}");
    }

    /// The account says what its entries say.
    pub fn agree(&self, account: &Account) {
        let told = || format!("{account:#?}\n{self:#?}");
        assert_eq!(self.owed, None, "an entry is missing: {}", told());
        assert_eq!((self.available, self.held), (plain(account.available), plain(account.held)), "counters: {}", told());
        assert_eq!(self.entries, account.entries, "each entry is counted: {}", told());
        let open: i128 = self.holds.values().filter(|hold| hold.is_open()).map(|hold| hold.amount).sum();
        assert_eq!(open, self.held, "what is held is held for somebody: {}", told());
        let lots: BTreeMap<_, _> = account.lots.iter().map(|lot| ((lot.ends_at, lot.grant.clone()), plain(lot.left))).collect();
        assert_eq!(self.lots, lots, "what ends: {}", told());
        assert!(self.lots.values().sum::<i128>() <= self.available, "more ends than there is: {}", told());
        let everybody = std::iter::once((None, &account.usage));
        for (key, usage) in everybody.chain(account.keys.iter().map(|(key, own)| (Some(*key), &own.usage))) {
            let (open, today) = self.usage(key, |day| day == usage.day.since);
            let (_, month) = self.usage(key, |day| day.first_of_month() == usage.month.since);
            let counted = (i128::from(usage.in_flight), plain(usage.day.credits), plain(usage.month.credits));
            assert_eq!(counted, (open, today, month), "usage of {key:?}: {}", told());
            let last = self.holds.values().filter(|hold| key.is_none() || hold.key == key).map(|hold| day(hold.at)).max();
            assert!(last.is_none_or(|last| last == usage.day.since), "it counts another day than the last: {}", told());
        }
    }

    /// The generations say what the entries say: held from acceptance to the end, closed once, charged what the customer is told.
    pub fn agree_with<'a>(&self, generations: impl IntoIterator<Item = &'a Generation>) {
        let mut count = 0;
        for generation in generations {
            count += 1;
            let told = || format!("{generation:#?}\n{self:#?}");
            let hold = self.holds.get(&generation.id).unwrap_or_else(|| panic!("never held: {}", told()));
            assert_eq!((hold.amount, hold.key), (plain(generation.hold), generation.funds.key), "the hold: {}", told());
            let charged = match &generation.state {
                State::Succeeded { charged, .. } | State::Failed { charged, .. } | State::Canceled { charged, .. } => {
                    Some(*charged)
                }
                State::Queued { .. }
                | State::Claimed { .. }
                | State::Running { .. }
                | State::Unconfirmed { .. }
                | State::Collecting { .. } => None,
            };
            assert_eq!(hold.is_open(), charged.is_none(), "the hold is open as long as the generation: {}", told());
            assert_eq!(hold.charged.unwrap_or(0), plain(charged.unwrap_or_default()), "what the customer is told: {}", told());
        }
        assert_eq!(count, self.holds.len(), "holds without a generation: {self:#?}");
    }
}
