//! Accounts as operators open and change them.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::{AccountView, compiled_value};
use crate::catalog::Params;
use crate::credits::Credits;
use crate::ids::{AccountId, ActionId, ApiKeyId};
use crate::ledger::{AccountChange, LimitsChange, Note, SpendingLimits};
use crate::rate_limit::Rate;

/// The longest name of an account or a key, in characters.
const NAME_CHARS: u32 = 200;
/// The most generations at once that can be asked for.
const MAX_IN_FLIGHT: u32 = 1_000_000;

/// `POST /v1/admin/accounts`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateAccount {
    /// The operator's own name for it; 1 to 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of all its keys together; what is left out is not limited.
    #[serde(default)]
    pub limits: SpendingLimits,
    /// Of all its keys together, up to 1000000; 0: no limit; left out: the deployment's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
    /// The opening grant; left out: the deployment's `STARTING_CREDITS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub credits: Option<Credits>,
}

impl CreateAccount {
    /// What it looks like, for checking it with a reason for each mistake.
    pub fn shape() -> &'static Params {
        static SHAPE: LazyLock<Params> = LazyLock::new(|| {
            compiled_value(&json!({
                "type": "object", "additionalProperties": false,
                "properties": {
                    "name": name_schema(&["string"]),
                    "limits": limits_schema(&["object"], &["integer"]),
                    "requests_per_second": rate_schema(&["integer"]),
                    "credits": {"type": "integer", "minimum": 0, "maximum": Credits::MAX.get()},
                }
            }))
        });
        &SHAPE
    }
}

/// `PATCH /v1/admin/accounts/{account}`: what is left out stays, null takes away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeAccount {
    /// 1 to 200 characters.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub name: Option<Option<String>>,
    /// Nothing new is accepted; what is in progress ends as usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<bool>,
    /// Each by itself; null for all of them takes all away.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ChangeLimits>)]
    pub limits: Option<Option<ChangeLimits>>,
    /// Up to 1000000; 0: no limit; null: the deployment's own limit.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub requests_per_second: Option<Option<u32>>,
    /// Why, for the list of actions; 1 to 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Limits to be changed: what is left out stays, null takes away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeLimits {
    /// Generations that have not ended; 1 to 1000000.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub in_flight: Option<Option<u32>>,
    /// Credits in one day (UTC).
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub spend_per_day: Option<Option<Credits>>,
    /// Credits in one calendar month (UTC).
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub spend_per_month: Option<Option<Credits>>,
}

impl ChangeAccount {
    /// What it looks like, for checking it with a reason for each mistake.
    pub fn shape() -> &'static Params {
        static SHAPE: LazyLock<Params> = LazyLock::new(|| {
            compiled_value(&json!({
                "type": "object", "additionalProperties": false,
                "properties": {
                    "name": name_schema(&["string", "null"]),
                    "suspended": {"type": "boolean"},
                    "limits": limits_schema(&["object", "null"], &["integer", "null"]),
                    "requests_per_second": rate_schema(&["integer", "null"]),
                    "reason": reason_schema(),
                }
            }))
        });
        &SHAPE
    }

    /// What is to be other than it was.
    pub fn change(&self) -> AccountChange {
        let limits = match &self.limits {
            None => LimitsChange::default(),
            Some(None) => LimitsChange::NONE,
            Some(Some(ChangeLimits { in_flight, spend_per_day, spend_per_month })) => {
                LimitsChange { in_flight: *in_flight, spend_per_day: *spend_per_day, spend_per_month: *spend_per_month }
            }
        };
        let Self { name, suspended, requests_per_second, .. } = self.clone();
        AccountChange { name, suspended, limits, requests_per_second }
    }
}

/// Tells null from what is left out.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

pub(super) fn name_schema(types: &[&str]) -> Value {
    json!({"type": types, "minLength": 1, "maxLength": NAME_CHARS})
}

pub(super) fn reason_schema() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": Note::REASON_CHARS})
}

pub(super) fn rate_schema(types: &[&str]) -> Value {
    json!({"type": types, "minimum": 0, "maximum": Rate::MOST})
}

pub(super) fn limits_schema(types: &[&str], each: &[&str]) -> Value {
    let credits = json!({"type": each, "minimum": 0, "maximum": Credits::MAX.get()});
    json!({
        "type": types, "additionalProperties": false,
        "properties": {
            "in_flight": {"type": each, "minimum": 1, "maximum": MAX_IN_FLIGHT},
            "spend_per_day": credits,
            "spend_per_month": credits,
        }
    })
}

/// `GET /v1/admin/accounts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AccountList {
    /// Newest first.
    pub accounts: Vec<AccountView>,
    /// Give it as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// `GET /v1/admin/accounts/{account}/actions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ActionList {
    /// Newest first.
    pub actions: Vec<ActionView>,
    /// Give it as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// Something that was done to an account by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ActionView {
    #[schema(value_type = String)]
    pub id: ActionId,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The id of the API key that was used; null: from the command line on the table itself.
    #[schema(value_type = Option<String>)]
    pub by: Option<ApiKeyId>,
    /// `open_account`, `change_account`, `create_key`, `revoke_key`, `rotate_key`, `grant`, `adjust`, …
    pub what: String,
    /// The id of what it was done to.
    pub about: String,
    pub reason: Option<String>,
    #[schema(value_type = String)]
    pub account_id: AccountId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_takes_away_and_what_is_left_out_stays() {
        let change = |body: Value| {
            let body = ChangeAccount::shape().check("", body.as_object().expect("an object")).expect("it fits");
            serde_json::from_value::<ChangeAccount>(Value::Object(body)).expect("it is read").change()
        };
        assert_eq!(change(json!({})), AccountChange::default());
        let limits = LimitsChange { in_flight: Some(Some(3)), spend_per_day: Some(None), spend_per_month: None };
        let expected = AccountChange { name: Some(None), limits, ..AccountChange::default() };
        assert_eq!(change(json!({"name": null, "limits": {"in_flight": 3, "spend_per_day": null}})), expected);
        let expected = AccountChange { limits: LimitsChange::NONE, suspended: Some(false), ..AccountChange::default() };
        assert_eq!(change(json!({"limits": null, "suspended": false})), expected);
    }

    #[test]
    fn a_change_is_sent_as_it_is_read() {
        let limits = ChangeLimits { in_flight: Some(None), ..ChangeLimits::default() };
        let change = ChangeAccount { name: Some(None), limits: Some(Some(limits)), ..ChangeAccount::default() };
        let sent = serde_json::to_value(&change).expect("JSON");
        assert_eq!(sent, json!({"name": null, "limits": {"in_flight": null}}));
        assert_eq!(serde_json::from_value::<ChangeAccount>(sent).expect("it is read"), change);
    }
}
