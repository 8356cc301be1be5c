//! Reading a callback: is it the provider, which job does it speak of, what does it say.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::Provider;
use super::jwks::KeysUnavailable;
use crate::catalog::manifest::SignatureScheme;
use crate::generation::Job;
use crate::outcome::{self, Report};
use crate::signature::{FAL_REQUEST_ID, Headers, SignatureError, verify_fal_webhook, verify_standard_webhook};

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

impl Provider<'_> {
    /// Checks and reads a callback.
    pub async fn read_callback(
        &self,
        headers: &impl Headers,
        body: &[u8],
        now: Timestamp,
    ) -> Result<CallbackNews, CallbackRefusal> {
        let Some((http, callback)) = self.manifest.http().and_then(|http| Some((http, http.callback.as_ref()?))) else {
            return Ok(CallbackNews { job: None, report: Report::Unclear("this provider has no callbacks".to_owned()) });
        };
        let tolerance = SignedDuration::from_secs(i64::from(callback.tolerance_s));
        // The job that a signed header names, where the scheme has one.
        let mut signed_job = None;
        let proven = match &callback.signature {
            SignatureScheme::StandardWebhooks { secret_env } => match self.backend.config.secret(secret_env) {
                Some(secret) => {
                    verify_standard_webhook(secret, headers, body, now, tolerance)?;
                    true
                }
                None => false,
            },
            SignatureScheme::FalEd25519 { jwks_url } => {
                self.verify_with_keys(&self.rebased(jwks_url), headers, body, now, tolerance).await?;
                signed_job = headers.header(FAL_REQUEST_ID);
                true
            }
        };
        let body: Value = serde_json::from_slice(body).map_err(|_| CallbackRefusal::NotJson)?;
        let id = outcome::fact(&callback.job_id, &body);
        if signed_job.is_some_and(|header| id.as_deref() != Some(header)) {
            return Err(CallbackRefusal::OtherJob);
        }
        // Addresses are taken from the provider only.
        let facts = http.submit.job_facts.iter().filter(|_| proven);
        let facts = facts.filter_map(|(name, pick)| Some((name.clone(), outcome::fact(pick, &body)?))).collect();
        let job = id.map(|id| Job { id, facts });
        let report = if proven { outcome::read_callback(http, &body) } else { Report::Unclear("not signed".to_owned()) };
        Ok(CallbackNews { job, report })
    }

    async fn verify_with_keys(
        &self,
        url: &str,
        headers: &impl Headers,
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
        match (self.backend.config.base_url(&self.manifest.name), url.parse::<url::Url>()) {
            (Some(base), Ok(own)) => format!("{base}{}", own.path()),
            _ => url.to_owned(),
        }
    }
}
