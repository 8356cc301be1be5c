//! Secrets in AWS Secrets Manager: one secret, whose SecretString is a JSON object.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use tokio::sync::Mutex;

use super::document::Document;
use super::{Place, SecretsError, within};
use crate::clock::Clock;
use crate::sdk::Lazy;

/// How long a fetched secret is good.
const KEEP: SignedDuration = SignedDuration::from_secs(60);
/// After a failure, Secrets Manager is left alone for this long.
const REST: SignedDuration = SignedDuration::from_secs(10);
/// How long a call may take, with all its retries.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

const GET: &str = "secretsmanager:GetSecretValue";
const PUT: &str = "secretsmanager:PutSecretValue";

pub(super) struct AwsSecret {
    client: Lazy<Client>,
    id: String,
    /// Held while a call runs: whoever comes meanwhile waits for its outcome instead of calling too.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: Option<(Timestamp, Arc<Document>)>,
    failed: Option<(Timestamp, SecretsError)>,
}

impl AwsSecret {
    pub(super) fn new(client: Lazy<Client>, id: String) -> Self {
        Self { client, id, state: Mutex::default() }
    }

    pub(super) fn place(&self) -> Place {
        Place::SecretsManager(self.id.clone())
    }

    /// What the secret holds, or held when it could last be fetched.
    pub(super) async fn document(&self, clock: &Clock) -> Result<Arc<Document>, SecretsError> {
        let mut state = self.state.lock().await;
        let now = clock.now();
        if let Some((at, document)) = &state.known
            && within(*at, now, KEEP)
        {
            return Ok(Arc::clone(document));
        }
        let error = match &state.failed {
            Some((at, error)) if within(*at, now, REST) => error.clone(),
            Some(_) | None => match self.fetch(clock).await {
                Ok(document) => {
                    let document = Arc::new(document);
                    *state = State { known: Some((now, Arc::clone(&document))), failed: None };
                    return Ok(document);
                }
                Err(error) => {
                    if state.known.is_some() {
                        tracing::warn!(error = &error as &dyn StdError, "secrets not refreshed; the ones known before are used");
                    }
                    state.failed = Some((clock.now(), error.clone()));
                    error
                }
            },
        };
        state.known.as_ref().map(|(_, document)| Arc::clone(document)).ok_or(error)
    }

    /// Reads the secret anew, changes one entry, writes it.
    pub(super) async fn put(&self, name: &str, value: &SecretString, clock: &Clock) -> Result<(), SecretsError> {
        let mut state = self.state.lock().await;
        let mut document = match self.fetch(clock).await {
            // The first value of a secret that was only created.
            Err(SecretsError::NoSuchSecret(_)) => Document::default(),
            fetched => fetched?,
        };
        document.set(name, value);
        let text = document.text(&self.place())?;
        let call = self.client.put_secret_value().secret_id(&self.id).secret_string(text).send();
        match in_time(call, clock).await {
            Some(Ok(_)) => {}
            Some(Err(error)) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                return Err(SecretsError::NoSuchSecret(self.id.clone()));
            }
            Some(Err(error)) => return Err(self.failure(PUT, reason(&error))),
            None => return Err(self.failure(PUT, "no answer within 5 s; it may have been stored".to_owned())),
        }
        *state = State { known: Some((clock.now(), Arc::new(document))), failed: None };
        Ok(())
    }

    async fn fetch(&self, clock: &Clock) -> Result<Document, SecretsError> {
        match in_time(self.client.get_secret_value().secret_id(&self.id).send(), clock).await {
            Some(Ok(output)) => match output.secret_string() {
                Some(text) => Document::parse(text.as_bytes(), &self.place()),
                None => {
                    Err(SecretsError::Malformed { place: self.place(), fault: "is binary, it has no SecretString".to_owned() })
                }
            },
            Some(Err(error)) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                Err(SecretsError::NoSuchSecret(self.id.clone()))
            }
            Some(Err(error)) => Err(self.failure(GET, reason(&error))),
            None => Err(self.failure(GET, "no answer within 5 s".to_owned())),
        }
    }

    fn failure(&self, call: &'static str, reason: String) -> SecretsError {
        SecretsError::Aws { id: self.id.clone(), call, reason }
    }
}

/// None: it took too long.
async fn in_time<T>(call: impl Future<Output = T>, clock: &Clock) -> Option<T> {
    tokio::select! {
        biased;
        answer = call => Some(answer),
        () = clock.sleep(CALL_TIMEOUT) => None,
    }
}

/// What went wrong, in words that cannot hold a value: messages and raw answers of Secrets Manager may repeat what was sent.
fn reason<E: ProvideErrorMetadata>(error: &SdkError<E>) -> String {
    match error {
        SdkError::ServiceError(context) => {
            let status = context.raw().status().as_u16();
            context.err().code().map_or_else(|| format!("HTTP {status}"), |code| format!("{code}, HTTP {status}"))
        }
        SdkError::TimeoutError(_) => "it took too long".to_owned(),
        SdkError::DispatchFailure(_) => "it could not be sent (no connection, or no AWS credentials)".to_owned(),
        SdkError::ResponseError(_) => "the answer cannot be read".to_owned(),
        SdkError::ConstructionFailure(_) | _ => "the request cannot be made".to_owned(),
    }
}
