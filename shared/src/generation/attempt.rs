//! One try with a provider, and what was made ready for it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Input;
use crate::failure::Failure;
use crate::pool::KeyId;

/// One claim of the generation by a dispatch worker: at most one paid submit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// 1, 2, 3…: also the fencing token, since evidence names the attempt it belongs to.
    pub number: u32,
    /// Whom we asked.
    pub provider: String,
    /// For which model.
    pub model: String,
    /// Its place among the order's candidates.
    pub candidate: usize,
    /// With which of our keys; none for a provider without keys.
    pub key: Option<KeyId>,
    /// It holds a slot of that key while it is under way.
    pub holds_slot: bool,
    /// When it was claimed: the submit was not sent before this.
    pub claimed_at: Timestamp,
    /// When somebody without proof of being the provider last said that there is news.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub woken_at: Option<Timestamp>,
    /// When its fate was known.
    pub answered_at: Option<Timestamp>,
    /// The provider's name for the job.
    pub job: Option<String>,
    /// What became of it.
    pub result: AttemptResult,
    /// What was made ready for it before it was sent.
    #[serde(default, skip_serializing_if = "Prepared::is_nothing")]
    pub prepared: Prepared,
}

/// What was made of an order before it was sent to a provider that needs it otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// Files that are sent in place of the order's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// Texts that are sent in place of the order's, or why they are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<PreparedText>,
}

impl Prepared {
    /// Everything is sent as it was ordered.
    pub fn is_nothing(&self) -> bool {
        self.inputs.is_empty() && self.texts.is_empty()
    }

    /// Only that it was done.
    pub(super) fn without_content(&self) -> Self {
        let texts = self.texts.iter().map(|text| PreparedText { text: None, ..text.clone() });
        Self { inputs: Vec::new(), texts: texts.collect() }
    }
}

/// A text that a language model has made of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedText {
    /// Of which of the model's parameters.
    pub param: String,
    /// To what end.
    pub purpose: TextPurpose,
    /// What is sent; none: the parameter as it is, because no language model could be asked.
    pub text: Option<String>,
    /// The language model that made it.
    pub by: Option<String>,
}

/// What a language model is asked for before a provider is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TextPurpose {
    /// To say it in English.
    Translate,
    /// To read wishes for a text's look as a style.
    Style,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum AttemptResult {
    /// No answer yet.
    Submitting,
    /// The provider has the job.
    Accepted,
    /// The answer was lost: the provider may have the job.
    Unconfirmed { reason: Ambiguity },
    /// The provider finished it.
    Succeeded,
    /// The provider refused or failed it.
    Failed { failure: Failure },
    /// The provider stopped it.
    Canceled,
}

/// Why nobody knows whether the provider took the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ambiguity {
    /// The request was sent; no answer came in time.
    TimedOut,
    /// The connection broke after the request was sent.
    ConnectionLost,
    /// A server error that does not say whether the job was taken.
    ServerError,
    /// An answer of success that cannot be understood.
    UnreadableAnswer,
    /// The answer carried the results, and they could not be stored.
    ResultsNotKept,
    /// The worker that sent it, or was about to, did not report back.
    WorkerLost,
}

impl Ambiguity {
    /// The word used in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::ConnectionLost => "connection_lost",
            Self::ServerError => "server_error",
            Self::UnreadableAnswer => "unreadable_answer",
            Self::ResultsNotKept => "results_not_kept",
            Self::WorkerLost => "worker_lost",
        }
    }
}
