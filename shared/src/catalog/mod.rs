//! The catalog: which providers and models there are, from their manifests, checked when loaded.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::SignedDuration;

use crate::lifecycle::{Backoff, Rules};

mod check;
pub mod manifest;
mod params;

pub use check::ManifestError;
use manifest::{Manifest, ModelSpec, Transport};
pub use params::{InvalidParam, Params};

/// The built-in manifests.
const BUILT_IN: [(&str, &str); 3] = [
    ("placeholder.json", include_str!("providers/placeholder.json")),
    ("replicate.json", include_str!("providers/replicate.json")),
    ("fal.json", include_str!("providers/fal.json")),
];

/// Every provider and model, by name.
#[derive(Debug, Clone)]
pub struct Catalog {
    providers: BTreeMap<String, Arc<Manifest>>,
    models: BTreeMap<String, Arc<Model>>,
    names: HashMap<String, String>,
}

/// One model, ready to be asked for.
#[derive(Debug)]
pub struct Model {
    /// As in the manifest.
    pub spec: ModelSpec,
    /// Its provider.
    pub provider: Arc<Manifest>,
    /// Its parameters, compiled.
    pub params: Params,
}

/// Time limits that an operator may change, the same for all providers.
#[derive(Debug, Clone)]
pub struct Limits {
    /// See [`Rules::claim_lease`].
    pub claim_lease: SignedDuration,
    /// See [`Rules::collect_lease`].
    pub collect_lease: SignedDuration,
    /// See [`Rules::requeue_every`].
    pub requeue_every: SignedDuration,
    /// See [`Rules::ask_lease`].
    pub ask_lease: SignedDuration,
    /// Replaces every manifest's `unconfirmed_s`.
    pub unconfirmed_for: Option<SignedDuration>,
}

impl Catalog {
    /// The providers that come with the product.
    pub fn built_in() -> Result<Self, ManifestError> {
        let manifests = BUILT_IN.iter().map(|(file, text)| check::parse(file, text)).collect::<Result<Vec<_>, _>>()?;
        Self::new(manifests)
    }

    /// A catalog of these manifests; each was checked by itself, here names are checked across them.
    fn new(manifests: Vec<Manifest>) -> Result<Self, ManifestError> {
        let mut catalog = Self { providers: BTreeMap::new(), models: BTreeMap::new(), names: HashMap::new() };
        for manifest in manifests {
            let manifest = Arc::new(manifest);
            for spec in &manifest.models {
                let params = Params::compile(&spec.params).map_err(|reason| check::bad(&manifest.name, &spec.name, reason))?;
                for name in spec.aliases.iter().chain([&spec.name]) {
                    if catalog.names.insert(name.clone(), spec.name.clone()).is_some() {
                        return Err(check::bad(&manifest.name, &spec.name, format!("the name `{name}` is taken")));
                    }
                }
                let model = Model { spec: spec.clone(), provider: Arc::clone(&manifest), params };
                catalog.models.insert(spec.name.clone(), Arc::new(model));
            }
            catalog.providers.insert(manifest.name.clone(), manifest);
        }
        Ok(catalog)
    }

    /// The model with this name or alias.
    pub fn model(&self, name: &str) -> Option<&Arc<Model>> {
        self.models.get(self.names.get(name)?)
    }

    /// All models, by name.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.models.values()
    }

    /// The provider with this name.
    pub fn provider(&self, name: &str) -> Option<&Arc<Manifest>> {
        self.providers.get(name)
    }

    /// All providers, by name.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<Manifest>> {
        self.providers.values()
    }
}

impl Manifest {
    /// What the lifecycle needs to know.
    pub fn rules(&self, limits: &Limits) -> Rules {
        let seconds = |s: u32| SignedDuration::from_secs(i64::from(s));
        Rules {
            claim_lease: limits.claim_lease,
            collect_lease: limits.collect_lease,
            ask_lease: limits.ask_lease,
            run_limit: seconds(self.times.run_limit_s),
            unconfirmed_for: limits.unconfirmed_for.unwrap_or(seconds(self.times.unconfirmed_s)),
            poll: Backoff {
                first: seconds(self.times.poll_first_s),
                growth_percent: self.times.poll_growth_percent,
                max: seconds(self.times.poll_max_s),
            },
            retry: Backoff { first: seconds(2), growth_percent: 300, max: seconds(300) },
            submit_repeat_safe: self.submit_repeat_safe,
            max_attempts: 5,
            collect_for: seconds(self.times.result_lifetime_s),
            requeue_every: limits.requeue_every,
            queue_limit: SignedDuration::from_hours(24),
            policies: self.policies.clone(),
        }
    }

    /// The HTTP side, if it has one.
    pub fn http(&self) -> Option<&manifest::HttpProvider> {
        match &self.transport {
            Transport::Http(http) => Some(http),
            Transport::Placeholder => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_manifests_load() {
        let catalog = Catalog::built_in().expect("loads");
        assert_eq!(catalog.model("fal/flux/dev").expect("alias").spec.name, "fal/fal-ai/flux/dev");
        assert!(catalog.model("placeholder").is_some());
        assert!(catalog.model("FLUX").is_none());
    }

    #[test]
    fn a_name_is_given_once() {
        let placeholder = || check::parse(BUILT_IN[0].0, BUILT_IN[0].1).expect("parses");
        let error = Catalog::new(vec![placeholder(), placeholder()]).expect_err("twice").to_string();
        assert!(error.contains("the name `placeholder/image` is taken"), "{error}");
    }
}
