//! What was asked for, and who may make it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::catalog::manifest::MediaKind;
use crate::credits::Credits;
use crate::ids::{AssetId, BoxId};

/// What the customer asked for. A later change of the catalog does not change it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The catalog name of the model or chain, aliases resolved.
    pub model: String,
    /// What it makes.
    pub kind: MediaKind,
    /// The checked parameters, defaults filled in.
    pub params: Map<String, Value>,
    /// The media that the parameters name.
    pub inputs: Vec<Input>,
    /// What 1, 2, … results cost, up to the number ordered; empty when the price does not depend on results.
    #[serde(default)]
    pub price_by_results: Vec<Credits>,
    /// Who may make it, in order of preference; never empty.
    pub candidates: Vec<Candidate>,
    /// Where the results are to be put, if that box is still there then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub box_id: Option<BoxId>,
    /// What the results have to be.
    #[serde(default)]
    pub finish: Finish,
    /// The uploads among its inputs are erased when it has ended.
    #[serde(default)]
    pub erase_inputs: bool,
}

/// What every result of an order has to be, whoever makes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Finish {
    /// Images of other formats are converted to this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_format: Option<ImageFormat>,
    /// A text that is shorter, in characters, is not what was ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_chars: Option<u32>,
    /// The JSON Schema that a document has to satisfy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
}

/// A format of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    Png,
    Jpeg,
}

impl ImageFormat {
    /// The media type, as in `image/png`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
        }
    }
}

/// One model that can make what was ordered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The model's catalog name.
    pub model: String,
    /// Its provider's catalog name.
    pub provider: String,
    /// The version of the provider's manifest when the order was accepted.
    pub catalog_version: u32,
    /// The version of the model's own entry, where it has one beside the manifest.
    pub model_version: Option<u32>,
    /// The model's parameters; none when they are the order's own.
    pub params: Option<Map<String, Value>>,
    /// What the provider charges us, in millionths of a US dollar, rounded up; none where it is not known.
    #[serde(default)]
    pub cost_micro_usd: Option<u64>,
}

/// A media file given to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// As the parameters name it.
    pub asset: AssetId,
    /// Its S3 key.
    pub key: String,
    /// What it is.
    pub content_type: String,
    /// Its size.
    pub bytes: u64,
}
