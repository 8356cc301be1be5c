//! Are the books right? An account, all its entries and all its generations are read one after the other, in bounded memory, and everything is
//! computed anew from the entries.
//!
//! An account says how many entries it has: those, and no later ones, have to add up to its counters, whatever happens meanwhile. A generation
//! and its entries change in one transaction, so a pair that does not fit may only have been read at two moments: it is *in doubt*, and
//! whoever reads looks at it once more by itself ([`judge`]).

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};

use crate::credits::Credits;
use crate::generation::{Generation, State};
use crate::ids::{ApiKeyId, GenerationId};
use crate::ledger::{Account, Entry, EntryKind};

mod chain;
mod providers;
mod report;
#[cfg(test)]
mod tests;

use chain::Chain;
use providers::Totals;
pub use report::{Finding, FindingKind, OpenHold, ProviderTotals, Reconciliation};

/// What should have been looked at so long ago is overdue.
pub const OVERDUE_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// What has not ended after so long is old.
pub const OLD_AFTER: SignedDuration = SignedDuration::from_hours(48);
/// So many generations in doubt are looked at by themselves.
pub const MAX_IN_DOUBT: usize = 1_000;

/// What the entries say of one generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Line {
    is_held: bool,
    held: u64,
    charged: u64,
    released: u64,
    closings: u32,
    key: Option<ApiKeyId>,
}

impl Line {
    /// Counts one entry of the generation.
    pub fn add(&mut self, entry: &Entry) {
        let amount = entry.amount.get();
        match entry.kind {
            EntryKind::Hold => {
                self.is_held = true;
                self.held += amount;
                self.key = entry.key;
            }
            EntryKind::Charge => {
                self.charged += amount;
                self.closings += 1;
            }
            EntryKind::Release => {
                self.released += amount;
                self.closings += 1;
            }
            EntryKind::Grant | EntryKind::Adjust | EntryKind::Expire => {}
        }
    }

    fn closed(&self) -> u64 {
        self.charged + self.released
    }

    fn is_open(&self) -> bool {
        self.is_held && (self.closings == 0 || self.closed() < self.held)
    }
}

/// The first half: the account as it was read first, and its entries in any order.
#[derive(Debug)]
pub struct Books {
    account: Account,
    chain: Chain,
    lines: HashMap<GenerationId, Line>,
    found: Vec<Finding>,
    now: Timestamp,
}

impl Books {
    /// `account` has to be read before the entries.
    pub fn of(account: Account, now: Timestamp) -> Self {
        Self { chain: Chain::default(), lines: HashMap::new(), found: Vec::new(), account, now }
    }

    /// One entry; those that were written after the account was read are left for the next time.
    pub fn entry(&mut self, entry: &Entry) {
        if entry.sequence > self.account.entries {
            self.chain.saw_later(entry.sequence);
            return;
        }
        self.chain.add(entry, &mut self.found);
        if let Some(generation) = entry.generation {
            self.lines.entry(generation).or_default().add(entry);
        }
    }

    /// All entries were read. `after`: the account as it is now.
    pub fn closed(self, after: &Account) -> Matching {
        let Self { account, chain, lines, found, now } = self;
        let mut report = Reconciliation {
            account: account.id,
            checked_at: now,
            entries: account.entries,
            generations: 0,
            available: account.available,
            held: account.held,
            findings_total: 0,
            findings: Vec::new(),
            unchecked: 0,
            open_holds_total: 0,
            open_holds: Vec::new(),
            late_successes_total: 0,
            late_successes: Vec::new(),
            providers: Vec::new(),
        };
        report.add(found);
        report.add(chain.judge(&account, after));
        report.add(lots(&account));
        report.add(usage(&account, &lines));
        Matching { lines, report, in_doubt: Vec::new(), totals: Totals::default(), now }
    }
}

fn lots(account: &Account) -> Option<Finding> {
    let ending = account.lots.ended(Timestamp::MAX);
    (ending > account.available).then(|| {
        let detail = format!("{ending} credits end and {} are available", account.available);
        Finding { kind: FindingKind::LotsAboveAvailable, about: "account".to_owned(), detail }
    })
}

fn usage(account: &Account, lines: &HashMap<GenerationId, Line>) -> Vec<Finding> {
    let mut by_key: BTreeMap<ApiKeyId, u32> = BTreeMap::new();
    let mut open = 0_u32;
    for line in lines.values().filter(|line| line.is_open()) {
        open += 1;
        if let Some(key) = line.key {
            *by_key.entry(key).or_default() += 1;
        }
    }
    let differs = |about: String, counted: u32, open: u32| {
        let detail = format!("{counted} are counted as in progress and {open} holds are open");
        (counted != open).then_some(Finding { kind: FindingKind::UsageDiffers, about, detail })
    };
    let keys = account
        .keys
        .iter()
        .filter_map(|(key, own)| differs(key.to_string(), own.usage.in_flight, by_key.get(key).copied().unwrap_or(0)));
    differs("account".to_owned(), account.usage.in_flight, open).into_iter().chain(keys).collect()
}

/// The second half: the generations, in any order.
#[derive(Debug)]
pub struct Matching {
    lines: HashMap<GenerationId, Line>,
    report: Reconciliation,
    in_doubt: Vec<GenerationId>,
    totals: Totals,
    now: Timestamp,
}

impl Matching {
    /// One generation.
    pub fn generation(&mut self, generation: &Generation) {
        let line = self.lines.remove(&generation.id).unwrap_or_default();
        if !judge(generation.id, &line, Some(generation), self.now).is_empty() {
            self.in_doubt.push(generation.id);
        }
        self.report.generations += 1;
        self.totals.add(generation);
        if generation.late.is_some() {
            self.report.late_successes_total += 1;
            if self.report.late_successes.len() < Reconciliation::LISTED {
                self.report.late_successes.push(generation.id);
            }
        }
        if let Some(why) = waits_for(&generation.state) {
            self.open(generation, why);
        }
    }

    fn open(&mut self, generation: &Generation, why: String) {
        self.report.open_holds_total += 1;
        let hold = OpenHold {
            generation: generation.id,
            credits: generation.hold,
            since: generation.created_at,
            age_s: self.now.duration_since(generation.created_at).as_secs(),
            phase: generation.state.phase().to_owned(),
            why,
        };
        let holds = &mut self.report.open_holds;
        let at = holds.partition_point(|own| (own.since, own.generation) < (hold.since, hold.generation));
        holds.insert(at, hold);
        holds.truncate(Reconciliation::LISTED);
    }

    /// All generations were read: what was found so far, and whom to look at by itself.
    pub fn finish(mut self) -> (Reconciliation, Vec<GenerationId>) {
        self.in_doubt.extend(self.lines.into_keys());
        self.in_doubt.sort_unstable();
        let beyond = self.in_doubt.len().saturating_sub(MAX_IN_DOUBT);
        self.in_doubt.truncate(MAX_IN_DOUBT);
        self.report.unchecked = u64::try_from(beyond).unwrap_or(u64::MAX);
        self.report.providers = self.totals.by_name();
        (self.report, self.in_doubt)
    }
}

/// What is wrong with a generation and its entries, when both are of one moment.
pub fn judge(id: GenerationId, line: &Line, generation: Option<&Generation>, now: Timestamp) -> Vec<Finding> {
    use FindingKind as K;
    let finding = |kind, detail: String| Finding { kind, about: id.to_string(), detail };
    let Line { is_held, held, charged, .. } = *line;
    if !is_held && line.closings > 0 {
        let detail = format!("{} credits were charged or released, and none were held", line.closed());
        return vec![finding(K::ClosingWithoutHold, detail)];
    }
    let Some(generation) = generation else {
        let missing =
            || finding(K::HoldWithoutGeneration, format!("{held} credits were held for a generation that is not there"));
        return is_held.then(missing).into_iter().collect();
    };
    if !is_held {
        return vec![finding(
            K::GenerationWithoutHold,
            format!("its price is {}, and no hold is in the ledger", generation.hold),
        )];
    }
    let mut found = Vec::new();
    if generation.hold.get() != held {
        found.push(finding(K::HoldDiffers, format!("{held} credits were held, and its price is {}", generation.hold)));
    }
    if line.closed() > held {
        found.push(finding(K::HoldClosedTwice, format!("{} of {held} held credits were charged or released", line.closed())));
    }
    let phase = generation.state.phase();
    match (told_charge(&generation.state), line.closings > 0) {
        (None, true) => found.push(finding(K::HoldClosedEarly, format!("it is {phase}, and its hold is closed"))),
        (None, false) => found.extend(waits_too_long(generation, now).map(|(kind, detail)| finding(kind, detail))),
        (Some(_), _) if line.is_open() => {
            let open = held - line.closed();
            found.push(finding(K::HoldNeverClosed, format!("it is {phase}, and {open} of {held} credits are still held")));
        }
        (Some(told), _) if told.get() != charged => {
            found.push(finding(K::ChargeDiffers, format!("it says that {told} credits were charged, the ledger says {charged}")));
        }
        (Some(_), _) => {}
    }
    if matches!(generation.state, State::Succeeded { .. }) && held > 0 && charged == 0 && line.closed() == held {
        found.push(finding(K::UnbilledSuccess, format!("it succeeded, its price is {held}, and nothing was charged")));
    }
    found
}

/// What a generation says was charged; none while it has not ended.
fn told_charge(state: &State) -> Option<Credits> {
    match state {
        State::Queued { .. }
        | State::Claimed { .. }
        | State::Running { .. }
        | State::Unconfirmed { .. }
        | State::Collecting { .. } => None,
        State::Succeeded { charged, .. } | State::Failed { charged, .. } | State::Canceled { charged, .. } => Some(*charged),
    }
}

fn waits_too_long(generation: &Generation, now: Timestamp) -> impl Iterator<Item = (FindingKind, String)> {
    let phase = generation.state.phase();
    let overdue = generation.due_at.is_none_or(|due| now.duration_since(due) > OVERDUE_AFTER);
    let overdue = overdue.then(|| {
        let due = generation.due_at.map_or_else(|| "never".to_owned(), |due| format!("at {due}"));
        (FindingKind::Overdue, format!("it is {phase} and falls due {due}"))
    });
    let age = now.duration_since(generation.created_at);
    let old = (age > OLD_AFTER).then(|| (FindingKind::OldHold, format!("it is {phase} since {} hours", age.as_hours())));
    overdue.into_iter().chain(old)
}

/// Why the credits of a generation are still held; none once it has ended.
fn waits_for(state: &State) -> Option<String> {
    Some(match state {
        State::Queued { waiting: Some(waiting), .. } => format!("stands in the line of {}", waiting.provider),
        State::Queued { not_before, waiting: None } => format!("queued, not before {not_before}"),
        State::Claimed { lease_until } => format!("being submitted until {lease_until}"),
        State::Running { since, expires_at, .. } => format!("running since {since}, until {expires_at} at most"),
        State::Unconfirmed { reason, resolves_by, .. } => format!("the answer was lost ({}), until {resolves_by}", reason.word()),
        State::Collecting { since, tries, .. } => format!("its results are being copied since {since}, try {tries}"),
        State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. } => return None,
    })
}
