//! API keys as operators make and end them.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::accounts::{limits_schema, name_schema, rate_schema};
use super::compiled_value;
use crate::catalog::Params;
use crate::credits::Credits;
use crate::ids::ApiKeyId;
use crate::keys::{ApiKey, Scope};
use crate::ledger::{KeyUse, SpendingLimits};

/// The longest life that can be asked for in seconds: ten years.
const MAX_EXPIRES_IN_SECONDS: i64 = 315_360_000;
/// The longest grace of a key that is replaced: 30 days.
const MAX_GRACE_SECONDS: i64 = 2_592_000;
/// A day.
const GRACE_SECONDS: i64 = 86_400;

/// `POST /v1/admin/accounts/{account}/keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// The operator's own name for it; 1 to 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it may do; `["user"]` unless said.
    #[serde(default = "user_alone")]
    pub scopes: Vec<Scope>,
    /// Of this key alone; what is left out is limited by the account's own limits only.
    #[serde(default)]
    pub limits: SpendingLimits,
    /// Of this key alone, up to 1000000; 0 or left out: only the account's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
    /// From this moment on it opens nothing; left out: until it is revoked. Not together with `expires_in_seconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<String>,
    /// The same, counted from now; at most ten years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 315_360_000)]
    pub expires_in_seconds: Option<i64>,
}

fn user_alone() -> Vec<Scope> {
    vec![Scope::User]
}

impl CreateKey {
    /// What it looks like, for checking it with a reason for each mistake.
    pub fn shape() -> &'static Params {
        static SHAPE: LazyLock<Params> = LazyLock::new(|| {
            let scopes = [Scope::User, Scope::Read, Scope::Admin].map(Scope::word);
            compiled_value(&json!({
                "type": "object", "additionalProperties": false,
                "properties": {
                    "name": name_schema(&["string"]),
                    "scopes": {"type": "array", "minItems": 1, "maxItems": scopes.len(), "uniqueItems": true, "items": {"enum": scopes}},
                    "limits": limits_schema(&["object"], &["integer"]),
                    "requests_per_second": rate_schema(&["integer"]),
                    "expires_at": time_schema(),
                    "expires_in_seconds": {"type": "integer", "minimum": 1, "maximum": MAX_EXPIRES_IN_SECONDS},
                }
            }))
        });
        &SHAPE
    }
}

/// `POST /v1/admin/accounts/{account}/keys/{key}/rotate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// How long the old key works beside the new one: a day unless said, at most 30 days; 0 ends it at once.
    #[serde(default = "a_day")]
    #[schema(minimum = 0, maximum = 2_592_000)]
    pub grace_seconds: i64,
}

impl Default for RotateKey {
    fn default() -> Self {
        Self { grace_seconds: a_day() }
    }
}

fn a_day() -> i64 {
    GRACE_SECONDS
}

impl RotateKey {
    /// What it looks like, for checking it with a reason for each mistake.
    pub fn shape() -> &'static Params {
        static SHAPE: LazyLock<Params> = LazyLock::new(|| {
            compiled_value(&json!({
                "type": "object", "additionalProperties": false,
                "properties": {"grace_seconds": {"type": "integer", "minimum": 0, "maximum": MAX_GRACE_SECONDS}}
            }))
        });
        &SHAPE
    }
}

/// A text that may be a time in RFC 3339.
pub(super) fn time_schema() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 64})
}

/// An API key, without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct KeyView {
    #[schema(value_type = String)]
    pub id: ApiKeyId,
    /// Its first characters.
    pub prefix: String,
    pub name: Option<String>,
    pub scopes: Vec<Scope>,
    pub limits: SpendingLimits,
    pub requests_per_second: Option<u32>,
    /// Generations that it asked for and that have not ended.
    pub in_flight: u32,
    /// Credits that it spent today (UTC).
    #[schema(value_type = u64)]
    pub spent_today: Credits,
    /// Credits that it spent in this calendar month (UTC).
    #[schema(value_type = u64)]
    pub spent_this_month: Credits,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// From this moment on it opens nothing.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
    /// Noted at most once an hour.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// The key in whose place it was made.
    #[schema(value_type = Option<String>)]
    pub replaces: Option<ApiKeyId>,
}

impl KeyView {
    /// A key with what counts for it at `now`; a key that has ended is not counted any more after a while.
    pub fn of(key: &ApiKey, own: Option<&KeyUse>, last_used_at: Option<Timestamp>, now: Timestamp) -> Self {
        let usage = own.map(|own| own.usage).unwrap_or_default();
        let (spent_today, spent_this_month) = usage.spent(now);
        Self {
            id: key.id,
            prefix: key.prefix.clone(),
            name: key.name.clone(),
            scopes: key.scopes.clone(),
            limits: key.limits,
            requests_per_second: key.requests_per_second,
            in_flight: usage.in_flight,
            spent_today,
            spent_this_month,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            last_used_at,
            replaces: key.replaces,
        }
    }
}

/// `GET /v1/admin/accounts/{account}/keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct KeyList {
    /// Every key that ever was, oldest first.
    pub keys: Vec<KeyView>,
}

/// A new key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CreatedKey {
    /// The key itself, told this once: it is kept nowhere. Null where an earlier answer is given again.
    pub key: Option<String>,
    pub api_key: KeyView,
}
