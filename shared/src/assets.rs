//! Media files of customers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::{AssetSource, AssetStatus, AssetView};
use crate::generation::{Generation, StoredResult};
use crate::ids::{AccountId, AssetId, GenerationId};

/// A file in our bucket, or the promise of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asset {
    pub id: AssetId,
    pub account: AccountId,
    pub source: AssetSource,
    pub status: AssetStatus,
    /// Its S3 key.
    pub key: String,
    pub content_type: String,
    pub bytes: u64,
    pub filename: Option<String>,
    /// The generation that made it.
    pub generation: Option<GenerationId>,
    pub created_at: Timestamp,
    /// Until when a pending upload can be completed, or a completed one used; none for results.
    pub expires_at: Option<Timestamp>,
}

impl Asset {
    /// The asset that a stored result is filed as.
    pub fn generated(result: &StoredResult, generation: &Generation, now: Timestamp) -> Self {
        Self {
            id: result.asset,
            account: generation.account,
            source: AssetSource::Generated,
            status: AssetStatus::Ready,
            key: result.key.clone(),
            content_type: result.content_type.clone(),
            bytes: result.bytes,
            filename: None,
            generation: Some(generation.id),
            created_at: now,
            expires_at: None,
        }
    }

    /// Its time is over: the bucket does not have it any more.
    pub fn is_gone(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| now > expires_at)
    }

    /// As its owner sees it.
    pub fn view(&self, url: Option<String>) -> AssetView {
        AssetView {
            id: self.id,
            status: self.status,
            source: self.source,
            content_type: self.content_type.clone(),
            bytes: self.bytes,
            filename: self.filename.clone(),
            generation_id: self.generation,
            url,
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }
}
