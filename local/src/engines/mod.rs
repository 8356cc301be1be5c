//! DynamoDB, S3 and SQS. Our own DynamoDB and S3 run in this process, each on a loopback port of its own and reached through the AWS
//! SDK like the real ones; our own queues are in memory. Each of the three can be somebody else's engine instead, at an endpoint.

use std::net::SocketAddr;
use std::path::PathBuf;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use shared::ids::AccountId;
use shared::queue::QueueError;
use tokio::net::TcpListener;

use crate::template::REGION;

mod dynamodb;
mod queues;
mod s3;
mod sqs;

pub use dynamodb::{DynamoDb, Storage, create_table};
pub use queues::Queues;
pub use s3::S3;
pub use sqs::SqsQueues;

/// The keys that engines are used with. They guard nothing: whoever reaches the loopback port reaches the files as well. LocalStack
/// checks signatures by this secret, whatever the access key.
const ACCESS_KEY_ID: &str = "local";
const SECRET_ACCESS_KEY: &str = "test";

/// Engines that run elsewhere, each by its URL (`http://127.0.0.1:8000`); those without one run in this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    pub dynamodb: Option<String>,
    pub s3: Option<String>,
    pub sqs: Option<String>,
}

impl Endpoints {
    /// What the table is called: at another's engine by its development account, since others may have theirs there.
    pub fn table_name(&self, developer: AccountId) -> String {
        name(self.dynamodb.as_deref(), developer)
    }

    /// What the bucket is called, in the same way.
    pub fn bucket_name(&self, developer: AccountId) -> String {
        name(self.s3.as_deref(), developer)
    }
}

fn name(endpoint: Option<&str>, developer: AccountId) -> String {
    match endpoint {
        Some(_) => format!("darkroom-{developer}").replace('_', "-"),
        None => "darkroom".to_owned(),
    }
}

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
    #[error("could not {action} the bucket `{bucket}`")]
    BucketCall {
        action: &'static str,
        bucket: String,
        #[source]
        source: Box<aws_sdk_s3::Error>,
    },
    #[error("could not {action} the queue `{queue}`")]
    QueueCall {
        action: &'static str,
        queue: String,
        #[source]
        source: Box<aws_sdk_sqs::Error>,
    },
    #[error("SQS does not tell the `{what}` of the queue `{queue}`")]
    QueueUnknown { queue: String, what: &'static str },
    #[error(transparent)]
    Queue(#[from] QueueError),
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
