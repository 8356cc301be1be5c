//! Everything of one account, page by page and strongly consistent where the books depend on it.

use super::items::{self, Item};
use super::{Store, StoreError};
use crate::generation::Generation;
use crate::ids::{AccountId, GenerationId};
use crate::ledger::{Entry, EntryKind};
use crate::reconcile::Line;

/// Where the next page of an account's entries starts.
#[derive(Debug)]
pub struct EntryCursor(Item);

/// So often a generation and its entries are read until they are of one moment.
const MAX_LOOKS: u32 = 5;

impl Store {
    /// One page of an account's entries, as they lie in the table: not in the order in which they were written. Every entry that was written
    /// before is among the pages.
    pub async fn entries(
        &self,
        account: AccountId,
        start: Option<EntryCursor>,
    ) -> Result<(Vec<Entry>, Option<EntryCursor>), StoreError> {
        let query = self.client.query().table_name(&self.table).consistent_read(true);
        let answer = query
            .key_condition_expression("pk = :pk AND begins_with(sk, :sk)")
            .expression_attribute_values(":pk", items::s(items::account_partition(account)))
            .expression_attribute_values(":sk", items::s(items::ENTRIES))
            .set_exclusive_start_key(start.map(|start| start.0))
            .send()
            .await;
        let answer = answer.map_err(|error| StoreError::table("list an account's entries", error))?;
        let entries = answer.items.unwrap_or_default().into_iter().map(items::read).collect::<Result<_, _>>()?;
        Ok((entries, answer.last_evaluated_key.map(EntryCursor)))
    }

    /// A generation of an account, and what the entries say of it, of one moment. None: it changes all the time.
    pub async fn in_the_books(
        &self,
        account: AccountId,
        id: GenerationId,
    ) -> Result<Option<(Line, Option<Generation>)>, StoreError> {
        let own = async || Ok::<_, StoreError>(self.generation(id).await?.filter(|generation| generation.account == account));
        let mut before = own().await?;
        for _ in 0..MAX_LOOKS {
            let mut line = Line::default();
            for kind in [EntryKind::Hold, EntryKind::Charge, EntryKind::Release] {
                if let Some(entry) = self.entry(account, &format!("{}#{id}", kind.word())).await? {
                    line.add(&entry);
                }
            }
            let after = own().await?;
            let version = |generation: &Option<Generation>| generation.as_ref().map(|generation| generation.version);
            if version(&before) == version(&after) {
                return Ok(Some((line, after)));
            }
            before = after;
        }
        Ok(None)
    }
}
