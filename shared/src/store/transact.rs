//! One transaction: what it writes, and whose condition refused it.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ConditionCheck, Delete, Put, ReturnValue, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem, Update,
};

use super::items::{DOC, Item, Key};
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
    Box,
    BoxCount,
    Member,
    Erasure,
    Idempotency,
    ApiKey,
    Opened,
    Action,
    Pool,
    Catalog,
    Bucket,
}

/// Placeholders of an expression.
type Names = HashMap<String, String>;
type Values = HashMap<String, AttributeValue>;

/// One item to be written.
#[derive(Debug, Clone)]
pub(super) struct Write {
    role: Role,
    action: Action,
    condition: Option<String>,
    names: Names,
    values: Values,
}

#[derive(Debug, Clone)]
enum Action {
    Put(Item),
    Update {
        key: Item,
        expression: String,
    },
    Delete {
        key: Item,
    },
    /// Writes nothing: its condition has to hold.
    Check {
        key: Item,
    },
}

impl Write {
    pub(super) fn always(role: Role, item: Item) -> Self {
        Self { role, action: Action::Put(item), condition: None, names: Names::new(), values: Values::new() }
    }

    pub(super) fn new(role: Role, item: Item) -> Self {
        Self::always(role, item).only_if("attribute_not_exists(pk)")
    }

    pub(super) fn new_or_expired(role: Role, item: Item, now_s: AttributeValue) -> Self {
        Self::always(role, item).only_if("attribute_not_exists(pk) OR expires_at < :now").with(":now", now_s)
    }

    pub(super) fn over_version(role: Role, item: Item, version: AttributeValue) -> Self {
        Self::always(role, item).only_if("version = :version").with(":version", version)
    }

    /// Over a record of this version, or one that was written before such records had versions.
    pub(super) fn over_version_or_none(role: Role, item: Item, version: AttributeValue) -> Self {
        let condition = "attribute_exists(pk) AND (attribute_not_exists(version) OR version = :version)";
        Self::always(role, item).only_if(condition).with(":version", version)
    }

    /// Changes single attributes of an item, which is made if it is not there.
    pub(super) fn update(role: Role, key: Key, changes: Changes) -> Self {
        let Changes { set, add, remove, conditions, names, values } = changes;
        let clause = |word: &str, terms: Vec<String>| (!terms.is_empty()).then(|| format!("{word} {}", terms.join(", ")));
        let clauses = [clause("SET", set), clause("ADD", add), clause("REMOVE", remove)];
        let expression = clauses.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let condition = (!conditions.is_empty()).then(|| conditions.join(" AND "));
        Self { role, action: Action::Update { key: key.into_item(), expression }, condition, names, values }
    }

    /// Deletes an item, or finds it gone.
    pub(super) fn delete(role: Role, key: Key) -> Self {
        let action = Action::Delete { key: key.into_item() };
        Self { role, action, condition: None, names: Names::new(), values: Values::new() }
    }

    /// Deletes an item of this version.
    pub(super) fn delete_version(role: Role, key: Key, version: AttributeValue) -> Self {
        Self::delete(role, key).only_if("version = :version").with(":version", version)
    }

    /// Writes nothing, but lets nothing else be written unless this record is there and its `doc` is without this member.
    pub(super) fn check_without(role: Role, key: Key, member: &str) -> Self {
        let action = Action::Check { key: key.into_item() };
        let names = [("#doc", DOC), ("#member", member)].map(|(name, own)| (name.to_owned(), own.to_owned())).into();
        Self { role, action, condition: None, names, values: Values::new() }
            .only_if("attribute_exists(pk) AND attribute_not_exists(#doc.#member)")
    }

    fn only_if(self, condition: &str) -> Self {
        Self { condition: Some(condition.to_owned()), ..self }
    }

    fn with(mut self, name: &str, value: AttributeValue) -> Self {
        self.values.insert(name.to_owned(), value);
        self
    }

    /// DynamoDB takes no empty map of placeholders.
    fn placeholders(&self) -> (Option<Names>, Option<Values>) {
        let names = (!self.names.is_empty()).then(|| self.names.clone());
        let values = (!self.values.is_empty()).then(|| self.values.clone());
        (names, values)
    }

    fn in_transaction(&self, table: &str) -> Result<TransactWriteItem, StoreError> {
        let (names, values) = self.placeholders();
        let refusal = self.condition.as_ref().map(|_| ReturnValuesOnConditionCheckFailure::AllOld);
        let item = TransactWriteItem::builder();
        let item = match &self.action {
            Action::Put(put) => Put::builder()
                .table_name(table)
                .set_item(Some(put.clone()))
                .set_condition_expression(self.condition.clone())
                .set_return_values_on_condition_check_failure(refusal)
                .set_expression_attribute_names(names)
                .set_expression_attribute_values(values)
                .build()
                .map(|put| item.put(put)),
            Action::Update { key, expression } => Update::builder()
                .table_name(table)
                .set_key(Some(key.clone()))
                .update_expression(expression)
                .set_condition_expression(self.condition.clone())
                .set_return_values_on_condition_check_failure(refusal)
                .set_expression_attribute_names(names)
                .set_expression_attribute_values(values)
                .build()
                .map(|update| item.update(update)),
            Action::Delete { key } => Delete::builder()
                .table_name(table)
                .set_key(Some(key.clone()))
                .set_condition_expression(self.condition.clone())
                .set_expression_attribute_names(names)
                .set_expression_attribute_values(values)
                .build()
                .map(|delete| item.delete(delete)),
            Action::Check { key } => ConditionCheck::builder()
                .table_name(table)
                .set_key(Some(key.clone()))
                .condition_expression(self.condition.clone().unwrap_or_default())
                .set_expression_attribute_names(names)
                .set_expression_attribute_values(values)
                .build()
                .map(|check| item.condition_check(check)),
        };
        item.map(|item| item.build()).map_err(|error| StoreError::table("take a write", error))
    }
}

/// What an update sets and removes, and on which conditions, all of which have to hold. Attributes are named by placeholders: their names
/// may contain `#`, or be words that DynamoDB keeps for itself.
#[derive(Debug, Default)]
pub(super) struct Changes {
    set: Vec<String>,
    add: Vec<String>,
    remove: Vec<String>,
    conditions: Vec<String>,
    names: Names,
    values: Values,
}

/// What has to be so of an attribute.
#[derive(Debug)]
pub(super) enum Check {
    Absent,
    Equals(AttributeValue),
    AbsentOrEquals(AttributeValue),
    AbsentOrBelow(AttributeValue),
    AbsentOrOutside(AttributeValue, AttributeValue),
    AtLeast(AttributeValue),
    Between(AttributeValue, AttributeValue),
}

impl Changes {
    pub(super) fn set(mut self, attribute: &str, value: AttributeValue) -> Self {
        let term = format!("{} = {}", self.name(attribute), self.value(value));
        self.set.push(term);
        self
    }

    /// Adds to a number that is there.
    pub(super) fn raise(mut self, attribute: &str, by: AttributeValue) -> Self {
        let name = self.name(attribute);
        let term = format!("{name} = {name} + {}", self.value(by));
        self.set.push(term);
        self
    }

    /// Adds to a number, which is 0 when it is not there.
    pub(super) fn add(mut self, attribute: &str, by: AttributeValue) -> Self {
        let term = format!("{} {}", self.name(attribute), self.value(by));
        self.add.push(term);
        self
    }

    pub(super) fn remove(mut self, attribute: &str) -> Self {
        let term = self.name(attribute);
        self.remove.push(term);
        self
    }

    pub(super) fn only_if(mut self, attribute: &str, check: Check) -> Self {
        let name = self.name(attribute);
        let condition = match check {
            Check::Absent => format!("attribute_not_exists({name})"),
            Check::Equals(value) => format!("{name} = {}", self.value(value)),
            Check::AbsentOrEquals(value) => format!("(attribute_not_exists({name}) OR {name} = {})", self.value(value)),
            Check::AbsentOrBelow(value) => format!("(attribute_not_exists({name}) OR {name} < {})", self.value(value)),
            Check::AbsentOrOutside(low, high) => {
                let (low, high) = (self.value(low), self.value(high));
                format!("(attribute_not_exists({name}) OR NOT {name} BETWEEN {low} AND {high})")
            }
            Check::AtLeast(value) => format!("{name} >= {}", self.value(value)),
            Check::Between(low, high) => format!("{name} BETWEEN {} AND {}", self.value(low), self.value(high)),
        };
        self.conditions.push(condition);
        self
    }

    fn name(&mut self, attribute: &str) -> String {
        if let Some((placeholder, _)) = self.names.iter().find(|(_, known)| *known == attribute) {
            return placeholder.clone();
        }
        let placeholder = format!("#n{}", self.names.len());
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
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

/// How often a write that collided with a transaction is sent again.
const MAX_COLLISIONS: u32 = 20;
/// How often a request waits for its twin to be written.
const MAX_TWINS: u32 = 5;

impl Store {
    /// Writes all or nothing. TransactionConflict means that two transactions touched the same item at the same moment: neither condition
    /// failed, so it is simply sent again. Source: DynamoDB developer guide, "Transaction conflict handling".
    pub(super) async fn transact(&self, writes: &[Write]) -> Result<Written, StoreError> {
        for collision in 0..MAX_COLLISIONS {
            let items = writes.iter().map(|write| write.in_transaction(&self.table)).collect::<Result<Vec<_>, StoreError>>()?;
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
            // A twin with the same idempotency key holds it at this moment: it will have an answer in a moment, for both.
            if collision >= MAX_TWINS && is_held(Role::Idempotency, writes, reasons) {
                return Err(StoreError::InFlight { tries: collision });
            }
            tracing::debug!(collision, "transaction conflict");
            tokio::time::sleep(jitter(collision)).await;
        }
        Err(StoreError::TooBusy { tries: MAX_COLLISIONS })
    }

    /// A single conditional write; `false` when its condition refused it.
    pub(super) async fn put(&self, write: &Write) -> Result<bool, StoreError> {
        self.put_returning(write).await.map(|written| written.is_some())
    }

    /// A single conditional write: the attributes that an update has set, as they are now; none when its condition refused it.
    pub(super) async fn put_returning(&self, write: &Write) -> Result<Option<Item>, StoreError> {
        Ok(self.update(write).await?.ok())
    }

    /// A single conditional write: the attributes that an update has set, as they are now, or the item whose state refused it, if there is one.
    pub(super) async fn update(&self, write: &Write) -> Result<Result<Item, Option<Item>>, StoreError> {
        for collision in 0..MAX_COLLISIONS {
            match self.send(write).await? {
                Sent::Done(attributes) => return Ok(Ok(attributes)),
                Sent::Refused(existing) => return Ok(Err(existing)),
                Sent::Collided => tokio::time::sleep(jitter(collision)).await,
            }
        }
        Err(StoreError::TooBusy { tries: MAX_COLLISIONS })
    }

    async fn send(&self, write: &Write) -> Result<Sent, StoreError> {
        let (names, values) = write.placeholders();
        match &write.action {
            Action::Put(item) => {
                let request = self.client.put_item().table_name(&self.table).set_item(Some(item.clone()));
                let request = request.set_condition_expression(write.condition.clone());
                let request = request.set_expression_attribute_names(names).set_expression_attribute_values(values);
                request.send().await.map_or_else(Sent::judge, |_| Ok(Sent::Done(Item::new())))
            }
            Action::Update { key, expression } => {
                let request = self.client.update_item().table_name(&self.table).set_key(Some(key.clone()));
                let request = request.update_expression(expression).set_condition_expression(write.condition.clone());
                let request = request.set_expression_attribute_names(names).set_expression_attribute_values(values);
                let refusal = write.condition.as_ref().map(|_| ReturnValuesOnConditionCheckFailure::AllOld);
                let request = request.set_return_values_on_condition_check_failure(refusal);
                match request.return_values(ReturnValue::UpdatedNew).send().await {
                    Ok(answer) => Ok(Sent::Done(answer.attributes.unwrap_or_default())),
                    Err(error) => match error.as_service_error() {
                        Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                            Ok(Sent::Refused(refused.item().cloned()))
                        }
                        Some(_) | None => Sent::judge(error),
                    },
                }
            }
            Action::Delete { key } => {
                let request = self.client.delete_item().table_name(&self.table).set_key(Some(key.clone()));
                let request = request.set_condition_expression(write.condition.clone());
                let request = request.set_expression_attribute_names(names).set_expression_attribute_values(values);
                request.send().await.map_or_else(Sent::judge, |_| Ok(Sent::Done(Item::new())))
            }
            // Alone it would guard nothing.
            Action::Check { .. } => Ok(Sent::Done(Item::new())),
        }
    }
}

/// What became of a single write.
#[derive(Debug)]
enum Sent {
    Done(Item),
    /// Its condition did not hold; the item as it is, which an update is told.
    Refused(Option<Item>),
    /// A transaction had the item in hand at that moment.
    Collided,
}

impl Sent {
    fn judge<E>(error: SdkError<E>) -> Result<Self, StoreError>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        match error.code() {
            Some("ConditionalCheckFailedException") => Ok(Self::Refused(None)),
            Some("TransactionConflictException") => Ok(Self::Collided),
            Some(_) | None => Err(StoreError::table("write an item", error)),
        }
    }
}

fn is_held(role: Role, writes: &[Write], reasons: &[CancellationReason]) -> bool {
    writes.iter().zip(reasons).any(|(write, reason)| write.role == role && reason.code() == Some("TransactionConflict"))
}

fn conflicts(writes: &[Write], reasons: &[CancellationReason]) -> Vec<Conflict> {
    let failed = writes.iter().zip(reasons).filter(|(_, reason)| reason.code() == Some("ConditionalCheckFailed"));
    failed.map(|(write, reason)| Conflict { role: write.role, existing: reason.item().cloned() }).collect()
}

/// Full jitter: up to 10 ms at first, doubling to 160 ms.
pub(super) fn jitter(tries: u32) -> Duration {
    let ceiling_ms = 10_u64 << tries.min(4);
    Duration::from_millis(u64::from_le_bytes(random_bytes::<8>()) % ceiling_ms)
}
