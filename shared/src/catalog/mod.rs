//! The catalog: which providers, models and chains there are, from their manifests, checked when loaded.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use jiff::SignedDuration;
use serde_json::{Map, Value};

use crate::generation::{Candidate, Finish};
use crate::lifecycle::{Backoff, Rules};
use crate::price::{Price, micro_usd};

pub mod calls;
pub mod chain;
mod check;
pub mod entry;
pub mod manifest;
pub mod overlay;
mod params;
pub mod rules;
#[cfg(feature = "schema")]
pub mod schema;

use chain::{Chain, ChainSpec};
pub use check::{Document, ManifestError, check_documents};
use manifest::{Api, Manifest, MediaKind, ModelSpec, Times};
pub use params::{InvalidParam, Params, Preparation};

/// The built-in manifests.
const BUILT_IN: [(&str, &str); 12] = [
    ("placeholder.json", include_str!("../../catalog/providers/placeholder.json")),
    ("replicate.json", include_str!("../../catalog/providers/replicate.json")),
    ("fal.json", include_str!("../../catalog/providers/fal.json")),
    ("kie.json", include_str!("../../catalog/providers/kie.json")),
    ("minimax.json", include_str!("../../catalog/providers/minimax.json")),
    ("wavespeed.json", include_str!("../../catalog/providers/wavespeed.json")),
    ("stability.json", include_str!("../../catalog/providers/stability.json")),
    ("huggingface.json", include_str!("../../catalog/providers/huggingface.json")),
    ("openai.json", include_str!("../../catalog/providers/openai.json")),
    ("openrouter.json", include_str!("../../catalog/providers/openrouter.json")),
    ("gemini.json", include_str!("../../catalog/providers/gemini.json")),
    ("local.json", include_str!("../../catalog/providers/local.json")),
];

/// The built-in chains and tools.
const CHAINS: [(&str, &str); 2] =
    [("chains.json", include_str!("../../catalog/chains.json")), ("tools.json", include_str!("../../catalog/tools.json"))];

/// How parameters are made of a schema: compiled and checked, or known to be right.
type Compile = fn(&Value) -> Result<Params, String>;

/// Every provider, model and chain, by name.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    providers: BTreeMap<String, Arc<Manifest>>,
    models: BTreeMap<String, Arc<Model>>,
    chains: BTreeMap<String, Arc<Chain>>,
    names: HashMap<String, String>,
    /// Those whose manifest was put at run time.
    run_time_providers: BTreeSet<String>,
}

/// One model, ready to be asked for.
#[derive(Debug)]
pub struct Model {
    /// As in the manifest.
    pub spec: ModelSpec,
    /// The version of its own entry, when it was added beside its provider's manifest.
    pub version: Option<u32>,
    /// Its provider.
    pub provider: Arc<Manifest>,
    /// Its parameters, compiled.
    pub params: Params,
}

/// What can be ordered under one name.
#[derive(Debug, Clone)]
pub enum Offer {
    Model(Arc<Model>),
    Chain(Arc<Chain>),
}

/// One way in which an order can be made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// By whom, with which parameters.
    pub candidate: Candidate,
    /// See [`chain::Link::price`].
    pub price: Option<Price>,
    /// See [`chain::Link::stand_in`].
    pub stand_in: bool,
}

/// Time limits that an operator may change, the same for all providers.
#[derive(Debug, Clone)]
pub struct Limits {
    /// See [`Rules::claim_lease`]; at least as long as the API's submit may take.
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
    /// What comes with the product. A test has checked it; each process only reads it, once, since its start is waited for.
    pub fn built_in() -> Result<Self, ManifestError> {
        static LOADED: OnceLock<Catalog> = OnceLock::new();
        if let Some(catalog) = LOADED.get() {
            return Ok(catalog.clone());
        }
        let catalog = Self::load()?;
        Ok(LOADED.get_or_init(|| catalog).clone())
    }

    fn load() -> Result<Self, ManifestError> {
        let mut catalog = Self::default();
        let known: Compile = |schema| Ok(Params::known(schema));
        for (file, text) in BUILT_IN {
            catalog.add_provider_with(check::known(file, text)?, known)?;
        }
        for (file, text) in CHAINS {
            let chains: Vec<ChainSpec> = check::known(file, text)?;
            for spec in chains {
                let models = catalog.models_of(&spec)?;
                catalog.insert_chain(spec, models, known)?;
            }
        }
        Ok(catalog)
    }

    /// Adds a provider and its models.
    pub fn add_provider(&mut self, manifest: Manifest) -> Result<(), ManifestError> {
        self.add_provider_with(manifest, Params::compile)
    }

    fn add_provider_with(&mut self, manifest: Manifest, compile: Compile) -> Result<(), ManifestError> {
        let manifest = Arc::new(manifest);
        for spec in &manifest.models {
            self.insert_model(Model::compile_with(spec.clone(), None, &manifest, compile)?)?;
        }
        self.providers.insert(manifest.name.clone(), manifest);
        Ok(())
    }

    fn add(&mut self, spec: ModelSpec, provider: &Arc<Manifest>) -> Result<(), ManifestError> {
        self.insert_model(Model::compile_with(spec, None, provider, Params::compile)?)
    }

    fn insert_model(&mut self, model: Model) -> Result<(), ManifestError> {
        self.take_names(&model.provider.name, &model.spec.name, &model.spec.aliases)?;
        self.models.insert(model.spec.name.clone(), Arc::new(model));
        Ok(())
    }

    fn add_chain(&mut self, spec: &ChainSpec) -> Result<(), ManifestError> {
        overlay::CHECKED.add_chain(self, spec)
    }

    fn models_of(&self, spec: &ChainSpec) -> Result<Vec<Arc<Model>>, ManifestError> {
        let links = spec.candidates.iter().enumerate();
        let models = links.map(|(index, link)| {
            let at = format!("candidates[{index}].model");
            let unknown = || check::bad(&spec.name, &at, format!("there is no model `{}`: name one of the catalog", link.model));
            self.models.get(&link.model).cloned().ok_or_else(unknown)
        });
        models.collect()
    }

    fn insert_chain(&mut self, spec: ChainSpec, models: Vec<Arc<Model>>, compile: Compile) -> Result<(), ManifestError> {
        let params = compile(&spec.params).map_err(|reason| check::bad(&spec.name, "params", reason))?;
        self.take_names(&spec.name, &spec.name, &spec.aliases)?;
        self.chains.insert(spec.name.clone(), Arc::new(Chain { spec, params, models }));
        Ok(())
    }

    /// `manifest` is the file that gives them: a chain's own, or that of a model's provider.
    fn take_names(&mut self, manifest: &str, own: &str, aliases: &[String]) -> Result<(), ManifestError> {
        let aliases = aliases.iter().enumerate().map(|(index, alias)| (format!("aliases[{index}]"), alias.as_str()));
        for (at, name) in aliases.chain([("name".to_owned(), own)]) {
            if let Some(owner) = self.names.insert(name.to_owned(), own.to_owned()) {
                let at = if manifest == own { at } else { format!("{own}: {at}") };
                return Err(check::bad(manifest, &at, format!("the name `{name}` is taken by `{owner}`: choose another one")));
            }
        }
        Ok(())
    }

    /// What is offered under this name or alias.
    pub fn offer(&self, name: &str) -> Option<Offer> {
        let name = self.names.get(name)?;
        let model = self.models.get(name).map(|model| Offer::Model(Arc::clone(model)));
        model.or_else(|| self.chains.get(name).map(|chain| Offer::Chain(Arc::clone(chain))))
    }

    /// Everything on offer: chains first, then models, by name.
    pub fn offers(&self) -> impl Iterator<Item = Offer> {
        let chains = self.chains.values().map(|chain| Offer::Chain(Arc::clone(chain)));
        chains.chain(self.models.values().map(|model| Offer::Model(Arc::clone(model))))
    }

    /// The tools, in alphabetical order.
    pub fn tools(&self) -> impl Iterator<Item = &Arc<Chain>> {
        self.chains.values().filter(|chain| chain.spec.tool)
    }

    /// The model with this name or alias.
    pub fn model(&self, name: &str) -> Option<&Arc<Model>> {
        self.models.get(self.names.get(name)?)
    }

    /// The model with exactly this catalog name; aliases are not looked at.
    pub fn model_by_name(&self, name: &str) -> Option<&Arc<Model>> {
        self.models.get(name)
    }

    /// The chain with exactly this catalog name.
    pub fn chain_by_name(&self, name: &str) -> Option<&Arc<Chain>> {
        self.chains.get(name)
    }

    /// Whether the provider's manifest was put at run time.
    pub fn is_run_time(&self, provider: &str) -> bool {
        self.run_time_providers.contains(provider)
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

impl Offer {
    /// The catalog name.
    pub fn name(&self) -> &str {
        match self {
            Self::Model(model) => &model.spec.name,
            Self::Chain(chain) => &chain.spec.name,
        }
    }

    /// What it makes.
    pub fn kind(&self) -> MediaKind {
        match self {
            Self::Model(model) => model.spec.kind,
            Self::Chain(chain) => chain.spec.kind,
        }
    }

    /// Its parameters.
    pub fn params(&self) -> &Params {
        match self {
            Self::Model(model) => &model.params,
            Self::Chain(chain) => &chain.params,
        }
    }

    /// What it costs.
    pub fn price(&self) -> &Price {
        match self {
            Self::Model(model) => &model.spec.price,
            Self::Chain(chain) => &chain.spec.price,
        }
    }

    /// The JSON Schema of its parameters.
    pub fn params_schema(&self) -> &Value {
        match self {
            Self::Model(model) => &model.spec.params,
            Self::Chain(chain) => &chain.spec.params,
        }
    }

    /// It is a tool.
    pub fn is_tool(&self) -> bool {
        match self {
            Self::Model(_) => false,
            Self::Chain(chain) => chain.spec.tool,
        }
    }

    /// Its models, in order of preference.
    pub fn models(&self) -> &[Arc<Model>] {
        match self {
            Self::Model(model) => std::slice::from_ref(model),
            Self::Chain(chain) => &chain.models,
        }
    }

    /// What its results have to be.
    pub fn finish(&self) -> Finish {
        match self {
            Self::Model(_) => Finish::default(),
            Self::Chain(chain) => chain.spec.finish.clone(),
        }
    }

    /// Whether the uploads that an order with these checked parameters is given are erased at its end.
    pub fn erases_inputs(&self, params: &Map<String, Value>) -> bool {
        match self {
            Self::Model(_) => false,
            Self::Chain(chain) => chain.erases_inputs(params),
        }
    }

    /// Who may make an order with these checked parameters, in order of preference.
    pub fn plans(&self, params: &Map<String, Value>) -> Vec<Plan> {
        match self {
            Self::Model(model) => vec![Plan { candidate: model.candidate(params), price: None, stand_in: false }],
            Self::Chain(chain) => {
                let made = chain.candidates(params).into_iter();
                made.map(|(link, candidate)| Plan { candidate, price: link.price.clone(), stand_in: link.stand_in }).collect()
            }
        }
    }
}

impl Model {
    /// A model of `provider` that was checked when it was put; `version` is that of its own entry, where it has one.
    pub fn known(spec: ModelSpec, version: Option<u32>, provider: &Arc<Manifest>) -> Self {
        Self { params: Params::known(&spec.params), spec, version, provider: Arc::clone(provider) }
    }

    fn compile_with(
        spec: ModelSpec,
        version: Option<u32>,
        provider: &Arc<Manifest>,
        compile: Compile,
    ) -> Result<Self, ManifestError> {
        let params = compile(&spec.params).map_err(|reason| check::bad(&spec.name, "params", reason))?;
        Ok(Self { spec, version, provider: Arc::clone(provider), params })
    }

    /// Itself as the candidate of an order with these checked parameters, which takes them as they are.
    pub fn candidate(&self, params: &Map<String, Value>) -> Candidate {
        Candidate {
            model: self.spec.name.clone(),
            provider: self.provider.name.clone(),
            catalog_version: self.provider.version,
            model_version: self.version,
            params: None,
            cost_micro_usd: self.cost_micro_usd(params),
        }
    }

    /// What its provider charges us for these checked parameters, in millionths of a US dollar; `None` where it is not known.
    pub fn cost_micro_usd(&self, params: &Map<String, Value>) -> Option<u64> {
        micro_usd(self.spec.cost_usd.as_ref()?.evaluate(params)?)
    }

    fn times(&self) -> &Times {
        let own = self.provider.http().and_then(|http| http.api_of(&self.spec)?.times.as_ref());
        own.unwrap_or(&self.provider.times)
    }

    /// How long a worker may take for the submit, the uploads before it included.
    pub fn submit_limit(&self) -> SignedDuration {
        let api = self.provider.http().and_then(|http| http.api_of(&self.spec));
        let seconds = api.map_or(0, Api::longest_submit_s);
        SignedDuration::from_secs(i64::from(seconds))
    }

    /// What the lifecycle needs to know.
    pub fn rules(&self, limits: &Limits) -> Rules {
        /// For the table, and for storing results that the answer carries.
        const MARGIN: SignedDuration = SignedDuration::from_secs(30);
        let seconds = |s: u32| SignedDuration::from_secs(i64::from(s));
        let times = self.times();
        Rules {
            claim_lease: limits.claim_lease.max(self.submit_limit() + MARGIN),
            collect_lease: limits.collect_lease,
            ask_lease: limits.ask_lease,
            run_limit: seconds(times.run_limit_s),
            unconfirmed_for: limits.unconfirmed_for.unwrap_or(seconds(times.unconfirmed_s)),
            poll: Backoff {
                first: seconds(times.poll_first_s),
                growth_percent: times.poll_growth_percent,
                max: seconds(times.poll_max_s),
            },
            retry: Backoff { first: seconds(2), growth_percent: 300, max: seconds(300) },
            submit_repeat_safe: self.provider.submit_repeat_safe,
            max_attempts: 5,
            max_attempts_before_next: 2,
            max_throttled: 30,
            collect_for: seconds(times.result_lifetime_s),
            requeue_every: limits.requeue_every,
            // Longer than the longest wait for a provider's daily limit.
            queue_limit: SignedDuration::from_hours(48),
            policies: self.provider.policies.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::price::Cost;

    #[test]
    fn the_built_in_manifests_load() {
        let catalog = Catalog::built_in().expect("loads");
        for offer in catalog.offers() {
            let compiled = Params::compile(offer.params_schema());
            assert!(compiled.is_ok(), "`{}`: {}", offer.name(), compiled.unwrap_err());
        }
        assert_eq!(catalog.model("fal/flux/dev").expect("alias").spec.name, "fal/fal-ai/flux/dev");
        assert!(catalog.model("placeholder").is_some());
        assert!(catalog.model("FLUX").is_none());
    }

    #[test]
    fn what_comes_with_the_product_passes_every_check() {
        let catalog = Catalog::built_in().expect("loads");
        for (file, text) in BUILT_IN {
            check::manifest(file, text).expect("a manifest");
        }
        for chain in catalog.chains.values() {
            check::chain_alone(&chain.spec).and_then(|()| check::chain(&chain.spec, &chain.models)).expect("a chain");
        }
    }

    fn ordered(name: &str, params: Value) -> (Option<Cost>, Vec<Candidate>) {
        let offer = Catalog::built_in().expect("loads").offer(name).expect("known");
        let params = offer.params().check("params.", params.as_object().expect("an object")).expect("valid");
        (offer.price().of(&params), offer.plans(&params).into_iter().map(|plan| plan.candidate).collect())
    }

    #[test]
    fn the_price_counts_what_it_says() {
        let price = |name: &str, params| {
            let cost = ordered(name, params).0.expect("a price");
            (cost.credits.get(), cost.by_results.iter().map(|credits| credits.get()).collect::<Vec<_>>())
        };
        assert_eq!(price("placeholder", json!({"prompt": "x"})), (5, vec![]));
        assert_eq!(price("flux-schnell", json!({"prompt": "x"})), (2, vec![2]));
        assert_eq!(price("flux-schnell", json!({"prompt": "x", "num_outputs": 3})), (6, vec![2, 4, 6]));
        assert_eq!(price("flux-schnell", json!({"prompt": "x", "num_outputs": 3.0})), (6, vec![2, 4, 6]));
        assert_eq!(price("hailuo", json!({"prompt": "x", "duration": 10})), (90, vec![]));
    }

    #[test]
    fn each_candidate_says_what_its_provider_charges_where_that_is_known() {
        let costs =
            |name: &str, params| ordered(name, params).1.iter().map(|candidate| candidate.cost_micro_usd).collect::<Vec<_>>();
        assert_eq!(costs("flux-dev", json!({"prompt": "x", "num_images": 3})), [Some(75_000)]);
        assert_eq!(costs("image", json!({"prompt": "x"})), [None, Some(30_000), None]);
    }

    #[test]
    fn a_name_is_given_once() {
        let placeholder = || check::manifest(BUILT_IN[0].0, BUILT_IN[0].1).expect("parses");
        let mut catalog = Catalog::default();
        catalog.add_provider(placeholder()).expect("once");
        let error = catalog.add_provider(placeholder()).expect_err("twice").to_string();
        assert!(error.contains("the name `placeholder/image` is taken"), "{error}");
    }
}
