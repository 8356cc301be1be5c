//! Steps after a provider: its picture in the format that was promised.

use shared::backend::Backend;
use shared::draw::Format;
use shared::generation::Generation;
use shared::media;
use shared::results::{Head, StoreError, Stored};

use crate::{Missed, missed};

/// The largest picture that is converted, in bytes.
const MAX_BYTES: u64 = 100_000_000;

/// The result as the order has it. A picture that cannot be converted stays as it came: it is paid for. One that the bucket does not give
/// now is worth another try.
pub(super) async fn finished(
    backend: &Backend,
    generation: &Generation,
    stored: Stored,
    key_stem: &str,
) -> Result<Stored, Missed> {
    let wanted = generation.order.finish.image_format.and_then(|format| Format::parse(format.content_type()));
    let Some(format) = wanted.filter(|format| format.content_type() != stored.content_type) else { return Ok(stored) };
    let key = format!("{key_stem}.{}", format.extension());
    let stays = |why: &dyn std::fmt::Display| {
        tracing::warn!(generation = %generation.id, content_type = stored.content_type, %why, "a result stays in its format");
    };
    let picture = match backend.bucket.get(&stored.key, MAX_BYTES).await {
        Ok(picture) => picture,
        // A worker that died after it had converted it, before that was written down.
        Err(StoreError::NotFound { .. }) => return done_before(backend, key).await,
        Err(error @ StoreError::TooLarge { .. }) => {
            stays(&error);
            return Ok(stored);
        }
        Err(error) => return Err(missed(&error)),
    };
    let bytes = match tokio::task::spawn_blocking(move || media::convert(&picture, format.into())).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => {
            stays(&error);
            return Ok(stored);
        }
        Err(error) => {
            stays(&error);
            return Ok(stored);
        }
    };
    let put = backend.bucket.put(&key, bytes, format.content_type()).await.map_err(|error| missed(&error))?;
    // What it was made of is not the result; what cannot be deleted goes with it, since both have one stem.
    if let Err(error) = backend.bucket.delete(&stored.key).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "a converted result's original was not deleted");
    }
    Ok(put)
}

async fn done_before(backend: &Backend, key: String) -> Result<Stored, Missed> {
    match backend.bucket.head(&key).await.map_err(|error| missed(&error))? {
        Some(Head { bytes, content_type }) => Ok(Stored { key, bytes, content_type }),
        None => Err(Missed::Never("neither the picture nor the converted one is there".to_owned())),
    }
}
