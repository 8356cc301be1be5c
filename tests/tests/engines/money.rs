//! Transactions as the ledger needs them: all or nothing, the refused item is named, and a token is good once.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};
use futures_util::future::join_all;
use shared::clock::random_bytes;
use tests::{Setting, Wire, World};

type Item = HashMap<String, AttributeValue>;

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

/// A token that nobody has used: an engine remembers them for ten minutes, whatever the table.
fn token() -> String {
    hex::encode(random_bytes::<16>())
}

/// A table of the product and what its transactions are made of.
struct Table {
    _world: World,
    client: Client,
    name: String,
}

impl Table {
    async fn new() -> Self {
        let world = World::with(Setting::idle()).await;
        let client = world.another_client(&Wire::default());
        let name = world.stack.backend.config.table.clone();
        Self { _world: world, client, name }
    }

    /// Written only if nothing is there.
    fn new_item(&self, pk: &str) -> TransactWriteItem {
        let put = Put::builder().table_name(&self.name).item("pk", text(pk)).item("sk", text("x")).item("who", text(pk));
        let put = put.condition_expression("attribute_not_exists(pk)");
        let put = put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        TransactWriteItem::builder().put(put.build().expect("complete")).build()
    }

    /// Adds one to a number.
    fn count(&self, pk: &str) -> TransactWriteItem {
        let update = Update::builder().table_name(&self.name).key("pk", text(pk)).key("sk", text("x"));
        let update = update.update_expression("ADD #n :one").expression_attribute_names("#n", "count");
        let update = update.expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
        TransactWriteItem::builder().update(update.build().expect("complete")).build()
    }

    async fn transact(&self, token: Option<&str>, items: Vec<TransactWriteItem>) -> Result<(), TransactWriteItemsError> {
        let request = self.client.transact_write_items().set_transact_items(Some(items));
        let request = request.set_client_request_token(token.map(str::to_owned));
        request.send().await.map(drop).map_err(|error| error.into_service_error())
    }

    async fn get(&self, pk: &str) -> Option<Item> {
        let get = self.client.get_item().table_name(&self.name).key("pk", text(pk)).key("sk", text("x"));
        get.consistent_read(true).send().await.expect("the table answers").item
    }

    async fn number(&self, pk: &str) -> u64 {
        let item = self.get(pk).await.unwrap_or_default();
        item.get("count").map_or(0, |count| count.as_n().expect("a number").parse().expect("a number"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_transaction_names_the_item_and_writes_nothing() {
    let table = Table::new().await;
    table.transact(None, vec![table.new_item("there")]).await.expect("written");
    let refused = table.transact(None, vec![table.new_item("one"), table.new_item("there"), table.count("two")]).await;
    let Err(TransactWriteItemsError::TransactionCanceledException(canceled)) = refused else { panic!("{refused:?}") };
    let reasons = canceled.cancellation_reasons();
    let codes: Vec<_> = reasons.iter().map(|reason| reason.code().expect("a code")).collect();
    assert_eq!(codes, ["None", "ConditionalCheckFailed", "None"]);
    assert_eq!(reasons[1].item().and_then(|item| item.get("who")), Some(&text("there")), "the item as it is");
    assert_eq!((table.get("one").await, table.get("two").await), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refused_item_is_named() {
    let table = Table::new().await;
    table.transact(None, vec![table.new_item("a"), table.new_item("b")]).await.expect("written");
    let refused = table.transact(None, vec![table.new_item("a"), table.new_item("b"), table.new_item("c")]).await;
    let Err(TransactWriteItemsError::TransactionCanceledException(canceled)) = refused else { panic!("{refused:?}") };
    let codes: Vec<_> = canceled.cancellation_reasons().iter().map(|reason| reason.code().expect("a code")).collect();
    assert_eq!(codes, ["ConditionalCheckFailed", "ConditionalCheckFailed", "None"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_token_twice_is_one_transaction() {
    let table = Table::new().await;
    let (first, second) = (token(), token());
    for _ in 0..2 {
        table.transact(Some(&first), vec![table.count("counter")]).await.expect("written, or written before");
    }
    assert_eq!(table.number("counter").await, 1);
    let other = table.transact(Some(&first), vec![table.count("another")]).await;
    assert!(matches!(other, Err(TransactWriteItemsError::IdempotentParameterMismatchException(_))), "{other:?}");
    table.transact(Some(&second), vec![table.count("counter")]).await.expect("written");
    assert_eq!((table.number("counter").await, table.number("another").await), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_transactions_lose_no_count() {
    let table = Table::new().await;
    let one = async |token: String| loop {
        match table.transact(Some(&token), vec![table.count("left"), table.count("right")]).await {
            Ok(()) => return,
            // What real DynamoDB may say of two at the same moment; the token lets it be sent again.
            Err(TransactWriteItemsError::TransactionCanceledException(_)) => {}
            Err(TransactWriteItemsError::TransactionInProgressException(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    };
    join_all((0..40).map(|_| one(token()))).await;
    assert_eq!((table.number("left").await, table.number("right").await), (40, 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_item_twice_in_a_transaction_is_refused() {
    let table = Table::new().await;
    assert!(table.transact(None, vec![table.count("same"), table.count("same")]).await.is_err());
    assert_eq!(table.number("same").await, 0);
}
