//! Media files of customers.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::api::{AssetError, AssetSource, AssetStatus, AssetView};
use crate::catalog::manifest::MediaKind;
use crate::generation::{Generation, StoredResult};
use crate::ids::{AccountId, AssetId, BoxId, GenerationId};
use crate::media::Facts;

/// A file in our bucket, or the promise of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asset {
    pub id: AssetId,
    pub account: AccountId,
    /// Raised by each change; a write is conditional on it.
    #[serde(default)]
    pub version: u64,
    pub source: AssetSource,
    pub status: AssetStatus,
    /// Its S3 key; empty once it is erased.
    pub key: String,
    /// Empty once it is erased.
    pub content_type: String,
    /// Zero once it is erased.
    pub bytes: u64,
    pub filename: Option<String>,
    /// What was found when the file was looked into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<MediaFacts>,
    /// SHA-256 of the content, in lower-case hexadecimal: as announced while it is pending, as found once it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The box it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub box_id: Option<BoxId>,
    /// The generation that made it.
    pub generation: Option<GenerationId>,
    /// What that generation was given, at most [`MAX_PARENTS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<AssetId>,
    /// Why an upload cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<AssetError>,
    /// The time in its id.
    pub created_at: Timestamp,
    /// Until when a pending upload can be completed, or a completed one used; none: for good.
    pub expires_at: Option<Timestamp>,
    /// When the poll has to look at it; none when nothing of it can be left over in the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
}

/// What is known of a picture or a video without showing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MediaFacts {
    /// In pixels, as it is shown: after its orientation.
    pub width: u32,
    /// In pixels, as it is shown: after its orientation.
    pub height: u32,
    /// How the stored picture is turned or mirrored, as EXIF counts it, 2 to 8; left out when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 2, maximum = 8)]
    pub orientation: Option<u8>,
    /// Of a video, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

impl From<&Facts> for MediaFacts {
    fn from(facts: &Facts) -> Self {
        let is_turned = facts.orientation != 1;
        Self {
            width: facts.width,
            height: facts.height,
            orientation: is_turned.then_some(facts.orientation),
            duration_ms: facts.duration_ms,
        }
    }
}

/// So many of a generation's inputs are remembered as parents of its results.
pub const MAX_PARENTS: usize = 16;
/// Whoever erases an asset has done so long before; if not, the poll does it.
const ERASED_WITHIN: SignedDuration = SignedDuration::from_mins(1);
/// A file that was being sent or looked at when its upload's link ended has arrived or been given up then: no function that completes
/// uploads runs that long.
const UPLOAD_MARGIN: SignedDuration = SignedDuration::from_mins(1);

/// Where an upload is sent to, without its extension.
pub fn upload_key_stem(account: AccountId, id: AssetId) -> String {
    format!("uploads/{account}/{id}")
}

/// Where the file of a completed upload lies, without what tells its content and its extension. No link that writes there is ever given out.
pub fn media_key_stem(account: AccountId, id: AssetId) -> String {
    format!("media/{account}/{id}")
}

impl Asset {
    /// An upload of which nothing has arrived; `link` is how long the file may be sent.
    pub fn announced(id: AssetId, account: AccountId, content_type: String, bytes: u64, link: SignedDuration) -> Self {
        let created_at = id.created_at();
        Self {
            id,
            account,
            version: 1,
            source: AssetSource::Uploaded,
            status: AssetStatus::Pending,
            key: format!("{}.{}", upload_key_stem(account, id), extension(&content_type)),
            content_type,
            bytes,
            filename: None,
            media: None,
            sha256: None,
            box_id: None,
            generation: None,
            parents: Vec::new(),
            error: None,
            created_at,
            expires_at: Some(created_at + link),
            due_at: Some(created_at + link + UPLOAD_MARGIN),
        }
    }

    /// The asset that a stored result is filed as, in a box that was found open.
    pub fn generated(result: &StoredResult, generation: &Generation, box_id: Option<BoxId>) -> Self {
        let inputs = &generation.order.inputs;
        Self {
            id: result.asset,
            account: generation.account,
            version: 1,
            source: if inputs.is_empty() { AssetSource::Generated } else { AssetSource::Derived },
            status: AssetStatus::Ready,
            key: result.key.clone(),
            content_type: result.content_type.clone(),
            bytes: result.bytes,
            filename: None,
            media: result.media,
            sha256: None,
            box_id,
            generation: Some(generation.id),
            parents: inputs.iter().map(|input| input.asset).take(MAX_PARENTS).collect(),
            error: None,
            created_at: result.asset.created_at(),
            expires_at: None,
            due_at: None,
        }
    }

    /// Nothing of it is shown or taken any more. The key is known until the object is deleted.
    pub fn erasing(&self, now: Timestamp) -> Self {
        Self { key: self.key.clone(), due_at: Some(now + ERASED_WITHIN), ..self.erased(None) }
    }

    /// Its object is deleted: only that it was there is left. `due_at`: when to see whether something came after.
    pub fn erased(&self, due_at: Option<Timestamp>) -> Self {
        Self {
            status: AssetStatus::Erased,
            key: String::new(),
            content_type: String::new(),
            bytes: 0,
            filename: None,
            media: None,
            sha256: None,
            box_id: None,
            error: None,
            due_at,
            ..self.clone()
        }
    }

    /// When whatever is sent by an upload's link has arrived; `link` is how long it is good for.
    pub fn nothing_comes_after(&self, link: SignedDuration) -> Timestamp {
        self.created_at + link + UPLOAD_MARGIN
    }

    /// Its time is over: it is not given out any more, whether or not the bucket still has it.
    pub fn is_gone(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| now > expires_at)
    }

    /// What it is; none once it is erased.
    pub fn kind(&self) -> Option<MediaKind> {
        let essence = self.content_type.split(';').next().unwrap_or_default();
        match essence.split_once('/') {
            Some(("image", _)) => Some(MediaKind::Image),
            Some(("video", _)) => Some(MediaKind::Video),
            Some(("text", _)) => Some(MediaKind::Text),
            Some((_, "json")) => Some(MediaKind::Json),
            Some(_) | None => None,
        }
    }

    /// As its owner sees it.
    pub fn view(&self, url: Option<String>) -> AssetView {
        let is_there = match self.status {
            AssetStatus::Pending | AssetStatus::Ready | AssetStatus::Failed => true,
            AssetStatus::Erased => false,
        };
        AssetView {
            id: self.id,
            status: self.status,
            source: self.source,
            content_type: is_there.then(|| self.content_type.clone()),
            bytes: is_there.then_some(self.bytes),
            filename: self.filename.clone(),
            media: self.media,
            sha256: self.sha256.clone(),
            box_id: self.box_id,
            generation_id: self.generation,
            parents: self.parents.clone(),
            error: self.error.clone(),
            url,
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }
}

/// The extension of the types that can be uploaded.
fn extension(content_type: &str) -> &'static str {
    match content_type {
        "image/png" => "png",
        "image/webp" => "webp",
        "video/mp4" => "mp4",
        "video/quicktime" => "mov",
        "video/webm" => "webm",
        _ => "jpg",
    }
}

/// The content type that a file's name claims; none when it claims nothing that is known.
fn claimed_type(filename: &str) -> Option<&'static str> {
    let (_, extension) = filename.rsplit_once('.')?;
    match extension.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" | "jpe" | "jfif" => Some("image/jpeg"),
        "png" => Some("image/png"),
        "webp" => Some("image/webp"),
        "gif" => Some("image/gif"),
        "avif" => Some("image/avif"),
        "heic" | "heif" => Some("image/heic"),
        "svg" => Some("image/svg+xml"),
        "bmp" => Some("image/bmp"),
        "tif" | "tiff" => Some("image/tiff"),
        "mp4" | "m4v" => Some("video/mp4"),
        "mov" | "qt" => Some("video/quicktime"),
        "webm" => Some("video/webm"),
        "avi" => Some("video/x-msvideo"),
        "mkv" => Some("video/x-matroska"),
        "mp3" => Some("audio/mpeg"),
        "wav" => Some("audio/wav"),
        "txt" => Some("text/plain"),
        "json" => Some("application/json"),
        "htm" | "html" | "xhtml" => Some("text/html"),
        "js" => Some("text/javascript"),
        "pdf" => Some("application/pdf"),
        "zip" => Some("application/zip"),
        "exe" => Some("application/x-msdownload"),
        _ => None,
    }
}

/// Whether a file of this type may be called so; if not, the type that the name claims. A name without an extension that is known fits all.
pub fn fits_name(content_type: &str, filename: &str) -> Result<(), &'static str> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    claimed_type(filename).map_or(Ok(()), |claimed| if claimed == essence { Ok(()) } else { Err(claimed) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_not_claim_another_type() {
        for (content_type, name) in [
            ("image/jpeg", "cat.JPG"),
            ("image/jpeg", "cat"),
            ("image/jpeg", "cat.png.jpeg"),
            ("image/jpeg", "v1.2 final"),
            ("video/quicktime", "a.mov"),
            ("text/plain; charset=utf-8", "story.txt"),
        ] {
            assert_eq!(fits_name(content_type, name), Ok(()), "{name}");
        }
        for (content_type, name, claimed) in [
            ("image/jpeg", "cat.png", "image/png"),
            ("image/png", "cat.jpg.html", "text/html"),
            ("video/mp4", "a.mov", "video/quicktime"),
            ("image/jpeg", "a.svg", "image/svg+xml"),
        ] {
            assert_eq!(fits_name(content_type, name), Err(claimed), "{name}");
        }
    }

    #[test]
    fn of_an_erased_asset_its_id_and_its_parents_are_left() {
        let (id, account) = (AssetId::from_parts(1_000, [1; 10]), AccountId::from_parts(1, [1; 10]));
        let announced = Asset::announced(id, account, "image/png".to_owned(), 7, SignedDuration::from_mins(15));
        let whole = Asset {
            filename: Some("secret.png".to_owned()),
            media: Some(MediaFacts { width: 1, height: 2, orientation: None, duration_ms: None }),
            sha256: Some("00".repeat(32)),
            box_id: Some(BoxId::from_parts(1, [2; 10])),
            parents: vec![id],
            error: Some(AssetError { code: "damaged".to_owned(), message: "secret".to_owned() }),
            ..announced
        };
        let due_at = whole.due_at;
        assert_eq!(due_at, Some(whole.created_at + SignedDuration::from_mins(16)));
        let erasing = whole.erasing(whole.created_at);
        assert!(!erasing.key.is_empty() && erasing.due_at.is_some());
        let left = serde_json::to_string(&erasing.erased(None)).expect("serializes");
        assert!(
            !left.contains("secret") && !left.contains("png") && !left.contains("0000000000000000000000000000000000000000"),
            "{left}"
        );
        assert!(left.contains(&id.to_string()) && whole.erased(None).parents == [id] && whole.erased(None).box_id.is_none());
    }
}
