//! The harness: a whole local stack, a customer's view of it, and an auditor who trusts nobody.

use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use local::stack::{Options, Stack};
use serde_json::Value;
use shared::clock::Clock;
use shared::http_guard::{Outbound, Policy};
use shared::store::Store;

mod audit;
mod customer;
mod wire;

pub use audit::Closing;
pub use customer::Customer;
pub use wire::{Fault, Wire};

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running stack. It is used as the development account, which is its first customer.
pub struct World {
    pub stack: Stack,
    pub wire: Wire,
    pub developer: Customer,
}

impl Deref for World {
    type Target = Customer;

    fn deref(&self) -> &Customer {
        &self.developer
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
}

impl Setting {
    /// Nothing that is accepted is worked on: the messages for it go to the queue [`UNREAD`].
    pub fn idle() -> Self {
        Self { environment: vec![("DISPATCH_QUEUE_URL", UNREAD.to_owned())], ..Self::default() }
    }
}

/// A queue that no function reads.
pub const UNREAD: &str = "DispatchDeadLetters";

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
        let environment = setting.environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let options = Options {
            data: setting.data,
            environment,
            clock: setting.clock,
            dynamodb_interceptor: Some(wire.interceptor()),
            ..Options::default()
        };
        let stack = Stack::start(options).await.expect("the stack starts");
        let http = Outbound::new(Policy { allow_loopback: true }).expect("an HTTP client");
        let developer = Customer { account: stack.account, key: stack.api_key.clone(), http, api: stack.api.clone() };
        Self { stack, wire, developer }
    }

    /// Lets the clock jump, and with it everything that waits for it: delayed messages, leases, the minute's tick.
    pub fn later(&self, by: Duration) {
        self.stack.clock.advance(by);
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

    /// Waits until the look at everything due that comes with the start is over: from then on only requests make calls.
    pub async fn first_tick(&self) {
        let shards = self.stack.backend.store.due_shards().end;
        let looked = async {
            while self.wire.counts().get("Query").copied().unwrap_or_default() < shards {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looked).await.expect("the schedule fires at the start");
    }

    /// Another account with so many credits, and its key.
    pub async fn customer(&self, credits: u64) -> Customer {
        let (account, key) = self.stack.open_account(credits).await.expect("the account opens");
        Customer { account, key, ..self.developer.clone() }
    }

    /// The table as another process sees it: a client and a memory of its own, and nothing of it goes over the wire.
    pub fn another_store(&self) -> Store {
        let client = aws_sdk_dynamodb::Client::new(&local::engines::sdk(&self.stack.dynamodb.endpoint_url));
        let config = &self.stack.backend.config;
        Store::new(client, config.table.clone(), config.due_shards)
    }

    /// The photo in the repository.
    pub fn photo() -> Vec<u8> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/media/photo.jpg");
        std::fs::read(path).expect("the photo is there")
    }
}
