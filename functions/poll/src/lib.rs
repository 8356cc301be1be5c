//! The net under everything: whatever is due is looked at. A lost message, a crashed worker and a missed callback end the same way.
//!
//! Every minute the tick sends one sweep per shard of the due index; a sweep sends one nudge per generation that falls due before the next
//! tick, delayed until then; a nudge looks at its generation, if it still falls due at that time.

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use shared::backend::{Applied, Backend};
use shared::batch;
use shared::generation::{Generation, Job, State};
use shared::ids::GenerationId;
use shared::lifecycle::{Event, Send, TICK};
use shared::messages::{Message, Outgoing};
use shared::outcome::Report;
use shared::provider::Provider;

type Error = Box<dyn std::error::Error + std::marker::Send + Sync>;

/// What starts the function.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Trigger {
    /// Messages.
    Queue(SqsEvent),
    /// The minute's tick.
    Tick(Box<EventBridgeEvent<Value>>),
}

/// Handles the tick, or a batch of poll messages.
pub async fn handle(backend: &Backend, trigger: Trigger) -> Result<SqsBatchResponse, lambda_runtime::Error> {
    match trigger {
        Trigger::Tick(_) => tick(backend).await.map(|()| SqsBatchResponse::default()),
        Trigger::Queue(event) => Ok(batch::each(event, async |message| match message {
            Message::Sweep { shard, before } => sweep(backend, shard, before).await,
            Message::Nudge { generation, due_at } => nudge(backend, generation, due_at).await,
            other @ (Message::Dispatch { .. } | Message::Collect { .. }) => {
                tracing::error!(message = ?other, "not a poll message; dropped");
                Ok(())
            }
        })
        .await),
    }
}

async fn tick(backend: &Backend) -> Result<(), Error> {
    let before = backend.now() + TICK;
    let sends = backend.store.due_shards().map(|shard| async move {
        let message = Message::Sweep { shard, before };
        backend.send(&Outgoing { message, delay: SignedDuration::ZERO, group: format!("shard-{shard}") }).await
    });
    try_join_all(sends).await?;
    Ok(())
}

async fn sweep(backend: &Backend, shard: u32, before: Timestamp) -> Result<(), Error> {
    let mut cursor = None;
    let mut found = 0;
    loop {
        let (due, next) = backend.store.due(shard, before, cursor).await?;
        let now = backend.now();
        found += due.len();
        let sends = due.into_iter().map(|due| async move {
            backend.send(&Outgoing::of(Send::Nudge { at: due.due_at }, due.id, due.account, now)).await
        });
        try_join_all(sends).await?;
        match next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    if found > 0 {
        tracing::info!(shard, found, "swept");
    }
    Ok(())
}

async fn nudge(backend: &Backend, id: GenerationId, due_at: Timestamp) -> Result<(), Error> {
    let generation = backend.load(id).await?;
    if generation.due_at != Some(due_at) {
        // Somebody has looked at it since.
        return Ok(());
    }
    let now = backend.now();
    if now < due_at {
        let again = Outgoing::of(Send::Nudge { at: due_at }, id, generation.account, now);
        backend.send_or_leave_to_the_poll(&again).await;
        return Ok(());
    }
    match &generation.state {
        State::Running { .. } => ask(backend, generation).await,
        State::Queued { .. }
        | State::Claimed { .. }
        | State::Unconfirmed { .. }
        | State::Collecting { .. }
        | State::Succeeded { .. }
        | State::Failed { .. }
        | State::Canceled { .. } => {
            backend.apply(generation, &Event::Due).await?;
            Ok(())
        }
    }
}

/// Takes the poll's lease, so that only one worker asks, and brings back what the provider says.
async fn ask(backend: &Backend, generation: Generation) -> Result<(), Error> {
    let attempt = generation.attempt();
    let Applied::Changed(leased) = backend.apply(generation, &Event::Asking { attempt }).await? else { return Ok(()) };
    let State::Running { job, expires_at, .. } = leased.state.clone() else { return Ok(()) };
    let report = if leased.cancel_requested_at.is_some() {
        cancel_or_ask(backend, &leased, &job).await?
    } else {
        Provider::of(backend, &leased)?.ask(&leased, &job, backend.now()).await
    };
    let over = backend.now() >= expires_at;
    if over && matches!(report, Report::Running { .. } | Report::Fetch | Report::Unclear(_)) {
        // Nobody waits for it any more; if the provider can be stopped, the better.
        Provider::of(backend, &leased)?.cancel(&leased, &job).await;
    }
    let event = match report {
        Report::Running { progress, queue_position } => Event::StillRunning { attempt, progress, queue_position },
        Report::Succeeded(outcome) => Event::Succeeded { attempt, job: Some(job), outcome },
        Report::Failed(failure) => Event::Failed { attempt, failure, retry_after: None },
        Report::Canceled => Event::ProviderCanceled { attempt },
        Report::Fetch => Event::AskFailed { attempt },
        Report::Unclear(why) => {
            tracing::warn!(generation = %leased.id, attempt, why, "the provider could not be asked");
            Event::AskFailed { attempt }
        }
    };
    backend.apply(*leased, &event).await?;
    Ok(())
}

/// Only the provider's word that it stopped ends a canceled generation; until then it is asked like any other.
async fn cancel_or_ask(backend: &Backend, generation: &Generation, job: &Job) -> Result<Report, Error> {
    let provider = Provider::of(backend, generation)?;
    match provider.cancel(generation, job).await {
        Report::Canceled => Ok(Report::Canceled),
        Report::Running { .. } | Report::Fetch | Report::Succeeded(_) | Report::Failed(_) | Report::Unclear(_) => {
            Ok(provider.ask(generation, job, backend.now()).await)
        }
    }
}
