//! The Lambda function `poll`.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use poll::Trigger;
use shared::backend::Backend;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::logs::init();
    let backend = Backend::from_env()?;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Trigger>| poll::handle(&backend, event.payload).await)).await
}
