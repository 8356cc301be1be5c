//! The simulators' jobs, each kept as one JSON file that is written through on every change.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::clock::random_bytes;

use super::faults::Faults;
use super::lock;
use super::media::MediaFile;
use super::provider::Provider;

/// How long a job takes unless its prompt says otherwise.
const DEFAULT_DURATION: Duration = Duration::from_millis(300);
/// A job waits in the provider's queue for a third of its time, at most this long.
const MAX_QUEUED: Duration = Duration::from_secs(1);
/// The same of MiniMax, whose tasks can be cancelled only while they wait: time enough to look at one that waits, on a busy machine too.
const MAX_QUEUED_MINIMAX: Duration = Duration::from_secs(50);
/// Jobs that ended before that are forgotten when the simulators are opened.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// What a job makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    #[default]
    Images,
    Video,
    Text,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) provider: Provider,
    #[serde(default)]
    pub(super) kind: Kind,
    /// `owner/name` of Replicate, the endpoint id of fal, the model's name at the others.
    pub(super) model: String,
    /// Replicate's version id or `hidden`; which of a provider's APIs was used, where it has several; else empty.
    pub(super) version: String,
    /// `http://{host}/_sim`, as the submitter reached it.
    pub(super) base: String,
    pub(super) input: Value,
    pub(super) callback: Option<Callback>,
    pub(super) faults: Faults,
    pub(super) created_at: Timestamp,
    pub(super) starts_at: Timestamp,
    pub(super) ends_at: Timestamp,
    pub(super) ended: Option<Ended>,
    /// GETs of the result so far; counted only when links are to expire.
    pub(super) result_reads: u32,
}

/// A callback to be sent when the job has ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Callback {
    pub(super) url: String,
    /// The same on every resend.
    pub(super) message_id: String,
    /// The value that the receiver has yet to send back before it gets anything else.
    #[serde(default)]
    pub(super) challenge: Option<String>,
    /// Whether the start is still to be told, too.
    #[serde(default)]
    pub(super) tells_start: bool,
    /// Acknowledged deliveries still owed.
    pub(super) copies_left: u32,
    /// Sends so far.
    pub(super) attempts: u32,
    /// Failed sends since the last acknowledged one.
    pub(super) failures: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) at: Timestamp,
    pub(super) end: End,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    Files(Vec<MediaFile>),
    Text(String),
    Failed(Failure),
    Canceled,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Failure {
    /// The provider's own fault.
    Broken(String),
    Moderated,
    /// The input's fault; never empty.
    Inputs(Vec<InputFault>),
}

/// What is wrong with one field of the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InputFault {
    pub(super) field: String,
    /// The element, when the field is a list.
    pub(super) index: Option<usize>,
    /// fal's error type: `missing`, `file_download_error`, …
    pub(super) kind: String,
    pub(super) text: String,
}

impl InputFault {
    pub(super) fn new(field: &str, kind: &str, text: impl Into<String>) -> Self {
        Self { field: field.to_owned(), index: None, kind: kind.to_owned(), text: text.into() }
    }
}

/// What a submit asks for.
pub(super) struct Order {
    pub(super) id: String,
    pub(super) provider: Provider,
    pub(super) kind: Kind,
    pub(super) model: String,
    pub(super) version: String,
    pub(super) base: String,
    pub(super) input: Value,
    pub(super) callback_url: Option<String>,
    pub(super) message_id: String,
    /// MiniMax's callbacks: a challenge first, then one at the start of the work besides the one at its end.
    pub(super) handshake: bool,
    pub(super) faults: Faults,
}

impl Order {
    /// An order of pictures without a callback, whose messages carry the job's id; the rest is empty.
    pub(super) fn new(provider: Provider, id: String, base: String, input: Value, faults: Faults) -> Self {
        Self {
            message_id: id.clone(),
            id,
            provider,
            kind: Kind::default(),
            model: String::new(),
            version: String::new(),
            base,
            input,
            callback_url: None,
            handshake: false,
            faults,
        }
    }
}

impl Job {
    pub(super) fn new(order: Order, now: Timestamp) -> Self {
        let faults = order.faults;
        let duration = if faults.callback_first { Duration::ZERO } else { faults.delay.unwrap_or(DEFAULT_DURATION) };
        let copies_left = match (faults.no_callback, faults.callback_twice) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        };
        let max_queued = if order.provider == Provider::Minimax { MAX_QUEUED_MINIMAX } else { MAX_QUEUED };
        let greets = order.handshake && copies_left > 0;
        let callback = order.callback_url.map(|url| Callback {
            url,
            message_id: order.message_id,
            challenge: greets.then(|| uuid::Builder::from_random_bytes(random_bytes()).into_uuid().to_string()),
            tells_start: greets,
            copies_left,
            attempts: 0,
            failures: 0,
        });
        Self {
            id: order.id,
            provider: order.provider,
            kind: order.kind,
            model: order.model,
            version: order.version,
            base: order.base,
            input: order.input,
            callback,
            created_at: now,
            starts_at: now + (duration / 3).min(max_queued),
            ends_at: now + duration,
            ended: None,
            result_reads: 0,
            faults,
        }
    }

    /// When the callback is due, none while the job runs.
    pub(super) fn callback_due(&self) -> Option<Timestamp> {
        let ended = self.ended.as_ref()?;
        let late = self.faults.callback_late.filter(|_| !self.faults.callback_first);
        Some(ended.at + late.unwrap_or_default())
    }

    /// Links to the result's files, as handed out at this read.
    pub(super) fn link(&self, file: &MediaFile) -> String {
        if self.faults.private_link {
            return "http://10.0.0.1/secret.png".to_owned();
        }
        let provider = self.provider.name();
        format!("{}/{provider}/_files/{}/{}/{}", self.base, self.id, self.result_reads, file.name)
    }

    /// Whether a link handed out at that read of the result (0 for a callback's) has expired.
    pub(super) fn link_expired(&self, read: u32) -> bool {
        self.faults.expired_link && read <= 1
    }

    fn settled(&self) -> bool {
        self.ended.is_some() && self.callback.as_ref().is_none_or(|callback| callback.copies_left == 0)
    }
}

/// All jobs, in memory and on disk.
pub(super) struct Jobs {
    dir: PathBuf,
    jobs: Mutex<HashMap<String, Job>>,
}

impl Jobs {
    /// Reads the jobs found under `dir`; those that ended more than a day before `now` are deleted.
    pub(super) fn open(dir: &Path, now: Timestamp) -> anyhow::Result<Self> {
        let opened = Self { dir: dir.to_owned(), jobs: Mutex::default() };
        for made in ["jobs", "files"] {
            fs::create_dir_all(dir.join(made)).with_context(|| format!("could not make `{}`", dir.join(made).display()))?;
        }
        let mut jobs = HashMap::new();
        for entry in fs::read_dir(dir.join("jobs"))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let job: Job = serde_json::from_slice(&fs::read(&path)?)
                .with_context(|| format!("`{}` is not a job: delete it", path.display()))?;
            if job.ended.as_ref().is_some_and(|ended| now.duration_since(ended.at) > KEPT) {
                opened.delete(&job.id).with_context(|| format!("could not delete the old job `{}`", job.id))?;
            } else {
                jobs.insert(job.id.clone(), job);
            }
        }
        *lock(&opened.jobs) = jobs;
        Ok(opened)
    }

    pub(super) fn insert(&self, job: Job) -> io::Result<()> {
        let mut jobs = lock(&self.jobs);
        self.write(&job)?;
        jobs.insert(job.id.clone(), job);
        Ok(())
    }

    pub(super) fn get(&self, id: &str) -> Option<Job> {
        lock(&self.jobs).get(id).cloned()
    }

    pub(super) fn find(&self, provider: Provider, id: &str) -> Option<Job> {
        self.get(id).filter(|job| job.provider == provider)
    }

    /// The provider's jobs, newest first.
    pub(super) fn all(&self, provider: Provider) -> Vec<Job> {
        let jobs = lock(&self.jobs);
        let mut own: Vec<Job> = jobs.values().filter(|job| job.provider == provider).cloned().collect();
        own.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        own
    }

    /// Forgets a job and its files.
    pub(super) fn remove(&self, id: &str) -> io::Result<()> {
        let mut jobs = lock(&self.jobs);
        self.delete(id)?;
        jobs.remove(id);
        Ok(())
    }

    /// Changes a job and writes it; none when it is unknown. When the write fails, nothing has changed.
    pub(super) fn change<T>(&self, id: &str, change: impl FnOnce(&mut Job) -> T) -> io::Result<Option<T>> {
        let mut jobs = lock(&self.jobs);
        let Some(job) = jobs.get_mut(id) else {
            return Ok(None);
        };
        let mut changed = job.clone();
        let result = change(&mut changed);
        self.write(&changed)?;
        *job = changed;
        Ok(Some(result))
    }

    /// The job, this read of its result counted if links are to expire.
    pub(super) fn read_result(&self, job: Job) -> io::Result<Job> {
        if !job.faults.expired_link || job.ended.is_none() {
            return Ok(job);
        }
        let counted = self.change(&job.id, |job| {
            job.result_reads = job.result_reads.saturating_add(1);
            job.clone()
        })?;
        Ok(counted.unwrap_or(job))
    }

    /// Ids of the jobs that still run or still owe a callback.
    pub(super) fn unsettled(&self) -> Vec<String> {
        let jobs = lock(&self.jobs);
        jobs.values().filter(|job| !job.settled()).map(|job| job.id.clone()).collect()
    }

    /// The providers of the jobs that have not ended, one entry per job.
    pub(super) fn running(&self) -> Vec<Provider> {
        let jobs = lock(&self.jobs);
        jobs.values().filter(|job| job.ended.is_none()).map(|job| job.provider).collect()
    }

    /// Where a job's result files lie.
    pub(super) fn files(&self, id: &str) -> PathBuf {
        self.dir.join("files").join(id)
    }

    fn path(&self, id: &str) -> PathBuf {
        self.dir.join("jobs").join(id).with_extension("json")
    }

    /// Written beside and renamed: a crash leaves the old file or the new one, never half of one.
    fn write(&self, job: &Job) -> io::Result<()> {
        let path = self.path(&job.id);
        let beside = path.with_extension("new");
        fs::write(&beside, serde_json::to_vec(job)?)?;
        fs::rename(beside, path)
    }

    fn delete(&self, id: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.files(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::remove_file(self.path(id))
    }
}
