//! What operators see of the whole: what is due, what is stuck, what is queued.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How a deployment stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatusView {
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub due: DueView,
    pub queues: Vec<QueueView>,
}

/// The due index up to the next tick.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DueView {
    /// Falls due before the next tick.
    pub soon: u64,
    /// Fell due more than two minutes ago and has not been looked at since.
    pub stuck: u64,
    /// There is more than was counted.
    pub more: bool,
    /// The longest that anything has been overdue, in seconds.
    pub oldest_s: u64,
    /// The first of what is stuck, at most 20, those that have waited longest first.
    pub stuck_records: Vec<StuckView>,
}

/// Something that should have been looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StuckView {
    /// `generation`, `account`, `asset`, `box` or `erasure`.
    pub kind: String,
    /// The generation's, asset's or box's id; otherwise the account's.
    pub id: String,
    pub account: String,
    /// Where a generation stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub due_at: Timestamp,
}

/// One queue with its dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueueView {
    /// `dispatch`, `collect` or `poll`.
    pub name: String,
    /// Messages that wait to be received.
    pub waiting: u64,
    /// Messages that are being worked on.
    pub in_flight: u64,
    /// Messages that are not to be received yet.
    pub delayed: u64,
    /// Messages that failed again and again.
    pub dead_letters: u64,
}

/// What a redrive does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RedriveView {
    pub queue: String,
    /// How many messages go back to the queue.
    pub messages: u64,
}
