//! Providers, models and chains that are put while the product runs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The longest body of an entry, in bytes. DynamoDB takes 400 KB an item (source: AWS, "Service, account, and table quotas").
pub const MAX_BODY_BYTES: usize = 300_000;

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatalogKind {
    /// A provider, by its manifest.
    Provider,
    /// A model of a provider that is there.
    Model,
    /// Models that stand in for each other.
    Chain,
}

impl CatalogKind {
    /// The word used in JSON and in keys.
    pub fn word(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Model => "model",
            Self::Chain => "chain",
        }
    }
}

/// One version of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogEntry {
    /// What it is about.
    pub kind: CatalogKind,
    /// Its catalog name.
    pub name: String,
    /// Raised with every change, removal included; never given twice for one name.
    pub version: u32,
    /// The manifest, model or chain as JSON; `null` when removed. A text, since a table keeps neither the order of members nor the difference
    /// between 1 and 1.0.
    pub body: String,
    /// When it was put.
    pub put_at: Timestamp,
    /// It is gone: what comes with the product holds again.
    pub removed: bool,
}
