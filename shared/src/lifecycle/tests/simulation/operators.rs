//! What operators do by hand. A new thing that they may do to an account or a generation belongs here.

use super::table::Outcome;
use super::*;
use crate::ledger::Note;

pub(super) fn key(number: u8) -> ApiKeyId {
    ApiKeyId::from_parts(1, [number; 10])
}

impl World {
    /// An account with two keys and, mostly, some credits.
    pub(super) fn opening(&mut self) {
        let now = self.now;
        for number in [1, 2] {
            let limits = self.some_limits();
            self.set(0, |account| account.with_key(key(number), limits, None, now));
        }
        self.grant(0);
        self.grant(0);
    }

    pub(super) fn an_operator_acts(&mut self) {
        let process = self.random.index(2);
        match self.random.below(12) {
            0..4 => self.grant(process),
            4..6 => self.correct(process),
            6..8 => {
                let SpendingLimits { in_flight, spend_per_day, spend_per_month } = self.some_limits();
                let limits = LimitsChange {
                    in_flight: Some(in_flight),
                    spend_per_day: Some(spend_per_day),
                    spend_per_month: Some(spend_per_month),
                };
                let change = AccountChange { limits, ..AccountChange::default() };
                self.set(process, |account| Ok(account.changed(&change)));
            }
            8..10 => {
                let suspended = self.random.percent(30);
                let change = AccountChange { suspended: Some(suspended), ..AccountChange::default() };
                self.set(process, |account| Ok(account.changed(&change)));
            }
            10 => {
                let (number, now) = (self.random.index(2) + 1, self.clock(process));
                let ends_at = now + seconds(self.random.between(0, 30));
                let key = key(u8::try_from(number).expect("one of two"));
                self.set(process, |account| Ok(account.with_key_ending(key, ends_at, now)));
            }
            _ => self.take_away_what_has_ended(process),
        }
    }

    /// Sometimes with a reference that was used before: the same grant.
    fn grant(&mut self, process: usize) {
        let now = self.clock(process);
        let reference = if self.random.percent(15) { self.references / 2 } else { self.references };
        self.references += 1;
        let ends_at = self.random.percent(60).then(|| now + seconds(self.random.between(1, 900)));
        let amount = credits(self.random.below(20));
        let posting = Posting::Grant { reference: format!("r{reference}"), amount, ends_at, note: None };
        self.by_hand(process, &posting, now);
    }

    fn correct(&mut self, process: usize) {
        let now = self.clock(process);
        self.references += 1;
        let note = Note { by: None, reason: "a correction".to_owned() };
        let (reference, change) = (format!("c{}", self.references), self.random.between(-8, 8));
        self.by_hand(process, &Posting::Adjust { reference, change, note }, now);
    }

    pub(super) fn take_away_what_has_ended(&mut self, process: usize) {
        let now = self.clock(process);
        self.by_hand(process, &Posting::Expire, now);
    }

    fn by_hand(&mut self, process: usize, posting: &Posting, now: Timestamp) {
        self.tell(|| format!("  {posting:?}"));
        match self.change(process, |account| account.post(posting, now)) {
            Outcome::Posted(posted) => self.write(process, &posted),
            Outcome::Exists => assert!(matches!(posting, Posting::Grant { .. }), "a grant alone may be given again: {posting:?}"),
            Outcome::Refused(Refusal::InsufficientCredits { .. }) => {
                let Posting::Adjust { change, .. } = posting else { panic!("{posting:?} costs nothing") };
                let spendable = self.books.spendable(self.table.account.time_of_posting(now));
                assert!(i128::from(-change) > spendable, "there is enough for {posting:?}");
            }
            // Given by a clock that is behind.
            Outcome::Refused(Refusal::EndedGrant { ends_at }) => assert!(ends_at <= self.table.account.posted_at),
            Outcome::Refused(refusal) => panic!("{posting:?}: {refusal}"),
        }
    }

    /// Moves no credits.
    fn set(&mut self, process: usize, decide: impl Fn(&Account) -> Result<Posted, Refusal>) {
        match self.change(process, decide) {
            Outcome::Posted(posted) => self.write(process, &posted),
            Outcome::Exists | Outcome::Refused(_) => panic!("nothing forbids it"),
        }
    }

    fn some_limits(&mut self) -> SpendingLimits {
        let mut some = |chance: u64, most: i64| {
            let limit = self.random.between(1, most).cast_unsigned();
            self.random.percent(chance).then_some(limit)
        };
        SpendingLimits {
            in_flight: some(30, 4).map(|limit| u32::try_from(limit).expect("small")),
            spend_per_day: some(30, 40).map(credits),
            spend_per_month: some(30, 60).map(credits),
        }
    }
}
