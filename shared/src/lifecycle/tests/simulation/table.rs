//! The table: what is written together is written or not, on conditions.

use super::*;

#[derive(Debug)]
pub(super) struct Table {
    pub(super) account: Account,
    pub(super) generations: Vec<Generation>,
    pub(super) entries: Vec<Entry>,
    /// What was made of the requests with an idempotency key.
    pub(super) requests: BTreeMap<u64, GenerationId>,
}

/// A condition that is left out, or a step that is done wrong: what the auditor has to notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// The counters are checked when they are read and not when they are written.
    CheckedThenWritten,
    /// A stale decision is written over what another worker decided.
    OverAnyVersion,
    /// The end is written and its posting is not.
    EndWithoutPosting,
    /// What a hold took from credits that end is not remembered.
    SourcesForgotten,
    /// The record is written for a second hold of the same request.
    KeyUnconditional,
    /// A hold is given back after it was charged.
    ReleasedAfterCharge,
    /// A callback that comes twice charges twice.
    ChargedAgain,
    /// Spending counts for the day on which it is given back.
    CountedOnAnotherDay,
}

impl Bug {
    pub(super) const ALL: [Self; 8] = [
        Self::CheckedThenWritten,
        Self::OverAnyVersion,
        Self::EndWithoutPosting,
        Self::SourcesForgotten,
        Self::KeyUnconditional,
        Self::ReleasedAfterCharge,
        Self::ChargedAgain,
        Self::CountedOnAnotherDay,
    ];
}

/// What became of a posting.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "taken apart at once")]
pub(super) enum Outcome {
    Posted(Posted),
    Refused(Refusal),
    /// An entry of this name is there already.
    Exists,
}

impl World {
    /// As `Store::change`: decided on what this process remembers, written if the account is still so, refused only on what is read fresh.
    pub(super) fn change(&mut self, process: usize, decide: impl Fn(&Account) -> Result<Posted, Refusal>) -> Outcome {
        let mut remembered = self.processes[process].memory.take();
        loop {
            let fresh = remembered.is_none();
            let before = remembered.take().unwrap_or_else(|| self.table.account.clone());
            let posted = match decide(&before) {
                Ok(posted) => posted,
                Err(refusal) if fresh => return Outcome::Refused(refusal),
                Err(_) => continue,
            };
            assert_eq!(posted.account.version, before.version + 1);
            if before.version != self.table.account.version && self.bug != Some(Bug::CheckedThenWritten) {
                self.seen.insert("decided on stale counters");
                continue;
            }
            let exists = posted.entries.iter().any(|entry| self.table.entries.iter().any(|there| there.id == entry.id));
            if exists {
                return Outcome::Exists;
            }
            return Outcome::Posted(posted);
        }
    }

    /// Writes what [`World::change`] allowed.
    pub(super) fn write(&mut self, process: usize, posted: &Posted) {
        self.table.account = posted.account.clone();
        self.processes[process].memory = Some(posted.account.clone());
        for entry in &posted.entries {
            self.books.read(entry);
            if entry.kind == EntryKind::Expire {
                self.seen.insert(if entry.generation.is_some() { "ended while it was held" } else { "ended unspent" });
            }
            self.tell(|| format!("    {} {} -> {} + {}", entry.id, entry.amount, entry.balance_after, entry.held_after));
        }
        let has = |kind| posted.entries.iter().any(|entry| entry.kind == kind);
        if has(EntryKind::Charge) && has(EntryKind::Release) {
            self.seen.insert("charged in part");
        }
        self.table.entries.extend(posted.entries.iter().cloned());
        let (available, held) = (self.table.account.available.get().into(), self.table.account.held.get().into());
        assert_eq!((self.books.available, self.books.held), (available, held), "the counters are not what was written");
    }

    /// As `Store::accept`. Says whether it is new.
    pub(super) fn accept(&mut self, process: usize, generation: &Generation, request: Option<u64>) -> bool {
        let now = generation.created_at;
        let hold = Posting::Hold { generation: generation.id, amount: generation.hold, key: generation.funds.key };
        match self.change(process, |account| account.post(&hold, now)) {
            Outcome::Refused(refusal) => self.check_refusal(&refusal, generation, now),
            Outcome::Exists => {}
            Outcome::Posted(posted) => {
                let is_known = request.is_some_and(|request| self.table.requests.contains_key(&request));
                if is_known && self.bug != Some(Bug::KeyUnconditional) {
                    self.seen.insert("an acceptance repeated");
                    return false;
                }
                assert!(!is_known, "one request held twice");
                if posted.at > now {
                    self.seen.insert("posted before an earlier time");
                }
                let from = if self.bug == Some(Bug::SourcesForgotten) { Vec::new() } else { posted.taken.clone() };
                if !from.is_empty() {
                    self.seen.insert("a hold partly of credits that end");
                }
                let funds = Funds { from, held_at: posted.at, ..generation.funds.clone() };
                self.table.generations.push(Generation { funds, ..generation.clone() });
                self.table.requests.extend(request.map(|request| (request, generation.id)));
                let Account { limits, ref keys, .. } = posted.account;
                let key = generation.funds.key.map(|key| (key, keys[&key].limits));
                self.write(process, &posted);
                self.books.are_within(&limits, None);
                if let Some((key, limits)) = key {
                    self.books.are_within(&limits, Some(key));
                }
                return true;
            }
        }
        false
    }

    fn check_refusal(&mut self, refusal: &Refusal, generation: &Generation, now: Timestamp) {
        let account = &self.table.account;
        let at = account.time_of_posting(now);
        let (word, is_right) = match refusal {
            Refusal::Suspended => ("refused: suspended", account.suspended),
            Refusal::KeyEnded => {
                let own = generation.funds.key.and_then(|key| account.keys.get(&key));
                ("refused: key ended", own.is_none_or(|own| own.ends_at.is_some_and(|end| end <= at)))
            }
            Refusal::Limit { .. } => ("refused: limit", true),
            Refusal::InsufficientCredits { .. } => {
                ("refused: too few credits", self.books.spendable(at) < i128::from(generation.hold.get()))
            }
            Refusal::Overflow
            | Refusal::TooManyEndingGrants
            | Refusal::TooManyKeys
            | Refusal::EndedGrant { .. }
            | Refusal::ChargeAboveHold { .. }
            | Refusal::HeldTooLow { .. } => ("refused", false),
        };
        assert!(is_right, "{refusal}: {account:#?}");
        self.seen.insert(word);
        self.tell(|| format!("    refused: {refusal}"));
    }

    /// As `Store::commit`; `false` when somebody else was faster.
    pub(super) fn commit(&mut self, process: usize, which: usize, decision: &Decision, now: Timestamp) -> bool {
        let next = &decision.next;
        if self.table.generations[which].version != next.version - 1 && self.bug != Some(Bug::OverAnyVersion) {
            self.seen.insert("decided on a stale record");
            return false;
        }
        let mut posting = decision.posting.clone();
        match self.bug {
            Some(Bug::EndWithoutPosting) if self.random.percent(20) => posting = None,
            Some(Bug::CountedOnAnotherDay) => {
                if let Some(Posting::Charge { hold, .. } | Posting::Release { hold }) = &mut posting {
                    hold.held_at = now;
                }
            }
            Some(_) | None => {}
        }
        if let Some(posting) = &posting {
            match self.change(process, |account| account.post(posting, now)) {
                Outcome::Posted(posted) => self.write(process, &posted),
                Outcome::Exists => return false,
                Outcome::Refused(refusal) => panic!("the books do not allow a settlement: {refusal}"),
            }
        }
        self.table.generations[which] = next.clone();
        self.seen.extend(landmarks(next));
        match (self.bug, &posting) {
            (Some(Bug::ReleasedAfterCharge), Some(Posting::Charge { hold, .. })) => {
                self.post_anyway(&Posting::Release { hold: hold.clone() }, now);
            }
            (Some(Bug::ChargedAgain), Some(charge @ Posting::Charge { .. })) => self.post_anyway(charge, now),
            _ => {}
        }
        true
    }

    /// Without any condition.
    fn post_anyway(&mut self, posting: &Posting, now: Timestamp) {
        if let Ok(posted) = self.table.account.post(posting, now) {
            self.write(0, &posted);
        }
    }
}
