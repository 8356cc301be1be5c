//! Who says so: signatures of callbacks, tokens in callback addresses, hashes of API keys.

use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};

use crate::ids::GenerationId;

mod fal;
mod kie;
mod openrouter;
mod standard;
#[cfg(test)]
mod tests;
mod wavespeed;

pub use fal::{Ed25519Key, FAL_REQUEST_ID, read_jwks, verify_fal_webhook};
pub use kie::verify_kie_webhook;
pub use openrouter::verify_openrouter_webhook;
pub use standard::verify_standard_webhook;
pub use wavespeed::verify_wavespeed_webhook;

/// Why a callback is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is missing.
    #[error("the header `{0}` is missing")]
    Missing(&'static str),
    /// A header is not what it should be.
    #[error("the header `{0}` is malformed")]
    Malformed(&'static str),
    /// Too old, or from the future.
    #[error("the signature's time is too far from now")]
    Stale,
    /// It does not fit the content.
    #[error("the signature is wrong")]
    Wrong,
    /// Our own secret is empty, or lacks the prefix or the encoding that the provider gives it.
    #[error("the webhook secret is not one that this provider issues; copy it again from the provider, whole")]
    BadSecret,
}

/// The headers of a callback.
pub trait Headers {
    /// The value of a header, by its lowercase name.
    fn header(&self, name: &str) -> Option<&str>;
}

impl Headers for http::HeaderMap {
    fn header(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| value.to_str().ok())
    }
}

fn needed<'a>(headers: &'a impl Headers, name: &'static str) -> Result<&'a str, SignatureError> {
    headers.header(name).ok_or(SignatureError::Missing(name))
}

/// Whether the unix seconds that the header `name` gives are at most `tolerance` away from `now`, before or after.
fn fresh(seconds: &str, name: &'static str, now: Timestamp, tolerance: SignedDuration) -> Result<(), SignatureError> {
    let seconds: i64 = seconds.parse().map_err(|_| SignatureError::Malformed(name))?;
    let at = Timestamp::from_second(seconds).map_err(|_| SignatureError::Malformed(name))?;
    if now.duration_since(at).abs() > tolerance { Err(SignatureError::Stale) } else { Ok(()) }
}

/// HMAC-SHA256 over all the parts. An empty key is refused: with it anybody can sign.
pub(crate) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Result<hmac::Tag, SignatureError> {
    if key.is_empty() {
        return Err(SignatureError::BadSecret);
    }
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    Ok(context.sign())
}

/// Compares in constant time.
pub(crate) fn fits(expected: &hmac::Tag, given: &[u8]) -> Result<(), SignatureError> {
    constant_time::verify_slices_are_equal(expected.as_ref(), given).map_err(|_| SignatureError::Wrong)
}

/// The last part of a callback address: the attempt, and an HMAC that nobody else can make for this provider, generation and attempt.
pub fn callback_token(secret: &str, provider: &str, generation: GenerationId, attempt: u32) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("callback/{provider}/{generation}/{attempt}").as_bytes());
    format!("{attempt}-{}", URL_SAFE_NO_PAD.encode(&tag.as_ref()[..24]))
}

/// The attempt that a token was made for, if it is one of ours.
pub fn read_callback_token(secret: &str, provider: &str, generation: GenerationId, token: &str) -> Option<u32> {
    let attempt = token.split_once('-')?.0.parse().ok()?;
    let expected = callback_token(secret, provider, generation, attempt);
    constant_time::verify_slices_are_equal(expected.as_bytes(), token.as_bytes()).ok().map(|()| attempt)
}

/// SHA-256 in hexadecimal: how API keys, idempotency keys and payloads are kept.
pub fn fingerprint(text: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, text))
}
