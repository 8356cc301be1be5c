//! `darkroom demo`: one whole job on fresh engines, through the HTTP API alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value, json};
use shared::api::{
    AccountView, AssetView, CreateGeneration, CreatedGeneration, EntryView, GenerationView, PromptSyntax, ResultView, Status,
};
use shared::catalog::{Catalog, Model};
use tracing_subscriber::filter::LevelFilter;

use super::client::Client;
use super::{Common, progress};
use crate::stack::{Options, Stack};

/// Arguments of `darkroom demo`.
#[derive(clap::Args)]
pub(super) struct Demo {
    /// A JPEG, PNG or WebP file; uploaded, and given to the model if it takes an image.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// What to make. Simulated providers and the placeholder take requests for trouble, such as `[[fail]]` or `[[delay=2s]]`.
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// A model's name or alias; `darkroom models` lists them.
    #[arg(long, default_value = "placeholder")]
    model: String,
    /// Where the result is written.
    #[arg(long, value_name = "DIR", default_value = "out")]
    out: PathBuf,
    /// End with one JSON object instead of a report.
    #[arg(long)]
    json: bool,
    /// Give up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    #[command(flatten)]
    common: Common,
}

/// Milliseconds since the start at the end of each step.
#[derive(Default)]
struct Timings(Map<String, Value>);

impl Timings {
    fn mark(&mut self, step: &str, since: Instant) {
        let ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.insert(step.to_owned(), Value::from(ms));
    }
}

struct Saved {
    path: PathBuf,
    bytes: usize,
    content_type: String,
}

pub(super) async fn run(arguments: Demo) -> Result<()> {
    arguments.common.start_logging(LevelFilter::WARN, None);
    let catalog = Catalog::built_in()?;
    let model = catalog.model(&arguments.model);
    let model = model.ok_or_else(|| anyhow!("there is no model `{}`; `darkroom models` lists them", arguments.model))?;
    let image = arguments.image.as_deref().map(read_image).transpose()?;
    let mut timings = Timings::default();
    let started = Instant::now();
    let bar = progress::bar(arguments.json);

    bar.set_message("starting the engines");
    let stack = Stack::start(Options { port: 0, ..arguments.common.options()? }).await?;
    let client = Client::new(&stack.api, &stack.api_key);
    timings.mark("ready", started);

    let since = Instant::now();
    bar.set_message("uploading the image");
    let asset = match image {
        Some((name, content_type, file)) => Some(client.upload(&name, content_type, file, None).await?),
        None => None,
    };
    timings.mark("upload", since);

    let before = client.account().await?;
    let since = Instant::now();
    let params = params(model, &arguments.prompt, asset.as_ref())?;
    let asked = CreateGeneration {
        model: Some(arguments.model.clone()),
        tool: None,
        params,
        quote: None,
        box_id: None,
        prompt_syntax: PromptSyntax::Plain,
    };
    let created = client.generate(&asked, "demo").await?;
    timings.mark("accept", since);
    let generation = wait(&client, &created, &bar, Duration::from_secs(arguments.timeout)).await?;
    timings.mark("generate", since);

    let since = Instant::now();
    let saved = match generation.results.first() {
        Some(ResultView { url: Some(url), content_type: Some(content_type), .. }) => {
            Some(save(&client, url, &generation, content_type, &arguments.out).await?)
        }
        Some(_) => bail!("the result was erased before it could be saved"),
        None => None,
    };
    timings.mark("save", since);
    timings.mark("total", started);
    let after = client.account().await?;
    let ledger = client.ledger().await?.entries;
    bar.finish_and_clear();

    if arguments.json {
        let result =
            saved.as_ref().map(|saved| json!({"path": saved.path, "bytes": saved.bytes, "content_type": saved.content_type}));
        let report = json!({"generation": generation, "result": result, "ledger": ledger, "timings_ms": timings.0});
        println!("{}", serde_json::to_string(&report)?);
    } else {
        report(&generation, saved.as_ref(), &before, &after, &ledger);
    }
    match (generation.status, &generation.error) {
        (Status::Succeeded, _) => Ok(()),
        (_, Some(error)) => bail!("the generation failed: {} ({:?})", error.message, error.class),
        (_, None) => bail!("the generation ended as {}", generation.phase),
    }
}

fn read_image(path: &Path) -> Result<(String, &'static str, Vec<u8>)> {
    let file = std::fs::read(path).with_context(|| format!("the image `{}` cannot be read", path.display()))?;
    let content_type =
        shared::results::content_type_of(&file).filter(|kind| matches!(*kind, "image/jpeg" | "image/png" | "image/webp"));
    let content_type = content_type.ok_or_else(|| anyhow!("`{}` is not a JPEG, PNG or WebP image", path.display()))?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok((name, content_type, file))
}

/// The prompt, and the image where the model takes one.
fn params(model: &Model, prompt: &str, asset: Option<&AssetView>) -> Result<Map<String, Value>> {
    let mut params = Map::from_iter([("prompt".to_owned(), Value::from(prompt))]);
    let properties = model.spec.params.get("properties").and_then(Value::as_object).context("the model has no parameters")?;
    let is_asset = |value: Option<&Value>| value.and_then(|value| value.get("format")) == Some(&Value::from("asset"));
    for (name, property) in properties {
        let Some(asset) = asset else { continue };
        if is_asset(Some(property)) {
            params.insert(name.clone(), json!(asset.id));
        } else if is_asset(property.get("items")) {
            params.insert(name.clone(), json!([asset.id]));
        }
    }
    Ok(params)
}

async fn wait(
    client: &Client,
    created: &CreatedGeneration,
    bar: &indicatif::ProgressBar,
    patience: Duration,
) -> Result<GenerationView> {
    let started = Instant::now();
    loop {
        let generation = client.generation(created.id).await?;
        bar.set_position(u64::from(generation.progress));
        bar.set_message(generation.phase.clone());
        match generation.status {
            Status::Succeeded | Status::Failed | Status::Canceled => return Ok(generation),
            Status::Queued | Status::Processing if started.elapsed() > patience => {
                bail!(
                    "the generation is still {} after {} s; it would go on if this were `darkroom dev`",
                    generation.phase,
                    patience.as_secs()
                );
            }
            Status::Queued | Status::Processing => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn save(client: &Client, url: &str, generation: &GenerationView, content_type: &str, out: &Path) -> Result<Saved> {
    let bytes = client.download(url).await.context("the result cannot be downloaded")?;
    std::fs::create_dir_all(out).with_context(|| format!("the folder `{}` cannot be made", out.display()))?;
    let extension = match content_type.rsplit('/').next().unwrap_or("bin") {
        "jpeg" => "jpg",
        "quicktime" => "mov",
        other => other,
    };
    let path = out.join(format!("{}.{extension}", generation.id));
    std::fs::write(&path, &bytes).with_context(|| format!("`{}` cannot be written", path.display()))?;
    Ok(Saved { path, bytes: bytes.len(), content_type: content_type.to_owned() })
}

fn report(generation: &GenerationView, saved: Option<&Saved>, before: &AccountView, after: &AccountView, ledger: &[EntryView]) {
    println!("generation  {}  {} by {}", generation.id, generation.phase, generation.model);
    if let Some(saved) = saved {
        println!("result      {}  ({}, {} bytes)", saved.path.display(), saved.content_type, saved.bytes);
    }
    println!("cost        {} credits, charged {}", generation.cost, generation.charged);
    println!("balance     {} before, {} after ({} held)", before.available, after.available, after.held);
    println!("ledger");
    for entry in ledger.iter().rev() {
        println!(
            "  {:<8} {:>6}  available {:>6}  held {:>6}  {}",
            entry.kind.word(),
            entry.amount,
            entry.balance_after,
            entry.held_after,
            entry.id
        );
    }
}
