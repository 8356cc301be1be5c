//! How far the erasure of all of an account's content is. Pure: a page is looked at elsewhere, and what follows is decided here.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ids::AccountId;

/// The record: one for each account, written anew by each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountErasure {
    /// Whose content.
    pub account: AccountId,
    /// Raised by each change; a write is conditional on it.
    pub version: u64,
    /// What was there at this moment is erased.
    pub requested_at: Timestamp,
    /// What is to be done next.
    pub step: Step,
    /// Generations that are erased.
    pub generations: u64,
    /// Assets that are erased.
    pub assets: u64,
    /// When the poll has to go on; none when it is done.
    pub due_at: Option<Timestamp>,
}

/// The lists are gone through by id. Those that cannot be erased yet are come back to: `left` is the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// The generations from this id on.
    Generations { from: String, left: Option<String> },
    /// The assets from this id on.
    Assets { from: String, left: Option<String> },
    /// The boxes from this id on: their names are content too.
    Boxes { from: String, left: Option<String> },
    /// Nothing.
    Done { finished_at: Timestamp },
}

/// What became of one generation, asset or box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing of its content is left.
    Erased,
    /// It could not be erased yet.
    Left,
    /// It came after the request.
    Younger,
}

/// The shortest pause before what was left is come back to.
const SHORTEST_PAUSE: SignedDuration = SignedDuration::from_mins(1);
/// The longest one.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(15);

impl AccountErasure {
    /// A request: from the beginning, also when an earlier one is under way.
    pub fn requested(earlier: Option<&Self>, account: AccountId, now: Timestamp) -> Self {
        Self {
            account,
            version: earlier.map_or(0, |earlier| earlier.version) + 1,
            requested_at: now,
            step: Step::Generations { from: String::new(), left: None },
            generations: 0,
            assets: 0,
            due_at: Some(now),
        }
    }

    /// When the last of it was erased.
    pub fn finished_at(&self) -> Option<Timestamp> {
        match self.step {
            Step::Generations { .. } | Step::Assets { .. } | Step::Boxes { .. } => None,
            Step::Done { finished_at } => Some(finished_at),
        }
    }

    /// After a page of the current step, in the order of ids; `is_last`: there is no further page.
    pub fn after_page(&self, page: &[(String, Fate)], is_last: bool, now: Timestamp) -> Self {
        let mut next = Self { version: self.version + 1, due_at: Some(now), ..self.clone() };
        // A box that is gone leaves nothing behind that could be counted twice, or once.
        let mut uncounted = 0;
        let (count, from, left) = match &mut next.step {
            Step::Generations { from, left } => (&mut next.generations, from, left),
            Step::Assets { from, left } => (&mut next.assets, from, left),
            Step::Boxes { from, left } => (&mut uncounted, from, left),
            Step::Done { .. } => return self.clone(),
        };
        for (id, fate) in page {
            match fate {
                // What comes after the first one that is left is looked at again, and counted then.
                Fate::Erased if left.is_none() => *count += 1,
                Fate::Left if left.is_none() => *left = Some(id.clone()),
                Fate::Erased | Fate::Left | Fate::Younger => {}
            }
        }
        if !is_last {
            // Right behind the last one: no id has this character.
            *from = page.last().map_or_else(|| from.clone(), |(id, _)| format!("{id}~"));
        } else if let Some(first) = left.take() {
            *from = first;
            let waited = now.duration_since(self.requested_at);
            next.due_at = Some(now + waited.clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
        } else {
            (next.step, next.due_at) = self.next_step(now);
        }
        next
    }

    fn next_step(&self, now: Timestamp) -> (Step, Option<Timestamp>) {
        match self.step {
            Step::Generations { .. } => (Step::Assets { from: String::new(), left: None }, Some(now)),
            Step::Assets { .. } => (Step::Boxes { from: String::new(), left: None }, Some(now)),
            Step::Boxes { .. } | Step::Done { .. } => (Step::Done { finished_at: now }, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(fates: &[(&str, Fate)]) -> Vec<(String, Fate)> {
        fates.iter().map(|(id, fate)| ((*id).to_owned(), *fate)).collect()
    }

    fn generations(from: &str, left: Option<&str>) -> Step {
        Step::Generations { from: from.to_owned(), left: left.map(str::to_owned) }
    }

    #[test]
    fn what_is_left_is_come_back_to_and_counted_once() {
        let start = Timestamp::UNIX_EPOCH;
        let asked = AccountErasure::requested(None, AccountId::from_parts(1, [1; 10]), start);
        let first = asked.after_page(&page(&[("a", Fate::Erased), ("b", Fate::Left), ("c", Fate::Erased)]), false, start);
        assert_eq!((&first.step, first.generations, first.due_at), (&generations("c~", Some("b")), 1, Some(start)));
        let second = first.after_page(&page(&[("d", Fate::Left), ("e", Fate::Younger)]), true, start);
        assert_eq!((&second.step, second.generations), (&generations("b", None), 1));
        assert_eq!(second.due_at, Some(start + SHORTEST_PAUSE));
        let later = start + SignedDuration::from_hours(2);
        let still = second.after_page(&page(&[("b", Fate::Left), ("c", Fate::Erased), ("d", Fate::Erased)]), true, later);
        assert_eq!((&still.step, still.due_at), (&generations("b", None), Some(later + LONGEST_PAUSE)));
        let third = still.after_page(&page(&[("b", Fate::Erased), ("c", Fate::Erased), ("d", Fate::Erased)]), true, later);
        assert_eq!((&third.step, third.generations), (&Step::Assets { from: String::new(), left: None }, 4));
        let fourth = third.after_page(&page(&[("x", Fate::Erased)]), true, later);
        assert_eq!((&fourth.step, fourth.finished_at()), (&Step::Boxes { from: String::new(), left: None }, None));
        let done = fourth.after_page(&page(&[("y", Fate::Erased), ("z", Fate::Younger)]), true, later);
        assert_eq!((done.finished_at(), done.due_at), (Some(later), None));
        assert_eq!((done.generations, done.assets), (4, 1));
        assert_eq!(done.after_page(&[], true, later), done);
    }

    #[test]
    fn a_second_request_begins_anew() {
        let start = Timestamp::UNIX_EPOCH;
        let first = AccountErasure::requested(None, AccountId::from_parts(1, [1; 10]), start);
        let under_way = first.after_page(&page(&[("a", Fate::Erased)]), false, start);
        let later = start + SHORTEST_PAUSE;
        let second = AccountErasure::requested(Some(&under_way), first.account, later);
        assert_eq!((second.version, second.requested_at, second.generations), (3, later, 0));
        assert_eq!((&second.step, second.due_at), (&generations("", None), Some(later)));
    }

    #[test]
    fn an_account_without_anything_is_done_at_once() {
        let start = Timestamp::UNIX_EPOCH;
        let asked = AccountErasure::requested(None, AccountId::from_parts(1, [1; 10]), start);
        let looked_at = |erasure: &AccountErasure| erasure.after_page(&[], true, start);
        assert_eq!(looked_at(&looked_at(&looked_at(&asked))).finished_at(), Some(start));
    }
}
