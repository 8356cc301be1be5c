//! One job as a customer's program would do it, on the darkroom that runs or one of its own: files up, the order, the wait, the results.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use indicatif::ProgressBar;
use serde_json::{Map, Value, json};
use shared::api::{CreateGeneration, GenerationView, ModelView, Status};
use shared::clock::random_bytes;

use super::client::Client;
use super::trial_params::{Input, Place, Wishes, complete, place};
use super::{Common, progress, trial_report};
use crate::stack::{Options, Stack};

/// Where `darkroom` listens unless told otherwise.
const USUAL_API: &str = "http://127.0.0.1:8420";
/// The pause between two looks at the generation.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// So many looks in a row may fail.
const MAX_FAILED_LOOKS: u32 = 20;

/// What all commands that do a job take.
#[derive(clap::Args)]
pub(super) struct Job {
    /// An image, or a video where the model takes one; uploaded, and given to the parameter that fits or is named. May be repeated.
    #[arg(long = "image", value_name = "[PARAM=]FILE")]
    pub(super) images: Vec<String>,
    /// Further parameters as a JSON object.
    #[arg(long, value_name = "JSON", value_parser = object)]
    pub(super) params: Option<Map<String, Value>>,
    /// Where the result is written [default: out/<generation>.<type>]. Text and JSON are printed, and written only with this.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the generation as the API shows it at the end, as JSON, and nothing else.
    #[arg(long)]
    json: bool,
    /// Stop waiting after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout: u64,
    /// The data folder: the key of the darkroom that runs on it, and what is started when none runs.
    #[arg(long, value_name = "DIR", default_value = ".darkroom")]
    data: PathBuf,
    /// A darkroom elsewhere, such as a deployed one.
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    /// The API key for `--api`; the data folder's own for one on this machine.
    #[arg(long, value_name = "KEY", env = "DARKROOM_API_KEY", hide_env_values = true)]
    key: Option<String>,
    #[command(flatten)]
    pub(super) common: Common,
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("write it as a JSON object, like {{\"seed\": 7}} ({error})"))
}

/// The product, as it was found.
pub(super) struct Darkroom {
    pub(super) client: Client,
    api: String,
    /// When it runs in this process.
    own: Option<Stack>,
}

/// Does the job: `model` says what it takes, `asked` makes the order of its parameters.
pub(super) async fn run(
    arguments: &Job,
    darkroom: &Darkroom,
    model: &ModelView,
    (inputs, files): (Vec<Input>, Vec<File>),
    wishes: &Wishes,
    asked: impl FnOnce(Map<String, Value>) -> CreateGeneration,
) -> Result<()> {
    let places = place(model, &inputs, &wishes.params)?;
    // What is wrong with the wishes shows before anything is uploaded.
    let stand_ins = places.iter().map(|(name, _)| (name.clone(), Value::Null)).collect();
    complete(model, stand_ins, wishes)?;

    let bar = progress::bar(arguments.json);
    let media = upload(&darkroom.client, &bar, &inputs, files, places).await?;
    let asked = asked(complete(model, media, wishes)?);
    let key = format!("trial-{}", hex::encode(random_bytes::<12>()));
    let created = darkroom.client.generate(&asked, &key).await?;
    let patience = Duration::from_secs(arguments.timeout);
    let mut watch = Watch { bar, as_lines: !arguments.json, last: String::new() };
    let generation = wait(darkroom, created.id, &mut watch, patience, &arguments.data).await?;
    watch.bar.finish_and_clear();

    let saved = trial_report::save(&darkroom.client, &generation, arguments.out.as_deref()).await?;
    if arguments.json {
        println!("{}", serde_json::to_string(&generation)?);
    } else {
        let makers = trial_report::Makers::look(&darkroom.client, &generation, &arguments.data).await?;
        trial_report::print(&generation, &saved, &darkroom.client.account().await?, &makers);
    }
    trial_report::verdict(&generation, model.kind)
}

pub(super) type File = (String, Vec<u8>);

/// Reads what is to be handed in: `FILE`, or `PARAM=FILE`.
pub(super) fn read_files(names: &[String]) -> Result<(Vec<Input>, Vec<File>)> {
    let mut inputs = Vec::with_capacity(names.len());
    let mut files = Vec::with_capacity(names.len());
    for name in names {
        let is_word = |text: &str| !text.is_empty() && text.bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'_');
        let named = name.split_once('=').filter(|(param, _)| is_word(param) && !Path::new(name).exists());
        let (param, path) = named.map_or((None, name.as_str()), |(param, path)| (Some(param.to_owned()), path));
        let file = std::fs::read(path).with_context(|| format!("the file `{path}` cannot be read"))?;
        let unknown = || anyhow!("`{path}` is not an image or a video that is known here; give a JPEG, PNG, WebP or MP4 file");
        let content_type = shared::results::content_type_of(&file).ok_or_else(unknown)?;
        inputs.push(Input { path: path.to_owned(), param, content_type });
        let filename = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        files.push((filename, file));
    }
    Ok((inputs, files))
}

/// The darkroom at `--api`; else the one that runs on this machine with this data folder; else one in this process.
pub(super) async fn find(arguments: &Job) -> Result<Darkroom> {
    if let Some(api) = &arguments.api {
        let api = api.trim_end_matches('/').to_owned();
        let key = match &arguments.key {
            Some(key) => key.clone(),
            None if is_on_this_machine(&api) => kept_key(&arguments.data).ok_or_else(|| {
                anyhow!(
                    "`{}` holds no key for `{api}`; name its data folder with `--data`, or give `--key`",
                    arguments.data.display()
                )
            })?,
            None => bail!("`{api}` wants an API key; give it with `--key`, or in the variable `DARKROOM_API_KEY`"),
        };
        return Ok(Darkroom { client: Client::new(&api, &key), api, own: None });
    }
    if let Some(key) = kept_key(&arguments.data) {
        let client = Client::new(USUAL_API, &key);
        if client.is_welcome().await {
            let Common { template, environment, public_url, log: _ } = &arguments.common;
            if template.is_some() || !environment.is_empty() || public_url.is_some() {
                bail!(
                    "`--template`, `--env` and `--public-url` cannot change the darkroom that runs at {USUAL_API}; stop it first, or \
                     leave them out"
                );
            }
            return Ok(Darkroom { client, api: USUAL_API.to_owned(), own: None });
        }
    }
    let options = Options { data: Some(arguments.data.clone()), port: 0, ..arguments.common.options()? };
    let stack =
        Stack::start(options).await.context("no darkroom answers (name a running one with `--api`), and none can be started")?;
    Ok(Darkroom { client: Client::new(&stack.api, &stack.api_key), api: stack.api.clone(), own: Some(stack) })
}

fn is_on_this_machine(api: &str) -> bool {
    let url = url::Url::parse(api).ok();
    url.and_then(|url| Some(matches!(url.host_str()?, "127.0.0.1" | "localhost" | "[::1]"))).unwrap_or(false)
}

/// The development account's key, when the data folder has one.
fn kept_key(data: &Path) -> Option<String> {
    let text = std::fs::read_to_string(data.join("developer.json")).ok()?;
    let developer: Value = serde_json::from_str(&text).ok()?;
    Some(developer.get("api_key")?.as_str()?.to_owned())
}

/// Uploads the files; the media parameters with their assets.
async fn upload(
    client: &Client,
    bar: &ProgressBar,
    inputs: &[Input],
    files: Vec<File>,
    places: Vec<(String, Place)>,
) -> Result<Map<String, Value>> {
    let mut assets = Vec::with_capacity(inputs.len());
    for (input, (filename, file)) in inputs.iter().zip(files) {
        bar.set_message(format!("uploading {}", input.path));
        let asset = client.upload(&filename, input.content_type, file, None).await;
        assets.push(asset.with_context(|| format!("`{}` cannot be uploaded", input.path))?.id);
    }
    let value = |place| match place {
        Place::One(number) => json!(assets[number]),
        Place::List(numbers) => numbers.into_iter().map(|number| json!(assets[number])).collect(),
    };
    Ok(places.into_iter().map(|(name, place)| (name, value(place))).collect())
}

/// Shows how far the generation is: a bar on a terminal, a line for each change elsewhere.
struct Watch {
    bar: ProgressBar,
    as_lines: bool,
    last: String,
}

impl Watch {
    fn show(&mut self, generation: &GenerationView) {
        let state = state_of(generation);
        self.bar.set_position(u64::from(generation.progress));
        self.bar.set_message(state.clone());
        if self.as_lines && self.bar.is_hidden() && state != self.last {
            eprintln!("{:>3} %  {state}", generation.progress);
        }
        self.last = state;
    }
}

/// `running, attempt 2 by fal, 3 before it`.
fn state_of(generation: &GenerationView) -> String {
    let mut state = generation.phase.clone();
    if let Some(attempt) = generation.attempts.last() {
        state += &format!(", attempt {} by {}", attempt.number, attempt.provider);
    }
    if let Some(before) = generation.queue_position {
        state += &format!(", {before} before it");
    }
    if let Some(unconfirmed) = &generation.unconfirmed {
        state += &format!(", nobody knows whether the provider took it; decided by {}", unconfirmed.resolves_by);
    }
    state
}

async fn wait(
    darkroom: &Darkroom,
    id: shared::ids::GenerationId,
    watch: &mut Watch,
    patience: Duration,
    data: &Path,
) -> Result<GenerationView> {
    let started = Instant::now();
    let mut failed_looks = 0;
    loop {
        match darkroom.client.generation(id).await {
            Ok(generation) => {
                failed_looks = 0;
                watch.show(&generation);
                match generation.status {
                    Status::Succeeded | Status::Failed | Status::Canceled => return Ok(generation),
                    Status::Queued | Status::Processing => {}
                }
            }
            Err(error) if failed_looks == MAX_FAILED_LOOKS => {
                return Err(error.context(format!("`{id}` was accepted and goes on")));
            }
            Err(_) => failed_looks += 1,
        }
        if started.elapsed() > patience {
            let (state, seconds) = (&watch.last, patience.as_secs());
            match darkroom.own {
                Some(_) => {
                    bail!("`{id}` is still {state} after {seconds} s; it goes on when `darkroom --data {}` runs", data.display())
                }
                None => bail!("`{id}` is still {state} after {seconds} s; it goes on, see {}/v1/generations/{id}", darkroom.api),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
