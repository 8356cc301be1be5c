//! Where in a manifest something stands, written as `transport.http.apis.v1.poll.urls[0]`.

use super::{Checked, ManifestError, bad};

#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    manifest: &'a str,
    path: String,
}

impl<'a> Place<'a> {
    /// The top of a manifest, a model or a chain of this name.
    pub(super) fn top(manifest: &'a str) -> Self {
        Self { manifest, path: String::new() }
    }

    /// The member of this name.
    pub(super) fn key(&self, key: &str) -> Self {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Self { path, ..*self }
    }

    /// The element with this number.
    pub(super) fn index(&self, index: usize) -> Self {
        Self { path: format!("{}[{index}]", self.path), ..*self }
    }

    /// Where a JSON pointer (RFC 6901) leads from here.
    pub(super) fn pointer(&self, pointer: &str) -> Self {
        pointer.split('/').skip(1).fold(self.clone(), |place, segment| match segment.parse() {
            Ok(index) => place.index(index),
            Err(_) => place.key(&segment.replace("~1", "/").replace("~0", "~")),
        })
    }

    pub(super) fn path(&self) -> &str {
        if self.path.is_empty() { "the top" } else { &self.path }
    }

    pub(super) fn wrong(&self, reason: impl Into<String>) -> ManifestError {
        bad(self.manifest, self.path(), reason)
    }

    pub(super) fn refuse<T>(&self, reason: impl Into<String>) -> Checked<T> {
        Err(self.wrong(reason))
    }
}
