//! Sending to SQS.

use std::time::Duration;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::send_message::SendMessageError;

use super::{QueueError, check_message};

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
        .map_err(|error| QueueError::Sqs {
            queue_url: queue_url.to_owned(),
            retryable: is_passing(&error),
            source: Box::new(error.into()),
        })
}

fn is_passing(error: &SdkError<SendMessageError>) -> bool {
    match error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => true,
        SdkError::ServiceError(context) => {
            let status = context.raw().status().as_u16();
            status >= 500 || status == 429 || context.err().code().is_some_and(|code| PASSING_CODES.contains(&code))
        }
        SdkError::ConstructionFailure(_) | _ => false,
    }
}
