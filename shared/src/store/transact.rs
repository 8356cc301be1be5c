//! One transaction: what it writes, and whose condition refused it.

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};

use super::items::Item;
use super::{Store, StoreError};
use crate::clock::random_bytes;

/// What a written item is for, to tell whose condition failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Account,
    Entry,
    Generation,
    Attempt,
    Asset,
    Idempotency,
    ApiKey,
}

/// One item to be written.
#[derive(Debug, Clone)]
pub(super) struct Write {
    role: Role,
    item: Item,
    condition: Option<(&'static str, Vec<(&'static str, AttributeValue)>)>,
}

impl Write {
    pub(super) fn always(role: Role, item: Item) -> Self {
        Self { role, item, condition: None }
    }

    pub(super) fn new(role: Role, item: Item) -> Self {
        Self { role, item, condition: Some(("attribute_not_exists(pk)", Vec::new())) }
    }

    pub(super) fn new_or_expired(role: Role, item: Item, now_s: AttributeValue) -> Self {
        let condition = ("attribute_not_exists(pk) OR expires_at < :now", vec![(":now", now_s)]);
        Self { role, item, condition: Some(condition) }
    }

    pub(super) fn over_version(role: Role, item: Item, version: AttributeValue) -> Self {
        Self { role, item, condition: Some(("version = :version", vec![(":version", version)])) }
    }

    fn put(&self, table: &str) -> Result<Put, StoreError> {
        let mut put = Put::builder().table_name(table).set_item(Some(self.item.clone()));
        if let Some((expression, values)) = &self.condition {
            put = put
                .condition_expression(*expression)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            for (name, value) in values {
                put = put.expression_attribute_values(*name, value.clone());
            }
        }
        put.build().map_err(|error| StoreError::table("take a write", error))
    }
}

/// A write that was refused by its condition, with the item as it is.
#[derive(Debug)]
pub(super) struct Conflict {
    pub(super) role: Role,
    pub(super) existing: Option<Item>,
}

/// What became of a transaction.
#[derive(Debug)]
pub(super) enum Written {
    Done,
    /// Nothing was written.
    Refused(Vec<Conflict>),
}

/// How often a transaction that collided with another one is sent again.
const MAX_COLLISIONS: u32 = 20;

impl Store {
    /// Writes all or nothing. TransactionConflict means that two transactions touched the same item at the same moment: neither condition
    /// failed, so it is simply sent again. Source: DynamoDB developer guide, "Transaction conflict handling".
    pub(super) async fn transact(&self, writes: &[Write]) -> Result<Written, StoreError> {
        for collision in 0..MAX_COLLISIONS {
            let items = writes
                .iter()
                .map(|write| Ok(TransactWriteItem::builder().put(write.put(&self.table)?).build()))
                .collect::<Result<Vec<_>, StoreError>>()?;
            let error = match self.client.transact_write_items().set_transact_items(Some(items)).send().await {
                Ok(_) => return Ok(Written::Done),
                Err(error) => error,
            };
            let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = error.as_service_error() else {
                return Err(StoreError::table("write a transaction", error));
            };
            let reasons = canceled.cancellation_reasons();
            let refused = conflicts(writes, reasons);
            if !refused.is_empty() {
                return Ok(Written::Refused(refused));
            }
            let collided = reasons.iter().any(|reason| {
                matches!(reason.code(), Some("TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded"))
            });
            if !collided {
                return Err(StoreError::table("write a transaction", error));
            }
            tracing::debug!(collision, "transaction conflict");
            tokio::time::sleep(jitter(collision)).await;
        }
        Err(StoreError::TooBusy { tries: MAX_COLLISIONS })
    }

    /// A single conditional write; `false` when its condition refused it.
    pub(super) async fn put(&self, write: &Write) -> Result<bool, StoreError> {
        let mut request = self.client.put_item().table_name(&self.table).set_item(Some(write.item.clone()));
        if let Some((expression, values)) = &write.condition {
            request = request.condition_expression(*expression);
            for (name, value) in values {
                request = request.expression_attribute_values(*name, value.clone());
            }
        }
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_conditional_check_failed_exception()) => {
                Ok(false)
            }
            Err(error) => Err(StoreError::table("write an item", error)),
        }
    }
}

fn conflicts(writes: &[Write], reasons: &[CancellationReason]) -> Vec<Conflict> {
    let failed = writes.iter().zip(reasons).filter(|(_, reason)| reason.code() == Some("ConditionalCheckFailed"));
    failed.map(|(write, reason)| Conflict { role: write.role, existing: reason.item().cloned() }).collect()
}

/// Full jitter: up to 10 ms at first, doubling to 160 ms.
fn jitter(tries: u32) -> Duration {
    let ceiling_ms = 10_u64 << tries.min(4);
    Duration::from_millis(u64::from_le_bytes(random_bytes::<8>()) % ceiling_ms)
}
