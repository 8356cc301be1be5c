//! `darkroom account`: accounts of a running darkroom.

use std::str::FromStr;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::Value;
use shared::api::{AccountList, AccountView, ActionList, ActionView, ChangeAccount, ChangeLimits, CreateAccount, EndingView};
use shared::credits::Credits;
use shared::ledger::SpendingLimits;

use super::answer::{Asked, Paging, or_dash, path};
use super::models::print_table;

/// Commands of `darkroom account`.
#[derive(Subcommand)]
pub(super) enum Account {
    /// Open an account.
    #[command(after_help = "Example: darkroom account create --name Acme --credits 500 --in-flight 10 --spend-per-day 200")]
    Create(Create),
    /// List the accounts, newest first.
    #[command(after_help = "Example: darkroom account list --limit 100")]
    List(List),
    /// Show one account.
    #[command(after_help = "Example: darkroom account show acct_…")]
    Show(One),
    /// Change its name and its limits; what is not given stays.
    #[command(after_help = "Example: darkroom account set acct_… --name Acme --in-flight 5 --spend-per-day none")]
    Set(Set),
    /// Accept nothing new from it; what is in progress ends as usual.
    #[command(after_help = "Example: darkroom account suspend acct_… --reason \"unpaid since June\"")]
    Suspend(Suspension),
    /// Accept new orders from it again.
    #[command(after_help = "Example: darkroom account resume acct_… --reason \"paid\"")]
    Resume(Suspension),
    /// What was done to it by hand, newest first.
    #[command(after_help = "Example: darkroom account actions acct_…")]
    Actions(Actions),
}

#[derive(Args)]
pub(super) struct Create {
    /// Your own name for it.
    #[arg(long)]
    name: Option<String>,
    /// The opening grant; the deployment's STARTING_CREDITS unless given.
    #[arg(long, value_parser = credits)]
    credits: Option<Credits>,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    asked: Asked,
}

/// What an account or a key may do; what is not given is not limited.
#[derive(Args, Clone, Copy)]
pub(super) struct Limits {
    /// Generations in progress at once.
    #[arg(long, value_name = "COUNT")]
    in_flight: Option<u32>,
    /// Credits in a day (UTC).
    #[arg(long, value_name = "CREDITS", value_parser = credits)]
    spend_per_day: Option<Credits>,
    /// Credits in a calendar month (UTC).
    #[arg(long, value_name = "CREDITS", value_parser = credits)]
    spend_per_month: Option<Credits>,
    /// Requests a second.
    #[arg(long, value_name = "COUNT")]
    pub(super) requests_per_second: Option<u32>,
}

impl Limits {
    pub(super) fn spending(self) -> SpendingLimits {
        let Self { in_flight, spend_per_day, spend_per_month, .. } = self;
        SpendingLimits { in_flight, spend_per_day, spend_per_month }
    }
}

#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Args)]
pub(super) struct One {
    /// Its id.
    account: String,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Args)]
pub(super) struct Set {
    /// Its id.
    account: String,
    /// Your own name for it, or `none`.
    #[arg(long)]
    name: Option<OrNone<String>>,
    /// Generations in progress at once, or `none`.
    #[arg(long, value_name = "COUNT")]
    in_flight: Option<OrNone<u32>>,
    /// Credits in a day (UTC), or `none`.
    #[arg(long, value_name = "CREDITS")]
    spend_per_day: Option<OrNone<u64>>,
    /// Credits in a calendar month (UTC), or `none`.
    #[arg(long, value_name = "CREDITS")]
    spend_per_month: Option<OrNone<u64>>,
    /// Requests a second, or `none` for the deployment's own limit.
    #[arg(long, value_name = "COUNT")]
    requests_per_second: Option<OrNone<u32>>,
    /// Why, for the list of actions.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Args)]
pub(super) struct Suspension {
    /// Its id.
    account: String,
    /// Why, for the list of actions.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Args)]
pub(super) struct Actions {
    /// Its id.
    account: String,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    asked: Asked,
}

/// A value, or the word `none`.
#[derive(Clone)]
struct OrNone<T>(Option<T>);

impl<T: FromStr> FromStr for OrNone<T> {
    type Err = T::Err;
    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text == "none" { Ok(Self(None)) } else { text.parse().map(|value| Self(Some(value))) }
    }
}

/// An amount, as an argument.
fn credits(text: &str) -> Result<Credits, String> {
    let amount = text.parse().map_err(|_| "credits are a whole number".to_owned())?;
    Credits::new(amount).map_err(|error| error.to_string())
}

pub(super) async fn run(command: Account) -> Result<()> {
    match command {
        Account::Create(create) => self::create(create).await,
        Account::List(list) => self::list(list).await,
        Account::Show(One { account, asked }) => {
            let path = path(&[&account])?;
            let answer: Value = asked.running.call(async |client| client.get(&path).await).await?;
            asked.show(answer, |account: AccountView| describe(&account))
        }
        Account::Set(set) => self::set(set).await,
        Account::Suspend(suspension) => suspend(suspension, true).await,
        Account::Resume(suspension) => suspend(suspension, false).await,
        Account::Actions(actions) => self::actions(actions).await,
    }
}

async fn create(create: Create) -> Result<()> {
    let Create { name, credits, limits, asked } = create;
    let requests_per_second = limits.requests_per_second;
    let body = CreateAccount { name, limits: limits.spending(), requests_per_second, credits };
    let answer: Value = asked.running.call(async |client| client.post("/v1/admin/accounts", &body, &[]).await).await?;
    asked.show(answer, |account: AccountView| {
        describe(&account);
        println!("\nIt has no API key yet: `darkroom key create {}` makes one.", account.id);
    })
}

async fn list(list: List) -> Result<()> {
    let path = list.paging.of("/v1/admin/accounts");
    let answer: Value = list.asked.running.call(async |client| client.get(&path).await).await?;
    list.asked.show(answer, |AccountList { accounts, next_cursor }| {
        let titles = ["ACCOUNT", "NAME", "STATE", "AVAILABLE", "HELD", "IN PROGRESS", "OPENED"].map(str::to_owned);
        let rows = accounts.iter().map(|account| {
            let state = if account.suspended { "suspended" } else { "open" };
            [
                account.id.to_string(),
                or_dash(account.name.as_ref()),
                state.to_owned(),
                account.available.to_string(),
                account.held.to_string(),
                account.in_flight.to_string(),
                account.created_at.to_string(),
            ]
        });
        print_table(&std::iter::once(titles).chain(rows).collect::<Vec<_>>());
        Paging::more(next_cursor.as_deref());
    })
}

async fn set(set: Set) -> Result<()> {
    let amount = |given: Option<OrNone<u64>>| given.map(|OrNone(amount)| amount.map(Credits::new).transpose()).transpose();
    let limits = ChangeLimits {
        in_flight: set.in_flight.map(|OrNone(count)| count),
        spend_per_day: amount(set.spend_per_day)?,
        spend_per_month: amount(set.spend_per_month)?,
    };
    let change = ChangeAccount {
        name: set.name.map(|OrNone(name)| name),
        suspended: None,
        limits: Some(Some(limits)),
        requests_per_second: set.requests_per_second.map(|OrNone(count)| count),
        reason: set.reason,
    };
    send_change(&set.account, &change, &set.asked).await
}

async fn suspend(Suspension { account, reason, asked }: Suspension, suspended: bool) -> Result<()> {
    let change = ChangeAccount { suspended: Some(suspended), reason, ..ChangeAccount::default() };
    send_change(&account, &change, &asked).await
}

async fn send_change(account: &str, change: &ChangeAccount, asked: &Asked) -> Result<()> {
    let path = path(&[account])?;
    let answer: Value = asked.running.call(async |client| client.patch(&path, change).await).await?;
    asked.show(answer, |account: AccountView| describe(&account))
}

async fn actions(actions: Actions) -> Result<()> {
    let path = actions.paging.of(&path(&[&actions.account, "actions"])?);
    let answer: Value = actions.asked.running.call(async |client| client.get(&path).await).await?;
    actions.asked.show(answer, |ActionList { actions, next_cursor }| {
        let titles = ["AT", "WHAT", "ABOUT", "BY", "REASON"].map(str::to_owned);
        let rows = actions
            .into_iter()
            .map(|ActionView { at, what, about, by, reason, .. }| [at.to_string(), what, about, or_dash(by), or_dash(reason)]);
        print_table(&std::iter::once(titles).chain(rows).collect::<Vec<_>>());
        Paging::more(next_cursor.as_deref());
    })
}

fn describe(account: &AccountView) {
    let state = if account.suspended { "suspended: nothing new is accepted" } else { "open" };
    println!("account      {}", account.id);
    println!("name         {}", or_dash(account.name.as_ref()));
    println!("state        {state}");
    println!("credits      {} available, {} held", account.available, account.held);
    for EndingView { credits, ends_at } in &account.ending {
        println!("             {credits} of them end at {ends_at}");
    }
    let SpendingLimits { in_flight, spend_per_day, spend_per_month } = account.limits;
    println!("in progress  {} of at most {}", account.in_flight, or_dash(in_flight));
    println!("spent today  {} of at most {}", account.spent_today, or_dash(spend_per_day));
    println!("this month   {} of at most {}", account.spent_this_month, or_dash(spend_per_month));
    println!("requests/s   {}", or_dash(account.requests_per_second));
    println!("opened       {}", account.created_at);
}
