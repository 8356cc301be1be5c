//! Results that come inside an answer: into our bucket before anything is written of them, with a note beside them that a later worker
//! finds if this one dies. So an answer that was paid for is not lost between the two.

use std::time::Duration;

use super::Provider;
use super::completion::{TextOrder, complete};
use crate::backend::Backend;
use crate::catalog::manifest::MediaKind;
use crate::failure::{Failure, FailureClass};
use crate::finished;
use crate::generation::{Ambiguity, Generation, Job, Outcome, Source};
use crate::ids::{AccountId, GenerationId};
use crate::outcome::{Delivery, Found, Report, SubmitAnswer};
use crate::results::StoreError;

/// The longest text that the record itself carries, in bytes.
const MAX_TEXT_BYTES: usize = 16 * 1024;
/// The largest note.
const MAX_NOTE_BYTES: u64 = 1024 * 1024;
/// Between the tries to store what a paid answer carried.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(2)];

/// The longest wait for a document that is put right: a claim outlasts its submit by half a minute, and what is kept takes time, too.
const REPAIR_LIMIT: Duration = Duration::from_secs(20);

/// Why a delivery is not in the bucket.
enum NotKept {
    /// It is not what was ordered.
    Unusable(String),
    /// The bucket did not take it.
    Bucket(StoreError),
    /// The customer had everything of it erased.
    Erased,
}

impl From<StoreError> for NotKept {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::WrongType { .. } | StoreError::TooLarge { .. } | StoreError::Empty => Self::Unusable(error.to_string()),
            StoreError::Refused { .. }
            | StoreError::Truncated { .. }
            | StoreError::Download { .. }
            | StoreError::NotFound { .. }
            | StoreError::Disk { .. }
            | StoreError::Storage { .. } => Self::Bucket(error),
        }
    }
}

impl Provider<'_> {
    /// What a report says, its results kept. When they cannot be kept now the provider has to be asked again.
    pub(super) async fn keep_report(&self, generation: &Generation, attempt: u32, report: Report<Delivery>) -> Report {
        match report {
            Report::Succeeded(delivery) => match self.keep(generation, attempt, &delivery).await {
                Ok(outcome) => Report::Succeeded(outcome),
                Err(NotKept::Unusable(why)) => Report::Failed(unusable(&why)),
                Err(NotKept::Bucket(error)) => Report::Unclear(format!("the results could not be kept: {error}")),
                Err(NotKept::Erased) => Report::Unclear("the results came after they were to be erased".to_owned()),
            },
            Report::Running { progress, queue_position } => Report::Running { progress, queue_position },
            Report::Fetch(facts) => Report::Fetch(facts),
            Report::Failed(failure) => Report::Failed(failure),
            Report::Canceled => Report::Canceled,
            Report::Unclear(why) => Report::Unclear(why),
        }
    }

    /// The results of a job once more, when links to those it had are good no more. None: they cannot be had. A text is not among them: it has no
    /// link, and was kept when it came.
    pub async fn results_anew(&self, generation: &Generation, attempt: u32, job: &Job) -> Option<Outcome> {
        let remote = self.remote().filter(|_| generation.erasure.is_none())?;
        let Report::Succeeded(delivery) = self.report(remote, job).await else { return None };
        let mut sources = Vec::with_capacity(delivery.len());
        for (index, found) in delivery.iter().enumerate() {
            sources.push(match found {
                Found::Link { .. } => found.link()?,
                Found::Bytes(bytes) => {
                    let key_stem = result_key_stem(generation, attempt, index);
                    self.keep_file(&key_stem, bytes.clone(), generation.order.kind, None).await.ok()?
                }
                Found::Text(_) => return None,
            });
        }
        Some(Outcome { sources })
    }

    /// The results of a submit that was answered with them: there is no second answer.
    pub(super) async fn keep_paid(&self, generation: &Generation, delivery: Delivery) -> SubmitAnswer {
        for pause in PAUSES.into_iter().map(Some).chain([None]) {
            match self.keep(generation, generation.attempt(), &delivery).await {
                Ok(outcome) => return SubmitAnswer::Done(Report::Succeeded(outcome)),
                Err(NotKept::Unusable(why)) => return SubmitAnswer::Done(Report::Failed(unusable(&why))),
                Err(NotKept::Bucket(error)) => {
                    tracing::error!(error = &error as &dyn std::error::Error, generation = %generation.id, "results cannot be kept");
                }
                Err(NotKept::Erased) => break,
            }
            if let Some(pause) = pause {
                self.backend.clock.sleep(pause).await;
            }
        }
        SubmitAnswer::Lost(Ambiguity::ResultsNotKept)
    }

    async fn keep(&self, generation: &Generation, attempt: u32, delivery: &Delivery) -> Result<Outcome, NotKept> {
        if generation.erasure.is_some() {
            return Err(NotKept::Erased);
        }
        let mut sources = Vec::with_capacity(delivery.len());
        let mut carried = false;
        for (index, found) in delivery.iter().enumerate() {
            let key_stem = result_key_stem(generation, attempt, index);
            let (bytes, text) = match found {
                Found::Link { .. } => {
                    sources.extend(found.link());
                    continue;
                }
                Found::Bytes(bytes) => (bytes.clone(), None),
                Found::Text(text) => {
                    let text = self.readable(text, generation).await.map_err(NotKept::Unusable)?;
                    let short = Some(text.clone()).filter(|text| text.len() <= MAX_TEXT_BYTES);
                    (text.into_bytes().into(), short)
                }
            };
            carried = true;
            sources.push(self.keep_file(&key_stem, bytes, generation.order.kind, text).await?);
        }
        let outcome = Outcome { sources };
        if carried {
            let note = serde_json::to_vec(&outcome).unwrap_or_default();
            self.backend.bucket.put(&note_key(generation.id, attempt), note, "application/json").await?;
        }
        Ok(outcome)
    }

    /// A text as it is stored, if it is what was ordered. A document that is nearly so is put right once, by a language model.
    async fn readable(&self, text: &str, generation: &Generation) -> Result<String, String> {
        let (kind, finish) = (generation.order.kind, &generation.order.finish);
        let mistake = match finished::text(text, kind, finish) {
            Ok(text) => return Ok(text),
            Err(mistake) => mistake,
        };
        let Some(question) = finished::repair(text, kind, finish, &mistake) else { return Err(mistake) };
        tracing::info!(generation = %generation.id, mistake, "a document is put right");
        let answer =
            complete(self.backend, TextOrder { system: &question.system, prompt: &question.prompt, limit: REPAIR_LIMIT }).await;
        answer.and_then(|answer| finished::text(&answer.text, kind, finish).ok()).ok_or(mistake)
    }

    async fn keep_file(
        &self,
        key_stem: &str,
        bytes: bytes::Bytes,
        kind: MediaKind,
        text: Option<String>,
    ) -> Result<Source, NotKept> {
        let limit = self.backend.config.max_result_bytes;
        if bytes.len() as u64 > limit {
            return Err(StoreError::TooLarge { limit }.into());
        }
        let stored = self.backend.bucket.store_bytes(key_stem, bytes, kind.content_types()).await?;
        Ok(Source::Stored { key: stored.key, bytes: stored.bytes, content_type: stored.content_type, text })
    }
}

/// Where a result lies, without its extension.
pub fn result_key_stem(generation: &Generation, attempt: u32, index: usize) -> String {
    format!("{}{attempt}-{index}", results_prefix(generation))
}

/// What the keys of all results of a generation begin with.
pub fn results_prefix(generation: &Generation) -> String {
    format!("results/{}/{}/", generation.account, generation.id)
}

/// Where the note beside an attempt's results lies.
pub fn note_key(generation: GenerationId, attempt: u32) -> String {
    format!("{}{attempt}.json", notes_prefix(generation))
}

/// What the keys of all notes of a generation begin with.
pub fn notes_prefix(generation: GenerationId) -> String {
    format!("staged/{generation}/")
}

/// What the keys of all files that are prepared for a generation's providers begin with.
pub fn prepared_prefix(account: AccountId, generation: GenerationId) -> String {
    format!("prepared/{account}/{generation}/")
}

/// What an attempt whose worker died had kept before: the proof that its submit succeeded.
pub async fn kept_results(backend: &Backend, generation: GenerationId, attempt: u32) -> Result<Option<Outcome>, StoreError> {
    match backend.bucket.get(&note_key(generation, attempt), MAX_NOTE_BYTES).await {
        Ok(note) => Ok(serde_json::from_slice(&note).ok()),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn unusable(why: &str) -> Failure {
    Failure::new(FailureClass::ProviderFailed, format!("the provider's result cannot be used: {why}"))
}
