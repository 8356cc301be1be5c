//! The Lambda function `collect`.

use aws_lambda_events::event::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use shared::backend::Backend;
use shared::draw::fonts::Fonts;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::logs::init();
    let backend = Backend::from_env()?;
    Fonts::of(&backend.config.fonts_dir)
        .inspect_err(|error| tracing::error!(error = error as &dyn std::error::Error, "the function cannot start"))?
        .install();
    lambda_runtime::run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        Ok::<_, Error>(collect::handle(&backend, event.payload).await)
    }))
    .await
}
