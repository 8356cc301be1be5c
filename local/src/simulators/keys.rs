//! The simulators' own keys, and the signatures made with them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use aws_lc_rs::{digest, hmac};
use axum::http::HeaderMap;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::clock::random_bytes;

use super::lock;
use super::provider::Provider;

/// The account that fal names in its callbacks.
pub(super) const FAL_USER: &str = "simulated-user";

/// What is kept in the key file. Files of earlier versions hold the first four only.
#[derive(Serialize, Deserialize)]
struct KeyFile {
    replicate_token: String,
    /// `whsec_` and base64.
    replicate_secret: String,
    fal_key: String,
    /// The Ed25519 seed, hex, 32 bytes.
    fal_seed: String,
    /// The keys of the other providers.
    #[serde(default)]
    keys: BTreeMap<Provider, String>,
    /// The secrets that the callbacks of the other providers are signed with.
    #[serde(default)]
    secrets: BTreeMap<Provider, String>,
}

pub(super) struct Keys {
    file: KeyFile,
    replicate_secret: Vec<u8>,
    fal_pair: Ed25519KeyPair,
    /// Keys taken besides the one in the file.
    further: Mutex<HashMap<Provider, Vec<String>>>,
}

impl Keys {
    /// Reads the key file and adds what it lacks, or makes it.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut file = if path.exists() {
            let text = std::fs::read(path).with_context(|| format!("could not read `{}`", path.display()))?;
            serde_json::from_slice(&text)
                .with_context(|| format!("`{}` is not a key file: delete it, a new one is made", path.display()))?
        } else {
            KeyFile::generate()
        };
        if file.complete() || !path.exists() {
            std::fs::write(path, serde_json::to_vec_pretty(&file)?)
                .with_context(|| format!("could not write `{}`", path.display()))?;
        }
        Self::from_file(file).with_context(|| format!("`{}` holds a malformed key: delete it, a new one is made", path.display()))
    }

    fn from_file(file: KeyFile) -> anyhow::Result<Self> {
        let secret = file.replicate_secret.strip_prefix("whsec_").context("the secret lacks `whsec_`")?;
        Ok(Self {
            replicate_secret: BASE64_STANDARD.decode(secret)?,
            fal_pair: Ed25519KeyPair::from_seed_unchecked(&hex::decode(&file.fal_seed)?)?,
            further: Mutex::default(),
            file,
        })
    }

    pub(super) fn credentials(&self) -> Vec<(&'static str, String)> {
        let mut credentials = Vec::new();
        for provider in Provider::ALL {
            credentials.push((provider.key_env(), self.key(provider).to_owned()));
            if let Some(name) = provider.secret_env() {
                credentials.push((name, self.secret(provider).to_owned()));
            }
        }
        credentials
    }

    /// Takes `key` from now on, besides those taken already.
    pub(super) fn accept(&self, provider: Provider, key: &str) {
        lock(&self.further).entry(provider).or_default().push(key.to_owned());
    }

    /// Which key a request carries: `primary`, or `further-1` for the first one accepted besides. None when it is not taken.
    pub(super) fn label(&self, provider: Provider, headers: &HeaderMap) -> Option<String> {
        let given = provider.key_of(headers)?;
        if given == self.key(provider) {
            return Some("primary".to_owned());
        }
        let further = lock(&self.further);
        let index = further.get(&provider)?.iter().position(|key| key == given)?;
        Some(format!("further-{}", index + 1))
    }

    pub(super) fn admits(&self, provider: Provider, headers: &HeaderMap) -> bool {
        self.label(provider, headers).is_some()
    }

    fn key(&self, provider: Provider) -> &str {
        match provider {
            Provider::Replicate => &self.file.replicate_token,
            Provider::Fal => &self.file.fal_key,
            Provider::Kie
            | Provider::Minimax
            | Provider::Wavespeed
            | Provider::Stability
            | Provider::Huggingface
            | Provider::Openai
            | Provider::Openrouter
            | Provider::Gemini => &self.file.keys[&provider],
        }
    }

    /// The secret as the provider's users get it. Only for providers that have one.
    pub(super) fn secret(&self, provider: Provider) -> &str {
        if provider == Provider::Replicate { &self.file.replicate_secret } else { &self.file.secrets[&provider] }
    }

    /// The raw signature of a Replicate callback.
    pub(super) fn sign_replicate(&self, message_id: &str, timestamp_seconds: i64, body: &[u8]) -> Vec<u8> {
        standard_webhooks_signature(&self.replicate_secret, message_id, timestamp_seconds, body)
    }

    /// The raw signature of a fal callback.
    pub(super) fn sign_fal(&self, request_id: &str, timestamp_seconds: i64, body: &[u8]) -> Vec<u8> {
        fal_signature(&self.fal_pair, request_id, FAL_USER, timestamp_seconds, body)
    }

    /// The raw signature of a Kie callback: the body is not covered.
    pub(super) fn sign_kie(&self, task_id: &str, timestamp_seconds: i64) -> Vec<u8> {
        hmac_sha256(self.secret(Provider::Kie), &format!("{task_id}.{timestamp_seconds}"), b"")
    }

    /// The raw signature of a WaveSpeed callback. The text after `whsec_` is the key as it stands.
    pub(super) fn sign_wavespeed(&self, message_id: &str, timestamp_seconds: i64, body: &[u8]) -> Vec<u8> {
        let secret = self.secret(Provider::Wavespeed);
        let key = secret.strip_prefix("whsec_").unwrap_or(secret);
        hmac_sha256(key, &format!("{message_id}.{timestamp_seconds}."), body)
    }

    /// The raw signature of an OpenRouter callback. Time and body are joined by a comma.
    pub(super) fn sign_openrouter(&self, timestamp_seconds: i64, body: &[u8]) -> Vec<u8> {
        hmac_sha256(self.secret(Provider::Openrouter), &format!("{timestamp_seconds},"), body)
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
            keys: BTreeMap::new(),
            secrets: BTreeMap::new(),
        }
    }

    /// Adds the keys and secrets that are missing; whether there were any.
    fn complete(&mut self) -> bool {
        let before = (self.keys.len(), self.secrets.len());
        for provider in Provider::ALL {
            let start = match provider {
                Provider::Replicate | Provider::Fal => continue,
                Provider::Kie | Provider::Wavespeed => "",
                Provider::Minimax => "sk-api-",
                Provider::Stability | Provider::Openai => "sk-",
                Provider::Huggingface => "hf_",
                Provider::Openrouter => "sk-or-v1-",
                Provider::Gemini => "AIza",
            };
            let key = || format!("{start}simulated{}", hex::encode(random_bytes::<16>()));
            self.keys.entry(provider).or_insert_with(key);
            if provider.secret_env().is_some() {
                let start = if provider == Provider::Wavespeed { "whsec_" } else { "" };
                let secret = || format!("{start}{}", hex::encode(random_bytes::<16>()));
                self.secrets.entry(provider).or_insert_with(secret);
            }
        }
        before != (self.keys.len(), self.secrets.len())
    }
}

fn hmac_sha256(key: &str, start: &str, body: &[u8]) -> Vec<u8> {
    let message = [start.as_bytes(), body].concat();
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), &message).as_ref().to_vec()
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

    /// Keys whose secret of `provider` is `secret`.
    fn with_secret(provider: Provider, secret: &str) -> Keys {
        let mut file = KeyFile::generate();
        file.secrets.insert(provider, secret.to_owned());
        file.complete();
        Keys::from_file(file).unwrap()
    }

    #[test]
    fn other_signatures_match_the_vectors_of_the_documented_rules() {
        let kie = with_secret(Provider::Kie, "key").sign_kie("task_1", 1_755_599_644);
        assert_eq!(BASE64_STANDARD.encode(kie), "ah+0/LfIkAkLknpLmIO+lxyIOCXQwQBKFbPRbVYqDXA=");
        let wavespeed = with_secret(Provider::Wavespeed, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signature = wavespeed.sign_wavespeed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(hex::encode(signature), "10b86a1b42aed60c0e7357f88f229da774851852c039d27d6efa562dc8826a42");
        let openrouter = with_secret(Provider::Openrouter, "secret").sign_openrouter(1_755_599_644, br#"{"a":1}"#);
        assert_eq!(hex::encode(openrouter), "a910d8d3572e3165ef02e742ca4addb769844640813b88ab65468216177fcac0");
    }

    #[test]
    fn key_file_of_an_earlier_version_keeps_its_keys_and_gains_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let old = json!({
            "replicate_token": "r8_old", "replicate_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "fal_key": "old:key", "fal_seed": hex::encode([7_u8; 32]),
        });
        std::fs::write(&path, old.to_string()).unwrap();
        let credentials = Keys::open(&path).unwrap().credentials();
        assert!(credentials.contains(&("REPLICATE_API_TOKEN", "r8_old".to_owned())));
        assert!(credentials.contains(&("FAL_KEY", "old:key".to_owned())));
        assert_eq!(credentials.len(), 14);
        assert!(credentials.iter().all(|(_, value)| !value.is_empty()));
        assert_eq!(Keys::open(&path).unwrap().credentials(), credentials);
    }

    #[test]
    fn further_keys_are_told_apart() {
        let keys = with_secret(Provider::Kie, "key");
        keys.accept(Provider::Gemini, "one");
        keys.accept(Provider::Gemini, "two");
        let label = |name: &'static str, value: String| {
            keys.label(Provider::Gemini, &HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]))
        };
        let primary = keys.key(Provider::Gemini).to_owned();
        assert_eq!(label("x-goog-api-key", primary.clone()).as_deref(), Some("primary"));
        assert_eq!(label("x-goog-api-key", "two".to_owned()).as_deref(), Some("further-2"));
        assert_eq!(label("x-goog-api-key", "three".to_owned()), None);
        assert_eq!(label("authorization", format!("Bearer {primary}")), None);
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
