//! How the functions start, and how large they are: `cargo run --release -p cold-start`.
//!
//! Each function's release build is started again and again against a small Runtime API, with the environment that template.yaml gives it, and
//! is handed a sample of `events/`. AWS is a TLS server on this machine: the figures have the cost of certificates and of the
//! handshake, and no network. They are of this machine, to be compared with each other, and not of Lambda.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a measurement prints figures")]
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "they are for people")]
#![allow(clippy::disallowed_methods, reason = "it measures real processes on a real machine")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Parser;
use table::{Measured, Report};

mod aws;
mod build;
mod environment;
mod http;
mod measure;
mod runtime_api;
mod table;

/// The events by which a function is measured. Each makes it look into the table.
const EVENTS: [(&str, &str); 11] = [
    ("admin", "admin-put-model"),
    ("authorize", "authorize"),
    ("callback", "callback-replicate"),
    ("collect", "collect"),
    ("dispatch", "dispatch"),
    ("erase", "erase-generation"),
    ("generate", "generate-create"),
    ("organize", "organize-create"),
    ("poll", "poll-nudge"),
    ("presign", "presign-complete"),
    ("query", "query-generation"),
];

/// Measures how the functions start.
#[derive(Parser)]
struct Arguments {
    /// Only this one; may be repeated.
    #[arg(long = "function", value_name = "NAME")]
    functions: Vec<String>,
    /// How often each is started.
    #[arg(long, default_value_t = 31)]
    starts: usize,
    /// Only build, and tell the sizes.
    #[arg(long)]
    sizes: bool,
    /// Measure the binaries in this folder, as they are, instead of building any.
    #[arg(long, value_name = "FOLDER")]
    binaries: Option<PathBuf>,
    /// Write what was measured to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Compare with what was measured before, and exit with 1 if something is worse.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(worse) if worse.is_empty() => ExitCode::SUCCESS,
        Ok(worse) => {
            eprintln!("{}", worse.join("\n"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("cold-start: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<Vec<String>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    // Read first: the file to compare with may be the one to write.
    let before: Option<Report> = arguments.check.as_deref().map(read).transpose()?;
    let folder = tempfile::tempdir()?;
    let aws = aws::StandIn::start(folder.path())?;
    let mut functions = environment::functions(&workspace.join("template.yaml"), &aws.url)?;
    if let Some(unknown) = arguments.functions.iter().find(|name| !functions.iter().any(|own| own.name == **name)) {
        bail!("template.yaml has no function `{unknown}`");
    }
    functions.retain(|own| arguments.functions.is_empty() || arguments.functions.contains(&own.name));
    let mut built = Vec::new();
    for function in &functions {
        let binary = match &arguments.binaries {
            Some(folder) => folder.join(&function.name),
            None => build::build(&function.name, &workspace)?,
        };
        built.push((function, binary));
    }
    let mut measured = BTreeMap::new();
    for (function, binary) in &built {
        let (binary_bytes, zip_bytes) = build::sizes(binary).with_context(|| format!("`{}`", binary.display()))?;
        let starts = if arguments.sizes {
            None
        } else {
            let event = event(&function.name, &workspace)?;
            Some(measure::starts(function, binary, &event, &aws, folder.path(), arguments.starts)?)
        };
        measured.insert(function.name.clone(), Measured { binary_bytes, zip_bytes, starts });
    }
    let report = Report { starts_each: arguments.starts, spawn_ms: measure::spawn_ms(arguments.starts)?, functions: measured };
    println!("{}", report.table());
    if let Some(file) = &arguments.json {
        fs::write(file, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    Ok(before.map(|before| report.worse_than(&before)).unwrap_or_default())
}

fn read(file: &Path) -> Result<Report> {
    let text = fs::read_to_string(file).with_context(|| format!("`{}` cannot be read", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("`{}` is not what `--json` writes", file.display()))
}

fn event(function: &str, workspace: &Path) -> Result<Vec<u8>> {
    let (_, name) = EVENTS.iter().find(|(own, _)| *own == function).with_context(|| {
        format!("it is not known by which event `{function}` is to be measured; name one of `events/` in `EVENTS`")
    })?;
    let path = workspace.join(format!("events/{name}.json"));
    let mut text = fs::read_to_string(&path).with_context(|| format!("`{}` cannot be read", path.display()))?;
    if function == "callback" {
        let mut event: serde_json::Value = serde_json::from_str(&text)?;
        let sample = event["pathParameters"]["token"].as_str().context("the callback has no token")?.to_owned();
        let generation = event["pathParameters"]["generation"].as_str().context("the callback has no generation")?;
        let token = callback_token(generation);
        text = serde_json::to_string(&event.take())?.replace(&sample, &token);
    }
    Ok(text.into_bytes())
}

/// The token of an address that `SIGNING_SECRET` makes: with another one the function would answer without a look into the table.
fn callback_token(generation: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, environment::SIGNING_SECRET.as_bytes());
    let tag = hmac::sign(&key, format!("callback/replicate/{generation}/1").as_bytes());
    format!("1-{}", URL_SAFE_NO_PAD.encode(&tag.as_ref()[..24]))
}
