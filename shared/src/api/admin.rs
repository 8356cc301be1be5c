//! The catalog as administrators change it, and how providers stand.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::entry::{CatalogEntry, CatalogKind};
use crate::catalog::manifest::Billing;
use crate::failure::{Charge, FailureClass, Policies};
use crate::ids::AccountId;
use crate::pool::KeyLimits;
use crate::reconcile::Reconciliation;

/// A provider, model or chain was put or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CatalogChange {
    pub kind: CatalogKind,
    pub name: String,
    /// The version that holds from now on. Generations that were accepted before keep theirs.
    pub version: u32,
    /// Until then other processes may still offer what was before.
    pub live_within_seconds: u32,
}

/// `GET /v1/admin/catalog`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CatalogEntryList {
    /// What was put at run time; what comes with the product is not here.
    pub entries: Vec<CatalogEntryView>,
}

/// A provider, model or chain that was put at run time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CatalogEntryView {
    pub kind: CatalogKind,
    pub name: String,
    pub version: u32,
    #[schema(value_type = String, format = DateTime)]
    pub put_at: Timestamp,
    /// It is gone; what comes with the product holds again.
    pub removed: bool,
    /// The manifest, model or chain; only where one entry is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub body: Option<Value>,
}

impl CatalogEntryView {
    /// An entry as one line of a list.
    pub fn line(entry: CatalogEntry) -> Self {
        let CatalogEntry { kind, name, version, put_at, removed, body: _ } = entry;
        Self { kind, name, version, put_at, removed, body: None }
    }

    /// An entry with its body.
    pub fn whole(entry: CatalogEntry) -> Self {
        let body = serde_json::from_str(&entry.body).ok().filter(|body: &Value| !body.is_null());
        Self { body, ..Self::line(entry) }
    }
}

/// `GET /v1/admin/providers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProviderList {
    pub providers: Vec<ProviderView>,
}

/// A provider, and how it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProviderView {
    pub name: String,
    pub version: u32,
    pub source: ProviderSource,
    /// It has a key, or needs none.
    pub configured: bool,
    /// The secret that holds its keys; null when it needs none.
    pub key_env: Option<String>,
    /// How many keys it has.
    pub keys: u32,
    /// Why its keys cannot be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_problem: Option<String>,
    /// Its own address; null when it is not reached over HTTP.
    pub base_url: Option<String>,
    /// Where it is asked instead, in place of all its hosts: a simulator, as a rule.
    pub base_url_override: Option<String>,
    /// What each of its keys may do; what is left out is not limited.
    pub limits: KeyLimits,
    /// Jobs in progress; null when nobody counts them, since its keys have no limit of jobs at once.
    pub in_flight: Option<u32>,
    /// Jobs that stand in its line, counted up to 1000.
    pub waiting: u32,
    /// One for each key.
    pub health: Vec<KeyHealthView>,
    pub billing: Billing,
    /// What each class of failure costs the customer.
    pub refund_policy: Vec<FailurePolicyView>,
    /// How long finished results can be fetched from it, in seconds.
    pub result_lifetime_s: u32,
    /// Submitting twice costs nothing.
    pub submit_repeat_safe: bool,
    /// The catalog names of its models.
    pub models: Vec<String>,
}

/// What one class of failure costs the customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FailurePolicyView {
    pub class: FailureClass,
    /// None of the hold, or the full price. What ends while it is queued costs nothing in any case.
    pub charge: Charge,
    /// The provider's manifest says so; else it is the default.
    pub is_own: bool,
}

impl FailurePolicyView {
    /// What a provider's failures cost, by class.
    pub fn all(policies: &Policies) -> Vec<Self> {
        let by_policy = FailureClass::ALL.into_iter().filter(|class| *class != FailureClass::Resolved);
        by_policy.map(|class| Self { class, charge: policies.of(class).charge, is_own: policies.is_own(class) }).collect()
    }
}

/// Where a provider's manifest comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderSource {
    /// It comes with the product.
    BuiltIn,
    /// It was put at run time.
    RunTime,
}

/// How one key of a provider stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct KeyHealthView {
    /// Names the key without telling it: the beginning of its SHA-256.
    pub key: String,
    pub health: KeyHealth,
    /// Until when it is left alone; null when it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// Whether a key is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyHealth {
    Ok,
    /// It was throttled or refused.
    Paused,
    /// The provider does not answer.
    OutOfOrder,
}

/// `GET /v1/admin/reconciliations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReconciliationList {
    /// The newest account first; fewer than asked for when they take long.
    pub reconciliations: Vec<Reconciliation>,
    /// Accounts that are too large to be looked at within a request; the daily look has more time.
    #[schema(value_type = Vec<String>)]
    pub unchecked: Vec<AccountId>,
    /// Give it as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}
