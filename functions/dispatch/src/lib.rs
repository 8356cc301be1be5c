//! Work for providers: claim a generation, submit it once, write down what the provider answered.
//!
//! The claim is committed before anything is sent. From then on only evidence decides: whatever is not certain leaves the generation
//! unconfirmed, with its hold, and is never simply sent again.

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use shared::admission::{Admission, is_about_the_key};
use shared::backend::{Applied, Backend};
use shared::batch;
use shared::failure::{Failure, FailureClass};
use shared::generation::{Ambiguity, Generation, State};
use shared::ids::GenerationId;
use shared::lifecycle::{Event, Send, Unchanged};
use shared::messages::{Message, Outgoing};
use shared::outcome::{Report, SubmitAnswer};
use shared::pool::PoolChange;
use shared::provider::Provider;
use shared::store::StoreError;

/// Between the tries to write a provider's answer down; with the tries themselves shorter than the function's time-out allows.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(2)];

/// How often a claim is tried anew because others changed the pool meanwhile.
const MAX_RACES: u32 = 60;

type Error = Box<dyn std::error::Error + std::marker::Send + Sync>;

/// Handles a batch of dispatch messages.
pub async fn handle(backend: &Backend, event: SqsEvent) -> SqsBatchResponse {
    batch::each(event, async |message| match message {
        Message::Dispatch { generation } => dispatch(backend, generation).await,
        other @ (Message::Collect { .. }
        | Message::Nudge { .. }
        | Message::Account { .. }
        | Message::EraseAsset { .. }
        | Message::RemoveBox { .. }
        | Message::EraseAccount { .. }
        | Message::Reconcile { .. }
        | Message::Sweep { .. }) => {
            tracing::error!(message = ?other, "not a dispatch message; dropped");
            Ok(())
        }
    })
    .await
}

async fn dispatch(backend: &Backend, id: GenerationId) -> Result<(), Error> {
    let Some(claimed) = claim(backend, id).await? else { return Ok(()) };
    let attempt = claimed.attempt();
    let ready = match Provider::of(backend, &claimed, attempt).await {
        Ok(provider) => prepared(backend, &provider, claimed).await.map(|claimed| (provider, claimed)),
        Err(error) => Err(Unsent::of(claimed, &error)),
    };
    let (provider, claimed) = match ready {
        Ok(ready) => ready,
        Err(Unsent { claimed, failure }) => {
            return write_down(backend, claimed, &Event::Unsent { attempt, failure }).await;
        }
    };
    let answer = provider.submit(&claimed, backend.now()).await;
    let event = event(attempt, &answer);
    if let Event::Failed { failure, .. } = &event
        && is_about_the_key(failure.class)
    {
        // The next attempt must know of it.
        backend.note_answer(&claimed, &answer).await;
        let event = match backend.has_another_key(&claimed).await {
            Ok(true) => Event::KeyRefused { attempt, failure: failure.clone() },
            Ok(false) | Err(_) => event,
        };
        return write_down(backend, claimed, &event).await;
    }
    write_down(backend, claimed.clone(), &event).await?;
    backend.note_answer(&claimed, &answer).await;
    Ok(())
}

/// Makes ready what the provider needs otherwise than it was ordered, and writes that down. What to write when it cannot be done: nothing was
/// sent for certain, so another attempt may follow.
async fn prepared(backend: &Backend, provider: &Provider<'_>, claimed: Generation) -> Result<Generation, Unsent> {
    let attempt = claimed.attempt();
    let prepared = match provider.prepare(&claimed).await {
        Ok(None) => return Ok(claimed),
        Ok(Some(prepared)) => prepared,
        Err(failure) => return Err(Unsent { claimed, failure }),
    };
    match backend.apply(claimed.clone(), &Event::Prepared { attempt, prepared }).await {
        Ok(Applied::Changed(claimed)) if claimed.cancel_requested_at.is_none() => Ok(*claimed),
        Ok(Applied::Changed(claimed)) => {
            let failure = Failure::new(FailureClass::Canceled, "it was canceled before the provider was asked");
            Err(Unsent { claimed: *claimed, failure })
        }
        Ok(Applied::Unchanged(claimed, _)) => {
            let message = "it took too long to make the order ready for the provider";
            Err(Unsent { claimed: *claimed, failure: Failure::new(FailureClass::Unavailable, message) })
        }
        Err(error) => Err(Unsent::of(claimed, &error)),
    }
}

/// A claim that came to nothing before anything was sent.
struct Unsent {
    claimed: Generation,
    failure: Failure,
}

impl Unsent {
    fn of(claimed: Generation, error: &StoreError) -> Self {
        tracing::warn!(error = error as &dyn std::error::Error, generation = %claimed.id, "the table is in trouble; nothing was sent");
        Self { claimed, failure: Failure::new(FailureClass::Unavailable, "the order could not be made ready for the provider") }
    }
}

/// Claims the generation if it is its turn; otherwise it waits, or goes to the next provider of its chain.
async fn claim(backend: &Backend, id: GenerationId) -> Result<Option<Generation>, Error> {
    for _ in 0..MAX_RACES {
        let generation = backend.load(id).await?;
        match &generation.state {
            State::Queued { not_before, .. } if *not_before > backend.now() => {
                come_again(backend, &generation).await?;
                return Ok(None);
            }
            State::Queued { .. } => {}
            // Somebody else has it, or it has ended: a second message for the same work.
            State::Claimed { .. }
            | State::Running { .. }
            | State::Unconfirmed { .. }
            | State::Collecting { .. }
            | State::Succeeded { .. }
            | State::Failed { .. }
            | State::Canceled { .. } => return Ok(None),
        }
        let (event, changes) = match backend.admit(&generation).await? {
            Admission::Claim { key, holds_slot, changes } => (Event::Claim { key, holds_slot }, changes),
            Admission::Wait { join, until } => {
                let waiting = join.as_ref().map(|join| join.waiting.clone());
                (Event::Wait { waiting, until }, join.map(PoolChange::Join).into_iter().collect())
            }
            Admission::PassOver => (Event::PassOver, Vec::new()),
        };
        match (&event, backend.apply_with(generation, &event, &changes).await?) {
            // The pool is another one than it was: look again.
            (_, None) => {}
            (Event::Claim { .. }, Some(Applied::Changed(claimed))) => return Ok(Some(*claimed)),
            // A slot that became free before it stood in the line was offered to nobody: look once more.
            (Event::Wait { waiting: Some(_), .. }, Some(Applied::Changed(_))) => {}
            (_, Some(Applied::Unchanged(generation, Unchanged::NotYet))) => {
                come_again(backend, &generation).await?;
                return Ok(None);
            }
            (_, Some(_)) => return Ok(None),
        }
    }
    // The poll brings it again.
    Ok(None)
}

/// The answer to a paid submit exists only here: a table that is out of order for a moment must not lose it.
async fn write_down(backend: &Backend, claimed: Generation, event: &Event) -> Result<(), Error> {
    for pause in PAUSES {
        match backend.apply(claimed.clone(), event).await {
            Ok(_) => return Ok(()),
            Err(error) => {
                let job =
                    if let Event::Accepted { job, .. } | Event::Succeeded { job: Some(job), .. } = event { &job.id } else { "" };
                let generation = claimed.id;
                tracing::error!(error = &error as &dyn std::error::Error, %generation, job, "the provider's answer is not written yet");
                backend.clock.sleep(pause).await;
            }
        }
    }
    backend.apply(claimed, event).await?;
    Ok(())
}

/// What a submit's answer means for the generation.
fn event(attempt: u32, answer: &SubmitAnswer) -> Event {
    match answer {
        SubmitAnswer::Accepted { job, report } => match report {
            Report::Succeeded(outcome) => Event::Succeeded { attempt, job: Some(job.clone()), outcome: outcome.clone() },
            Report::Failed(failure) => Event::Failed { attempt, failure: failure.clone(), retry_after: None },
            Report::Running { .. } | Report::Fetch(_) | Report::Canceled | Report::Unclear(_) => {
                Event::Accepted { attempt, job: job.clone() }
            }
        },
        SubmitAnswer::Done(report) => match report {
            Report::Succeeded(outcome) => Event::Succeeded { attempt, job: None, outcome: outcome.clone() },
            Report::Failed(failure) => Event::Failed { attempt, failure: failure.clone(), retry_after: None },
            Report::Running { .. } | Report::Fetch(_) | Report::Canceled | Report::Unclear(_) => {
                Event::Lost { attempt, reason: Ambiguity::UnreadableAnswer }
            }
        },
        SubmitAnswer::Refused { failure, retry_after } => {
            Event::Failed { attempt, failure: failure.clone(), retry_after: *retry_after }
        }
        SubmitAnswer::Lost(reason) => Event::Lost { attempt, reason: *reason },
    }
}

/// The message came before the pause after a refusal was over.
async fn come_again(backend: &Backend, generation: &Generation) -> Result<(), Error> {
    if let State::Queued { not_before, .. } = generation.state {
        let now = backend.now();
        let send = Send::Dispatch { after: not_before.duration_since(now) };
        backend.send_or_leave_to_the_poll(&Outgoing::of(send, generation.id, generation.account, now)).await;
    }
    Ok(())
}
