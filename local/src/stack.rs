//! The whole product in this process: engines, queues, functions, schedules, simulators and the gateway in front.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use axum::Router;
use serde::{Deserialize, Serialize};
use shared::backend::{Backend, s3_client};
use shared::catalog::Catalog;
use shared::clock::{Clock, random_bytes};
use shared::config::{Config, SUBMIT_TIMEOUT, base_url_variable, limit_variables};
use shared::credits::Credits;
use shared::draw::fonts::Fonts;
use shared::ids::{AccountId, ApiKeyId};
use shared::keys::{KeyTerms, Scope, key_of};
use shared::ledger::{Account, Posting};
use shared::live_catalog::{LiveCatalog, Overlay};
use shared::metrics::Metrics;
use shared::results::Bucket;
use shared::secrets::Secrets;
use shared::store::{Changed, FiledKey, Store};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::engines::{self, DynamoDb, Endpoints, Queues, S3, Storage};
use crate::gateway::Gateway;
use crate::invoker::Invoker;
use crate::permissions::{Refusals, Role};
use crate::simulators::Simulators;
use crate::template::{self, LocalValues, Template};
use crate::{event_source, functions, schedule};

/// The variable of the functions that may have secrets.
const SECRETS_ID: &str = "SECRETS_ID";
/// Where a data folder keeps provider keys.
pub const SECRETS_FILE: &str = "secrets.json";
/// What the development account starts with.
const OPENING_CREDITS: u64 = 1_000;

/// How to start.
#[derive(Default)]
pub struct Options {
    /// Where everything is kept; none: in memory and a temporary folder, gone at the end.
    pub data: Option<PathBuf>,
    /// The port on 127.0.0.1; 0: any free one.
    pub port: u16,
    /// A template instead of the built-in one.
    pub template: Option<PathBuf>,
    /// Environment variables that replace the template's, for every function.
    pub environment: Vec<(String, String)>,
    /// Where providers reach this machine, if they can (a tunnel); else only simulators call back.
    pub public_url: Option<String>,
    /// The clock; the system's unless given.
    pub clock: Option<Clock>,
    /// Engines that run elsewhere, in place of our own.
    pub engines: Endpoints,
    /// Watches every DynamoDB call.
    pub dynamodb_interceptor: Option<aws_sdk_dynamodb::config::SharedInterceptor>,
    /// Each function remembers accounts, the catalog and its share of limits for itself, as functions in processes of their own do.
    pub separate_memories: bool,
    /// How long calls to the table may take; as on Lambda unless given.
    pub dynamodb_timeouts: Option<TimeoutConfig>,
}

/// The running product. Dropping it is a power cut: whatever runs stops where it stands.
pub struct Stack {
    /// `http://127.0.0.1:<port>`
    pub api: String,
    /// The development account's key.
    pub api_key: String,
    /// The development account.
    pub account: AccountId,
    /// The providers that are simulated.
    pub simulated: Vec<String>,
    /// Calls that a function's policy did not grant.
    pub refusals: Refusals,
    pub clock: Clock,
    pub queues: Queues,
    pub simulators: Simulators,
    pub invoker: Arc<Invoker>,
    /// A backend with the environment of the `dispatch` function, for looking at records; no policy limits it.
    pub backend: Backend,
    pub dynamodb: DynamoDb,
    pub s3: S3,
    running: Vec<JoinSet<()>>,
    server: JoinHandle<()>,
    _lock: Option<File>,
    _temporary: Option<tempfile::TempDir>,
}

/// What a data directory remembers of the development account.
#[derive(Serialize, Deserialize)]
struct Developer {
    account: AccountId,
    key: ApiKeyId,
    api_key: String,
    /// Folders of earlier releases know it under its old name.
    #[serde(alias = "callback_secret")]
    signing_secret: String,
}

impl Stack {
    /// Starts everything and waits until it can be used.
    pub async fn start(options: Options) -> Result<Self> {
        Fonts::embedded().install();
        let temporary = match &options.data {
            Some(_) => None,
            None => Some(tempfile::tempdir().context("no temporary folder can be made")?),
        };
        let data = options.data.clone().or_else(|| temporary.as_ref().map(|dir| dir.path().to_owned())).unwrap_or_default();
        std::fs::create_dir_all(&data).with_context(|| format!("the data folder `{}` cannot be made", data.display()))?;
        let lock = options.data.as_deref().map(lock).transpose()?;
        let listener = listen(options.port).await?;
        let api = format!("http://{}", listener.local_addr()?);
        let clock = options.clock.clone().unwrap_or_else(Clock::system);

        let developer = Developer::load_or_make(&data.join("developer.json"), &clock)?;
        let template = read_template(&options, &api, &developer)?;
        let storage = if temporary.is_some() { Storage::Memory } else { Storage::File(data.join("dynamodb.sqlite")) };
        let dynamodb = match &options.engines.dynamodb {
            Some(url) => DynamoDb::elsewhere(url.clone()),
            None => DynamoDb::start(storage).await?,
        };
        let s3 = match &options.engines.s3 {
            Some(url) => S3::elsewhere(url.clone(), &template.bucket).await?,
            None => S3::start(&data.join("s3"), &template.bucket).await?,
        };
        let table = |role: Option<&Role>| {
            let guard = role.map(|role| role.dynamodb(&template.table));
            let interceptors = guard.into_iter().chain(options.dynamodb_interceptor.clone());
            dynamodb_client(&dynamodb, options.dynamodb_timeouts.clone(), interceptors)
        };
        engines::create_table(&table(None), &template.table).await?;
        let specs = event_source::queue_specs(&template);
        let queues = Queues::start(&options.engines, specs, developer.account, &clock).await?;
        let simulators = Simulators::open_with_clock(&data.join("simulators"), clock.clone())?;

        let secrets_file = data.join(SECRETS_FILE);
        let built = Functions::build(&template, &options, &api, &simulators, &table, &s3, &queues, &clock, &secrets_file)?;
        let backend = built.unlimited(&s3, &queues).context("the template has no function `dispatch`")?;
        let scopes = vec![Scope::User, Scope::Admin];
        let now = backend.now();
        let filed = FiledKey::of(&developer.api_key, developer.key, developer.account, KeyTerms::plain(scopes), now);
        open_account(&backend, OPENING_CREDITS, &filed).await?;

        let invoker = Arc::new(Invoker::new(&template, &functions::handlers(built.backends))?);
        let gateway = Arc::new(Gateway::new(&template, Arc::clone(&invoker), clock.clone()));
        let extra = Router::new().nest("/_sim", simulators.router());
        let server = tokio::spawn(async move {
            if let Err(error) = gateway.serve(listener, extra, std::future::pending()).await {
                tracing::error!(%error, "the HTTP server ended");
            }
        });
        simulators.resume();
        let running = vec![event_source::start(&template, &invoker, &queues), schedule::start(&template, &invoker, &clock)];
        Ok(Self {
            api,
            api_key: developer.api_key,
            account: developer.account,
            simulated: built.simulated,
            refusals: built.refusals,
            clock,
            queues,
            simulators,
            invoker,
            backend,
            dynamodb,
            s3,
            running,
            server,
            _lock: lock,
            _temporary: temporary,
        })
    }

    /// Opens another account with its own key, for trying what accounts see of each other.
    pub async fn open_account(&self, credits: u64) -> Result<(AccountId, String)> {
        let (unix_ms, random) = self.backend.id_parts();
        let account = AccountId::from_parts(unix_ms, random);
        let (api_key, filed) = FiledKey::make(account, KeyTerms::plain(vec![Scope::User]), self.backend.now());
        open_account(&self.backend, credits, &filed).await?;
        Ok((account, api_key))
    }
}

/// Opens an account with one key; what is there already stays as it is.
async fn open_account(backend: &Backend, credits: u64, filed: &FiledKey) -> Result<()> {
    let (now, account) = (backend.now(), filed.key.account);
    let grant = Posting::Grant { reference: "opening".to_owned(), amount: Credits::new(credits)?, ends_at: None, note: None };
    let action = backend.action(account, None, "open_account", &account.to_string(), None);
    let opened = backend.store.open_account(&Account::open(account, now), Some(&grant), &action, None, now).await?;
    if let Changed::Refused(refusal) = opened {
        bail!("the account cannot be opened: {refusal}");
    }
    let action = backend.action(account, None, "create_key", &filed.key.id.to_string(), None);
    match backend.store.add_key(filed, &action, None, now).await? {
        Changed::Done(_) | Changed::AlreadySo => Ok(()),
        Changed::Refused(refusal) => bail!("the API key cannot be filed: {refusal}"),
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.server.abort();
        for set in &mut self.running {
            set.abort_all();
        }
        self.invoker.stop();
        self.simulators.stop();
    }
}

/// The functions' backends, each with the environment that the template gives it.
struct Functions {
    backends: HashMap<String, Backend>,
    simulated: Vec<String>,
    refusals: Refusals,
    /// One process has one memory of its accounts and of the catalog, as each Lambda environment has.
    store: Store,
    live_catalog: LiveCatalog,
}

impl Functions {
    #[allow(clippy::too_many_arguments, reason = "the parts of the stack, each needed once")]
    fn build(
        template: &Template,
        options: &Options,
        api: &str,
        simulators: &Simulators,
        table: &dyn Fn(Option<&Role>) -> aws_sdk_dynamodb::Client,
        s3: &S3,
        queues: &Queues,
        clock: &Clock,
        secrets_file: &Path,
    ) -> Result<Self> {
        let catalog = Catalog::built_in()?;
        check_names(template, &catalog, options)?;
        let (settings, simulated) = provider_settings(&catalog, options, api, simulators, &kept_names(secrets_file)?);
        let mut backends = HashMap::new();
        let refusals = Refusals::default();
        let metrics = Metrics::memory();
        let variables = template.functions.iter().flat_map(|function| &function.environment);
        let mut variables = options.environment.iter().rev().chain(variables);
        let due_shards = variables.find(|(name, _)| name == "DUE_SHARDS").and_then(|(_, value)| value.parse().ok()).unwrap_or(1);
        let store = Store::new(table(None), template.table.name.clone(), due_shards);
        let live_catalog = LiveCatalog::new(catalog.clone(), store.clone(), clock.clone());
        for function in &template.functions {
            let mut environment: BTreeMap<String, String> = function.environment.iter().cloned().collect();
            for (name, value) in &settings {
                // Secrets go only to the functions to which the template gives them.
                if name.ends_with("_BASE_URL") || environment.contains_key(SECRETS_ID) {
                    environment.insert(name.clone(), value.clone());
                }
            }
            environment.insert("ALLOW_LOOPBACK".to_owned(), "true".to_owned());
            let keys: Vec<&str> =
                catalog.providers().filter_map(|provider| provider.http()).flat_map(|http| http.secret_names()).collect();
            let may_have = |name: &String| environment.contains_key(SECRETS_ID) || !keys.contains(&name.as_str());
            let given: Vec<_> = options.environment.iter().filter(|(name, _)| may_have(name)).cloned().collect();
            environment.extend(given);
            queues.address(&mut environment);
            let config = Config::read(&catalog, |name| environment.get(name).cloned())
                .with_context(|| format!("function `{}`", function.logical_id))?;
            let role = Role::new(&function.logical_id, &function.grants, &refusals);
            let client = table(Some(&role));
            let (store, live_catalog) = if options.separate_memories {
                let store = Store::new(client, template.table.name.clone(), due_shards);
                (store.clone(), LiveCatalog::read_later(overlay(&function.binary), store, clock.clone()))
            } else {
                let store = store.over(client);
                (store.clone(), live_catalog.over(store))
            };
            let bucket = bucket(s3, &config.bucket, Some(&role));
            let mut secrets = Secrets::new(config.secrets(), clock.clone());
            if let Some(id) = &config.secrets_id {
                role.check_secret(id).map_err(anyhow::Error::msg)?;
                secrets = secrets.with_file(secrets_file);
            }
            // Whoever puts another queue in the place of the template's may send to it.
            let given = options.environment.iter().filter(|(name, _)| name.ends_with("_QUEUE_URL"));
            let given: Vec<String> = given.map(|(_, queue)| queue.clone()).collect();
            let may = move |action: &str, queue: &str| given.iter().any(|own| own == queue) || role.check_queue(action, queue);
            let queue = queues.sender_for(may);
            let backend = Backend::assemble(live_catalog, config, store, bucket, queue, secrets, clock.clone());
            backends.insert(function.binary.clone(), Backend { metrics: metrics.clone(), ..backend });
        }
        Ok(Self { backends, simulated, refusals, store, live_catalog })
    }

    /// The backend of `dispatch`, without its limits.
    fn unlimited(&self, s3: &S3, queues: &Queues) -> Option<Backend> {
        let limited = self.backends.get("dispatch")?.clone();
        Some(Backend {
            store: self.store.clone(),
            live_catalog: self.live_catalog.clone(),
            bucket: bucket(s3, &limited.config.bucket, None),
            queue: queues.sender(),
            ..limited
        })
    }
}

/// How a function's own `main` has entries of the catalog put over it.
fn overlay(binary: &str) -> Overlay {
    match binary {
        "generate" | "admin" => Catalog::with_entries,
        _ => Catalog::with_entries_as_put,
    }
}

fn bucket(s3: &S3, name: &str, role: Option<&Role>) -> Bucket {
    let client = s3_client(&engines::sdk(&s3.endpoint_url));
    let mut config = client.config().to_builder();
    if let Some(role) = role {
        config.push_interceptor(role.s3());
    }
    Bucket::new(aws_sdk_s3::Client::from_conf(config.build()), name.to_owned())
}

/// A variable that no function has is a slip of the pen, not a wish.
fn check_names(template: &Template, catalog: &Catalog, options: &Options) -> Result<()> {
    let mut known: Vec<String> =
        template.functions.iter().flat_map(|function| function.environment.iter().map(|(name, _)| name.clone())).collect();
    for (provider, http) in catalog.providers().filter_map(|provider| Some((provider, provider.http()?))) {
        known.push(base_url_variable(&provider.name));
        known.extend(limit_variables(&provider.name));
        known.extend(http.secret_names().map(str::to_owned));
    }
    // Not in the template: the providers' own figures are right unless somebody tries something.
    known.push(SUBMIT_TIMEOUT.to_owned());
    known.sort();
    known.dedup();
    match options.environment.iter().find(|(name, _)| !known.contains(name)) {
        Some((name, _)) => bail!("no function reads the environment variable `{name}`; there are: {}", known.join(", ")),
        None => Ok(()),
    }
}

/// The names of the secrets that the data folder keeps.
pub(crate) fn kept_names(secrets_file: &Path) -> Result<Vec<String>> {
    let text = match std::fs::read_to_string(secrets_file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("`{}` cannot be read", secrets_file.display())),
    };
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let secrets: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text)
        .with_context(|| format!("`{}` is not a JSON object of names and keys", secrets_file.display()))?;
    let has_value = |value: &serde_json::Value| value.as_str().is_some_and(|value| !value.is_empty());
    Ok(secrets.into_iter().filter(|(_, value)| has_value(value)).map(|(name, _)| name).collect())
}

/// Providers are real when their key is given, and simulated otherwise.
fn provider_settings(
    catalog: &Catalog,
    options: &Options,
    api: &str,
    simulators: &Simulators,
    kept: &[String],
) -> (Vec<(String, String)>, Vec<String>) {
    let given = |name: &str| {
        kept.iter().any(|own| own == name) || options.environment.iter().any(|(own, value)| own == name && !value.is_empty())
    };
    let mut settings = Vec::new();
    let mut simulated = Vec::new();
    for provider in catalog.providers() {
        let Some(http) = provider.http() else { continue };
        if given(&http.key_env) {
            continue;
        }
        simulated.push(provider.name.clone());
        settings.push((base_url_variable(&provider.name), format!("{api}/_sim/{}", provider.name)));
        let prefix = provider.name.to_ascii_uppercase();
        let own = simulators.credentials().into_iter().filter(|(name, _)| *name == http.key_env || name.starts_with(&prefix));
        settings.extend(own.map(|(name, value)| (name.to_owned(), value)));
    }
    (settings, simulated)
}

fn read_template(options: &Options, api: &str, developer: &Developer) -> Result<Template> {
    let values = LocalValues {
        table_name: options.engines.table_name(developer.account),
        bucket_name: options.engines.bucket_name(developer.account),
        api_endpoint: options.public_url.clone().unwrap_or_else(|| api.to_owned()),
        parameters: BTreeMap::from([("SigningSecret".to_owned(), developer.signing_secret.clone())]),
    };
    Ok(match &options.template {
        Some(path) => Template::load(path, &values)?,
        None => Template::parse(template::BUILT_IN, &values)?,
    })
}

fn dynamodb_client(
    dynamodb: &DynamoDb,
    timeouts: Option<TimeoutConfig>,
    interceptors: impl Iterator<Item = aws_sdk_dynamodb::config::SharedInterceptor>,
) -> aws_sdk_dynamodb::Client {
    let mut config = aws_sdk_dynamodb::config::Builder::from(&engines::sdk(&dynamodb.endpoint_url));
    config.set_timeout_config(timeouts);
    for interceptor in interceptors {
        config.push_interceptor(interceptor);
    }
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

async fn listen(port: u16) -> Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port))
        .await
        .with_context(|| format!("port {port} of 127.0.0.1 cannot be used; choose another one with `--port`"))
}

/// Two processes on one data folder would each believe that the other's workers are dead.
fn lock(data: &Path) -> Result<File> {
    let path = data.join("lock");
    let file = File::create(&path).with_context(|| format!("`{}` cannot be written", path.display()))?;
    if file.try_lock().is_err() {
        bail!(
            "the data folder `{}` is in use by another darkroom; stop it, or choose another folder with `--data`",
            data.display()
        );
    }
    Ok(file)
}

impl Developer {
    fn load_or_make(path: &Path, clock: &Clock) -> Result<Self> {
        if let Ok(text) = std::fs::read_to_string(path) {
            let problem = || {
                format!("`{}` is not readable as the development account; remove the data folder to start anew", path.display())
            };
            return serde_json::from_str(&text).with_context(problem);
        }
        let unix_ms = u64::try_from(clock.now().as_millisecond()).unwrap_or(0);
        let developer = Self {
            account: AccountId::from_parts(unix_ms, random_bytes()),
            key: ApiKeyId::from_parts(unix_ms, random_bytes()),
            api_key: key_of(random_bytes()),
            signing_secret: hex::encode(random_bytes::<32>()),
        };
        write_private(path, &serde_json::to_string_pretty(&developer)?)?;
        Ok(developer)
    }
}

/// Readable by its owner alone.
fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).with_context(|| format!("`{}` cannot be written", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}
