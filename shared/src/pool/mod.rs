//! The keys of a provider as a pool: which key has a free slot, who waits for one, and which key is left alone for a while.
//!
//! A key is limited in three ways, each optional: jobs at once, submits a minute, submits a day. A slot is a lease: whoever holds it and
//! dies loses it when the lease is over. Nothing here knows the table or the time; [`KeyState`] is what lies in the table for one key.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::signature;

mod health;
mod limits;
mod line;
mod window;

#[cfg(test)]
mod tests;

pub use health::{Probe, Sign};
pub use limits::{InvalidLimits, KeyLimits, MAX_CONCURRENCY};
pub use line::{JoinPlan, PoolChange, Waiter, Waiting};
pub use window::Window;

use window::{DAY, MINUTE};

/// How many leases that are over one take clears away: each is a term of the write's condition, and DynamoDB limits an expression to
/// 4 KB. The rest counts no more either; later takes clear it away.
const MAX_EVICTED: usize = 20;

/// Names a provider's key without telling it: the first 12 hexadecimal digits of its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    const DIGITS: usize = 12;

    /// The name of this secret.
    pub fn of(secret: &str) -> Self {
        let mut digits = signature::fingerprint(secret.as_bytes());
        digits.truncate(Self::DIGITS);
        Self(digits)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that names no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a provider key is named by 12 lowercase hexadecimal digits; this is something else")]
pub struct InvalidKeyId;

impl FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(text: &str) -> Result<Self, InvalidKeyId> {
        let plain = text.len() == Self::DIGITS && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        // The text is not repeated: it may be the key itself.
        if plain { Ok(Self(text.to_owned())) } else { Err(InvalidKeyId) }
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What is known of one key. The default is a key that was never used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyState {
    /// Who holds a slot, and until when. Kept only for keys with a limit of jobs at once. In the table each lease is an attribute of its
    /// own, so that giving one back needs no look at the others.
    #[serde(skip)]
    pub leases: BTreeMap<String, Timestamp>,
    /// Raised by each take and each change of health, not by giving back or renewing a lease; 0 when nothing was written yet. An
    /// attribute of its own in the table.
    #[serde(skip)]
    pub version: u64,
    /// The takes of the last minute, by second; kept only for keys with such a limit.
    #[serde(default, skip_serializing_if = "Window::is_empty")]
    pub minute: Window,
    /// The takes of the last day, by hour; kept only for keys with such a limit.
    #[serde(default, skip_serializing_if = "Window::is_empty")]
    pub day: Window,
    /// The key was throttled or refused: nobody takes it before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<Timestamp>,
    /// How often in a row the key was throttled.
    #[serde(default)]
    pub throttles: u32,
    /// How often in a row the provider was not there.
    #[serde(default)]
    pub misses: u32,
    /// Set while the provider counts as out of order: nobody takes the key before this, and one alone after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_until: Option<Timestamp>,
    /// Who tries whether the provider is back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

/// A place on a key, as it is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Whose it is.
    pub holder: String,
    /// The version that the decision was made on; the write is conditional on it.
    pub based_on: u64,
    /// The key's state with this take in it. Its version is `based_on` when there is nothing to write.
    pub next: KeyState,
    /// Until when the slot is leased. None: the key has no limit of jobs at once, and there is nothing to renew or to give back.
    pub lease: Option<Timestamp>,
    /// Leases that are over and are cleared away, as they were read.
    pub evicted: Vec<(String, Timestamp)>,
}

impl Taken {
    /// Whether the table has to know of it.
    pub fn is_recorded(&self) -> bool {
        self.next.version != self.based_on
    }
}

/// Why a key cannot be taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy {
    /// The earliest time at which that changes by itself; [`Timestamp::MAX`] when it never does. A slot given back comes sooner.
    pub free_at: Timestamp,
    /// What is waited for longest.
    pub why: BusyWhy,
}

/// What stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusyWhy {
    /// As many jobs as allowed are in progress.
    Slots,
    /// As many submits as allowed in the last minute.
    Minute,
    /// As many submits as allowed in the last 24 hours.
    Day,
    /// The key was throttled or refused.
    Paused,
    /// The provider does not answer.
    OutOfOrder,
    /// Somebody is trying whether the provider is back.
    Probed,
}

impl KeyState {
    /// Takes a place on the key for `holder`: a slot leased until `until`, and one submit of its rates. Whoever has one already keeps it,
    /// renewed, and is not counted again; a key without a limit of jobs at once remembers nobody and counts each call.
    pub fn take(&self, holder: &str, limits: &KeyLimits, until: Timestamp, now: Timestamp) -> Result<Taken, Busy> {
        let mut next = self.clone();
        if !self.is_held_by(holder, now) {
            next.minute = limits.per_minute.map_or_else(Window::default, |_| self.minute.at(MINUTE, now));
            next.day = limits.per_day.map_or_else(Window::default, |_| self.day.at(DAY, now));
            let obstacles = [
                self.full(limits, now),
                next.minute.full(MINUTE, limits.per_minute).map(|free_at| Busy { free_at, why: BusyWhy::Minute }),
                next.day.full(DAY, limits.per_day).map(|free_at| Busy { free_at, why: BusyWhy::Day }),
                self.unwell(now),
            ];
            if let Some(busy) = obstacles.into_iter().flatten().max_by_key(|busy| busy.free_at) {
                return Err(busy);
            }
            next.probe = self.open_until.map(|_| Probe { holder: holder.to_owned(), until });
            next.minute.count(limits.per_minute);
            next.day.count(limits.per_day);
        }
        let own = self.leases.get(holder).copied();
        let has_lease = limits.concurrency.is_some() || own.is_some_and(|own| own > now);
        let lease = has_lease.then(|| own.map_or(until, |own| own.max(until)));
        let over = self.leases.iter().filter(|(other, end)| **end <= now && other.as_str() != holder);
        let evicted: Vec<_> = over.map(|(other, end)| (other.clone(), *end)).take(MAX_EVICTED).collect();
        for (other, _) in &evicted {
            next.leases.remove(other);
        }
        if let Some(lease) = lease {
            next.leases.insert(holder.to_owned(), lease);
        }
        if next != *self {
            next.version += 1;
        }
        Ok(Taken { holder: holder.to_owned(), based_on: self.version, next, lease, evicted })
    }

    /// How many slots are leased.
    pub fn in_use(&self, now: Timestamp) -> usize {
        self.leases.values().filter(|end| **end > now).count()
    }

    /// Whether the key is refused by the provider, as far as is known: pauses for any other reason are short.
    pub fn is_refused(&self, now: Timestamp) -> bool {
        self.throttles == 0 && self.paused_until.is_some_and(|until| until > now)
    }

    fn is_held_by(&self, holder: &str, now: Timestamp) -> bool {
        let leased = self.leases.get(holder).is_some_and(|end| *end > now);
        leased || self.probe.as_ref().is_some_and(|probe| probe.holder == holder && probe.until > now)
    }

    fn full(&self, limits: &KeyLimits, now: Timestamp) -> Option<Busy> {
        if self.slots_left(limits, now) > 0 {
            return None;
        }
        let free_at = self.leases.values().filter(|end| **end > now).min().copied().unwrap_or(Timestamp::MAX);
        Some(Busy { free_at, why: BusyWhy::Slots })
    }

    fn slots_left(&self, limits: &KeyLimits, now: Timestamp) -> u32 {
        let in_use = u32::try_from(self.in_use(now)).unwrap_or(u32::MAX);
        limits.concurrency.map_or(u32::MAX, |slots| slots.saturating_sub(in_use))
    }
}

/// Takes a place on the best of a provider's keys: the one with the most free slots, then the one least used in the last minute, then any,
/// another one for another holder. A key that has to be tried after an outage comes last; the one that the holder has already, first.
/// When none is free, the answer is when the first one may be; without keys, never.
pub fn choose(
    states: &[(KeyId, KeyState)],
    limits: &KeyLimits,
    holder: &str,
    until: Timestamp,
    now: Timestamp,
) -> Result<(KeyId, Taken), Busy> {
    let mut busy: Option<Busy> = None;
    let mut free = Vec::new();
    for (key, state) in states {
        match state.take(holder, limits, until, now) {
            Ok(taken) => free.push((key, state, taken)),
            Err(other) => busy = Some(busy.map_or(other, |own| soonest(own, other))),
        }
    }
    let best = free.into_iter().max_by_key(|(key, state, taken)| {
        let any = signature::fingerprint(format!("{holder}#{key}").as_bytes());
        let healthy = state.open_until.is_none();
        let held = state.is_held_by(holder, now);
        (held, healthy, state.slots_left(limits, now), Reverse(taken.next.minute.used()), any)
    });
    let never = Busy { free_at: Timestamp::MAX, why: BusyWhy::Slots };
    best.map(|(key, _, taken)| (key.clone(), taken)).ok_or(busy.unwrap_or(never))
}

/// What holds for two keys together. A key that is merely in use, and may be given back at any moment, is the reason before one that is
/// not to be used.
fn soonest(one: Busy, other: Busy) -> Busy {
    let is_in_use = |busy: &Busy| matches!(busy.why, BusyWhy::Slots | BusyWhy::Minute);
    let why = match (is_in_use(&one), is_in_use(&other)) {
        (true, false) => one.why,
        (false, true) => other.why,
        _ if other.free_at < one.free_at => other.why,
        _ => one.why,
    };
    Busy { free_at: one.free_at.min(other.free_at), why }
}
