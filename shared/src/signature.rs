//! Who says so: signatures of callbacks, tokens in callback addresses, hashes of API keys.

use aws_lc_rs::{constant_time, digest, hmac, signature};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::ids::GenerationId;

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
    /// Our own secret cannot be used.
    #[error("the webhook secret is not `whsec_` followed by base64")]
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

fn fresh(headers: &impl Headers, name: &'static str, now: Timestamp, tolerance: SignedDuration) -> Result<(), SignatureError> {
    let seconds: i64 = needed(headers, name)?.parse().map_err(|_| SignatureError::Malformed(name))?;
    let at = Timestamp::from_second(seconds).map_err(|_| SignatureError::Malformed(name))?;
    if now.duration_since(at).abs() > tolerance { Err(SignatureError::Stale) } else { Ok(()) }
}

/// Standard Webhooks (<https://www.standardwebhooks.com>), as Replicate signs: HMAC-SHA256 over `id.timestamp.body`, base64, any of the
/// space-separated `v1,…` entries of `webhook-signature`.
pub fn verify_standard_webhook(
    secret: &str,
    headers: &impl Headers,
    body: &[u8],
    now: Timestamp,
    tolerance: SignedDuration,
) -> Result<(), SignatureError> {
    let key = secret.strip_prefix("whsec_").ok_or(SignatureError::BadSecret)?;
    let key = STANDARD.decode(key).map_err(|_| SignatureError::BadSecret)?;
    let id = needed(headers, "webhook-id")?;
    let timestamp = needed(headers, "webhook-timestamp")?;
    let signatures = needed(headers, "webhook-signature")?;
    fresh(headers, "webhook-timestamp", now, tolerance)?;
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let valid = signatures
        .split(' ')
        .filter_map(|entry| STANDARD.decode(entry.strip_prefix("v1,")?).ok())
        .any(|candidate| hmac::verify(&key, &signed, &candidate).is_ok());
    if valid { Ok(()) } else { Err(SignatureError::Wrong) }
}

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
    let user = needed(headers, "x-fal-webhook-user-id")?;
    let timestamp = needed(headers, "x-fal-webhook-timestamp")?;
    let given = needed(headers, "x-fal-webhook-signature")?;
    let given = hex::decode(given).map_err(|_| SignatureError::Malformed("x-fal-webhook-signature"))?;
    fresh(headers, "x-fal-webhook-timestamp", now, tolerance)?;
    let digest = hex::encode(digest::digest(&digest::SHA256, body));
    let message = [request, user, timestamp, &digest].join("\n");
    let fits =
        |key: &Ed25519Key| signature::UnparsedPublicKey::new(&signature::ED25519, key).verify(message.as_bytes(), &given).is_ok();
    if keys.iter().any(fits) { Ok(()) } else { Err(SignatureError::Wrong) }
}

/// The header of fal's webhooks that names the job.
pub const FAL_REQUEST_ID: &str = "x-fal-webhook-request-id";

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

#[cfg(test)]
mod tests {
    use super::*;

    struct Given(Vec<(&'static str, String)>);

    impl Headers for Given {
        fn header(&self, name: &str) -> Option<&str> {
            self.0.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
        }
    }

    impl Given {
        fn with(mut self, name: &'static str, value: &str) -> Self {
            self.0.retain(|(own, _)| *own != name);
            self.0.push((name, value.to_owned()));
            self
        }
    }

    const TOLERANCE: SignedDuration = SignedDuration::from_secs(300);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    // The vector that Replicate's JavaScript client tests itself with.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SENT: i64 = 1_614_265_330;

    fn replicate() -> Given {
        Given(Vec::new())
            .with("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
            .with("webhook-timestamp", "1614265330")
            .with("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    }

    #[test]
    fn standard_webhooks_vector() {
        let verify =
            |secret, headers: Given, body: &[u8], now| verify_standard_webhook(secret, &headers, body, at(now), TOLERANCE);
        assert_eq!(verify(SECRET, replicate(), BODY, SENT + 299), Ok(()));
        let many = "v1,AAAA v2,x v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(verify(SECRET, replicate().with("webhook-signature", many), BODY, SENT), Ok(()));
        assert_eq!(verify(SECRET, replicate(), BODY, SENT + 301), Err(SignatureError::Stale));
        assert_eq!(verify(SECRET, replicate(), BODY, SENT - 301), Err(SignatureError::Stale));
        assert_eq!(verify(SECRET, replicate(), br#"{"test": 2432232315}"#, SENT), Err(SignatureError::Wrong));
        assert_eq!(verify(SECRET, replicate().with("webhook-id", "msg_other"), BODY, SENT), Err(SignatureError::Wrong));
        let wrong_key = "whsec_AfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert_eq!(verify(wrong_key, replicate(), BODY, SENT), Err(SignatureError::Wrong));
        assert_eq!(verify("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", replicate(), BODY, SENT), Err(SignatureError::BadSecret));
        assert_eq!(verify(SECRET, Given(Vec::new()), BODY, SENT), Err(SignatureError::Missing("webhook-id")));
    }

    // Made from the documented rule with the private key 00 01 02 … 1f; checked with another implementation.
    fn fal() -> Given {
        Given(Vec::new())
            .with("x-fal-webhook-request-id", "req-1")
            .with("x-fal-webhook-user-id", "user-1")
            .with("x-fal-webhook-timestamp", "1800000000")
            .with(
                "x-fal-webhook-signature",
                "af5f2a363fd1e28d7c8aed4f0efafd858e5c4c2432669b49becee54a8950604a830f292c71e37f2d5b9347f24d24889480443792b2592eda691edd32361e0003",
            )
    }

    #[test]
    fn fal_vector() {
        let jwks = br#"{"keys":[{"kty":"RSA","n":"x"},{"kty":"OKP","crv":"Ed25519","x":"A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"}]}"#;
        let keys = read_jwks(jwks).expect("a key set");
        assert_eq!(keys.len(), 1);
        let body: &[u8] = br#"{"request_id":"req-1","status":"OK"}"#;
        let verify =
            |keys: &[Ed25519Key], headers: Given, body: &[u8], now| verify_fal_webhook(keys, &headers, body, at(now), TOLERANCE);
        assert_eq!(verify(&keys, fal(), body, 1_800_000_300), Ok(()));
        assert_eq!(verify(&[[9; 32], keys[0]], fal(), body, 1_800_000_000), Ok(()));
        assert_eq!(verify(&keys, fal(), body, 1_800_000_301), Err(SignatureError::Stale));
        assert_eq!(verify(&keys, fal(), br#"{"request_id":"req-1","status":"ok"}"#, 1_800_000_000), Err(SignatureError::Wrong));
        assert_eq!(verify(&keys, fal().with("x-fal-webhook-user-id", "user-2"), body, 1_800_000_000), Err(SignatureError::Wrong));
        assert_eq!(verify(&[[9; 32]], fal(), body, 1_800_000_000), Err(SignatureError::Wrong));
        assert_eq!(verify(&[], fal(), body, 1_800_000_000), Err(SignatureError::Wrong));
        let malformed = fal().with("x-fal-webhook-signature", "zz");
        assert_eq!(verify(&keys, malformed, body, 1_800_000_000), Err(SignatureError::Malformed("x-fal-webhook-signature")));
    }

    #[test]
    fn a_callback_token_is_good_for_one_attempt_only() {
        let generation = GenerationId::from_parts(1, [1; 10]);
        let token = callback_token("secret", "fal", generation, 2);
        assert_eq!(read_callback_token("secret", "fal", generation, &token), Some(2));
        assert_eq!(read_callback_token("secret", "replicate", generation, &token), None);
        assert_eq!(read_callback_token("other", "fal", generation, &token), None);
        assert_eq!(read_callback_token("secret", "fal", GenerationId::from_parts(2, [1; 10]), &token), None);
        assert_eq!(read_callback_token("secret", "fal", generation, &token.replacen('2', "3", 1)), None);
        assert_eq!(read_callback_token("secret", "fal", generation, "2"), None);
    }
}
