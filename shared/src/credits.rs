//! Credits: what customers pay with. Whole numbers only, never negative, never silently wrapping.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// An amount of credits, 0 to [`Credits::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Default)]
#[serde(transparent)]
pub struct Credits(u64);

/// An amount outside 0..=[`Credits::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` credits is more than the {max} one amount may have", max = Credits::MAX)]
pub struct TooManyCredits(pub u64);

impl Credits {
    /// No credits.
    pub const ZERO: Self = Self(0);
    /// A million million: sums of such amounts stay exact in JSON numbers (below 2^53) and in 64 bits.
    pub const MAX: Self = Self(1_000_000_000_000);

    /// Refuses amounts above [`Credits::MAX`].
    pub fn new(amount: u64) -> Result<Self, TooManyCredits> {
        if amount > Self::MAX.0 { Err(TooManyCredits(amount)) } else { Ok(Self(amount)) }
    }

    /// The plain number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// `None` above [`Credits::MAX`].
    pub fn plus(self, other: Self) -> Option<Self> {
        Self::new(self.0 + other.0).ok()
    }

    /// `None` below zero.
    pub fn minus(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// As a signed change of a balance.
    pub fn signed(self) -> i64 {
        i64::try_from(self.0).expect("Credits::MAX fits into 63 bits")
    }
}

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} credits", self.0)
    }
}

impl<'de> Deserialize<'de> for Credits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_never_wrap() {
        assert_eq!(Credits::new(Credits::MAX.get() + 1), Err(TooManyCredits(Credits::MAX.get() + 1)));
        assert_eq!(Credits::MAX.plus(Credits(1)), None);
        assert_eq!(Credits::ZERO.minus(Credits(1)), None);
        assert!(serde_json::from_str::<Credits>("-1").is_err());
        assert!(serde_json::from_str::<Credits>("1.5").is_err());
    }

    #[test]
    fn amounts_are_read_as_they_are_written() {
        for amount in [Credits::ZERO, Credits(7), Credits::MAX] {
            let text = serde_json::to_string(&amount).expect("a number");
            assert_eq!((text.as_str(), serde_json::from_str(&text).ok()), (amount.0.to_string().as_str(), Some(amount)));
        }
    }
}
