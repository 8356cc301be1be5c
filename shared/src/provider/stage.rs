//! Results that come inside an answer: into our bucket before anything is written of them, with a note beside them that a later worker
//! finds if this one dies. So an answer that was paid for is not lost between the two.

use std::time::Duration;

use serde_json::Value;

use super::Provider;
use crate::backend::Backend;
use crate::catalog::manifest::MediaKind;
use crate::failure::{Failure, FailureClass};
use crate::generation::{Ambiguity, Generation, Outcome, Source};
use crate::ids::GenerationId;
use crate::outcome::{Delivery, Found, Report, SubmitAnswer};
use crate::results::StoreError;

/// The longest text that the record itself carries, in bytes.
const MAX_TEXT_BYTES: usize = 16 * 1024;
/// The largest note.
const MAX_NOTE_BYTES: u64 = 1024 * 1024;
/// Between the tries to store what a paid answer carried.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(2)];

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
            sources.push(match found {
                Found::Link { link, with_key: false } => Source::Link(link.clone()),
                Found::Link { link, with_key: true } => Source::LinkWithKey(link.clone()),
                Found::Bytes(bytes) => {
                    carried = true;
                    self.keep_file(&key_stem, bytes.clone(), generation.order.kind, None).await?
                }
                Found::Text(text) => {
                    carried = true;
                    let text = readable(text, generation.order.kind).map_err(NotKept::Unusable)?;
                    let short = Some(text.clone()).filter(|text| text.len() <= MAX_TEXT_BYTES);
                    self.keep_file(&key_stem, text.into_bytes().into(), generation.order.kind, short).await?
                }
            });
        }
        let outcome = Outcome { sources };
        if carried {
            let note = serde_json::to_vec(&outcome).unwrap_or_default();
            self.backend.bucket.put(&note_key(generation.id, attempt), note, "application/json").await?;
        }
        Ok(outcome)
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

/// A text as it is stored. JSON is freed from the Markdown fence that language models like to put around it.
fn readable(text: &str, kind: MediaKind) -> Result<String, String> {
    match kind {
        MediaKind::Text | MediaKind::Image | MediaKind::Video => Ok(text.to_owned()),
        MediaKind::Json => {
            let inside = text
                .trim()
                .strip_prefix("```")
                .and_then(|rest| rest.strip_suffix("```"))
                .map_or(text, |fenced| fenced.strip_prefix("json").unwrap_or(fenced));
            match serde_json::from_str::<Value>(inside) {
                Ok(_) => Ok(inside.trim().to_owned()),
                Err(error) => Err(format!("it is not JSON: {error}")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_around_json_is_taken_off() {
        let read = |text: &str| readable(text, MediaKind::Json);
        assert_eq!(read("```json\n{\"a\": 1}\n```\n"), Ok("{\"a\": 1}".to_owned()));
        assert_eq!(read(" [1] "), Ok("[1]".to_owned()));
        assert!(read("I cannot do that.").is_err());
        assert_eq!(readable("```x```", MediaKind::Text), Ok("```x```".to_owned()));
    }
}
