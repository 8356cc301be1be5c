//! Objects on this machine's disk for a while, to be looked into: large ones take no memory.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt as _;

use super::{Bucket, CACHE_CONTROL, StoreError, Stored, get_failed, storage};
use crate::media::{Facts, Unfit, probe};

/// A copy of an object in a temporary file, which goes when this is dropped.
#[derive(Debug)]
pub struct Fetched {
    file: NamedTempFile,
    /// Its size.
    pub bytes: u64,
    sha256: Vec<u8>,
}

impl Fetched {
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// What it is by its content, or why it is not taken. Runs where blocking is allowed.
    pub async fn look(&self) -> Result<Facts, Unfit> {
        let (file, bytes) = (File::open(self.path()).map_err(Unfit::Unreadable)?, self.bytes);
        let looked = tokio::task::spawn_blocking(move || probe(BufReader::new(file), bytes)).await;
        looked.unwrap_or_else(|died| Err(Unfit::Unreadable(std::io::Error::other(died))))
    }

    /// SHA-256 of its content, in lower-case hexadecimal.
    pub fn sha256(&self) -> String {
        hex::encode(&self.sha256)
    }
}

impl Bucket {
    /// Brings an object to the disk, a chunk at a time, reckoning its fingerprint on the way; refused when it is over `max_bytes`.
    pub async fn fetch(&self, key: &str, max_bytes: u64) -> Result<Fetched, StoreError> {
        let request = self.client.get_object().bucket(&self.name).key(key);
        let mut output = request.send().await.map_err(|error| get_failed(key, error))?;
        let declared = output.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
        if declared > max_bytes {
            return Err(StoreError::TooLarge { limit: max_bytes });
        }
        let file = NamedTempFile::new().map_err(|error| disk("make a temporary file", error))?;
        let mut writer = tokio::fs::File::from_std(file.reopen().map_err(|error| disk("open a temporary file", error))?);
        let (mut bytes, mut digest) = (0_u64, Context::new(&SHA256));
        while let Some(chunk) = output.body.next().await {
            let chunk = chunk.map_err(|error| StoreError::Storage { action: "read an object", source: Box::new(error) })?;
            bytes += chunk.len() as u64;
            if bytes > max_bytes {
                return Err(StoreError::TooLarge { limit: max_bytes });
            }
            digest.update(&chunk);
            writer.write_all(&chunk).await.map_err(|error| disk("write a temporary file", error))?;
        }
        writer.flush().await.map_err(|error| disk("write a temporary file", error))?;
        Ok(Fetched { file, bytes, sha256: digest.finish().as_ref().to_vec() })
    }

    /// Stores what was fetched under another key: exactly what was looked into, whatever has become of the object meanwhile. S3 compares
    /// the fingerprint.
    pub async fn put_fetched(&self, key: &str, fetched: &Fetched, content_type: &str) -> Result<Stored, StoreError> {
        let body = ByteStream::from_path(fetched.path()).await;
        let body = body.map_err(|error| StoreError::Storage { action: "read a temporary file", source: Box::new(error) })?;
        let request = self.client.put_object().bucket(&self.name).key(key).content_type(content_type);
        let request = request.cache_control(CACHE_CONTROL).checksum_sha256(STANDARD.encode(&fetched.sha256));
        request.body(body).send().await.map_err(|error| storage("put an object", error))?;
        Ok(Stored { key: key.to_owned(), bytes: fetched.bytes, content_type: content_type.to_owned() })
    }
}

fn disk(action: &'static str, error: std::io::Error) -> StoreError {
    StoreError::Disk { action, source: error }
}
