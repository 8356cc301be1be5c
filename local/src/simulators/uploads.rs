//! Files that were uploaded to a provider, kept on disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use axum::extract::{Path as UrlPath, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::Simulators;

/// All uploaded files; each has an id and, beside its bytes, facts of the provider's choosing. `content_type` is the one that
/// [`serve`] reads.
pub(super) struct Uploads {
    dir: PathBuf,
}

impl Uploads {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let dir = dir.join("uploads");
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// Keeps a file, or replaces it. The id may have letters, digits, `-` and `_`.
    pub(super) fn put(&self, id: &str, facts: &Value, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(id).ok_or_else(|| io::Error::other(format!("`{id}` is no id of an upload")))?;
        fs::write(path.with_extension("bin"), bytes)?;
        self.announce(id, facts)
    }

    /// Keeps the facts of a file whose bytes are yet to come.
    pub(super) fn announce(&self, id: &str, facts: &Value) -> io::Result<()> {
        let path = self.path(id).ok_or_else(|| io::Error::other(format!("`{id}` is no id of an upload")))?;
        fs::write(path.with_extension("json"), serde_json::to_vec(facts)?)
    }

    /// The facts of a file; none when it is unknown.
    pub(super) fn facts(&self, id: &str) -> Option<Value> {
        let text = fs::read(self.path(id)?.with_extension("json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The bytes of a file; none when it is unknown.
    pub(super) fn bytes(&self, id: &str) -> Option<Vec<u8>> {
        fs::read(self.path(id)?.with_extension("bin")).ok()
    }

    /// Deletes a file; whether there was one.
    pub(super) fn delete(&self, id: &str) -> bool {
        let Some(path) = self.path(id) else {
            return false;
        };
        let deleted = fs::remove_file(path.with_extension("json")).is_ok();
        fs::remove_file(path.with_extension("bin")).is_ok() && deleted
    }

    fn path(&self, id: &str) -> Option<PathBuf> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (!id.is_empty() && id.len() <= 128 && id.bytes().all(allowed)).then(|| self.dir.join(id))
    }
}

/// Serves `/{provider}/_uploads/{id}/{name}`, of any provider; no key is asked for.
pub(super) async fn serve(State(sim): State<Simulators>, UrlPath((id, _)): UrlPath<(String, String)>) -> Response {
    let uploads = &sim.parts.uploads;
    let (Some(facts), Some(bytes)) = (uploads.facts(&id), uploads.bytes(&id)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let content_type = facts["content_type"].as_str().unwrap_or("application/octet-stream").to_owned();
    ([(header::CONTENT_TYPE, content_type)], bytes).into_response()
}
