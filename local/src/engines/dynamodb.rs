//! DynamoDB: dynoxide on SQLite, or another engine at an endpoint.

use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, TableDescription, TimeToLiveSpecification, TimeToLiveStatus,
};
use dynoxide::{Database, server};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{error, warn};

use super::{EngineError, listen};
use crate::template::{Key, Table};

/// How often expired items are deleted (DynamoDB itself: "within a few days").
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Where the items are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Gone with the process.
    Memory,
    /// A SQLite file, made with its directory if it is not there. Every acknowledged write is on disk.
    File(PathBuf),
}

/// A running DynamoDB. Dropping it stops it without waiting for the requests that run; [`DynamoDb::shut_down`] waits.
pub struct DynamoDb {
    /// `http://127.0.0.1:{port}`
    pub endpoint_url: String,
    embedded: Option<Embedded>,
}

/// What runs in this process.
struct Embedded {
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    sweeper: Sweeper,
}

impl DynamoDb {
    pub async fn start(storage: Storage) -> Result<Self, EngineError> {
        let database = open(storage)?;
        let (listener, endpoint_url) = listen().await?;
        let (stop, stopped) = oneshot::channel::<()>();
        let server = server::serve_with_shutdown(listener, database.clone(), async { drop(stopped.await) });
        let server = tokio::spawn(async move {
            if let Err(problem) = server.await {
                error!(error = problem, "the DynamoDB engine ended");
            }
        });
        let embedded = Embedded { stop, server, sweeper: Sweeper(tokio::spawn(sweep(database))) };
        Ok(Self { endpoint_url, embedded: Some(embedded) })
    }

    /// One that somebody else runs.
    pub fn elsewhere(endpoint_url: String) -> Self {
        Self { endpoint_url, embedded: None }
    }

    /// Stops taking connections and waits for what runs; one that runs elsewhere runs on.
    pub async fn shut_down(self) {
        let Some(Embedded { stop, server, sweeper }) = self.embedded else { return };
        drop(sweeper);
        drop(stop);
        if let Err(problem) = server.await {
            error!(error = %problem, "the DynamoDB engine did not end in order");
        }
    }
}

struct Sweeper(JoinHandle<()>);

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn open(storage: Storage) -> Result<Database, EngineError> {
    let refused = |location: &str, error: dynoxide::DynoxideError| EngineError::Database {
        location: location.to_owned(),
        reason: error.to_string(),
    };
    match storage {
        Storage::Memory => Database::memory().map_err(|error| refused("memory", error)),
        Storage::File(path) => {
            if let Some(directory) = path.parent() {
                let problem = |source| EngineError::Directory { path: directory.to_owned(), source };
                std::fs::create_dir_all(directory).map_err(problem)?;
            }
            let text = path.to_string_lossy();
            Database::new(&text).map_err(|error| refused(&text, error))
        }
    }
}

/// The engine hides expired items from nobody and deletes them only when told to.
async fn sweep(database: Database) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    loop {
        ticks.tick().await;
        let database = database.clone();
        match tokio::task::spawn_blocking(move || database.sweep_ttl()).await {
            Ok(Ok(_)) => {}
            Ok(Err(problem)) => warn!(error = %problem, "expired items were not deleted"),
            Err(problem) => warn!(error = %problem, "the sweep of expired items ended early"),
        }
    }
}

/// Makes the template's table, or checks that the one there has the same keys and indexes.
pub async fn create_table(client: &Client, table: &Table) -> Result<(), EngineError> {
    let refused = |source: aws_sdk_dynamodb::Error| EngineError::Table { table: table.name.clone(), source: Box::new(source) };
    let built = |error: BuildError| refused(error.into());
    let attributes = table.attributes.iter().map(|(name, kind)| {
        let kind = ScalarAttributeType::from(kind.as_str());
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()
    });
    let indexes = table.indexes.iter().map(|index| {
        GlobalSecondaryIndex::builder()
            .index_name(&index.name)
            .set_key_schema(Some(key_schema(&index.key)?))
            .projection(Projection::builder().projection_type(ProjectionType::All).build())
            .build()
    });
    let indexes: Vec<_> = indexes.collect::<Result<_, _>>().map_err(built)?;
    let created = client
        .create_table()
        .table_name(&table.name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(attributes.collect::<Result<_, _>>().map_err(built)?))
        .set_key_schema(Some(key_schema(&table.key).map_err(built)?))
        .set_global_secondary_indexes((!indexes.is_empty()).then_some(indexes))
        .send()
        .await;
    match created {
        Ok(_) => {}
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => {
            let there = client.describe_table().table_name(&table.name).send().await.map_err(|error| refused(error.into()))?;
            if !there.table.is_some_and(|there| is_same(&there, table)) {
                return Err(EngineError::TableDiffers { table: table.name.clone() });
            }
        }
        Err(error) => return Err(refused(error.into())),
    }
    enable_time_to_live(client, table).await.map_err(refused)
}

/// Enabling it a second time would be an error.
async fn enable_time_to_live(client: &Client, table: &Table) -> Result<(), aws_sdk_dynamodb::Error> {
    let Some(attribute) = &table.ttl_attribute else {
        return Ok(());
    };
    let there = client.describe_time_to_live().table_name(&table.name).send().await?;
    let status = there.time_to_live_description.and_then(|description| description.time_to_live_status);
    if status == Some(TimeToLiveStatus::Enabled) {
        return Ok(());
    }
    let specification = TimeToLiveSpecification::builder().attribute_name(attribute).enabled(true).build()?;
    client.update_time_to_live().table_name(&table.name).time_to_live_specification(specification).send().await?;
    Ok(())
}

fn key_schema(key: &Key) -> Result<Vec<KeySchemaElement>, BuildError> {
    let element = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let hash = std::iter::once(element(&key.hash, KeyType::Hash));
    hash.chain(key.range.iter().map(|range| element(range, KeyType::Range))).collect()
}

fn is_same(there: &TableDescription, table: &Table) -> bool {
    let key_of = |schema: &[KeySchemaElement]| {
        let of_type =
            |kind: &KeyType| schema.iter().find(|part| part.key_type() == kind).map(|part| part.attribute_name().to_owned());
        of_type(&KeyType::Hash).map(|hash| Key { hash, range: of_type(&KeyType::Range) })
    };
    let index_there = |name: &str| there.global_secondary_indexes().iter().find(|index| index.index_name() == Some(name));
    key_of(there.key_schema()).as_ref() == Some(&table.key)
        && there.global_secondary_indexes().len() == table.indexes.len()
        && table
            .indexes
            .iter()
            .all(|index| index_there(&index.name).and_then(|there| key_of(there.key_schema())).as_ref() == Some(&index.key))
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};

    use super::*;
    use crate::engines::sdk;
    use crate::template::{BUILT_IN, LocalValues, Template};

    fn table() -> Table {
        let parameters = [("SigningSecret".to_owned(), "s".repeat(32))].into();
        let values = LocalValues { table_name: "darkroom".to_owned(), parameters, ..LocalValues::default() };
        Template::parse(BUILT_IN, &values).unwrap_or_else(|error| panic!("{error}")).table
    }

    fn text(value: &str) -> AttributeValue {
        AttributeValue::S(value.to_owned())
    }

    async fn due(client: &Client, before: i64) -> Vec<String> {
        let query = client.query().table_name("darkroom").index_name("due");
        let query = query.key_condition_expression("due_shard = :shard AND due_at <= :before");
        let query = query.expression_attribute_values(":shard", text("0"));
        let answer = query.expression_attribute_values(":before", AttributeValue::N(before.to_string())).send().await.unwrap();
        answer.items().iter().map(|item| item["pk"].as_s().unwrap().clone()).collect()
    }

    async fn put(client: &Client, pk: &str, due_at: i64) {
        let item = client.put_item().table_name("darkroom").item("pk", text(pk)).item("sk", text("generation"));
        let item = item.item("due_shard", text("0")).item("due_at", AttributeValue::N(due_at.to_string()));
        item.send().await.unwrap();
    }

    #[tokio::test]
    async fn the_table_of_the_template_answers_queries_on_its_indexes() {
        let engine = DynamoDb::start(Storage::Memory).await.unwrap();
        let client = Client::new(&sdk(&engine.endpoint_url));
        create_table(&client, &table()).await.unwrap();
        put(&client, "late", 2_000).await;
        put(&client, "soon", 1_000).await;
        assert_eq!(due(&client, 1_500).await, ["soon"]);
        assert_eq!(due(&client, 2_000).await, ["soon", "late"]);
        engine.shut_down().await;
    }

    #[tokio::test]
    async fn a_condition_fails_a_whole_transaction() {
        let engine = DynamoDb::start(Storage::Memory).await.unwrap();
        let client = Client::new(&sdk(&engine.endpoint_url));
        create_table(&client, &table()).await.unwrap();
        put(&client, "there", 1).await;
        let new = |pk: &str| {
            let put = Put::builder().table_name("darkroom").item("pk", text(pk)).item("sk", text("generation"));
            TransactWriteItem::builder().put(put.condition_expression("attribute_not_exists(pk)").build().unwrap()).build()
        };
        let refused = client.transact_write_items().transact_items(new("fresh")).transact_items(new("there")).send().await;
        let reasons = refused.unwrap_err().into_service_error();
        let aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(canceled) =
            reasons
        else {
            panic!("{reasons:?}")
        };
        let codes: Vec<_> = canceled.cancellation_reasons().iter().map(|reason| reason.code().unwrap()).collect();
        assert_eq!(codes, ["None", "ConditionalCheckFailed"]);
        let fresh = client.get_item().table_name("darkroom").key("pk", text("fresh")).key("sk", text("generation")).send().await;
        assert!(fresh.unwrap().item.is_none());
    }

    #[tokio::test]
    async fn a_file_keeps_the_table_and_its_items() {
        let directory = tempfile::tempdir().unwrap();
        let storage = Storage::File(directory.path().join("data/table.sqlite"));
        for round in 1..=2 {
            let engine = DynamoDb::start(storage.clone()).await.unwrap();
            let client = Client::new(&sdk(&engine.endpoint_url));
            create_table(&client, &table()).await.unwrap();
            create_table(&client, &table()).await.unwrap();
            put(&client, &format!("round {round}"), round).await;
            assert_eq!(due(&client, 9).await.len(), usize::try_from(round).unwrap());
            drop(client);
            engine.shut_down().await;
        }
    }

    #[tokio::test]
    async fn a_table_with_other_indexes_is_refused() {
        let engine = DynamoDb::start(Storage::Memory).await.unwrap();
        let client = Client::new(&sdk(&engine.endpoint_url));
        create_table(&client, &table()).await.unwrap();
        let mut other = table();
        other.indexes[0].name = "by_owner".to_owned();
        let error = create_table(&client, &other).await.unwrap_err();
        assert!(matches!(error, EngineError::TableDiffers { .. }), "{error}");
    }

    #[tokio::test]
    async fn expired_items_are_swept() {
        let database = Database::memory().unwrap();
        let (listener, endpoint_url) = listen().await.unwrap();
        tokio::spawn(server::serve_with_shutdown(listener, database.clone(), std::future::pending()));
        let client = Client::new(&sdk(&endpoint_url));
        create_table(&client, &table()).await.unwrap();
        let item = client.put_item().table_name("darkroom").item("pk", text("old")).item("sk", text("x"));
        item.item("expires_at", AttributeValue::N("1000000000".to_owned())).send().await.unwrap();
        put(&client, "kept", 1).await;
        assert_eq!(database.sweep_ttl().unwrap(), 1);
    }
}
