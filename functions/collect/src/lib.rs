//! Results: from the provider into our bucket, then the generation is settled: charged and filed, or failed and released.

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use serde_json::Value;
use shared::backend::{Applied, Backend};
use shared::batch;
use shared::draw::{self, Drawing};
use shared::failure::{Failure, FailureClass};
use shared::generation::{Generation, Job, LateState, Outcome, Source, State, StoredResult};
use shared::http_guard;
use shared::ids::{AssetId, GenerationId};
use shared::lifecycle::Event;
use shared::messages::Message;
use shared::outcome::Report;
use shared::provider::{Provider, drawing_format, result_key_stem};
use shared::results::{StoreError, Stored};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The largest photo to draw on, in bytes.
const MAX_PHOTO_BYTES: u64 = 50_000_000;

/// Handles a batch of collect messages.
pub async fn handle(backend: &Backend, event: SqsEvent) -> SqsBatchResponse {
    batch::each(event, async |message| match message {
        Message::Collect { generation } => collect(backend, generation).await,
        other @ (Message::Dispatch { .. }
        | Message::Nudge { .. }
        | Message::Account { .. }
        | Message::EraseAsset { .. }
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
    };
    backend.apply(*generation, &event).await?;
    Ok(())
}

async fn copy_anew(backend: &Backend, generation: &Generation, work: &Work, status: u16) -> Result<Vec<StoredResult>, Missed> {
    let Some(job) = &work.job else { return Err(Missed::Link(status)) };
    let Ok(provider) = Provider::of(backend, generation, work.attempt).await else { return Err(Missed::Link(status)) };
    match provider.ask(generation, work.attempt, job, backend.now()).await {
        Report::Succeeded(fresh) => copy_all(backend, generation, work.attempt, &fresh).await,
        Report::Running { .. } | Report::Fetch(_) | Report::Failed(_) | Report::Canceled | Report::Unclear(_) => {
            Err(Missed::Link(status))
        }
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
            Source::Drawing => draw(backend, generation, &key_stem).await?,
        };
        let (unix_ms, random) = backend.id_parts();
        let asset = AssetId::from_parts(unix_ms, random);
        let Stored { key, bytes, content_type } = stored;
        results.push(StoredResult { asset, key, bytes, content_type, text, erased_at: None });
    }
    Ok(results)
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
        | StoreError::Storage { .. } => {}
    }
    if error.is_retryable() { Missed::Later(error.to_string()) } else { Missed::Never(error.to_string()) }
}

/// The placeholder's work: the prompt, on the customer's photo if there is one.
async fn draw(backend: &Backend, generation: &Generation, key_stem: &str) -> Result<Stored, Missed> {
    let params = generation.params_for(generation.candidate());
    let text = params.get("prompt").and_then(Value::as_str).unwrap_or_default().to_owned();
    let side = |name: &str| params.get(name).and_then(Value::as_u64).and_then(|side| u32::try_from(side).ok()).unwrap_or(1024);
    let (width, height) = (side("width"), side("height"));
    let format = draw::Format::parse(drawing_format(generation)).unwrap_or(draw::Format::Png);
    let photo = match generation.order.inputs.first() {
        Some(input) => Some(backend.bucket.get(&input.key, MAX_PHOTO_BYTES).await.map_err(|error| missed(&error))?),
        None => None,
    };
    let render = move || draw::render(&Drawing { text: &text, width, height, format, background: photo.as_deref() });
    let image =
        tokio::task::spawn_blocking(render).await.map_err(|_| Missed::Never("the image could not be drawn".to_owned()))?;
    let image = image.map_err(|error| Missed::Never(error.to_string()))?;
    let key = format!("{key_stem}.{}", format.extension());
    backend.bucket.put(&key, image, format.content_type()).await.map_err(|error| missed(&error))
}
