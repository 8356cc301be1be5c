//! The shape of a provider manifest: everything that is to be said about a provider, as data.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::calls::{Call, Upload};
use super::rules::{Callback, Cancel, Envelope, FailureRule, ResultRules, Words};
use crate::failure::Policies;
use crate::pick::Pick;
use crate::pool::KeyLimits;
use crate::price::{Expression, Price};

/// `catalog/providers/<name>.json`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Where editors find the JSON Schema of this file.
    #[serde(default, rename = "$schema")]
    pub schema: Option<String>,
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
    /// What it bills, as far as it says so.
    #[serde(default)]
    pub billing: Billing,
    /// What one of its keys may do, unless the configuration says otherwise.
    #[serde(default)]
    pub limits: KeyLimits,
    /// Its exceptions to the failure policy.
    #[serde(default)]
    pub policies: Policies,
    /// What it can make.
    pub models: Vec<ModelSpec>,
}

/// How a provider is reached.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// In our own process.
    Local,
    /// Over HTTP.
    Http(Box<HttpProvider>),
}

/// Time limits.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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

/// What a provider bills although nothing was delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Billing {
    /// Jobs that it failed.
    pub failures: Billed,
    /// Jobs that its content policy refused.
    pub moderated: Billed,
    /// Jobs that were canceled.
    pub canceled: Billed,
}

/// Whether a provider bills something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Billed {
    Yes,
    No,
    /// It does not say.
    #[default]
    Unknown,
}

/// A provider with an HTTP API.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HttpProvider {
    /// `https://host`, without a trailing slash; `{{base_url}}` in templates. `<NAME>_BASE_URL` in the environment replaces it.
    pub base_url: String,
    /// Its other hosts, which are told the key too: `{{hosts.<name>}}` in templates.
    #[serde(default)]
    pub hosts: BTreeMap<String, String>,
    /// The secret that holds the key, or several keys separated by commas; `{{key}}` in header templates.
    pub key_env: String,
    /// Sent with every call.
    pub headers: BTreeMap<String, String>,
    /// The APIs that it offers side by side; a model names its own unless there is one only.
    pub apis: BTreeMap<String, Api>,
    /// Which errors mean what, after the API's own rules; the first match wins.
    #[serde(default)]
    pub failures: Vec<FailureRule>,
    /// Where an error's text is; the first found is shown to the customer.
    #[serde(default)]
    pub messages: Vec<Pick>,
    /// Where an answer says how long to wait, besides the header `Retry-After`: a number of seconds, or a text with one.
    #[serde(default)]
    pub delays: Vec<Pick>,
}

/// One way of handing in jobs and getting results.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// How media are handed over before the submit, when neither a link nor the submit itself can carry them.
    pub upload: Option<Upload>,
    /// How to hand in a job.
    pub submit: Submit,
    /// What tells an error among answers with a status of success.
    pub envelope: Option<Envelope>,
    /// The status vocabulary of submit answers and polls. Without it the submit's answer is the result.
    pub status: Option<Words>,
    /// How to ask for a job. Without it the submit's answer is the result.
    pub poll: Option<Call>,
    /// Where the results are.
    pub result: ResultRules,
    /// How to stop a job.
    pub cancel: Option<Cancel>,
    /// How it calls back.
    pub callback: Option<Callback>,
    /// Which errors mean what, before the provider's rules.
    #[serde(default)]
    pub failures: Vec<FailureRule>,
    /// Its own time limits in place of the provider's.
    pub times: Option<Times>,
}

/// How to hand in a job.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Submit {
    /// The request.
    pub call: Call,
    /// Where the answer names the job; needed when there is a poll.
    pub job_id: Option<Pick>,
    /// Other facts to keep: `{{job.<name>}}`.
    #[serde(default)]
    pub job_facts: BTreeMap<String, Pick>,
}

/// One model.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The catalog name: `<provider>` or `<provider>/…`.
    pub name: String,
    /// Other names for it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// One sentence for the customer.
    #[serde(default)]
    pub description: Option<String>,
    /// What it makes.
    pub kind: MediaKind,
    /// What our own process does for it; only of the transport `local`, and needed there.
    #[serde(default)]
    pub operation: Option<Operation>,
    /// Which of the provider's APIs; may be left out when there is one only.
    #[serde(default)]
    pub api: Option<String>,
    /// The parameters, as a JSON Schema of an object; `"format": "asset"` marks media to be handed in by asset id, with
    /// `"x-content-types"` (default: images) and `"x-max-bytes"`. A larger image than `"x-compress-over-bytes"` is compressed before it is
    /// sent, and one of another type than `"x-send-as"` lists is converted to the first of them.
    pub params: Value,
    /// What it costs.
    pub price: Price,
    /// What the provider charges us in US dollars, as an expression over the parameters, where that can be said.
    #[serde(default)]
    pub cost_usd: Option<Expression>,
    /// The languages that prompts may be in, as ISO 639 codes; any when empty.
    #[serde(default)]
    pub languages: Vec<String>,
    /// What the provider charges us, in words, where known.
    #[serde(default)]
    pub provider_price: Option<String>,
    /// Facts for the provider's templates: `{{remote.<name>}}`.
    #[serde(default)]
    pub remote: Map<String, Value>,
    /// The provider's input, as a template over the parameters; `{{input}}` in the submit. Media parameters have parts, and the template
    /// says how they travel: `{{image.url}}`, `{{image.data_uri}}`, `{{image.url_or_data_uri}}`, `{{image.base64}}`, `{{image.file}}`,
    /// `{{image.uploaded}}`, and `{{image.content_type}}`.
    #[serde(default)]
    pub input: Value,
}

/// What our own process can do. Pictures are real work; the last four stand in for what only a model can do, so that every tool can be tried
/// without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Writes `text` on `image`, in a `style` or by `wishes`.
    AddText,
    /// Enlarges `image` to twice its sides.
    Upscale,
    /// Writes `image` in another `format`.
    Convert,
    /// Makes `image` smaller than `max_bytes`.
    Compress,
    /// Draws `prompt`, on `image` if there is one.
    Draw,
    /// Makes a still video of `prompt`, on `image` if there is one, of `duration` seconds.
    Animate,
    /// Spells `description` out as a prompt.
    WritePrompt,
    /// Says of `video` what can be said without watching it.
    Analyze,
}

impl Operation {
    /// The parameters that it cannot do without.
    pub fn needs(self) -> &'static [&'static str] {
        match self {
            Self::AddText => &["image", "text"],
            Self::Upscale => &["image"],
            Self::Convert => &["image", "format"],
            Self::Compress => &["image", "max_bytes"],
            Self::Draw => &["prompt"],
            Self::Animate => &["prompt", "duration"],
            Self::WritePrompt => &["description"],
            Self::Analyze => &["video"],
        }
    }

    /// What it makes.
    pub fn kind(self) -> MediaKind {
        match self {
            Self::AddText | Self::Upscale | Self::Convert | Self::Compress | Self::Draw => MediaKind::Image,
            Self::Animate => MediaKind::Video,
            Self::WritePrompt => MediaKind::Text,
            Self::Analyze => MediaKind::Json,
        }
    }
}

/// What a model makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    Image,
    Video,
    Text,
    /// A JSON document.
    Json,
}

impl MediaKind {
    /// The content types that a result of this kind may have.
    pub fn content_types(self) -> &'static [&'static str] {
        match self {
            Self::Image => &["image/png", "image/jpeg", "image/webp", "image/gif"],
            Self::Video => &["video/mp4", "video/webm", "video/quicktime"],
            Self::Text => &["text/plain"],
            Self::Json => &["application/json"],
        }
    }
}

impl Manifest {
    /// The HTTP side, if it has one.
    pub fn http(&self) -> Option<&HttpProvider> {
        match &self.transport {
            Transport::Http(http) => Some(http),
            Transport::Local => None,
        }
    }
}

impl Api {
    /// All time-outs of a submit and the uploads before it, in seconds.
    pub fn longest_submit_s(&self) -> u32 {
        let steps = self.upload.iter().flat_map(|upload| &upload.steps);
        let uploads = steps.map(|step| {
            let waiting = step.until.as_ref().map_or(0, |until| until.at_most_s);
            waiting.saturating_add(step.call.timeout_s)
        });
        uploads.fold(self.submit.call.timeout_s, u32::saturating_add)
    }
}

impl HttpProvider {
    /// The API that a model uses: the one it names, else the only one.
    pub fn api_of(&self, model: &ModelSpec) -> Option<&Api> {
        match &model.api {
            Some(name) => self.apis.get(name),
            None if self.apis.len() == 1 => self.apis.values().next(),
            None => None,
        }
    }

    /// Every secret that it needs or can use: keys and webhook secrets.
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        let webhooks = self.apis.values().filter_map(|api| api.callback.as_ref()?.signature.secret_env());
        std::iter::once(self.key_env.as_str()).chain(webhooks)
    }
}
