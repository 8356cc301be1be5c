//! Files of the catalog as a person writes them, recognised by their content and checked together with the built-in catalog.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::Error as _;
use serde_json::Value;

use super::{Checked, ManifestError, bad, manifest, model, read};
use crate::catalog::chain::ChainSpec;
use crate::catalog::manifest::{Manifest, ModelSpec};
use crate::catalog::{BUILT_IN, CHAINS, Catalog};

/// What a file of the catalog holds.
#[derive(Debug, Clone)]
pub enum Document {
    /// A provider with its models: it has `transport`.
    Provider(Box<Manifest>),
    /// One model, to be added beside its provider's manifest: it has `params`.
    Model(Box<ModelSpec>),
    /// One chain, or a list of them: it has `candidates`.
    Chains(Vec<ChainSpec>),
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider(provider) => write!(f, "provider `{}`, models: {}", provider.name, provider.models.len()),
            Self::Model(model) => write!(f, "model `{}`", model.name),
            Self::Chains(chains) => {
                let names = chains.iter().map(|chain| format!("`{}`", chain.name)).collect::<Vec<_>>();
                write!(f, "chains: {}", names.join(", "))
            }
        }
    }
}

impl Document {
    /// Reads a file. A provider is checked by itself; models and chains need others beside them, see [`check_documents`].
    pub fn read(file: &str, text: &str) -> Result<Self, ManifestError> {
        let value: Value = read(file, text)?;
        let has = |name: &str| value.get(name).is_some();
        if value.is_array() {
            return read(file, text).map(Self::Chains);
        }
        if has("candidates") {
            return read(file, text).map(|chain| Self::Chains(vec![chain]));
        }
        if has("transport") || has("models") {
            return manifest(file, text).map(|provider| Self::Provider(Box::new(provider)));
        }
        if has("params") {
            return read(file, text).map(|model| Self::Model(Box::new(model)));
        }
        let reason = "has neither `transport`, as a provider, nor `candidates`, as a chain, nor `params`, as a model";
        Err(ManifestError::Shape { file: file.to_owned(), at: "the top".to_owned(), reason: serde_json::Error::custom(reason) })
    }
}

/// Checks files, given with their names, as if they were added to the built-in catalog: what has the name of something built in takes its
/// place. Each file's answer, in their order.
pub fn check_documents(files: &[(String, String)]) -> Vec<Result<Document, ManifestError>> {
    let read: Vec<Result<Document, ManifestError>> = files.iter().map(|(file, text)| Document::read(file, text)).collect();
    let given = Given::of(&read);
    let mut catalog = Catalog::default();
    let mut built_in_fault = given.built_in(&mut catalog).err();
    let mut answers: BTreeMap<usize, Result<Document, ManifestError>> = BTreeMap::new();
    let mut read: Vec<(usize, Document)> = read
        .into_iter()
        .enumerate()
        .filter_map(|(index, read)| match read {
            Ok(document) => Some((index, document)),
            Err(error) => {
                answers.insert(index, Err(error));
                None
            }
        })
        .collect();
    // Models need their providers, chains their models.
    read.sort_by_key(|(_, document)| rank(document));
    let mut built_in_chains = Some(given.chains);
    for (index, document) in read {
        if matches!(document, Document::Chains(_))
            && let Some(given) = built_in_chains.take()
        {
            built_in_fault = built_in_fault.or(add_built_in_chains(&mut catalog, &given).err());
        }
        answers.insert(index, add(&mut catalog, &document).map(|()| document));
    }
    if let Some(given) = built_in_chains {
        built_in_fault = built_in_fault.or(add_built_in_chains(&mut catalog, &given).err());
    }
    // A chain that comes with the product does not fit any more: whoever replaced its models has to know.
    if let Some(fault) = built_in_fault
        && let Some(answer) = answers.values_mut().find(|answer| answer.is_ok())
    {
        *answer = Err(fault);
    }
    answers.into_values().collect()
}

fn rank(document: &Document) -> u8 {
    match document {
        Document::Provider(_) => 0,
        Document::Model(_) => 1,
        Document::Chains(_) => 2,
    }
}

/// The names that the files give.
struct Given {
    providers: BTreeSet<String>,
    models: BTreeSet<String>,
    chains: BTreeSet<String>,
}

impl Given {
    fn of(read: &[Result<Document, ManifestError>]) -> Self {
        let mut given = Self { providers: BTreeSet::new(), models: BTreeSet::new(), chains: BTreeSet::new() };
        for document in read.iter().flatten() {
            match document {
                Document::Provider(provider) => drop(given.providers.insert(provider.name.clone())),
                Document::Model(model) => drop(given.models.insert(model.name.clone())),
                Document::Chains(chains) => given.chains.extend(chains.iter().map(|chain| chain.name.clone())),
            }
        }
        given
    }

    /// Adds the built-in providers and models that nothing given replaces.
    fn built_in(&self, catalog: &mut Catalog) -> Checked {
        for (file, text) in BUILT_IN {
            let mut provider = manifest(file, text)?;
            if !self.providers.contains(&provider.name) {
                provider.models.retain(|model| !self.models.contains(&model.name));
                catalog.add_provider(provider)?;
            }
        }
        Ok(())
    }
}

fn add_built_in_chains(catalog: &mut Catalog, given: &BTreeSet<String>) -> Checked {
    for (file, text) in CHAINS {
        for chain in read::<Vec<ChainSpec>>(file, text)?.into_iter().filter(|chain| !given.contains(&chain.name)) {
            catalog.add_chain(&chain)?;
        }
    }
    Ok(())
}

fn add(catalog: &mut Catalog, document: &Document) -> Checked {
    match document {
        Document::Provider(provider) => catalog.add_provider(Manifest::clone(provider)),
        Document::Model(spec) => {
            let name = spec.name.split('/').next().unwrap_or_default();
            let Some(provider) = catalog.provider(name).cloned() else {
                let reason = format!(
                    "there is no provider `{name}`: a model's name begins with its provider's; name the provider's file too"
                );
                return Err(bad(&spec.name, "name", reason));
            };
            model(&provider, spec)?;
            catalog.add(ModelSpec::clone(spec), &provider)
        }
        Document::Chains(chains) => chains.iter().try_for_each(|chain| catalog.add_chain(chain)),
    }
}
