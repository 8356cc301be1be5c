//! Generations in the hands of operators.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{GenerationView, compiled};
use crate::catalog::Params;
use crate::credits::Credits;
use crate::generation::Generation;
use crate::ids::{AccountId, ActionId, ApiKeyId};
use crate::ledger::Note;

/// `POST /v1/admin/generations/{id}/retry`, `…/release` and `…/charge`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WithReason {
    /// Why, in the operator's words; 1 to 500 characters. The owner of a generation that is ended by hand is shown it.
    pub reason: String,
}

impl WithReason {
    /// What it looks like, for checking it with a reason for each mistake.
    pub fn shape() -> &'static Params {
        static SHAPE: LazyLock<Params> = LazyLock::new(|| {
            let most = Note::REASON_CHARS;
            compiled(&format!(
                r#"{{"type": "object", "additionalProperties": false, "required": ["reason"],
                "properties": {{"reason": {{"type": "string", "minLength": 1, "maxLength": {most}, "pattern": "\\S"}}}}}}"#
            ))
        });
        &SHAPE
    }
}

/// A generation, as operators see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperatorsGeneration {
    /// As its owner sees it.
    pub generation: GenerationView,
    #[schema(value_type = String)]
    pub account: AccountId,
    /// Raised by each change.
    pub version: u64,
    /// When it is looked at next; null when nothing is left to do.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due_at: Option<Timestamp>,
    pub funds: FundsView,
    /// Which operator's key ended it by hand.
    #[schema(value_type = Option<String>)]
    pub resolved_by: Option<ApiKeyId>,
    /// The provider key of each attempt, oldest first.
    pub attempt_keys: Vec<AttemptKeyView>,
    /// What operators did to it, oldest first.
    pub actions: Vec<GenerationActionView>,
}

/// What a hold was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FundsView {
    /// The API key that asked for it; null when an operator did.
    #[schema(value_type = Option<String>)]
    pub key: Option<ApiKeyId>,
    /// The part that came from credits with an end.
    pub ending: Vec<FundsOfGrant>,
}

/// The part of a hold that came from one grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FundsOfGrant {
    /// The reference of the grant.
    pub grant: String,
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
    #[schema(value_type = u64)]
    pub credits: Credits,
}

/// With which of our keys a provider was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AttemptKeyView {
    pub attempt: u32,
    /// Names the key without telling it; null for a provider without keys.
    pub key: Option<String>,
    /// It counts against what the key may do at once while it is under way.
    pub holds_slot: bool,
}

/// Something that an operator did to a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GenerationActionView {
    #[schema(value_type = String)]
    pub id: ActionId,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// With which API key.
    #[schema(value_type = Option<String>)]
    pub by: Option<ApiKeyId>,
    /// `retry`, `release` or `charge`.
    pub what: String,
    pub reason: Option<String>,
}

impl OperatorsGeneration {
    /// `view` is what its owner sees.
    pub fn of(generation: &Generation, view: GenerationView, actions: Vec<GenerationActionView>) -> Self {
        let ending = generation.funds.from.iter();
        let ending = ending.map(|part| FundsOfGrant { grant: part.grant.clone(), ends_at: part.ends_at, credits: part.left });
        let keys = generation.attempts.iter().map(|attempt| AttemptKeyView {
            attempt: attempt.number,
            key: attempt.key.as_ref().map(ToString::to_string),
            holds_slot: attempt.holds_slot,
        });
        Self {
            generation: view,
            account: generation.account,
            version: generation.version,
            due_at: generation.due_at,
            funds: FundsView { key: generation.funds.key, ending: ending.collect() },
            resolved_by: generation.resolution.as_ref().and_then(|resolution| resolution.note.by),
            attempt_keys: keys.collect(),
            actions,
        }
    }
}
