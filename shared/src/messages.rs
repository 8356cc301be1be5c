//! What the queues carry. A message only names work: whoever receives it loads the record, which is the truth.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, AssetId, BoxId, GenerationId};
use crate::lifecycle::Send;

/// A message body, with its version beside it: an old worker refuses what it does not know instead of guessing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// [`Envelope::VERSION`].
    pub v: u32,
    /// The message.
    #[serde(flatten)]
    pub message: Message,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Message {
    /// Claim it and submit it to its provider.
    Dispatch { generation: GenerationId },
    /// Copy its results and settle it.
    Collect { generation: GenerationId },
    /// Look at it if it still falls due at this time; otherwise somebody has.
    Nudge { generation: GenerationId, due_at: Timestamp },
    /// Take away the credits of an account that have ended, if it still falls due at this time.
    Account { account: AccountId, due_at: Timestamp },
    /// Delete what is left of an asset's objects, if it still falls due at this time.
    EraseAsset { account: AccountId, asset: AssetId, due_at: Timestamp },
    /// Go on with the removal of a box, if it still falls due at this time.
    RemoveBox { account: AccountId, box_id: BoxId, due_at: Timestamp },
    /// Go on with the erasure of an account's content, if it still falls due at this time.
    EraseAccount { account: AccountId, due_at: Timestamp },
    /// See whether the books of these accounts are right.
    Reconcile { accounts: Vec<AccountId> },
    /// Nudge everything in one shard of the due index that falls due before this time.
    Sweep { shard: u32, before: Timestamp },
}

/// The queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueName {
    /// Work for providers.
    Dispatch,
    /// Results to copy.
    Collect,
    /// Things to look at.
    Poll,
}

impl QueueName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Dispatch, Self::Collect, Self::Poll];

    /// Its word in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch",
            Self::Collect => "collect",
            Self::Poll => "poll",
        }
    }
}

/// A body that is not one of our messages.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Not our JSON.
    #[error("the message body is not a darkroom message")]
    Unreadable(#[source] serde_json::Error),
    /// From a newer deployment.
    #[error("the message has version `{0}`, this worker knows version {known}", known = Envelope::VERSION)]
    Version(u32),
}

impl Envelope {
    /// The version written today.
    pub const VERSION: u32 = 1;
}

impl Message {
    /// The JSON body.
    pub fn to_body(&self) -> String {
        let envelope = Envelope { v: Envelope::VERSION, message: self.clone() };
        serde_json::to_string(&envelope).expect("ids and times serialize")
    }

    /// Reads a body.
    pub fn from_body(body: &str) -> Result<Self, MessageError> {
        let envelope: Envelope = serde_json::from_str(body).map_err(MessageError::Unreadable)?;
        if envelope.v == Envelope::VERSION { Ok(envelope.message) } else { Err(MessageError::Version(envelope.v)) }
    }

    /// Where it goes.
    pub fn queue(&self) -> QueueName {
        match self {
            Self::Dispatch { .. } => QueueName::Dispatch,
            Self::Collect { .. } => QueueName::Collect,
            Self::Nudge { .. }
            | Self::Account { .. }
            | Self::Reconcile { .. }
            | Self::EraseAsset { .. }
            | Self::RemoveBox { .. }
            | Self::EraseAccount { .. }
            | Self::Sweep { .. } => QueueName::Poll,
        }
    }
}

/// A message ready for its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// What.
    pub message: Message,
    /// How long the queue keeps it back; 0 to 15 minutes.
    pub delay: SignedDuration,
    /// The account, as fair-queue group: one busy account does not starve the others.
    pub group: String,
}

impl Outgoing {
    /// Sends for a look at an account when something of it ends.
    pub fn account(account: AccountId, due_at: Timestamp, now: Timestamp) -> Self {
        let delay = due_at.duration_since(now).max(SignedDuration::ZERO);
        Self { message: Message::Account { account, due_at }, delay, group: account.to_string() }
    }

    /// Sends for what is left of an asset.
    pub fn erase_asset(account: AccountId, asset: AssetId, due_at: Timestamp, now: Timestamp) -> Self {
        let delay = due_at.duration_since(now).max(SignedDuration::ZERO);
        Self { message: Message::EraseAsset { account, asset, due_at }, delay, group: account.to_string() }
    }

    /// Sends for the next page of a box that is removed.
    pub fn remove_box(account: AccountId, box_id: BoxId, due_at: Timestamp, now: Timestamp) -> Self {
        let delay = due_at.duration_since(now).max(SignedDuration::ZERO);
        Self { message: Message::RemoveBox { account, box_id, due_at }, delay, group: account.to_string() }
    }

    /// Sends for the next page of an account's erasure.
    pub fn erase_account(account: AccountId, due_at: Timestamp, now: Timestamp) -> Self {
        let delay = due_at.duration_since(now).max(SignedDuration::ZERO);
        Self { message: Message::EraseAccount { account, due_at }, delay, group: account.to_string() }
    }

    /// What `send` of a decision about `generation` means.
    pub fn of(send: Send, generation: GenerationId, account: AccountId, now: Timestamp) -> Self {
        let group = account.to_string();
        match send {
            Send::Dispatch { after } => Self { message: Message::Dispatch { generation }, delay: after, group },
            Send::Collect => Self { message: Message::Collect { generation }, delay: SignedDuration::ZERO, group },
            Send::Nudge { at } => {
                let delay = at.duration_since(now).max(SignedDuration::ZERO);
                Self { message: Message::Nudge { generation, due_at: at }, delay, group }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_its_body() {
        let message = Message::Nudge { generation: GenerationId::from_parts(1, [1; 10]), due_at: Timestamp::UNIX_EPOCH };
        assert_eq!(Message::from_body(&message.to_body()).expect("own body"), message);
    }

    #[test]
    fn another_version_is_refused() {
        let body = r#"{"v":2,"do":"collect","generation":"gen_00000000000170008000000000000000"}"#;
        assert!(matches!(Message::from_body(body), Err(MessageError::Version(2))));
        assert!(matches!(Message::from_body("{}"), Err(MessageError::Unreadable(_))));
    }
}
