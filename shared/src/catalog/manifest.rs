//! The shape of a provider manifest: everything that is to be said about a provider, as data.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::failure::{FailureClass, Policies};
use crate::pick::Pick;

/// `catalog/providers/<name>.json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Lowercase letters and digits; the first part of each model's name, and of the callback path.
    pub name: String,
    /// Raised with every change; generations remember which one they were accepted under.
    pub version: u32,
    /// How it is reached.
    pub transport: Transport,
    /// Its time limits.
    pub times: Times,
    /// Submitting twice costs nothing.
    pub submit_repeat_safe: bool,
    /// Its exceptions to the failure policy.
    #[serde(default)]
    pub policies: Policies,
    /// What it can make.
    pub models: Vec<ModelSpec>,
}

/// How a provider is reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// In our own process.
    Placeholder,
    /// Over HTTP.
    Http(Box<HttpProvider>),
}

/// Time limits.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// A job that runs longer has expired.
    pub run_limit_s: u32,
    /// How long a submit whose answer was lost waits for evidence.
    pub unconfirmed_s: u32,
    /// How long finished results can be fetched from the provider.
    pub result_lifetime_s: u32,
    /// The first poll after the submit.
    pub poll_first_s: u32,
    /// Each pause between polls is this many percent of the one before; at least 100.
    pub poll_growth_percent: u32,
    /// The longest pause between polls.
    pub poll_max_s: u32,
}

/// A provider with an HTTP API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpProvider {
    /// `https://host`, without a trailing slash; `{{base_url}}` in templates. `<NAME>_BASE_URL` in the environment replaces it.
    pub base_url: String,
    /// The environment variable that holds the key; `{{key}}` in header templates.
    pub key_env: String,
    /// Sent with every call to the base URL.
    pub headers: BTreeMap<String, String>,
    /// How to hand in a job.
    pub submit: Submit,
    /// The status vocabulary of submit answers and polls.
    pub status: Words,
    /// How to ask for a job.
    pub poll: Call,
    /// Where the results are.
    pub result: ResultRules,
    /// How to stop a job.
    pub cancel: Option<Cancel>,
    /// How it calls back.
    pub callback: Option<Callback>,
    /// Which errors mean what; the first match wins.
    pub failures: Vec<FailureRule>,
    /// Where an error's text is; the first found is shown to the customer.
    pub messages: Vec<Pick>,
}

/// One HTTP request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The HTTP method.
    pub method: Method,
    /// URL templates; the first one whose variables are all known is used.
    pub urls: Vec<String>,
    /// Query parameters, as templates.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// The JSON body, as a template.
    pub body: Option<Value>,
    /// From sending to the last byte of the answer.
    pub timeout_s: u32,
}

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Post,
    Put,
}

/// How to hand in a job.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submit {
    /// The request.
    pub call: Call,
    /// Where the answer names the job.
    pub job_id: Pick,
    /// Other facts to keep: `{{job.<name>}}`.
    #[serde(default)]
    pub job_facts: BTreeMap<String, Pick>,
}

/// What the provider's status words mean.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// Where the word is.
    pub pick: Pick,
    /// Not done yet.
    #[serde(default)]
    pub running: Vec<String>,
    /// Done.
    pub succeeded: Vec<String>,
    /// Failed.
    #[serde(default)]
    pub failed: Vec<String>,
    /// Stopped.
    #[serde(default)]
    pub canceled: Vec<String>,
    /// A success that carries this is a failure.
    pub failed_when: Option<Pick>,
    /// Percent done, 0 to 100.
    pub progress: Option<Pick>,
    /// How many jobs are before this one.
    pub queue_position: Option<Pick>,
}

/// Where the results are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultRules {
    /// A further request that has to be made for them.
    pub fetch: Option<Call>,
    /// An answer to `fetch` that carries this is the job's failure, whatever its HTTP status.
    pub failed_when: Option<Pick>,
    /// Where the links are; the first pick that finds any is used.
    pub links: Vec<Pick>,
}

/// How to stop a job.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// The request.
    pub call: Call,
    /// A 2xx answer proves that the job is stopped; otherwise the next polls have to show it.
    pub proof: CancelProof,
}

/// What a 2xx answer to a cancel proves.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelProof {
    /// The answer has a job status, read like a poll's answer.
    Status,
    /// The answer carries one of these words there.
    Word { pick: Pick, any: Vec<String> },
}

/// How a provider calls back.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Callback {
    /// How it signs.
    pub signature: SignatureScheme,
    /// How old a signature may be.
    pub tolerance_s: u32,
    /// Where the body names the job.
    pub job_id: Pick,
    /// What its status words mean.
    pub status: Words,
    /// A callback that carries this does not tell the outcome: the provider has to be asked.
    pub ask_when: Option<Pick>,
    /// Where the links are.
    pub links: Vec<Pick>,
}

/// How a callback is signed.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureScheme {
    /// HMAC-SHA256 as in Standard Webhooks; the `whsec_…` secret is in this environment variable.
    StandardWebhooks { secret_env: String },
    /// fal's Ed25519 headers; the keys are at this URL, as a JWK set.
    FalEd25519 { jwks_url: String },
}

/// Which errors mean what.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailureRule {
    /// Only answers with one of these HTTP statuses; any when empty.
    #[serde(default)]
    pub status: Vec<u16>,
    /// Only bodies that have, at one of these picks…
    #[serde(default)]
    pub picks: Vec<Pick>,
    /// …a text that contains one of these, in any case; any text when empty.
    #[serde(default)]
    pub contains: Vec<String>,
    /// What it is.
    pub class: FailureClass,
    /// What the customer is told instead of the provider's own text.
    pub message: Option<String>,
}

/// One model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The catalog name: `<provider>` or `<provider>/…`.
    pub name: String,
    /// Other names for it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What it makes.
    pub kind: MediaKind,
    /// The parameters, as a JSON Schema of an object; `"format": "asset"` marks media to be handed in by asset id.
    pub params: Value,
    /// What it costs.
    pub price: Price,
    /// Facts for the provider's templates: `{{remote.<name>}}`.
    #[serde(default)]
    pub remote: Map<String, Value>,
    /// The provider's input, as a template over the parameters; `{{input}}` in the submit's body.
    #[serde(default)]
    pub input: Value,
}

/// What a model makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    Image,
    Video,
}

impl MediaKind {
    /// The content types that a result of this kind may have.
    pub fn content_types(self) -> &'static [&'static str] {
        match self {
            Self::Image => &["image/png", "image/jpeg", "image/webp", "image/gif"],
            Self::Video => &["video/mp4", "video/webm", "video/quicktime"],
        }
    }
}

/// What a generation costs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Credits, for one.
    #[schema(value_type = u64)]
    pub credits: crate::credits::Credits,
    /// The integer parameter that says how many; one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
}
