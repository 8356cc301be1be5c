//! What the simulators saw and sent.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Mutex;

use axum::http::HeaderMap;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::lock;
use super::provider::Provider;

/// Newest entries kept of each kind.
const MAX_ENTRIES: usize = 20_000;
/// Longer strings of a body are kept by their beginning only, in bytes: data URIs would fill the memory.
const MAX_STRING_BYTES: usize = 4_096;

/// One submit request and what it was answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Submit {
    /// The provider's name: `replicate`, `fal`, `kie`, …
    pub provider: &'static str,
    /// The provider's own path, without the query: `/v1/predictions`, `/fal-ai/flux/dev`.
    pub path: String,
    /// Headers that steer the provider, with lower-case names. Never the authorization.
    pub headers: BTreeMap<String, String>,
    /// The body, null when it was neither JSON nor multipart. Strings above 4096 bytes are shortened. Of a multipart body the
    /// parts by name: their text, or `{"file": name, "content_type": type, "bytes": n}`; a list where a name is repeated.
    pub body: Value,
    /// Where the callback is to go, if the request asked for one.
    pub callback_url: Option<String>,
    /// The job made, none if the submit was refused.
    pub job: Option<String>,
    /// Which key was used: `primary`, or `further-1` for the first one taken besides it. None when it is not a key at all.
    pub key: Option<String>,
    /// When it came, on the simulators' clock.
    pub at: Timestamp,
    /// The HTTP status answered; 0 as long as the answer has not come.
    pub status: u16,
}

/// One attempt to deliver a callback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallbackDelivery {
    /// The provider's name: `replicate`, `fal`, `kie`, …
    pub provider: &'static str,
    pub job: String,
    pub url: String,
    /// `end`, or what MiniMax sends before it: `challenge`, `start`.
    pub event: &'static str,
    /// 1 for the job's first send; repeats of every kind count on.
    pub attempt: u32,
    /// The HTTP status the receiver answered, none when there was no answer.
    pub status: Option<u16>,
    /// Why there was no answer.
    pub error: Option<String>,
}

/// One request to cancel a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cancel {
    /// The provider's name: `replicate`, `fal`, `kie`, …
    pub provider: &'static str,
    pub job: String,
    /// The HTTP status answered.
    pub status: u16,
}

/// One file uploaded as an input of later submits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Upload {
    /// The provider's name: `replicate`, `fal`, `kie`, …
    pub provider: &'static str,
    /// The provider's own path, without the query.
    pub path: String,
    /// The request's body, as in [`Submit::body`].
    pub body: Value,
    /// The HTTP status answered.
    pub status: u16,
}

/// Everything the simulators saw and sent since they were opened: the newest 20 000 of each kind, in order.
#[derive(Default)]
pub struct Journal {
    entries: Mutex<Entries>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Entries {
    submits: VecDeque<Submit>,
    callbacks: VecDeque<CallbackDelivery>,
    cancels: VecDeque<Cancel>,
    uploads: VecDeque<Upload>,
    in_flight: BTreeMap<&'static str, InFlight>,
    polls: BTreeMap<&'static str, u64>,
    polls_by_job: HashMap<String, u64>,
}

/// Jobs accepted and not ended, of one provider.
#[derive(Debug, Clone, Copy, Default)]
struct InFlight {
    now: usize,
    peak: usize,
}

impl Journal {
    /// The submits to `provider` (`replicate`, `fal`, `kie`, …), oldest first.
    pub fn submits(&self, provider: &str) -> Vec<Submit> {
        let entries = lock(&self.entries);
        entries.submits.iter().filter(|submit| submit.provider == provider).cloned().collect()
    }

    /// The callbacks sent by `provider`, one entry per attempt, oldest first.
    pub fn callbacks(&self, provider: &str) -> Vec<CallbackDelivery> {
        let entries = lock(&self.entries);
        entries.callbacks.iter().filter(|callback| callback.provider == provider).cloned().collect()
    }

    /// The cancel requests to `provider` for jobs it knows, oldest first.
    pub fn cancels(&self, provider: &str) -> Vec<Cancel> {
        let entries = lock(&self.entries);
        entries.cancels.iter().filter(|cancel| cancel.provider == provider).cloned().collect()
    }

    /// The files uploaded to `provider`, oldest first.
    pub fn uploads(&self, provider: &str) -> Vec<Upload> {
        let entries = lock(&self.entries);
        entries.uploads.iter().filter(|upload| upload.provider == provider).cloned().collect()
    }

    /// Jobs and synchronous requests that `provider` has accepted and not ended.
    pub fn in_flight(&self, provider: &str) -> usize {
        lock(&self.entries).in_flight.get(provider).map_or(0, |count| count.now)
    }

    /// The most jobs and synchronous requests that `provider` had accepted and not ended at one time.
    pub fn in_flight_peak(&self, provider: &str) -> usize {
        lock(&self.entries).in_flight.get(provider).map_or(0, |count| count.peak)
    }

    /// How often `provider` was asked about known jobs (status and result requests).
    pub fn polls(&self, provider: &str) -> u64 {
        lock(&self.entries).polls.get(provider).copied().unwrap_or(0)
    }

    /// How often one job was asked about.
    pub fn polls_of(&self, job: &str) -> u64 {
        lock(&self.entries).polls_by_job.get(job).copied().unwrap_or(0)
    }

    /// Waits until `predicate` holds; it is asked at once and again after each new entry. Bound it with a time-out.
    pub async fn wait_for(&self, predicate: impl Fn(&Self) -> bool) {
        let mut changes = self.changes.subscribe();
        while !predicate(self) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    pub(super) fn record_submit(&self, submit: Submit) {
        self.record(|entries| push(&mut entries.submits, submit));
    }

    /// Fills in the answer of the submit that made `job`.
    pub(super) fn record_answer(&self, job: &str, status: u16) {
        self.record(|entries| {
            let made = entries.submits.iter_mut().rev().find(|submit| submit.job.as_deref() == Some(job));
            if let Some(submit) = made {
                submit.status = status;
            }
        });
    }

    pub(super) fn record_upload(&self, upload: Upload) {
        self.record(|entries| push(&mut entries.uploads, upload));
    }

    pub(super) fn record_accepted(&self, provider: Provider) {
        self.record(|entries| {
            let count = entries.in_flight.entry(provider.name()).or_default();
            count.now += 1;
            count.peak = count.peak.max(count.now);
        });
    }

    pub(super) fn record_ended(&self, provider: Provider) {
        self.record(|entries| {
            let count = entries.in_flight.entry(provider.name()).or_default();
            count.now = count.now.saturating_sub(1);
        });
    }

    pub(super) fn record_callback(&self, callback: CallbackDelivery) {
        self.record(|entries| push(&mut entries.callbacks, callback));
    }

    pub(super) fn record_cancel(&self, provider: Provider, job: &str, status: u16) {
        let cancel = Cancel { provider: provider.name(), job: job.to_owned(), status };
        self.record(|entries| push(&mut entries.cancels, cancel));
    }

    pub(super) fn record_poll(&self, provider: Provider, job: &str) {
        self.record(|entries| {
            *entries.polls.entry(provider.name()).or_default() += 1;
            *entries.polls_by_job.entry(job.to_owned()).or_default() += 1;
        });
    }

    pub(super) fn to_json(&self) -> Value {
        let entries = lock(&self.entries);
        json!({
            "submits": entries.submits,
            "callbacks": entries.callbacks,
            "cancels": entries.cancels,
            "uploads": entries.uploads,
            "in_flight_peak": entries.in_flight.iter().map(|(name, count)| (*name, count.peak)).collect::<BTreeMap<_, _>>(),
            "polls": entries.polls,
        })
    }

    fn record(&self, write: impl FnOnce(&mut Entries)) {
        write(&mut lock(&self.entries));
        self.changes.send_modify(|count| *count += 1);
    }
}

fn push<T>(entries: &mut VecDeque<T>, entry: T) {
    if entries.len() == MAX_ENTRIES {
        entries.pop_front();
    }
    entries.push_back(entry);
}

/// The headers that steer a provider, the secret ones left out.
pub(super) fn steering_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let names = [
        "accept",
        "cancel-after",
        "content-type",
        "http-referer",
        "idempotency-key",
        "organization",
        "prefer",
        "user-agent",
        "x-title",
        "x-use-cache",
        "x-wait-for-model",
    ];
    let starts = ["x-fal-", "x-app-fal-", "x-client-", "x-goog-upload-", "stability-client-", "openai-", "x-hf-"];
    let steers = |name: &str| names.contains(&name) || starts.iter().any(|start| name.starts_with(start));
    headers
        .iter()
        .filter(|(name, _)| steers(name.as_str()))
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect()
}

/// The body with its long strings cut.
pub(super) fn shortened(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() > MAX_STRING_BYTES => {
            let start: String = text.chars().take(64).collect();
            Value::String(format!("{start}… ({} bytes)", text.len()))
        }
        Value::Array(items) => items.iter().map(shortened).collect(),
        Value::Object(fields) => Value::Object(fields.iter().map(|(name, field)| (name.clone(), shortened(field))).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
