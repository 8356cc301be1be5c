//! An SQS batch: each message by itself, the failed ones reported back so that only they come again.

use std::future::Future;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use futures_util::future::join_all;

use crate::messages::Message;

/// Handles every message of a batch, at the same time. A message that is not ours is dropped with an error in the log: it would
/// never become better by coming again.
pub async fn each<F>(event: SqsEvent, handle: impl Fn(Message) -> F) -> SqsBatchResponse
where
    F: Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>>,
{
    let outcomes = event.records.into_iter().map(|record| {
        let id = record.message_id.unwrap_or_default();
        let message = Message::from_body(record.body.as_deref().unwrap_or_default());
        let handled = message.as_ref().ok().map(|message| handle(message.clone()));
        async move {
            let (Ok(message), Some(handled)) = (message, handled) else {
                tracing::error!(message_id = id, "a message that is not one of ours was dropped");
                return None;
            };
            match handled.await {
                Ok(()) => None,
                Err(error) => {
                    tracing::error!(error = &*error as &dyn std::error::Error, ?message, "a message failed; it comes again");
                    Some(id)
                }
            }
        }
    });
    let mut response = SqsBatchResponse::default();
    for failed in join_all(outcomes).await.into_iter().flatten() {
        response.add_failure(failed);
    }
    response
}
