//! What a DynamoDB call takes: <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html>. A transaction takes
//! what each of its parts does alone.

use std::collections::HashMap;

use aws_sdk_dynamodb::config::interceptors::BeforeSerializationInterceptorContextRef;
use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemInput;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemInput;
use aws_sdk_dynamodb::operation::get_item::GetItemInput;
use aws_sdk_dynamodb::operation::put_item::PutItemInput;
use aws_sdk_dynamodb::operation::query::QueryInput;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsInput;
use aws_sdk_dynamodb::operation::update_item::UpdateItemInput;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};

use super::Use;
use crate::template::{Table, arn};

type Item = HashMap<String, AttributeValue>;

/// None: a call that is not on the list.
pub(super) fn uses(context: &BeforeSerializationInterceptorContextRef<'_>, table: &Table) -> Option<Vec<Use>> {
    let input = context.input();
    let reader = Reader { hash: &table.key.hash, table };
    if let Some(call) = input.downcast_ref::<GetItemInput>() {
        return Some(vec![reader.one("GetItem", call.table_name(), call.key())]);
    }
    if let Some(call) = input.downcast_ref::<PutItemInput>() {
        return Some(vec![reader.one("PutItem", call.table_name(), call.item())]);
    }
    if let Some(call) = input.downcast_ref::<UpdateItemInput>() {
        return Some(vec![reader.one("UpdateItem", call.table_name(), call.key())]);
    }
    if let Some(call) = input.downcast_ref::<DeleteItemInput>() {
        return Some(vec![reader.one("DeleteItem", call.table_name(), call.key())]);
    }
    if let Some(call) = input.downcast_ref::<QueryInput>() {
        return Some(vec![reader.query(call)]);
    }
    if let Some(call) = input.downcast_ref::<BatchGetItemInput>() {
        let tables = call.request_items().into_iter().flatten();
        let keys = tables.flat_map(|(name, wanted)| wanted.keys().iter().map(move |key| (name, key)));
        return Some(keys.map(|(name, key)| reader.one("BatchGetItem", Some(name), Some(key))).collect());
    }
    let call = input.downcast_ref::<TransactWriteItemsInput>()?;
    Some(call.transact_items().iter().flat_map(|item| reader.part(item)).collect())
}

struct Reader<'a> {
    /// The name of the table's partition key.
    hash: &'a str,
    table: &'a Table,
}

impl Reader<'_> {
    fn one(&self, action: &str, table: Option<&str>, item: Option<&Item>) -> Use {
        let key = item.and_then(|item| item.get(self.hash)).and_then(|value| value.as_s().ok());
        Use {
            action: format!("dynamodb:{action}"),
            resource: arn("dynamodb", &format!("table/{}", table.unwrap_or_default())),
            leading_key: key.cloned(),
        }
    }

    fn part(&self, item: &TransactWriteItem) -> Vec<Use> {
        let check = item.condition_check().map(|own| self.one("ConditionCheckItem", Some(own.table_name()), Some(own.key())));
        let put = item.put().map(|own| self.one("PutItem", Some(own.table_name()), Some(own.item())));
        let update = item.update().map(|own| self.one("UpdateItem", Some(own.table_name()), Some(own.key())));
        let delete = item.delete().map(|own| self.one("DeleteItem", Some(own.table_name()), Some(own.key())));
        [check, put, update, delete].into_iter().flatten().collect()
    }

    /// Its key condition begins with `<partition key> = :value`.
    fn query(&self, call: &QueryInput) -> Use {
        let name = call.table_name().unwrap_or_default();
        let index = call.index_name().map(|index| format!("/index/{index}")).unwrap_or_default();
        let of_index = call.index_name().and_then(|name| self.table.indexes.iter().find(|index| index.name == name));
        let hash = of_index.map_or(self.hash, |index| &index.key.hash);
        let condition = call.key_condition_expression().unwrap_or_default();
        let (left, right) = condition.split_once('=').unwrap_or_default();
        let left = left.trim();
        let left = call.expression_attribute_names().and_then(|names| names.get(left)).map_or(left, String::as_str);
        let value = right.split_whitespace().next().unwrap_or_default();
        let value = call.expression_attribute_values().and_then(|values| values.get(value)).and_then(|value| value.as_s().ok());
        Use {
            action: "dynamodb:Query".to_owned(),
            resource: arn("dynamodb", &format!("table/{name}{index}")),
            leading_key: value.filter(|_| left == hash).cloned(),
        }
    }
}
