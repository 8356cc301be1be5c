//! What a provider's answers and callbacks mean, as a manifest describes it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::calls::Call;
use crate::failure::FailureClass;
use crate::pick::Pick;

/// What tells an error among answers with a 2xx status: a code in the body.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Where the code is. An answer without one is not an error.
    pub code: Pick,
    /// The codes of success.
    pub ok: Vec<String>,
    /// Codes after which nobody knows whether a submit was taken, like a 5xx status.
    #[serde(default)]
    pub unsure: Vec<String>,
}

/// What the provider's status words mean.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Words {
    /// Where the word is. None when the HTTP status alone tells.
    pub pick: Option<Pick>,
    /// `Success` and `success` are the same word.
    pub ignore_case: bool,
    /// Not done yet.
    pub running: Vec<String>,
    /// Done.
    pub succeeded: Vec<String>,
    /// Failed.
    pub failed: Vec<String>,
    /// Stopped.
    pub canceled: Vec<String>,
    /// What HTTP statuses mean, before the word is looked at.
    pub http: HttpWords,
    /// A success that carries this is a failure.
    pub failed_when: Option<Pick>,
    /// Percent done, 0 to 100.
    pub progress: Option<Pick>,
    /// How many jobs are before this one.
    pub queue_position: Option<Pick>,
    /// What to keep from the answer for the request for the results: `{{job.<name>}}`.
    pub facts: BTreeMap<String, Pick>,
}

/// What the HTTP status of a poll's answer means for the job.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct HttpWords {
    /// Not done yet.
    pub running: Vec<u16>,
    /// Done.
    pub succeeded: Vec<u16>,
    /// The job failed.
    pub failed: Vec<u16>,
}

/// Where the results are. Each list of picks: the first pick that finds any is used.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ResultRules {
    /// A further request that has to be made for them.
    pub fetch: Option<Call>,
    /// An answer with results that carries this is the job's failure, whatever its HTTP status.
    pub failed_when: Option<Pick>,
    /// Links to the files; `data:` links too.
    pub links: Vec<Pick>,
    /// The links are for holders of the key only.
    pub links_need_key: bool,
    /// Query parameters that a link needs and may lack.
    pub link_query: BTreeMap<String, String>,
    /// Files as base64 texts.
    pub base64: Vec<Pick>,
    /// Texts: several found are one result, put together.
    pub text: Vec<Pick>,
    /// The answer's body is the file itself.
    pub body: bool,
}

/// How to stop a job.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// The request.
    pub call: Call,
    /// A 2xx answer proves that the job is stopped; otherwise the next polls have to show it.
    pub proof: CancelProof,
}

/// What a 2xx answer to a cancel proves.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CancelProof {
    /// The answer has a job status, read like a poll's answer.
    Status,
    /// The answer carries one of these words there.
    Word { pick: Pick, any: Vec<String> },
}

/// How a provider calls back.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Callback {
    /// How it signs.
    pub signature: SignatureScheme,
    /// How old a signature may be.
    #[serde(default = "five_minutes")]
    pub tolerance_s: u32,
    /// A handshake before the first callback.
    pub challenge: Option<Challenge>,
    /// Where the body names the job; the first that finds it.
    pub job_id: Vec<Pick>,
    /// What its status words mean. None: a callback never tells the outcome, the provider has to be asked.
    pub status: Option<Words>,
    /// A callback that carries this does not tell the outcome.
    pub ask_when: Option<Pick>,
    /// Where the links are.
    #[serde(default)]
    pub links: Vec<Pick>,
    /// What the provider wants to be answered; our own words unless given.
    pub reply: Option<Value>,
}

fn five_minutes() -> u32 {
    300
}

/// A handshake: a body that carries `when` is answered at once, before anything else is looked at.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// Where the challenge is.
    pub when: Pick,
    /// The answer's body, as a template over `{{challenge}}`.
    pub reply: Value,
}

/// How a callback is signed. Secrets are named as in the environment.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SignatureScheme {
    /// Not at all, or in a way that proves nothing of the body: the provider is asked.
    Unsigned,
    /// HMAC-SHA256 as in Standard Webhooks.
    StandardWebhooks { secret_env: String },
    /// fal's Ed25519 headers; the keys are at this URL, as a JWK set.
    FalEd25519 { jwks_url: String },
    /// Kie.ai's HMAC over task id and time. It does not cover the body: the provider is asked.
    KieHmac { secret_env: String },
    /// OpenRouter's HMAC over time and body.
    OpenrouterHmac { secret_env: String },
    /// WaveSpeed's HMAC over id, time and body.
    WavespeedHmac { secret_env: String },
}

impl SignatureScheme {
    /// The secret that the signature is checked with.
    pub fn secret_env(&self) -> Option<&str> {
        match self {
            Self::Unsigned | Self::FalEd25519 { .. } => None,
            Self::StandardWebhooks { secret_env }
            | Self::KieHmac { secret_env }
            | Self::OpenrouterHmac { secret_env }
            | Self::WavespeedHmac { secret_env } => Some(secret_env),
        }
    }
}

/// Which errors mean what.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FailureRule {
    /// Only answers with one of these HTTP statuses; any when empty.
    #[serde(default)]
    pub status: Vec<u16>,
    /// Only bodies that have, at one of these picks…
    #[serde(default)]
    pub picks: Vec<Pick>,
    /// …a value whose text is one of these…
    #[serde(default)]
    pub equals: Vec<String>,
    /// …or contains one of these, in any case; anything when both are empty.
    #[serde(default)]
    pub contains: Vec<String>,
    /// What it is.
    pub class: FailureClass,
    /// What the customer is told instead of the provider's own text.
    pub message: Option<String>,
    /// Proves that a submit was not taken, even with a 5xx status.
    #[serde(default)]
    pub not_accepted: bool,
}
