//! The money: an account's two counters and the immutable entries that explain them.
//!
//! A *hold* moves credits from available to held; it is closed exactly once, by a *charge* (credits leave; what was held beyond the
//! charge is released) or by a *release* (credits return). Entry ids are deterministic (`hold#gen_…`), so the table itself refuses
//! to write the same entry twice. Invariants: available + held = sum of (available_change + held_change) over all entries;
//! neither counter is ever below zero.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::credits::Credits;
use crate::ids::{AccountId, GenerationId};

/// The counters of one customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Whose.
    pub id: AccountId,
    /// What can be spent now.
    pub available: Credits,
    /// What is set aside for generations that have not ended.
    pub held: Credits,
    /// Number of entries so far; each entry takes the next one as its sequence.
    pub version: u64,
    /// When it was opened.
    pub created_at: Timestamp,
}

/// What an entry records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// Credits given to the account.
    Grant,
    /// Credits set aside for a generation.
    Hold,
    /// Held credits spent.
    Charge,
    /// Held credits given back.
    Release,
}

impl EntryKind {
    /// The word used in entry ids and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Hold => "hold",
            Self::Charge => "charge",
            Self::Release => "release",
        }
    }
}

/// One immutable line of an account's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Deterministic: the kind, `#`, and what it is about. Unique within the account.
    pub id: String,
    /// Whose.
    pub account: AccountId,
    /// What happened.
    pub kind: EntryKind,
    /// How many credits it is about; never negative.
    pub amount: Credits,
    /// What it did to `available`.
    pub available_change: i64,
    /// What it did to `held`.
    pub held_change: i64,
    /// `available` after it.
    pub balance_after: Credits,
    /// `held` after it.
    pub held_after: Credits,
    /// The generation it belongs to; none for grants.
    pub generation: Option<GenerationId>,
    /// 1, 2, 3… without gaps, in the order in which the account changed.
    pub sequence: u64,
    /// When it was decided.
    pub created_at: Timestamp,
}

/// A change asked of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posting {
    /// Give `amount`; `reference` makes it unique: a second grant with the same reference is the same grant.
    Grant { reference: String, amount: Credits },
    /// Set `amount` aside for a generation.
    Hold { generation: GenerationId, amount: Credits },
    /// Close the hold of `held` by spending `charge` of it and giving back the rest.
    Charge { generation: GenerationId, held: Credits, charge: Credits },
    /// Close the hold of `held` by giving it all back.
    Release { generation: GenerationId, held: Credits },
}

/// Why an account refuses a posting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The customer cannot pay.
    #[error("the account has {available} credits available and {needed} are needed")]
    InsufficientCredits { available: Credits, needed: Credits },
    /// The balance would pass [`Credits::MAX`].
    #[error("the balance would be above {max} credits", max = Credits::MAX)]
    Overflow,
    /// More would be charged than was held: prices are fixed when a generation is accepted.
    #[error("a charge of {charge} credits is above the hold of {held}")]
    ChargeAboveHold { held: Credits, charge: Credits },
    /// The account holds less than the hold to be closed: the books are wrong, nothing may be written.
    #[error("the account holds {held} credits in all, less than the hold of {closing} to be closed")]
    HeldTooLow { held: Credits, closing: Credits },
}

/// An account after a posting, with the entries to be written together with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The new counters.
    pub account: Account,
    /// One entry, or two for a charge below its hold.
    pub entries: Vec<Entry>,
}

impl Account {
    /// A new account without credits.
    pub fn open(id: AccountId, now: Timestamp) -> Self {
        Self { id, available: Credits::ZERO, held: Credits::ZERO, version: 0, created_at: now }
    }

    /// Applies one posting. Changes nothing when it refuses.
    pub fn post(&self, posting: &Posting, now: Timestamp) -> Result<Posted, Refusal> {
        let mut posted = Posted { account: self.clone(), entries: Vec::with_capacity(2) };
        match posting {
            Posting::Grant { reference, amount } => {
                let line = Line { kind: EntryKind::Grant, about: reference.clone(), generation: None, amount: *amount };
                posted.write(line, amount.signed(), 0, now)?;
            }
            Posting::Hold { generation, amount } => {
                if self.available < *amount {
                    return Err(Refusal::InsufficientCredits { available: self.available, needed: *amount });
                }
                posted.write(Line::of(EntryKind::Hold, *generation, *amount), -amount.signed(), amount.signed(), now)?;
            }
            Posting::Charge { generation, held, charge } => {
                self.can_close(*held)?;
                let rest = held.minus(*charge).ok_or(Refusal::ChargeAboveHold { held: *held, charge: *charge })?;
                posted.write(Line::of(EntryKind::Charge, *generation, *charge), 0, -charge.signed(), now)?;
                if rest > Credits::ZERO {
                    posted.write(Line::of(EntryKind::Release, *generation, rest), rest.signed(), -rest.signed(), now)?;
                }
            }
            Posting::Release { generation, held } => {
                self.can_close(*held)?;
                posted.write(Line::of(EntryKind::Release, *generation, *held), held.signed(), -held.signed(), now)?;
            }
        }
        Ok(posted)
    }

    fn can_close(&self, closing: Credits) -> Result<(), Refusal> {
        if self.held < closing { Err(Refusal::HeldTooLow { held: self.held, closing }) } else { Ok(()) }
    }
}

struct Line {
    kind: EntryKind,
    about: String,
    generation: Option<GenerationId>,
    amount: Credits,
}

impl Line {
    fn of(kind: EntryKind, generation: GenerationId, amount: Credits) -> Self {
        Self { kind, about: generation.to_string(), generation: Some(generation), amount }
    }
}

impl Posted {
    fn write(&mut self, line: Line, available_change: i64, held_change: i64, now: Timestamp) -> Result<(), Refusal> {
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
        account.version += 1;
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
            sequence: account.version,
            created_at: now,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credits(amount: u64) -> Credits {
        Credits::new(amount).expect("small")
    }

    fn account(available: u64, held: u64) -> Account {
        let id = AccountId::from_parts(1, [1; 10]);
        Account { id, available: credits(available), held: credits(held), version: 7, created_at: Timestamp::UNIX_EPOCH }
    }

    fn generation() -> GenerationId {
        GenerationId::from_parts(1, [2; 10])
    }

    #[test]
    fn a_hold_needs_the_whole_amount() {
        let hold = |amount| Posting::Hold { generation: generation(), amount: credits(amount) };
        let refusal = account(9, 100).post(&hold(10), Timestamp::UNIX_EPOCH).expect_err("one short");
        assert_eq!(refusal, Refusal::InsufficientCredits { available: credits(9), needed: credits(10) });
        let posted = account(10, 100).post(&hold(10), Timestamp::UNIX_EPOCH).expect("exactly enough");
        assert_eq!((posted.account.available, posted.account.held), (credits(0), credits(110)));
        assert_eq!(posted.entries[0].id, format!("hold#{}", generation()));
        assert_eq!(posted.entries[0].sequence, 8);
    }

    #[test]
    fn a_charge_below_the_hold_gives_back_the_rest() {
        let charge = Posting::Charge { generation: generation(), held: credits(10), charge: credits(7) };
        let posted = account(5, 10).post(&charge, Timestamp::UNIX_EPOCH).expect("posts");
        assert_eq!((posted.account.available, posted.account.held), (credits(8), credits(0)));
        let kinds: Vec<_> = posted.entries.iter().map(|entry| (entry.kind, entry.amount)).collect();
        assert_eq!(kinds, [(EntryKind::Charge, credits(7)), (EntryKind::Release, credits(3))]);
    }

    #[test]
    fn a_charge_above_the_hold_is_refused() {
        let charge = Posting::Charge { generation: generation(), held: credits(10), charge: credits(11) };
        let refusal = account(50, 10).post(&charge, Timestamp::UNIX_EPOCH).expect_err("above");
        assert_eq!(refusal, Refusal::ChargeAboveHold { held: credits(10), charge: credits(11) });
    }

    #[test]
    fn a_hold_that_is_not_there_cannot_be_closed() {
        let release = Posting::Release { generation: generation(), held: credits(10) };
        let refusal = account(50, 9).post(&release, Timestamp::UNIX_EPOCH).expect_err("books are wrong");
        assert_eq!(refusal, Refusal::HeldTooLow { held: credits(9), closing: credits(10) });
    }

    #[test]
    fn balances_stop_at_the_maximum() {
        let grant = Posting::Grant { reference: "x".into(), amount: Credits::MAX };
        assert_eq!(account(1, 0).post(&grant, Timestamp::UNIX_EPOCH), Err(Refusal::Overflow));
        assert_eq!(account(0, 1).post(&grant, Timestamp::UNIX_EPOCH), Err(Refusal::Overflow));
        assert!(account(0, 0).post(&grant, Timestamp::UNIX_EPOCH).is_ok());
    }
}
