//! Postings: the one place where balances change.

use jiff::Timestamp;

use super::lots::given_back;
use super::{
    Account, Entry, EntryKind, Hold, KeyUse, LimitReached, Lot, Note, Posted, Posting, Refusal, SpendingLimits, Usage, Whose,
};
use crate::credits::Credits;
use crate::ids::{ApiKeyId, GenerationId};

impl Account {
    /// Applies one posting. Changes nothing when it refuses.
    pub fn post(&self, posting: &Posting, now: Timestamp) -> Result<Posted, Refusal> {
        let now = self.time_of_posting(now);
        let mut posted = Posted { account: self.clone(), entries: Vec::with_capacity(2), taken: Vec::new(), at: now };
        posted.account.version += 1;
        posted.account.posted_at = now.max(self.posted_at);
        posted.expire(now)?;
        match posting {
            Posting::Grant { reference, amount, ends_at, note } => {
                posted.grant(reference, *amount, *ends_at, note.as_ref(), now)?;
            }
            Posting::Hold { generation, amount, key } => posted.hold(*generation, *amount, *key, now)?,
            Posting::Charge { hold, charge } => posted.close(hold, Some(*charge), now)?,
            Posting::Release { hold } => posted.close(hold, None, now)?,
            Posting::Adjust { reference, change, note } => posted.adjust(reference, *change, note)?,
            Posting::Expire => {}
        }
        Ok(posted)
    }
}

/// What differs between the kinds of entries.
struct Line {
    kind: EntryKind,
    about: String,
    amount: Credits,
    generation: Option<GenerationId>,
    key: Option<ApiKeyId>,
    ends_at: Option<Timestamp>,
    note: Option<Note>,
}

impl Line {
    fn new(kind: EntryKind, about: impl Into<String>, amount: Credits) -> Self {
        Self { kind, about: about.into(), amount, generation: None, key: None, ends_at: None, note: None }
    }

    fn of(kind: EntryKind, generation: GenerationId, amount: Credits) -> Self {
        Self { generation: Some(generation), ..Self::new(kind, generation.to_string(), amount) }
    }
}

impl Posted {
    /// What has ended is gone before anything else is decided.
    fn expire(&mut self, now: Timestamp) -> Result<(), Refusal> {
        for Lot { grant, left, .. } in self.account.lots.remove_ended(now) {
            // Numbered: parts of one grant may end at different times, where there were too many lots to keep all apart.
            let about = format!("grant#{grant}#{}", self.account.entries + 1);
            let line = Line::new(EntryKind::Expire, about, left);
            self.write(line, -left.signed(), 0)?;
        }
        Ok(())
    }

    fn grant(
        &mut self,
        reference: &str,
        amount: Credits,
        ends_at: Option<Timestamp>,
        note: Option<&Note>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if let Some(ends_at) = ends_at {
            if ends_at <= now {
                return Err(Refusal::EndedGrant { ends_at });
            }
            if self.account.lots.is_full() {
                return Err(Refusal::TooManyEndingGrants);
            }
            self.account.lots.put(Lot { grant: reference.to_owned(), ends_at, left: amount });
        }
        let line = Line { ends_at, note: note.cloned(), ..Line::new(EntryKind::Grant, reference, amount) };
        self.write(line, amount.signed(), 0)
    }

    fn hold(&mut self, generation: GenerationId, amount: Credits, key: Option<ApiKeyId>, now: Timestamp) -> Result<(), Refusal> {
        let account = &mut self.account;
        if account.suspended {
            return Err(Refusal::Suspended);
        }
        if let Some(key) = key {
            let own = account.keys.get_mut(&key).filter(|own| own.ends_at.is_none_or(|end| now < end));
            let KeyUse { limits, usage, .. } = own.ok_or(Refusal::KeyEnded)?;
            count(usage, limits, Whose::Key, amount, now)?;
        }
        count(&mut account.usage, &account.limits, Whose::Account, amount, now)?;
        self.spend(amount)?;
        let line = Line { key, ..Line::of(EntryKind::Hold, generation, amount) };
        self.write(line, -amount.signed(), amount.signed())
    }

    /// Takes from what ends soonest; the counters are left to the entry.
    fn spend(&mut self, amount: Credits) -> Result<(), Refusal> {
        let available = self.account.available;
        if available < amount {
            return Err(Refusal::InsufficientCredits { available, needed: amount });
        }
        self.taken = self.account.lots.take(amount);
        Ok(())
    }

    /// `charge`: what of the hold is spent; none when it is only given back.
    fn close(&mut self, hold: &Hold, charge: Option<Credits>, now: Timestamp) -> Result<(), Refusal> {
        if self.account.held < hold.amount {
            return Err(Refusal::HeldTooLow { held: self.account.held, closing: hold.amount });
        }
        let spent = charge.unwrap_or(Credits::ZERO);
        let rest = hold.amount.minus(spent).ok_or(Refusal::ChargeAboveHold { held: hold.amount, charge: spent })?;
        self.account.usage.close(rest, hold.held_at);
        if let Some(own) = hold.key.and_then(|key| self.account.keys.get_mut(&key)) {
            own.usage.close(rest, hold.held_at);
        }
        if charge.is_some() {
            self.write(Line::of(EntryKind::Charge, hold.generation, spent), 0, -spent.signed())?;
        }
        if charge.is_none() || rest > Credits::ZERO {
            self.write(Line::of(EntryKind::Release, hold.generation, rest), rest.signed(), -rest.signed())?;
        }
        let back = given_back(&hold.from, hold.amount, rest).into_iter();
        let (ended, good): (Vec<_>, Vec<_>) = back.partition(|lot| lot.ends_at <= now);
        good.into_iter().for_each(|lot| self.account.lots.put(lot));
        let ended = ended.iter().try_fold(Credits::ZERO, |sum, lot| sum.plus(lot.left)).ok_or(Refusal::Overflow)?;
        if ended > Credits::ZERO {
            self.write(Line::of(EntryKind::Expire, hold.generation, ended), -ended.signed(), 0)?;
        }
        Ok(())
    }

    fn adjust(&mut self, reference: &str, change: i64, note: &Note) -> Result<(), Refusal> {
        let amount = Credits::new(change.unsigned_abs()).map_err(|_| Refusal::Overflow)?;
        if change < 0 {
            self.spend(amount)?;
            self.taken.clear();
        }
        let line = Line { note: Some(note.clone()), ..Line::new(EntryKind::Adjust, reference, amount) };
        self.write(line, change, 0)
    }

    fn write(&mut self, line: Line, available_change: i64, held_change: i64) -> Result<(), Refusal> {
        let account = &mut self.account;
        let changed = |counter: Credits, change: i64| {
            let sum = counter.get().checked_add_signed(change)?;
            Credits::new(sum).ok()
        };
        let available = changed(account.available, available_change).ok_or(Refusal::Overflow)?;
        let held = changed(account.held, held_change).ok_or(Refusal::Overflow)?;
        available.plus(held).ok_or(Refusal::Overflow)?;
        account.available = available;
        account.held = held;
        account.entries += 1;
        self.entries.push(Entry {
            id: format!("{}#{}", line.kind.word(), line.about),
            account: account.id,
            kind: line.kind,
            amount: line.amount,
            available_change,
            held_change,
            balance_after: available,
            held_after: held,
            generation: line.generation,
            key: line.key,
            ends_at: line.ends_at,
            note: line.note,
            sequence: account.entries,
            created_at: account.posted_at,
        });
        Ok(())
    }
}

fn count(usage: &mut Usage, limits: &SpendingLimits, whose: Whose, amount: Credits, now: Timestamp) -> Result<(), Refusal> {
    usage.hold(limits, amount, now).map_err(|reached: LimitReached| Refusal::Limit { whose, reached })
}
