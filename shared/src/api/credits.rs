//! Credits as operators give and take them.

use std::sync::LazyLock;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::accounts::reason_schema;
use super::keys::time_schema;
use super::{EntryView, compiled_value};
use crate::catalog::Params;
use crate::credits::Credits;
use crate::ids::AccountId;
use crate::ledger::Entry;

/// `POST /v1/admin/accounts/{account}/credits`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddCredits {
    /// Above zero: a grant. Below zero: a correction down, at most by what is available.
    #[schema(minimum = -1_000_000_000_000_i64, maximum = 1_000_000_000_000_i64)]
    pub amount: i64,
    /// Why; 1 to 500 characters. The customer sees it in the ledger.
    pub reason: String,
    /// From this moment on what is left of the grant cannot be spent; left out: it does not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<String>,
}

impl AddCredits {
    /// What it looks like, for checking it with a reason for each mistake.
    pub fn shape() -> &'static Params {
        static SHAPE: LazyLock<Params> = LazyLock::new(|| {
            let most = Credits::MAX.signed();
            compiled_value(&json!({
                "type": "object", "additionalProperties": false, "required": ["amount", "reason"],
                "properties": {
                    "amount": {"type": "integer", "minimum": -most, "maximum": most},
                    "reason": reason_schema(),
                    "ends_at": time_schema(),
                }
            }))
        });
        &SHAPE
    }
}

/// What a top-up or a correction did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AddedCredits {
    #[schema(value_type = String)]
    pub account_id: AccountId,
    pub entry: EntryView,
    /// What could be spent after it.
    #[schema(value_type = u64)]
    pub available: Credits,
    /// What was held after it.
    #[schema(value_type = u64)]
    pub held: Credits,
}

impl From<Entry> for AddedCredits {
    fn from(entry: Entry) -> Self {
        let (available, held) = (entry.balance_after, entry.held_after);
        Self { account_id: entry.account, available, held, entry: EntryView::of(entry, &TimeZone::UTC) }
    }
}
