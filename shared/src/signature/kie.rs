//! Kie: HMAC over the task's id and the time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};

use super::{Headers, SignatureError, fits, fresh, hmac_sha256, needed};

const TIMESTAMP: &str = "x-webhook-timestamp";
const SIGNATURE: &str = "x-webhook-signature";

/// Kie's callbacks: base64 of HMAC-SHA256 over `task id.timestamp`, with the `webhookHmacKey` as text for the key. Source: Kie's
/// documentation, "Webhook Verification".
///
/// **The body is not covered**: whoever saw one callback can send another body under its headers while they are fresh. This proves no more
/// than that Kie spoke of `task_id`; what became of the task has to be asked of Kie. Kie does not say how old the time of a late retry is,
/// so after [`SignatureError::Stale`] the task has to be asked for as well.
pub fn verify_kie_webhook(
    secret: &str,
    headers: &impl Headers,
    task_id: &str,
    now: Timestamp,
    tolerance: SignedDuration,
) -> Result<(), SignatureError> {
    let timestamp = needed(headers, TIMESTAMP)?;
    let given = STANDARD.decode(needed(headers, SIGNATURE)?).map_err(|_| SignatureError::Malformed(SIGNATURE))?;
    fresh(timestamp, TIMESTAMP, now, tolerance)?;
    fits(&hmac_sha256(secret.as_bytes(), &[task_id.as_bytes(), b".", timestamp.as_bytes()])?, &given)
}
