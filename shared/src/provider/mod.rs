//! Calling a provider: requests made from its manifest, answers read by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::Value;

use crate::backend::Backend;
use crate::catalog::Model;
use crate::catalog::manifest::{Api, HttpProvider, Manifest};
use crate::failure::{Failure, FailureClass};
use crate::generation::{Generation, Job};
use crate::outcome::{Delivery, Reader, Report, SubmitAnswer};
use crate::pool::KeyId;
use crate::secrets::SecretsError;
use crate::store::StoreError;
use crate::template::{self, Variables};

mod callback;
mod completion;
mod inputs;
pub mod jwks;
mod local;
#[cfg(feature = "media")]
mod prepare;
mod request;
mod stage;
mod upload;

pub use callback::{CallbackNews, CallbackRefusal, challenge_reply};
pub use completion::{Completion, TextOrder, complete};
use inputs::Files;
use request::CallError;
pub use stage::{kept_results, note_key, notes_prefix, prepared_prefix, result_key_stem, results_prefix};

/// A provider as it is asked for one attempt: the model's API, with the attempt's key.
pub struct Provider<'a> {
    backend: &'a Backend,
    model: Arc<Model>,
    key: Option<SecretString>,
}

/// The two sides of a provider that is reached over HTTP.
#[derive(Clone, Copy)]
struct Remote<'a> {
    http: &'a HttpProvider,
    api: &'a Api,
}

impl<'a> Remote<'a> {
    fn reader(self) -> Reader<'a> {
        Reader { http: self.http, api: self.api }
    }
}

impl<'a> Provider<'a> {
    /// Whom a generation's attempt asks or asked.
    pub async fn of(backend: &'a Backend, generation: &Generation, attempt: u32) -> Result<Self, StoreError> {
        let candidate = generation.candidate_of(attempt);
        let model = backend.model_for(candidate).await?;
        let key = generation.attempts.iter().find(|own| own.number == attempt).and_then(|own| own.key.clone());
        let keys = provider_keys(backend, &model.provider).await.unwrap_or_default();
        let key = keys.iter().find(|(id, _)| Some(id) == key.as_ref()).or(keys.first()).map(|(_, key)| key.clone());
        Ok(Self { backend, model, key })
    }

    fn remote(&self) -> Option<Remote<'_>> {
        let http = self.model.provider.http()?;
        Some(Remote { http, api: http.api_of(&self.model.spec)? })
    }

    fn name(&self) -> &str {
        &self.model.provider.name
    }

    /// Hands in a generation's job. Called once for each claimed attempt: whatever is not certain is [`SubmitAnswer::Lost`].
    pub async fn submit(&self, generation: &Generation, now: Timestamp) -> SubmitAnswer {
        let Some(remote) = self.remote() else { return local::submit(generation, now) };
        let refused = |failure| SubmitAnswer::Refused { failure, retry_after: None };
        let (variables, files) = match self.submit_variables(remote, generation).await {
            Ok(made) => made,
            Err(failure) => return refused(failure),
        };
        let mut call = remote.api.submit.call.clone();
        call.timeout_s = self.backend.config.submit_timeout_s.unwrap_or(call.timeout_s).min(call.timeout_s);
        match self.call(remote, self.backend.outbound.fresh(), &call, &variables, &files).await {
            Ok(reply) => self.keep_answer(generation, remote.reader().submit(&reply)).await,
            Err(CallError::NotMade(why)) => {
                tracing::error!(provider = self.name(), why, "the submit cannot be made");
                refused(Failure::new(FailureClass::ProviderAuth, "the provider is not configured"))
            }
            Err(CallError::NotSent(why)) => {
                tracing::warn!(provider = self.name(), why, "the submit did not reach the provider");
                refused(Failure::new(FailureClass::Unavailable, "the provider could not be reached"))
            }
            Err(CallError::Lost(reason, why)) => {
                tracing::warn!(provider = self.name(), why, "the submit's answer was lost");
                SubmitAnswer::Lost(reason)
            }
        }
    }

    /// Asks how a job stands, and for its results when it is done.
    pub async fn ask(&self, generation: &Generation, attempt: u32, job: &Job, now: Timestamp) -> Report {
        let Some(remote) = self.remote() else { return local::ask(generation, job, now) };
        self.keep_report(generation, attempt, self.report(remote, job).await).await
    }

    async fn report(&self, remote: Remote<'_>, job: &Job) -> Report<Delivery> {
        let Some(poll) = &remote.api.poll else { return Report::Unclear("this provider cannot be asked".to_owned()) };
        let report = match self.call_about(remote, poll, job, &BTreeMap::new()).await {
            Ok(reply) => remote.reader().poll(&reply),
            Err(error) => Report::Unclear(error.why()),
        };
        match (report, &remote.api.result.fetch) {
            (Report::Fetch(facts), Some(fetch)) => match self.call_about(remote, fetch, job, &facts).await {
                Ok(reply) => remote.reader().result(&reply),
                Err(error) => Report::Unclear(error.why()),
            },
            // The status says that the job failed, the result says why.
            (Report::Failed(failure), Some(fetch)) => {
                let why = match self.call_about(remote, fetch, job, &BTreeMap::new()).await {
                    Ok(reply) => Some(remote.reader().result(&reply)).filter(Report::is_failure),
                    Err(_) => None,
                };
                why.unwrap_or(Report::Failed(failure))
            }
            (report, _) => report,
        }
    }

    /// Asks to stop a job. Only [`Report::Canceled`] proves that it will not be billed.
    pub async fn cancel(&self, generation: &Generation, attempt: u32, job: &Job) -> Report {
        let Some(remote) = self.remote() else { return Report::Canceled };
        let Some(cancel) = &remote.api.cancel else { return Report::Unclear("this provider cannot stop a job".to_owned()) };
        match self.call_about(remote, &cancel.call, job, &BTreeMap::new()).await {
            Ok(reply) => self.keep_report(generation, attempt, remote.reader().cancel(&reply)).await,
            Err(error) => Report::Unclear(error.why()),
        }
    }

    async fn keep_answer(&self, generation: &Generation, answer: SubmitAnswer<Delivery>) -> SubmitAnswer {
        let attempt = generation.attempt();
        match answer {
            SubmitAnswer::Accepted { job, report } => {
                SubmitAnswer::Accepted { job, report: self.keep_report(generation, attempt, report).await }
            }
            SubmitAnswer::Done(Report::Succeeded(delivery)) => self.keep_paid(generation, delivery).await,
            SubmitAnswer::Done(report) => SubmitAnswer::Done(self.keep_report(generation, attempt, report).await),
            SubmitAnswer::Refused { failure, retry_after } => SubmitAnswer::Refused { failure, retry_after },
            SubmitAnswer::Lost(reason) => SubmitAnswer::Lost(reason),
        }
    }

    async fn submit_variables(&self, remote: Remote<'_>, generation: &Generation) -> Result<(Variables, Files), Failure> {
        let callback_url = self.callback_url(remote, generation).map(Value::from);
        let params = generation.params_of(generation.attempt());
        let (input, files) = self.with_media(remote, generation, &params).await?;
        Ok((self.rendered(remote, params, input, callback_url)?, files))
    }

    /// What a submit's templates may use; `input`: the parameters with media in the forms in which they travel.
    fn rendered(
        &self,
        remote: Remote<'_>,
        params: Variables,
        mut input: Variables,
        callback_url: Option<Value>,
    ) -> Result<Variables, Failure> {
        let internal = |message: &str| Failure::new(FailureClass::Internal, message);
        input.extend(callback_url.iter().map(|url| ("callback_url".to_owned(), url.clone())));
        let input =
            template::render(&self.model.spec.input, &input).map_err(|_| internal("the model's input template failed"))?;
        let mut variables = self.base_variables(remote);
        variables.insert("input".to_owned(), input.unwrap_or(Value::Null));
        variables.insert("params".to_owned(), Value::Object(params));
        variables.extend(callback_url.map(|url| ("callback_url".to_owned(), url)));
        Ok(variables)
    }

    fn job_variables(&self, remote: Remote<'_>, job: &Job, facts: &BTreeMap<String, String>) -> Variables {
        let mut variables = self.base_variables(remote);
        let texts = job.facts.iter().chain(facts);
        let mut fields: Variables = texts.map(|(name, fact)| (name.clone(), Value::from(fact.as_str()))).collect();
        fields.insert("id".to_owned(), Value::from(job.id.as_str()));
        variables.insert("job".to_owned(), Value::Object(fields));
        variables
    }

    fn base_variables(&self, remote: Remote<'_>) -> Variables {
        let hosts = remote.http.hosts.iter().map(|(name, host)| (name.clone(), Value::from(self.rebased_host(host))));
        let mut variables = Variables::new();
        variables.insert("base_url".to_owned(), Value::from(self.base_url(remote.http)));
        variables.insert("hosts".to_owned(), Value::Object(hosts.collect()));
        variables.insert("remote".to_owned(), Value::Object(self.model.spec.remote.clone()));
        variables
    }

    /// Where the provider is: its own address, or what the configuration puts in its place.
    fn base_url<'h>(&'h self, http: &'h HttpProvider) -> &'h str {
        self.rebased_host(&http.base_url)
    }

    fn rebased_host<'h>(&'h self, own: &'h str) -> &'h str {
        self.backend.config.base_url(self.name()).unwrap_or(own)
    }

    /// Whether the provider was told where to call back.
    pub fn is_to_call_back(&self, generation: &Generation) -> bool {
        self.remote().is_some_and(|remote| self.callback_url(remote, generation).is_some())
    }

    fn callback_url(&self, remote: Remote<'_>, generation: &Generation) -> Option<String> {
        let config = &self.backend.config;
        let (base, secret) = (config.public_url.as_ref()?, config.signing_secret()?);
        remote.api.callback.as_ref()?;
        // Real providers call back over https only; without a public address they are polled.
        if !base.starts_with("https://") && !inputs::is_on_this_machine(self.base_url(remote.http)) {
            return None;
        }
        let (name, id) = (self.name(), generation.id);
        let token = crate::signature::callback_token(secret, name, id, generation.attempt());
        Some(format!("{base}/v1/callbacks/{name}/{id}/{token}"))
    }
}

/// The keys that we have for a provider, in their configured order; empty for a provider without keys, and for one that is not
/// configured.
pub async fn provider_keys(backend: &Backend, provider: &Manifest) -> Result<Vec<(KeyId, SecretString)>, SecretsError> {
    let Some(http) = provider.http() else { return Ok(Vec::new()) };
    let keys = backend.secrets.keys(&http.key_env).await.inspect_err(|error| {
        tracing::error!(error = error as &dyn std::error::Error, provider = provider.name, "its keys cannot be had");
    })?;
    Ok(keys.into_iter().map(|key| (KeyId::of(secrecy::ExposeSecret::expose_secret(&key)), key)).collect())
}

/// Whether a candidate of this provider can be asked at all.
pub fn needs_key(model: &Model) -> bool {
    model.provider.http().is_some()
}
