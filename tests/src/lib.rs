//! The harness: a whole local stack, a customer's view of it, and an auditor who trusts nobody.

use std::net::TcpListener;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use axum::Router;
use local::permissions::Refusals;
use local::simulators::Journal;
use local::stack::{Options, Stack};
use serde_json::Value;
use shared::catalog::manifest::Manifest;
use shared::clock::{Clock, random_bytes};
use shared::pool::KeyLimits;
use shared::store::Store;
use tokio::task::JoinSet;

mod audit;
mod books;
mod callback;
mod customer;
mod engines;
mod operator;
mod process;
mod remains;
mod wire;

pub use audit::Closing;
pub use books::Statement;
pub use callback::Callback;
pub use customer::Customer;
pub use engines::endpoints;
pub use process::Process;
pub use shared::audit::{Books, Random};
pub use wire::{Fault, Wire, with_each_call_cut};

/// How long anything may take before a test gives up on it: what a busy machine needs, many times over.
pub const PATIENCE: Duration = Duration::from_secs(180);

const WORK_QUEUES: [&str; 3] = ["DispatchQueue", "PollQueue", "CollectQueue"];

/// A running stack. It is used as the development account, which is its first customer.
pub struct World {
    pub stack: Stack,
    pub wire: Wire,
    pub developer: Customer,
    /// Where it keeps everything; none: in memory.
    pub data: Option<PathBuf>,
    _within_its_rights: WithinItsRights,
}

/// No test passes in which a function made a call that its policy in template.yaml does not grant.
struct WithinItsRights(Refusals);

impl Drop for WithinItsRights {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let refused = self.0.all();
            assert!(refused.is_empty(), "not granted: {refused:#?}");
        }
    }
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
    /// Environment variables of the functions. Requests are not limited unless `REQUESTS_PER_SECOND` is among them: tests come in crowds, and ask
    /// far more often how things stand than a customer does.
    pub environment: Vec<(&'static str, String)>,
    /// Shared between worlds; the system's unless given.
    pub clock: Option<Clock>,
    /// Where the API listens, so that another world can take its place; any free port unless given.
    pub port: u16,
    /// A template instead of the built-in one.
    pub template: Option<PathBuf>,
    /// Functions share no memory, as if each were a process.
    pub separate_memories: bool,
}

impl Setting {
    /// Nothing that is accepted is worked on: the messages for it go to the queue [`UNREAD`].
    pub fn idle() -> Self {
        Self { environment: vec![("DISPATCH_QUEUE_URL", UNREAD.to_owned())], ..Self::default() }
    }

    fn options(&self, wire: &Wire) -> Options {
        let unlimited = ("REQUESTS_PER_SECOND", String::new());
        let environment = std::iter::once(&unlimited).chain(&self.environment);
        Options {
            data: self.data.clone(),
            port: self.port,
            environment: environment.map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            clock: self.clock.clone(),
            template: self.template.clone(),
            separate_memories: self.separate_memories,
            engines: endpoints(),
            dynamodb_interceptor: Some(wire.interceptor()),
            dynamodb_timeouts: Some(patient()),
            ..Options::default()
        }
    }
}

/// A call to a slow table is waited for: one that is given up is made again in secret, and calls are counted.
fn patient() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(PATIENCE).operation_attempt_timeout(PATIENCE).operation_timeout(PATIENCE).build()
}

/// A queue that no function reads.
pub const UNREAD: &str = "DispatchDeadLetters";

/// A server of a test's own; its address. It ends when the set is dropped.
pub async fn serve(router: Router) -> (String, JoinSet<()>) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    (address, server)
}

/// A port that nobody listens on, below those that the system takes for outgoing connections. No two tests of one process get the same one
/// before all have been given.
pub fn free_port() -> u16 {
    static START: LazyLock<u32> = LazyLock::new(|| u32::from(u16::from_be_bytes(random_bytes())));
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = START.wrapping_add(TAKEN.fetch_add(1, Ordering::SeqCst));
        let port = u16::try_from(10_000 + number % 20_000).expect("below 30,000");
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
        let developer = Customer::new(stack.api.clone(), stack.account, stack.api_key.clone());
        let rights = WithinItsRights(stack.refusals.clone());
        Self { stack, wire, developer, data: setting.data, _within_its_rights: rights }
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
            self.minute().await;
        }
        panic!("ten hours passed in vain; it is {:#}", self.generation(id).await);
    }

    /// Lets a minute pass once no function runs, and waits for what comes of it: no worker is overtaken by the clock, however slow the
    /// machine is.
    pub async fn minute(&self) {
        self.pass_with_tick(Duration::from_secs(61)).await;
    }

    /// The same for more than a minute.
    pub async fn pass_with_tick(&self, by: Duration) {
        self.idle().await;
        let looks = self.wire.looks();
        self.later(by);
        let looked = async {
            while self.wire.looks() == looks {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looked).await.expect("the schedule fires each minute");
        self.idle().await;
    }

    /// Waits until no function runs and no message waits for one. Messages that a worker left lying, to be seen again later, may be left.
    ///
    /// With the queues in memory no message is overlooked on its way: in the moment in which it is taken and is no longer visible it counts as
    /// running, until its function has ended and what is done with is deleted, and a look during which anything began does not count. What
    /// comes from outside is not seen before it arrives: a callback that a simulator is just sending, or the schedule's next tick.
    pub async fn idle(&self) {
        let started = Instant::now();
        let mut calm = 0;
        while calm < 3 {
            let before = self.stack.invoker.work();
            let mut busy = before.running > 0;
            for queue in WORK_QUEUES {
                busy |= self.stack.queues.depth(queue).await.expect("the queues answer").visible > 0;
            }
            busy |= self.stack.invoker.work() != before;
            calm = if busy { 0 } else { calm + 1 };
            assert!(started.elapsed() < PATIENCE, "never idle");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets minute after minute pass until it has ended.
    pub async fn minutes_until_ended(&self, id: &str) -> Value {
        self.minutes_until(id, |generation| !generation["finished_at"].is_null()).await
    }

    /// Lets time pass in such steps until the generation has ended, each once nothing is being worked on: no worker is overtaken by the
    /// clock.
    pub async fn steps_until_ended(&self, id: &str, step: Duration) -> Value {
        for _ in 0..1_000 {
            self.at_rest().await;
            let generation = self.generation(id).await;
            if !generation["finished_at"].is_null() {
                return generation;
            }
            self.later(step);
        }
        panic!("a thousand steps in vain; it is {:#}", self.generation(id).await);
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
            let mut busy = false;
            for queue in WORK_QUEUES {
                let depth = self.stack.queues.depth(queue).await.expect("the queues answer");
                busy |= depth.visible + depth.in_flight > 0;
            }
            calm = if busy { 0 } else { calm + 1 };
            assert!(started.elapsed() < PATIENCE, "never at rest");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the look at everything due that comes with the start is over: from then on only requests make calls.
    pub async fn first_tick(&self) {
        let looked = async {
            while self.wire.looks() < self.queries_of_a_tick().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looked).await.expect("the schedule fires at the start");
    }

    /// How often each minute's tick reads an index or a line when nothing is due: once for each shard, and for each provider with limits.
    pub async fn queries_of_a_tick(&self) -> u32 {
        let backend = &self.stack.backend;
        let catalog = backend.catalog().await.expect("the catalog loads");
        let has_line = |provider: &&std::sync::Arc<Manifest>| {
            provider.http().is_some() && backend.config.key_limits(provider) != KeyLimits::default()
        };
        let lines = u32::try_from(catalog.providers().filter(has_line).count()).expect("few");
        backend.store.due_shards().end + lines
    }

    /// Another account with so many credits, and its key.
    pub async fn customer(&self, credits: u64) -> Customer {
        let (account, key) = self.stack.open_account(credits).await.expect("the account opens");
        Customer { account, key, ..self.developer.clone() }
    }

    /// The table as another process sees it: a client and a memory of its own, and nothing of it goes over the wire.
    pub fn another_store(&self) -> Store {
        self.store_over(self.another_client(&Wire::default()))
    }

    /// A client of the table over a wire of its own, as patient as that of the functions. Making one takes longer than a few transactions.
    pub fn another_client(&self, wire: &Wire) -> aws_sdk_dynamodb::Client {
        let mut client = aws_sdk_dynamodb::config::Builder::from(&local::engines::sdk(&self.stack.dynamodb.endpoint_url));
        client.set_timeout_config(Some(patient()));
        client.push_interceptor(wire.interceptor());
        aws_sdk_dynamodb::Client::from_conf(client.build())
    }

    /// The table as a process sees it that starts now, with nothing in its memory.
    pub fn store_over(&self, client: aws_sdk_dynamodb::Client) -> Store {
        let config = &self.stack.backend.config;
        Store::new(client, config.table.clone(), config.due_shards)
    }

    /// The photo in the repository.
    pub fn photo() -> Vec<u8> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/media/photo.jpg");
        std::fs::read(path).expect("the photo is there")
    }
}
