//! Health memory: a provider that is out of order is left alone for a while, then tried by one; a key that is throttled or refused pauses.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Busy, BusyWhy, KeyState};

/// So many misses in a row mean that the provider is out of order.
const MISSES_UNTIL_OPEN: u32 = 3;
/// How long it is left alone at first; doubled with each probe that misses.
const FIRST_OUTAGE: SignedDuration = SignedDuration::from_secs(30);
const LONGEST_OUTAGE: SignedDuration = SignedDuration::from_mins(10);
/// How long a throttled key pauses at first when the provider does not say; doubled with each repeat.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(5);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(15);
/// What a provider may ask for: a header gone wrong must not shut a key out for a year.
const SHORTEST_RETRY_AFTER: SignedDuration = SignedDuration::from_secs(1);
const LONGEST_RETRY_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// How long a refused key pauses: somebody has to mend it.
const REFUSED_PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// What an answer of the provider, or its absence, says about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It answered as it should.
    Reachable,
    /// It could not be reached, or said that it is out of order.
    Unavailable,
    /// It asks to slow down; `retry_after` when it says for how long.
    Throttled { retry_after: Option<SignedDuration> },
    /// It refuses the key, or the account behind it is out of funds.
    Refused,
}

/// The one that tries whether the provider is back. Nobody else does until `until` or until there is a sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Who tries.
    pub holder: String,
    /// When the holder counts as dead.
    pub until: Timestamp,
}

impl KeyState {
    /// The state after a sign; the same when it says nothing new. A miss while the provider is left alone, like a throttle while the key
    /// pauses, belongs to work begun before: one burst must not double the time again and again. A pause runs its time, whatever is heard.
    pub fn note(&self, sign: Sign, now: Timestamp) -> Self {
        let mut next = self.clone();
        let pauses = self.paused_until.is_some_and(|until| until > now);
        match sign {
            Sign::Reachable => {
                next.close();
                if !pauses {
                    next.throttles = 0;
                    next.paused_until = None;
                }
            }
            Sign::Unavailable => next.miss(now),
            Sign::Throttled { retry_after } => {
                next.close();
                let asked = retry_after.map(|wait| wait.clamp(SHORTEST_RETRY_AFTER, LONGEST_RETRY_AFTER));
                if !pauses {
                    next.throttles = self.throttles.saturating_add(1);
                    next.pause(now + asked.unwrap_or_else(|| doubled(FIRST_PAUSE, self.throttles, LONGEST_PAUSE)));
                } else if let Some(asked) = asked {
                    next.pause(now + asked);
                }
            }
            Sign::Refused => {
                next.close();
                next.throttles = 0;
                next.pause(now + REFUSED_PAUSE);
            }
        }
        next
    }

    fn miss(&mut self, now: Timestamp) {
        if self.open_until.is_some_and(|until| until > now) {
            return;
        }
        self.misses = self.misses.saturating_add(1);
        self.probe = None;
        if let Some(further) = self.misses.checked_sub(MISSES_UNTIL_OPEN) {
            self.open_until = Some(now + doubled(FIRST_OUTAGE, further, LONGEST_OUTAGE));
        }
    }

    /// Any answer shows that the provider is there.
    fn close(&mut self) {
        self.misses = 0;
        self.open_until = None;
        self.probe = None;
    }

    fn pause(&mut self, until: Timestamp) {
        self.paused_until = self.paused_until.max(Some(until));
    }

    /// What health alone has against a take.
    pub fn unwell(&self, now: Timestamp) -> Option<Busy> {
        let paused = self.paused_until.map(|free_at| Busy { free_at, why: BusyWhy::Paused });
        let open = self.open_until.map(|free_at| Busy { free_at, why: BusyWhy::OutOfOrder });
        let probed = self.probe.as_ref().map(|probe| Busy { free_at: probe.until, why: BusyWhy::Probed });
        [paused, open, probed].into_iter().flatten().filter(|busy| busy.free_at > now).max_by_key(|busy| busy.free_at)
    }
}

fn doubled(first: SignedDuration, times: u32, most: SignedDuration) -> SignedDuration {
    let factor = 1_i32.checked_shl(times.min(30)).unwrap_or(i32::MAX);
    first.saturating_mul(factor).min(most)
}
