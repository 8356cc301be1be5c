//! DynamoDB and S3 in this process, each on a loopback port of its own and reached through the AWS SDK like the real ones.

use std::net::SocketAddr;
use std::path::PathBuf;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use tokio::net::TcpListener;

use crate::template::REGION;

mod dynamodb;
mod s3;

pub use dynamodb::{DynamoDb, Storage, create_table};
pub use s3::S3;

/// The engines' own keys. They guard nothing: whoever reaches the loopback port reaches the files as well.
const ACCESS_KEY_ID: &str = "local";
const SECRET_ACCESS_KEY: &str = "local-run-only";

/// Why an engine does not run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("could not listen on a loopback port")]
    Listen(#[source] std::io::Error),
    #[error("could not use the directory `{}`; check that it can be written to", .path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("could not open the bucket directory `{}`: {reason}", .path.display())]
    Bucket { path: PathBuf, reason: String },
    #[error("could not open the database `{location}`: {reason}")]
    Database { location: String, reason: String },
    #[error("could not set up the table `{table}`")]
    Table {
        table: String,
        #[source]
        source: Box<aws_sdk_dynamodb::Error>,
    },
    #[error(
        "the table `{table}` in the data directory has other keys or indexes than the template; start with a new data directory"
    )]
    TableDiffers { table: String },
}

/// SDK configuration for an engine. Everything is given, so that nothing is read from the environment, `~/.aws` or the
/// instance metadata. Plain HTTP: nothing is encrypted on the way to this machine's own ports.
pub fn sdk(endpoint_url: &str) -> SdkConfig {
    let credentials = Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "darkroom-local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint_url)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .timeout_config(shared::backend::timeouts())
        .build()
}

async fn listen() -> Result<(TcpListener, String), EngineError> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.map_err(EngineError::Listen)?;
    let address = listener.local_addr().map_err(EngineError::Listen)?;
    Ok((listener, format!("http://{address}")))
}
