//! The simulators' own keys, and the signatures made with them.

use std::path::Path;

use anyhow::Context;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use aws_lc_rs::{digest, hmac};
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::clock::random_bytes;

/// The account that fal names in its callbacks.
pub(super) const FAL_USER: &str = "simulated-user";

/// What is kept in the key file.
#[derive(Serialize, Deserialize)]
struct KeyFile {
    replicate_token: String,
    /// `whsec_` and base64.
    replicate_secret: String,
    fal_key: String,
    /// The Ed25519 seed, hex, 32 bytes.
    fal_seed: String,
}

pub(super) struct Keys {
    file: KeyFile,
    replicate_secret: Vec<u8>,
    fal_pair: Ed25519KeyPair,
}

impl Keys {
    /// Reads the key file, or makes it.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = if path.exists() {
            let text = std::fs::read(path).with_context(|| format!("could not read `{}`", path.display()))?;
            serde_json::from_slice(&text)
                .with_context(|| format!("`{}` is not a key file: delete it, a new one is made", path.display()))?
        } else {
            let file = KeyFile::generate();
            std::fs::write(path, serde_json::to_vec_pretty(&file)?)
                .with_context(|| format!("could not write `{}`", path.display()))?;
            file
        };
        Self::from_file(file).with_context(|| format!("`{}` holds a malformed key: delete it, a new one is made", path.display()))
    }

    fn from_file(file: KeyFile) -> anyhow::Result<Self> {
        let secret = file.replicate_secret.strip_prefix("whsec_").context("the secret lacks `whsec_`")?;
        Ok(Self {
            replicate_secret: BASE64_STANDARD.decode(secret)?,
            fal_pair: Ed25519KeyPair::from_seed_unchecked(&hex::decode(&file.fal_seed)?)?,
            file,
        })
    }

    pub(super) fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![
            ("REPLICATE_API_TOKEN", self.file.replicate_token.clone()),
            ("REPLICATE_WEBHOOK_SECRET", self.file.replicate_secret.clone()),
            ("FAL_KEY", self.file.fal_key.clone()),
        ]
    }

    pub(super) fn replicate_admits(&self, headers: &HeaderMap) -> bool {
        admits(headers, "Bearer ", &self.file.replicate_token)
    }

    pub(super) fn fal_admits(&self, headers: &HeaderMap) -> bool {
        admits(headers, "Key ", &self.file.fal_key)
    }

    /// `whsec_…`, as Replicate's secret endpoint answers it.
    pub(super) fn replicate_secret(&self) -> &str {
        &self.file.replicate_secret
    }

    /// The raw signature of a Replicate callback.
    pub(super) fn sign_replicate(&self, message_id: &str, timestamp_seconds: i64, body: &[u8]) -> Vec<u8> {
        standard_webhooks_signature(&self.replicate_secret, message_id, timestamp_seconds, body)
    }

    /// The raw signature of a fal callback.
    pub(super) fn sign_fal(&self, request_id: &str, timestamp_seconds: i64, body: &[u8]) -> Vec<u8> {
        fal_signature(&self.fal_pair, request_id, FAL_USER, timestamp_seconds, body)
    }

    /// The key set at `rest.fal.ai/.well-known/jwks.json`.
    pub(super) fn fal_jwks(&self) -> Value {
        let x = BASE64_URL_SAFE_NO_PAD.encode(self.fal_pair.public_key().as_ref());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]})
    }
}

impl KeyFile {
    fn generate() -> Self {
        Self {
            replicate_token: format!("r8_simulated{}", hex::encode(random_bytes::<13>())),
            replicate_secret: format!("whsec_{}", BASE64_STANDARD.encode(random_bytes::<24>())),
            fal_key: format!("simulated-{}:{}", hex::encode(random_bytes::<8>()), hex::encode(random_bytes::<16>())),
            fal_seed: hex::encode(random_bytes::<32>()),
        }
    }
}

fn admits(headers: &HeaderMap, scheme: &str, key: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    given.and_then(|value| value.strip_prefix(scheme)) == Some(key)
}

/// Standard Webhooks: HMAC-SHA256 over `{id}.{timestamp}.{body}`.
fn standard_webhooks_signature(secret: &[u8], message_id: &str, timestamp_seconds: i64, body: &[u8]) -> Vec<u8> {
    let mut signed = format!("{message_id}.{timestamp_seconds}.").into_bytes();
    signed.extend_from_slice(body);
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &signed).as_ref().to_vec()
}

/// fal: Ed25519 over request id, user id, timestamp and the body's SHA-256 in hex, joined by newlines.
fn fal_signature(pair: &Ed25519KeyPair, request_id: &str, user_id: &str, timestamp_seconds: i64, body: &[u8]) -> Vec<u8> {
    let hash = hex::encode(digest::digest(&digest::SHA256, body));
    pair.sign(format!("{request_id}\n{user_id}\n{timestamp_seconds}\n{hash}").as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicate_signature_matches_the_client_library_vector() {
        let secret = BASE64_STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature =
            standard_webhooks_signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(BASE64_STANDARD.encode(signature), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn fal_signature_matches_the_documented_rule() {
        let seed: Vec<u8> = (0..32).collect();
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()), "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg");
        let body = br#"{"request_id":"req-1","status":"OK"}"#;
        let signature = fal_signature(&pair, "req-1", "user-1", 1_800_000_000, body);
        assert_eq!(
            hex::encode(signature),
            "af5f2a363fd1e28d7c8aed4f0efafd858e5c4c2432669b49becee54a8950604a830f292c71e37f2d5b9347f24d24889480443792b2592eda691edd32361e0003"
        );
    }

    #[test]
    fn keys_are_made_once_per_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let first = Keys::open(&path).unwrap();
        let second = Keys::open(&path).unwrap();
        assert_eq!(first.credentials(), second.credentials());
        assert_eq!(first.fal_jwks(), second.fal_jwks());
    }
}
