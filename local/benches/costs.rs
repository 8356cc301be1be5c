//! What things cost in calls: `cargo bench -p local --bench costs`.
//!
//! First, a generation: calls to the table with the request units that DynamoDB would bill, invocations and how long they ran. Then, a tick
//! over the due index: queries and messages with 10,000, 100,000 and a million generations in flight. docs/cost.md makes money of it. The
//! million takes about 4 GB of memory; `-- --small` ends with the 10,000.
#![allow(
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    reason = "a bench prints figures"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents, SharedInterceptor};
use aws_sdk_dynamodb::error::BoxError;
use dynoxide::types::{AttributeValue, Item};
use dynoxide::{Database, ImportOptions, server};
use local::engines::Endpoints;
use local::stack::{Options, Stack};
use serde_json::{Value, json};
use shared::clock::random_bytes;
use shared::http_guard::{Outbound, Policy};
use shared::ids::GenerationId;
use shared::store::Store;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Jobs that the figures of one are the average of.
const JOBS: u32 = 20;
/// Items at a time while the table is filled.
const BATCH: u32 = 10_000;

#[tokio::main]
async fn main() -> Result<()> {
    let small = std::env::args().any(|argument| argument == "--small");
    println!("One generation, the average of {JOBS}");
    for (model, prompt) in [
        ("placeholder", "a fox"),
        ("flux-schnell", "a fox"),
        ("flux-schnell", "a fox [[no_callback]]"),
        ("openai/gpt-image-2.6-flare", "a fox"),
    ] {
        generation(model, prompt).await?;
    }
    println!("\nOne tick over the due index");
    println!("{:>12} {:>8} {:>9} {:>10} {:>9}", "in flight", "due", "queries", "messages", "ms");
    ticks(10_000).await?;
    if !small {
        ticks(100_000).await?;
        ticks(1_000_000).await?;
    }
    Ok(())
}

/// What went over the wire to the table.
#[derive(Debug, Clone, Default)]
struct Meter(Arc<Mutex<Counts>>);

#[derive(Debug, Clone, Default)]
struct Counts {
    calls: BTreeMap<String, u64>,
    /// Request units of the table.
    written: u64,
    /// Those among them that fall on the account's own partition.
    account: u64,
    /// Of the index by account, which has a partition for each, and of the due index.
    by_account: u64,
    due: u64,
    read: u64,
}

impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let target = context.request().headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body: Value = serde_json::from_slice(context.request().body().bytes().unwrap_or_default())?;
        let mut counts = self.0.lock().unwrap();
        match operation.as_str() {
            "TransactWriteItems" => {
                for part in body["TransactItems"].as_array().into_iter().flatten() {
                    counts.write(&part["Put"]["Item"], 2);
                }
            }
            "PutItem" => counts.write(&body["Item"], 1),
            "UpdateItem" | "DeleteItem" => counts.written += 1,
            // Strongly consistent, of at most 4 KB.
            "GetItem" => counts.read += 1,
            // Indexes are eventually consistent: half a unit for each 4 KB, rounded up.
            _ => counts.read += 1,
        }
        *counts.calls.entry(operation).or_default() += 1;
        Ok(())
    }
}

impl Counts {
    /// An item that is put, with how many units each kilobyte takes. What is not a put takes the units of one kilobyte.
    fn write(&mut self, item: &Value, per_kb: u64) {
        let kilobytes = if item.is_null() { 1 } else { size_of(item).div_ceil(1_024) };
        self.written += per_kb * kilobytes;
        let is_account = item["pk"]["S"].as_str().is_some_and(|key| key.starts_with("A#"));
        self.account += if is_account { per_kb * kilobytes } else { 0 };
        self.by_account += if item["gsi_pk"].is_null() { 0 } else { kilobytes };
        // Its time has changed: the old row goes, a new one comes.
        self.due += if item["due_shard"].is_null() { 0 } else { 2 * kilobytes };
    }
}

/// As DynamoDB counts: names and values, three bytes for each list and map and one for each member.
fn size_of(attributes: &Value) -> u64 {
    let bytes = |text: &str| u64::try_from(text.len()).unwrap_or(u64::MAX);
    attributes.as_object().into_iter().flatten().map(|(name, value)| bytes(name) + value_size(value)).sum()
}

fn value_size(value: &Value) -> u64 {
    let bytes = |text: &Value| u64::try_from(text.as_str().unwrap_or_default().len()).unwrap_or(u64::MAX);
    let Some((kind, value)) = value.as_object().and_then(|value| value.iter().next()) else { return 1 };
    match kind.as_str() {
        "S" => bytes(value),
        "N" => bytes(value).div_ceil(2) + 1,
        "M" => 3 + size_of(value) + u64::try_from(value.as_object().map_or(0, serde_json::Map::len)).unwrap_or(0),
        "L" => 3 + value.as_array().into_iter().flatten().map(|own| 1 + value_size(own)).sum::<u64>(),
        _ => 1,
    }
}

async fn generation(model: &str, prompt: &str) -> Result<()> {
    let meter = Meter::default();
    let options = Options { dynamodb_interceptor: Some(SharedInterceptor::new(meter.clone())), ..Options::default() };
    let stack = Stack::start(options).await?;
    let http = Outbound::new(Policy { allow_loopback: true });
    order(&stack, &http, model, prompt).await?;
    let (before, ran_before) = (meter.0.lock().unwrap().clone(), stack.invoker.ran());
    for _ in 0..JOBS {
        order(&stack, &http, model, prompt).await?;
    }
    let (after, ran) = (meter.0.lock().unwrap().clone(), stack.invoker.ran());
    let per_job = |after: u64, before: u64| (after - before) as f64 / f64::from(JOBS);
    println!("\n{model}, `{prompt}`");
    println!(
        "  request units: {:.1} written ({:.1} to the account's partition), {:.1} to the index by account, {:.1} to the due index, {:.1} read",
        per_job(after.written, before.written),
        per_job(after.account, before.account),
        per_job(after.by_account, before.by_account),
        per_job(after.due, before.due),
        per_job(after.read, before.read)
    );
    for (operation, count) in &after.calls {
        println!("  {operation:<20} {:>6.1}", per_job(*count, before.calls.get(operation).copied().unwrap_or(0)));
    }
    for (function, own) in &ran {
        let earlier = ran_before.get(function).copied().unwrap_or_default();
        let (count, duration) = (own.count - earlier.count, own.duration - earlier.duration);
        if count > 0 {
            let each = duration.as_secs_f64() * 1_000.0 / count as f64;
            println!("  {function:<20} {:>6.1} invocations of {each:.1} ms", count as f64 / f64::from(JOBS));
        }
    }
    Ok(())
}

/// A client that is not measured.
fn client(stack: &Stack) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::new(&local::engines::sdk(&stack.dynamodb.endpoint_url))
}

/// Orders one and waits for its end, looking from outside the API.
async fn order(stack: &Stack, http: &Outbound, model: &str, prompt: &str) -> Result<()> {
    let params =
        if model == "placeholder" { json!({"prompt": prompt, "width": 256, "height": 256}) } else { json!({"prompt": prompt}) };
    let request = http.api().post(format!("{}/v1/generations", stack.api)).bearer_auth(&stack.api_key);
    let answer = request.json(&json!({"model": model, "params": params})).send().await?;
    let status = answer.status();
    let created: Value = answer.json().await?;
    ensure!(status == 202, "answered {status}: {created}");
    let id: GenerationId = created["id"].as_str().context("an id")?.parse()?;
    let onlooker = Store::new(client(stack), stack.backend.config.table.clone(), 1);
    let looked_after = async {
        while !onlooker.generation(id).await?.is_some_and(|own| own.state.is_terminal()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok::<_, anyhow::Error>(())
    };
    tokio::time::timeout(Duration::from_secs(60), looked_after).await??;
    Ok(())
}

/// A table's engine in this process, into which items can be put past its HTTP.
struct Filled {
    database: Database,
    url: String,
    _stop: oneshot::Sender<()>,
}

impl Filled {
    async fn start() -> Result<Self> {
        let database = Database::memory()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel::<()>();
        let server = server::serve_with_shutdown(listener, database.clone(), async { drop(stopped.await) });
        tokio::spawn(async move {
            if let Err(problem) = server.await {
                println!("the table ended: {problem}");
            }
        });
        Ok(Self { database, url, _stop: stop })
    }

    /// Puts so many generations like `model` into the table, each due at its own time.
    fn fill(&self, stack: &Stack, model: &Item, count: u32, due_at: impl Fn(u32) -> i64) -> Result<()> {
        let shards = u32::try_from(stack.backend.store.due_shards().len())?;
        for from in (0..count).step_by(BATCH as usize) {
            let items = (from..count.min(from + BATCH)).map(|number| {
                let id = hex::encode(random_bytes::<16>());
                let mut item = model.clone();
                item.insert("pk".to_owned(), AttributeValue::S(format!("G#{id}")));
                item.insert("gsi_sk".to_owned(), AttributeValue::S(id));
                item.insert("due_shard".to_owned(), AttributeValue::S(format!("due#{}", number % shards)));
                item.insert("due_at".to_owned(), AttributeValue::N(due_at(number).to_string()));
                item
            });
            self.database.import_items(&stack.backend.config.table, items.collect(), ImportOptions::default())?;
        }
        Ok(())
    }
}

async fn ticks(in_flight: u32) -> Result<()> {
    let meter = Meter::default();
    let table = Filled::start().await?;
    // Nobody reads there: what is sent stays.
    let environment = vec![("DISPATCH_QUEUE_URL".to_owned(), "DispatchDeadLetters".to_owned())];
    let options = Options {
        environment,
        engines: Endpoints { dynamodb: Some(table.url.clone()), ..Endpoints::default() },
        dynamodb_interceptor: Some(SharedInterceptor::new(meter.clone())),
        ..Options::default()
    };
    let stack = Stack::start(options).await?;
    let http = Outbound::new(Policy { allow_loopback: true });
    let request = http.api().post(format!("{}/v1/generations", stack.api)).bearer_auth(&stack.api_key);
    let created: Value =
        request.json(&json!({"model": "placeholder", "params": {"prompt": "a fox"}})).send().await?.json().await?;
    let pk = format!("G#{}", created["id"].as_str().context("an id")?);
    let key = json!({"TableName": stack.backend.config.table, "Key": {"pk": {"S": pk}, "sk": {"S": "generation"}}});
    let model = table.database.get_item(serde_json::from_value(key)?)?.item.context("it is there")?;
    let now = stack.backend.now().as_millisecond();
    let mut filled = 0;
    // What is not due: over the next day. What is due is added in steps, and each step is ticked.
    table.fill(&stack, &model, in_flight, |number| now + 3_600_000 + i64::from(number % 80_000) * 1_000)?;
    for due in [0, 100, 1_000, 10_000] {
        table.fill(&stack, &model, due - filled, |number| now - i64::from(number % 50_000))?;
        filled = due;
        let before = meter.0.lock().unwrap().clone();
        let since = Instant::now();
        let mut messages = 0;
        for shard in stack.backend.store.due_shards() {
            let mut cursor = None;
            loop {
                let (found, next) = stack.backend.store.due(shard, stack.backend.now() + shared::lifecycle::TICK, cursor).await?;
                messages += found.len();
                cursor = next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        let elapsed = since.elapsed().as_millis();
        let queries =
            meter.0.lock().unwrap().calls.get("Query").copied().unwrap_or(0) - before.calls.get("Query").copied().unwrap_or(0);
        println!("{in_flight:>12} {due:>8} {queries:>9} {messages:>10} {elapsed:>9}");
    }
    Ok(())
}
