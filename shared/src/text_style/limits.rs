//! Numbers that cannot leave their range.

use std::fmt;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

/// A whole number from `MIN` to `MAX`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Within<const MIN: u16, const MAX: u16>(u16);

impl<const MIN: u16, const MAX: u16> Within<MIN, MAX> {
    /// `None` outside the range.
    pub const fn new(number: u16) -> Option<Self> {
        if MIN <= number && number <= MAX { Some(Self(number)) } else { None }
    }

    /// What is outside becomes the nearest number inside.
    pub fn nearest(number: u32) -> Self {
        Self(u16::try_from(number).unwrap_or(MAX).clamp(MIN, MAX))
    }

    pub const fn get(self) -> u16 {
        self.0
    }
}

impl<const MIN: u16, const MAX: u16> Default for Within<MIN, MAX> {
    /// The smallest.
    fn default() -> Self {
        Self(MIN)
    }
}

impl<const MIN: u16, const MAX: u16> fmt::Display for Within<MIN, MAX> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<'de, const MIN: u16, const MAX: u16> Deserialize<'de> for Within<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        let within = u16::try_from(number).ok().and_then(Self::new);
        within.ok_or_else(|| D::Error::custom(format!("`{number}` is out of range, give a whole number from {MIN} to {MAX}")))
    }
}
