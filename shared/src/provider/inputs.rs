//! Media for a provider: as links, as data inside the request, or uploaded before it, as the manifest's templates say.

use std::collections::{BTreeSet, HashMap};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use url::{Host, Url};

use super::{Provider, Remote};
use crate::failure::{Failure, FailureClass};
use crate::generation::{Generation, Input};
use crate::template::{self, Variables};

/// The largest file that is read to be sent on, in bytes: the largest upload that is taken.
const MAX_FILE_BYTES: u64 = 100_000_000;
/// Marks a media file among template values.
const FILE: &str = "$file";

/// A media file in memory.
pub(super) struct MediaFile {
    pub(super) bytes: Bytes,
    pub(super) content_type: String,
    pub(super) name: String,
}

/// The media files of one request, by S3 key.
pub(super) type Files = HashMap<String, MediaFile>;

impl MediaFile {
    /// The file that a template's value stands for.
    pub(super) fn of<'f>(value: &Value, files: &'f Files) -> Option<&'f Self> {
        files.get(value.get(FILE)?.as_str()?)
    }

    fn data_uri(&self) -> String {
        format!("data:{};base64,{}", self.content_type, self.base64())
    }

    fn base64(&self) -> String {
        BASE64_STANDARD.encode(&self.bytes)
    }

    /// Its parts for a template. Only those that are asked for: some are as large as the file.
    pub(super) fn parts(&self, key: &str, wanted: impl Fn(&str) -> bool) -> Map<String, Value> {
        let mut parts = Map::new();
        parts.insert("content_type".to_owned(), Value::from(self.content_type.as_str()));
        parts.insert("name".to_owned(), Value::from(self.name.as_str()));
        parts.insert("bytes".to_owned(), Value::from(self.bytes.len()));
        parts.insert("file".to_owned(), json!({FILE: key}));
        if wanted("base64") {
            parts.insert("base64".to_owned(), Value::from(self.base64()));
        }
        if wanted("data_uri") {
            parts.insert("data_uri".to_owned(), Value::from(self.data_uri()));
        }
        parts
    }
}

impl Provider<'_> {
    /// The parameters with each media parameter in the forms in which the model's input uses it.
    pub(super) async fn with_media(
        &self,
        remote: Remote<'_>,
        generation: &Generation,
        params: &Map<String, Value>,
    ) -> Result<(Variables, Files), Failure> {
        let names = template::variables(&self.model.spec.input).unwrap_or_default();
        let mut files = Files::new();
        let mut media = HashMap::new();
        for (at, asset) in self.model.params.assets(params) {
            let param = at.split('.').next().unwrap_or_default();
            let prefix = format!("{param}.");
            let wanted: BTreeSet<&str> = names.iter().filter_map(|name| name.strip_prefix(&prefix)).collect();
            let Some(input) = generation.input_of(generation.attempt(), asset) else { continue };
            media.insert(asset, self.forms(remote, input, &wanted, &mut files).await?);
        }
        let params = self.model.params.replace_assets(params, |asset| media.get(&asset).cloned());
        Ok((params, files))
    }

    async fn forms(
        &self,
        remote: Remote<'_>,
        input: &Input,
        wanted: &BTreeSet<&str>,
        files: &mut Files,
    ) -> Result<Value, Failure> {
        let link = self.backend.bucket.presign_get(&input.key, self.backend.config.link_expires, None).await;
        let link = link.map_err(|_| Failure::new(FailureClass::Internal, "an input could not be made available"))?;
        let is_private = is_on_this_machine(&link) && !is_on_this_machine(self.base_url(remote.http));
        let upload = remote.api.upload.as_ref();
        if let Some(upload) = upload.filter(|own| input.bytes > own.over_bytes && (is_private || !own.when_links_are_private)) {
            let file = self.read(input).await?;
            let reference = self.upload(remote, upload, &file).await?;
            return Ok(json!({
                "content_type": file.content_type, "name": file.name, "bytes": file.bytes.len(),
                "uploaded": reference, "url": reference, "url_or_data_uri": reference,
            }));
        }
        let as_data = is_private && wanted.contains("url_or_data_uri");
        let needs_bytes = as_data || ["data_uri", "base64", "file"].iter().any(|form| wanted.contains(form));
        if !needs_bytes {
            return Ok(json!({
                "content_type": input.content_type, "name": file_name(input), "bytes": input.bytes,
                "url": link, "url_or_data_uri": link,
            }));
        }
        let file = self.read(input).await?;
        let mut forms = file.parts(&input.key, |form| wanted.contains(form) || (form == "data_uri" && as_data));
        forms.insert("url".to_owned(), Value::from(link.as_str()));
        let either = if as_data { forms.get("data_uri").cloned().unwrap_or_default() } else { Value::from(link) };
        forms.insert("url_or_data_uri".to_owned(), either);
        files.insert(input.key.clone(), file);
        Ok(Value::Object(forms))
    }

    pub(super) async fn read(&self, input: &Input) -> Result<MediaFile, Failure> {
        let unreadable = |error: crate::results::StoreError| {
            tracing::error!(error = &error as &dyn std::error::Error, key = input.key, "an input cannot be read");
            // A bucket that is out of order for a moment is worth another try; nothing has been sent yet.
            let class = if error.is_retryable() { FailureClass::Unavailable } else { FailureClass::Internal };
            Failure::new(class, "an input could not be read")
        };
        let bytes = self.backend.bucket.get(&input.key, MAX_FILE_BYTES).await.map_err(unreadable)?;
        Ok(MediaFile { bytes: bytes.into(), content_type: input.content_type.clone(), name: file_name(input) })
    }
}

/// What a file is called towards a provider: nothing of the customer's.
fn file_name(input: &Input) -> String {
    let extension = match input.content_type.as_str() {
        "image/jpeg" => "jpg",
        "video/quicktime" => "mov",
        other => other.split('/').next_back().unwrap_or("bin"),
    };
    format!("input.{extension}")
}

/// Whether an address can be reached from this machine only.
pub(super) fn is_on_this_machine(url: &str) -> bool {
    match url.parse::<Url>().ok().as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
