//! The entries as a chain: numbered without gaps, each with the balances that follow from those before it.

use super::{Finding, FindingKind};
use crate::ledger::{Account, Entry, EntryKind};

/// All that is kept of an entry.
#[derive(Debug, Clone, Copy)]
struct Step {
    sequence: u64,
    available_change: i64,
    held_change: i64,
    available_after: u64,
    held_after: u64,
}

/// The entries of one account, in the order in which they were read.
#[derive(Debug, Default)]
pub(super) struct Chain {
    steps: Vec<Step>,
    latest_later: u64,
}

/// Available and held.
type Balances = (i128, i128);

impl Step {
    fn told(&self) -> Balances {
        (i128::from(self.available_after), i128::from(self.held_after))
    }

    fn after(&self, before: Balances) -> Balances {
        (before.0 + i128::from(self.available_change), before.1 + i128::from(self.held_change))
    }

    /// What was there before it, if it tells the truth.
    fn before(&self) -> Balances {
        let told = self.told();
        (told.0 - i128::from(self.available_change), told.1 - i128::from(self.held_change))
    }
}

impl Chain {
    /// The number of an entry that was written after the account was read.
    pub(super) fn saw_later(&mut self, sequence: u64) {
        self.latest_later = self.latest_later.max(sequence);
    }

    pub(super) fn add(&mut self, entry: &Entry, found: &mut Vec<Finding>) {
        let Entry { available_change, held_change, .. } = *entry;
        let amount = entry.amount.signed();
        let fits = match entry.kind {
            EntryKind::Grant => (available_change, held_change) == (amount, 0),
            EntryKind::Hold => (available_change, held_change) == (-amount, amount),
            EntryKind::Charge => (available_change, held_change) == (0, -amount),
            EntryKind::Release => (available_change, held_change) == (amount, -amount),
            EntryKind::Adjust => available_change.abs() == amount && held_change == 0,
            EntryKind::Expire => (available_change, held_change) == (-amount, 0),
        };
        if !fits {
            let kind = entry.kind.word();
            let detail =
                format!("a {kind} of {amount} changes what is available by {available_change} and what is held by {held_change}");
            found.push(Finding { kind: FindingKind::WrongEntry, about: format!("entry {}", entry.sequence), detail });
        }
        self.steps.push(Step {
            sequence: entry.sequence,
            available_change,
            held_change,
            available_after: entry.balance_after.get(),
            held_after: entry.held_after.get(),
        });
    }

    /// `account` is from before the entries were read, `after` from after that.
    pub(super) fn judge(mut self, account: &Account, after: &Account) -> Vec<Finding> {
        self.steps.sort_unstable_by_key(|step| step.sequence);
        let mut found = Vec::new();
        let (mut next, mut sum, mut off): (u64, Balances, Balances) = (1, (0, 0), (0, 0));
        for same in self.steps.chunk_by(|one, other| one.sequence == other.sequence) {
            // Of two with the same number the one that follows from those before is believed.
            let follows = same.iter().find(|step| step.told() == step.after(sum));
            let Some(step) = follows.or(same.first()) else { continue };
            let about = format!("entry {}", step.sequence);
            if same.len() > 1 {
                let detail = format!("the number {} is given {} times", step.sequence, same.len());
                found.push(Finding { kind: FindingKind::SequenceTwice, about: about.clone(), detail });
            }
            if step.sequence > next {
                found.push(gap(next, step.sequence - 1));
                // What the missing ones did is only known from the next one.
                (sum, off) = (step.before(), (0, 0));
            }
            next = step.sequence + 1;
            sum = step.after(sum);
            let told = step.told();
            let differs = (told.0 - sum.0, told.1 - sum.1);
            // One wrong change makes all later balances wrong by the same: it is told once.
            if differs != off && differs != (0, 0) {
                let detail =
                    format!("it says {} available and {} held, the entries add up to {} and {}", told.0, told.1, sum.0, sum.1);
                found.push(Finding { kind: FindingKind::WrongBalance, about, detail });
            }
            off = differs;
        }
        if next <= account.entries {
            found.push(gap(next, account.entries));
        }
        if self.latest_later > after.entries {
            let detail =
                format!("there is an entry with the number {}, and the account has {} entries", self.latest_later, after.entries);
            found.push(Finding { kind: FindingKind::SequenceTwice, about: format!("entry {}", self.latest_later), detail });
        }
        let told = (i128::from(account.available.get()), i128::from(account.held.get()));
        if told != sum {
            let detail =
                format!("{} available and {} held are counted, the entries add up to {} and {}", told.0, told.1, sum.0, sum.1);
            found.push(Finding { kind: FindingKind::CountersDiffer, about: "account".to_owned(), detail });
        }
        found
    }
}

fn gap(first: u64, last: u64) -> Finding {
    let detail =
        if first == last { format!("entry {first} is missing") } else { format!("entries {first} to {last} are missing") };
    Finding { kind: FindingKind::SequenceGap, about: format!("entry {first}"), detail }
}
