//! The table as the template declares it: its indexes page after page, its time to live, and reads that see what was written.

use std::collections::HashSet;

use futures_util::stream::{self, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use shared::assets::Asset;
use shared::clock::random_bytes;
use shared::ids::{AccountId, AssetId};
use shared::store::{AssetFilter, AssetMade, DueRecord, Store};
use tests::{Setting, Wire, World};

/// More than two pages of the due index, which reads 200 at a time.
const MANY: u64 = 410;

/// The world's table with a due index of one partition, which the world itself leaves alone.
struct Stand {
    world: World,
    store: Store,
}

impl Stand {
    async fn new() -> Self {
        let world = World::with(Setting { environment: vec![("DUE_SHARDS", "1".to_owned())], ..Setting::idle() }).await;
        let store = world.store_over(world.another_client(&Wire::default()));
        Self { world, store }
    }

    /// Uploads that nobody sends, announced a millisecond after each other, long before the tick looks at them.
    async fn announce(&self, account: AccountId, count: u64) -> Vec<AssetId> {
        let begin = u64::try_from(self.world.stack.backend.now().as_millisecond()).expect("after 1970");
        let assets = (0..count).map(|number| {
            let id = AssetId::from_parts(begin + number, random_bytes());
            Asset::announced(id, account, "image/jpeg".to_owned(), 10, SignedDuration::from_hours(24))
        });
        let assets: Vec<Asset> = assets.collect();
        let puts = assets.iter().map(|asset| async { self.store.put_asset(asset, None).await.expect("the table answers") });
        let made: Vec<AssetMade> = stream::iter(puts).buffer_unordered(16).collect().await;
        assert!(made.iter().all(|made| *made == AssetMade::New));
        assets.into_iter().map(|asset| asset.id).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_due_index_is_read_page_after_page_earliest_first() {
    let stand = Stand::new().await;
    let announced = stand.announce(stand.world.account, MANY).await;
    let ahead = stand.world.stack.backend.now() + SignedDuration::from_hours(48);
    let (mut found, mut sizes, mut cursor) = (Vec::new(), Vec::new(), None);
    loop {
        let (page, next) = stand.store.due(0, ahead, cursor).await.expect("the table answers");
        sizes.push(page.len());
        found.extend(page);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert!(sizes.len() >= 3 && sizes.iter().all(|size| *size <= 200), "{sizes:?}");
    assert!(found.is_sorted_by_key(|due| due.due_at));
    let ids: Vec<AssetId> = found
        .iter()
        .map(|due| match due.record {
            DueRecord::Asset(id) => id,
            ref other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, announced);
    let (none, _) = stand.store.due(0, Timestamp::UNIX_EPOCH, None).await.expect("the table answers");
    assert!(none.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_where_they_ended_and_show_nobody_elses() {
    let stand = Stand::new().await;
    let other = stand.world.customer(1).await;
    let announced: HashSet<AssetId> = stand.announce(stand.world.account, MANY).await.into_iter().collect();
    stand.announce(other.account, 20).await;
    let (filter, now) = (AssetFilter::default(), stand.world.stack.backend.now());
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = stand.store.assets(stand.world.account, &filter, cursor.as_deref(), 100, now).await;
        let page = page.expect("the table answers").expect("our own cursor");
        assert!(page.items.len() <= 100);
        found.extend(page.items.into_iter().map(|asset| asset.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert!(found.is_sorted_by_key(|id| std::cmp::Reverse(id.to_string())), "newest first");
    assert_eq!((found.len(), found.into_iter().collect::<HashSet<_>>()), (announced.len(), announced));
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_are_listed_page_after_page() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(1_000).await;
    let mut ids = Vec::new();
    for number in 0..25 {
        ids.push(customer.create("placeholder", &number.to_string()).await);
    }
    ids.reverse();
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = customer.get(&format!("/v1/generations?limit=10{cursor}")).await.body;
        let list = page["generations"].as_array().expect("a list");
        found.extend(list.iter().map(|own| own["id"].as_str().expect("an id").to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, ids);
    assert_eq!(customer.audit().await.len(), 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_to_live_is_declared() {
    let world = World::with(Setting::idle()).await;
    let client = world.another_client(&Wire::default());
    let answer = client.describe_time_to_live().table_name(&world.stack.backend.config.table).send().await.expect("it answers");
    let told = answer.time_to_live_description.expect("a description");
    let status = told.time_to_live_status.expect("a status");
    assert!(matches!(status.as_str(), "ENABLED" | "ENABLING"), "{status:?}");
    assert_eq!(told.attribute_name.as_deref(), Some("expires_at"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_wrote_another_reads_at_once() {
    let stand = Stand::new().await;
    let other = stand.world.another_store();
    for _ in 0..50 {
        let id = stand.announce(stand.world.account, 1).await[0];
        let read = other.asset(stand.world.account, id).await.expect("the table answers").expect("it is there");
        assert_eq!(read.id, id);
    }
}
