//! Requests a second: a token bucket that all processes share, and one process's share of it.
//!
//! The bucket holds one second's worth of requests and is filled evenly. It is one number, the moment at which it is full again: each
//! request moves that moment on by what one request takes, so takes of several processes add up without reading each other. A process takes
//! a few requests ahead at a time, a lease, and uses them up within a second or loses them.
//!
//! So in any `w` seconds at most `2 * rate + rate * w` requests pass, in all processes together: what the bucket held, what was leased in the
//! second before, and what was filled in. This holds as far as the processes' clocks agree.

use jiff::Timestamp;

#[cfg(test)]
mod tests;

const SECOND_NS: i64 = 1_000_000_000;
/// How long a lease can be used.
const LEASE_LASTS_NS: i64 = SECOND_NS;
/// How long everything passes after the table has failed.
const OPEN_FOR_NS: i64 = SECOND_NS;
/// A bucket that is full only later than this was written by a clock gone wrong.
const FURTHEST_NS: i64 = 60 * SECOND_NS;
/// The largest lease is this part of a second's worth.
const LEASES_PER_SECOND: u32 = 10;

/// Requests a second: 1 to [`Rate::MOST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u32);

impl Rate {
    /// Higher rates count as this one.
    pub const MOST: u32 = 1_000_000;

    /// None: 0, which means no limit.
    pub fn new(per_second: u32) -> Option<Self> {
        (per_second > 0).then(|| Self(per_second.min(Self::MOST)))
    }

    /// Requests a second; as many pass at once.
    pub fn per_second(self) -> u32 {
        self.0
    }

    /// What one request takes, rounded up: never too many pass, and too few by less than one in a thousand.
    fn request_ns(self) -> i64 {
        (SECOND_NS + i64::from(self.0) - 1) / i64::from(self.0)
    }

    fn depth_ns(self) -> i64 {
        self.request_ns() * i64::from(self.0)
    }

    fn largest_lease(self) -> u32 {
        (self.0 / LEASES_PER_SECOND).max(1)
    }

    /// How many requests a bucket holds that is full at `full_at_ns`.
    fn holds(self, full_at_ns: i64, now_ns: i64) -> u32 {
        let missing_ns = full_at_ns.saturating_sub(now_ns).max(0);
        u32::try_from(self.depth_ns().saturating_sub(missing_ns).max(0) / self.request_ns()).unwrap_or(self.0)
    }

    /// How long until it holds so many.
    fn wait_ns(self, full_at_ns: i64, count: u32, now_ns: i64) -> i64 {
        let empty_at_ns = full_at_ns.saturating_sub(self.depth_ns());
        empty_at_ns.saturating_add(self.request_ns() * i64::from(count)).saturating_sub(now_ns)
    }
}

/// What is asked of the bucket that is shared, to be done in one conditional write. Times are in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// It is full: begin it anew. Only if there is none, or it is full before `now_ns` or after `furthest_ns`.
    Begin { full_at_ns: i64, now_ns: i64, furthest_ns: i64 },
    /// Take more: move the moment at which it is full on by `by_ns`. Only if that is from `at_least_ns` to `at_most_ns`.
    Further { by_ns: i64, at_least_ns: i64, at_most_ns: i64 },
}

/// A take of a process that has run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// To be written.
    pub take: Take,
    count: u32,
    now_ns: i64,
}

/// What is left, as far as this process knows: others may have taken some of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Requests that would pass at once.
    pub remaining: u32,
    /// After a refusal: when the next one passes, else when the bucket is full again. In whole seconds, at least one.
    pub reset_s: u32,
}

/// What a request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Pass(Standing),
    /// It does not.
    Refuse(Standing),
    /// It passes since nobody can tell: the table did not answer.
    Unknown,
}

/// What a process does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It knows by itself.
    Answer(Verdict),
    /// It has to ask the bucket first; then it is [granted](Share::grant), [denied](Share::deny) or there is [no answer](Share::open).
    Ask(Ask),
}

/// One process's share of one bucket.
#[derive(Debug, Clone, Default)]
pub struct Share {
    /// The bucket as it was last seen. Others only take from it: it holds no more than this says.
    full_at_ns: i64,
    /// The size of the last lease.
    leased: u32,
    /// What is left of it.
    left: u32,
    /// When it began.
    leased_at_ns: i64,
    /// The bucket was found empty: it is left alone until it holds the largest lease, so that a flood of refusals costs some ten writes a second.
    shut: bool,
    /// When the table failed.
    failed_at_ns: Option<i64>,
}

impl Share {
    /// What becomes of one request. After [`Step::Ask`] and its answer, this is to be called again for the same request.
    pub fn step(&mut self, rate: Rate, now: Timestamp) -> Step {
        let now_ns = nanoseconds(now);
        if self.failed_at_ns.is_some_and(|failed_ns| lasts(failed_ns, OPEN_FOR_NS, now_ns)) {
            return Step::Answer(Verdict::Unknown);
        }
        self.failed_at_ns = None;
        if self.full_at_ns > now_ns.saturating_add(FURTHEST_NS) {
            *self = Self::default();
        }
        let is_leased = lasts(self.leased_at_ns, LEASE_LASTS_NS, now_ns);
        if is_leased && self.left > 0 {
            self.left -= 1;
            let remaining = self.left.saturating_add(rate.holds(self.full_at_ns, now_ns)).min(rate.per_second());
            // Without what rounding adds to the second.
            let rounding_ns = rate.depth_ns() - SECOND_NS;
            let reset_s = whole_seconds(self.full_at_ns.saturating_sub(now_ns + rounding_ns));
            return Step::Answer(Verdict::Pass(Standing { remaining, reset_s }));
        }
        let needed = if self.shut { rate.largest_lease() } else { 1 };
        let holds = rate.holds(self.full_at_ns, now_ns);
        if holds < needed {
            self.shut = true;
            let wait_ns = rate.wait_ns(self.full_at_ns, rate.largest_lease(), now_ns);
            return Step::Answer(Verdict::Refuse(Standing { remaining: 0, reset_s: whole_seconds(wait_ns) }));
        }
        // Twice as many while they are used up, else as many as were used: at least half of what is taken is used. Whoever had to refuse
        // has use for all that may be taken.
        let wanted = match (self.shut, is_leased) {
            (true, _) => needed,
            (false, true) => self.leased.saturating_mul(2),
            (false, false) => self.leased - self.left,
        };
        Step::Ask(self.ask(rate, wanted.clamp(1, rate.largest_lease()).min(holds), now_ns))
    }

    fn ask(&self, rate: Rate, count: u32, now_ns: i64) -> Ask {
        let by_ns = rate.request_ns() * i64::from(count);
        let take = if self.full_at_ns < now_ns {
            Take::Begin { full_at_ns: now_ns + by_ns, now_ns, furthest_ns: now_ns + FURTHEST_NS }
        } else {
            Take::Further { by_ns, at_least_ns: now_ns, at_most_ns: now_ns + rate.depth_ns() - by_ns }
        };
        Ask { take, count, now_ns }
    }

    /// It was written: the bucket is full at `full_at_ns` now.
    pub fn grant(&mut self, ask: &Ask, full_at_ns: i64) {
        // Counted from before the write, so that no request is used later than a second after it was taken.
        let (leased, leased_at_ns) = (ask.count, ask.now_ns);
        *self = Self { full_at_ns, leased, left: leased, leased_at_ns, shut: false, failed_at_ns: None };
    }

    /// It was refused: the bucket is full at `full_at_ns`, or there is none. The next take is of one, or a whole lease where one is waited for.
    pub fn deny(&mut self, full_at_ns: Option<i64>) {
        *self = Self { full_at_ns: full_at_ns.unwrap_or(0), shut: self.shut, ..Self::default() };
    }

    /// There was no answer: everything passes for a second.
    pub fn open(&mut self, now: Timestamp) {
        *self = Self { failed_at_ns: Some(nanoseconds(now)), ..Self::default() };
    }
}

/// A clock that was set back ends what began after it.
fn lasts(since_ns: i64, for_ns: i64, now_ns: i64) -> bool {
    (since_ns..since_ns.saturating_add(for_ns)).contains(&now_ns)
}

fn nanoseconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

fn whole_seconds(ns: i64) -> u32 {
    u32::try_from(ns.saturating_add(SECOND_NS - 1) / SECOND_NS).unwrap_or(0).max(1)
}
