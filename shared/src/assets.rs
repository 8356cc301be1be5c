//! Media files of customers.

use jiff::{SignedDuration, Timestamp};
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
    /// Its S3 key; empty once it is erased.
    pub key: String,
    /// Empty once it is erased.
    pub content_type: String,
    /// Zero once it is erased.
    pub bytes: u64,
    pub filename: Option<String>,
    /// The generation that made it.
    pub generation: Option<GenerationId>,
    pub created_at: Timestamp,
    /// Until when a pending upload can be completed, or a completed one used; none for results.
    pub expires_at: Option<Timestamp>,
    /// When the poll has to look at it; none unless something of it is still to be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
}

/// Whoever erases an asset has done so long before; if not, the poll does it.
const ERASED_WITHIN: SignedDuration = SignedDuration::from_mins(1);

/// Where an upload lies, without its extension.
pub fn upload_key_stem(account: AccountId, id: AssetId) -> String {
    format!("uploads/{account}/{id}")
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
            due_at: None,
        }
    }

    /// Nothing of it is shown or taken any more. The key is known until the object is deleted.
    pub fn erasing(&self, now: Timestamp) -> Self {
        Self { key: self.key.clone(), due_at: Some(now + ERASED_WITHIN), ..self.erased(None) }
    }

    /// Its object is deleted: only that it was there is left. `due_at`: when to see whether something came after.
    pub fn erased(&self, due_at: Option<Timestamp>) -> Self {
        Self {
            status: AssetStatus::Erased,
            key: String::new(),
            content_type: String::new(),
            bytes: 0,
            filename: None,
            due_at,
            ..self.clone()
        }
    }

    /// Its time is over: the bucket does not have it any more.
    pub fn is_gone(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| now > expires_at)
    }

    /// As its owner sees it.
    pub fn view(&self, url: Option<String>) -> AssetView {
        let is_there = match self.status {
            AssetStatus::Pending | AssetStatus::Ready => true,
            AssetStatus::Erased => false,
        };
        AssetView {
            id: self.id,
            status: self.status,
            source: self.source,
            content_type: is_there.then(|| self.content_type.clone()),
            bytes: is_there.then_some(self.bytes),
            filename: self.filename.clone(),
            generation_id: self.generation,
            url,
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }
}
