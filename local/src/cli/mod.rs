//! The command line.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "talking to the person at the terminal is what this module is for")]

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use shared::catalog::Catalog;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::stack::Options;
use log_file::LogFile;
use trial::VideoTrial;

mod account;
mod answer;
mod assets;
mod catalog;
mod catalog_remote;
mod client;
mod credits;
mod demo;
mod dev;
mod erase;
mod generation;
mod job;
mod key;
mod key_bootstrap;
mod ledger;
mod log_file;
mod logs;
mod models;
mod progress;
mod provider_facts;
mod provider_setup;
mod providers;
mod reconcile;
mod status;
mod tool_run;
mod trial;
mod trial_params;
mod trial_report;

/// Darkroom: a backend that makes images through AI providers, paid with credits.
#[derive(Parser)]
#[command(name = "darkroom", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    dev: dev::Dev,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything in this process until Ctrl-C (the default).
    Dev(dev::Dev),
    /// Run one whole job on fresh engines: upload, generate, pay, store, and show the ledger.
    Demo(demo::Demo),
    /// Make one image, or whatever `--model` makes, through the whole product, and say how it went.
    TestImage(trial::Trial),
    /// Make one video through the whole product, and say how it went.
    TestVideo(VideoTrial),
    /// Run a tool on files of this machine; without a name, list the tools.
    Run(tool_run::Run),
    /// List the models that can be asked for.
    Models(models::Models),
    /// The catalog: check files, change that of a running darkroom.
    #[command(subcommand)]
    Catalog(catalog::Catalog),
    /// Upload files to a running darkroom.
    Upload(assets::Upload),
    /// Files of the key's account: list, look at, save, put into boxes.
    #[command(subcommand)]
    Assets(assets::Assets),
    /// Boxes of the key's account, in which assets are kept together.
    #[command(subcommand)]
    Boxes(assets::Boxes),
    /// Show how the providers of a running darkroom stand: keys, limits, load, health.
    Providers(providers::Providers),
    /// Look at a generation of a running darkroom, send it on, or end it by hand.
    #[command(subcommand)]
    Generation(generation::Generation),
    /// See whether the books of a running darkroom are right: exits with 0 if so, 1 if not, 2 if it could not be found out.
    Reconcile(reconcile::Reconcile),
    /// Show what is due, stuck and queued in a running darkroom; let dead letters be tried once more.
    Status(status::Status),
    /// Read the log of a local run.
    Logs(logs::Logs),
    /// Set up a provider's key and webhook secret.
    Provider(provider_setup::Provider),
    /// Accounts of a running darkroom: open, look at, change, suspend.
    #[command(subcommand)]
    Account(account::Account),
    /// API keys of an account: make, list, revoke, replace; the first one of a deployment.
    #[command(subcommand)]
    Key(key::Key),
    /// Give an account credits, or take some.
    #[command(subcommand)]
    Credits(credits::Credits),
    /// Every change of an account's balance, newest first.
    Ledger(ledger::Ledger),
    /// Erase content in a running darkroom, while the bill stays.
    #[command(subcommand)]
    Erase(erase::Erase),
    /// Print the OpenAPI description of the HTTP API.
    Openapi,
}

/// Options of all commands that start the product.
#[derive(Args, Clone)]
struct Common {
    /// Use this template instead of the built-in one.
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// Replace an environment variable of every function; may be repeated.
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = pair)]
    environment: Vec<(String, String)>,
    /// The https address under which real providers reach this machine (a tunnel).
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// What is logged to stderr: error, warn, info, debug, or `target=level` filters.
    #[arg(long, value_name = "FILTER", value_parser = str::parse::<Targets>)]
    log: Option<Targets>,
}

impl Common {
    /// The providers' keys are taken from the environment of this process, unless `--env` gives them.
    fn options(&self) -> anyhow::Result<Options> {
        let mut environment = self.environment.clone();
        for (name, value) in keys_in_shell(&Catalog::built_in()?) {
            if !environment.iter().any(|(own, _)| *own == name) {
                environment.push((name, value));
            }
        }
        Ok(Options { template: self.template.clone(), environment, public_url: self.public_url.clone(), ..Options::default() })
    }

    /// To stderr, and to the file, in which everything from `info` on is kept.
    fn start_logging(&self, default: LevelFilter, file: Option<LogFile>) {
        // s3s logs whole requests at debug, presigned links included; dynoxide warns of every condition that was not met.
        let engines = [("s3s", LevelFilter::WARN), ("s3s_fs", LevelFilter::WARN), ("dynoxide", LevelFilter::ERROR)];
        let filter = |wanted: Targets| wanted.with_targets(engines);
        let all = |level| Targets::new().with_default(level);
        let ansi = std::io::stderr().is_terminal();
        let terminal = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi).compact();
        let kept = file.map(|file| {
            tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_writer(file)
                .with_filter(filter(all(LevelFilter::INFO)))
        });
        let terminal = terminal.with_filter(filter(self.log.clone().unwrap_or_else(|| all(default))));
        let _ = tracing_subscriber::registry().with(terminal).with(kept).try_init();
    }
}

/// The providers' keys and webhook secrets that the environment of this process holds.
fn keys_in_shell(catalog: &Catalog) -> Vec<(String, String)> {
    let is_secret = |name: &str| {
        catalog.providers().any(|provider| {
            let prefix = format!("{}_WEBHOOK", provider.name.to_ascii_uppercase());
            provider.http().is_some_and(|http| http.key_env == name) || name.starts_with(&prefix)
        })
    };
    #[allow(clippy::disallowed_methods, reason = "keys given in the shell; everything else comes from the template")]
    let variables = std::env::vars();
    variables.filter(|(name, value)| is_secret(name) && !value.is_empty()).collect()
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs the command that was asked for. Any failure is one sentence on stderr and a non-zero exit code.
pub async fn run() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        None => dev::run(cli.dev).await,
        Some(Command::Dev(dev)) => dev::run(dev).await,
        Some(Command::Demo(demo)) => demo::run(demo).await,
        Some(Command::Run(run)) => tool_run::run(run).await,
        Some(Command::Upload(upload)) => assets::upload(upload).await,
        Some(Command::Assets(assets)) => assets::run(assets).await,
        Some(Command::Boxes(boxes)) => assets::run_boxes(boxes).await,
        Some(Command::TestImage(trial)) => trial::run(trial, trial::Wanted::Image).await,
        Some(Command::TestVideo(VideoTrial { trial, duration })) => trial::run(trial, trial::Wanted::Video { duration }).await,
        Some(Command::Models(models)) => models::run(&models),
        Some(Command::Catalog(command)) => catalog::run(command).await,
        Some(Command::Providers(providers)) => providers::run(&providers).await,
        Some(Command::Reconcile(reconcile)) => return reconcile::run(&reconcile).await,
        Some(Command::Status(status)) => status::run(&status).await,
        Some(Command::Logs(logs)) => logs::run(&logs).await,
        Some(Command::Generation(command)) => generation::run(command).await,
        Some(Command::Provider(provider)) => provider_setup::run(provider).await,
        Some(Command::Account(command)) => account::run(command).await,
        Some(Command::Key(command)) => key::run(command).await,
        Some(Command::Credits(command)) => credits::run(command).await,
        Some(Command::Ledger(ledger)) => ledger::run(ledger).await,
        Some(Command::Erase(command)) => erase::run(command).await,
        Some(Command::Openapi) => {
            println!("{}", crate::openapi::text());
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("darkroom: {error:#}");
            ExitCode::FAILURE
        }
    }
}
