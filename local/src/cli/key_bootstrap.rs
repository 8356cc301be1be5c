//! `darkroom key bootstrap`: the first account and admin key of a deployment. There is no key yet that could ask for one over the API, so both are
//! written to the table by whoever may write there.

use anyhow::{Context as _, Result, bail};
use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_sdk_dynamodb::config::ProvideCredentials as _;
use jiff::Timestamp;
use shared::clock::{Clock, random_bytes};
use shared::ids::AccountId;
use shared::keys::{KeyTerms, Scope};
use shared::ledger::Account;
use shared::store::{Action, Changed, FiledKey, Store};

/// An account that was just opened has nothing that falls due, in no shard of the index.
const NO_SHARDS: u32 = 1;

/// Arguments of `darkroom key bootstrap`.
#[derive(clap::Args)]
pub(super) struct Bootstrap {
    /// The table: `TableName` of the stack's outputs.
    #[arg(long, value_name = "NAME")]
    table: String,
    /// Your own name for the account and the key.
    #[arg(long, default_value = "operators")]
    name: String,
    /// Do it although there are accounts: the admin keys were lost.
    #[arg(long)]
    again: bool,
    /// Where DynamoDB answers, if not at AWS.
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
}

pub(super) async fn run(bootstrap: Bootstrap) -> Result<()> {
    let client = client(bootstrap.endpoint_url.as_deref()).await?;
    let store = Store::new(client, bootstrap.table.clone(), NO_SHARDS);
    let accounts = store.account_ids(None, 1).await;
    let accounts =
        accounts.with_context(|| format!("the table `{}` cannot be read; is this its name, in this region?", bootstrap.table))?;
    if accounts.is_some_and(|page| !page.items.is_empty()) && !bootstrap.again {
        bail!(
            "there are accounts already, nothing was made; with an admin key use `darkroom key create`, without one add `--again`"
        );
    }
    let clock = Clock::system();
    let now = Timestamp::from_millisecond(clock.now().as_millisecond())?;
    let account = AccountId::from_parts(u64::try_from(now.as_millisecond())?, random_bytes());
    let own = Account { name: Some(bootstrap.name.clone()), ..Account::open(account, now) };
    let action = Action::new(account, None, "open_account", &account.to_string(), None, now);
    written(store.open_account(&own, None, &action, None, now).await?)?;
    let terms = KeyTerms { name: Some(bootstrap.name.clone()), ..KeyTerms::plain(vec![Scope::Admin]) };
    let (key, filed) = FiledKey::make(account, terms, now);
    let action = Action::new(account, None, "create_key", &filed.key.id.to_string(), None, now);
    let filed_key = store.add_key(&filed, &action, None, now).await;
    written(filed_key.context("the account is there, its key is not; repeat the command with `--again`")?)?;
    println!("account  {account}");
    println!("id       {}", filed.key.id);
    println!("scopes   admin");
    println!("key      {key}");
    println!(
        "\nKeep the key now: it is shown this once and stored nowhere. `export DARKROOM_API=https://… DARKROOM_API_KEY=…` lets"
    );
    println!("`darkroom account`, `darkroom key` and `darkroom credits` use it.");
    Ok(())
}

fn written(changed: Changed) -> Result<()> {
    match changed {
        Changed::Done(_) => Ok(()),
        Changed::AlreadySo => bail!("it is there already; nothing was changed"),
        Changed::Refused(refusal) => bail!("{refusal}"),
    }
}

/// A client with the region and the credentials of this shell: the environment, or a profile. An instance's metadata are not asked: on a laptop that only
/// takes time.
async fn client(endpoint_url: Option<&str>) -> Result<aws_sdk_dynamodb::Client> {
    let region =
        RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else(ProfileFileRegionProvider::new());
    let Some(region) = region.region().await else {
        bail!("no AWS region is set; set AWS_REGION, or AWS_PROFILE to a profile with one");
    };
    let credentials = CredentialsProviderChain::first_try("environment", EnvironmentVariableCredentialsProvider::new())
        .or_else("profile", ProfileFileCredentialsProvider::builder().build());
    let found = credentials.provide_credentials().await;
    found.context(
        "no AWS credentials are set; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile with them",
    )?;
    let mut loader = aws_config::defaults(aws_config::BehaviorVersion::latest())
        .region(region)
        .credentials_provider(credentials)
        .timeout_config(shared::backend::timeouts());
    if let Some(url) = endpoint_url {
        loader = loader.endpoint_url(url);
    }
    Ok(aws_sdk_dynamodb::Client::new(&loader.load().await))
}
