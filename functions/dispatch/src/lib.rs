//! Work for providers: claim a generation, submit it once, write down what the provider answered.
//!
//! The claim is committed before anything is sent. From then on only evidence decides: whatever is not certain leaves the generation
//! unconfirmed, with its hold, and is never simply sent again.

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use shared::backend::{Applied, Backend};
use shared::batch;
use shared::generation::{Generation, State};
use shared::ids::GenerationId;
use shared::lifecycle::{Event, Send, Unchanged};
use shared::messages::{Message, Outgoing};
use shared::outcome::{Report, SubmitAnswer};
use shared::provider::Provider;

/// Between the tries to write a provider's answer down; with the tries themselves shorter than the function's time-out allows.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(2)];

type Error = Box<dyn std::error::Error + std::marker::Send + Sync>;

/// Handles a batch of dispatch messages.
pub async fn handle(backend: &Backend, event: SqsEvent) -> SqsBatchResponse {
    batch::each(event, async |message| match message {
        Message::Dispatch { generation } => dispatch(backend, generation).await,
        other @ (Message::Collect { .. } | Message::Nudge { .. } | Message::Sweep { .. }) => {
            tracing::error!(message = ?other, "not a dispatch message; dropped");
            Ok(())
        }
    })
    .await
}

async fn dispatch(backend: &Backend, id: GenerationId) -> Result<(), Error> {
    let generation = backend.load(id).await?;
    let claimed = match backend.apply(generation, &Event::Claim).await? {
        Applied::Changed(claimed) => claimed,
        Applied::Unchanged(generation, Unchanged::NotYet) => return come_again(backend, &generation).await,
        // Somebody else has it, or it has ended: a second message for the same work.
        Applied::Unchanged(..) => return Ok(()),
    };
    let attempt = claimed.attempt();
    let answer = Provider::of(backend, &claimed)?.submit(&claimed, backend.now()).await;
    write_down(backend, *claimed, &event(attempt, answer)).await
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
fn event(attempt: u32, answer: SubmitAnswer) -> Event {
    match answer {
        SubmitAnswer::Accepted { job, report } => match report {
            Report::Succeeded(outcome) => Event::Succeeded { attempt, job: Some(job), outcome },
            Report::Failed(failure) => Event::Failed { attempt, failure, retry_after: None },
            Report::Running { .. } | Report::Fetch | Report::Canceled | Report::Unclear(_) => Event::Accepted { attempt, job },
        },
        SubmitAnswer::Refused { failure, retry_after } => Event::Failed { attempt, failure, retry_after },
        SubmitAnswer::Lost(reason) => Event::Lost { attempt, reason },
    }
}

/// The message came before the pause after a refusal was over.
async fn come_again(backend: &Backend, generation: &Generation) -> Result<(), Error> {
    if let State::Queued { not_before } = generation.state {
        let now = backend.now();
        let send = Send::Dispatch { after: not_before.duration_since(now) };
        backend.send_or_leave_to_the_poll(&Outgoing::of(send, generation.id, generation.account, now)).await;
    }
    Ok(())
}
