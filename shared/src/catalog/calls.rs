//! Requests, as a manifest describes them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::pick::Pick;

/// One HTTP request. It has one kind of body at most: `body`, `form` or `raw`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The HTTP method.
    pub method: Method,
    /// URL templates; the first one whose variables are all known is used.
    pub urls: Vec<String>,
    /// Query parameters, as templates.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Headers besides the provider's, as templates.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A JSON body, as a template.
    pub body: Option<Value>,
    /// A `multipart/form-data` body: a template of an object whose members are the parts. A media file (`{{image.file}}`) becomes a file
    /// part, a list one part for each of its elements, everything else a text part.
    pub form: Option<Value>,
    /// The bytes of a media file as the body: `{{image.file}}`.
    pub raw: Option<String>,
    /// From sending to the last byte of the answer.
    pub timeout_s: u32,
    /// The largest answer that is read, in bytes; 2 MiB unless given. For answers that carry the results themselves.
    pub max_answer_bytes: Option<usize>,
}

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Post,
    Put,
    Delete,
}

/// How a media file is handed over before the submit. Nothing here may cost anything: it is done again whenever it is interrupted.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Upload {
    /// Only files larger than this, in bytes; the others travel as the input template says.
    #[serde(default)]
    pub over_bytes: u64,
    /// Only where our links cannot be reached from outside, as in a local run.
    #[serde(default)]
    pub when_links_are_private: bool,
    /// What is done, in this order. Variables: `file.content_type`, `file.name`, `file.bytes`, `file.base64`, `file.data_uri`, `file.file`, and
    /// `step.<name>` for the facts so far.
    pub steps: Vec<UploadStep>,
    /// What names the file afterwards, as a template over the same variables. It becomes `{{<param>.uploaded}}`, and stands in for
    /// `{{<param>.url}}` and `{{<param>.url_or_data_uri}}`; the file's bytes are then not available to the input template.
    pub reference: String,
}

/// One request of an upload.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UploadStep {
    /// The request.
    pub call: Call,
    /// What to keep from the answer's body: `{{step.<name>}}`.
    #[serde(default)]
    pub facts: BTreeMap<String, Pick>,
    /// What to keep from the answer's headers, by lowercase name.
    #[serde(default)]
    pub header_facts: BTreeMap<String, String>,
    /// The request is repeated until the answer says so.
    pub until: Option<Until>,
}

/// When a repeated request has what it waited for.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Until {
    /// Where the word is.
    pub pick: Pick,
    /// It is done.
    pub any: Vec<String>,
    /// It will never be.
    #[serde(default)]
    pub failed: Vec<String>,
    /// The pause between two requests.
    pub every_s: u32,
    /// How long in all.
    pub at_most_s: u32,
}
