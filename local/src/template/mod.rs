//! What `template.yaml` declares, as the local run needs it. The template is the only place that names routes, queues,
//! schedules, limits and environment: what runs here is what deploys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_yaml_ng::Value as Yaml;

mod declarations;
mod grants;
mod resolve;
#[cfg(test)]
mod tests;

pub(crate) use resolve::scalar_text;
pub use resolve::{ACCOUNT_ID, API_ID, REGION, arn};

/// The template this program was built with.
pub const BUILT_IN: &str = include_str!("../../../template.yaml");
/// What it nests.
const NESTED: [(&str, &str); 2] = [
    ("infra/data.yaml", include_str!("../../../infra/data.yaml")),
    ("infra/monitoring.yaml", include_str!("../../../infra/monitoring.yaml")),
];

/// What resources and parameters of the template stand for in this process.
#[derive(Clone, Default)]
pub struct LocalValues {
    pub table_name: String,
    pub bucket_name: String,
    /// Where the gateway answers, without a slash at the end: `http://127.0.0.1:4000`.
    pub api_endpoint: String,
    /// Values of template parameters by name, in place of their defaults. May hold secrets.
    pub parameters: BTreeMap<String, String>,
}

/// A template with every reference resolved. Not `Debug`, because its environment holds secrets.
pub struct Template {
    pub functions: Vec<Function>,
    /// The default authorizer of the API, if it has one.
    pub authorizer: Option<Authorizer>,
    /// What web pages of other origins may ask of the API.
    pub cors: Option<Cors>,
    pub queues: Vec<Queue>,
    pub table: Table,
    pub bucket: Bucket,
}

/// A Lambda function. Not `Debug`, because its environment holds secrets.
pub struct Function {
    pub logical_id: String,
    /// The crate that is built into it.
    pub binary: String,
    pub timeout: Duration,
    pub memory_mb: u32,
    /// Names and values, in the template's order.
    pub environment: Vec<(String, String)>,
    pub routes: Vec<Route>,
    pub queues: Vec<QueueSource>,
    pub schedules: Vec<Schedule>,
    /// What its role may do.
    pub grants: Vec<Grant>,
}

/// A statement of a function's policy: actions that are allowed on resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// `dynamodb:GetItem`
    pub actions: Vec<String>,
    /// ARNs; a `*` at the end stands for anything.
    pub resources: Vec<String>,
    /// Patterns, each partition key that is touched has to match one; none: any key.
    pub leading_keys: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Upper case; `ANY` takes every method.
    pub method: String,
    /// As in the template: `/v1/uploads/{id}/complete`.
    pub path: String,
    /// Whether the authorizer is asked first.
    pub auth: bool,
}

/// A queue that a function is invoked from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSource {
    /// Logical id of the queue.
    pub queue: String,
    /// At most this many messages per invocation.
    pub batch_size: usize,
    /// At most this many invocations at a time; none means no limit of its own.
    pub max_concurrency: Option<usize>,
    /// Whether the function's answer names the messages that failed.
    pub report_batch_item_failures: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub name: String,
    pub every: Duration,
    /// The whole event, in place of EventBridge's own.
    pub input: Option<serde_json::Value>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorizer {
    /// Logical id of the function.
    pub function: String,
    /// The header whose value identifies the caller, in lower case.
    pub header: String,
    /// How long an answer holds for the same header value; zero keeps none.
    pub ttl: Duration,
}

/// `CorsConfiguration` of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct Cors {
    /// Exact origins, or `*`.
    pub allow_origins: Vec<String>,
    pub allow_methods: Vec<String>,
    pub allow_headers: Vec<String>,
    pub expose_headers: Vec<String>,
    /// Seconds a browser may keep the answer to a preflight request.
    pub max_age: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    pub logical_id: String,
    pub visibility: Duration,
    pub delay: Duration,
    pub retention: Duration,
    /// Where a message goes that was received this often: logical id and count.
    pub dead_letter: Option<(String, u32)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    pub key: Key,
    /// Attribute name and type (`S`, `N` or `B`) of everything that is part of a key.
    pub attributes: Vec<(String, String)>,
    /// Global secondary indexes.
    pub indexes: Vec<Index>,
    /// The attribute that says, in epoch seconds, when an item may be deleted.
    pub ttl_attribute: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub hash: String,
    pub range: Option<String>,
}

/// A global secondary index that projects all attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    pub name: String,
    pub key: Key,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub name: String,
    /// What browsers may do, in order of precedence.
    pub cors: Vec<CorsRule>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CorsRule {
    /// Exact origins, or `*`.
    pub allowed_origins: Vec<String>,
    pub allowed_methods: Vec<String>,
    #[serde(default)]
    pub allowed_headers: Vec<String>,
    #[serde(default)]
    pub exposed_headers: Vec<String>,
    /// Seconds a browser may keep the answer to a preflight request.
    #[serde(default)]
    pub max_age: u32,
}

/// Why a template cannot be run here.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    #[error("could not read the template `{}`", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the template is not YAML")]
    Yaml(#[source] serde_yaml_ng::Error),
    #[error("the template lacks `{path}`")]
    Missing { path: String },
    #[error("`{path}` in the template: {problem}")]
    Invalid { path: String, problem: String },
    #[error("`{path}` in the template uses `{name}`, which the local run does not know; use Ref, Sub, GetAtt, If or Join")]
    UnsupportedIntrinsic { path: String, name: String },
    #[error("`{path}` in the template refers to `{name}`, which is neither a resource nor a parameter with a value")]
    UnknownReference { path: String, name: String },
    #[error("`{path}` in the template refers to `{name}` of `{kind}`, which has no local counterpart")]
    NoLocalValue { path: String, name: String, kind: String },
    #[error("the template has no parameter `{name}`; remove the value given for it")]
    UnknownParameter { name: String },
}

impl Template {
    /// Reads a template file in place of the one this program was built with, and those beside it that it nests.
    pub fn load(path: &Path, values: &LocalValues) -> Result<Self, TemplateError> {
        let read =
            |path: &Path| std::fs::read_to_string(path).map_err(|source| TemplateError::Read { path: path.to_owned(), source });
        Self::of(&read(path)?, |url| read(&path.with_file_name("").join(url)), values)
    }

    /// Understands a template, resolving its references with `values`; what it nests is what this program was built with. Whatever would
    /// behave otherwise here than when deployed is an error, not left out.
    pub fn parse(text: &str, values: &LocalValues) -> Result<Self, TemplateError> {
        let nested = |url: &str| match NESTED.iter().find(|(path, _)| *path == url) {
            Some((_, text)) => Ok((*text).to_owned()),
            None => {
                Err(TemplateError::Invalid { path: "Resources".to_owned(), problem: format!("there is no template `{url}`") })
            }
        };
        Self::of(text, nested, values)
    }

    fn of(
        text: &str,
        nested: impl Fn(&str) -> Result<String, TemplateError>,
        values: &LocalValues,
    ) -> Result<Self, TemplateError> {
        let yaml = |text: &str| serde_yaml_ng::from_str::<Yaml>(text).map_err(TemplateError::Yaml);
        let mut sources = resolve::Sources { root: yaml(text)?, nested: BTreeMap::new() };
        let urls = entries(&sources.root, "Resources")?.into_iter();
        let urls = urls.filter(|(_, resource)| resource.get("Type").and_then(Yaml::as_str) == Some(resolve::STACK));
        let urls = urls.filter_map(|(_, stack)| stack.get("Properties")?.get("TemplateURL")?.as_str().map(str::to_owned));
        for url in urls.collect::<Vec<_>>() {
            let text = nested(&url)?;
            sources.nested.insert(url, yaml(&text)?);
        }
        declarations::read(&sources, values)
    }

    /// The queue with this logical id.
    pub fn queue(&self, logical_id: &str) -> Option<&Queue> {
        self.queues.iter().find(|queue| queue.logical_id == logical_id)
    }
}

/// Names and values under a section of the template; none if it is not there.
fn entries<'a>(root: &'a Yaml, section: &str) -> Result<Vec<(&'a str, &'a Yaml)>, TemplateError> {
    let Some(section_value) = root.get(section) else {
        return Ok(Vec::new());
    };
    let not_a_map = || TemplateError::Invalid { path: section.to_owned(), problem: "expected names and values".to_owned() };
    let map = section_value.as_mapping().ok_or_else(not_a_map)?;
    map.iter().map(|(key, value)| key.as_str().map(|key| (key, value)).ok_or_else(not_a_map)).collect()
}
