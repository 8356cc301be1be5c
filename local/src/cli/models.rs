//! `darkroom models`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde_json::Value;
use shared::api::{ModelList, ModelView};
use shared::catalog::Catalog;
use shared::catalog::manifest::{Manifest, MediaKind};

use super::keys_in_shell;
use crate::stack::{SECRETS_FILE, kept_names};

/// Arguments of `darkroom models`.
#[derive(clap::Args)]
pub(super) struct Models {
    /// Only what makes this: image, video, text or json.
    #[arg(long, value_parser = kind)]
    kind: Option<MediaKind>,
    /// Only this provider's models, and the chains with one of them.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// The folder whose stored keys tell which providers are real.
    #[arg(long, value_name = "DIR", default_value = ".darkroom")]
    data: PathBuf,
    /// Print what `GET /v1/models` answers.
    #[arg(long)]
    json: bool,
}

fn kind(text: &str) -> Result<MediaKind, String> {
    serde_json::from_value(Value::from(text)).map_err(|_| "there are image, video, text and json".to_owned())
}

/// The providers whose key is there: in the data folder, or in the environment of this process.
pub(super) struct KeysAtHand(Vec<String>);

impl KeysAtHand {
    pub(super) fn look(catalog: &Catalog, data: &Path) -> Result<Self> {
        let mut names = kept_names(&data.join(SECRETS_FILE))?;
        names.extend(keys_in_shell(catalog).into_iter().map(|(name, _)| name));
        Ok(Self(names))
    }

    /// Whether `darkroom`, when it starts, will use the provider itself; none of a provider that is not reached over HTTP.
    pub(super) fn is_real(&self, provider: &Manifest) -> Option<bool> {
        provider.http().map(|http| self.0.contains(&http.key_env))
    }
}

pub(super) fn run(arguments: &Models) -> Result<()> {
    let catalog = Catalog::built_in()?;
    if let Some(name) = arguments.provider.as_deref().filter(|name| catalog.provider(name).is_none()) {
        let names: Vec<&str> = catalog.providers().map(|provider| provider.name.as_str()).collect();
        bail!("there is no provider `{name}`; there are {}", names.join(", "));
    }
    let is_asked_for = |model: &ModelView| {
        arguments.kind.is_none_or(|kind| kind == model.kind)
            && arguments.provider.as_ref().is_none_or(|name| providers(&catalog, model).contains(&name.as_str()))
    };
    let mut models: Vec<ModelView> =
        catalog.offers().map(|offer| ModelView::from(&offer)).filter(|model| is_asked_for(model)).collect();
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&ModelList { models })?);
        return Ok(());
    }
    models.sort_by_key(|model| kind_word(model.kind));
    let keys = KeysAtHand::look(&catalog, &arguments.data)?;
    let rows = models.iter().map(|model| row(&catalog, &keys, model));
    print_table(&std::iter::once(TITLES.map(str::to_owned)).chain(rows).collect::<Vec<_>>());
    println!(
        "\n`?`: may be left out. `darkroom test-image --model NAME` tries one; `darkroom provider setup NAME` makes a simulated provider real."
    );
    Ok(())
}

/// The provider, or those of a chain's models.
fn providers<'a>(catalog: &'a Catalog, model: &'a ModelView) -> Vec<&'a str> {
    if model.chain.is_empty() {
        return vec![&model.provider];
    }
    model.chain.iter().filter_map(|name| Some(catalog.model(name)?.provider.name.as_str())).collect()
}

const TITLES: [&str; 6] = ["MODEL", "KIND", "CREDITS", "TAKES", "PROVIDER", "ALIASES"];

fn row(catalog: &Catalog, keys: &KeysAtHand, model: &ModelView) -> [String; 6] {
    let price = match model.price.minimum {
        Some(minimum) => format!("{}, at least {minimum}", model.price.credits),
        None => model.price.credits.to_string(),
    };
    let state = |name: &str| match catalog.provider(name).and_then(|provider| keys.is_real(provider)) {
        Some(true) => format!("{name} (real)"),
        Some(false) => format!("{name} (simulated)"),
        None => format!("{name} (in process)"),
    };
    let (provider, aliases) = match model.chain.as_slice() {
        [] => (state(&model.provider), model.aliases.join(", ")),
        chain => (chain_state(catalog, keys, model), format!("first of: {}", chain.join(", "))),
    };
    [model.name.clone(), kind_word(model.kind).to_owned(), price, takes(&model.params), provider, aliases]
}

/// How many of a chain's providers are real.
fn chain_state(catalog: &Catalog, keys: &KeysAtHand, model: &ModelView) -> String {
    let states = providers(catalog, model).into_iter().filter_map(|name| keys.is_real(catalog.provider(name)?));
    let (real, simulated): (Vec<bool>, Vec<bool>) = states.partition(|is_real| *is_real);
    match (real.len(), simulated.len()) {
        (0, _) => "chain (simulated)".to_owned(),
        (_, 0) => "chain (real)".to_owned(),
        (real, simulated) => format!("chain ({real} of {} real)", real + simulated),
    }
}

/// The word for a kind, as in the API.
pub(super) fn kind_word(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "image",
        MediaKind::Video => "video",
        MediaKind::Text => "text",
        MediaKind::Json => "json",
    }
}

/// `text` for a prompt, and the names of the media parameters; `?` behind what may be left out.
fn takes(schema: &Value) -> String {
    let required = |name: &str| {
        let names = schema.get("required").and_then(Value::as_array);
        names.is_some_and(|names| names.iter().any(|own| own == name))
    };
    let is_asset = |value: Option<&Value>| value.and_then(|value| value.get("format")) == Some(&Value::from("asset"));
    let properties = schema.get("properties").and_then(Value::as_object);
    let words = properties.into_iter().flatten().filter_map(|(name, property)| {
        let word = match name.as_str() {
            "prompt" => "text",
            "input" if !required("prompt") => "any input",
            name if is_asset(Some(property)) || is_asset(property.get("items")) => name,
            _ => return None,
        };
        Some(if required(name) { word.to_owned() } else { format!("{word}?") })
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Each column as wide as its widest cell; the last one as it comes.
fn print_table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes_of(name: &str) -> String {
        let offer = Catalog::built_in().unwrap().offer(name).unwrap();
        takes(&ModelView::from(&offer).params)
    }

    #[test]
    fn what_a_model_takes_is_told_in_words() {
        for (name, words) in [
            ("flux-dev", "text"),
            ("placeholder", "text, image?"),
            ("nano-banana-edit", "text, images"),
            ("upscale", "image"),
            ("face-swap", "image, face"),
            ("minimax-h3", "text, first_frame?, last_frame?, images?"),
            ("gemini/json", "text, video?"),
            ("replicate/model", "any input"),
        ] {
            assert_eq!(takes_of(name), words, "{name}");
        }
    }

    #[test]
    fn a_provider_is_real_when_its_key_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(SECRETS_FILE), r#"{"FAL_KEY": "k", "KIE_API_KEY": ""}"#).unwrap();
        let catalog = Catalog::built_in().unwrap();
        let keys = KeysAtHand(kept_names(&folder.path().join(SECRETS_FILE)).unwrap());
        let state = |name: &str| keys.is_real(catalog.provider(name).unwrap());
        assert_eq!((state("fal"), state("kie"), state("placeholder")), (Some(true), Some(false), None));
    }
}
