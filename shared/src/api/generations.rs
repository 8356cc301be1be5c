//! Generations, as they are asked for and seen.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::compiled;
use crate::catalog::Params;
use crate::credits::Credits;
use crate::failure::{Charge, FailureClass};
use crate::generation::{
    Ambiguity, Attempt, AttemptResult, Erasure, Generation, Prepared, PreparedText, State, StoredResult, TextPurpose,
};
use crate::ids::{AssetId, GenerationId};

/// `POST /v1/generations`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateGeneration {
    /// A model's name or alias, from `GET /v1/models`. Beside a `tool`: the one model that is to do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// A tool's name, from `GET /v1/tools`. One of both is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The parameters, as the `params` schema of the model or tool says.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub params: Map<String, Value>,
    /// Of `POST /v1/quotes`, for this model and these parameters: its price is held, whatever the price is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
    /// A box of the account, to put the results into; if it is removed meanwhile, they come without a box.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub box_id: Option<String>,
    /// How `params.prompt` is read.
    #[serde(default, skip_serializing_if = "PromptSyntax::is_plain")]
    pub prompt_syntax: PromptSyntax,
}

/// How a prompt is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PromptSyntax {
    /// As it is.
    #[default]
    Plain,
    /// `prompt | model=… | size=1024x1024 | aspect_ratio=16:9 | negative=…`: settings behind the prompt, each of which may be left out.
    Extended,
}

impl PromptSyntax {
    /// As it is.
    pub fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

impl CreateGeneration {
    /// What it looks like, for checking it with a reason for each mistake.
    pub fn shape() -> &'static Params {
        static SHAPE: LazyLock<Params> = LazyLock::new(|| compiled(CreateGeneration::SCHEMA));
        &SHAPE
    }

    const SCHEMA: &'static str = r#"{
        "type": "object", "additionalProperties": false,
        "properties": {
            "model": {"type": "string", "minLength": 1, "maxLength": 200}, "tool": {"type": "string", "minLength": 1, "maxLength": 200},
            "params": {"type": "object"}, "quote": {"type": "string"}, "box_id": {"type": "string"},
            "prompt_syntax": {"type": "string", "enum": ["plain", "extended"]}
        }
    }"#;
}

/// The answer to `POST /v1/generations`, given again for a repeated `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CreatedGeneration {
    /// Ask for it at `GET /v1/generations/{id}`.
    #[schema(value_type = String)]
    pub id: GenerationId,
    /// `queued`.
    pub status: Status,
    /// `queued`.
    pub phase: String,
    /// What it costs: held now, charged when it succeeds.
    #[schema(value_type = u64)]
    pub cost: Credits,
    /// What was available before the hold.
    #[schema(value_type = u64)]
    pub balance_before: Credits,
    /// What is available now.
    #[schema(value_type = u64)]
    pub balance_after: Credits,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl CreatedGeneration {
    /// A generation that was accepted.
    pub fn of(generation: &Generation, balance_before: Credits, balance_after: Credits) -> Self {
        Self {
            id: generation.id,
            status: Status::Queued,
            phase: "queued".to_owned(),
            cost: generation.hold,
            balance_before,
            balance_after,
            created_at: generation.created_at,
        }
    }
}

/// The public words for where a generation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Queued,
    Processing,
    Succeeded,
    Failed,
    Canceled,
}

impl Status {
    /// The word for a state.
    pub fn of(state: &State) -> Self {
        match state {
            State::Queued { .. } => Self::Queued,
            State::Claimed { .. } | State::Running { .. } | State::Unconfirmed { .. } | State::Collecting { .. } => {
                Self::Processing
            }
            State::Succeeded { .. } => Self::Succeeded,
            State::Failed { .. } => Self::Failed,
            State::Canceled { .. } => Self::Canceled,
        }
    }
}

/// A generation, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GenerationView {
    #[schema(value_type = String)]
    pub id: GenerationId,
    pub status: Status,
    /// More exactly: queued, submitting, running, unconfirmed, collecting, succeeded, failed, canceled.
    pub phase: String,
    /// Percent done, 0 to 100.
    pub progress: u8,
    /// How many are before this one: in our line for the provider while it is queued, in the provider's own when it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u32>,
    /// The model or chain that was asked for.
    pub model: String,
    /// Who makes it, or is to make it.
    pub provider: String,
    #[schema(value_type = Object)]
    pub params: Map<String, Value>,
    /// Every time it was given to a provider, oldest first.
    pub attempts: Vec<AttemptView>,
    /// What is held for it, or was.
    #[schema(value_type = u64)]
    pub cost: Credits,
    /// What was charged: 0 until it ends.
    #[schema(value_type = u64)]
    pub charged: Credits,
    /// What was charged in the end, and why so much; null until it ends.
    pub charge: Option<ChargeView>,
    /// Empty until it succeeds.
    pub results: Vec<ResultView>,
    /// Why it failed.
    pub error: Option<ErrorView>,
    /// Set while nobody knows whether the provider took the job: the credits stay held until there is evidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<UnconfirmedView>,
    /// Results that arrived after it had ended: stored, not charged.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub late_results: Vec<ResultView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub cancel_requested_at: Option<Timestamp>,
    /// Set when an operator ended it by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<ResolutionView>,
    /// The ended generation that an operator had made once more by this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub retry_of: Option<GenerationId>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// Since when nothing of its content is left: parameters, results, messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub erased_at: Option<Timestamp>,
}

/// What a generation cost in the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ChargeView {
    /// What was charged; the rest of the hold was given back.
    #[schema(value_type = u64)]
    pub credits: Credits,
    pub reason: ChargeReason,
}

/// Why a generation cost what it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChargeReason {
    /// It was made: the full price.
    Delivered,
    /// Fewer results came than were ordered: each of them costs its price.
    FewerResults,
    /// It failed, and this kind of failure is not charged.
    NotChargedOnFailure,
    /// It failed or was canceled, and the provider bills that: the full price.
    BilledByProvider,
    /// It was canceled, and nothing is billed for it.
    Canceled,
    /// An operator decided it: see `resolution`.
    Operator,
}

/// An operator's end of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ResolutionView {
    /// What became of the hold: none of it was charged, or the full price.
    pub charge: Charge,
    /// In the operator's words.
    pub reason: String,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AttemptView {
    /// 1, 2, 3…
    pub number: u32,
    pub provider: String,
    pub model: String,
    /// submitting, accepted, unconfirmed, succeeded, failed, canceled.
    pub status: String,
    /// The provider's id of the job.
    pub provider_job: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<AttemptError>,
    /// What was made of the order before it was sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preparations: Vec<PreparationView>,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub answered_at: Option<Timestamp>,
}

/// Something that was made ready for a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum PreparationView {
    /// A smaller file or one in another format is sent in place of an asset.
    Image {
        #[schema(value_type = String)]
        asset_id: AssetId,
        content_type: String,
        bytes: u64,
    },
    /// A language model was to make something of a text.
    Text {
        /// Which parameter.
        param: String,
        purpose: TextPurpose,
        /// What is sent; null: the parameter as it is, since no language model could be asked.
        text: Option<String>,
        /// The language model.
        by: Option<String>,
    },
}

impl PreparationView {
    fn of(prepared: &Prepared) -> Vec<Self> {
        let images = prepared.inputs.iter().map(|input| Self::Image {
            asset_id: input.asset,
            content_type: input.content_type.clone(),
            bytes: input.bytes,
        });
        let texts = prepared.texts.iter().cloned().map(|PreparedText { param, purpose, text, by }| Self::Text {
            param,
            purpose,
            text,
            by,
        });
        images.chain(texts).collect()
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AttemptError {
    pub class: FailureClass,
    pub message: String,
}

/// One result file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ResultView {
    /// A link that works for a while; ask again for a new one. Null once the result is erased.
    pub url: Option<String>,
    /// Null once the result is erased.
    pub content_type: Option<String>,
    /// Null once the result is erased.
    pub bytes: Option<u64>,
    /// Can be given as an input to further generations.
    #[schema(value_type = String)]
    pub asset_id: AssetId,
    /// A text result itself, when it is short (16 KiB).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its content was erased on request; left out: it was not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
}

impl ResultView {
    fn of(result: &StoredResult, link: impl Fn(&StoredResult) -> String) -> Self {
        let is_there = result.erased_at.is_none();
        Self {
            url: is_there.then(|| link(result)),
            content_type: is_there.then(|| result.content_type.clone()),
            bytes: is_there.then_some(result.bytes),
            asset_id: result.asset,
            text: result.text.clone(),
            erased: !is_there,
        }
    }
}

/// Why a generation failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ErrorView {
    pub class: FailureClass,
    pub message: String,
    /// What the failure cost: none, or the full price.
    pub charge: Charge,
}

/// A submit whose answer was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UnconfirmedView {
    pub reason: Ambiguity,
    /// Without evidence by then it fails and the credits are released.
    #[schema(value_type = String, format = DateTime)]
    pub resolves_by: Timestamp,
}

impl GenerationView {
    /// `link` makes a download link for an S3 key.
    pub fn of(generation: &Generation, link: impl Fn(&StoredResult) -> String) -> Self {
        match generation.erasure {
            None => Self::as_it_is(generation, link),
            // From the request on nothing is shown of what is to go.
            Some(Erasure::Erasing { since }) => Self::as_it_is(&generation.without_content(since), link),
            Some(Erasure::Erased { at }) => Self { erased_at: Some(at), ..Self::as_it_is(generation, link) },
        }
    }

    fn as_it_is(generation: &Generation, link: impl Fn(&StoredResult) -> String) -> Self {
        let view = |result: &StoredResult| ResultView::of(result, &link);
        let mut out = Self {
            id: generation.id,
            status: Status::of(&generation.state),
            phase: generation.state.phase().to_owned(),
            progress: progress(&generation.state),
            queue_position: None,
            model: generation.order.model.clone(),
            provider: generation.candidate_of(generation.attempt()).provider.clone(),
            params: sorted(&generation.order.params),
            attempts: generation.attempts.iter().map(AttemptView::of).collect(),
            cost: generation.hold,
            charged: Credits::ZERO,
            charge: charge(generation),
            results: Vec::new(),
            error: None,
            unconfirmed: None,
            late_results: generation.late_results().iter().map(view).collect(),
            cancel_requested_at: generation.cancel_requested_at,
            resolution: generation.resolution.as_ref().map(|resolution| ResolutionView {
                charge: resolution.charge,
                reason: resolution.note.reason.clone(),
                at: resolution.at,
            }),
            retry_of: generation.retry_of,
            created_at: generation.created_at,
            finished_at: None,
            erased_at: None,
        };
        match &generation.state {
            State::Queued { .. } | State::Claimed { .. } | State::Collecting { .. } => {}
            State::Running { queue_position, .. } => out.queue_position = *queue_position,
            State::Unconfirmed { reason, resolves_by, .. } => {
                out.unconfirmed = Some(UnconfirmedView { reason: *reason, resolves_by: *resolves_by });
            }
            State::Succeeded { results, charged, finished_at } => {
                out.results = results.iter().map(view).collect();
                (out.charged, out.finished_at) = (*charged, Some(*finished_at));
            }
            State::Failed { failure, charged, finished_at } => {
                let charge = if *charged > Credits::ZERO { Charge::Full } else { Charge::None };
                out.error = Some(ErrorView { class: failure.class, message: failure.message.clone(), charge });
                (out.charged, out.finished_at) = (*charged, Some(*finished_at));
            }
            State::Canceled { charged, finished_at } => (out.charged, out.finished_at) = (*charged, Some(*finished_at)),
        }
        out
    }
}

fn charge(generation: &Generation) -> Option<ChargeView> {
    let (credits, own) = match &generation.state {
        State::Queued { .. }
        | State::Claimed { .. }
        | State::Running { .. }
        | State::Unconfirmed { .. }
        | State::Collecting { .. } => return None,
        State::Succeeded { charged, .. } if *charged < generation.hold => (*charged, ChargeReason::FewerResults),
        State::Succeeded { charged, .. } => (*charged, ChargeReason::Delivered),
        State::Failed { charged, .. } | State::Canceled { charged, .. } if *charged > Credits::ZERO => {
            (*charged, ChargeReason::BilledByProvider)
        }
        State::Failed { charged, .. } => (*charged, ChargeReason::NotChargedOnFailure),
        State::Canceled { charged, .. } => (*charged, ChargeReason::Canceled),
    };
    let reason = if generation.resolution.is_some() { ChargeReason::Operator } else { own };
    Some(ChargeView { credits, reason })
}

/// The table keeps no order of members: by name they come the same way each time.
fn sorted(params: &Map<String, Value>) -> Map<String, Value> {
    let mut params = params.clone();
    params.sort_keys();
    params
}

/// By phase where the provider does not say more; a provider's own percentage fills the span of `running`.
fn progress(state: &State) -> u8 {
    match state {
        State::Queued { .. } | State::Failed { .. } | State::Canceled { .. } => 0,
        State::Claimed { .. } => 5,
        State::Unconfirmed { .. } => 10,
        State::Running { progress, .. } => 10 + progress.unwrap_or(0) / 5 * 4,
        State::Collecting { .. } => 95,
        State::Succeeded { .. } => 100,
    }
}

impl AttemptView {
    fn of(attempt: &Attempt) -> Self {
        let (status, error) = match &attempt.result {
            AttemptResult::Submitting => ("submitting", None),
            AttemptResult::Accepted => ("accepted", None),
            AttemptResult::Unconfirmed { .. } => ("unconfirmed", None),
            AttemptResult::Succeeded => ("succeeded", None),
            AttemptResult::Canceled => ("canceled", None),
            AttemptResult::Failed { failure } => {
                ("failed", Some(AttemptError { class: failure.class, message: failure.message.clone() }))
            }
        };
        Self {
            number: attempt.number,
            provider: attempt.provider.clone(),
            model: attempt.model.clone(),
            status: status.to_owned(),
            provider_job: attempt.job.clone(),
            error,
            preparations: PreparationView::of(&attempt.prepared),
            started_at: attempt.claimed_at,
            answered_at: attempt.answered_at,
        }
    }
}

/// `GET /v1/generations`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GenerationList {
    /// Newest first.
    pub generations: Vec<GenerationView>,
    /// Give it as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}
