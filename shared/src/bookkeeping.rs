//! Reads an account's books while everything goes on, and says whether they are right.

use crate::backend::Backend;
use crate::ids::AccountId;
use crate::reconcile::{Books, Reconciliation, judge};
use crate::store::StoreError;

/// Generations are read in pages of so many.
const PAGE: i32 = 100;

impl Backend {
    /// One account's books, computed anew from its entries. Reads all its entries and generations: some thousand a second. None: there is no
    /// such account.
    pub async fn reconcile(&self, id: AccountId) -> Result<Option<Reconciliation>, StoreError> {
        let Some(account) = self.store.account(id).await? else { return Ok(None) };
        let now = self.now();
        let mut books = Books::of(account, now);
        let mut start = None;
        loop {
            let (entries, next) = self.store.entries(id, start).await?;
            entries.iter().for_each(|entry| books.entry(entry));
            match next {
                Some(next) => start = Some(next),
                None => break,
            }
        }
        let missing = || StoreError::Missing { what: format!("account `{id}`") };
        let after = self.store.account(id).await?.ok_or_else(missing)?;
        let mut matching = books.closed(&after);
        let mut cursor: Option<String> = None;
        loop {
            let Some(page) = self.store.generations(id, cursor.as_deref(), PAGE).await? else { break };
            page.items.iter().for_each(|generation| matching.generation(generation));
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        let (mut report, in_doubt) = matching.finish();
        for generation in in_doubt {
            if let Some((line, found)) = self.store.in_the_books(id, generation).await? {
                report.add(judge(generation, &line, found.as_ref(), now));
            }
        }
        Ok(Some(report))
    }
}
