//! The net under everything: whatever is due is looked at. A lost message, a crashed worker and a missed callback end the same way.
//!
//! Every minute the tick sends one sweep per shard of the due index; a sweep sends one nudge per generation that falls due before the next
//! tick, delayed until then; a nudge looks at its generation, if it still falls due at that time. The tick also sends for those who are
//! first in a provider's line and for whom there is room.

use std::time::Duration;

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use shared::backend::{Applied, Backend};
use shared::batch;
use shared::erasure;
use shared::generation::{Generation, State};
use shared::ids::{AccountId, GenerationId};
use shared::lifecycle::{Event, Send, TICK};
use shared::messages::{Message, Outgoing};
use shared::metrics::{self, Sample};
use shared::outcome::Report;
use shared::provider::{Provider, kept_results};
use shared::store::{Due, DueRecord};

mod books;

/// Everything that is asked of a provider about one job, in one go.
const ASK_LIMIT: Duration = Duration::from_secs(40);
/// Stopping a job that has expired.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);

type Error = Box<dyn std::error::Error + std::marker::Send + Sync>;

/// What starts the function.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Trigger {
    /// Messages.
    Queue(SqsEvent),
    /// Once a day.
    Daily { daily: Daily },
    /// The minute's tick.
    Tick(Box<EventBridgeEvent<Value>>),
}

/// What is to be done once a day, as the schedule's input says.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Daily {
    /// See whether the books of all accounts are right.
    Reconcile,
}

/// Handles a schedule, or a batch of poll messages.
pub async fn handle(backend: &Backend, trigger: Trigger) -> Result<SqsBatchResponse, lambda_runtime::Error> {
    match trigger {
        Trigger::Tick(_) => Box::pin(tick(backend)).await.map(|()| SqsBatchResponse::default()),
        Trigger::Daily { daily: Daily::Reconcile } => {
            Ok(books::every_account(backend).await.map(|()| SqsBatchResponse::default())?)
        }
        Trigger::Queue(event) => Ok(batch::each(event, async |message| match message {
            Message::Sweep { shard, before } => sweep(backend, shard, before).await,
            Message::Nudge { generation, due_at } => Box::pin(nudge(backend, generation, due_at)).await,
            Message::Account { account, due_at } => expire_credits(backend, account, due_at).await,
            Message::EraseAsset { account, asset, due_at } => {
                Ok(Box::pin(erasure::asset_is_due(backend, account, asset, due_at)).await?)
            }
            Message::RemoveBox { account, box_id, due_at } => {
                Ok(Box::pin(erasure::box_is_due(backend, account, box_id, due_at)).await?)
            }
            Message::EraseAccount { account, due_at } => Ok(Box::pin(erasure::account_is_due(backend, account, due_at)).await?),
            Message::Reconcile { accounts } => Box::pin(books::look(backend, &accounts)).await,
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
    let swept = try_join_all(sends).await;
    backend.call_every_line().await;
    swept?;
    backend.measure(&[Sample::count(metrics::TICKS, &[])]);
    Ok(())
}

async fn sweep(backend: &Backend, shard: u32, before: Timestamp) -> Result<(), Error> {
    let mut cursor = None;
    let mut found = 0;
    let mut ages = Ages::default();
    loop {
        let (due, next) = backend.store.due(shard, before, cursor).await?;
        let now = backend.now();
        found += due.len();
        due.iter().for_each(|due| ages.see(due, now));
        let sends = due.into_iter().filter(|due| is_time_to_nudge(due.due_at, now)).map(|due| async move {
            let outgoing = match due.record {
                DueRecord::Generation(id) => Outgoing::of(Send::Nudge { at: due.due_at }, id, due.account, now),
                DueRecord::Account => Outgoing::account(due.account, due.due_at, now),
                DueRecord::Asset(id) => Outgoing::erase_asset(due.account, id, due.due_at, now),
                DueRecord::Box(id) => Outgoing::remove_box(due.account, id, due.due_at, now),
                DueRecord::Erasure => Outgoing::erase_account(due.account, due.due_at, now),
            };
            backend.send(&outgoing).await
        });
        try_join_all(sends).await?;
        match next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    backend.measure(&[ages.sample()]);
    if found > 0 {
        tracing::info!(shard, found, "swept");
    }
    Ok(())
}

/// The oldest of what a sweep has seen.
#[derive(Debug, Default)]
struct Ages {
    overdue: SignedDuration,
    held: Option<SignedDuration>,
    unconfirmed: Option<SignedDuration>,
}

impl Ages {
    fn see(&mut self, due: &Due, now: Timestamp) {
        let age = |since: Timestamp| now.duration_since(since);
        self.overdue = self.overdue.max(age(due.due_at));
        if let Some(job) = &due.job {
            self.held = self.held.max(job.held_since.map(age));
            self.unconfirmed = self.unconfirmed.max(job.unconfirmed_since.map(age));
        }
    }

    fn sample(&self) -> Sample {
        let ages = [(metrics::OLDEST_HOLD_SECONDS, self.held), (metrics::UNCONFIRMED_SECONDS, self.unconfirmed)];
        let ages = ages.into_iter().filter_map(|(metric, age)| Some((metric, age?)));
        let all = std::iter::once((metrics::OVERDUE_SECONDS, self.overdue)).chain(ages);
        Sample::of(&[], all.map(|(metric, age)| (metric, metrics::seconds(age))).collect())
    }
}

/// What is overdue has a nudge in the queue already, unless that was lost: ever more rarely another one is sent.
fn is_time_to_nudge(due_at: Timestamp, now: Timestamp) -> bool {
    match now.duration_since(due_at).as_mins() {
        ..=1 => true,
        minutes => minutes.cast_unsigned().is_power_of_two(),
    }
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
        State::Claimed { .. } | State::Unconfirmed { .. } => look_for_evidence(backend, generation).await,
        State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. } if generation.erasure.is_some() => {
            Ok(erasure::go_on_with_generation(backend, generation).await?)
        }
        State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. } if generation.left_overs => {
            Ok(erasure::tidy(backend, generation).await?)
        }
        State::Queued { .. }
        | State::Collecting { .. }
        | State::Succeeded { .. }
        | State::Failed { .. }
        | State::Canceled { .. } => {
            backend.apply(generation, &Event::Due).await?;
            Ok(())
        }
    }
}

/// Credits that were not spent before their end.
async fn expire_credits(backend: &Backend, account: AccountId, due_at: Timestamp) -> Result<(), Error> {
    let now = backend.now();
    if now < due_at {
        backend.send_or_leave_to_the_poll(&Outgoing::account(account, due_at, now)).await;
        return Ok(());
    }
    Ok(backend.store.expire_credits(account, now).await?)
}

/// A worker that died may have kept the results of a paid answer; only without them is the time-out what it seems.
async fn look_for_evidence(backend: &Backend, generation: Generation) -> Result<(), Error> {
    let attempt = generation.attempt();
    let event = match kept_results(backend, generation.id, attempt).await? {
        Some(outcome) => Event::Succeeded { attempt, job: None, outcome },
        None => Event::Due,
    };
    backend.apply(generation, &event).await?;
    Ok(())
}

/// Takes the poll's lease, so that only one worker asks, and brings back what the provider says.
async fn ask(backend: &Backend, generation: Generation) -> Result<(), Error> {
    let attempt = generation.attempt();
    let Applied::Changed(leased) = backend.apply(generation, &Event::Asking { attempt }).await? else { return Ok(()) };
    let State::Running { job, expires_at, .. } = leased.state.clone() else { return Ok(()) };
    let canceling = leased.cancel_requested_at.is_some();
    let asking = async {
        let provider = Provider::of(backend, &leased, attempt).await?;
        if canceling && provider.cancel(&leased, attempt, &job).await == Report::Canceled {
            return Ok((Report::Canceled, false));
        }
        let report = provider.ask(&leased, attempt, &job, backend.now()).await;
        let was_woken = leased.attempts.iter().any(|own| own.number == attempt && own.woken_at.is_some());
        Ok::<_, Error>((report, provider.is_to_call_back(&leased) && !was_woken && !canceling))
    };
    // The function has to live to write down what it learned, and that the time is up.
    let (report, no_callback_came) = match tokio::time::timeout(ASK_LIMIT, asking).await {
        Ok(report) => report?,
        Err(_) => (Report::Unclear("the provider did not answer in time".to_owned()), false),
    };
    let event = match report {
        Report::Running { progress, queue_position } => Event::StillRunning { attempt, progress, queue_position },
        Report::Succeeded(outcome) => Event::Succeeded { attempt, job: Some(job.clone()), outcome },
        Report::Failed(failure) => Event::Failed { attempt, failure, retry_after: None },
        Report::Canceled => Event::ProviderCanceled { attempt },
        Report::Fetch(_) => Event::AskFailed { attempt },
        Report::Unclear(why) => {
            tracing::warn!(generation = %leased.id, attempt, why, "the provider could not be asked");
            Event::AskFailed { attempt }
        }
    };
    let provider = leased.candidate().provider.clone();
    let applied = backend.apply(*leased, &event).await?;
    let has_ended = matches!(event, Event::Succeeded { .. } | Event::Failed { .. } | Event::ProviderCanceled { .. });
    if no_callback_came && has_ended && matches!(applied, Applied::Changed(_)) {
        backend.measure(&[Sample::count(metrics::LOST_CALLBACKS, &[("Provider", &provider)])]);
    }
    let expired = matches!(applied.generation().state, State::Failed { .. }) && backend.now() >= expires_at;
    if expired && !canceling {
        // Nobody waits for it any more; if the provider can be stopped, the better.
        let generation = applied.generation();
        let stopping =
            async { Ok::<_, Error>(Provider::of(backend, generation, attempt).await?.cancel(generation, attempt, &job).await) };
        let _ = tokio::time::timeout(CANCEL_LIMIT, stopping).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_overdue_is_nudged_ever_more_rarely() {
        let nudged =
            |minutes: i64| is_time_to_nudge(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes));
        let minutes: Vec<i64> = (-1..40).filter(|minutes| nudged(*minutes)).collect();
        assert_eq!(minutes, [-1, 0, 1, 2, 4, 8, 16, 32]);
    }
}
