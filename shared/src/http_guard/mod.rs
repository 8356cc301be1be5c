//! Outbound HTTP that cannot be turned against our own network (server-side request forgery).
//!
//! Three checks, because no single one sees everything: [`Outbound::check`] looks at the URL (a literal address never
//! reaches a resolver), the clients' resolver looks at what a name resolves to at the moment of connecting (so that a
//! second answer cannot differ from the one that was checked), and every redirect is checked as a URL again.

use std::error::Error;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect;
use url::{Host, Url};

mod address;

pub use address::is_public;

/// How long a connection, TLS included, may take to come about.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an API call may take from connecting to the last byte, unless the request sets its own time-out.
pub const API_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a media server may be silent, before its answer and within it.
pub const MEDIA_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The most redirects followed for a result link.
pub const MAX_REDIRECTS: usize = 3;

const USER_AGENT: &str = concat!("darkroom/", env!("CARGO_PKG_VERSION"));

/// What is allowed beyond public `https`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Allows this machine's own addresses, and plain `http` to them: the simulators of the one-process run.
    pub allow_loopback: bool,
}

impl Policy {
    fn permits(self, address: IpAddr) -> bool {
        is_public(address) || (self.allow_loopback && address.to_canonical().is_loopback())
    }

    fn check(self, url: &Url) -> Result<(), GuardError> {
        let host = url.host().ok_or(GuardError::HostMissing)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(GuardError::CredentialsInUrl { host: host.to_string() });
        }
        let address = match host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
        };
        if let Some(address) = address
            && !self.permits(address)
        {
            return Err(GuardError::AddressRefused { host: host.to_string(), address });
        }
        match url.scheme() {
            "https" => Ok(()),
            "http" if self.allow_loopback && is_loopback_host(&host) => Ok(()),
            scheme => Err(GuardError::SchemeRefused { scheme: scheme.to_owned(), host: host.to_string() }),
        }
    }

    /// All addresses of `host`, or a refusal if a single one of them is not permitted: whoever mixes public and private
    /// answers means harm.
    fn admit(self, host: &str, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, GuardError> {
        match addresses.iter().find(|address| !self.permits(address.ip())) {
            Some(address) => Err(GuardError::AddressRefused { host: host.to_owned(), address: address.ip() }),
            None => Ok(addresses),
        }
    }
}

fn is_loopback_host(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name == "localhost" || name.ends_with(".localhost")
        }
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => IpAddr::V6(*address).to_canonical().is_loopback(),
    }
}

/// The guarded HTTP clients; clones share their connections. Neither uses a proxy, whatever the environment says: behind
/// one the addresses could not be checked.
#[derive(Clone, Debug)]
pub struct Outbound {
    policy: Policy,
    /// Made with the first call: most functions never call anybody, and to read the trusted certificates takes a millisecond or two.
    clients: Arc<OnceLock<Clients>>,
}

#[derive(Debug)]
struct Clients {
    api: reqwest::Client,
    fresh: reqwest::Client,
    media: reqwest::Client,
}

impl Clients {
    fn new(policy: Policy) -> Self {
        let tls = tls();
        let builder = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .user_agent(USER_AGENT)
                .no_proxy()
                .referer(false)
                .connect_timeout(CONNECT_TIMEOUT)
                .dns_resolver(Arc::new(GuardedResolver { policy }))
        };
        // Only TLS can fail to be set up, and it is given.
        let build =
            |builder: reqwest::ClientBuilder| builder.build().expect("clients of this kind can be built, as the tests show");
        Self {
            api: build(builder().timeout(API_TIMEOUT).redirect(redirect::Policy::none())),
            fresh: build(builder().timeout(API_TIMEOUT).redirect(redirect::Policy::none()).pool_max_idle_per_host(0)),
            media: build(builder().read_timeout(MEDIA_IDLE_TIMEOUT).redirect(checked_redirects(policy))),
        }
    }
}

/// Trusts the system's certificates, which are read here, once for all clients. Without any, every connection is refused.
fn tls() -> rustls::ClientConfig {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        tracing::error!(errors = ?found.errors, "this system trusts no certificates; no https call will succeed");
    }
    let mut trusted = rustls::RootCertStore::empty();
    trusted.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc speaks TLS 1.2 and 1.3, as the tests show")
        .with_root_certificates(trusted)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tls
}

impl Outbound {
    /// Clients that are made when they are needed.
    pub fn new(policy: Policy) -> Self {
        Self { policy, clients: Arc::default() }
    }

    fn clients(&self) -> &Clients {
        self.clients.get_or_init(|| Clients::new(self.policy))
    }

    /// For providers' APIs: follows no redirects. Give it only URLs that passed [`Outbound::check`].
    ///
    /// A request is repeated only when an HTTP/2 server states that it did not process it (`REFUSED_STREAM`, or `GOAWAY`
    /// below the request's stream; RFC 9113, 8.7).
    pub fn api(&self) -> &reqwest::Client {
        &self.clients().api
    }

    /// Like [`Outbound::api`], with a new connection for each request. A function that was frozen wakes up with connections that
    /// are long dead: a request that went onto one of them would be lost without anybody knowing whether it arrived.
    pub fn fresh(&self) -> &reqwest::Client {
        &self.clients().fresh
    }

    /// For result links: follows at most [`MAX_REDIRECTS`] redirects, each checked. Give it only URLs that passed
    /// [`Outbound::check`]. Without an overall time-out: the length of a film is not a fault, silence is.
    pub fn media(&self) -> &reqwest::Client {
        &self.clients().media
    }

    /// Parses `url` and refuses what is never to be requested: non-public literal addresses, credentials in the URL, and
    /// schemes other than `https` (`http` only to loopback, when that is allowed). What a name resolves to is
    /// checked when the clients connect.
    pub fn check(&self, url: &str) -> Result<Url, GuardError> {
        let url = Url::parse(url).map_err(|source| GuardError::UrlInvalid { source })?;
        self.policy.check(&url)?;
        Ok(url)
    }
}

fn checked_redirects(policy: Policy) -> redirect::Policy {
    redirect::Policy::custom(move |attempt| {
        // `previous` holds the first URL too.
        if attempt.previous().len() > MAX_REDIRECTS {
            return attempt.error(GuardError::TooManyRedirects);
        }
        match policy.check(attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(error) => attempt.error(error),
        }
    })
}

struct GuardedResolver {
    policy: Policy,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy;
        let host = name.as_str().to_owned();
        Box::pin(async move {
            let lookup = {
                let host = host.clone();
                tokio::task::spawn_blocking(move || (host.as_str(), 0).to_socket_addrs().map(Vec::from_iter))
            };
            let addresses = lookup.await??;
            let addresses = policy.admit(&host, addresses)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Why a URL or an address was refused. Names at most the host: a path or query may hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    #[error("not a URL; give an absolute https URL")]
    UrlInvalid {
        #[source]
        source: url::ParseError,
    },
    #[error("the URL has no host; give an absolute https URL")]
    HostMissing,
    #[error("the scheme `{scheme}` is refused for host `{host}`; use https")]
    SchemeRefused { scheme: String, host: String },
    #[error("the URL for host `{host}` holds a user name or password; leave them out")]
    CredentialsInUrl { host: String },
    #[error("host `{host}` leads to the non-public address `{address}`; use a public host")]
    AddressRefused { host: String, address: IpAddr },
    #[error("more than 3 redirects; give the final URL")]
    TooManyRedirects,
}

/// The refusal inside a client's error, if that is what stopped the request: trying again will not help.
pub fn refusal(error: &reqwest::Error) -> Option<&GuardError> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(refusal) = error.downcast_ref() {
            return Some(refusal);
        }
        cause = error.source();
    }
    None
}

/// Whether the request of [`Outbound::api`] that failed with `error` certainly never reached the server: it could not be
/// built, or the connection did not come about (name, TCP, TLS). Everything else, a time-out after connecting above all,
/// may have been received and acted upon.
pub fn never_sent(error: &reqwest::Error) -> bool {
    error.is_builder() || error.is_connect()
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the answer is over the limit of {max_bytes} bytes")]
    TooLarge { max_bytes: usize },
    /// Cut off, or silent for too long. Without the URL, which may hold a secret.
    #[error("the answer could not be read to its end")]
    Interrupted {
        #[source]
        source: reqwest::Error,
    },
}

/// Reads a body of at most `max_bytes` into memory. The size is counted while reading; `Content-Length` only serves to
/// refuse sooner.
pub async fn read_capped(mut response: reqwest::Response, max_bytes: usize) -> Result<Bytes, ReadError> {
    let declared = response.content_length().unwrap_or(0);
    let expected = usize::try_from(declared).unwrap_or(usize::MAX);
    if expected > max_bytes {
        return Err(ReadError::TooLarge { max_bytes });
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| ReadError::Interrupted { source: error.without_url() })? {
        if chunk.len() > max_bytes - body.len() {
            return Err(ReadError::TooLarge { max_bytes });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests;
