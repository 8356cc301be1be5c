//! How fast the product is on this machine: `cargo bench`.
//!
//! The load, the API, the engines and the workers share one process and its cores, so these are figures of the laptop run, to be
//! compared with each other and not with AWS. `cargo bench -- --quick` takes a tenth of the requests.
#![allow(clippy::print_stdout, clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a bench prints figures")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use local::stack::{Options, Stack};
use serde_json::{Value, json};
use shared::http_guard::{Outbound, Policy};
use tokio::task::JoinSet;

const CONNECTIONS: usize = 16;

#[tokio::main]
async fn main() -> Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let scale = if quick { 10 } else { 1 };
    println!("{:<44} {:>9} {:>10} {:>9} {:>9}", "what", "requests", "per second", "p50 ms", "p99 ms");
    for disk in [false, true] {
        let kept = if disk { "on disk" } else { "in memory" };
        accepts(&format!("accepts, one account, {kept}"), disk, 1, 4_000 / scale).await?;
        accepts(&format!("accepts, 16 accounts, {kept}"), disk, 16, 4_000 / scale).await?;
        whole_jobs(&format!("whole placeholder jobs (256 px), {kept}"), disk, 500 / scale).await?;
    }
    Ok(())
}

struct Load {
    stack: Stack,
    http: Outbound,
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
        let mut keys = Vec::new();
        for _ in 0..accounts {
            keys.push(stack.open_account(1_000_000).await?.1);
        }
        Ok(Self { stack, http: Outbound::new(Policy { allow_loopback: true })?, keys, _data: data })
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

    /// Sends `requests` over [`CONNECTIONS`] connections, each sending its next request when the last one was answered.
    async fn run(self: Arc<Self>, requests: usize, body: Value, wait: bool) -> Result<(Duration, Vec<Duration>)> {
        let next = Arc::new(AtomicUsize::new(0));
        let mut senders = JoinSet::new();
        let since = Instant::now();
        for _ in 0..CONNECTIONS {
            let (load, next, body) = (Arc::clone(&self), Arc::clone(&next), body.clone());
            senders.spawn(async move {
                let mut times = Vec::new();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= requests {
                        return Ok::<_, anyhow::Error>(times);
                    }
                    times.push(load.post(index, &body, wait).await?);
                }
            });
        }
        let mut times = Vec::new();
        while let Some(sender) = senders.join_next().await {
            times.extend(sender??);
        }
        Ok((since.elapsed(), times))
    }
}

/// The messages go to a queue that nobody reads: what is measured is `POST /v1/generations` alone.
async fn accepts(what: &str, disk: bool, accounts: usize, requests: usize) -> Result<()> {
    let load = Arc::new(Load::start(disk, accounts, &[("DISPATCH_QUEUE_URL", "DispatchDeadLetters")]).await?);
    let body = json!({"model": "placeholder", "params": {"prompt": "a lighthouse", "width": 64, "height": 64}});
    Arc::clone(&load).run(CONNECTIONS * 4, body.clone(), false).await?;
    let (elapsed, times) = load.run(requests, body, false).await?;
    print(what, elapsed, times);
    Ok(())
}

/// Accepted, claimed, drawn, stored, charged; each connection waits for its result.
async fn whole_jobs(what: &str, disk: bool, requests: usize) -> Result<()> {
    let load = Arc::new(Load::start(disk, CONNECTIONS, &[]).await?);
    let body = json!({"model": "placeholder", "params": {"prompt": "a lighthouse", "width": 256, "height": 256}});
    Arc::clone(&load).run(CONNECTIONS, body.clone(), true).await?;
    let (elapsed, times) = load.run(requests, body, true).await?;
    print(what, elapsed, times);
    Ok(())
}

fn print(what: &str, elapsed: Duration, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1_000.0;
    let rate = times.len() as f64 / elapsed.as_secs_f64();
    println!("{what:<44} {:>9} {rate:>10.0} {:>9.2} {:>9.2}", times.len(), at(50), at(99));
}
