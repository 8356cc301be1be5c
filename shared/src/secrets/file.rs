//! Secrets in a local JSON file.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

use super::document::Document;
use super::{MAX_DOCUMENT_BYTES, Place, SecretsError, check_name, check_value, within};
use crate::clock::random_bytes;

/// The file is not looked at again within this time.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(1);
/// A file that changed less than this ago may change again without its time showing it, where times are whole seconds.
const SETTLED: Duration = Duration::from_secs(2);

pub(super) struct SecretsFile {
    path: PathBuf,
    seen: Mutex<Option<Seen>>,
}

struct Seen {
    at: Timestamp,
    /// None: read it again in any case.
    stamp: Option<Stamp>,
    outcome: Result<Arc<Document>, SecretsError>,
}

/// What changes when the file does.
#[derive(PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    bytes: u64,
}

impl SecretsFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, seen: Mutex::new(None) }
    }

    pub(super) fn place(&self) -> Place {
        Place::File(self.path.clone())
    }

    /// What the file holds; nothing, when there is none. Reads at most 64 KiB of a local disk, so it does not yield.
    pub(super) fn document(&self, now: Timestamp) -> Result<Arc<Document>, SecretsError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = seen.as_ref().filter(|seen| within(seen.at, now, LOOK_EVERY)) {
            return seen.outcome.clone();
        }
        let (stamp, outcome) = match fs::metadata(&self.path) {
            // The stamp is taken before the file is read: a change in between is then seen the next time.
            Ok(metadata) => {
                let stamp = settled_stamp(&metadata, now);
                match seen.take() {
                    Some(seen) if stamp.is_some() && seen.stamp == stamp => (stamp, seen.outcome),
                    _ => (stamp, read(&self.path, &metadata).map(Arc::new)),
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => (None, Ok(Arc::default())),
            Err(error) => (None, Err(failed(&self.path, "read", &error))),
        };
        // What a change of the owner or the mode mends does not show in the stamp.
        let stamp = stamp.filter(|_| !matches!(outcome, Err(SecretsError::File { .. })));
        seen.insert(Seen { at: now, stamp, outcome }).outcome.clone()
    }

    /// Writes the file, and forgets what was read of it.
    pub(super) async fn put(&self, name: &str, value: &SecretString) -> Result<(), SecretsError> {
        let (path, name, value) = (self.path.clone(), name.to_owned(), value.clone());
        let written = tokio::task::spawn_blocking(move || write_file(&path, &name, &value)).await;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
        written.unwrap_or_else(|error| Err(failed(&self.path, "written", &io::Error::other(error))))
    }
}

fn settled_stamp(metadata: &Metadata, now: Timestamp) -> Option<Stamp> {
    let modified = metadata.modified().ok()?;
    let age = SystemTime::from(now).duration_since(modified).ok()?;
    (age > SETTLED).then_some(Stamp { modified, bytes: metadata.len() })
}

fn read(path: &Path, metadata: &Metadata) -> Result<Document, SecretsError> {
    let place = Place::File(path.to_owned());
    // A pipe would block for ever.
    if !metadata.is_file() {
        return Err(SecretsError::Malformed { place, fault: "is not a regular file".to_owned() });
    }
    if metadata.len() > MAX_DOCUMENT_BYTES as u64 {
        return Err(SecretsError::Malformed { place, fault: format!("is longer than {MAX_DOCUMENT_BYTES} bytes") });
    }
    let text = fs::read(path).map_err(|error| failed(path, "read", &error))?;
    Document::parse(&text, &place)
}

/// Adds a secret to the JSON file at `path`, or replaces it there; other entries stay. The file is made if need be, is readable by its
/// owner alone (mode 0600), and is never half written: the new text is put beside it and renamed. Writers wait for each other. A file
/// that cannot be understood is left as it is. Blocks.
pub fn write_file(path: &Path, name: &str, value: &SecretString) -> Result<(), SecretsError> {
    check_name(name)?;
    check_value(name, value)?;
    let io = |error: io::Error| failed(path, "written", &error);
    // What a link points to is replaced, not the link.
    let target = match fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        resolved => resolved.map_err(io)?,
    };
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    // Held until the end. Where a directory cannot be locked (some network file systems), the last writer wins.
    let lock = File::open(directory).and_then(|handle| handle.lock().map(|()| handle)).ok();
    let mut document = match fs::metadata(&target) {
        Err(error) if error.kind() == ErrorKind::NotFound => Document::default(),
        metadata => read(&target, &metadata.map_err(io)?)?,
    };
    document.set(name, value);
    let text = document.text(&Place::File(path.to_owned()))?;
    let beside = directory.join(format!(".secrets-{}.tmp", hex::encode(random_bytes::<8>())));
    write_private(&beside, &text).and_then(|()| fs::rename(&beside, &target)).map_err(|error| {
        // It may not have been made at all.
        let _ = fs::remove_file(&beside);
        io(error)
    })?;
    // The rename outlives a power cut, where the file system can promise that.
    let _ = lock.map(|directory| directory.sync_all());
    Ok(())
}

/// Readable by its owner alone.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn failed(path: &Path, action: &'static str, error: &io::Error) -> SecretsError {
    SecretsError::File { path: path.to_owned(), action, reason: error.to_string() }
}
