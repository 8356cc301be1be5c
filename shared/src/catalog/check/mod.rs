//! What a manifest must satisfy before anything runs on it. Every refusal names the place, the reason and what to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::Model;
use super::chain::ChainSpec;
use super::manifest::{Manifest, ModelSpec};
use place::Place;

mod apis;
mod calls;
mod chains;
mod documents;
mod failures;
mod media;
mod models;
mod params;
mod place;
mod price;
mod providers;
mod results;
mod samples;
mod templates;
#[cfg(test)]
mod tests;
mod words;

pub use documents::{Document, check_documents};

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or not of the manifest's shape.
    #[error("`{file}`, at `{at}`: {reason}")]
    Shape { file: String, at: String, reason: serde_json::Error },
    /// Of the right shape, with a mistake inside.
    #[error("manifest `{manifest}`, at `{at}`: {reason}")]
    Content { manifest: String, at: String, reason: String },
}

type Checked<T = ()> = Result<T, ManifestError>;

pub(super) fn bad(manifest: &str, at: &str, reason: impl Into<String>) -> ManifestError {
    ManifestError::Content { manifest: manifest.to_owned(), at: at.to_owned(), reason: reason.into() }
}

/// Reads JSON that was checked when it was written: should it be of another shape all the same, line and column have to do.
pub(super) fn known<T: DeserializeOwned>(file: &str, text: &str) -> Checked<T> {
    let at = "the document".to_owned();
    serde_json::from_str(text).map_err(|reason| ManifestError::Shape { file: file.to_owned(), at, reason })
}

/// Reads JSON; a mistake of shape is told with its place.
pub(super) fn read<T: DeserializeOwned>(file: &str, text: &str) -> Checked<T> {
    // Where a mistake is, is only followed when there is one: it takes as long as the reading.
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let shape = |at: String, reason| ManifestError::Shape { file: file.to_owned(), at, reason };
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let at = match error.path().to_string() {
            top if top == "." => "the top".to_owned(),
            // `?` is a member whose name was not read to its end.
            inside => inside.trim_end_matches(".?").to_owned(),
        };
        shape(at, error.into_inner())
    })?;
    json.end().map_err(|reason| shape("the end".to_owned(), reason))?;
    Ok(value)
}

/// A chain by itself.
pub(super) fn chain_alone(spec: &ChainSpec) -> Result<(), ManifestError> {
    chains::alone(&Place::top(&spec.name), spec)
}

/// A chain whose models are known.
pub(super) fn chain(spec: &ChainSpec, models: &[Arc<Model>]) -> Result<(), ManifestError> {
    chains::with_models(&Place::top(&spec.name), spec, models)
}

/// A manifest, checked by itself.
pub(super) fn manifest(file: &str, text: &str) -> Result<Manifest, ManifestError> {
    let manifest: Manifest = read(file, text)?;
    let top = Place::top(&manifest.name);
    providers::provider(&top, &manifest)?;
    let mut names = BTreeMap::new();
    for (index, spec) in manifest.models.iter().enumerate() {
        let place = top.key("models").index(index);
        models::model(&place, &manifest, spec)?;
        let aliases = spec.aliases.iter().enumerate().map(|(index, alias)| (place.key("aliases").index(index), alias));
        for (place, name) in aliases.chain([(place.key("name"), &spec.name)]) {
            if let Some(owner) = names.insert(name, &spec.name) {
                return place.refuse(format!("the name `{name}` is taken by `{owner}`: each name is given once"));
            }
        }
    }
    Ok(manifest)
}

/// A model that is added beside its provider's manifest. Places are told from the top of the model's own file.
pub(super) fn model(provider: &Manifest, spec: &ModelSpec) -> Result<(), ManifestError> {
    models::model(&Place::top(&spec.name), provider, spec)
}
