//! Steps after a provider: its picture in the format that was promised.

use shared::backend::Backend;
use shared::draw::Format;
use shared::generation::Generation;
use shared::media;
use shared::results::{Head, StoreError, Stored};

/// The largest picture that is converted, in bytes.
const MAX_BYTES: u64 = 100_000_000;

/// The result as the order has it. A picture that cannot be converted stays as it came: it is paid for.
pub(super) async fn finished(backend: &Backend, generation: &Generation, stored: Stored, key_stem: &str) -> Stored {
    let wanted = generation.order.finish.image_format.and_then(|format| Format::parse(format.content_type()));
    let Some(format) = wanted.filter(|format| format.content_type() != stored.content_type) else { return stored };
    match converted(backend, &stored, format, key_stem).await {
        Ok(converted) => converted,
        Err(why) => {
            tracing::warn!(generation = %generation.id, content_type = stored.content_type, why, "a result stays in its format");
            stored
        }
    }
}

async fn converted(backend: &Backend, stored: &Stored, format: Format, key_stem: &str) -> Result<Stored, String> {
    let key = format!("{key_stem}.{}", format.extension());
    let picture = match backend.bucket.get(&stored.key, MAX_BYTES).await {
        Ok(picture) => picture,
        // A worker that died after it had converted it, before that was written down.
        Err(StoreError::NotFound { .. }) => return done_before(backend, key).await,
        Err(error) => return Err(error.to_string()),
    };
    let converting = tokio::task::spawn_blocking(move || media::convert(&picture, format.into()));
    let bytes = converting.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let put = backend.bucket.put(&key, bytes, format.content_type()).await.map_err(|error| error.to_string())?;
    // What it was made of is not the result; what cannot be deleted goes with it, since both have one stem.
    if let Err(error) = backend.bucket.delete(&stored.key).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "a converted result's original was not deleted");
    }
    Ok(put)
}

async fn done_before(backend: &Backend, key: String) -> Result<Stored, String> {
    let head = backend.bucket.head(&key).await.map_err(|error| error.to_string())?;
    let Head { bytes, content_type } = head.ok_or("neither the picture nor the converted one is there")?;
    Ok(Stored { key, bytes, content_type })
}
