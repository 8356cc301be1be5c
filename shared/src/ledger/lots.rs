//! Credits that end at a time: which are spent first, and where those go that are given back.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::credits::Credits;

/// What is left in `available` of one grant that ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lot {
    /// The reference of the grant.
    pub grant: String,
    /// From this moment on it cannot be spent any more.
    pub ends_at: Timestamp,
    /// Above zero.
    pub left: Credits,
}

/// The lots of one account: soonest end first, by reference where they end together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lots(Vec<Lot>);

/// Part of a hold that came from a lot.
pub type Taken = Lot;

impl Lots {
    /// No grant with an end is added beyond so many.
    pub const MAX: usize = 40;

    /// There are never more, whatever is given back: all may end at once, and each needs an entry in one transaction, which has 100 items.
    const MOST: usize = 60;

    /// Soonest end first.
    pub fn iter(&self) -> impl Iterator<Item = &Lot> {
        self.0.iter()
    }

    /// No grant with an end can be added.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= Self::MAX
    }

    /// When the first of them ends.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.0.first().map(|lot| lot.ends_at)
    }

    /// What has ended by `now` and is still counted as available.
    pub fn ended(&self, now: Timestamp) -> Credits {
        let ended = self.0.iter().filter(|lot| lot.ends_at <= now);
        ended.fold(Credits::ZERO, |sum, lot| sum.plus(lot.left).unwrap_or(Credits::MAX))
    }

    pub(super) fn put(&mut self, lot: Lot) {
        if lot.left == Credits::ZERO {
            return;
        }
        let order = |own: &Lot| (own.ends_at, own.grant.clone()).cmp(&(lot.ends_at, lot.grant.clone()));
        match self.0.binary_search_by(order) {
            Ok(at) => self.0[at].left = self.0[at].left.plus(lot.left).unwrap_or(Credits::MAX),
            Err(at) if self.0.len() < Self::MOST => self.0.insert(at, lot),
            // In with a neighbour: nobody's credits end sooner by it.
            Err(at) => {
                let near = at.min(self.0.len() - 1);
                let own = &mut self.0[near];
                own.left = own.left.plus(lot.left).unwrap_or(Credits::MAX);
                own.ends_at = own.ends_at.max(lot.ends_at);
            }
        }
    }

    /// Takes out what has ended by `now`.
    pub(super) fn remove_ended(&mut self, now: Timestamp) -> Vec<Lot> {
        let count = self.0.iter().take_while(|lot| lot.ends_at <= now).count();
        self.0.drain(..count).collect()
    }

    /// Takes up to `amount`, from what ends soonest: what was taken. The rest of `amount` comes from credits that do not end.
    pub(super) fn take(&mut self, amount: Credits) -> Vec<Taken> {
        let (mut wanted, mut taken) = (amount, Vec::new());
        while wanted > Credits::ZERO {
            let Some(first) = self.0.first_mut() else { break };
            let part = first.left.min(wanted);
            taken.push(Taken { left: part, ..first.clone() });
            wanted = wanted.minus(part).unwrap_or(Credits::ZERO);
            first.left = first.left.minus(part).unwrap_or(Credits::ZERO);
            if first.left == Credits::ZERO {
                self.0.remove(0);
            }
        }
        taken
    }
}

/// The part of a hold that is given back when `returned` of its `amount` is not spent: what ends soonest is spent first.
pub(super) fn given_back(from: &[Taken], amount: Credits, returned: Credits) -> Vec<Taken> {
    let spent = amount.minus(returned).unwrap_or(Credits::ZERO);
    let mut unspent = Lots(from.to_vec());
    unspent.take(spent);
    unspent.0
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn lot(grant: &str, hour: i64, left: u64) -> Lot {
        let ends_at = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour);
        Lot { grant: grant.to_owned(), ends_at, left: Credits::new(left).expect("small") }
    }

    fn lots(all: &[Lot]) -> Lots {
        let mut lots = Lots::default();
        all.iter().cloned().for_each(|lot| lots.put(lot));
        lots
    }

    fn credits(amount: u64) -> Credits {
        Credits::new(amount).expect("small")
    }

    #[test]
    fn what_ends_soonest_is_taken_first() {
        let mut own = lots(&[lot("late", 9, 5), lot("b", 2, 3), lot("a", 2, 4)]);
        assert_eq!(own.take(credits(5)), [lot("a", 2, 4), lot("b", 2, 1)]);
        assert_eq!(own, lots(&[lot("b", 2, 2), lot("late", 9, 5)]));
        assert_eq!(own.take(credits(100)), [lot("b", 2, 2), lot("late", 9, 5)]);
        assert_eq!(own, Lots::default());
    }

    #[test]
    fn what_is_not_spent_comes_back_from_what_ends_last() {
        let from = [lot("a", 2, 4), lot("b", 9, 3)];
        // Ten were held, three of them do not end.
        assert_eq!(given_back(&from, credits(10), credits(10)), from);
        assert_eq!(given_back(&from, credits(10), credits(5)), [lot("b", 9, 2)]);
        assert_eq!(given_back(&from, credits(10), credits(3)), []);
    }

    #[test]
    fn there_is_an_end_to_the_number_of_lots() {
        let mut own = Lots::default();
        (0..200).for_each(|n| own.put(lot("x", (n * 7) % 200, 1)));
        assert_eq!(own.iter().count(), Lots::MOST);
        assert_eq!(own.ended(Timestamp::MAX), credits(200));
        assert!(own.iter().zip(own.iter().skip(1)).all(|(one, next)| one.ends_at <= next.ends_at));
        // Nothing ended before its time.
        let day = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(100);
        assert!(own.ended(day) <= credits(101), "{}", own.ended(day));
    }

    #[test]
    fn what_ends_after_all_others_finds_a_place_too_when_there_are_too_many() {
        let mut own = Lots::default();
        (0..60).for_each(|n| own.put(lot("x", n, 1)));
        own.put(lot("last", 100, 5));
        let last = own.iter().last().expect("there are lots");
        assert_eq!((own.iter().count(), last.left, last.ends_at), (Lots::MOST, credits(6), lot("", 100, 1).ends_at));
    }

    #[test]
    fn an_end_is_the_first_moment_at_which_it_is_over() {
        let mut own = lots(&[lot("a", 2, 4), lot("b", 3, 1)]);
        let end = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(2);
        assert_eq!(own.ended(end - SignedDuration::from_millis(1)), Credits::ZERO);
        assert_eq!((own.ended(end), own.next_end()), (credits(4), Some(end)));
        assert_eq!(own.remove_ended(end), [lot("a", 2, 4)]);
        assert_eq!(own, lots(&[lot("b", 3, 1)]));
    }
}
