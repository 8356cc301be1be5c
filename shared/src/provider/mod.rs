//! Calling a provider: requests made from its manifest, answers read by it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::catalog::Model;
use crate::catalog::manifest::{Call, HttpProvider, Manifest, Method, Transport};
use crate::failure::{Failure, FailureClass};
use crate::generation::{Ambiguity, Generation, Job};
use crate::http_guard::{never_sent, read_capped};
use crate::outcome::{self, Reply, Report, SubmitAnswer};
use crate::store::StoreError;
use crate::template::{self, Variables};

mod callback;
pub mod jwks;
mod placeholder;

pub use callback::{CallbackNews, CallbackRefusal};
pub use placeholder::drawing_format;

/// The largest answer that is read, in bytes. Results are links; only their descriptions come this way.
const MAX_ANSWER_BYTES: usize = 2 * 1024 * 1024;

/// A provider, ready to be called.
pub struct Provider<'a> {
    backend: &'a Backend,
    manifest: &'a Manifest,
}

/// Why a request was not sent, or its answer not read.
enum CallError {
    /// It cannot be made: the key is missing, or the manifest does not fit.
    NotMade(String),
    /// It certainly did not arrive.
    NotSent(String),
    /// It may have arrived.
    Lost(Ambiguity, String),
}

impl<'a> Provider<'a> {
    /// A provider described by `manifest`.
    pub fn new(backend: &'a Backend, manifest: &'a Manifest) -> Self {
        Self { backend, manifest }
    }

    /// The provider of a generation.
    pub fn of(backend: &'a Backend, generation: &Generation) -> Result<Self, StoreError> {
        Ok(Self::new(backend, backend.manifest(generation)?))
    }

    /// Hands in a generation's job. Called once for each claimed attempt: whatever is not certain is [`SubmitAnswer::Lost`].
    pub async fn submit(&self, generation: &Generation, now: Timestamp) -> SubmitAnswer {
        let Transport::Http(http) = &self.manifest.transport else { return placeholder::submit(generation, now) };
        let Some(model) = self.backend.catalog.model(&generation.order.model) else {
            let failure = Failure::new(FailureClass::Internal, "the model is no longer in the catalog");
            return SubmitAnswer::Refused { failure, retry_after: None };
        };
        let variables = match self.submit_variables(model, generation).await {
            Ok(variables) => variables,
            Err(failure) => return SubmitAnswer::Refused { failure, retry_after: None },
        };
        match self.call(http, self.backend.outbound.fresh(), &http.submit.call, &variables).await {
            Ok(reply) => outcome::read_submit(http, &reply),
            Err(CallError::NotMade(why)) => {
                tracing::error!(provider = self.manifest.name, why, "the submit cannot be made");
                let failure = Failure::new(FailureClass::ProviderAuth, "the provider is not configured");
                SubmitAnswer::Refused { failure, retry_after: None }
            }
            Err(CallError::NotSent(why)) => {
                tracing::warn!(provider = self.manifest.name, why, "the submit did not reach the provider");
                let failure = Failure::new(FailureClass::Unavailable, "the provider could not be reached");
                SubmitAnswer::Refused { failure, retry_after: None }
            }
            Err(CallError::Lost(reason, why)) => {
                tracing::warn!(provider = self.manifest.name, why, "the submit's answer was lost");
                SubmitAnswer::Lost(reason)
            }
        }
    }

    /// Asks how a job stands, and for its results when it is done.
    pub async fn ask(&self, generation: &Generation, job: &Job, now: Timestamp) -> Report {
        let Transport::Http(http) = &self.manifest.transport else { return placeholder::ask(generation, job, now) };
        let Some(variables) = self.job_variables(generation, job) else {
            return Report::Unclear("the model is no longer in the catalog".to_owned());
        };
        let report = match self.call(http, self.backend.outbound.api(), &http.poll, &variables).await {
            Ok(reply) => outcome::read_poll(http, &reply),
            Err(error) => Report::Unclear(error.why()),
        };
        match (&report, &http.result.fetch) {
            (Report::Fetch, Some(fetch)) => match self.call(http, self.backend.outbound.api(), fetch, &variables).await {
                Ok(reply) => outcome::read_result(http, &reply),
                Err(error) => Report::Unclear(error.why()),
            },
            // The status says that the job failed, the result says why.
            (Report::Failed(_), Some(fetch)) => match self.call(http, self.backend.outbound.api(), fetch, &variables).await {
                Ok(reply) => Some(outcome::read_result(http, &reply)).filter(Report::is_failure).unwrap_or(report),
                Err(_) => report,
            },
            _ => report,
        }
    }

    /// Asks to stop a job. Only [`Report::Canceled`] proves that it will not be billed.
    pub async fn cancel(&self, generation: &Generation, job: &Job) -> Report {
        let Transport::Http(http) = &self.manifest.transport else { return Report::Canceled };
        let (Some(cancel), Some(variables)) = (&http.cancel, self.job_variables(generation, job)) else {
            return Report::Unclear("this provider cannot stop a job".to_owned());
        };
        match self.call(http, self.backend.outbound.api(), &cancel.call, &variables).await {
            Ok(reply) => outcome::read_cancel(http, &reply),
            Err(error) => Report::Unclear(error.why()),
        }
    }

    async fn submit_variables(&self, model: &Model, generation: &Generation) -> Result<Variables, Failure> {
        let internal = |message: &str| Failure::new(FailureClass::Internal, message);
        let mut links = Vec::with_capacity(generation.order.inputs.len());
        for input in &generation.order.inputs {
            let link = self.backend.bucket.presign_get(&input.key, self.backend.config.link_expires, None).await;
            links.push((input.asset, link.map_err(|_| internal("an input could not be made available"))?));
        }
        let link_of = |asset| links.iter().find(|(own, _)| *own == asset).map(|(_, link)| Value::from(link.as_str()));
        let params = model.params.replace_assets(&generation.order.params, link_of);
        let input = template::render(&model.spec.input, &params).map_err(|_| internal("the model's input template failed"))?;
        let mut variables = self.base_variables(model);
        variables.insert("input".to_owned(), input.unwrap_or(Value::Null));
        if let Some(url) = self.callback_url(generation) {
            variables.insert("callback_url".to_owned(), Value::from(url));
        }
        Ok(variables)
    }

    fn job_variables(&self, generation: &Generation, job: &Job) -> Option<Variables> {
        let mut variables = self.base_variables(self.backend.catalog.model(&generation.order.model)?);
        let mut fields: Variables = job.facts.iter().map(|(name, fact)| (name.clone(), Value::from(fact.as_str()))).collect();
        fields.insert("id".to_owned(), Value::from(job.id.as_str()));
        variables.insert("job".to_owned(), Value::Object(fields));
        Some(variables)
    }

    fn base_variables(&self, model: &Model) -> Variables {
        let mut variables = Variables::new();
        variables.insert("base_url".to_owned(), Value::from(self.base_url()));
        variables.insert("remote".to_owned(), Value::Object(model.spec.remote.clone()));
        variables
    }

    /// Where the provider is: its own address, or what the configuration puts in its place.
    fn base_url(&self) -> &str {
        let own = self.manifest.http().map_or("", |http| http.base_url.as_str());
        self.backend.config.base_url(&self.manifest.name).unwrap_or(own)
    }

    fn callback_url(&self, generation: &Generation) -> Option<String> {
        let config = &self.backend.config;
        let (base, secret) = (config.public_url.as_ref()?, config.callback_secret()?);
        self.manifest.http()?.callback.as_ref()?;
        // Real providers call back over https only; without a public address they are polled.
        if !base.starts_with("https://") && config.base_url(&self.manifest.name).is_none() {
            return None;
        }
        let (name, id) = (&self.manifest.name, generation.id);
        let token = crate::signature::callback_token(secret, name, id, generation.attempt());
        Some(format!("{base}/v1/callbacks/{name}/{id}/{token}"))
    }

    async fn call(
        &self,
        http: &HttpProvider,
        client: &reqwest::Client,
        call: &Call,
        variables: &Variables,
    ) -> Result<Reply, CallError> {
        let url = self.url(call, variables)?;
        let body = match &call.body {
            Some(body) => template::render(body, variables).map_err(|error| CallError::NotMade(error.to_string()))?,
            None => None,
        };
        let mut request = match call.method {
            Method::Get => client.get(url),
            Method::Post => client.post(url),
            Method::Put => client.put(url),
        };
        request = request.headers(self.headers(http)?).timeout(Duration::from_secs(u64::from(call.timeout_s)));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.map_err(CallError::of)?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let bytes = read_capped(response, MAX_ANSWER_BYTES)
            .await
            .map_err(|error| CallError::Lost(Ambiguity::ConnectionLost, error.to_string()))?;
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(2_000)]);
            json!(text)
        });
        Ok(Reply { status, retry_after, body })
    }

    /// The first URL whose variables are known. The key goes to the provider's own address only, whatever an answer claims.
    fn url(&self, call: &Call, variables: &Variables) -> Result<url::Url, CallError> {
        let not_made = |why: &str| CallError::NotMade(why.to_owned());
        let home: url::Url = self.base_url().parse().map_err(|_| not_made("the base URL is not a URL"))?;
        for candidate in &call.urls {
            let whole = candidate.starts_with("{{job.");
            let escape = |value: &str| if whole || value == self.base_url() { value.to_owned() } else { escape_path(value) };
            let rendered = template::render_string(candidate, variables, escape).map_err(|error| not_made(&error.to_string()))?;
            let Some(mut url) = rendered.and_then(|text| text.parse::<url::Url>().ok()) else { continue };
            if url.origin() != home.origin() {
                tracing::warn!(provider = self.manifest.name, "an answer pointed to another host; not followed");
                continue;
            }
            for (name, value) in &call.query {
                let value =
                    template::render_string(value, variables, str::to_owned).map_err(|error| not_made(&error.to_string()))?;
                if let Some(value) = value {
                    url.query_pairs_mut().append_pair(name, &value);
                }
            }
            return match self.backend.outbound.check(url.as_str()) {
                Ok(url) => Ok(url),
                Err(error) => Err(not_made(&error.to_string())),
            };
        }
        Err(not_made("no URL of the manifest can be made"))
    }

    fn headers(&self, http: &HttpProvider) -> Result<HeaderMap, CallError> {
        let Some(key) = self.backend.config.secret(&http.key_env) else {
            return Err(CallError::NotMade(format!("`{}` is not set", http.key_env)));
        };
        let mut variables = Variables::new();
        variables.insert("key".to_owned(), Value::from(key));
        let mut headers = HeaderMap::new();
        for (name, value) in &http.headers {
            let made = template::render_string(value, &variables, str::to_owned).ok().flatten();
            let name = HeaderName::try_from(name.as_str()).ok();
            let value = made.and_then(|value| HeaderValue::try_from(value).ok());
            let (Some(name), Some(mut value)) = (name, value) else {
                return Err(CallError::NotMade("a header of the manifest cannot be made".to_owned()));
            };
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

impl CallError {
    fn of(error: reqwest::Error) -> Self {
        // The URL may carry a callback token.
        let error = error.without_url();
        let why = if error.is_timeout() { "timed out".to_owned() } else { root_cause(&error) };
        if never_sent(&error) {
            Self::NotSent(why)
        } else if error.is_timeout() {
            Self::Lost(Ambiguity::TimedOut, why)
        } else {
            Self::Lost(Ambiguity::ConnectionLost, why)
        }
    }

    fn why(self) -> String {
        match self {
            Self::NotMade(why) | Self::NotSent(why) | Self::Lost(_, why) => why,
        }
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Seconds only; a date is treated as absent.
fn retry_after(headers: &HeaderMap) -> Option<SignedDuration> {
    let seconds: u32 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(SignedDuration::from_secs(i64::from(seconds)))
}

/// Percent-encodes everything but unreserved characters (RFC 3986) and the slash.
fn escape_path(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
