//! `darkroom catalog`: files of the catalog, checked and described.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use shared::catalog::{ManifestError, check_documents};

use super::catalog_remote::{self, List, Put, Remove};

/// Commands of `darkroom catalog`.
#[derive(Subcommand)]
pub(super) enum Catalog {
    /// Check files before they are added: providers, single models and chains, each recognised by its content.
    Check(Check),
    /// Print the JSON Schema of a provider's manifest, for editors.
    Schema,
    /// Put a provider's manifest, a model or a chain from a JSON file into a running darkroom; live within a minute.
    Put(Put),
    /// List what was put at run time.
    List(List),
    /// Take away what was put; what comes with the product holds again.
    Remove(Remove),
}

/// Arguments of `darkroom catalog check`.
#[derive(Args)]
pub(super) struct Check {
    /// The files. They are checked together: a chain may name a model of another file.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) async fn run(command: Catalog) -> Result<()> {
    match command {
        Catalog::Check(arguments) => check(&arguments),
        Catalog::Schema => {
            print!("{}", schema_text()?);
            Ok(())
        }
        Catalog::Put(arguments) => catalog_remote::put(arguments).await,
        Catalog::List(arguments) => catalog_remote::list(arguments).await,
        Catalog::Remove(arguments) => catalog_remote::remove(arguments).await,
    }
}

fn check(arguments: &Check) -> Result<()> {
    let read = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).with_context(|| format!("`{}` cannot be read", file.display()))?;
        Ok((file.display().to_string(), text))
    };
    let files: Vec<(String, String)> = arguments.files.iter().map(read).collect::<Result<_>>()?;
    let answers = check_documents(&files);
    for ((file, _), answer) in files.iter().zip(&answers) {
        match answer {
            Ok(document) => println!("{file}: fine ({document})"),
            // It begins with the file's name.
            Err(error @ ManifestError::Shape { .. }) => eprintln!("{error}"),
            Err(error @ ManifestError::Content { .. }) => eprintln!("{file}: {error}"),
        }
    }
    match answers.iter().filter(|answer| answer.is_err()).count() {
        0 => Ok(()),
        wrong => bail!("{wrong} of {} files cannot be used", files.len()),
    }
}

/// What `shared/catalog/manifest.schema.json` holds.
fn schema_text() -> Result<String> {
    let text = serde_json::to_string_pretty(&shared::catalog::schema::manifest_schema())?;
    Ok(format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of this repository.
    fn repository(file: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(file)
    }

    fn checked(files: &[&str]) -> Result<()> {
        check(&Check { files: files.iter().map(|file| repository(file)).collect() })
    }

    #[test]
    fn the_schema_beside_the_manifests_is_the_schema_of_the_types() {
        let written = std::fs::read_to_string(repository("shared/catalog/manifest.schema.json")).expect("readable");
        let message = "run `cargo run -- catalog schema > shared/catalog/manifest.schema.json`";
        assert_eq!(written, schema_text().expect("made"), "{message}");
    }

    #[test]
    fn files_that_come_with_the_product_pass_the_check() {
        checked(&["shared/catalog/providers/fal.json", "shared/catalog/chains.json"]).expect("fine");
        checked(&["docs/examples/acme.json", "docs/examples/acme-chain.json", "docs/examples/acme-sketch.json"]).expect("fine");
    }

    #[test]
    fn the_guide_shows_the_examples_as_they_are() {
        let text = |file: &str| std::fs::read_to_string(repository(file)).expect("readable");
        let guide = text("docs/adding-a-provider.md");
        for file in ["acme.json", "acme-sketch.json", "acme-chain.json"] {
            let block = format!("```json\n{}```", text(&format!("docs/examples/{file}")));
            assert!(guide.contains(&block), "docs/adding-a-provider.md shows another {file}");
        }
    }

    #[test]
    fn a_file_with_a_mistake_fails_the_check() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("wrong.json");
        std::fs::write(&file, r#"{"transport": "carrier pigeon"}"#).expect("written");
        let error = check(&Check { files: vec![file] }).expect_err("refused").to_string();
        assert_eq!(error, "1 of 1 files cannot be used");
        let error = checked(&["nowhere.json"]).expect_err("refused").to_string();
        assert!(error.ends_with("nowhere.json` cannot be read"), "{error}");
    }
}
