//! `darkroom provider setup`: a provider's key and webhook secret, asked for and stored, without showing them.

use std::collections::HashMap;
use std::io::{BufRead as _, IsTerminal as _};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use console::Term;
use secrecy::{ExposeSecret, SecretString};
use shared::catalog::Catalog;
use shared::catalog::manifest::{HttpProvider, Manifest};
use shared::clock::Clock;
use shared::secrets::{MAX_KEYS, Secrets, write_file};

use super::keys_in_shell;
use super::provider_facts::{Purpose, first_trial, limit_options, limits, secrets, trust, where_webhook_secret_is};
use crate::stack::{SECRETS_FILE, kept_names};

/// Arguments of `darkroom provider`.
#[derive(clap::Args)]
pub(super) struct Provider {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Ask for a provider's key and webhook secret and store them; then say what else there is to know.
    Setup(Setup),
}

/// Arguments of `darkroom provider setup`.
#[derive(clap::Args)]
struct Setup {
    /// The provider: fal, gemini, huggingface, kie, minimax, openai, openrouter, replicate, stability or wavespeed.
    name: String,
    /// The data folder whose `secrets.json` keeps them.
    #[arg(long, value_name = "DIR", default_value = ".darkroom")]
    data: PathBuf,
    /// A secret; may be repeated, and nothing is asked then. Others on this machine may see it: rather answer the questions, or give
    /// lines of NAME=VALUE on stdin.
    #[arg(long = "secret", value_name = "NAME=VALUE")]
    secrets: Vec<String>,
    /// Store in this secret of AWS Secrets Manager (its id or ARN, for a deployed darkroom) instead of the data folder.
    #[arg(long, value_name = "ID")]
    secrets_id: Option<String>,
    /// Where providers will reach this darkroom, to be shown in the callback address.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
}

/// Where secrets are put.
enum Place {
    File(PathBuf),
    /// A secret of Secrets Manager.
    Aws(Box<Secrets>, String),
}

impl Place {
    async fn open(setup: &Setup) -> Self {
        match &setup.secrets_id {
            None => Self::File(setup.data.join(SECRETS_FILE)),
            Some(id) => {
                let sdk = aws_config::defaults(aws_config::BehaviorVersion::latest()).load().await;
                let client = aws_sdk_secretsmanager::Client::new(&sdk);
                let secrets = Secrets::new(HashMap::new(), Clock::system()).with_secrets_manager(client, id);
                Self::Aws(Box::new(secrets), id.clone())
            }
        }
    }

    /// Which of these names are stored there with a value.
    async fn stored(&self, wanted: &[(String, Purpose)]) -> Result<Vec<String>> {
        match self {
            Self::File(path) => kept_names(path),
            Self::Aws(secrets, _) => {
                let mut stored = Vec::new();
                for (name, _) in wanted {
                    match secrets.get(name).await {
                        Ok(Some(_)) => stored.push(name.clone()),
                        // A secret that was only created has no value yet; one that does not exist shows when it is stored.
                        Ok(None) | Err(shared::secrets::SecretsError::NoSuchSecret(_)) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(stored)
            }
        }
    }

    async fn put(&self, name: &str, value: &SecretString) -> Result<()> {
        match self {
            Self::File(path) => Ok(write_file(path, name, value)?),
            Self::Aws(secrets, _) => Ok(secrets.put(name, value).await?),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::File(path) => format!("`{}`, which its owner alone can read", path.display()),
            Self::Aws(_, id) => format!("the Secrets Manager secret `{id}`"),
        }
    }
}

/// A value to be stored.
type Given = (String, SecretString);

pub(super) async fn run(provider: Provider) -> Result<()> {
    let Action::Setup(setup) = provider.action;
    let catalog = Catalog::built_in()?;
    let names = || {
        let with_keys = catalog.providers().filter(|provider| provider.http().is_some());
        with_keys.map(|provider| provider.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let Some(manifest) = catalog.provider(&setup.name) else {
        bail!("there is no provider `{}`; there are {}", setup.name, names());
    };
    let Some(http) = manifest.http() else {
        bail!("`{}` runs in darkroom itself and needs no key; the others are {}", setup.name, names());
    };
    let wanted = secrets(http);
    let place = Place::open(&setup).await;
    let mut stored = place.stored(&wanted).await?;
    // What a Lambda function finds in its environment is not what this shell has.
    let in_shell: Vec<String> = match place {
        Place::File(_) => keys_in_shell(&catalog).into_iter().map(|(name, _)| name).collect(),
        Place::Aws(..) => Vec::new(),
    };
    let given = if !setup.secrets.is_empty() {
        read_pairs(setup.secrets.iter().map(String::as_str), "--secret", &wanted)?
    } else if std::io::stdin().is_terminal() {
        ask(manifest, http, &wanted, &stored, &in_shell)?
    } else {
        let lines =
            std::io::stdin().lock().lines().collect::<Result<Vec<String>, _>>().context("stdin cannot be read as text")?;
        read_pairs(lines.iter().map(String::as_str), "line", &wanted)?
    };
    let is_there = |name: &String| stored.contains(name) || in_shell.contains(name);
    if !is_there(&http.key_env) && !given.iter().any(|(name, _)| *name == http.key_env) {
        bail!("`{}` is needed, and is neither given nor stored; nothing was stored", http.key_env);
    }
    if let Place::File(_) = place {
        std::fs::create_dir_all(&setup.data)
            .with_context(|| format!("the data folder `{}` cannot be made", setup.data.display()))?;
    }
    for (name, value) in &given {
        place.put(name, value).await?;
        stored.push(name.clone());
    }
    report_stored(&place, &given, &wanted, &stored, &in_shell);
    explain(&catalog, manifest, http, &setup, &stored, &in_shell);
    Ok(())
}

/// From `NAME=VALUE`s. Errors tell the place and never the text, which may be a secret. Empty lines and comments are skipped, and an empty
/// value is one that was left out.
fn read_pairs<'a>(pairs: impl Iterator<Item = &'a str>, what: &str, wanted: &[(String, Purpose)]) -> Result<Vec<Given>> {
    let mut given: Vec<Given> = Vec::new();
    for (number, pair) in pairs.enumerate().map(|(n, pair)| (n + 1, pair.trim())) {
        if pair.is_empty() || pair.starts_with('#') {
            continue;
        }
        let Some((name, value)) = pair.split_once('=') else { bail!("{what} {number} is not `NAME=VALUE`; nothing was stored") };
        let Some((name, purpose)) = wanted.iter().find(|(own, _)| own == name.trim()) else {
            let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
            bail!("{what} {number} does not name a secret of this provider; there are {}; nothing was stored", names.join(", "));
        };
        if given.iter().any(|(own, _)| own == name) {
            bail!("`{name}` is given twice; several keys go into one value, separated by commas; nothing was stored");
        }
        let value = value.trim();
        if !value.is_empty() {
            given.push((name.clone(), checked(name, *purpose, value)?));
        }
    }
    Ok(given)
}

/// Refuses what cannot be a key: pieces of a web page or of a shell's line that were copied with it.
fn checked(name: &str, purpose: Purpose, value: &str) -> Result<SecretString> {
    let is_split = |letter: char| letter == ',' || letter.is_ascii_whitespace();
    let parts: Vec<&str> = match purpose {
        Purpose::Key => value.split(is_split).filter(|part| !part.is_empty()).collect(),
        Purpose::Webhook => vec![value],
    };
    let is_sound = |part: &&str| part.chars().all(|letter| letter.is_ascii_graphic() && !matches!(letter, '"' | '\'' | '`'));
    if parts.is_empty() || !parts.iter().all(is_sound) {
        bail!("the value for `{name}` has letters that no key has (quotes, spaces, accents); copy it again; nothing was stored");
    }
    if parts.len() > MAX_KEYS {
        bail!("the value for `{name}` holds more than {MAX_KEYS} keys; remove some; nothing was stored");
    }
    Ok(SecretString::from(parts.join(",")))
}

/// Asks at the terminal; what is typed is not shown.
fn ask(
    provider: &Manifest,
    http: &HttpProvider,
    wanted: &[(String, Purpose)],
    stored: &[String],
    in_shell: &[String],
) -> Result<Vec<Given>> {
    let terminal = Term::stderr();
    if !terminal.is_term() {
        bail!(
            "the questions cannot be shown, since stderr is not a terminal; give `--secret NAME=VALUE`, or lines of that on stdin"
        );
    }
    terminal.write_line(&format!("{}: what you type or paste is not shown.", provider.name))?;
    let mut given = Vec::new();
    for (name, purpose) in wanted {
        terminal.write_line(&format!("\n{name}: {}", purpose.explain()))?;
        if let Some(place) = where_webhook_secret_is(&provider.name, http).filter(|_| *purpose == Purpose::Webhook) {
            terminal.write_line(&format!("  {place}"))?;
        }
        let state = match (stored.contains(name), in_shell.contains(name)) {
            (true, _) => "stored already; Enter keeps it",
            (false, true) => "in the environment of this shell; Enter stores nothing",
            (false, false) if *purpose == Purpose::Webhook => "Enter leaves it out",
            (false, false) => "needed",
        };
        terminal.write_str(&format!("  [{state}]: "))?;
        let answer = SecretString::from(terminal.read_secure_line().context("the terminal cannot be read")?);
        let value = answer.expose_secret().trim();
        // Whoever pastes a line of a shell means what is behind the sign.
        let value = value.strip_prefix(&format!("{name}=")).unwrap_or(value);
        if !value.is_empty() {
            given.push((name.clone(), checked(name, *purpose, value)?));
        }
    }
    Ok(given)
}

fn report_stored(place: &Place, given: &[Given], wanted: &[(String, Purpose)], stored: &[String], in_shell: &[String]) {
    if !given.is_empty() {
        let counted = given.iter().map(|(name, value)| match value.expose_secret().split(',').count() {
            1 => name.clone(),
            keys => format!("{name} ({keys} keys)"),
        });
        println!("Stored in {}: {}.", place.describe(), counted.collect::<Vec<_>>().join(", "));
    }
    for (name, _) in wanted.iter().filter(|(name, _)| !given.iter().any(|(own, _)| own == name)) {
        let state = match (stored.contains(name), in_shell.contains(name)) {
            (true, _) => "is there already",
            (false, true) => "is in the environment of this shell, and not stored",
            (false, false) => "is not stored",
        };
        println!("{name} {state}.");
    }
    for name in in_shell.iter().filter(|name| stored.contains(name) && wanted.iter().any(|(own, _)| own == *name)) {
        println!("Note: {name} is also set in the environment of this shell, which goes before what is stored.");
    }
}

/// What else there is to know.
fn explain(catalog: &Catalog, provider: &Manifest, http: &HttpProvider, setup: &Setup, stored: &[String], in_shell: &[String]) {
    let name = &provider.name;
    let is_deployed = setup.secrets_id.is_some();
    if http.apis.values().any(|api| api.callback.is_some()) {
        let base = setup.public_url.as_deref().map_or("{public_url}", |url| url.trim_end_matches('/'));
        println!("\nCallbacks arrive at {base}/v1/callbacks/{name}/{{generation}}/{{token}}");
        println!("  {name} is told the address with each job: nothing to register.");
        if !is_deployed {
            let url = setup.public_url.as_deref().unwrap_or("https://…");
            println!("  They need `darkroom --public-url {url}`, a tunnel to this machine; without it jobs are polled.");
        }
        let has_secret = secrets(http)
            .iter()
            .any(|(name, purpose)| *purpose == Purpose::Webhook && (stored.contains(name) || in_shell.contains(name)));
        trust(provider, http, has_secret).iter().for_each(|line| println!("  {line}"));
    } else {
        println!("\nCallbacks: {name} has none; it answers at once, or is polled.");
    }
    println!("\nLimits: {}.", limits(provider));
    if is_deployed {
        let variables = shared::config::limit_variables(name).join(", ");
        println!("  When your plan allows others: set {variables} in template.yaml (Globals) and deploy.");
    } else {
        println!("  When your plan allows others: `darkroom {}`.", limit_options(provider));
    }
    let trial = first_trial(catalog, provider).unwrap_or_else(|| "darkroom models".to_owned());
    if is_deployed {
        println!("\nNext: the functions see it within a minute. Then `{trial} --api https://… --key …`.");
    } else {
        let data =
            if setup.data.as_os_str() == ".darkroom" { String::new() } else { format!(" --data {}", setup.data.display()) };
        println!(
            "\nNext: restart `darkroom` if it runs: it leaves the simulator of {name} only then. (A key that is replaced is seen at once.)"
        );
        println!("  Then `{trial}{data}`, which is a real job that {name} bills.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Vec<(String, Purpose)> {
        vec![("KIE_API_KEY".to_owned(), Purpose::Key), ("KIE_WEBHOOK_SECRET".to_owned(), Purpose::Webhook)]
    }

    fn read(lines: &[&str]) -> Result<Vec<(String, String)>> {
        let given = read_pairs(lines.iter().copied(), "line", &wanted())?;
        Ok(given.into_iter().map(|(name, value)| (name, value.expose_secret().to_owned())).collect())
    }

    #[test]
    fn lines_are_read_as_a_person_writes_them() {
        let given = read(&["# mine", "", " KIE_API_KEY = k1, k2,k3== ", "KIE_WEBHOOK_SECRET="]).unwrap();
        assert_eq!(given, [("KIE_API_KEY".to_owned(), "k1,k2,k3==".to_owned())]);
    }

    #[test]
    fn mistakes_are_told_without_the_secret() {
        for (lines, reason) in [
            (vec!["VERY-SECRET"], "line 1 is not `NAME=VALUE`"),
            (vec!["KIE_API_KEY=k", "VERY-SECRET=x"], "line 2 does not name a secret of this provider; there are KIE_API_KEY"),
            (vec!["KIE_API_KEY=\"VERY-SECRET\""], "`KIE_API_KEY` has letters that no key has"),
            (vec!["KIE_WEBHOOK_SECRET=VERY-SECRET two"], "`KIE_WEBHOOK_SECRET` has letters that no key has"),
            (vec!["KIE_API_KEY=VERY-SECRET", "KIE_API_KEY=k"], "`KIE_API_KEY` is given twice"),
        ] {
            let error = read(&lines).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("VERY-SECRET"), "{error}");
            assert!(error.contains("nothing was stored"), "{error}");
        }
    }
}
