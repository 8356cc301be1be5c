//! OpenRouter: HMAC over the time and the body, both in one header.

use jiff::{SignedDuration, Timestamp};

use super::{Headers, SignatureError, fits, fresh, hmac_sha256, needed};

const SIGNATURE: &str = "x-openrouter-signature";

/// OpenRouter's webhooks: `t=<unix seconds>,v1=<hex>`, HMAC-SHA256 over `timestamp,body`; the joiner is a comma. Source: OpenRouter's
/// video generation guide. The header is sent only when the workspace has a signing secret.
pub fn verify_openrouter_webhook(
    secret: &str,
    headers: &impl Headers,
    body: &[u8],
    now: Timestamp,
    tolerance: SignedDuration,
) -> Result<(), SignatureError> {
    let header = needed(headers, SIGNATURE)?;
    let malformed = SignatureError::Malformed(SIGNATURE);
    let timestamp = part(header, "t").ok_or(malformed)?;
    let given = hex::decode(part(header, "v1").ok_or(malformed)?).map_err(|_| malformed)?;
    fresh(timestamp, SIGNATURE, now, tolerance)?;
    fits(&hmac_sha256(secret.as_bytes(), &[timestamp.as_bytes(), b",", body])?, &given)
}

/// The value of `name=value` in a comma-separated list, if it is there exactly once.
fn part<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let mut values = header.split(',').filter_map(|part| part.trim().split_once('=')).filter(|(own, _)| *own == name);
    let (_, value) = values.next()?;
    values.next().is_none().then_some(value)
}
