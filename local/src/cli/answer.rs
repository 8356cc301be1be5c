//! Answers of the API at the terminal: as they are for programs, as a table for people.

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::catalog_remote::Running;

/// How an answer is to be shown, and whose it is.
#[derive(clap::Args)]
pub(super) struct Asked {
    /// Print the API's answer.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) running: Running,
}

/// The part of a list that is wanted.
#[derive(clap::Args)]
pub(super) struct Paging {
    /// How many, 1 to 100.
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Where to go on: the `next_cursor` of the page before.
    #[arg(long)]
    cursor: Option<String>,
}

impl Paging {
    /// The path with what is wanted of its list.
    pub(super) fn of(&self, path: &str) -> String {
        let path = format!("{path}?");
        let begins = path.len();
        let mut query = url::form_urlencoded::Serializer::for_suffix(path, begins);
        query.append_pair("limit", &self.limit.to_string());
        query.extend_pairs(self.cursor.iter().map(|cursor| ("cursor", cursor)));
        query.finish()
    }

    /// Says how to go on, if there is more.
    pub(super) fn more(next: Option<&str>) {
        if let Some(cursor) = next {
            println!("\nThere is more: repeat the command with `--cursor {cursor}`.");
        }
    }
}

impl Asked {
    /// Prints an answer as it is, or lets `table` print what it says.
    pub(super) fn show<T: DeserializeOwned>(&self, answer: Value, table: impl FnOnce(T)) -> Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(&answer)?);
            return Ok(());
        }
        table(serde_json::from_value(answer).context("the API's answer is not understood")?);
        Ok(())
    }
}

/// A value, or a dash where there is none.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A path with ids that people typed, each escaped by itself.
pub(super) fn path(segments: &[&str]) -> Result<String> {
    let mut url: url::Url = "http://host/v1/admin/accounts".parse()?;
    url.path_segments_mut().map_err(|()| anyhow::anyhow!("not a path"))?.extend(segments);
    Ok(url.path().to_owned())
}
