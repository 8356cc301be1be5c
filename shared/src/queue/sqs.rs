//! SQS.

use std::time::Duration;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::QueueAttributeName as Name;

use super::{QueueError, Standing, check_message};

/// SQS's words for "slow down" and for its own troubles that are answered with a 4xx.
const PASSING_CODES: [&str; 5] =
    ["RequestThrottled", "ThrottlingException", "Throttling", "KmsThrottled", "RequestThrottledException"];

pub(super) async fn send(
    client: &aws_sdk_sqs::Client,
    queue_url: &str,
    body: String,
    delay: Duration,
    group: &str,
) -> Result<(), QueueError> {
    let delay_seconds = check_message(&body, delay, group)?;
    client
        .send_message()
        .queue_url(queue_url)
        .message_body(body)
        .set_delay_seconds((delay_seconds > 0).then_some(i32::from(delay_seconds)))
        .set_message_group_id((!group.is_empty()).then(|| group.to_owned()))
        .send()
        .await
        .map(drop)
        .map_err(|error| failed(queue_url, error))
}

pub(super) async fn standing(client: &aws_sdk_sqs::Client, queue_url: &str) -> Result<Standing, QueueError> {
    attributes(client, queue_url).await.map(|(standing, _)| standing)
}

/// Without a destination the messages go back to where they came from.
pub(super) async fn redrive(client: &aws_sdk_sqs::Client, dead_letter_url: &str) -> Result<u64, QueueError> {
    let (standing, arn) = attributes(client, dead_letter_url).await?;
    if standing.waiting > 0 {
        let started = client.start_message_move_task().source_arn(arn).send().await;
        started.map_err(|error| match error.message().is_some_and(is_another_move) {
            true => QueueError::MovedAlready { queue_url: dead_letter_url.to_owned() },
            false => failed(dead_letter_url, error),
        })?;
    }
    Ok(standing.waiting)
}

/// SQS has no code of its own for it. Its words are "There is already a task running. Only one active task is allowed for a source queue arn at a
/// given time."
fn is_another_move(message: &str) -> bool {
    message.contains("already a task running") || message.contains("one active task")
}

async fn attributes(client: &aws_sdk_sqs::Client, queue_url: &str) -> Result<(Standing, String), QueueError> {
    let names = [Name::ApproximateNumberOfMessages, Name::ApproximateNumberOfMessagesNotVisible];
    let names = names.into_iter().chain([Name::ApproximateNumberOfMessagesDelayed, Name::QueueArn]);
    let request = client.get_queue_attributes().queue_url(queue_url).set_attribute_names(Some(names.collect()));
    let answer = request.send().await.map_err(|error| failed(queue_url, error))?;
    let values = answer.attributes.unwrap_or_default();
    let number = |name: Name| values.get(&name).and_then(|value| value.parse().ok()).unwrap_or_default();
    let standing = Standing {
        waiting: number(Name::ApproximateNumberOfMessages),
        in_flight: number(Name::ApproximateNumberOfMessagesNotVisible),
        delayed: number(Name::ApproximateNumberOfMessagesDelayed),
    };
    Ok((standing, values.get(&Name::QueueArn).cloned().unwrap_or_default()))
}

fn failed<E>(queue_url: &str, error: SdkError<E>) -> QueueError
where
    E: ProvideErrorMetadata,
    aws_sdk_sqs::Error: From<SdkError<E>>,
{
    QueueError::Sqs { queue_url: queue_url.to_owned(), retryable: is_passing(&error), source: Box::new(error.into()) }
}

fn is_passing<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    match error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => true,
        SdkError::ServiceError(context) => {
            let status = context.raw().status().as_u16();
            status >= 500 || status == 429 || context.err().code().is_some_and(|code| PASSING_CODES.contains(&code))
        }
        SdkError::ConstructionFailure(_) | _ => false,
    }
}
