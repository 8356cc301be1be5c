//! As much of HTTP/1.1 as the Lambda runtime's client and the AWS SDK speak to us: whole messages with a length, or in chunks.

use std::io::{self, BufRead, Read, Write};

/// A larger message is a fault of the test, in bytes.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A request that arrived completely.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Request {
    /// The next request of a connection. None: it was closed.
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(first) = line(from)? else { return Ok(None) };
        let mut words = first.split(' ').map(str::to_owned);
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return Err(malformed("the request line")) };
        let mut headers = Vec::new();
        loop {
            let text = line(from)?.ok_or_else(|| malformed("the headers"))?;
            if text.is_empty() {
                break;
            }
            let (name, value) = text.split_once(':').ok_or_else(|| malformed("a header"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let request = Self { method, path, headers };
        request.read_body(from)?;
        Ok(Some(request))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    fn read_body(&self, from: &mut impl BufRead) -> io::Result<()> {
        if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            loop {
                let size = line(from)?.ok_or_else(|| malformed("a chunk"))?;
                let size = size.split(';').next().unwrap_or_default();
                let size = usize::from_str_radix(size, 16).map_err(|_| malformed("the size of a chunk"))?;
                skip(from, size)?;
                line(from)?;
                if size == 0 {
                    return Ok(());
                }
            }
        }
        let length = self.header("content-length").map_or(Ok(0), str::parse).map_err(|_| malformed("the content-length"))?;
        skip(from, length)
    }
}

/// Writes a whole answer and keeps the connection.
pub(crate) fn answer(to: &mut impl Write, status: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<()> {
    let mut text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    to.write_all(&bytes)?;
    to.flush()
}

fn line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut text = String::new();
    let mut limited = from.take(64 * 1024);
    if limited.read_line(&mut text)? == 0 {
        return Ok(None);
    }
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn skip(from: &mut impl BufRead, bytes: usize) -> io::Result<()> {
    if bytes > MAX_BYTES {
        return Err(malformed("a body of this length"));
    }
    let limit = u64::try_from(bytes).map_err(io::Error::other)?;
    io::copy(&mut from.take(limit), &mut io::sink()).map(drop)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} cannot be read"))
}
