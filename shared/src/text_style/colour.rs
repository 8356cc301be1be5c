//! Colours: `auto`, names and hexadecimal numbers.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use super::parse::colour_named;

/// Red, green and blue in sRGB.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rgb(pub [u8; 3]);

/// A colour, or whichever of black and white reads better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ink {
    #[default]
    Auto,
    Exactly(Rgb),
}

/// A colour that is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a colour, give `auto`, a name like `white` or `dark blue`, `#rgb` or `#rrggbb`")]
pub struct NotAColour(String);

impl Rgb {
    pub const BLACK: Self = Self([0, 0, 0]);
    pub const WHITE: Self = Self([255, 255, 255]);

    /// Reads `#rgb` and `#rrggbb`.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let number = u32::from_str_radix(digits, 16).ok()?;
        let [blue, green, red, _] = number.to_le_bytes();
        match digits.len() {
            // Each digit of `#rgb` stands for two: `#f80` is `#ff8800`.
            3 => Some(Self([green & 15, blue >> 4, blue & 15].map(|digit| digit * 17))),
            6 => Some(Self([red, green, blue])),
            _ => None,
        }
    }

    /// Nearer to black or to white by about a half.
    pub(super) fn shaded(self, towards: u8) -> Self {
        Self(self.0.map(|channel| u8::midpoint(channel, towards)))
    }
}

impl fmt::Display for Rgb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(formatter, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl fmt::Debug for Rgb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Ink {
    type Err = NotAColour;

    /// In any case; names in English, Russian and Ukrainian.
    fn from_str(text: &str) -> Result<Self, NotAColour> {
        let plain = text.trim().to_lowercase();
        if plain == "auto" {
            return Ok(Self::Auto);
        }
        let colour = Rgb::from_hex(&plain).or_else(|| colour_named(&plain));
        colour.map(Self::Exactly).ok_or_else(|| NotAColour(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Ink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Exactly(colour) => colour.fmt(formatter),
        }
    }
}

impl Serialize for Ink {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ink {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
