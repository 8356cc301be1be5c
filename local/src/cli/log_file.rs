//! The log of a local run, as JSON lines in its data folder.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// A file that has grown beyond this, in bytes, becomes the older one, and the older one goes.
const MAX_BYTES: u64 = 20_000_000;

/// The log in a data folder.
pub(super) fn path(data: &Path) -> PathBuf {
    data.join("darkroom.log")
}

/// What the log was before it was begun anew.
pub(super) fn older(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// Writes whole lines. Clones share the file.
#[derive(Clone)]
pub(super) struct LogFile(Arc<Mutex<Open>>);

struct Open {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl LogFile {
    /// Opens the log of a data folder, which is made if it is not there.
    pub(super) fn open(data: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(data)?;
        let path = path(data);
        let file = append(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self(Arc::new(Mutex::new(Open { path, file, bytes }))))
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.bytes > MAX_BYTES {
            std::fs::rename(&open.path, older(&open.path))?;
            open.file = append(&open.path)?;
            open.bytes = 0;
        }
        open.file.write_all(line)?;
        open.bytes += u64::try_from(line.len()).unwrap_or(0);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_has_grown_is_begun_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = LogFile::open(folder.path()).expect("opens");
        let line = vec![b'x'; 1_000_000];
        for _ in 0..22 {
            assert_eq!(log.write(&line).expect("writes"), line.len());
        }
        let path = path(folder.path());
        let length = |path: &Path| std::fs::metadata(path).expect("there").len();
        assert_eq!((length(&older(&path)), length(&path)), (21_000_000, 1_000_000));
    }
}
