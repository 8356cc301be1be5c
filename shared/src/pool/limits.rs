//! What a provider allows each of its keys.

use serde::{Deserialize, Serialize};

/// The most slots a key can have: the leases of a key are one item of the table, which is limited to 400 KB and paid for by size; a lease
/// takes about 60 bytes.
pub const MAX_CONCURRENCY: u32 = 1000;

/// The limits of each key of a provider. What is left out is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(!try_from, deny_unknown_fields))]
#[serde(try_from = "Unchecked")]
pub struct KeyLimits {
    /// Jobs in progress at once, up to [`MAX_CONCURRENCY`].
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1000)))]
    pub concurrency: Option<u32>,
    /// Submits in any 60 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub per_minute: Option<u32>,
    /// Submits in any 24 hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub per_day: Option<u32>,
}

/// A limit that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the limit `{name}` is `{value}`; give a number from 1 to {most}, or leave it out for no limit")]
pub struct InvalidLimits {
    name: &'static str,
    value: u32,
    most: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    concurrency: Option<u32>,
    per_minute: Option<u32>,
    per_day: Option<u32>,
}

impl TryFrom<Unchecked> for KeyLimits {
    type Error = InvalidLimits;

    fn try_from(unchecked: Unchecked) -> Result<Self, InvalidLimits> {
        let Unchecked { concurrency, per_minute, per_day } = unchecked;
        let limits =
            [("concurrency", concurrency, MAX_CONCURRENCY), ("per_minute", per_minute, u32::MAX), ("per_day", per_day, u32::MAX)];
        for (name, value, most) in limits {
            if let Some(value) = value.filter(|value| *value == 0 || *value > most) {
                return Err(InvalidLimits { name, value, most });
            }
        }
        Ok(Self { concurrency, per_minute, per_day })
    }
}
