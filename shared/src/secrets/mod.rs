//! Where provider keys and webhook secrets come from: the environment, a local file, AWS Secrets Manager.
//!
//! They are asked in that order, and the first that has the name answers. File and Secrets Manager hold the same thing, one JSON object:
//! `{ "FAL_KEY": "…", "REPLICATE_API_TOKEN": "…" }`. A change in them is seen without a restart: after a second in the file, after a minute
//! in Secrets Manager. An empty value counts as not set.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};

use crate::clock::Clock;
use crate::sdk::Lazy;

mod aws;
mod document;
mod file;
#[cfg(test)]
mod tests;

pub use file::write_file;

/// Longer values are refused, in bytes.
pub const MAX_VALUE_BYTES: usize = 16 * 1024;
/// All secrets of a file, or of the one secret in Secrets Manager, as JSON, in bytes; as much as Secrets Manager stores
/// (source: AWS, "AWS Secrets Manager quotas").
pub const MAX_DOCUMENT_BYTES: usize = 65_536;
/// More keys in one value are refused.
pub const MAX_KEYS: usize = 32;
const MAX_NAME_BYTES: usize = 128;

/// The sources of secrets. Clones share what was fetched. Debug shows where secrets are looked for, never one of them.
#[derive(Clone)]
pub struct Secrets {
    environment: Arc<HashMap<String, SecretString>>,
    file: Option<Arc<file::SecretsFile>>,
    aws: Option<Arc<aws::AwsSecret>>,
    clock: Clock,
}

/// A place where a secret is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The process's environment.
    Environment,
    /// The JSON file.
    File(PathBuf),
    /// The secret with this id or ARN.
    SecretsManager(String),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => write!(out, "the environment"),
            Self::File(path) => write!(out, "the file `{}`", path.display()),
            Self::SecretsManager(id) => write!(out, "the Secrets Manager secret `{id}`"),
        }
    }
}

/// Why a secret cannot be had or stored. Names places and secrets, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// Not a name. It is not repeated: it may be a value in the wrong place.
    #[error("the name of a secret is made of the characters A-Z, 0-9 and _, 128 at most, like `FAL_KEY`; correct the name")]
    BadName,
    /// The value is there, but cannot be used.
    #[error("`{name}` in {place} {fault}")]
    BadValue { name: String, place: Place, fault: Fault },
    /// What is to be stored cannot be.
    #[error("the value for `{name}` {fault}; nothing was stored")]
    Refused { name: String, fault: Fault },
    /// Not a JSON object.
    #[error("{place} {fault}; make it one JSON object like {{ \"FAL_KEY\": \"…\" }}")]
    Malformed { place: Place, fault: String },
    /// All secrets together are too long.
    #[error("{0} would be longer than {MAX_DOCUMENT_BYTES} bytes; remove secrets that are not used")]
    Full(Place),
    /// The file cannot be read or written.
    #[error("the file `{}` cannot be {action}: {reason}; check the path (`SECRETS_FILE`) and its owner", .path.display())]
    File { path: PathBuf, action: &'static str, reason: String },
    /// Secrets Manager does not know the secret, or it has no value yet.
    #[error("the Secrets Manager secret `{0}` does not exist or has no value yet; create it or correct `SECRETS_ID`")]
    NoSuchSecret(String),
    /// A call to Secrets Manager failed.
    #[error(
        "`{call}` of the secret `{id}` failed: {reason}; check `SECRETS_ID`, the network and that the role is allowed this call"
    )]
    Aws { id: String, call: &'static str, reason: String },
    /// A stored value would not be looked at.
    #[error("`{0}` is set in the environment, which goes before what is stored; remove it there first")]
    Shadowed(String),
    /// Neither a file nor Secrets Manager is configured.
    #[error("there is no place to store secrets; set `SECRETS_FILE` or `SECRETS_ID`")]
    NowhereToStore,
}

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("is not a text; write it in quotes")]
    NotText,
    #[error("is empty; give the key that the provider shows")]
    Empty,
    #[error("is longer than {MAX_VALUE_BYTES} bytes, which no provider's key is; copy the key again")]
    TooLong,
    #[error("holds more than {MAX_KEYS} keys; remove some")]
    TooManyKeys,
}

impl Secrets {
    /// Secrets from the environment alone.
    pub fn new(environment: HashMap<String, SecretString>, clock: Clock) -> Self {
        Self { environment: Arc::new(environment), file: None, aws: None, clock }
    }

    /// Also from a JSON file, which need not exist yet. It is looked at once a second at most, and read when it has changed.
    #[must_use]
    pub fn with_file(self, path: impl Into<PathBuf>) -> Self {
        Self { file: Some(Arc::new(file::SecretsFile::new(path.into()))), ..self }
    }

    /// Also from one secret of Secrets Manager, by its id or ARN, whose SecretString is a JSON object. It is remembered for 60 s; when it
    /// cannot be fetched then, within 5 s, what was known before is served on.
    #[must_use]
    pub fn with_secrets_manager(self, client: impl Into<Lazy<aws_sdk_secretsmanager::Client>>, id: impl Into<String>) -> Self {
        Self { aws: Some(Arc::new(aws::AwsSecret::new(client.into(), id.into()))), ..self }
    }

    /// The value of a secret as it stands there, from the first place that has it. None: it is set nowhere.
    pub async fn get(&self, name: &str) -> Result<Option<SecretString>, SecretsError> {
        Ok(self.find(name).await?.map(|(value, _)| value))
    }

    /// The keys in a secret, which are separated by commas, spaces or new lines, each once, in their order; so `FAL_KEY` can be a pool of
    /// keys. Empty: it is set nowhere.
    pub async fn keys(&self, name: &str) -> Result<Vec<SecretString>, SecretsError> {
        let Some((value, place)) = self.find(name).await? else { return Ok(Vec::new()) };
        let mut seen = HashSet::new();
        let parts = value.expose_secret().split(|letter: char| letter == ',' || letter.is_whitespace());
        let keys: Vec<SecretString> =
            parts.filter(|part| !part.is_empty() && seen.insert(*part)).map(SecretString::from).collect();
        if keys.len() > MAX_KEYS {
            return Err(SecretsError::BadValue { name: name.to_owned(), place, fault: Fault::TooManyKeys });
        }
        Ok(keys)
    }

    /// Stores a secret in the file or, without one, in Secrets Manager; this process sees it at once. The other secrets there stay. Two
    /// processes that store in Secrets Manager at the same time may undo each other's change: it has no conditional write.
    pub async fn put(&self, name: &str, value: &SecretString) -> Result<(), SecretsError> {
        check_name(name)?;
        check_value(name, value)?;
        if self.set_in_environment(name).is_some() {
            return Err(SecretsError::Shadowed(name.to_owned()));
        }
        match (&self.file, &self.aws) {
            (Some(file), _) => file.put(name, value).await,
            (None, Some(aws)) => aws.put(name, value, &self.clock).await,
            (None, None) => Err(SecretsError::NowhereToStore),
        }
    }

    async fn find(&self, name: &str) -> Result<Option<(SecretString, Place)>, SecretsError> {
        check_name(name)?;
        let found = |value: SecretString, place: Place| {
            if value.expose_secret().len() > MAX_VALUE_BYTES {
                return Err(SecretsError::BadValue { name: name.to_owned(), place, fault: Fault::TooLong });
            }
            Ok(Some((value, place)))
        };
        if let Some(value) = self.set_in_environment(name) {
            return found(value.clone(), Place::Environment);
        }
        if let Some(file) = &self.file
            && let Some(value) = file.document(self.clock.now())?.value(name, &file.place())?
        {
            return found(value, file.place());
        }
        if let Some(aws) = &self.aws
            && let Some(value) = aws.document(&self.clock).await?.value(name, &aws.place())?
        {
            return found(value, aws.place());
        }
        Ok(None)
    }

    fn set_in_environment(&self, name: &str) -> Option<&SecretString> {
        self.environment.get(name).filter(|value| !value.expose_secret().is_empty())
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { environment: _, file, aws, clock: _ } = self;
        let mut out = out.debug_struct("Secrets");
        out.field("file", &file.as_ref().map(|file| file.place()));
        out.field("secrets_manager", &aws.as_ref().map(|aws| aws.place()));
        out.finish_non_exhaustive()
    }
}

fn check_name(name: &str) -> Result<(), SecretsError> {
    let fits = |letter: u8| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == b'_';
    let good = (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(fits);
    if good { Ok(()) } else { Err(SecretsError::BadName) }
}

fn check_value(name: &str, value: &SecretString) -> Result<(), SecretsError> {
    let fault = match value.expose_secret().len() {
        0 => Fault::Empty,
        1..=MAX_VALUE_BYTES => return Ok(()),
        _ => Fault::TooLong,
    };
    Err(SecretsError::Refused { name: name.to_owned(), fault })
}

/// Whether `then` is less than `span` away from `now`. Either side: a clock that was set back must not keep something for longer.
fn within(then: Timestamp, now: Timestamp, span: SignedDuration) -> bool {
    now.duration_since(then).abs() < span
}
