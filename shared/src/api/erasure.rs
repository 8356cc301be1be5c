//! The erasure of an account's content.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::account_erasure::AccountErasure;

/// `DELETE` and `GET /v1/account/content`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ErasureView {
    /// What was there at this moment is erased; the latest request counts.
    #[schema(value_type = String, format = DateTime)]
    pub requested_at: Timestamp,
    /// Since when nothing of it is left; null while the work goes on.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// Generations without content so far.
    pub generations: u64,
    /// Uploads and results without content so far: counted after the generations.
    pub assets: u64,
}

impl From<&AccountErasure> for ErasureView {
    fn from(erasure: &AccountErasure) -> Self {
        Self {
            requested_at: erasure.requested_at,
            finished_at: erasure.finished_at(),
            generations: erasure.generations,
            assets: erasure.assets,
        }
    }
}
