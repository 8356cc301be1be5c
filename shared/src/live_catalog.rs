//! The catalog as it is now: what comes with the product, and over it what was put into the table while it runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex as AsyncMutex;

use crate::catalog::entry::{CatalogEntry, CatalogKind};
use crate::catalog::manifest::{Manifest, ModelSpec};
use crate::catalog::overlay::{self, Skipped};
use crate::catalog::{Catalog, ManifestError, Model};
use crate::clock::Clock;
use crate::generation::Candidate;
use crate::store::{Store, StoreError};

/// What is put is on offer everywhere after this, in seconds.
pub const LIVE_WITHIN_SECONDS: u32 = 60;
/// How long the table's entries are good; less than promised, so that there is time to read them.
const KEEP: SignedDuration = SignedDuration::from_secs(55);
/// After a failure the table is left alone for this long.
const REST: SignedDuration = SignedDuration::from_secs(5);
/// Beyond this many old models the memory of them is emptied.
const MAX_REMEMBERED: usize = 1_000;

/// The catalog of a process. Clones share what was read.
#[derive(Clone)]
pub struct LiveCatalog(Arc<Shared>, Store);

struct Shared {
    overlay: Overlay,
    built_in: OnceLock<Arc<Catalog>>,
    clock: Clock,
    known: Mutex<Option<Known>>,
    /// Held while the table is read: one reads, the others are served what was known before.
    reading: AsyncMutex<()>,
    /// Models as they once were; none: there is no such version in the table. Versions never change, so this is never wrong.
    old: Mutex<HashMap<Version, Option<Arc<Model>>>>,
}

/// What was read last.
#[derive(Clone)]
struct Known {
    catalog: Arc<Catalog>,
    entries: Arc<Vec<CatalogEntry>>,
    /// When to read again.
    until: Timestamp,
}

/// Puts the table's entries over what comes with the product, and tells what does not load.
pub type Overlay = fn(&Catalog, &[CatalogEntry]) -> (Catalog, Vec<Skipped>);

/// A model at the time of an order: its name, the version of its provider's manifest and that of its own entry.
type Version = (String, u32, Option<u32>);

impl LiveCatalog {
    /// Over what comes with the product. Entries of the table are checked anew.
    pub fn new(built_in: Catalog, store: Store, clock: Clock) -> Self {
        Self::with(OnceLock::from(Arc::new(built_in)), Catalog::with_entries, store, clock)
    }

    /// Over what comes with the product, which is read when it is first needed: some functions never need it. `overlay` is
    /// [`Catalog::with_entries`] where orders are taken, so that nothing is sold that this release would refuse; elsewhere
    /// [`Catalog::with_entries_as_put`] is enough.
    pub fn read_later(overlay: Overlay, store: Store, clock: Clock) -> Self {
        Self::with(OnceLock::new(), overlay, store, clock)
    }

    fn with(built_in: OnceLock<Arc<Catalog>>, overlay: Overlay, store: Store, clock: Clock) -> Self {
        let shared =
            Shared { overlay, built_in, clock, known: Mutex::default(), reading: AsyncMutex::default(), old: Mutex::default() };
        Self(Arc::new(shared), store)
    }

    /// The same catalog, with the same memory, read by another store: another function in one process.
    pub fn over(&self, store: Store) -> Self {
        Self(Arc::clone(&self.0), store)
    }

    /// What comes with the product.
    pub fn built_in(&self) -> &Catalog {
        self.product()
    }

    fn product(&self) -> &Arc<Catalog> {
        self.0.built_in.get_or_init(|| Arc::new(Catalog::built_in().expect("the product's manifests load, as the tests show")))
    }

    /// What is on offer now. An error only when the table could never be read; later failures leave what was known before.
    pub async fn now(&self) -> Result<Arc<Catalog>, StoreError> {
        let known = lock(&self.0.known).clone();
        let now = self.0.clock.now();
        match known {
            // Either side: a clock that was set back must not keep it for longer.
            Some(known) if now < known.until && known.until.duration_since(now) <= KEEP => Ok(known.catalog),
            Some(known) => match self.0.reading.try_lock() {
                Ok(_reading) => self.read().await,
                Err(_) => Ok(known.catalog),
            },
            None => {
                let _reading = self.0.reading.lock().await;
                let known = lock(&self.0.known).clone();
                // Whoever read while we waited has it.
                match known {
                    Some(known) => Ok(known.catalog),
                    None => self.read().await,
                }
            }
        }
    }

    /// Reads the table now: this process sees what it has just put.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let _reading = self.0.reading.lock().await;
        self.read().await.map(|_| ())
    }

    async fn read(&self) -> Result<Arc<Catalog>, StoreError> {
        let now = self.0.clock.now();
        let entries = self.1.catalog_entries().await;
        let known = lock(&self.0.known).clone();
        let next = match (entries, known) {
            (Ok(entries), Some(known)) if *known.entries == entries => Known { until: now + KEEP, ..known },
            (Ok(entries), _) => Known { catalog: self.build(&entries), entries: Arc::new(entries), until: now + KEEP },
            (Err(error), Some(known)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the catalog was not refreshed; what was known is served on"
                );
                Known { until: now + REST, ..known }
            }
            (Err(error), None) => return Err(error),
        };
        *lock(&self.0.known) = Some(next.clone());
        Ok(next.catalog)
    }

    fn build(&self, entries: &[CatalogEntry]) -> Arc<Catalog> {
        if entries.is_empty() {
            return Arc::clone(self.product());
        }
        let (catalog, skipped) = (self.0.overlay)(self.product(), entries);
        for Skipped { kind, name, version, why } in skipped {
            let kind = kind.word();
            tracing::error!(
                error = &why as &dyn std::error::Error,
                kind,
                name,
                version,
                "not in the catalog: it does not load; put it anew"
            );
        }
        Arc::new(catalog)
    }

    /// The model of a candidate as it was when its order was accepted. When that is known no more, since what comes with the product
    /// changed, the model as it is now.
    pub async fn model_for(&self, candidate: &Candidate) -> Result<Arc<Model>, StoreError> {
        let Candidate { model, provider, catalog_version, model_version, params: _, cost_micro_usd: _ } = candidate;
        let catalog = self.now().await?;
        let current = catalog.model_by_name(model).filter(|own| own.provider.name == *provider);
        if let Some(own) = current.filter(|own| own.provider.version == *catalog_version && own.version == *model_version) {
            return Ok(Arc::clone(own));
        }
        let version = (model.clone(), *catalog_version, *model_version);
        let remembered = lock(&self.0.old).get(&version).cloned();
        let old = match remembered {
            Some(old) => old,
            None => {
                let old = self.old_model(&catalog, candidate).await?;
                let mut memory = lock(&self.0.old);
                if memory.len() >= MAX_REMEMBERED {
                    memory.clear();
                }
                memory.insert(version, old.clone());
                old
            }
        };
        // An alias: a later release may offer a successor under the name.
        let successor = || catalog.model(model).filter(|own| own.provider.name == *provider);
        let missing = || StoreError::Missing { what: format!("model `{model}` in the catalog") };
        old.or_else(|| successor().cloned()).ok_or_else(missing)
    }

    async fn old_model(&self, catalog: &Catalog, candidate: &Candidate) -> Result<Option<Arc<Model>>, StoreError> {
        let Some(provider) = self.old_provider(catalog, candidate).await? else { return Ok(None) };
        let spec = match candidate.model_version {
            None => provider.models.iter().find(|spec| spec.name == candidate.model).cloned(),
            Some(version) => self.old_spec(&candidate.model, version).await?,
        };
        Ok(spec.map(|spec| Arc::new(Model::known(spec, candidate.model_version, &provider))))
    }

    /// The table is asked first: a release may bring a manifest of the same number.
    async fn old_provider(&self, catalog: &Catalog, candidate: &Candidate) -> Result<Option<Arc<Manifest>>, StoreError> {
        let (name, version) = (candidate.provider.as_str(), candidate.catalog_version);
        if let Some(own) = catalog.provider(name).filter(|own| own.version == version) {
            return Ok(Some(Arc::clone(own)));
        }
        let built_in = self.product().provider(name);
        Ok(match self.1.catalog_version(CatalogKind::Provider, name, version).await? {
            // What comes with the product was back under this number.
            Some(entry) if entry.removed => built_in.map(|own| Arc::new(Manifest { version, ..Manifest::clone(own) })),
            Some(entry) => loads(name, overlay::old_manifest(name, &entry.body)).map(|own| Arc::new(Manifest { version, ..own })),
            None => built_in.filter(|own| own.version == version).cloned(),
        })
    }

    async fn old_spec(&self, name: &str, version: u32) -> Result<Option<ModelSpec>, StoreError> {
        let entry = self.1.catalog_version(CatalogKind::Model, name, version).await?.filter(|entry| !entry.removed);
        Ok(entry.and_then(|entry| loads(name, overlay::old_model_spec(name, &entry.body))))
    }
}

/// An old version that this release cannot read is as good as none.
fn loads<T>(name: &str, loaded: Result<T, ManifestError>) -> Option<T> {
    loaded
        .inspect_err(|error| tracing::error!(error = error as &dyn std::error::Error, name, "an old version does not load"))
        .ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
