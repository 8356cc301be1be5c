//! Standard Webhooks: how Replicate, OpenAI and Gemini (its static webhooks) sign.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};

use super::{Headers, SignatureError, fits, fresh, hmac_sha256, needed};

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// Standard Webhooks (<https://www.standardwebhooks.com>): HMAC-SHA256 over `id.timestamp.body`, base64, any of the space-separated `v1,…`
/// entries of `webhook-signature`. The key is the base64 after `whsec_`; a secret without that prefix is the key itself, byte for byte
/// (source: OpenAI's Python client, `lib/_webhooks.py`).
pub fn verify_standard_webhook(
    secret: &str,
    headers: &impl Headers,
    body: &[u8],
    now: Timestamp,
    tolerance: SignedDuration,
) -> Result<(), SignatureError> {
    let key = match secret.strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| SignatureError::BadSecret)?,
        None => secret.as_bytes().to_vec(),
    };
    let id = needed(headers, ID)?;
    let timestamp = needed(headers, TIMESTAMP)?;
    let signatures = needed(headers, SIGNATURE)?;
    fresh(timestamp, TIMESTAMP, now, tolerance)?;
    let expected = hmac_sha256(&key, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body])?;
    let candidates = signatures.split(' ').filter_map(|entry| STANDARD.decode(entry.strip_prefix("v1,")?).ok());
    candidates.map(|given| fits(&expected, &given)).find(Result::is_ok).unwrap_or(Err(SignatureError::Wrong))
}
