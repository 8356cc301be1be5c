//! The buckets in the table that requests are counted with.
//!
//! | item | pk | sk | attributes |
//! |---|---|---|---|
//! | bucket | `A#{account}` | `R#account`, `R#{key}` | `full_at`: when it is full again, ns; `expires_at` |

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::items::{self, Key};
use super::transact::{Changes, Check, Role, Write};
use super::{Store, StoreError};
use crate::clock::Clock;
use crate::ids::{AccountId, ApiKeyId};
use crate::rate_limit::{Rate, Share, Step, Take, Verdict};

/// Whose requests are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// An account's, by all of its keys.
    Account(AccountId),
    /// One key's.
    Key(AccountId, ApiKeyId),
}

/// What this process has leased of buckets, for all functions in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Shares(Arc<Mutex<HashMap<Bucket, Gate>>>);

/// Requests of one process go through it one after the other: the first one that finds nothing leased asks for all who wait.
type Gate = Arc<tokio::sync::Mutex<Share>>;

/// Beyond this many buckets the memory is emptied.
const MAX_REMEMBERED: usize = 10_000;
/// A table that does not answer in this time is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Somebody else began the bucket, then it holds less than was asked for, then nothing: more steps are never needed.
const MAX_STEPS: u32 = 5;
/// A bucket is full after a second; longer than that it is kept only so that it is seldom made anew.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

const FULL_AT: &str = "full_at";

impl Store {
    /// Whether one more request may pass. Without the table nobody knows, and it may.
    pub async fn admit(&self, bucket: Bucket, rate: Rate, clock: &Clock) -> Verdict {
        let gate = self.rates.gate(bucket);
        let mut share = gate.lock().await;
        let taken = tokio::select! {
            biased;
            taken = self.take(bucket, rate, &mut share, clock.now()) => taken,
            () = clock.sleep(PATIENCE) => Err(StoreError::table("take from a bucket", "it did not answer in time")),
        };
        let why = match taken {
            Ok(verdict) => return verdict,
            Err(error) => error,
        };
        tracing::warn!(error = &why as &dyn std::error::Error, ?bucket, "requests pass without being counted");
        share.open(clock.now());
        Verdict::Unknown
    }

    /// One `now` for all tries: whoever is denied a single request knows then that there was none.
    async fn take(&self, bucket: Bucket, rate: Rate, share: &mut Share, now: Timestamp) -> Result<Verdict, StoreError> {
        for _ in 0..MAX_STEPS {
            let ask = match share.step(rate, now) {
                Step::Answer(verdict) => return Ok(verdict),
                Step::Ask(ask) => ask,
            };
            let full_at = |item: &items::Item| items::number(item, FULL_AT);
            match self.update(&Write::update(Role::Bucket, Key::bucket(bucket), changes(ask.take, now))).await? {
                Ok(written) => {
                    let missing = || StoreError::Missing { what: format!("`{FULL_AT}` in the answer of the table") };
                    share.grant(&ask, full_at(&written).ok_or_else(missing)?);
                }
                Err(existing) => share.deny(existing.as_ref().and_then(full_at)),
            }
        }
        Err(StoreError::TooBusy { tries: MAX_STEPS })
    }
}

fn changes(take: Take, now: Timestamp) -> Changes {
    let kept = Changes::default().set("expires_at", items::n((now + KEPT).as_second()));
    match take {
        Take::Begin { full_at_ns, now_ns, furthest_ns } => kept
            .set(FULL_AT, items::n(full_at_ns))
            .only_if(FULL_AT, Check::AbsentOrOutside(items::n(now_ns), items::n(furthest_ns))),
        Take::Further { by_ns, at_least_ns, at_most_ns } => {
            kept.raise(FULL_AT, items::n(by_ns)).only_if(FULL_AT, Check::Between(items::n(at_least_ns), items::n(at_most_ns)))
        }
    }
}

impl Shares {
    fn gate(&self, bucket: Bucket) -> Gate {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if gates.len() >= MAX_REMEMBERED {
            gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        }
        Arc::clone(gates.entry(bucket).or_default())
    }
}
