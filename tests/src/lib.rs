//! The harness: a whole local stack, a customer's view of it, and an auditor who trusts nobody.

use std::net::TcpListener;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use local::simulators::Journal;
use local::stack::{Options, Stack};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use shared::clock::{Clock, random_bytes};
use shared::http_guard::{Outbound, Policy};
use tokio::task::JoinSet;

mod audit;
mod callback;
mod process;
mod wire;

pub use audit::Closing;
pub use callback::Callback;
pub use process::Process;
pub use wire::{Fault, Wire};

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An account's view of a running product, over HTTP alone.
pub struct Customer {
    /// Where the API is, without a slash at the end.
    pub api: String,
    pub api_key: String,
    pub http: Outbound,
}

/// A running stack and the development account's view of it.
pub struct World {
    pub stack: Stack,
    pub wire: Wire,
    pub customer: Customer,
    /// Where it keeps everything; none: in memory.
    pub data: Option<PathBuf>,
}

impl Deref for World {
    type Target = Customer;

    fn deref(&self) -> &Customer {
        &self.customer
    }
}

/// How a world is to be.
#[derive(Default, Clone)]
pub struct Setting {
    /// Kept between worlds; in memory unless given.
    pub data: Option<PathBuf>,
    /// Environment variables of the functions.
    pub environment: Vec<(&'static str, String)>,
    /// Shared between worlds; the system's unless given.
    pub clock: Option<Clock>,
    /// Where the API listens, so that another world can take its place; any free port unless given.
    pub port: u16,
}

/// A server of a test's own; its address. It ends when the set is dropped.
pub async fn serve(router: Router) -> (String, JoinSet<()>) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    (address, server)
}

/// A port that nobody listens on, below those that the system takes for outgoing connections.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let start = u16::from_be_bytes(random_bytes());
    loop {
        // Counted, so that two tests of one process never get the same one.
        let number = TAKEN.fetch_add(1, Ordering::SeqCst);
        let port = 10_000 + (start / 64 * 20 + number) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// An answer of the API.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Reply {
    /// The header's text, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl World {
    /// A fresh world in memory.
    pub async fn start() -> Self {
        Self::with(Setting::default()).await
    }

    /// A world of one's own making.
    pub async fn with(setting: Setting) -> Self {
        let wire = Wire::default();
        let started = Instant::now();
        let stack = loop {
            match Stack::start(setting.options(&wire)).await {
                Ok(stack) => break stack,
                // What a dropped world held is let go a moment later.
                Err(error) => {
                    assert!(
                        setting.port != 0 && started.elapsed() < Duration::from_secs(10),
                        "the stack does not start: {error:#}"
                    );
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        };
        let customer = Customer::new(stack.api.clone(), stack.api_key.clone());
        Self { stack, wire, customer, data: setting.data }
    }

    /// The photo in the repository.
    pub fn photo() -> Vec<u8> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/media/photo.jpg");
        std::fs::read(path).expect("the photo is there")
    }

    /// Lets the clock jump, and with it everything that waits for it: delayed messages, leases, the minute's tick.
    pub fn later(&self, by: Duration) {
        self.stack.clock.advance(by);
    }

    /// Lets the clock jump once nothing is being worked on: a message whose delay was reckoned before a jump and sent after it would
    /// have to be waited for.
    pub async fn pass(&self, by: Duration) {
        self.at_rest().await;
        self.later(by);
    }

    /// Lets minute after minute pass until the generation is as `wanted` says.
    pub async fn minutes_until(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..600 {
            let generation = self.generation(id).await;
            if wanted(&generation) {
                return generation;
            }
            self.later(Duration::from_secs(61));
            // The tick is real work of other tasks: give it real time.
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        panic!("ten hours passed in vain; it is {:#}", self.generation(id).await);
    }

    /// Lets minute after minute pass until it has ended.
    pub async fn minutes_until_ended(&self, id: &str) -> Value {
        self.minutes_until(id, |generation| !generation["finished_at"].is_null()).await
    }

    /// Waits until the providers' journal is as `wanted` says.
    pub async fn journal(&self, wanted: impl Fn(&Journal) -> bool) -> &Journal {
        let journal = self.stack.simulators.journal();
        let waited = tokio::time::timeout(PATIENCE, journal.wait_for(wanted)).await;
        assert!(waited.is_ok(), "waited in vain for the providers");
        journal
    }

    /// Waits until no message is being worked on or could be; delayed ones may be left.
    pub async fn at_rest(&self) {
        let started = Instant::now();
        let mut calm = 0;
        while calm < 3 {
            let busy = ["DispatchQueue", "PollQueue", "CollectQueue"].into_iter().any(|queue| {
                let depth = self.stack.queues.depth(queue);
                depth.visible + depth.in_flight > 0
            });
            calm = if busy { 0 } else { calm + 1 };
            assert!(started.elapsed() < PATIENCE, "never at rest");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Setting {
    fn options(&self, wire: &Wire) -> Options {
        Options {
            data: self.data.clone(),
            port: self.port,
            environment: self.environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            clock: self.clock.clone(),
            dynamodb_interceptor: Some(wire.interceptor()),
            ..Options::default()
        }
    }
}

impl Customer {
    /// The owner of `api_key` at the API at `api`.
    pub fn new(api: String, api_key: String) -> Self {
        let http = Outbound::new(Policy { allow_loopback: true }).expect("an HTTP client");
        Self { api, api_key, http }
    }

    /// A request of the development account.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_as(&self.api_key, method, path)
    }

    /// A request with another key.
    pub fn request_as(&self, key: &str, method: Method, path: &str) -> RequestBuilder {
        self.http.api().request(method, format!("{}{path}", self.api)).bearer_auth(key).timeout(PATIENCE)
    }

    /// Sends a request; an answer that is not JSON is a string.
    pub async fn send(&self, request: RequestBuilder) -> Reply {
        let answer = request.send().await.expect("the API answers");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.expect("a body");
        Reply { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Asks for a generation, which has to be accepted; its id.
    pub async fn create(&self, model: &str, prompt: &str) -> String {
        self.create_with(model, json!({ "prompt": prompt })).await
    }

    pub async fn create_with(&self, model: &str, params: Value) -> String {
        let reply = self.post("/v1/generations", &json!({ "model": model, "params": params })).await;
        assert_eq!(reply.status, 202, "{:?}", reply.body);
        reply.body["id"].as_str().expect("an id").to_owned()
    }

    pub async fn generation(&self, id: &str) -> Value {
        let reply = self.get(&format!("/v1/generations/{id}")).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        reply.body
    }

    /// Waits until the generation is as `wanted` says.
    pub async fn until(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let generation = self.generation(id).await;
            if wanted(&generation) {
                return generation;
            }
            assert!(started.elapsed() < PATIENCE, "waited in vain; it is {generation:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it is in this phase.
    pub async fn phase(&self, id: &str, phase: &str) -> Value {
        self.until(id, |generation| generation["phase"] == phase).await
    }

    /// Waits until it has ended.
    pub async fn ended(&self, id: &str) -> Value {
        self.until(id, |generation| !generation["finished_at"].is_null()).await
    }

    /// What can be spent, and what is held.
    pub async fn balance(&self) -> (u64, u64) {
        let account = self.get("/v1/account").await.body;
        (account["available"].as_u64().expect("a number"), account["held"].as_u64().expect("a number"))
    }

    /// Uploads a file as a customer would; the asset's id.
    pub async fn upload(&self, content_type: &str, file: Vec<u8>) -> String {
        let reply = self.post("/v1/uploads", &json!({"content_type": content_type, "bytes": file.len()})).await;
        assert_eq!(reply.status, 201, "{:?}", reply.body);
        let status = self.put_upload(&reply.body, file).await;
        assert_eq!(status, 200);
        let id = reply.body["id"].as_str().expect("an id").to_owned();
        let complete = self.post(&format!("/v1/uploads/{id}/complete"), &json!({})).await;
        assert_eq!(complete.status, 200, "{:?}", complete.body);
        id
    }

    /// Sends a file to the address that `POST /v1/uploads` gave; the HTTP status.
    pub async fn put_upload(&self, upload: &Value, file: Vec<u8>) -> u16 {
        let mut request = self.http.api().put(upload["url"].as_str().expect("a URL")).body(file);
        for (name, value) in upload["headers"].as_object().expect("headers") {
            request = request.header(name, value.as_str().expect("text"));
        }
        request.send().await.expect("S3 answers").status().as_u16()
    }

    /// The bytes behind a link.
    pub async fn download(&self, url: &Value) -> Vec<u8> {
        let answer = self.http.media().get(url.as_str().expect("a URL")).send().await.expect("S3 answers");
        assert_eq!(answer.status(), 200);
        answer.bytes().await.expect("a body").to_vec()
    }
}
