//! fal: Ed25519 with public keys that fal publishes.

use aws_lc_rs::{digest, signature};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{Headers, SignatureError, fresh, needed};

/// The header of fal's webhooks that names the job.
pub const FAL_REQUEST_ID: &str = "x-fal-webhook-request-id";
const USER: &str = "x-fal-webhook-user-id";
const TIMESTAMP: &str = "x-fal-webhook-timestamp";
const SIGNATURE: &str = "x-fal-webhook-signature";

/// An Ed25519 public key.
pub type Ed25519Key = [u8; 32];

/// The Ed25519 keys of a JWK set (RFC 7517, RFC 8037); other keys are passed over.
pub fn read_jwks(text: &[u8]) -> Result<Vec<Ed25519Key>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Jwk>,
    }
    #[derive(Deserialize)]
    struct Jwk {
        kty: String,
        crv: Option<String>,
        x: Option<String>,
    }
    let set: Set = serde_json::from_slice(text)?;
    let ed25519 = set.keys.into_iter().filter(|key| key.kty == "OKP" && key.crv.as_deref() == Some("Ed25519"));
    Ok(ed25519.filter_map(|key| URL_SAFE_NO_PAD.decode(key.x?).ok()?.try_into().ok()).collect())
}

/// fal's webhooks: Ed25519 over `request id \n user id \n timestamp \n hex(sha256(body))`; any of the keys. Source: fal's documentation,
/// "Webhooks". The body's `request_id` has to be compared with the header by the caller.
pub fn verify_fal_webhook(
    keys: &[Ed25519Key],
    headers: &impl Headers,
    body: &[u8],
    now: Timestamp,
    tolerance: SignedDuration,
) -> Result<(), SignatureError> {
    let request = needed(headers, FAL_REQUEST_ID)?;
    let user = needed(headers, USER)?;
    let timestamp = needed(headers, TIMESTAMP)?;
    let given = hex::decode(needed(headers, SIGNATURE)?).map_err(|_| SignatureError::Malformed(SIGNATURE))?;
    fresh(timestamp, TIMESTAMP, now, tolerance)?;
    let digest = hex::encode(digest::digest(&digest::SHA256, body));
    let message = [request, user, timestamp, &digest].join("\n");
    let fits =
        |key: &Ed25519Key| signature::UnparsedPublicKey::new(&signature::ED25519, key).verify(message.as_bytes(), &given).is_ok();
    if keys.iter().any(fits) { Ok(()) } else { Err(SignatureError::Wrong) }
}
