//! Forms as `multipart/form-data`, read whole.

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{HeaderMap, header};
use futures_util::FutureExt;
use serde_json::{Map, Value, json};

/// One part of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    /// Given for files only.
    pub(super) file_name: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) bytes: Vec<u8>,
}

/// The parts of a form, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) parts: Vec<Part>,
}

impl Form {
    /// Reads a body; none when it is not a whole form.
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        // The whole body is there: nothing is waited for.
        Self::parse(headers, body).now_or_never().flatten()
    }

    async fn parse(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let mut request = Request::new(Body::from(body.to_vec()));
        request.headers_mut().insert(header::CONTENT_TYPE, headers.get(header::CONTENT_TYPE)?.clone());
        // The server has limited the body: forms alone have a limit of their own.
        DefaultBodyLimit::disable().apply(&mut request);
        let mut multipart = Multipart::from_request(request, &()).await.ok()?;
        let mut parts = Vec::new();
        while let Some(field) = multipart.next_field().await.ok()? {
            parts.push(Part {
                name: field.name()?.to_owned(),
                file_name: field.file_name().map(str::to_owned),
                content_type: field.content_type().map(str::to_owned),
                bytes: field.bytes().await.ok()?.to_vec(),
            });
        }
        Some(Self { parts })
    }

    /// The first part of that name that is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.parts.iter().filter(|part| part.name == name).find_map(Part::text)
    }

    /// The files of that name.
    pub(super) fn files(&self, name: &str) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| part.name == name && part.file_name.is_some())
    }

    /// The text parts as the fields of an object; of several of one name, the last.
    pub(super) fn texts(&self) -> Map<String, Value> {
        self.parts.iter().filter_map(|part| Some((part.name.clone(), json!(part.text()?)))).collect()
    }

    /// Bytes of all parts together.
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.bytes.len()).sum()
    }

    /// The form as the journal shows it: texts, and files by their facts; a list where a name is repeated.
    pub(super) fn described(&self) -> Value {
        let mut shown = Map::new();
        for part in &self.parts {
            let value = part.text().map_or_else(
                || json!({"file": part.file_name, "content_type": part.content_type, "bytes": part.bytes.len()}),
                |text| json!(text),
            );
            match shown.get_mut(&part.name) {
                None => {
                    shown.insert(part.name.clone(), value);
                }
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = json!([first.take(), value]),
            }
        }
        Value::Object(shown)
    }
}

impl Part {
    fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok().filter(|_| self.file_name.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: &str, body: &[u8]) -> Option<Form> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type.parse().unwrap())]);
        Form::read(&headers, body)
    }

    #[test]
    fn texts_and_files_of_a_form_are_read() {
        let body = b"--x-1\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na fox\r\n\
            --x-1\r\nContent-Disposition: form-data; name=\"image[]\"; filename=\"a;b.png\"\r\nContent-Type: image/png\r\n\r\n\x00\r\n--x\xff\r\n\
            --x-1\r\nContent-Disposition: form-data; name=\"image[]\"; filename=\"b.png\"\r\n\r\n\r\n--x-1--\r\n";
        let form = read("multipart/form-data; boundary=\"x-1\"", body).unwrap();
        assert_eq!((form.text("prompt"), form.text("image[]")), (Some("a fox"), None));
        assert_eq!(Value::Object(form.texts()), json!({"prompt": "a fox"}));
        assert_eq!(form.files("image[]").map(|part| part.bytes.len()).collect::<Vec<_>>(), [7, 0]);
        assert_eq!(form.bytes(), 12);
        let shown = json!({
            "prompt": "a fox",
            "image[]": [
                {"file": "a;b.png", "content_type": "image/png", "bytes": 7},
                {"file": "b.png", "content_type": null, "bytes": 0},
            ],
        });
        assert_eq!(form.described(), shown);
    }

    #[test]
    fn large_files_are_read_whole() {
        let start = b"--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\n";
        let body = [&start[..], &vec![b'-'; 20_000_000], b"\r\n--x--\r\n"].concat();
        assert_eq!(read("multipart/form-data; boundary=x", &body).map(|form| form.bytes()), Some(20_000_000));
    }

    #[test]
    fn what_is_no_whole_form_is_none() {
        for body in [&b""[..], b"--x", b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb", b"{}"] {
            assert_eq!(read("multipart/form-data; boundary=x", body), None);
        }
        assert_eq!(read("application/json", b"{}"), None);
        assert_eq!(Form::read(&HeaderMap::new(), b"--x--"), None);
    }
}
