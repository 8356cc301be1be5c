//! Release builds as they are deployed, each function by itself, and how large they are.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde_json::Value;

/// The headers of an archive with the single entry `bootstrap`, in bytes.
const ZIP_HEADERS: usize = 30 + 46 + 22 + 2 * "bootstrap".len();

/// Builds one function. Several at once would share features, and some would carry what only others need.
pub(crate) fn build(name: &str, workspace: &Path) -> Result<PathBuf> {
    let mut command = Command::new("cargo");
    command.args(["build", "--release", "--message-format", "json-render-diagnostics", "--package", name]);
    // What `cargo run` has set for us would make build scripts run again.
    #[allow(clippy::disallowed_methods, reason = "the names alone, for the cargo that is started from here")]
    let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_BIN_")
    });
    for variable in ours {
        command.env_remove(variable);
    }
    let mut cargo = command.current_dir(workspace).stdout(Stdio::piped()).spawn().context("cargo cannot be run")?;
    let stdout = cargo.stdout.take().context("cargo says nothing")?;
    let mut executable = None;
    for line in BufReader::new(stdout).lines() {
        let message: Value = serde_json::from_str(&line?).unwrap_or_default();
        if message["reason"] == "compiler-artifact" && message["target"]["name"] == name {
            executable = message["executable"].as_str().map(PathBuf::from).or(executable);
        }
    }
    ensure!(cargo.wait()?.success(), "`{name}` cannot be built");
    executable.with_context(|| format!("the package `{name}` has no binary of its own name"))
}

/// The sizes of a binary and of the archive that is deployed, in bytes.
pub(crate) fn sizes(binary: &Path) -> Result<(usize, usize)> {
    let bytes = fs::read(binary)?;
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::best());
    deflate.write_all(&bytes)?;
    Ok((bytes.len(), deflate.finish()?.len() + ZIP_HEADERS))
}
