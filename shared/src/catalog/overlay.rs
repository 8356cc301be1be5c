//! The built-in catalog with the entries of the table over it.
//!
//! A provider's manifest replaces the one of its name wholly, a model or a chain the one of its name. What does not load is left out and
//! told; what it would have replaced stays.
//!
//! An entry is checked when it is put. Where orders are taken it is checked again, since a later release may ask for more; elsewhere it is
//! read as it was put, and nothing that is needed for the checks has to be there.

use std::sync::Arc;

use super::chain::ChainSpec;
use super::entry::{CatalogEntry, CatalogKind};
use super::manifest::{Manifest, ModelSpec};
use super::params::Params;
use super::{Catalog, Compile, ManifestError, Model, check};

/// Something that did not make it into the catalog.
#[derive(Debug)]
pub struct Skipped {
    /// What it is.
    pub kind: CatalogKind,
    /// Its catalog name.
    pub name: String,
    /// The entry's version; none when it comes with the product.
    pub version: Option<u32>,
    /// What is wrong with it.
    pub why: ManifestError,
}

impl Skipped {
    fn entry(entry: &CatalogEntry, why: ManifestError) -> Self {
        Self { kind: entry.kind, name: entry.name.clone(), version: Some(entry.version), why }
    }
}

/// What an entry has to satisfy, and how its parameters are compiled.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    manifest: fn(&str, &str) -> Result<Manifest, ManifestError>,
    model_spec: fn(&str, &str) -> Result<ModelSpec, ManifestError>,
    chain_spec: fn(&str, &str) -> Result<ChainSpec, ManifestError>,
    model: fn(&Manifest, &ModelSpec) -> Result<(), ManifestError>,
    chain_alone: fn(&ChainSpec) -> Result<(), ManifestError>,
    chain: fn(&ChainSpec, &[Arc<Model>]) -> Result<(), ManifestError>,
    compile: Compile,
}

/// Everything that is asked of what is put now.
pub(super) const CHECKED: Asked = Asked {
    manifest: check::manifest,
    model_spec: check::read,
    chain_spec: check::read,
    model: check::model,
    chain_alone: check::chain_alone,
    chain: check::chain,
    compile: Params::compile,
};

/// That it can be read, since it was checked when it was put.
const AS_PUT: Asked = Asked {
    manifest: check::known,
    model_spec: check::known,
    chain_spec: check::known,
    model: |_, _| Ok(()),
    chain_alone: |_| Ok(()),
    chain: |_, _| Ok(()),
    compile: |schema| Ok(Params::known(schema)),
};

/// Checks the text of an entry by itself, as those of the product are checked: places in errors are places in this text.
pub fn check_entry(kind: CatalogKind, name: &str, text: &str) -> Result<(), ManifestError> {
    match kind {
        CatalogKind::Provider => CHECKED.manifest(name, text).map(|_| ()),
        CatalogKind::Model => CHECKED.model_spec(name, text).map(|_| ()),
        CatalogKind::Chain => CHECKED.chain_spec(name, text).map(|_| ()),
    }
}

impl Asked {
    /// The provider manifest of an entry.
    fn manifest(&self, name: &str, text: &str) -> Result<Manifest, ManifestError> {
        let manifest = (self.manifest)(name, text)?;
        has_name(name, &manifest.name)?;
        Ok(manifest)
    }

    /// The model of an entry.
    fn model_spec(&self, name: &str, text: &str) -> Result<ModelSpec, ManifestError> {
        let spec = (self.model_spec)(name, text)?;
        has_name(name, &spec.name)?;
        Ok(spec)
    }

    /// The chain of an entry.
    fn chain_spec(&self, name: &str, text: &str) -> Result<ChainSpec, ManifestError> {
        let spec = (self.chain_spec)(name, text)?;
        has_name(name, &spec.name)?;
        (self.chain_alone)(&spec)?;
        Ok(spec)
    }

    /// Adds a chain of those models that the catalog has.
    pub(super) fn add_chain(&self, catalog: &mut Catalog, spec: &ChainSpec) -> Result<(), ManifestError> {
        (self.chain_alone)(spec)?;
        let models = catalog.models_of(spec)?;
        (self.chain)(spec, &models)?;
        catalog.insert_chain(spec.clone(), models, self.compile)
    }
}

/// The provider manifest of an entry that held once. What was good enough then is not judged by the checks of today.
pub fn old_manifest(name: &str, text: &str) -> Result<Manifest, ManifestError> {
    check::known(name, text)
}

/// The model of an entry that held once.
pub fn old_model_spec(name: &str, text: &str) -> Result<ModelSpec, ManifestError> {
    AS_PUT.model_spec(name, text)
}

fn has_name(expected: &str, own: &str) -> Result<(), ManifestError> {
    if own == expected { Ok(()) } else { Err(check::bad(expected, "name", format!("it says `{own}`; put it under that name"))) }
}

impl Catalog {
    /// This catalog, which comes with the product, with `entries` over it, each checked anew; and what did not load.
    pub fn with_entries(&self, entries: &[CatalogEntry]) -> (Self, Vec<Skipped>) {
        self.with(entries, CHECKED)
    }

    /// As [`Catalog::with_entries`], with entries that are only read: they were checked when they were put.
    pub fn with_entries_as_put(&self, entries: &[CatalogEntry]) -> (Self, Vec<Skipped>) {
        self.with(entries, AS_PUT)
    }

    fn with(&self, entries: &[CatalogEntry], asked: Asked) -> (Self, Vec<Skipped>) {
        let mut catalog = self.clone();
        catalog.chains.clear();
        catalog.names.retain(|_, own| !self.chains.contains_key(own));
        let mut overlay = Overlay { asked, built_in: self, catalog, skipped: Vec::new() };
        let of = |kind: CatalogKind| entries.iter().filter(move |entry| entry.kind == kind);
        overlay.providers(of(CatalogKind::Provider));
        overlay.models(of(CatalogKind::Model).filter(|entry| !entry.removed));
        overlay.chains(of(CatalogKind::Chain).filter(|entry| !entry.removed));
        (overlay.catalog, overlay.skipped)
    }

    fn drop_provider(&mut self, name: &str) {
        self.providers.remove(name);
        let models = &self.models;
        self.names.retain(|_, own| models.get(own).is_none_or(|model| model.provider.name != name));
        self.models.retain(|_, model| model.provider.name != name);
    }

    fn drop_model(&mut self, name: &str) -> Option<Arc<Model>> {
        let model = self.models.remove(name)?;
        self.names.retain(|_, own| own != name);
        Some(model)
    }

    fn keep_model(&mut self, model: &Arc<Model>) -> Result<(), ManifestError> {
        self.take_names(&model.provider.name, &model.spec.name, &model.spec.aliases)?;
        self.models.insert(model.spec.name.clone(), Arc::clone(model));
        Ok(())
    }

    fn keep_provider(&mut self, manifest: &Arc<Manifest>, of: &Catalog) -> Result<(), ManifestError> {
        for model in of.models().filter(|model| model.provider.name == manifest.name) {
            self.keep_model(model)?;
        }
        self.providers.insert(manifest.name.clone(), Arc::clone(manifest));
        Ok(())
    }
}

struct Overlay<'a> {
    asked: Asked,
    built_in: &'a Catalog,
    catalog: Catalog,
    skipped: Vec<Skipped>,
}

impl<'a> Overlay<'a> {
    fn providers(&mut self, entries: impl Iterator<Item = &'a CatalogEntry>) {
        let mut pending = Vec::new();
        for entry in entries {
            match self.provider(entry) {
                Ok(Some(manifest)) => pending.push((entry, manifest)),
                Ok(None) => {}
                Err(why) => self.skipped.push(Skipped::entry(entry, why)),
            }
        }
        for (entry, _) in &pending {
            self.catalog.drop_provider(&entry.name);
        }
        let compile = self.asked.compile;
        let add = |catalog: &mut Catalog, (entry, manifest): &(&CatalogEntry, Manifest)| {
            catalog.add_provider_with(manifest.clone(), compile)?;
            if !entry.removed {
                catalog.run_time_providers.insert(entry.name.clone());
            }
            Ok(())
        };
        for ((entry, _), why) in settle(&mut self.catalog, pending, add) {
            self.skipped.push(Skipped::entry(entry, why));
            let Some(own) = self.built_in.provider(&entry.name) else { continue };
            let kept = settle(&mut self.catalog, vec![own], |catalog, own| catalog.keep_provider(own, self.built_in));
            self.skipped.extend(kept.into_iter().map(|(own, why)| Skipped {
                kind: CatalogKind::Provider,
                name: own.name.clone(),
                version: None,
                why,
            }));
        }
    }

    /// What an entry puts in the place of the built-in provider. After a removal that one is back under the version of the removal: its
    /// own may be the same as that of a manifest that was put since.
    fn provider(&self, entry: &CatalogEntry) -> Result<Option<Manifest>, ManifestError> {
        if !entry.removed {
            return Ok(Some(Manifest { version: entry.version, ..self.asked.manifest(&entry.name, &entry.body)? }));
        }
        let own = self.built_in.provider(&entry.name).filter(|own| own.version <= entry.version);
        Ok(own.map(|own| Manifest { version: entry.version, ..Manifest::clone(own) }))
    }

    fn models(&mut self, entries: impl Iterator<Item = &'a CatalogEntry>) {
        let mut pending = Vec::new();
        for entry in entries {
            match self.model(entry) {
                Ok((spec, provider)) => pending.push((entry, spec, provider, self.catalog.drop_model(&entry.name))),
                Err(why) => self.skipped.push(Skipped::entry(entry, why)),
            }
        }
        type Pending<'e> = (&'e CatalogEntry, ModelSpec, Arc<Manifest>, Option<Arc<Model>>);
        let compile = self.asked.compile;
        let add = |catalog: &mut Catalog, (entry, spec, provider, _): &Pending<'_>| {
            catalog.insert_model(Model::compile_with(spec.clone(), Some(entry.version), provider, compile)?)
        };
        for ((entry, _, _, replaced), why) in settle(&mut self.catalog, pending, add) {
            self.skipped.push(Skipped::entry(entry, why));
            let kept = settle(&mut self.catalog, replaced.into_iter().collect(), Catalog::keep_model);
            self.skipped.extend(kept.into_iter().map(|(own, why)| Skipped {
                kind: CatalogKind::Model,
                name: own.spec.name.clone(),
                version: None,
                why,
            }));
        }
    }

    fn model(&self, entry: &CatalogEntry) -> Result<(ModelSpec, Arc<Manifest>), ManifestError> {
        let spec = self.asked.model_spec(&entry.name, &entry.body)?;
        let name = provider_of(&spec.name);
        let unknown = || check::bad(&spec.name, "name", format!("there is no provider `{name}`; put its manifest first"));
        let provider = Arc::clone(self.catalog.provider(name).ok_or_else(unknown)?);
        (self.asked.model)(&provider, &spec)?;
        Ok((spec, provider))
    }

    fn chains(&mut self, entries: impl Iterator<Item = &'a CatalogEntry>) {
        let mut own: Vec<&ChainSpec> = self.built_in.chains.values().map(|chain| &chain.spec).collect();
        let mut pending = Vec::new();
        for entry in entries {
            match self.asked.chain_spec(&entry.name, &entry.body) {
                Ok(spec) => {
                    own.retain(|own| own.name != spec.name);
                    pending.push((entry, spec));
                }
                Err(why) => self.skipped.push(Skipped::entry(entry, why)),
            }
        }
        let asked = self.asked;
        let add = |catalog: &mut Catalog, spec: &&ChainSpec| asked.add_chain(catalog, spec);
        // Those of the product first: whoever comes later finds a name taken.
        let failed = settle(&mut self.catalog, own, add);
        self.built_in_chains_failed(failed);
        for ((entry, _), why) in settle(&mut self.catalog, pending, |catalog, (_, spec)| asked.add_chain(catalog, spec)) {
            self.skipped.push(Skipped::entry(entry, why));
            let replaced: Vec<_> = self.built_in.chains.get(&entry.name).map(|chain| &chain.spec).into_iter().collect();
            let failed = settle(&mut self.catalog, replaced, add);
            self.built_in_chains_failed(failed);
        }
    }

    fn built_in_chains_failed(&mut self, failed: Vec<(&ChainSpec, ManifestError)>) {
        let failed = failed.into_iter();
        self.skipped.extend(failed.map(|(spec, why)| Skipped {
            kind: CatalogKind::Chain,
            name: spec.name.clone(),
            version: None,
            why,
        }));
    }
}

/// The provider that a model's name begins with.
fn provider_of(model: &str) -> &str {
    model.split_once('/').map_or(model, |(provider, _)| provider)
}

/// Adds one after the other, each wholly or not at all. What fails is tried again as long as others get through: a name may be free only
/// then. Gives what never got in.
fn settle<T>(
    catalog: &mut Catalog,
    mut pending: Vec<T>,
    add: impl Fn(&mut Catalog, &T) -> Result<(), ManifestError>,
) -> Vec<(T, ManifestError)> {
    loop {
        let before = pending.len();
        let mut failed = Vec::new();
        for one in pending {
            let mut next = catalog.clone();
            match add(&mut next, &one) {
                Ok(()) => *catalog = next,
                Err(why) => failed.push((one, why)),
            }
        }
        if failed.is_empty() || failed.len() == before {
            return failed;
        }
        pending = failed.into_iter().map(|(one, _)| one).collect();
    }
}

#[cfg(test)]
mod tests;
