//! The bucket: results of generations, uploads, and the links to both.
//!
//! The client is built elsewhere. It must be configured with `request_checksum_calculation(WhenRequired)` and
//! `response_checksum_validation(WhenRequired)`: otherwise the SDK sends a trailing checksum that S3-compatible servers
//! may store into the object's `Content-Encoding`, and presigns a checksum header no browser sends.

use std::error::Error;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use crate::sdk::Lazy;

mod download;
mod fetch;
mod presign;
mod sniff;
mod store;

pub use download::DownloadError;
pub use fetch::Fetched;
pub use presign::{MAX_PRESIGN, Presigned};
pub use sniff::content_type_of;

/// Objects never change under their key, and only their owner may see them.
const CACHE_CONTROL: &str = "private, max-age=31536000, immutable";

/// One S3 bucket. Keys are the caller's: never guessable, and of `a-z A-Z 0-9 / . _ -` only, because local S3 servers
/// alter others.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Lazy<Client>,
    name: String,
}

/// An object that is now in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub key: String,
    pub bytes: u64,
    /// As it is served, e.g. `image/png` or `text/plain; charset=utf-8`.
    pub content_type: String,
}

/// What the bucket knows of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub bytes: u64,
    /// Empty when the object was stored without one.
    pub content_type: String,
}

impl Bucket {
    pub fn new(client: impl Into<Lazy<Client>>, name: impl Into<String>) -> Self {
        Self { client: client.into(), name: name.into() }
    }

    /// Stores `bytes` under `key`, over whatever is there.
    pub async fn put(&self, key: &str, bytes: Vec<u8>, content_type: &str) -> Result<Stored, StoreError> {
        self.put_object(key, Bytes::from(bytes), content_type).await
    }

    async fn put_object(&self, key: &str, bytes: Bytes, content_type: &str) -> Result<Stored, StoreError> {
        let length = bytes.len() as u64;
        let request = self.client.put_object().bucket(&self.name).key(key);
        let request = request.content_type(content_type).cache_control(CACHE_CONTROL);
        request.body(ByteStream::from(bytes)).send().await.map_err(|error| storage("put an object", error))?;
        Ok(Stored { key: key.to_owned(), bytes: length, content_type: content_type.to_owned() })
    }

    /// The whole object, refused when it is over `max_bytes`.
    pub async fn get(&self, key: &str, max_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let request = self.client.get_object().bucket(&self.name).key(key);
        let output = request.send().await.map_err(|error| get_failed(key, error))?;
        let declared = output.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
        if declared > max_bytes {
            return Err(StoreError::TooLarge { limit: max_bytes });
        }
        let (bytes, is_whole) = read_up_to(output.body, max_bytes).await?;
        if is_whole { Ok(bytes) } else { Err(StoreError::TooLarge { limit: max_bytes }) }
    }

    /// The first `count` bytes of an object, fewer when it is shorter: enough to tell what it is.
    pub async fn first_bytes(&self, key: &str, count: u64) -> Result<Vec<u8>, StoreError> {
        let Some(last) = count.checked_sub(1) else {
            return Ok(Vec::new());
        };
        let request = self.client.get_object().bucket(&self.name).key(key).range(format!("bytes=0-{last}"));
        match request.send().await {
            Ok(output) => Ok(read_up_to(output.body, count).await?.0),
            // No byte of an empty object satisfies a range.
            Err(SdkError::ServiceError(context)) if context.raw().status().as_u16() == 416 => Ok(Vec::new()),
            Err(error) => Err(get_failed(key, error)),
        }
    }

    /// Size and type of an object, none when there is no such key.
    pub async fn head(&self, key: &str) -> Result<Option<Head>, StoreError> {
        match self.client.head_object().bucket(&self.name).key(key).send().await {
            Ok(output) => Ok(Some(Head {
                bytes: output.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0),
                content_type: output.content_type.unwrap_or_default(),
            })),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => Ok(None),
            Err(error) => Err(storage("look at an object", error)),
        }
    }

    /// Deletes an object; deleting what is not there is a success.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let request = self.client.delete_object().bucket(&self.name).key(key);
        request.send().await.map(drop).map_err(|error| storage("delete an object", error))
    }

    /// Up to 1,000 keys that begin with `prefix`, in their order, from behind `after` on.
    pub async fn keys(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, StoreError> {
        let request = self.client.list_objects_v2().bucket(&self.name).prefix(prefix).set_start_after(after.map(str::to_owned));
        let page = request.send().await.map_err(|error| storage("list objects", error))?;
        Ok(page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key).collect())
    }

    /// Deletes all objects whose keys begin with `prefix`.
    pub async fn delete_all(&self, prefix: &str) -> Result<(), StoreError> {
        loop {
            let request = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
            let page = request.send().await.map_err(|error| storage("list objects", error))?;
            let is_last = page.is_truncated != Some(true);
            for key in page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key) {
                self.delete(&key).await?;
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

/// At most `max_bytes` of `body`, and whether that is all of it.
async fn read_up_to(mut body: ByteStream, max_bytes: u64) -> Result<(Vec<u8>, bool), StoreError> {
    let room = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| StoreError::Storage { action: "read an object", source: Box::new(error) })?;
        let left = room - bytes.len();
        if chunk.len() > left {
            bytes.extend_from_slice(&chunk[..left]);
            return Ok((bytes, false));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, true))
}

fn get_failed(key: &str, error: SdkError<GetObjectError>) -> StoreError {
    if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) {
        return StoreError::NotFound { key: key.to_owned() };
    }
    storage("get an object", error)
}

fn storage<E>(action: &'static str, error: E) -> StoreError
where
    aws_sdk_s3::Error: From<E>,
{
    StoreError::Storage { action, source: Box::new(aws_sdk_s3::Error::from(error)) }
}

/// Why something is not in the bucket, or did not come out of it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the content is over the limit of {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("the content is `{found}`, which is not among the accepted types")]
    WrongType { found: String },
    #[error("the content was cut off after {received} of {expected} bytes")]
    Truncated { expected: u64, received: u64 },
    #[error("the content is empty")]
    Empty,
    /// The link did not lead to content.
    #[error("the download was answered with status `{status}`")]
    Refused { status: u16 },
    #[error("the download was interrupted")]
    Download {
        #[source]
        source: DownloadError,
    },
    #[error("there is no object `{key}` in the bucket")]
    NotFound { key: String },
    #[error("could not {action} on this machine's disk")]
    Disk {
        action: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("could not {action} in the bucket")]
    Storage {
        action: &'static str,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl StoreError {
    /// Whether the same call may succeed later, unchanged.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Truncated { .. } | Self::Download { .. } | Self::Disk { .. } | Self::Storage { .. } => true,
            // Time-out, too early, too many requests, and the server's own troubles.
            Self::Refused { status } => matches!(status, 408 | 425 | 429 | 500..),
            Self::TooLarge { .. } | Self::WrongType { .. } | Self::Empty | Self::NotFound { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests;
