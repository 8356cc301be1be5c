//! One request, as a manifest describes it, and its answer.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::multipart::{Form, Part};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use url::Url;

use super::inputs::{Files, MediaFile};
use super::{Provider, Remote};
use crate::catalog::calls::{Call, Method};
use crate::generation::{Ambiguity, Job};
use crate::http_guard::{never_sent, read_capped};
use crate::outcome::Reply;
use crate::pick::plain_text;
use crate::template::{self, Variables};

/// The largest answer that is read unless its call says otherwise, in bytes: links and descriptions.
const MAX_ANSWER_BYTES: usize = 2 * 1024 * 1024;
/// How much of an answer that is not JSON can be looked into, in characters.
const MAX_TEXT: usize = 2_000;
/// A file of any length, by a link that needs the key.
const KEYED_DOWNLOAD_LIMIT: Duration = Duration::from_secs(280);

/// Why a request was not sent, or its answer not read.
pub(super) enum CallError {
    /// It cannot be made: the key is missing, or the manifest does not fit.
    NotMade(String),
    /// It certainly did not arrive.
    NotSent(String),
    /// It may have arrived.
    Lost(Ambiguity, String),
}

impl CallError {
    pub(super) fn of(error: reqwest::Error) -> Self {
        // The URL may carry a callback token.
        let error = error.without_url();
        let why = if error.is_timeout() { "timed out".to_owned() } else { root_cause(&error) };
        if never_sent(&error) {
            Self::NotSent(why)
        } else if error.is_timeout() {
            Self::Lost(Ambiguity::TimedOut, why)
        } else {
            Self::Lost(Ambiguity::ConnectionLost, why)
        }
    }

    pub(super) fn why(self) -> String {
        match self {
            Self::NotMade(why) | Self::NotSent(why) | Self::Lost(_, why) => why,
        }
    }
}

fn not_made(why: impl ToString) -> CallError {
    CallError::NotMade(why.to_string())
}

impl Provider<'_> {
    /// A request about a job: nothing that could be paid twice.
    pub(super) async fn call_about(
        &self,
        remote: Remote<'_>,
        call: &Call,
        job: &Job,
        facts: &BTreeMap<String, String>,
    ) -> Result<Reply, CallError> {
        let variables = self.job_variables(remote, job, facts);
        self.call(remote, self.backend.outbound.api(), call, &variables, &Files::new()).await
    }

    pub(super) async fn call(
        &self,
        remote: Remote<'_>,
        client: &reqwest::Client,
        call: &Call,
        variables: &Variables,
        files: &Files,
    ) -> Result<Reply, CallError> {
        let (reply, _) = self.call_with_headers(remote, client, call, variables, files).await?;
        Ok(reply)
    }

    pub(super) async fn call_with_headers(
        &self,
        remote: Remote<'_>,
        client: &reqwest::Client,
        call: &Call,
        variables: &Variables,
        files: &Files,
    ) -> Result<(Reply, HeaderMap), CallError> {
        let url = self.url(remote, call, variables)?;
        let request = match call.method {
            Method::Get => client.get(url),
            Method::Post => client.post(url),
            Method::Put => client.put(url),
            Method::Delete => client.delete(url),
        };
        let mut headers = self.headers(remote)?;
        add_headers(&mut headers, &call.headers, variables)?;
        let request = request.headers(headers).timeout(Duration::from_secs(u64::from(call.timeout_s)));
        let response = with_body(request, call, variables, files)?.send().await.map_err(CallError::of)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = read_capped(response, call.max_answer_bytes.unwrap_or(MAX_ANSWER_BYTES))
            .await
            .map_err(|error| CallError::Lost(Ambiguity::ConnectionLost, error.to_string()))?;
        let retry_after = retry_after(&headers, self.backend.now());
        let reply = match serde_json::from_slice(&bytes) {
            Ok(body) => Reply { status, retry_after, body, bytes: None },
            Err(_) => Reply { status, retry_after, body: described(&headers, &bytes), bytes: Some(bytes) },
        };
        Ok((reply, headers))
    }

    /// The first URL whose variables are known. The key goes to the provider's own addresses only, whatever an answer claims.
    fn url(&self, remote: Remote<'_>, call: &Call, variables: &Variables) -> Result<Url, CallError> {
        for candidate in &call.urls {
            // Links that the provider gave are taken as they are.
            let whole = candidate.starts_with("{{job.") || candidate.starts_with("{{step.");
            let is_host =
                |value: &str| value == self.base_url(remote.http) || remote.http.hosts.values().any(|host| host == value);
            let escape = |value: &str| if whole || is_host(value) { value.to_owned() } else { escape_path(value) };
            let rendered = template::render_string(candidate, variables, escape).map_err(not_made)?;
            let Some(mut url) = rendered.and_then(|text| text.parse::<Url>().ok()) else { continue };
            if !self.is_home(remote, &url) {
                tracing::warn!(provider = self.name(), "an answer pointed to another host; not followed");
                continue;
            }
            for (name, value) in &call.query {
                let value = template::render_string(value, variables, str::to_owned).map_err(not_made)?;
                if let Some(value) = value {
                    url.query_pairs_mut().append_pair(name, &value);
                }
            }
            return self.backend.outbound.check(url.as_str()).map_err(not_made);
        }
        Err(not_made("no URL of the manifest can be made"))
    }

    fn is_home(&self, remote: Remote<'_>, url: &Url) -> bool {
        let hosts = remote.http.hosts.values().chain([&remote.http.base_url]);
        let origins = hosts.filter_map(|host| self.rebased_host(host).parse::<Url>().ok());
        origins.map(|host| host.origin()).any(|origin| origin == url.origin())
    }

    fn headers(&self, remote: Remote<'_>) -> Result<HeaderMap, CallError> {
        let Some(key) = &self.key else {
            return Err(not_made(format!("`{}` is not set", remote.http.key_env)));
        };
        let mut variables = Variables::new();
        variables.insert("key".to_owned(), Value::from(key.expose_secret()));
        let mut headers = HeaderMap::new();
        add_headers(&mut headers, &remote.http.headers, &variables)?;
        Ok(headers)
    }

    /// Starts to download a file that only holders of the key may have. The key goes to the provider alone: a redirection is
    /// followed without it.
    pub async fn download_with_key(&self, link: &str) -> Result<reqwest::Response, String> {
        let outbound = &self.backend.outbound;
        let remote = self.remote().ok_or("this provider has no links")?;
        let url = outbound.check(link).map_err(|error| error.to_string())?;
        if !self.is_home(remote, &url) {
            return Err("the link leads to another host".to_owned());
        }
        let headers = self.headers(remote).map_err(CallError::why)?;
        let request = outbound.api().get(url.clone()).headers(headers).timeout(KEYED_DOWNLOAD_LIMIT);
        let response = request.send().await.map_err(|error| CallError::of(error).why())?;
        let location = response.headers().get("location").filter(|_| response.status().is_redirection());
        let Some(location) = location.and_then(|location| url.join(location.to_str().ok()?).ok()) else { return Ok(response) };
        let location = outbound.check(location.as_str()).map_err(|error| error.to_string())?;
        outbound.media().get(location).send().await.map_err(|error| CallError::of(error).why())
    }
}

fn add_headers(headers: &mut HeaderMap, templates: &BTreeMap<String, String>, variables: &Variables) -> Result<(), CallError> {
    for (name, value) in templates {
        let Some(value) = template::render_string(value, variables, str::to_owned).map_err(not_made)? else { continue };
        let (Ok(name), Ok(mut value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value)) else {
            return Err(not_made(format!("the header `{name}` of the manifest cannot be made")));
        };
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(())
}

fn with_body(
    request: reqwest::RequestBuilder,
    call: &Call,
    variables: &Variables,
    files: &Files,
) -> Result<reqwest::RequestBuilder, CallError> {
    if let Some(body) = &call.body {
        let body = template::render(body, variables).map_err(not_made)?;
        return Ok(match body {
            Some(body) => request.json(&body),
            None => request,
        });
    }
    if let Some(form) = &call.form {
        let Some(Value::Object(parts)) = template::render(form, variables).map_err(not_made)? else {
            return Err(not_made("the form is not an object"));
        };
        return Ok(request.multipart(multipart(parts, files)?));
    }
    let Some(raw) = &call.raw else { return Ok(request) };
    let file = template::render(&Value::from(raw.as_str()), variables).map_err(not_made)?;
    let file = file.as_ref().and_then(|file| MediaFile::of(file, files)).ok_or_else(|| not_made("there is no file to send"))?;
    let request = if call.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
        request
    } else {
        request.header(CONTENT_TYPE, &file.content_type)
    };
    Ok(request.body(file.bytes.clone()))
}

fn multipart(parts: Map<String, Value>, files: &Files) -> Result<Form, CallError> {
    let mut form = Form::new();
    for (name, value) in parts {
        let values = if let Value::Array(values) = value { values } else { vec![value] };
        for value in values {
            form = match MediaFile::of(&value, files) {
                Some(file) => {
                    let part = Part::stream(reqwest::Body::from(file.bytes.clone())).file_name(file.name.clone());
                    form.part(name.clone(), part.mime_str(&file.content_type).map_err(not_made)?)
                }
                None => {
                    let text = plain_text(&value).unwrap_or_else(|| value.to_string());
                    form.text(name.clone(), text)
                }
            };
        }
    }
    Ok(form)
}

/// What picks see of an answer that is not JSON.
fn described(headers: &HeaderMap, bytes: &Bytes) -> Value {
    let texts = headers.iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), Value::from(value.to_str().ok()?))));
    let mut described = json!({"headers": texts.collect::<Map<_, _>>()});
    if let Ok(text) = std::str::from_utf8(bytes) {
        described["text"] = Value::from(text.chars().take(MAX_TEXT).collect::<String>());
    }
    described
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// `retry-after-ms`, or `Retry-After` as seconds or as a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<SignedDuration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(ms) = text(HeaderName::from_static("retry-after-ms")).and_then(|text| text.parse::<u32>().ok()) {
        return Some(SignedDuration::from_millis(i64::from(ms)));
    }
    let text = text(RETRY_AFTER)?;
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(SignedDuration::from_secs(i64::from(seconds)));
    }
    let until = rfc2822::parse(text).ok()?.timestamp();
    Some(until.duration_since(now).max(SignedDuration::ZERO))
}

/// Percent-encodes everything but unreserved characters (RFC 3986), the slash, and the colon that ends some names of methods.
fn escape_path(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_retry_after_is_understood() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().expect("a time");
        let read = |name: &'static str, value: &'static str| {
            retry_after(&HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]), now)
        };
        assert_eq!(read("retry-after", "30"), Some(SignedDuration::from_secs(30)));
        assert_eq!(read("retry-after-ms", "1500"), Some(SignedDuration::from_millis(1_500)));
        assert_eq!(read("retry-after", "Sat, 21 Nov 2026 10:01:00 GMT"), Some(SignedDuration::from_mins(1)));
        assert_eq!(read("retry-after", "Sat, 21 Nov 2026 09:00:00 GMT"), Some(SignedDuration::ZERO));
        assert_eq!(read("retry-after", "soon"), None);
    }

    #[test]
    fn an_id_cannot_leave_its_place_in_the_path() {
        assert_eq!(escape_path("owner/name:generate"), "owner/name:generate");
        assert_eq!(escape_path("a?b#c d%"), "a%3Fb%23c%20d%25");
    }
}
