//! What every function works with: built once, then load, decide, commit, send.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use jiff::{SignedDuration, Timestamp};

use crate::admission::{self, Called, HealthMemory};
use crate::api::GenerationView;
use crate::catalog::{Catalog, Model};
use crate::clock::{Clock, random_bytes};
use crate::config::{Config, ConfigError, variable};
use crate::failure::Alarm;
use crate::generation::{Candidate, Generation, State};
use crate::http_guard::{Outbound, Policy};
use crate::idempotency::IdempotencyClaim;
use crate::ids::{AccountId, ApiKeyId, GenerationId};
use crate::lifecycle::{self, Event, Unchanged};
use crate::live_catalog::{LiveCatalog, Overlay};
use crate::messages::Outgoing;
use crate::metrics::{self, Metrics, Sample};
use crate::pool::PoolChange;
use crate::provider::jwks::KeySets;
use crate::queue::Queue;
use crate::results::Bucket;
use crate::sdk::{Lazy, sdk};
use crate::secrets::Secrets;
use crate::store::{Accepted, Action, ByHand, CommitError, Store, StoreError};

/// The clients and the configuration.
#[derive(Clone)]
pub struct Backend {
    pub config: Arc<Config>,
    pub secrets: Secrets,
    pub live_catalog: LiveCatalog,
    pub clock: Clock,
    pub store: Store,
    pub queue: Queue,
    pub bucket: Bucket,
    pub outbound: Outbound,
    pub key_sets: KeySets,
    pub health: HealthMemory,
    pub metrics: Metrics,
}

/// Why a function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// What an event did.
#[derive(Debug)]
pub enum Applied {
    /// It was written; this is the record now.
    Changed(Box<Generation>),
    /// Nothing was written; this is the record as it is.
    Unchanged(Box<Generation>, Unchanged),
}

impl Applied {
    /// The record now.
    pub fn generation(&self) -> &Generation {
        match self {
            Self::Changed(generation) | Self::Unchanged(generation, _) => generation,
        }
    }
}

/// How often an event is decided anew because others changed the generation meanwhile.
const MAX_RACES: u32 = 20;

impl Backend {
    /// From the environment of a Lambda function. What is wrong with it is logged too. Entries of the catalog are taken as they were put.
    pub fn from_env() -> Result<Self, StartError> {
        Self::from_env_with(Catalog::with_entries_as_put)
    }

    /// As [`Backend::from_env`], for a function that takes orders or entries: an entry of the catalog that this release would refuse is not
    /// on offer.
    pub fn from_env_checking_entries() -> Result<Self, StartError> {
        Self::from_env_with(Catalog::with_entries)
    }

    fn from_env_with(overlay: Overlay) -> Result<Self, StartError> {
        Self::read_env(overlay)
            .inspect_err(|error| tracing::error!(error = error as &dyn std::error::Error, "the function cannot start"))
    }

    fn read_env(overlay: Overlay) -> Result<Self, StartError> {
        let sdk = sdk(variable)?;
        let config = Config::from_env()?;
        let queue = Queue::Sqs(lazy(&sdk, aws_sdk_sqs::Client::new));
        let store = Store::new(lazy(&sdk, aws_sdk_dynamodb::Client::new), config.table.clone(), config.due_shards);
        let bucket = Bucket::new(lazy(&sdk, s3_client), config.bucket.clone());
        let clock = Clock::system();
        let mut secrets = Secrets::new(config.secrets(), clock.clone());
        if let Some(id) = &config.secrets_id {
            secrets = secrets.with_secrets_manager(lazy(&sdk, aws_sdk_secretsmanager::Client::new), id);
        }
        let live_catalog = LiveCatalog::read_later(overlay, store.clone(), clock.clone());
        let metrics = Metrics::lines(&config.metrics_namespace);
        let backend = Self::assemble(live_catalog, config, store, bucket, queue, secrets, clock);
        Ok(Self { metrics, ..backend })
    }

    /// From its parts; its metrics are sums in memory.
    pub fn assemble(
        live_catalog: LiveCatalog,
        config: Config,
        store: Store,
        bucket: Bucket,
        queue: Queue,
        secrets: Secrets,
        clock: Clock,
    ) -> Self {
        let outbound = Outbound::new(Policy { allow_loopback: config.allow_loopback });
        Self {
            store,
            bucket,
            config: Arc::new(config),
            live_catalog,
            clock,
            queue,
            secrets,
            outbound,
            key_sets: KeySets::default(),
            health: HealthMemory::default(),
            metrics: Metrics::memory(),
        }
    }

    /// The time, in whole milliseconds: what the due index and the API can tell.
    pub fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// Counts something.
    pub fn measure(&self, samples: &[Sample]) {
        self.metrics.put(samples, self.now());
    }

    /// Ten bytes for a new id.
    pub fn id_parts(&self) -> (u64, [u8; 10]) {
        (u64::try_from(self.now().as_millisecond()).unwrap_or(0), random_bytes())
    }

    /// What an operator does now; `by`: with which key.
    pub fn action(&self, account: AccountId, by: Option<ApiKeyId>, what: &str, about: &str, reason: Option<&str>) -> Action {
        Action::new(account, by, what, about, reason, self.now())
    }

    /// What is on offer now.
    pub async fn catalog(&self) -> Result<Arc<Catalog>, StoreError> {
        self.live_catalog.now().await
    }

    /// The model of a candidate, as it was when its order was accepted.
    pub async fn model_for(&self, candidate: &Candidate) -> Result<Arc<Model>, StoreError> {
        self.live_catalog.model_for(candidate).await
    }

    /// The rules of a generation's current candidate.
    pub async fn rules(&self, generation: &Generation) -> Result<lifecycle::Rules, StoreError> {
        Ok(self.model_for(generation.candidate()).await?.rules(&self.config.limits))
    }

    /// A generation that has to exist.
    pub async fn load(&self, id: GenerationId) -> Result<Generation, StoreError> {
        self.store.generation(id).await?.ok_or_else(|| StoreError::Missing { what: format!("generation `{id}`") })
    }

    /// A generation as its owner sees it, with links to its results.
    pub async fn view(&self, generation: &Generation) -> Result<GenerationView, crate::results::StoreError> {
        let mut view = self.view_in_a_list(generation).await?;
        if let State::Queued { waiting: Some(waiting), .. } = &generation.state {
            view.queue_position = self.store.line_position(waiting).await.ok();
        }
        Ok(view)
    }

    /// As [`Backend::view`], without its place in a line: that would be one more query for each of a page of generations.
    pub async fn view_in_a_list(&self, generation: &Generation) -> Result<GenerationView, crate::results::StoreError> {
        let links = self.result_links(generation).await?;
        Ok(GenerationView::of(generation, |result| links.get(&result.key).cloned().unwrap_or_default()))
    }

    async fn result_links(&self, generation: &Generation) -> Result<HashMap<String, String>, crate::results::StoreError> {
        let mut links = HashMap::new();
        if generation.erasure.is_some() {
            return Ok(links);
        }
        for result in generation.results().filter(|result| result.erased_at.is_none()) {
            links.insert(result.key.clone(), self.bucket.presign_get(&result.key, self.config.link_expires, None).await?);
        }
        Ok(links)
    }

    /// Writes a new generation with its hold and sends it to the dispatch workers. An answer of the table that was lost is looked up.
    pub async fn accept(
        &self,
        generation: &Generation,
        claim: Option<&IdempotencyClaim>,
        action: Option<&Action>,
    ) -> Result<Accepted, StoreError> {
        let accepted = match self.store.accept(generation, claim, action, generation.created_at).await {
            Ok(accepted) => accepted,
            // The answer was lost, or the transaction: the ledger knows which.
            Err(error) => match self.store.accepted(generation).await {
                Ok(Some(accepted)) => accepted,
                Ok(None) | Err(_) => return Err(error),
            },
        };
        if let Accepted::New(_) = accepted {
            let (id, account, cost) = (generation.id, generation.account, generation.hold.get());
            let dispatch = lifecycle::Send::Dispatch { after: SignedDuration::ZERO };
            self.send_or_leave_to_the_poll(&Outgoing::of(dispatch, id, account, generation.created_at)).await;
            self.measure(&[Sample::count(metrics::ACCEPTED, &[("Model", &generation.order.model)])]);
            tracing::info!(generation = %id, %account, model = generation.order.model, cost, "accepted");
        }
        Ok(accepted)
    }

    /// Decides what `event` means for `generation`, writes it and sends what follows. When somebody else changed the record meanwhile it
    /// is loaded and decided again.
    pub async fn apply(&self, generation: Generation, event: &Event) -> Result<Applied, StoreError> {
        match self.apply_with(generation, event, &[]).await? {
            Some(applied) => Ok(applied),
            None => Err(StoreError::TooBusy { tries: 1 }),
        }
    }

    /// As [`Backend::apply`], with the operator's action in the same transaction.
    pub async fn apply_by_hand(
        &self,
        generation: Generation,
        event: &Event,
        by_hand: &ByHand<'_>,
    ) -> Result<Applied, StoreError> {
        match self.apply_along(generation, event, &[], Some(by_hand)).await? {
            Some(applied) => Ok(applied),
            None => Err(StoreError::TooBusy { tries: 1 }),
        }
    }

    /// As [`Backend::apply`], with changes of a provider's pool in the same transaction. None: the pool has changed since it was looked at,
    /// and nothing was written.
    pub async fn apply_with(
        &self,
        generation: Generation,
        event: &Event,
        pool: &[PoolChange],
    ) -> Result<Option<Applied>, StoreError> {
        self.apply_along(generation, event, pool, None).await
    }

    async fn apply_along(
        &self,
        mut generation: Generation,
        event: &Event,
        pool: &[PoolChange],
        by_hand: Option<&ByHand<'_>>,
    ) -> Result<Option<Applied>, StoreError> {
        let rules = self.rules(&generation).await?;
        for _ in 0..MAX_RACES {
            let now = self.now();
            let decision = match lifecycle::decide(&generation, event, &rules, now) {
                Ok(decision) => decision,
                Err(why) => {
                    tracing::debug!(generation = %generation.id, phase = generation.state.phase(), %why, "nothing to change");
                    return Ok(Some(Applied::Unchanged(Box::new(generation), why)));
                }
            };
            let mut changes = admission::pool_changes(&generation, &decision.next);
            changes.extend_from_slice(pool);
            match self.store.commit(&decision, &changes, by_hand, now).await {
                Ok(()) => {
                    report(&generation, &decision.next, &rules);
                    self.measure(&metrics::of_step(&generation, &decision.next, &rules, now));
                    for send in &decision.send {
                        self.send_or_leave_to_the_poll(&Outgoing::of(*send, generation.id, generation.account, now)).await;
                    }
                    self.after(&generation, &decision.next, &changes).await;
                    return Ok(Some(Applied::Changed(Box::new(decision.next))));
                }
                Err(CommitError::Stale) if pool.is_empty() => generation = self.load(generation.id).await?,
                Err(CommitError::Stale | CommitError::PoolChanged) => {
                    self.health.forget(&generation.candidate().provider);
                    return Ok(None);
                }
                Err(CommitError::Repeated) => return Err(StoreError::InFlight { tries: 1 }),
                Err(CommitError::Store(error)) => return Err(error),
            }
        }
        Err(StoreError::TooBusy { tries: MAX_RACES })
    }

    /// Lets those go on who wait for what this step set free.
    async fn after(&self, before: &Generation, after: &Generation, changes: &[PoolChange]) {
        let claimed = matches!(after.state, State::Claimed { .. }) && !matches!(before.state, State::Claimed { .. });
        for change in changes {
            // Only who is served moves the line's round: who gives up may have stood far behind.
            if let PoolChange::Leave { waiting } = change
                && claimed
                && let Err(error) = self.store.note_served(waiting).await
            {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "the served round was not noted; the next one makes up for it"
                );
            }
        }
        let takes = changes.iter().any(|change| matches!(change, PoolChange::Take { .. }));
        if (takes || admission::lets_others_go_on(before, after))
            && let Ok(catalog) = self.catalog().await
            && let Some(provider) = catalog.provider(&before.candidate().provider)
        {
            self.call_the_line(provider, Called::First).await;
        }
    }

    /// Sends after a commit. What cannot be sent is found by the poll, since the record says when it is due.
    pub async fn send_or_leave_to_the_poll(&self, outgoing: &Outgoing) {
        if let Err(error) = self.send(outgoing).await {
            tracing::warn!(error = &error as &dyn std::error::Error, queue = ?outgoing.message.queue(), "not sent; the poll will");
        }
    }

    /// Sends one message.
    pub async fn send(&self, outgoing: &Outgoing) -> Result<(), crate::queue::QueueError> {
        let url = self.config.queue_url(outgoing.message.queue());
        let delay = Duration::try_from(outgoing.delay).unwrap_or(Duration::ZERO);
        self.queue.send(url, outgoing.message.to_body(), delay, &outgoing.group).await
    }
}

fn report(before: &Generation, after: &Generation, rules: &lifecycle::Rules) {
    if before.state.phase() == after.state.phase() {
        return;
    }
    let (generation, account, attempt) = (after.id, after.account, after.attempt());
    let phase = after.state.phase();
    match &after.state {
        State::Failed { failure, .. } if rules.policies.of(failure.class).alarm == Alarm::Operator => {
            tracing::error!(%generation, %account, attempt, phase, class = ?failure.class, provider = after.candidate().provider, "generation failed");
        }
        State::Failed { failure, .. } => {
            tracing::info!(%generation, %account, attempt, phase, class = ?failure.class, provider = after.candidate().provider, "generation failed");
        }
        State::Unconfirmed { reason, .. } => {
            tracing::warn!(%generation, %account, attempt, phase, reason = reason.word(), "the submit's answer was lost");
        }
        State::Queued { .. }
        | State::Claimed { .. }
        | State::Running { .. }
        | State::Collecting { .. }
        | State::Succeeded { .. }
        | State::Canceled { .. } => tracing::info!(%generation, %account, attempt, phase, "generation moved"),
    }
}

/// No AWS call may hang: each try has three seconds, all tries together eight, which is less than any function has.
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(2))
        .operation_attempt_timeout(Duration::from_secs(3))
        .operation_timeout(Duration::from_secs(8))
        .build()
}

fn lazy<C: 'static>(sdk: &SdkConfig, make: fn(&SdkConfig) -> C) -> Lazy<C> {
    let sdk = sdk.clone();
    Lazy::new(move || make(&sdk))
}

/// An S3 client that adds checksums only where S3 demands them: streamed trailers confuse S3-compatible servers. Against another server
/// than AWS, buckets are addressed by path. Parts of results are large: they get more time than other calls.
pub fn s3_client(sdk: &SdkConfig) -> aws_sdk_s3::Client {
    use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
    let elsewhere = sdk.endpoint_url().is_some();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(Duration::from_secs(60))
        .operation_timeout(Duration::from_secs(180))
        .build();
    let config = aws_sdk_s3::config::Builder::from(sdk)
        .timeout_config(timeouts)
        .force_path_style(elsewhere)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    aws_sdk_s3::Client::from_conf(config.build())
}
