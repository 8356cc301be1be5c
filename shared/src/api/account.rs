//! The balance and its history.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::credits::Credits;
use crate::ids::{AccountId, GenerationId};
use crate::ledger::{Account, Entry, EntryKind, SpendingLimits};

/// `GET /v1/account`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AccountView {
    #[schema(value_type = String)]
    pub id: AccountId,
    pub name: Option<String>,
    /// Nothing new is accepted; what is in progress ends as usual.
    pub suspended: bool,
    /// What can be spent.
    #[schema(value_type = u64)]
    pub available: Credits,
    /// What is set aside for generations that have not ended.
    #[schema(value_type = u64)]
    pub held: Credits,
    /// The part of `available` that ends, soonest first: it is spent in this order.
    pub ending: Vec<EndingView>,
    /// Of all API keys together; what is left out is not limited.
    pub limits: SpendingLimits,
    /// Requests a second; null: the deployment's own limit.
    pub requests_per_second: Option<u32>,
    /// Generations that have not ended.
    pub in_flight: u32,
    /// Credits that were held today (UTC) and not given back.
    #[schema(value_type = u64)]
    pub spent_today: Credits,
    /// Credits that were held in this calendar month (UTC) and not given back.
    #[schema(value_type = u64)]
    pub spent_this_month: Credits,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// Credits that end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EndingView {
    #[schema(value_type = u64)]
    pub credits: Credits,
    /// From this moment on they cannot be spent.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
}

impl AccountView {
    /// An account as it is at `now`.
    pub fn of(account: &Account, now: Timestamp) -> Self {
        let lots = account.lots.iter().filter(|lot| lot.ends_at > now);
        let (spent_today, spent_this_month) = account.usage.spent(now);
        Self {
            id: account.id,
            name: account.name.clone(),
            suspended: account.suspended,
            available: account.spendable(now),
            held: account.held,
            ending: lots.map(|lot| EndingView { credits: lot.left, ends_at: lot.ends_at }).collect(),
            limits: account.limits,
            requests_per_second: account.requests_per_second,
            in_flight: account.usage.in_flight,
            spent_today,
            spent_this_month,
            created_at: account.created_at,
        }
    }
}

/// What `GET …/ledger` may be asked with, for openapi.json; `endpoint::ledger` reads it.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LedgerQuery {
    /// From then on: a time in RFC 3339, or a day, which begins in `time_zone`
    pub since: Option<String>,
    /// Before then: a time or a day, as `since`
    pub until: Option<String>,
    /// Of these kinds, separated by commas: grant, hold, charge, release, adjust, expire
    pub kind: Option<String>,
    /// An IANA time zone, as `Europe/Kyiv`; UTC unless said
    pub time_zone: Option<String>,
    /// `json` or `csv`
    pub format: Option<String>,
    /// At most 100 in JSON (20 unless said), 5000 in CSV
    #[param(minimum = 1, maximum = 5000)]
    pub limit: Option<u32>,
    pub cursor: Option<String>,
}

/// `GET /v1/account/ledger`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LedgerView {
    /// Newest first.
    pub entries: Vec<EntryView>,
    /// Give it as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EntryView {
    pub id: String,
    pub kind: EntryKind,
    /// How many credits; never negative: the kind says where they went.
    #[schema(value_type = u64)]
    pub amount: Credits,
    /// What it did to `available`.
    pub available_change: i64,
    /// What it did to `held`.
    pub held_change: i64,
    #[schema(value_type = Option<String>)]
    pub generation_id: Option<GenerationId>,
    /// Until when a grant can be spent; left out: for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub ends_at: Option<String>,
    /// Why it was done by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `available` after it.
    #[schema(value_type = u64)]
    pub balance_after: Credits,
    /// `held` after it.
    #[schema(value_type = u64)]
    pub held_after: Credits,
    /// In the time zone that was asked for.
    #[schema(format = DateTime)]
    pub created_at: String,
}

impl EntryView {
    /// An entry with its times as they are in `zone`.
    pub fn of(entry: Entry, zone: &TimeZone) -> Self {
        Self {
            id: entry.id,
            kind: entry.kind,
            amount: entry.amount,
            available_change: entry.available_change,
            held_change: entry.held_change,
            generation_id: entry.generation,
            ends_at: entry.ends_at.map(|end| time_in(end, zone)),
            reason: entry.note.map(|note| note.reason),
            balance_after: entry.balance_after,
            held_after: entry.held_after,
            created_at: time_in(entry.created_at, zone),
        }
    }
}

/// RFC 3339 with the offset of the zone; `Z` in UTC.
fn time_in(at: Timestamp, zone: &TimeZone) -> String {
    if *zone == TimeZone::UTC { at.to_string() } else { at.display_with_offset(zone.to_offset(at)).to_string() }
}
