//! `darkroom key`: API keys of an account.

use anyhow::Result;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::Value;
use shared::api::{CreateKey, CreatedKey, KeyList, KeyView, RotateKey};
use shared::keys::Scope;

use super::account::Limits;
use super::answer::{Asked, or_dash, path};
use super::key_bootstrap::{self, Bootstrap};
use super::models::print_table;

/// Commands of `darkroom key`.
#[derive(Subcommand)]
pub(super) enum Key {
    /// Make an API key; it is shown once and kept nowhere.
    #[command(
        after_help = "Examples:\n  darkroom key create acct_… --name website --spend-per-day 100\n  darkroom key create acct_… --scope read --expires-in-seconds 86400"
    )]
    Create(Create),
    /// List an account's keys with what they spent; never the keys themselves.
    #[command(after_help = "Example: darkroom key list acct_…")]
    List(List),
    /// End a key at once: it spends nothing from then on; what only reads may be answered for another minute.
    #[command(after_help = "Example: darkroom key revoke acct_… key_…")]
    Revoke(Revoke),
    /// Replace a key by a new one; both work during the grace.
    #[command(after_help = "Example: darkroom key rotate acct_… key_… --grace-seconds 3600")]
    Rotate(Rotate),
    /// Make the first account and its admin key, straight on the table of a deployment.
    #[command(after_help = "Example: AWS_PROFILE=… darkroom key bootstrap --table darkroom-dev-Table-… --name operators")]
    Bootstrap(Bootstrap),
}

#[derive(Args)]
pub(super) struct Create {
    /// Whose it is to be.
    account: String,
    /// Your own name for it.
    #[arg(long)]
    name: Option<String>,
    /// What it may do: user, read or admin; may be repeated.
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope, default_value = "user")]
    scopes: Vec<Scope>,
    #[command(flatten)]
    limits: Limits,
    /// From this moment on it opens nothing, as `2030-01-31T00:00:00Z`.
    #[arg(long, value_name = "TIME", conflicts_with = "expires_in_seconds")]
    expires_at: Option<String>,
    /// The same, counted from now.
    #[arg(long, value_name = "SECONDS")]
    expires_in_seconds: Option<i64>,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Args)]
pub(super) struct List {
    /// Whose.
    account: String,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Args)]
pub(super) struct Revoke {
    /// Whose it is.
    account: String,
    /// Its id.
    id: String,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Args)]
pub(super) struct Rotate {
    /// Whose it is.
    account: String,
    /// Its id.
    id: String,
    /// How long the old one works beside the new one; 0 ends it at once.
    #[arg(long, value_name = "SECONDS", default_value_t = RotateKey::default().grace_seconds)]
    grace_seconds: i64,
    #[command(flatten)]
    asked: Asked,
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::of(text).ok_or_else(|| "there are user, read and admin".to_owned())
}

pub(super) async fn run(command: Key) -> Result<()> {
    match command {
        Key::Create(create) => self::create(create).await,
        Key::List(list) => self::list(list).await,
        Key::Revoke(Revoke { account, id, asked }) => {
            let path = path(&[&account, "keys", &id])?;
            let answer: Value = asked.running.call(async |client| client.delete(&path).await).await?;
            asked.show(answer, |key: KeyView| println!("{} ({}…) is revoked", key.id, key.prefix))
        }
        Key::Rotate(Rotate { account, id, grace_seconds, asked }) => {
            let path = path(&[&account, "keys", &id, "rotate"])?;
            let body = RotateKey { grace_seconds };
            let answer: Value = asked.running.call(async |client| client.post(&path, &body, &[]).await).await?;
            asked.show(answer, |created: CreatedKey| {
                tell(&created);
                println!("The old key {id} ends in {grace_seconds} s.");
            })
        }
        Key::Bootstrap(bootstrap) => key_bootstrap::run(bootstrap).await,
    }
}

async fn create(create: Create) -> Result<()> {
    let Create { account, name, scopes, limits, expires_at, expires_in_seconds, asked } = create;
    let requests_per_second = limits.requests_per_second;
    let body = CreateKey { name, scopes, limits: limits.spending(), requests_per_second, expires_at, expires_in_seconds };
    let path = path(&[&account, "keys"])?;
    let answer: Value = asked.running.call(async |client| client.post(&path, &body, &[]).await).await?;
    asked.show(answer, |created: CreatedKey| tell(&created))
}

fn tell(CreatedKey { key, api_key }: &CreatedKey) {
    println!("id       {}", api_key.id);
    println!("scopes   {}", words(api_key));
    println!("expires  {}", or_dash(api_key.expires_at));
    println!("key      {}", or_dash(key.as_ref()));
    println!("\nKeep the key now: it is shown this once and stored nowhere.");
}

fn words(key: &KeyView) -> String {
    key.scopes.iter().map(|scope| scope.word()).collect::<Vec<_>>().join(" ")
}

async fn list(List { account, asked }: List) -> Result<()> {
    let path = path(&[&account, "keys"])?;
    let answer: Value = asked.running.call(async |client| client.get(&path).await).await?;
    asked.show(answer, |KeyList { keys }| {
        let titles = ["KEY", "BEGINS", "NAME", "SCOPES", "IN PROGRESS", "TODAY", "MONTH", "LAST USED", "ENDS", "REPLACES"];
        let rows = keys.iter().map(|key| {
            let ends: Option<Timestamp> = [key.expires_at, key.revoked_at].into_iter().flatten().min();
            [
                key.id.to_string(),
                key.prefix.clone(),
                or_dash(key.name.as_ref()),
                words(key),
                key.in_flight.to_string(),
                key.spent_today.to_string(),
                key.spent_this_month.to_string(),
                or_dash(key.last_used_at),
                or_dash(ends),
                or_dash(key.replaces),
            ]
        });
        print_table(&std::iter::once(titles.map(str::to_owned)).chain(rows).collect::<Vec<_>>());
    })
}
