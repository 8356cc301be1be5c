//! Work for providers: claim a generation, submit it once, write down what the provider answered.
//!
//! The claim is committed before anything is sent. From then on only evidence decides: whatever is not certain leaves the generation
//! unconfirmed, with its hold, and is never simply sent again.

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use shared::backend::{Applied, Backend};
use shared::batch;
use shared::generation::{Generation, State};
use shared::ids::GenerationId;
use shared::lifecycle::{Event, Send, Unchanged};
use shared::messages::{Message, Outgoing};
use shared::outcome::{Report, SubmitAnswer};
use shared::provider::Provider;

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
    backend.apply(*claimed, &event(attempt, answer)).await?;
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
