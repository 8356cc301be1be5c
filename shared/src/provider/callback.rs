//! Reading a callback: is it the provider, which job does it speak of, what does it say.

use std::collections::BTreeMap;

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

use super::Provider;
use super::jwks::KeysUnavailable;
use crate::catalog::manifest::Manifest;
use crate::catalog::rules::{Callback, SignatureScheme};
use crate::generation::{Generation, Job};
use crate::outcome::{self, Report};
use crate::signature::{
    FAL_REQUEST_ID, Headers, SignatureError, verify_fal_webhook, verify_kie_webhook, verify_openrouter_webhook,
    verify_standard_webhook, verify_wavespeed_webhook,
};
use crate::template;

/// What a callback brings.
#[derive(Debug, Clone, PartialEq)]
pub struct CallbackNews {
    /// The job it names.
    pub job: Option<Job>,
    /// What it says; [`Report::Unclear`] when it is not proven to come from the provider, who then has to be asked.
    pub report: Report,
}

/// Why a callback is refused.
#[derive(Debug, thiserror::Error)]
pub enum CallbackRefusal {
    /// It is not from the provider.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The body is not JSON.
    #[error("the callback's body is not JSON")]
    NotJson,
    /// Signed headers and body speak of different jobs.
    #[error("the callback's header and body name different jobs")]
    OtherJob,
    /// It cannot be checked now; the provider should send it again.
    #[error(transparent)]
    Keys(#[from] KeysUnavailable),
}

/// The answer to a handshake, if that is what a body is. It is the same for every address, so nothing has to be looked up.
pub fn challenge_reply(manifest: &Manifest, body: &[u8]) -> Option<Value> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let challenges = manifest.http()?.apis.values().filter_map(|api| api.callback.as_ref()?.challenge.as_ref());
    challenges.into_iter().find_map(|challenge| {
        let variables = Map::from_iter([("challenge".to_owned(), Value::from(outcome::fact(&challenge.when, &body)?))]);
        template::render(&challenge.reply, &variables).ok()?
    })
}

/// A callback as it came in, and the job that its body names.
struct Signed<'a> {
    headers: &'a HeaderMap,
    body: &'a [u8],
    job: Option<&'a str>,
    now: Timestamp,
}

/// What a signature says of a body.
enum Proof {
    /// It is the provider's.
    Provider,
    /// Nothing.
    None,
}

impl Provider<'_> {
    /// What the provider wants to be answered to a callback; our own words unless its manifest says so.
    pub fn callback_reply(&self) -> Option<&Value> {
        self.remote()?.api.callback.as_ref()?.reply.as_ref()
    }

    /// Checks and reads a callback.
    pub async fn read_callback(
        &self,
        generation: &Generation,
        attempt: u32,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<CallbackNews, CallbackRefusal> {
        let callback = self.remote().and_then(|remote| Some((remote, remote.api.callback.as_ref()?)));
        let Some((remote, callback)) = callback else {
            return Ok(CallbackNews { job: None, report: Report::Unclear("this provider has no callbacks".to_owned()) });
        };
        let json: Value = serde_json::from_slice(body).map_err(|_| CallbackRefusal::NotJson)?;
        let id = callback.job_id.iter().find_map(|pick| outcome::fact(pick, &json));
        let signed = Signed { headers, body, job: id.as_deref(), now };
        let proof = self.verify(callback, &signed).await?;
        let job_facts = match proof {
            // Addresses are taken from the provider only.
            Proof::Provider => outcome::facts(&remote.api.submit.job_facts, &json),
            Proof::None => BTreeMap::new(),
        };
        let job = id.map(|id| Job { id, facts: job_facts });
        let report = match proof {
            Proof::Provider => self.keep_report(generation, attempt, remote.reader().callback(&json)).await,
            Proof::None => Report::Unclear("not signed".to_owned()),
        };
        Ok(CallbackNews { job, report })
    }

    async fn verify(&self, callback: &Callback, signed: &Signed<'_>) -> Result<Proof, CallbackRefusal> {
        let Signed { headers, body, job, now } = *signed;
        let tolerance = SignedDuration::from_secs(i64::from(callback.tolerance_s));
        let secret = match callback.signature.secret_env() {
            None => None,
            Some(name) => match self.backend.secrets.get(name).await {
                // Without the secret nothing can be proven: the provider is asked.
                Ok(None) => return Ok(Proof::None),
                Ok(secret) => secret,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, name, "a webhook secret cannot be had");
                    return Ok(Proof::None);
                }
            },
        };
        let secret = secret.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
        match &callback.signature {
            SignatureScheme::Unsigned => Ok(Proof::None),
            SignatureScheme::StandardWebhooks { .. } => {
                verify_standard_webhook(secret, headers, body, now, tolerance)?;
                Ok(Proof::Provider)
            }
            SignatureScheme::OpenrouterHmac { .. } => {
                verify_openrouter_webhook(secret, headers, body, now, tolerance)?;
                Ok(Proof::Provider)
            }
            SignatureScheme::WavespeedHmac { .. } => {
                verify_wavespeed_webhook(secret, headers, body, now, tolerance)?;
                Ok(Proof::Provider)
            }
            SignatureScheme::KieHmac { .. } => match verify_kie_webhook(secret, headers, job.unwrap_or_default(), now, tolerance)
            {
                // A late resend may carry its first time: no proof is needed to ask.
                Ok(()) | Err(SignatureError::Stale) => Ok(Proof::None),
                Err(error) => Err(error.into()),
            },
            SignatureScheme::FalEd25519 { jwks_url } => {
                self.verify_with_keys(&self.rebased(jwks_url), headers, body, now, tolerance).await?;
                if headers.header(FAL_REQUEST_ID) == job { Ok(Proof::Provider) } else { Err(CallbackRefusal::OtherJob) }
            }
        }
    }

    async fn verify_with_keys(
        &self,
        url: &str,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
        tolerance: SignedDuration,
    ) -> Result<(), CallbackRefusal> {
        let (sets, outbound) = (&self.backend.key_sets, &self.backend.outbound);
        let (keys, may_be_old) = sets.get(outbound, url, now).await?;
        match verify_fal_webhook(&keys, headers, body, now, tolerance) {
            Err(SignatureError::Wrong) if may_be_old => {
                sets.forget(url).await;
                let (keys, _) = sets.get(outbound, url, now).await?;
                Ok(verify_fal_webhook(&keys, headers, body, now, tolerance)?)
            }
            other => Ok(other?),
        }
    }

    /// The same path at the place that the configuration puts in the provider's stead.
    fn rebased(&self, url: &str) -> String {
        match (self.backend.config.base_url(self.name()), url.parse::<url::Url>()) {
            (Some(base), Ok(own)) => format!("{base}{}", own.path()),
            _ => url.to_owned(),
        }
    }
}
