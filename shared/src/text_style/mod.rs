//! How a text on a photo shall look: size, colour, place, distance from the edge, the plate under it.
//!
//! A style comes in as JSON ([`TextStyle::from_json`]) or is read from wishes in plain words ([`parse`]). What is left out, or null,
//! takes its default: a normal size, black or white by what lies under the text, at the bottom, without a plate.

mod colour;
mod limits;
mod parse;
mod schema;

use std::fmt;

use serde::de::{Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use colour::{Ink, Rgb};
pub use limits::Within;
pub use parse::{Reading, Understood, parse};

/// Pixels of the photo as it is, without any scaling.
pub type FontPx = Within<8, 512>;
/// Percent of the photo's side. Half would leave no room.
pub type MarginPercent = Within<0, 45>;
/// Pixels.
pub type MarginPx = Within<0, 4096>;
/// 0 is invisible, 100 hides the photo.
pub type OpacityPercent = Within<0, 100>;
/// Pixels.
pub type RadiusPx = Within<0, 512>;
/// Standard deviation of the blur, in pixels.
pub type BlurPx = Within<0, 100>;
/// Pixels.
pub type PaddingPx = Within<0, 512>;

/// How the text shall look. Every field may be left out or be null.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct TextStyle {
    pub size: Size,
    pub color: Ink,
    pub position: Position,
    pub margin: Margin,
    /// `None`: the text stands on the photo itself.
    pub plate: Option<Plate>,
    /// How the lines stand to each other; `None`: as the position says, in the middle for what is in the middle.
    pub align: Option<Horizontal>,
}

/// The size of the letters: a word, which goes by the photo's shorter side, or pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Size {
    Word(SizeWord),
    /// 8 to 512 pixels of the photo.
    #[schema(value_type = u16)]
    Px(FontPx),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SizeWord {
    Small,
    Medium,
    #[default]
    Normal,
    Large,
    Huge,
}

/// The nine places for a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    TopLeft,
    Top,
    TopRight,
    CenterLeft,
    Center,
    CenterRight,
    BottomLeft,
    #[default]
    Bottom,
    BottomRight,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Horizontal {
    Left,
    Center,
    Right,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vertical {
    Top,
    Center,
    Bottom,
}

/// The distance of the text, or of its plate, from the edges that its position names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Margin {
    /// Of the photo's height; of its width for the places in the middle of a side.
    Percent(MarginPercent),
    Px(MarginPx),
}

/// A coloured area under the text. Every field may be left out or be null.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Plate {
    /// `auto` (black, or white under a dark text), a colour's name, `#rgb` or `#rrggbb`.
    #[serde(deserialize_with = "or_default")]
    #[schema(value_type = Option<String>, example = "black")]
    pub color: Ink,
    /// Left out: 80, over a blur 55.
    #[schema(value_type = Option<u16>, maximum = 100)]
    pub opacity_percent: Option<OpacityPercent>,
    /// How round the corners are, in pixels; left out: by the size of the letters.
    #[schema(value_type = Option<u16>, maximum = 512)]
    pub radius_px: Option<RadiusPx>,
    /// How much the photo under the plate is blurred: the standard deviation, in pixels.
    #[serde(deserialize_with = "or_default")]
    #[schema(value_type = Option<u16>, maximum = 100)]
    pub blur_px: BlurPx,
    /// The room between text and edge, in pixels; left out: by the size of the letters.
    #[schema(value_type = Option<u16>, maximum = 512)]
    pub padding_px: Option<PaddingPx>,
}

/// A style that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the text style's `{field}` cannot be used: {problem}")]
pub struct StyleError {
    /// The path of the field, as in `plate.opacity_percent`.
    pub field: String,
    pub problem: String,
}

/// The style as JSON has it.
#[derive(Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
struct Wire {
    /// `small`, `medium`, `normal`, `large` or `huge`, which go by the photo's shorter side, or a number of pixels.
    #[serde(deserialize_with = "or_default")]
    #[schema(value_type = Option<Size>)]
    size: Size,
    /// `auto` (black or white, whichever reads better), a colour's name, `#rgb` or `#rrggbb`.
    #[serde(deserialize_with = "or_default")]
    #[schema(value_type = Option<String>, example = "auto")]
    color: Ink,
    #[serde(deserialize_with = "or_default")]
    #[schema(value_type = Option<Position>)]
    position: Position,
    /// The distance from the edges that the position names, in percent of the photo's height (of its width at the middle of a side).
    /// Left out, and without `margin_px`: 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u16>, maximum = 45)]
    margin_percent: Option<MarginPercent>,
    /// The same in pixels, instead of `margin_percent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u16>, maximum = 4096)]
    margin_px: Option<MarginPx>,
    /// Left out: no plate.
    plate: Option<Plate>,
    /// How the lines stand to each other. Left out: as the position says.
    align: Option<Horizontal>,
}

impl TextStyle {
    /// Reads a style; an error names the field.
    pub fn from_json(value: &Value) -> Result<Self, StyleError> {
        // A list of values would pass for a struct's fields.
        if !value.is_object() {
            return Err(StyleError { field: "style".to_owned(), problem: "it is not a JSON object".to_owned() });
        }
        let wire: Wire = serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path().to_string();
            StyleError { field: if path == "." { "style".to_owned() } else { path }, problem: error.into_inner().to_string() }
        })?;
        wire.try_into()
    }

    /// The JSON Schema of a style, for a language model to answer with: strict, every field required and nullable.
    pub fn json_schema() -> Value {
        schema::strict()
    }

    /// How the lines stand to each other.
    pub fn alignment(&self) -> Horizontal {
        self.align.unwrap_or(self.position.horizontal())
    }
}

impl Position {
    pub fn new(vertical: Vertical, horizontal: Horizontal) -> Self {
        match (vertical, horizontal) {
            (Vertical::Top, Horizontal::Left) => Self::TopLeft,
            (Vertical::Top, Horizontal::Center) => Self::Top,
            (Vertical::Top, Horizontal::Right) => Self::TopRight,
            (Vertical::Center, Horizontal::Left) => Self::CenterLeft,
            (Vertical::Center, Horizontal::Center) => Self::Center,
            (Vertical::Center, Horizontal::Right) => Self::CenterRight,
            (Vertical::Bottom, Horizontal::Left) => Self::BottomLeft,
            (Vertical::Bottom, Horizontal::Center) => Self::Bottom,
            (Vertical::Bottom, Horizontal::Right) => Self::BottomRight,
        }
    }

    pub fn vertical(self) -> Vertical {
        match self {
            Self::TopLeft | Self::Top | Self::TopRight => Vertical::Top,
            Self::CenterLeft | Self::Center | Self::CenterRight => Vertical::Center,
            Self::BottomLeft | Self::Bottom | Self::BottomRight => Vertical::Bottom,
        }
    }

    pub fn horizontal(self) -> Horizontal {
        match self {
            Self::TopLeft | Self::CenterLeft | Self::BottomLeft => Horizontal::Left,
            Self::Top | Self::Center | Self::Bottom => Horizontal::Center,
            Self::TopRight | Self::CenterRight | Self::BottomRight => Horizontal::Right,
        }
    }
}

impl Plate {
    /// The opacity asked for, or the default: less over a blur, which would not be seen otherwise.
    pub fn opacity(&self) -> OpacityPercent {
        let default = if self.blur_px.get() == 0 { 80 } else { 55 };
        self.opacity_percent.unwrap_or(OpacityPercent::nearest(default))
    }
}

impl Default for Size {
    fn default() -> Self {
        Self::Word(SizeWord::default())
    }
}

impl Default for Margin {
    fn default() -> Self {
        Self::Percent(MarginPercent::nearest(5))
    }
}

impl TryFrom<Wire> for TextStyle {
    type Error = StyleError;

    fn try_from(wire: Wire) -> Result<Self, StyleError> {
        let Wire { size, color, position, margin_percent, margin_px, plate, align } = wire;
        let margin = match (margin_percent, margin_px) {
            (Some(percent), Some(px)) => {
                let problem =
                    format!("`{px}` pixels are given beside `{percent}` percent as `margin_percent`: give one of the two");
                return Err(StyleError { field: "margin_px".to_owned(), problem });
            }
            (Some(percent), None) => Margin::Percent(percent),
            (None, Some(px)) => Margin::Px(px),
            (None, None) => Margin::default(),
        };
        Ok(Self { size, color, position, margin, plate, align })
    }
}

impl From<TextStyle> for Wire {
    fn from(style: TextStyle) -> Self {
        let TextStyle { size, color, position, margin, plate, align } = style;
        let (margin_percent, margin_px) = match margin {
            Margin::Percent(percent) => (Some(percent), None),
            Margin::Px(px) => (None, Some(px)),
        };
        Self { size, color, position, margin_percent, margin_px, plate, align }
    }
}

impl utoipa::PartialSchema for TextStyle {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        Wire::schema()
    }
}

impl utoipa::ToSchema for TextStyle {
    fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>)>) {
        Wire::schemas(schemas);
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrNumber;
        impl Visitor<'_> for WordOrNumber {
            type Value = Size;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "`small`, `medium`, `normal`, `large`, `huge` or 8 to 512 pixels as a number")
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Size, E> {
                let word = SizeWord::deserialize(serde::de::value::StrDeserializer::<E>::new(word))
                    .map_err(|_| E::invalid_value(Unexpected::Str(word), &self))?;
                Ok(Size::Word(word))
            }

            fn visit_u64<E: serde::de::Error>(self, px: u64) -> Result<Size, E> {
                u16::try_from(px)
                    .ok()
                    .and_then(FontPx::new)
                    .map(Size::Px)
                    .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(px), &self))
            }

            fn visit_i64<E: serde::de::Error>(self, px: i64) -> Result<Size, E> {
                let positive = u64::try_from(px).map_err(|_| E::invalid_value(Unexpected::Signed(px), &self))?;
                self.visit_u64(positive)
            }
        }
        deserializer.deserialize_any(WordOrNumber)
    }
}

/// Null is the default, as an absent field is.
fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests;
