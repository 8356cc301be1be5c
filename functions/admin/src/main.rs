//! The Lambda function `admin`.

use lambda_http::{Error, Request, service_fn};
use shared::backend::Backend;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::logs::init();
    let backend = Backend::from_env_checking_entries()?;
    lambda_http::run(service_fn(async |request: Request| Ok::<_, Error>(admin::handle(&backend, request).await))).await
}
