//! The Lambda function `authorize`.

use aws_lambda_events::event::apigw::ApiGatewayV2CustomAuthorizerV2Request;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use shared::backend::Backend;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::logs::init();
    let backend = Backend::from_env()?;
    let handler =
        async |event: LambdaEvent<ApiGatewayV2CustomAuthorizerV2Request>| authorize::handle(&backend, event.payload).await;
    lambda_runtime::run(service_fn(handler)).await
}
