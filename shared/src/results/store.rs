//! From a provider's response into the bucket, with the memory of one part.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use reqwest::Response;

use super::download::{Download, Part};
use super::sniff::detect;
use super::{Bucket, CACHE_CONTROL, StoreError, Stored, storage};

/// How long a download may go without a byte.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

impl Bucket {
    /// Streams `response` into the bucket, under `key_stem` and the extension of what it turns out to be.
    ///
    /// The type is told from the first bytes, never from what the server says, and must be among `accept`
    /// (`image/png`, `image/*`). Text and JSON are considered only when `accept` asks for them, and must fit in 8 MiB.
    /// Nothing is left in the bucket on a failure; only a process that dies in the middle leaves an unfinished
    /// multipart upload, which a lifecycle rule of the bucket is to remove.
    pub async fn store(&self, key_stem: &str, response: Response, max_bytes: u64, accept: &[&str]) -> Result<Stored, StoreError> {
        let mut download = Download::new(response, max_bytes, IDLE_TIMEOUT)?;
        let first = download.next_part().await?;
        if first.bytes.is_empty() {
            return Err(StoreError::Empty);
        }
        let kind = detect(&first.bytes, first.is_last, accept)?;
        let key = format!("{key_stem}.{}", kind.extension);
        if first.is_last {
            return self.put_object(&key, first.bytes, kind.content_type).await;
        }
        let bytes = self.store_in_parts(&key, kind.content_type, first, download).await?;
        Ok(Stored { key, bytes, content_type: kind.content_type.to_owned() })
    }

    /// Stores bytes that are here already, under `key_stem` and the extension of what they turn out to be; see [`Bucket::store`].
    pub async fn store_bytes(&self, key_stem: &str, bytes: Bytes, accept: &[&str]) -> Result<Stored, StoreError> {
        if bytes.is_empty() {
            return Err(StoreError::Empty);
        }
        let kind = detect(&bytes, true, accept)?;
        self.put_object(&format!("{key_stem}.{}", kind.extension), bytes, kind.content_type).await
    }

    async fn store_in_parts(&self, key: &str, content_type: &str, first: Part, download: Download) -> Result<u64, StoreError> {
        let request = self.client.create_multipart_upload().bucket(&self.name).key(key);
        let request = request.content_type(content_type).cache_control(CACHE_CONTROL);
        let created = request.send().await.map_err(|error| storage("start an upload", error))?;
        let upload_id = created.upload_id.unwrap_or_default();
        let result = self.upload_parts(key, &upload_id, first, download).await;
        if result.is_err() {
            let abort = self.client.abort_multipart_upload().bucket(&self.name).key(key).upload_id(upload_id);
            if let Err(error) = abort.send().await {
                let error = aws_sdk_s3::Error::from(error);
                tracing::warn!(key, %error, "could not abort a multipart upload; the bucket's lifecycle rule will");
            }
        }
        result
    }

    async fn upload_parts(&self, key: &str, upload_id: &str, first: Part, mut download: Download) -> Result<u64, StoreError> {
        let mut parts = CompletedMultipartUpload::builder();
        let mut bytes = 0;
        let mut part = first;
        for number in 1.. {
            bytes += part.bytes.len() as u64;
            let is_last = part.is_last;
            let request = self.client.upload_part().bucket(&self.name).key(key).upload_id(upload_id);
            let request = request.part_number(number).body(ByteStream::from(part.bytes));
            let uploaded = request.send().await.map_err(|error| storage("upload a part", error))?;
            parts = parts.parts(CompletedPart::builder().part_number(number).set_e_tag(uploaded.e_tag).build());
            if is_last {
                break;
            }
            part = download.next_part().await?;
        }
        let request = self.client.complete_multipart_upload().bucket(&self.name).key(key).upload_id(upload_id);
        let request = request.multipart_upload(parts.build());
        request.send().await.map_err(|error| storage("finish an upload", error))?;
        Ok(bytes)
    }
}
