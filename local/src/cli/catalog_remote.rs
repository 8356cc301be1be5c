//! `darkroom catalog put | list | remove`: the catalog of a darkroom that runs, here or on AWS.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use shared::api::{CatalogChange, CatalogEntryList};
use shared::catalog::entry::CatalogKind;
use url::Url;

use super::client::Client;

/// Where the darkroom is, and who asks.
#[derive(clap::Args)]
pub(super) struct Running {
    /// Where it answers.
    #[arg(long, value_name = "URL", env = "DARKROOM_API", default_value = "http://127.0.0.1:8420")]
    api: String,
    /// An API key with the scope `admin`; that of the local run's data folder unless given.
    #[arg(long, value_name = "KEY", env = "DARKROOM_API_KEY", hide_env_values = true)]
    key: Option<String>,
    /// The data folder of the local run.
    #[arg(long, value_name = "DIR", default_value = ".darkroom")]
    data: PathBuf,
}

/// Arguments of `darkroom catalog put`.
#[derive(clap::Args)]
pub(super) struct Put {
    /// A manifest, a model, a chain, or a list of chains.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Only over this version.
    #[arg(long, value_name = "VERSION")]
    if_match: Option<u32>,
    #[command(flatten)]
    running: Running,
}

/// Arguments of `darkroom catalog list`.
#[derive(clap::Args)]
pub(super) struct List {
    /// Print what `GET /v1/admin/catalog` answers.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    running: Running,
}

/// Arguments of `darkroom catalog remove`.
#[derive(clap::Args)]
pub(super) struct Remove {
    #[arg(value_enum)]
    kind: Kind,
    /// Its catalog name.
    name: String,
    #[command(flatten)]
    running: Running,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    Provider,
    Model,
    Chain,
}

impl From<Kind> for CatalogKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Provider => Self::Provider,
            Kind::Model => Self::Model,
            Kind::Chain => Self::Chain,
        }
    }
}

impl Running {
    /// A client of its API.
    pub(super) fn client(&self) -> Result<Client> {
        let key = match &self.key {
            Some(key) => key.clone(),
            None => self.developer_key()?,
        };
        Ok(Client::new(self.api.trim_end_matches('/'), &key))
    }

    /// A call of its API.
    pub(super) async fn call<T>(&self, call: impl AsyncFnOnce(&Client) -> Result<T>) -> Result<T> {
        call(&self.client()?).await.map_err(|error| self.explain(error))
    }

    fn developer_key(&self) -> Result<String> {
        let path = self.data.join("developer.json");
        let how = || {
            let path = path.display();
            format!(
                "`{path}` has no API key; start a darkroom with `darkroom dev`, or give `--api URL --key KEY` of a running one"
            )
        };
        let text = std::fs::read_to_string(&path).with_context(how)?;
        let developer: Value = serde_json::from_str(&text).with_context(how)?;
        developer["api_key"].as_str().map(str::to_owned).with_context(how)
    }

    /// An error of a call, with what to do when nobody is there.
    pub(super) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let is_gone = error.chain().any(|cause| cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect));
        if !is_gone {
            return error;
        }
        let api = &self.api;
        anyhow!("no darkroom answers at `{api}`; start one with `darkroom dev`, or say where one runs with `--api URL --key KEY`")
    }
}

/// `darkroom catalog put`.
pub(super) async fn put(put: Put) -> Result<()> {
    for file in &put.files {
        put_file(file, &put).await?;
    }
    Ok(())
}

/// `darkroom catalog remove`.
pub(super) async fn remove(remove: Remove) -> Result<()> {
    let client = remove.running.client()?;
    let path = path(remove.kind.into(), &remove.name)?;
    let change: CatalogChange = client.delete(&path).await.map_err(|error| remove.running.explain(error))?;
    println!("removed {} {} (version {})", change.kind.word(), change.name, change.version);
    Ok(())
}

async fn put_file(file: &std::path::Path, put: &Put) -> Result<()> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("`{shown}` cannot be read"))?;
    let whole: Value = serde_json::from_str(&text).with_context(|| format!("`{shown}` is not JSON"))?;
    // One is sent as it stands in the file, so that places in errors are places in the file.
    let parts = match whole.as_array() {
        Some(several) => several.iter().map(|one| (one, one.to_string())).collect(),
        None => vec![(&whole, text)],
    };
    let client = put.running.client()?;
    let headers: Vec<_> = put.if_match.iter().map(|version| ("if-match", version.to_string())).collect();
    for (one, text) in parts {
        let (kind, name) = recognise(one).with_context(|| format!("`{shown}`"))?;
        let sent = client.put(&path(kind, name)?, text, &headers).await;
        let change: CatalogChange = sent.map_err(|error| put.running.explain(error)).with_context(|| format!("`{shown}`"))?;
        println!(
            "{} {} has version {}, live within {} s",
            change.kind.word(),
            change.name,
            change.version,
            change.live_within_seconds
        );
    }
    Ok(())
}

/// What a JSON object is, by what only one of the three has.
fn recognise(one: &Value) -> Result<(CatalogKind, &str)> {
    let kind = [("transport", CatalogKind::Provider), ("candidates", CatalogKind::Chain), ("params", CatalogKind::Model)];
    let kind = kind.into_iter().find(|(member, _)| one.get(member).is_some()).map(|(_, kind)| kind);
    match (kind, one.get("name").and_then(Value::as_str)) {
        (Some(kind), Some(name)) => Ok((kind, name)),
        (None, _) => bail!("a provider has `transport`, a chain `candidates`, a model `params`; this has none of them"),
        (Some(_), None) => bail!("it has no `name`"),
    }
}

/// `darkroom catalog list`.
pub(super) async fn list(arguments: List) -> Result<()> {
    let client = arguments.running.client()?;
    let list: Result<CatalogEntryList> = client.get("/v1/admin/catalog").await;
    let list = list.map_err(|error| arguments.running.explain(error))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&list)?);
        return Ok(());
    }
    if list.entries.is_empty() {
        println!("nothing was put at run time; `darkroom catalog put FILE` does");
        return Ok(());
    }
    println!("{:<9} {:<44} {:>7}  PUT AT", "KIND", "NAME", "VERSION");
    for entry in list.entries {
        let removed = if entry.removed { "  removed" } else { "" };
        println!("{:<9} {:<44} {:>7}  {}{removed}", entry.kind.word(), entry.name, entry.version, entry.put_at);
    }
    Ok(())
}

/// Where an entry is; each part of the name escaped by itself.
fn path(kind: CatalogKind, name: &str) -> Result<String> {
    let mut url: Url = "http://host/v1/admin".parse()?;
    let mut segments = url.path_segments_mut().map_err(|()| anyhow!("not a path"))?;
    segments.push(&format!("{}s", kind.word())).extend(name.split('/'));
    drop(segments);
    Ok(url.path().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_shows_what_it_is() {
        let kind = |one: Value| recognise(&one).map(|(kind, name)| (kind, name.to_owned())).ok();
        assert_eq!(kind(json!({"name": "a", "transport": {}, "models": []})), Some((CatalogKind::Provider, "a".to_owned())));
        assert_eq!(kind(json!({"name": "b", "candidates": [], "params": {}})), Some((CatalogKind::Chain, "b".to_owned())));
        assert_eq!(kind(json!({"name": "a/c", "params": {}})), Some((CatalogKind::Model, "a/c".to_owned())));
        assert_eq!(kind(json!({"name": "a"})), None);
        assert_eq!(kind(json!({"params": {}})), None);
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_the_path() {
        assert_eq!(path(CatalogKind::Model, "a/b c?d").expect("a path"), "/v1/admin/models/a/b%20c%3Fd");
        assert_eq!(path(CatalogKind::Provider, "a").expect("a path"), "/v1/admin/providers/a");
    }
}
