//! Links that let their holder put or get one object for a while.

use std::fmt;
use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Bucket, StoreError, storage};

/// The longest life of a presigned URL (Signature Version 4: 7 days).
pub const MAX_PRESIGN: Duration = Duration::from_secs(7 * 24 * 3600);

/// A request whoever holds it may send. `Debug` hides the signature.
#[derive(Clone, PartialEq, Eq)]
pub struct Presigned {
    pub url: String,
    /// The headers the request must carry, exactly so, in lower case. A browser sets `content-length` by itself.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for Presigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without_query = self.url.split('?').next().unwrap_or_default();
        f.debug_struct("Presigned")
            .field("url", &format_args!("{without_query}?[redacted]"))
            .field("headers", &self.headers)
            .finish()
    }
}

impl Bucket {
    /// A PUT of exactly `bytes` bytes of `content_type`: S3 refuses another type or size, because both are signed, and another content if
    /// its SHA-256 is given. Valid for `expires`, at most 7 days, and no longer than the credentials it is signed with.
    pub async fn presign_put(
        &self,
        key: &str,
        content_type: &str,
        bytes: u64,
        sha256: Option<&[u8]>,
        expires: Duration,
    ) -> Result<Presigned, StoreError> {
        let content_length = i64::try_from(bytes).map_err(|_| StoreError::TooLarge { limit: i64::MAX.unsigned_abs() })?;
        let request = self.client.put_object().bucket(&self.name).key(key);
        let request = request.content_type(content_type).content_length(content_length);
        let request = request.set_checksum_sha256(sha256.map(|sha256| STANDARD.encode(sha256)));
        let presigned = request.presigned(config(expires)).await.map_err(|error| storage("presign an upload", error))?;
        let headers = presigned.headers().map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Ok(Presigned { url: presigned.uri().to_owned(), headers })
    }

    /// A GET of the object. With `download_name` the browser saves it under that name instead of showing it. Valid for
    /// `expires`, at most 7 days, and no longer than the credentials it is signed with.
    ///
    /// The URL is a secret until it expires: keep it out of logs.
    pub async fn presign_get(&self, key: &str, expires: Duration, download_name: Option<&str>) -> Result<String, StoreError> {
        let request = self.client.get_object().bucket(&self.name).key(key);
        let request = request.set_response_content_disposition(download_name.map(attachment));
        let presigned = request.presigned(config(expires)).await.map_err(|error| storage("presign a download", error))?;
        Ok(presigned.uri().to_owned())
    }
}

fn config(expires: Duration) -> PresigningConfig {
    PresigningConfig::expires_in(expires.min(MAX_PRESIGN)).expect("seven days or less are valid")
}

/// `Content-Disposition` with the name in plain ASCII and in full (RFC 6266, RFC 8187).
fn attachment(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|char| if char.is_ascii_graphic() && !matches!(char, '"' | '\\' | '/' | '%') || char == ' ' { char } else { '_' })
        .collect();
    let mut full = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            full.push(char::from(byte));
        } else {
            full.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{full}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn download_names_survive_and_cannot_break_out() {
        assert_eq!(attachment("cat.png"), "attachment; filename=\"cat.png\"; filename*=UTF-8''cat.png");
        assert_eq!(
            attachment("кот \"1\".png"),
            "attachment; filename=\"___ _1_.png\"; filename*=UTF-8''%D0%BA%D0%BE%D1%82%20%221%22.png"
        );
        assert!(!attachment("a\r\nSet-Cookie: x").contains('\n'));
    }

    #[test]
    fn debug_hides_the_signature() {
        let presigned = Presigned {
            url: "https://bucket.s3.amazonaws.com/uploads/a.png?X-Amz-Signature=5ec4e7".into(),
            headers: vec![("content-type".into(), "image/png".into())],
        };
        let debug = format!("{presigned:?}");
        assert!(debug.contains("uploads/a.png") && !debug.contains("5ec4e7"), "{debug}");
    }
}
