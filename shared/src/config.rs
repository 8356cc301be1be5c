//! The configuration: environment variables, read once.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use secrecy::{ExposeSecret, SecretString};

use crate::catalog::manifest::Manifest;
use crate::catalog::{Catalog, Limits};
use crate::credits::Credits;
use crate::messages::QueueName;
use crate::pool::KeyLimits;

/// Where Lambda puts the content of a function's layers. (Source: AWS, "Managing Lambda dependencies with layers".)
const LAYERS: &str = "/opt";

/// Everything that differs from one deployment to another.
#[derive(Debug, Clone)]
pub struct Config {
    /// `TABLE_NAME`.
    pub table: String,
    /// `BUCKET_NAME`.
    pub bucket: String,
    queues: [String; 3],
    dead_letters: [Option<String>; 3],
    /// `PUBLIC_URL`: where providers reach us, without a trailing slash. None: no callbacks, everything is polled.
    pub public_url: Option<String>,
    /// `DUE_SHARDS`: partitions of the due index; the same everywhere, and never less than before.
    pub due_shards: u32,
    /// `UPLOAD_EXPIRES_SECONDS`: how long an upload may take.
    pub upload_expires: Duration,
    /// `UPLOAD_RETENTION_DAYS`: how long completed uploads are kept. None: empty or 0, until they are erased.
    pub upload_retention: Option<SignedDuration>,
    /// `LINK_EXPIRES_SECONDS`: how long download links work.
    pub link_expires: Duration,
    /// `QUOTE_EXPIRES_SECONDS`: how long a quoted price holds.
    pub quote_expires: SignedDuration,
    /// `MAX_RESULT_BYTES`: larger results are not taken.
    pub max_result_bytes: u64,
    /// `CLAIM_LEASE_SECONDS`, `COLLECT_LEASE_SECONDS`, `ASK_LEASE_SECONDS`, `REQUEUE_SECONDS`, `UNCONFIRMED_SECONDS`.
    pub limits: Limits,
    /// `SUBMIT_TIMEOUT_SECONDS`: no submit's answer is waited for longer, whatever its manifest says.
    pub submit_timeout_s: Option<u32>,
    /// `REQUESTS_PER_SECOND`: of an account that has no limit of its own. None: empty or 0, no limit.
    pub requests_per_second: Option<u32>,
    /// `STARTING_CREDITS`: what a new account starts with, unless its operator says otherwise.
    pub starting_credits: Credits,
    /// `TEXT_MODEL`: the model or chain that translates prompts and puts documents right. None: empty, nobody does.
    pub text_model: Option<String>,
    /// `METRICS_NAMESPACE`: under which name CloudWatch keeps this deployment's metrics.
    pub metrics_namespace: String,
    /// `FONTS_DIR`: where the layer with the fonts lies, for the function that draws.
    pub fonts_dir: PathBuf,
    /// `ALLOW_LOOPBACK`: outside calls may go to this machine. For the local run only.
    pub allow_loopback: bool,
    /// `SECRETS_ID`: the secret of Secrets Manager that holds them.
    pub secrets_id: Option<String>,
    base_urls: HashMap<String, String>,
    key_limits: HashMap<String, KeyLimits>,
    secrets: HashMap<String, SecretString>,
}

/// What is wrong with the environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not set, or empty.
    #[error("the environment variable `{0}` is not set; template.yaml sets it for every function")]
    Missing(String),
    /// Not set, or empty, where Lambda always sets it.
    #[error(
        "the environment variable `{0}` is not set; Lambda sets it, elsewhere it has to be given: nothing else is asked for it"
    )]
    MissingOnLambda(&'static str),
    /// Not a number.
    #[error("the environment variable `{name}` is `{value}`, which is not {expected}")]
    Malformed { name: String, value: String, expected: &'static str },
}

/// The providers with an API that come with the product, and the names of their secrets, as their manifests say.
const PROVIDERS: [(&str, &[&str]); 10] = [
    ("fal", &["FAL_KEY"]),
    ("gemini", &["GEMINI_API_KEY"]),
    ("huggingface", &["HUGGINGFACE_API_KEY"]),
    ("kie", &["KIE_API_KEY", "KIE_WEBHOOK_SECRET"]),
    ("minimax", &["MINIMAX_API_KEY"]),
    ("openai", &["OPENAI_API_KEY"]),
    ("openrouter", &["OPENROUTER_API_KEY", "OPENROUTER_WEBHOOK_SECRET"]),
    ("replicate", &["REPLICATE_API_TOKEN", "REPLICATE_WEBHOOK_SECRET"]),
    ("stability", &["STABILITY_API_KEY"]),
    ("wavespeed", &["WAVESPEED_API_KEY", "WAVESPEED_WEBHOOK_SECRET"]),
];

fn providers(catalog: &Catalog) -> impl Iterator<Item = (&str, Vec<&str>)> {
    catalog.providers().filter_map(|provider| Some((provider.name.as_str(), provider.http()?.secret_names().collect())))
}

/// The secret that quotes and callback addresses are made with.
const SIGNING_SECRET: &str = "SIGNING_SECRET";

/// The variable that shortens every submit's time-out.
pub const SUBMIT_TIMEOUT: &str = "SUBMIT_TIMEOUT_SECONDS";

impl Config {
    /// Reads the environment of the process, for the providers that come with the product. Their manifests are not looked into: a function's
    /// start is waited for.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read_for(PROVIDERS.map(|(provider, secrets)| (provider, secrets.to_vec())), variable)
    }

    /// Reads from `lookup`. An empty value counts as not set.
    pub fn read(catalog: &Catalog, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        Self::read_for(providers(catalog), lookup)
    }

    fn read_for<'a>(
        providers: impl IntoIterator<Item = (&'a str, Vec<&'a str>)>,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let env = Env(&lookup);
        let mut names = vec![SIGNING_SECRET.to_owned()];
        let mut base_urls = HashMap::new();
        let mut key_limits = HashMap::new();
        for (provider, secrets) in providers {
            names.extend(secrets.into_iter().map(str::to_owned));
            if let Some(url) = env.optional(&base_url_variable(provider)) {
                base_urls.insert(provider.to_owned(), url.trim_end_matches('/').to_owned());
            }
            let [concurrency, per_minute, per_day] = limit_variables(provider);
            let limits = KeyLimits {
                concurrency: env.limit(&concurrency)?,
                per_minute: env.limit(&per_minute)?,
                per_day: env.limit(&per_day)?,
            };
            key_limits.insert(provider.to_owned(), limits);
        }
        let secrets = names.into_iter().filter_map(|name| Some((name.clone(), SecretString::from(env.optional(&name)?))));
        Ok(Self {
            table: env.needed("TABLE_NAME")?,
            bucket: env.needed("BUCKET_NAME")?,
            queues: [env.needed("DISPATCH_QUEUE_URL")?, env.needed("COLLECT_QUEUE_URL")?, env.needed("POLL_QUEUE_URL")?],
            dead_letters: ["DISPATCH_DEAD_LETTERS_URL", "COLLECT_DEAD_LETTERS_URL", "POLL_DEAD_LETTERS_URL"]
                .map(|name| env.optional(name)),
            public_url: env.optional("PUBLIC_URL").map(|url| url.trim_end_matches('/').to_owned()),
            due_shards: env.number("DUE_SHARDS", 4)?,
            upload_expires: Duration::from_secs(env.number("UPLOAD_EXPIRES_SECONDS", 900)?),
            upload_retention: env
                .optional_number::<u16>("UPLOAD_RETENTION_DAYS")?
                .filter(|days| *days > 0)
                .map(|days| SignedDuration::from_hours(24 * i64::from(days))),
            link_expires: Duration::from_secs(env.number("LINK_EXPIRES_SECONDS", 3_600)?),
            quote_expires: SignedDuration::from_secs(i64::from(env.number::<u32>("QUOTE_EXPIRES_SECONDS", 600)?)),
            max_result_bytes: env.number("MAX_RESULT_BYTES", 536_870_912)?,
            limits: Limits {
                claim_lease: SignedDuration::from_secs(env.number("CLAIM_LEASE_SECONDS", 90)?),
                collect_lease: SignedDuration::from_secs(env.number("COLLECT_LEASE_SECONDS", 330)?),
                requeue_every: SignedDuration::from_secs(env.number("REQUEUE_SECONDS", 60)?),
                ask_lease: SignedDuration::from_secs(env.number("ASK_LEASE_SECONDS", 90)?),
                unconfirmed_for: env.optional_number("UNCONFIRMED_SECONDS")?.map(SignedDuration::from_secs),
            },
            submit_timeout_s: env.limit(SUBMIT_TIMEOUT)?,
            requests_per_second: env.optional_number("REQUESTS_PER_SECOND")?.filter(|rate| *rate > 0),
            starting_credits: env.credits("STARTING_CREDITS", 30)?,
            text_model: env.optional("TEXT_MODEL"),
            metrics_namespace: env.optional("METRICS_NAMESPACE").unwrap_or_else(|| "Darkroom".to_owned()),
            fonts_dir: env.optional("FONTS_DIR").unwrap_or_else(|| LAYERS.to_owned()).into(),
            allow_loopback: env.optional("ALLOW_LOOPBACK").is_some_and(|value| value == "true"),
            secrets_id: env.optional("SECRETS_ID"),
            base_urls,
            key_limits,
            secrets: secrets.collect(),
        })
    }

    /// How long an upload's link is good for.
    pub fn upload_link(&self) -> SignedDuration {
        SignedDuration::try_from(self.upload_expires).unwrap_or(SignedDuration::ZERO)
    }

    /// A queue's URL.
    pub fn queue_url(&self, queue: QueueName) -> &str {
        match queue {
            QueueName::Dispatch => &self.queues[0],
            QueueName::Collect => &self.queues[1],
            QueueName::Poll => &self.queues[2],
        }
    }

    /// The URL of the queue for messages of this one that failed again and again: `DISPATCH_DEAD_LETTERS_URL`, and so on. None: this function
    /// was not told.
    pub fn dead_letters_url(&self, queue: QueueName) -> Option<&str> {
        let [dispatch, collect, poll] = &self.dead_letters;
        match queue {
            QueueName::Dispatch => dispatch.as_deref(),
            QueueName::Collect => collect.as_deref(),
            QueueName::Poll => poll.as_deref(),
        }
    }

    /// The provider keys and webhook secrets that the environment holds.
    pub fn secrets(&self) -> HashMap<String, SecretString> {
        self.secrets.clone()
    }

    /// The secret that quotes and callback addresses are made with.
    pub fn signing_secret(&self) -> Option<&str> {
        self.secrets.get(SIGNING_SECRET).map(ExposeSecret::expose_secret)
    }

    /// What each key of a provider may do: its manifest's limits, unless `<NAME>_CONCURRENCY`, `<NAME>_PER_MINUTE` or `<NAME>_PER_DAY` say
    /// otherwise.
    pub fn key_limits(&self, provider: &Manifest) -> KeyLimits {
        let (stated, own) = (provider.limits, self.key_limits.get(&provider.name).copied().unwrap_or_default());
        KeyLimits {
            concurrency: own.concurrency.or(stated.concurrency),
            per_minute: own.per_minute.or(stated.per_minute),
            per_day: own.per_day.or(stated.per_day),
        }
    }

    /// Where a provider is reached instead of its own address: `<NAME>_BASE_URL`.
    pub fn base_url(&self, provider: &str) -> Option<&str> {
        self.base_urls.get(provider).map(String::as_str)
    }
}

/// The variable that replaces a provider's base URL.
pub fn base_url_variable(provider: &str) -> String {
    format!("{}_BASE_URL", provider.to_ascii_uppercase())
}

/// The variables that replace a provider's limits: jobs at once, submits a minute, submits a day.
pub fn limit_variables(provider: &str) -> [String; 3] {
    ["CONCURRENCY", "PER_MINUTE", "PER_DAY"].map(|limit| format!("{}_{limit}", provider.to_ascii_uppercase()))
}

/// A variable of the process's environment.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

struct Env<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Env<'_> {
    fn optional(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn needed(&self, name: &str) -> Result<String, ConfigError> {
        self.optional(name).ok_or_else(|| ConfigError::Missing(name.to_owned()))
    }

    fn optional_number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, ConfigError> {
        let malformed = |value: String| ConfigError::Malformed { name: name.to_owned(), value, expected: "a whole number" };
        self.optional(name).map(|value| value.parse().map_err(|_| malformed(value))).transpose()
    }

    fn limit(&self, name: &str) -> Result<Option<u32>, ConfigError> {
        match self.optional_number(name)? {
            Some(0) => {
                Err(ConfigError::Malformed { name: name.to_owned(), value: "0".to_owned(), expected: "a number above zero" })
            }
            limit => Ok(limit),
        }
    }

    fn credits(&self, name: &str, default: u64) -> Result<Credits, ConfigError> {
        let amount = self.number(name, default)?;
        let malformed = |_| ConfigError::Malformed {
            name: name.to_owned(),
            value: amount.to_string(),
            expected: "an amount of at most a million million credits",
        };
        Credits::new(amount).map_err(malformed)
    }

    fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T, ConfigError> {
        Ok(self.optional_number(name)?.unwrap_or(default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let base = [
            ("TABLE_NAME", "t"),
            ("BUCKET_NAME", "b"),
            ("DISPATCH_QUEUE_URL", "d"),
            ("COLLECT_QUEUE_URL", "c"),
            ("POLL_QUEUE_URL", "p"),
        ];
        let all: HashMap<&str, &str> = base.into_iter().chain(pairs.iter().copied()).collect();
        Config::read(&Catalog::built_in().expect("loads"), |name| all.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn the_providers_are_those_of_the_catalog() {
        let catalog = Catalog::built_in().expect("loads");
        let stated = providers(&catalog).map(|(name, mut secrets)| {
            secrets.dedup();
            (name, secrets)
        });
        assert!(stated.eq(PROVIDERS.map(|(name, secrets)| (name, secrets.to_vec()))), "correct `PROVIDERS`");
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(read(&[("TABLE_NAME", "")]).expect_err("empty"), ConfigError::Missing("TABLE_NAME".into()));
        let error = read(&[("DUE_SHARDS", "four")]).expect_err("no number").to_string();
        assert!(error.contains("`DUE_SHARDS` is `four`"), "{error}");
        let error = read(&[("SUBMIT_TIMEOUT_SECONDS", "0")]).expect_err("nothing would ever be answered").to_string();
        assert!(error.contains("above zero"), "{error}");
    }

    #[test]
    fn secrets_do_not_show() {
        let config = read(&[("FAL_KEY", "very-secret"), ("FAL_BASE_URL", "http://127.0.0.1:1/_sim/fal/")]).expect("reads");
        assert_eq!(config.secrets()["FAL_KEY"].expose_secret(), "very-secret");
        assert_eq!(config.base_url("fal"), Some("http://127.0.0.1:1/_sim/fal"));
        assert!(!format!("{config:?}").contains("very-secret"));
    }
}
