//! Providers' public keys, fetched and remembered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::http_guard::{Outbound, read_capped};
use crate::signature::{Ed25519Key, read_jwks};

/// The key sets that this process has fetched, by URL.
#[derive(Debug, Clone, Default)]
pub struct KeySets(Arc<tokio::sync::Mutex<HashMap<String, Fetched>>>);

#[derive(Debug, Clone)]
struct Fetched {
    keys: Vec<Ed25519Key>,
    at: Timestamp,
}

/// fal allows a day; an hour makes a withdrawn key useless sooner.
const KEEP: SignedDuration = SignedDuration::from_hours(1);
/// Bad signatures must not make us fetch again and again.
const NOT_BEFORE: SignedDuration = SignedDuration::from_secs(60);
const MAX_BYTES: usize = 256 * 1024;

/// The key set could not be fetched.
#[derive(Debug, thiserror::Error)]
#[error("the provider's public keys cannot be had: {0}")]
pub struct KeysUnavailable(String);

impl KeySets {
    /// The keys, and whether they come from memory and may be fetched anew.
    pub async fn get(&self, outbound: &Outbound, url: &str, now: Timestamp) -> Result<(Vec<Ed25519Key>, bool), KeysUnavailable> {
        let mut sets = self.0.lock().await;
        if let Some(set) = sets.get(url).filter(|set| now.duration_since(set.at) < KEEP) {
            return Ok((set.keys.clone(), now.duration_since(set.at) > NOT_BEFORE));
        }
        let keys = fetch(outbound, url).await?;
        sets.insert(url.to_owned(), Fetched { keys: keys.clone(), at: now });
        Ok((keys, false))
    }

    /// Forgets a set: the provider may have changed its keys.
    pub async fn forget(&self, url: &str) {
        self.0.lock().await.remove(url);
    }
}

async fn fetch(outbound: &Outbound, url: &str) -> Result<Vec<Ed25519Key>, KeysUnavailable> {
    let checked = outbound.check(url).map_err(|error| KeysUnavailable(error.to_string()))?;
    let request = outbound.api().get(checked).timeout(Duration::from_secs(5));
    let response = request.send().await.and_then(reqwest::Response::error_for_status);
    let response = response.map_err(|error| KeysUnavailable(error.without_url().to_string()))?;
    let bytes = read_capped(response, MAX_BYTES).await.map_err(|error| KeysUnavailable(error.to_string()))?;
    read_jwks(&bytes).map_err(|error| KeysUnavailable(error.to_string()))
}
