//! System time and randomness: the one file that reads them. Everything else is handed a [`Clock`], a `now` or bytes.
#![allow(clippy::disallowed_methods, reason = "the one file that may read the system time and randomness")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

/// A timer stands still while the machine is suspended, so a long wait is cut into naps of at most this length and the
/// system time is looked at after each.
const LONGEST_NAP: Duration = Duration::from_secs(60);

/// The system time, or one that stands still, plus an offset that [`Clock::advance`] moves forward. Clones share the offset.
#[derive(Clone, Debug)]
pub struct Clock {
    shift: Arc<Shift>,
}

#[derive(Debug)]
struct Shift {
    stopped_at: Option<Timestamp>,
    nanoseconds: AtomicI64,
    moved: Notify,
}

impl Clock {
    /// The system time, as it is.
    pub fn system() -> Self {
        Self::over(None)
    }

    /// Stands still at `at` until it is moved: what depends on parts of a second can be tried without luck.
    pub fn stopped(at: Timestamp) -> Self {
        Self::over(Some(at))
    }

    fn over(stopped_at: Option<Timestamp>) -> Self {
        Self { shift: Arc::new(Shift { stopped_at, nanoseconds: AtomicI64::new(0), moved: Notify::new() }) }
    }

    /// The time now, to the nanosecond. It can step back when the system's clock is corrected.
    pub fn now(&self) -> Timestamp {
        let offset = SignedDuration::from_nanos(self.shift.nanoseconds.load(Ordering::SeqCst));
        self.shift.stopped_at.unwrap_or_else(Timestamp::now).checked_add(offset).unwrap_or(Timestamp::MAX)
    }

    /// Moves this clock and its clones forward and wakes every sleep that is over by then. All advances together are
    /// held to 292 years.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        self.shift.nanoseconds.fetch_add(by, Ordering::SeqCst);
        self.shift.moved.notify_waiters();
    }

    /// Waits until this clock is `duration` further.
    pub async fn sleep(&self, duration: Duration) {
        let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        self.sleep_until(self.now().checked_add(duration).unwrap_or(Timestamp::MAX)).await;
    }

    /// Waits until this clock shows `at`; returns at once when that is past. Safe to drop.
    pub async fn sleep_until(&self, at: Timestamp) {
        loop {
            // Taken before the time is read: an advance in between is then still seen.
            let moved = self.shift.moved.notified();
            let Ok(left) = Duration::try_from(at.duration_since(self.now())) else {
                return;
            };
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = moved => {}
                () = tokio::time::sleep(left.min(LONGEST_NAP)) => {}
            }
        }
    }
}

/// `N` unpredictable bytes from the operating system, fit for keys and tokens.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system's generator does not fail once it is seeded");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn clones_share_the_offset() {
        let clock = Clock::system();
        let twin = clock.clone();
        let before = twin.now();
        clock.advance(HOUR);
        assert!(twin.now().duration_since(before) >= SignedDuration::from_hours(1));
    }

    #[test]
    fn a_stopped_clock_is_moved_only_by_hand() {
        let clock = Clock::stopped(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.now(), Timestamp::UNIX_EPOCH);
        clock.clone().advance(HOUR);
        assert_eq!(clock.now(), Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1));
    }

    #[tokio::test]
    async fn an_advance_ends_a_sleep_that_is_over() {
        let clock = Clock::system();
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(HOUR).await }
        });
        tokio::task::yield_now().await;
        clock.advance(HOUR);
        sleeper.await.unwrap();
    }

    #[tokio::test]
    async fn an_advance_that_is_too_short_does_not_end_a_sleep() {
        let clock = Clock::system();
        let sleep = clock.sleep(HOUR);
        tokio::pin!(sleep);
        assert!(futures_util::poll!(sleep.as_mut()).is_pending());
        clock.advance(HOUR / 2);
        assert!(futures_util::poll!(sleep.as_mut()).is_pending());
        clock.advance(HOUR / 2);
        assert!(futures_util::poll!(sleep.as_mut()).is_ready());
    }

    #[tokio::test]
    async fn a_past_time_does_not_wait() {
        let clock = Clock::system();
        clock.sleep_until(Timestamp::UNIX_EPOCH).await;
        clock.sleep(Duration::ZERO).await;
    }

    #[test]
    fn random_bytes_differ() {
        assert_ne!(random_bytes::<16>(), random_bytes::<16>());
    }
}
