//! Calls the simulators make: callbacks and fetching of inputs. Loopback only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect;
use serde_json::Value;
use url::{Host, Url};

/// Time for one call as a whole.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest input fetched, in bytes.
const MAX_INPUT_BYTES: usize = 64 * 1024 * 1024;

pub(super) struct Outbound {
    client: reqwest::Client,
}

impl Outbound {
    pub(super) fn new() -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(LoopbackResolver))
            .build()?;
        Ok(Self { client })
    }

    /// Posts a callback; the receiver's status, or why there was none.
    pub(super) async fn post(&self, url: &str, headers: HeaderMap, body: Vec<u8>) -> Result<u16, String> {
        let url = loopback(url)?;
        let sent = self.client.post(url).headers(headers).body(body).send().await;
        sent.map(|answer| answer.status().as_u16()).map_err(without_url)
    }

    /// Posts JSON and reads the answer's; or why there was none.
    pub(super) async fn exchange(&self, url: &str, body: &Value, timeout: Duration) -> Result<(u16, Value), String> {
        let url = loopback(url)?;
        let answer = self.client.post(url).timeout(timeout).json(body).send().await.map_err(without_url)?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.map_err(without_url)?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    /// Fetches an input; its bytes, or why they cannot be had.
    pub(super) async fn fetch(&self, url: &str) -> Result<Vec<u8>, String> {
        let url = loopback(url)?;
        let mut answer = self.client.get(url).send().await.map_err(without_url)?;
        if !answer.status().is_success() {
            return Err(format!("the server answered {}", answer.status()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(without_url)? {
            if bytes.len() + chunk.len() > MAX_INPUT_BYTES {
                return Err(format!("it is larger than {MAX_INPUT_BYTES} bytes"));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// Whether a callback may go there: `https`, and `http` to this machine, which the real ones do not allow.
pub(super) fn may_be_called(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url)))
}

/// Whether `url` may be called: `http` or `https` to this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

fn loopback(url: &str) -> Result<Url, String> {
    let url = Url::parse(url).map_err(|error| format!("not a URL: {error}"))?;
    if is_loopback(&url) {
        Ok(url)
    } else {
        let host = url.host_str().unwrap_or("none");
        Err(format!("the host `{host}` is not this machine, which simulators never leave"))
    }
}

/// Links carry signatures: they stay out of error texts.
fn without_url(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Names that pass [`is_loopback`] are this machine, whatever a name server says.
struct LoopbackResolver;

impl Resolve for LoopbackResolver {
    fn resolve(&self, _name: Name) -> Resolving {
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_called() {
        for url in ["http://127.0.0.1:9/x", "http://[::1]/", "https://localhost:8443/a", "http://files.localhost/"] {
            assert!(loopback(url).is_ok(), "{url}");
        }
        let outside = ["http://10.0.0.1/", "https://example.com/", "http://localhost.example.com/", "http://0.0.0.0/"];
        for url in outside.into_iter().chain(["data:image/png;base64,AA==", "nonsense", "http://169.254.169.254/"]) {
            assert!(loopback(url).is_err(), "{url}");
        }
    }
}
