//! Results: from the provider into our bucket, then the generation is settled: charged and filed, or failed and released.

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use shared::assets::MediaFacts;
use shared::backend::{Applied, Backend};
use shared::batch;
use shared::failure::{Failure, FailureClass};
use shared::generation::{Generation, Job, LateState, Outcome, Source, State, StoredResult};
use shared::http_guard;
use shared::ids::{AssetId, GenerationId};
use shared::lifecycle::Event;
use shared::media::MAX_VIDEO_BYTES;
use shared::messages::Message;
use shared::provider::{Provider, result_key_stem};
use shared::results::{StoreError, Stored};

mod finish;
mod local;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long a stored result is looked into, in all.
const LOOK_LIMIT: Duration = Duration::from_secs(20);

/// Handles a batch of collect messages.
pub async fn handle(backend: &Backend, event: SqsEvent) -> SqsBatchResponse {
    batch::each(event, async |message| match message {
        Message::Collect { generation } => collect(backend, generation).await,
        other @ (Message::Dispatch { .. }
        | Message::Nudge { .. }
        | Message::Account { .. }
        | Message::EraseAsset { .. }
        | Message::RemoveBox { .. }
        | Message::EraseAccount { .. }
        | Message::Reconcile { .. }
        | Message::Sweep { .. }) => {
            tracing::error!(message = ?other, "not a collect message; dropped");
            Ok(())
        }
    })
    .await
}

/// What has to be copied: the current attempt's outcome, or a late one.
struct Work {
    attempt: u32,
    job: Option<Job>,
    outcome: Outcome,
}

impl Work {
    fn of(generation: &Generation) -> Option<Self> {
        if let State::Collecting { job, outcome, .. } = &generation.state {
            return Some(Self { attempt: generation.attempt(), job: job.clone(), outcome: outcome.clone() });
        }
        let late = generation.late.as_ref()?;
        match &late.state {
            LateState::Collecting { job, outcome, .. } => {
                Some(Self { attempt: late.attempt, job: job.clone(), outcome: outcome.clone() })
            }
            LateState::Stored { .. } | LateState::Lost { .. } => None,
        }
    }
}

/// Why the results are not in our bucket.
enum Missed {
    /// Worth another try.
    Later(String),
    /// Not to be had.
    Never(String),
    /// The link does not work (any more); the provider may have another one.
    Link(u16),
    /// It cannot be made of what was ordered, and was not.
    Unfit(Failure),
}

async fn collect(backend: &Backend, id: GenerationId) -> Result<(), Error> {
    let generation = backend.load(id).await?;
    let Some(work) = Work::of(&generation) else { return Ok(()) };
    let attempt = work.attempt;
    let Applied::Changed(generation) = backend.apply(generation, &Event::Collecting { attempt }).await? else { return Ok(()) };
    let copied = match copy_all(backend, &generation, attempt, &work.outcome).await {
        Err(Missed::Link(status)) => {
            tracing::info!(generation = %id, attempt, status, "a result link does not work; asking for a new one");
            copy_anew(backend, &generation, &work, status).await
        }
        other => other,
    };
    let lost = |why: String| Failure::new(FailureClass::ResultLost, why);
    let event = match copied {
        Ok(results) => Event::Stored { attempt, results },
        Err(Missed::Later(why)) => {
            tracing::warn!(generation = %id, attempt, why, "the result could not be copied this time");
            Event::CollectDelayed { attempt, failure: lost(why) }
        }
        Err(Missed::Link(status)) => {
            let why = format!("the provider's result link answers with HTTP status {status}");
            Event::CollectDelayed { attempt, failure: lost(why) }
        }
        Err(Missed::Never(why)) => Event::CollectFailed { attempt, failure: lost(why) },
        Err(Missed::Unfit(failure)) => Event::CollectFailed { attempt, failure },
    };
    backend.apply(*generation, &event).await?;
    Ok(())
}

async fn copy_anew(backend: &Backend, generation: &Generation, work: &Work, status: u16) -> Result<Vec<StoredResult>, Missed> {
    let Some(job) = &work.job else { return Err(Missed::Link(status)) };
    let Ok(provider) = Provider::of(backend, generation, work.attempt).await else { return Err(Missed::Link(status)) };
    match provider.results_anew(generation, work.attempt, job).await {
        Some(fresh) => copy_all(backend, generation, work.attempt, &fresh).await,
        None => Err(Missed::Link(status)),
    }
}

async fn copy_all(
    backend: &Backend,
    generation: &Generation,
    attempt: u32,
    outcome: &Outcome,
) -> Result<Vec<StoredResult>, Missed> {
    let mut results = Vec::with_capacity(outcome.sources.len());
    for (index, source) in outcome.sources.iter().enumerate() {
        let key_stem = result_key_stem(generation, attempt, index);
        let mut text = None;
        let stored = match source {
            Source::Link(link) => download(backend, generation, link, &key_stem).await?,
            Source::LinkWithKey(link) => download_with_key(backend, generation, attempt, link, &key_stem).await?,
            Source::Stored { key, bytes, content_type, text: own } => {
                text.clone_from(own);
                Stored { key: key.clone(), bytes: *bytes, content_type: content_type.clone() }
            }
            Source::Local => {
                let (stored, own) = local::make(backend, generation, attempt, &key_stem).await?;
                text = own;
                stored
            }
        };
        let stored = finish::finished(backend, generation, stored, &key_stem).await?;
        let (unix_ms, random) = backend.id_parts();
        let asset = AssetId::from_parts(unix_ms, random);
        let media = facts(backend, &stored).await;
        let Stored { key, bytes, content_type } = stored;
        results.push(StoredResult { asset, key, bytes, content_type, text, media, erased_at: None });
    }
    Ok(results)
}

/// Dimensions are worth a look, and no look is worth a paid result.
async fn facts(backend: &Backend, stored: &Stored) -> Option<MediaFacts> {
    let is_media = stored.content_type.starts_with("image/") || stored.content_type.starts_with("video/");
    if !is_media || stored.bytes > MAX_VIDEO_BYTES {
        return None;
    }
    let looking = async { backend.bucket.fetch(&stored.key, stored.bytes).await.ok()?.look().await.ok() };
    let facts = tokio::time::timeout(LOOK_LIMIT, looking).await.ok().flatten()?;
    Some(MediaFacts::from(&facts))
}

async fn download(backend: &Backend, generation: &Generation, link: &str, key_stem: &str) -> Result<Stored, Missed> {
    let refused = |_| Missed::Never("the provider's result link points to an address that is not public".to_owned());
    let url = backend.outbound.check(link).map_err(refused)?;
    let response = backend.outbound.media().get(url).send().await.map_err(|error| match http_guard::refusal(&error) {
        Some(_) => Missed::Never("the provider's result link leads to an address that is not public".to_owned()),
        None => Missed::Later(error.without_url().to_string()),
    })?;
    store(backend, generation, response, key_stem).await
}

async fn download_with_key(
    backend: &Backend,
    generation: &Generation,
    attempt: u32,
    link: &str,
    key_stem: &str,
) -> Result<Stored, Missed> {
    let provider = Provider::of(backend, generation, attempt).await.map_err(|error| Missed::Later(error.to_string()))?;
    let response = provider.download_with_key(link).await.map_err(Missed::Later)?;
    store(backend, generation, response, key_stem).await
}

async fn store(
    backend: &Backend,
    generation: &Generation,
    response: reqwest::Response,
    key_stem: &str,
) -> Result<Stored, Missed> {
    let accept = generation.order.kind.content_types();
    let stored = backend.bucket.store(key_stem, response, backend.config.max_result_bytes, accept).await;
    stored.map_err(|error| missed(&error))
}

fn missed(error: &StoreError) -> Missed {
    match error {
        StoreError::Refused { status: status @ (401 | 403 | 404 | 410) } => return Missed::Link(*status),
        // An error page with status 200, or nothing at all: what a server in trouble sends.
        StoreError::Empty => return Missed::Later(error.to_string()),
        StoreError::WrongType { found } if found.starts_with("text/") => return Missed::Later(error.to_string()),
        StoreError::Refused { .. }
        | StoreError::WrongType { .. }
        | StoreError::TooLarge { .. }
        | StoreError::Truncated { .. }
        | StoreError::Download { .. }
        | StoreError::NotFound { .. }
        | StoreError::Disk { .. }
        | StoreError::Storage { .. } => {}
    }
    if error.is_retryable() { Missed::Later(error.to_string()) } else { Missed::Never(error.to_string()) }
}
