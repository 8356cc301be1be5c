//! The ledger as it is listed: by time and kind, newest first.

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use super::items::{self, Item, Key, Listing};
use super::read::{start_key, unseal};
use super::{Page, Store, StoreError};
use crate::ids::AccountId;
use crate::ledger::{Entry, EntryKind};

/// Which entries are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerFilter {
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Of these kinds; of all kinds when empty.
    pub kinds: Vec<EntryKind>,
}

/// A kind, `#`, and what it is about; longer ids are not ours.
const MAX_ENTRY_ID_BYTES: usize = 200;
/// Of a rare kind so many entries are looked at for one page; the next page goes on from there.
const MAX_LOOKED_AT: i32 = 10_000;
/// So many in one query, so that it stays below the megabyte that DynamoDB reads at once.
const PER_QUERY: i32 = 500;

impl Store {
    /// An account's entries, newest first. `None` when the cursor is not one of ours.
    pub async fn ledger(
        &self,
        account: AccountId,
        filter: &LedgerFilter,
        cursor: Option<&str>,
        limit: i32,
    ) -> Result<Option<Page<Entry>>, StoreError> {
        let mut start = match cursor.map(|cursor| start_of(account, cursor)) {
            None => None,
            Some(Some(start)) => Some(start),
            Some(None) => return Ok(None),
        };
        let wanted = usize::try_from(limit).unwrap_or(0);
        let (mut entries, mut looked_at): (Vec<Entry>, i32) = (Vec::new(), 0);
        loop {
            let count = if filter.kinds.is_empty() { limit.min(PER_QUERY) } else { PER_QUERY };
            let (found, next) = self.entries_from(account, filter, start, count).await?;
            looked_at += count;
            entries.extend(found);
            if entries.len() > wanted {
                entries.truncate(wanted);
                let last = entries.last().map(|entry| cursor_at(&items::entry_key(entry), &entry.id));
                return Ok(Some(Page { items: entries, next: last }));
            }
            match next {
                None => return Ok(Some(Page { items: entries, next: None })),
                Some(next) if entries.len() == wanted || looked_at >= MAX_LOOKED_AT => {
                    return Ok(Some(Page { items: entries, next: cursor_of(&next) }));
                }
                Some(next) => start = Some(next),
            }
        }
    }

    async fn entries_from(
        &self,
        account: AccountId,
        filter: &LedgerFilter,
        start: Option<Item>,
        count: i32,
    ) -> Result<(Vec<Entry>, Option<Item>), StoreError> {
        let (since, until) = (filter.since.unwrap_or(Timestamp::UNIX_EPOCH), filter.until.unwrap_or(Timestamp::MAX));
        if since >= until {
            return Ok((Vec::new(), None));
        }
        // Keys of the last moment itself are longer than its own text, and so after it.
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by_account")
            .key_condition_expression("gsi_pk = :pk AND gsi_sk BETWEEN :since AND :until")
            .expression_attribute_values(":pk", items::s(Listing::Ledger.partition(account)))
            .expression_attribute_values(":since", items::s(items::entry_time_key(since)))
            .expression_attribute_values(":until", items::s(items::entry_time_key(until)))
            .scan_index_forward(false)
            .limit(count)
            .set_exclusive_start_key(start);
        if !filter.kinds.is_empty() {
            let names: Vec<String> = (0..filter.kinds.len()).map(|number| format!(":k{number}")).collect();
            for (name, kind) in names.iter().zip(&filter.kinds) {
                query = query.expression_attribute_values(name, items::s(kind.word()));
            }
            query = query
                .filter_expression(format!("#doc.#kind IN ({})", names.join(", ")))
                .expression_attribute_names("#doc", items::DOC)
                .expression_attribute_names("#kind", "kind");
        }
        let answer = query.send().await.map_err(|error| StoreError::table("list the ledger", error))?;
        let entries = answer.items.unwrap_or_default().into_iter().map(items::read).collect::<Result<_, _>>()?;
        Ok((entries, answer.last_evaluated_key))
    }
}

fn cursor_at(sort: &str, id: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{sort} {id}"))
}

/// Where a query stopped.
fn cursor_of(key: &Item) -> Option<String> {
    let text = |name: &str| key.get(name).and_then(|value: &AttributeValue| value.as_s().ok());
    Some(cursor_at(text("gsi_sk")?, text("sk")?.strip_prefix(items::ENTRIES)?))
}

fn start_of(account: AccountId, cursor: &str) -> Option<Item> {
    let text = unseal(cursor)?;
    let (sort, id) = text.split_once(' ')?;
    let is_sort = sort.len() == 36 && sort.bytes().all(|byte| byte.is_ascii_digit() || byte == b'#');
    (is_sort && id.len() <= MAX_ENTRY_ID_BYTES)
        .then(|| start_key(Key::entry_of(account, id), &Listing::Ledger.partition(account), sort))
}
