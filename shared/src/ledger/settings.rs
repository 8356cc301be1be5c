//! What operators set on an account: no credits move.

use jiff::{SignedDuration, Timestamp};

use super::{Account, KeyUse, Posted, Refusal, SpendingLimits};
use crate::credits::Credits;
use crate::ids::ApiKeyId;

/// What is to be other than it was; what is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountChange {
    /// `Some(None)` takes the name away.
    pub name: Option<Option<String>>,
    pub suspended: Option<bool>,
    pub limits: LimitsChange,
    /// `Some(None)`: the deployment's own limit holds again.
    pub requests_per_second: Option<Option<u32>>,
}

/// Which limits are to be others; `Some(None)` takes one away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitsChange {
    pub in_flight: Option<Option<u32>>,
    pub spend_per_day: Option<Option<Credits>>,
    pub spend_per_month: Option<Option<Credits>>,
}

impl LimitsChange {
    /// Takes all of them away.
    pub const NONE: Self = Self { in_flight: Some(None), spend_per_day: Some(None), spend_per_month: Some(None) };

    fn of(self, limits: SpendingLimits) -> SpendingLimits {
        SpendingLimits {
            in_flight: self.in_flight.unwrap_or(limits.in_flight),
            spend_per_day: self.spend_per_day.unwrap_or(limits.spend_per_day),
            spend_per_month: self.spend_per_month.unwrap_or(limits.spend_per_month),
        }
    }
}

/// A key that has ended is remembered for so long: longer than any answer about it is kept elsewhere.
const ENDED_KEYS_KEPT_FOR: SignedDuration = SignedDuration::from_hours(1);

impl Account {
    /// The account with other settings.
    pub fn changed(&self, change: &AccountChange) -> Posted {
        let mut next = self.clone();
        if let Some(name) = &change.name {
            next.name.clone_from(name);
        }
        next.suspended = change.suspended.unwrap_or(next.suspended);
        next.limits = change.limits.of(next.limits);
        next.requests_per_second = change.requests_per_second.unwrap_or(next.requests_per_second);
        next.written()
    }

    /// The account with one more key that may spend.
    pub fn with_key(
        &self,
        key: ApiKeyId,
        limits: SpendingLimits,
        ends_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Posted, Refusal> {
        let mut next = self.at(now);
        if next.keys.len() >= Self::MAX_KEYS {
            return Err(Refusal::TooManyKeys);
        }
        next.keys.insert(key, KeyUse { limits, ends_at, ..KeyUse::default() });
        Ok(next.written())
    }

    /// The account with a key that spends nothing from `ends_at` on. A key that ends sooner stays as it is.
    pub fn with_key_ending(&self, key: ApiKeyId, ends_at: Timestamp, now: Timestamp) -> Posted {
        let mut next = self.at(now);
        if let Some(own) = next.keys.get_mut(&key) {
            own.ends_at = Some(own.ends_at.map_or(ends_at, |end| end.min(ends_at)));
        }
        next.written()
    }

    /// Without the keys that are to be forgotten. No posting comes before this: what a key does after its end is refused, whatever time
    /// another process believes it is.
    fn at(&self, now: Timestamp) -> Self {
        let now = self.time_of_posting(now);
        let mut next = Self { posted_at: now.max(self.posted_at), ..self.clone() };
        next.keys.retain(|_, own| own.ends_at.is_none_or(|end| now < end + ENDED_KEYS_KEPT_FOR));
        next
    }

    fn written(mut self) -> Posted {
        self.version += 1;
        let at = self.posted_at;
        Posted { account: self, entries: Vec::new(), taken: Vec::new(), at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::AccountId;

    fn key(number: u8) -> ApiKeyId {
        ApiKeyId::from_parts(1, [number; 10])
    }

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
    }

    #[test]
    fn what_is_left_out_stays() {
        let own = Account::open(AccountId::from_parts(1, [1; 10]), at(0));
        let limits = LimitsChange { in_flight: Some(Some(3)), ..LimitsChange::default() };
        let change = AccountChange { name: Some(Some("a".into())), limits, ..AccountChange::default() };
        let named = own.changed(&change).account;
        let limits = SpendingLimits { in_flight: Some(3), ..SpendingLimits::default() };
        assert_eq!((named.name.as_deref(), named.limits, named.suspended, named.version), (Some("a"), limits, false, 1));
        let suspended = named.changed(&AccountChange { suspended: Some(true), ..AccountChange::default() }).account;
        assert_eq!(suspended, Account { suspended: true, version: 2, ..named });
        let free = suspended.changed(&AccountChange { limits: LimitsChange::NONE, ..AccountChange::default() }).account;
        assert_eq!(free.limits, SpendingLimits::default());
    }

    #[test]
    fn a_key_ends_once_and_is_forgotten_later() {
        let none = SpendingLimits::default();
        let own = Account::open(AccountId::from_parts(1, [1; 10]), at(0));
        let own = own.with_key(key(1), none, None, at(0)).expect("room").account;
        let own = own.with_key_ending(key(1), at(1), at(1)).account;
        let own = own.with_key_ending(key(1), at(2), at(1)).account;
        assert_eq!(own.keys[&key(1)].ends_at, Some(at(1)));
        assert!(own.with_key_ending(key(2), at(1), at(1)).account.keys.contains_key(&key(1)));
        let own = own.with_key(key(2), none, None, at(2)).expect("room").account;
        assert_eq!(own.keys.keys().collect::<Vec<_>>(), [&key(2)]);
    }

    #[test]
    fn a_new_key_has_its_own_limits_and_end() {
        let limits = SpendingLimits { spend_per_day: Credits::new(5).ok(), ..SpendingLimits::default() };
        let own = Account::open(AccountId::from_parts(1, [1; 10]), at(0));
        let own = own.with_key(key(1), limits, Some(at(3)), at(0)).expect("room").account;
        assert_eq!(own.keys[&key(1)], KeyUse { limits, ends_at: Some(at(3)), ..KeyUse::default() });
    }

    #[test]
    fn there_is_an_end_to_the_number_of_keys() {
        let mut own = Account::open(AccountId::from_parts(1, [1; 10]), at(0));
        for number in 0..Account::MAX_KEYS {
            let key = key(u8::try_from(number).expect("few"));
            own = own.with_key(key, SpendingLimits::default(), None, at(0)).expect("room").account;
        }
        assert_eq!(own.with_key(key(99), SpendingLimits::default(), None, at(0)), Err(Refusal::TooManyKeys));
    }
}
