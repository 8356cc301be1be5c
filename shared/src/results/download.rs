//! A response, read in parts of one size under a cap.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Response;

use super::StoreError;

/// The size of all parts but the last. S3 wants at least 5 MiB and at most 10,000 parts.
pub(super) const PART_BYTES: usize = 8 * 1024 * 1024;

/// Why a download did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    #[error("no byte came for {} s", .idle.as_secs())]
    Stalled { idle: Duration },
    /// Without the URL, which may hold a secret.
    #[error("the connection failed")]
    Interrupted {
        #[source]
        source: reqwest::Error,
    },
}

pub(super) struct Part {
    pub(super) bytes: Bytes,
    pub(super) is_last: bool,
}

pub(super) struct Download {
    response: Response,
    max_bytes: u64,
    idle: Duration,
    declared: Option<u64>,
    received: u64,
    /// Received, but beyond the part that was full.
    pending: Bytes,
    /// The memory of one part, used again for the next one once that part is let go.
    buffer: BytesMut,
}

impl Download {
    /// Refuses answers other than 2xx and a `Content-Length` over `max_bytes`, before reading anything.
    pub(super) fn new(response: Response, max_bytes: u64, idle: Duration) -> Result<Self, StoreError> {
        let status = response.status();
        if !status.is_success() {
            return Err(StoreError::Refused { status: status.as_u16() });
        }
        let declared = response.content_length();
        if declared.is_some_and(|declared| declared > max_bytes) {
            return Err(StoreError::TooLarge { limit: max_bytes });
        }
        let (pending, buffer) = (Bytes::new(), BytesMut::new());
        Ok(Self { response, max_bytes, idle, declared, received: 0, pending, buffer })
    }

    /// The next [`PART_BYTES`], or what is left.
    pub(super) async fn next_part(&mut self) -> Result<Part, StoreError> {
        self.buffer.reserve(PART_BYTES);
        loop {
            let room = PART_BYTES - self.buffer.len();
            let taken = self.pending.split_to(room.min(self.pending.len()));
            self.buffer.extend_from_slice(&taken);
            if !self.pending.is_empty() {
                return Ok(Part { bytes: self.buffer.split().freeze(), is_last: false });
            }
            match self.next_chunk().await? {
                Some(chunk) => self.pending = chunk,
                None => {
                    return Ok(Part { bytes: self.buffer.split().freeze(), is_last: true });
                }
            }
        }
    }

    async fn next_chunk(&mut self) -> Result<Option<Bytes>, StoreError> {
        let Ok(chunk) = tokio::time::timeout(self.idle, self.response.chunk()).await else {
            return Err(StoreError::Download { source: DownloadError::Stalled { idle: self.idle } });
        };
        let missing = self.declared.filter(|declared| *declared > self.received);
        match (chunk, missing) {
            (Ok(Some(chunk)), _) => {
                self.received += chunk.len() as u64;
                if self.received > self.max_bytes {
                    return Err(StoreError::TooLarge { limit: self.max_bytes });
                }
                Ok(Some(chunk))
            }
            (Ok(None), None) => Ok(None),
            (Err(error), Some(_)) if error.is_timeout() => Err(interrupted(error)),
            (Ok(None) | Err(_), Some(expected)) => Err(StoreError::Truncated { expected, received: self.received }),
            (Err(error), None) => Err(interrupted(error)),
        }
    }
}

fn interrupted(error: reqwest::Error) -> StoreError {
    StoreError::Download { source: DownloadError::Interrupted { source: error.without_url() } }
}
