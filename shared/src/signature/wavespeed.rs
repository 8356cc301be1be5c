//! WaveSpeed: the headers of Standard Webhooks, another signature.

use jiff::{SignedDuration, Timestamp};

use super::{Headers, SignatureError, fits, fresh, hmac_sha256, needed};

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// WaveSpeed's webhooks: `webhook-signature` is `v3,<hex>`, HMAC-SHA256 over `id.timestamp.body`. Unlike Standard Webhooks, the key is the
/// text after `whsec_` as it is, not what it would be as base64. Source: WaveSpeed's documentation, "Verify Webhooks".
pub fn verify_wavespeed_webhook(
    secret: &str,
    headers: &impl Headers,
    body: &[u8],
    now: Timestamp,
    tolerance: SignedDuration,
) -> Result<(), SignatureError> {
    let key = secret.strip_prefix("whsec_").ok_or(SignatureError::BadSecret)?;
    let id = needed(headers, ID)?;
    let timestamp = needed(headers, TIMESTAMP)?;
    let malformed = SignatureError::Malformed(SIGNATURE);
    let given = needed(headers, SIGNATURE)?.strip_prefix("v3,").ok_or(malformed)?;
    let given = hex::decode(given).map_err(|_| malformed)?;
    fresh(timestamp, TIMESTAMP, now, tolerance)?;
    fits(&hmac_sha256(key.as_bytes(), &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body])?, &given)
}
