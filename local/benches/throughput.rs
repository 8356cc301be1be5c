//! How fast the product is on this machine: `cargo bench`.
//!
//! The load, the API, the engines and the workers share one process and its cores, so these are figures of the laptop run, to be
//! compared with each other and not with AWS. `cargo bench -- --quick` takes a tenth of the requests.
#![allow(clippy::print_stdout, clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a bench prints figures")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::SignedDuration;
use local::stack::{Options, Stack};
use serde_json::{Map, Value, json};
use shared::catalog::manifest::MediaKind;
use shared::credits::Credits;
use shared::generation::{Finish, Generation, Order};
use shared::http_guard::{Outbound, Policy};
use shared::ids::{AccountId, GenerationId};
use shared::store::{Accepted, Store};
use tokio::task::JoinSet;

const CONNECTIONS: usize = 16;

#[tokio::main]
async fn main() -> Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let scale = if quick { 10 } else { 1 };
    println!("{:<52} {:>9} {:>10} {:>9} {:>9} {:>6}", "what", "requests", "per second", "p50 ms", "p99 ms", "races");
    for disk in [false, true] {
        let kept = if disk { "on disk" } else { "in memory" };
        accepts(&format!("accepts, one account, {kept}"), disk, 1, 4_000 / scale).await?;
        accepts(&format!("accepts, 16 accounts, {kept}"), disk, 16, 4_000 / scale).await?;
        for (accounts, processes) in [(1, 1), (1, 8), (100, 1), (100, 8)] {
            let what = format!("on the table: {accounts} accounts, {processes} processes, {kept}");
            on_the_table(&what, disk, accounts, processes, 4_000 / scale).await?;
        }
        whole_jobs(&format!("whole placeholder jobs (256 px), {kept}"), disk, 500 / scale).await?;
    }
    Ok(())
}

struct Load {
    stack: Stack,
    http: Outbound,
    accounts: Vec<AccountId>,
    keys: Vec<String>,
    _data: Option<tempfile::TempDir>,
}

impl Load {
    async fn start(disk: bool, accounts: usize, environment: &[(&str, &str)]) -> Result<Self> {
        let data = disk.then(tempfile::tempdir).transpose()?;
        let options = Options {
            data: data.as_ref().map(|dir| dir.path().join("data")),
            environment: environment
                .iter()
                .chain(&[("REQUESTS_PER_SECOND", "")])
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..Options::default()
        };
        let stack = Stack::start(options).await?;
        let (mut ids, mut keys) = (Vec::new(), Vec::new());
        for _ in 0..accounts {
            let (account, key) = stack.open_account(1_000_000).await?;
            ids.push(account);
            keys.push(key);
        }
        Ok(Self { stack, http: Outbound::new(Policy { allow_loopback: true }), accounts: ids, keys, _data: data })
    }

    async fn post(&self, index: usize, body: &Value, wait: bool) -> Result<Duration> {
        let key = &self.keys[index % self.keys.len()];
        let mut request = self.http.api().post(format!("{}/v1/generations", self.stack.api)).bearer_auth(key);
        if wait {
            request = request.header("prefer", "wait=25");
        }
        let since = Instant::now();
        let answer = request.json(body).send().await?;
        let status = answer.status().as_u16();
        let body = answer.text().await?;
        let elapsed = since.elapsed();
        ensure!(status == if wait { 200 } else { 202 }, "answered {status}: {body}");
        Ok(elapsed)
    }

    /// What `POST /v1/generations` writes, by a process of our choice.
    async fn accept(&self, index: usize, store: &Store) -> Result<Duration> {
        let backend = &self.stack.backend;
        let (now, (unix_ms, random)) = (backend.now(), backend.id_parts());
        let candidates = backend
            .catalog()
            .await?
            .offer("placeholder")
            .context("it is built in")?
            .plans(&Map::new())
            .into_iter()
            .map(|plan| plan.candidate)
            .collect();
        let order = Order {
            model: "placeholder".to_owned(),
            kind: MediaKind::Image,
            box_id: None,
            params: Map::from_iter([("prompt".to_owned(), Value::from("a lighthouse"))]),
            inputs: Vec::new(),
            price_by_results: Vec::new(),
            finish: Finish::default(),
            erase_inputs: false,
            candidates,
        };
        let account = self.accounts[index % self.accounts.len()];
        let due_at = now + SignedDuration::from_hours(1);
        let id = GenerationId::from_parts(unix_ms, random);
        let generation = Generation::accept(id, account, order, Credits::new(5)?, None, now, due_at);
        let since = Instant::now();
        let accepted = store.accept(&generation, None, None, now).await?;
        ensure!(matches!(accepted, Accepted::New(_)), "{accepted:?}");
        Ok(since.elapsed())
    }
}

/// Sends `requests` over [`CONNECTIONS`] connections, each sending its next request when the last one was answered.
async fn run<S>(requests: usize, send: impl Fn(usize) -> S + Send + Sync + 'static) -> Result<(Duration, Vec<Duration>)>
where
    S: Future<Output = Result<Duration>> + Send,
{
    let (next, send) = (Arc::new(AtomicUsize::new(0)), Arc::new(send));
    let mut senders = JoinSet::new();
    let since = Instant::now();
    for _ in 0..CONNECTIONS {
        let (next, send) = (Arc::clone(&next), Arc::clone(&send));
        senders.spawn(async move {
            let mut times = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= requests {
                    return Ok::<_, anyhow::Error>(times);
                }
                times.push(send(index).await?);
            }
        });
    }
    let mut times = Vec::new();
    while let Some(sender) = senders.join_next().await {
        times.extend(sender??);
    }
    Ok((since.elapsed(), times))
}

/// The messages go to a queue that nobody reads: what is measured is `POST /v1/generations` alone.
async fn accepts(what: &str, disk: bool, accounts: usize, requests: usize) -> Result<()> {
    let load = Load::start(disk, accounts, &[("DISPATCH_QUEUE_URL", "DispatchDeadLetters")]).await?;
    posts(what, load, 64, requests, false).await
}

/// Accepted, claimed, drawn, stored, charged; each connection waits for its result.
async fn whole_jobs(what: &str, disk: bool, requests: usize) -> Result<()> {
    let load = Load::start(disk, CONNECTIONS, &[]).await?;
    posts(what, load, 256, requests, true).await
}

async fn posts(what: &str, load: Load, side: u32, requests: usize, wait: bool) -> Result<()> {
    let load = Arc::new(load);
    let body = json!({"model": "placeholder", "params": {"prompt": "a lighthouse", "width": side, "height": side}});
    let post = {
        let load = Arc::clone(&load);
        move |index| {
            let (load, body) = (Arc::clone(&load), body.clone());
            async move { load.post(index, &body, wait).await }
        }
    };
    run(CONNECTIONS * 4, post.clone()).await?;
    let (elapsed, times) = run(requests, post).await?;
    print(what, elapsed, times, load.stack.backend.store.races());
    Ok(())
}

/// The transactions alone, from so many processes, each with a client and a memory of its own, as Lambda environments have. A race is an
/// acceptance that had to be decided anew, since another process had posted to the account meanwhile.
async fn on_the_table(what: &str, disk: bool, accounts: usize, processes: usize, requests: usize) -> Result<()> {
    let load = Arc::new(Load::start(disk, accounts, &[]).await?);
    let config = &load.stack.backend.config;
    let store = || {
        let client = aws_sdk_dynamodb::Client::new(&local::engines::sdk(&load.stack.dynamodb.endpoint_url));
        Store::new(client, config.table.clone(), config.due_shards)
    };
    let stores: Arc<Vec<Store>> = Arc::new(std::iter::repeat_with(store).take(processes).collect());
    let accept = {
        let (load, stores) = (Arc::clone(&load), Arc::clone(&stores));
        move |index: usize| {
            let (load, stores) = (Arc::clone(&load), Arc::clone(&stores));
            async move { load.accept(index, &stores[index % processes]).await }
        }
    };
    run(CONNECTIONS * 4, accept.clone()).await?;
    let (elapsed, times) = run(requests, accept).await?;
    print(what, elapsed, times, stores.iter().map(Store::races).sum());
    Ok(())
}

fn print(what: &str, elapsed: Duration, mut times: Vec<Duration>, races: u64) {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1_000.0;
    let rate = times.len() as f64 / elapsed.as_secs_f64();
    println!("{what:<52} {:>9} {rate:>10.0} {:>9.2} {:>9.2} {races:>6}", times.len(), at(50), at(99));
}
