//! Typed, prefixed identifiers: `gen_0193…`. The prefix makes a log line readable and keeps one kind from passing for another.
//!
//! An id is a UUID version 7 (RFC 9562) in 32 lowercase hexadecimal digits: sorted by creation time, 74 random bits.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not an id of the asked kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id of the form `{prefix}` followed by 32 lowercase hexadecimal digits")]
pub struct InvalidId {
    text: String,
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(uuid::Uuid);

        impl $name {
            /// What every id of this kind starts with.
            pub const PREFIX: &'static str = $prefix;

            /// An id made at `unix_ms` (milliseconds since 1970) from ten random bytes.
            pub fn from_parts(unix_ms: u64, random: [u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid())
            }

            /// When it was made, to the millisecond.
            pub fn created_at(self) -> Timestamp {
                let [a, b, c, d, e, f, ..] = *self.0.as_bytes();
                let unix_ms = i64::from_be_bytes([0, 0, a, b, c, d, e, f]);
                Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::MAX)
            }

            /// The first one that could be made at this time or later.
            pub fn first_from(at: Timestamp) -> Self {
                let whole = at.as_millisecond();
                let is_whole = Timestamp::from_millisecond(whole).is_ok_and(|whole| whole >= at);
                let unix_ms = if is_whole { whole } else { whole.saturating_add(1) };
                Self::from_parts(u64::try_from(unix_ms).unwrap_or(0), [0; 10])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", Self::PREFIX, self.0.as_simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let invalid = || InvalidId { text: text.chars().take(80).collect(), prefix: Self::PREFIX };
                let digits = text.strip_prefix(Self::PREFIX).ok_or_else(invalid)?;
                let plain = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
                if !plain {
                    return Err(invalid());
                }
                uuid::Uuid::try_parse(digits).map(Self).map_err(|_| invalid())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A customer: the owner of credits, assets and generations.
    AccountId,
    "acct_"
);
id!(
    /// One job that a customer asked for and pays for.
    GenerationId,
    "gen_"
);
id!(
    /// A media file: uploaded by the customer or made by a generation.
    AssetId,
    "asset_"
);

id!(
    /// An API key, without being the key.
    ApiKeyId,
    "key_"
);

id!(
    /// Something an operator did by hand.
    ActionId,
    "act_"
);

id!(
    /// A box: what a customer keeps assets together in.
    BoxId,
    "box_"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_form() {
        let id = GenerationId::from_parts(1_790_000_000_000, [7; 10]);
        assert_eq!(id.to_string().parse::<GenerationId>().expect("own text"), id);
        assert_eq!(serde_json::to_value(id).expect("serializes"), serde_json::json!(id.to_string()));
    }

    #[test]
    fn another_kind_or_spelling_is_refused() {
        let id = GenerationId::from_parts(1, [7; 10]).to_string();
        assert!(id.parse::<AccountId>().is_err());
        assert!(id.to_uppercase().parse::<GenerationId>().is_err());
        assert!(format!("{id}0").parse::<GenerationId>().is_err());
        assert!("gen_".parse::<GenerationId>().is_err());
        assert!("gen_{0193f2a0-0000-7000-8000-000000000}".parse::<GenerationId>().is_err());
    }

    #[test]
    fn later_ids_sort_later() {
        assert!(GenerationId::from_parts(1, [255; 10]).to_string() < GenerationId::from_parts(2, [0; 10]).to_string());
    }

    #[test]
    fn an_id_knows_its_time_and_times_know_their_ids() {
        let at = Timestamp::from_millisecond(1_790_000_000_123).expect("a time");
        let (least, most) = (AssetId::from_parts(1_790_000_000_123, [0; 10]), AssetId::from_parts(1_790_000_000_123, [255; 10]));
        assert_eq!((least.created_at(), most.created_at()), (at, at));
        let first = AssetId::first_from(at);
        assert!(first <= least && first > AssetId::from_parts(1_790_000_000_122, [255; 10]));
        assert!(AssetId::first_from(at + jiff::SignedDuration::from_nanos(1)) > most);
        assert_eq!(AssetId::first_from(Timestamp::MIN), AssetId::from_parts(0, [0; 10]));
    }
}
