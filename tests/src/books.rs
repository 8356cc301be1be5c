//! What the real table says of an account, read for the auditor of the simulated histories.

use shared::audit::Books;
use shared::generation::Generation;
use shared::ids::AccountId;
use shared::ledger::{Account, Entry};
use shared::store::{LedgerFilter, Store};

/// Everything that the table says of one account.
#[derive(Debug)]
pub struct Statement {
    pub account: Account,
    /// Oldest first.
    pub entries: Vec<Entry>,
    pub generations: Vec<Generation>,
}

impl Statement {
    /// Reads all of it; nobody may be writing.
    pub async fn read(store: &Store, id: AccountId) -> Self {
        let account = store.account(id).await.expect("the table answers").expect("the account is there");
        let (mut entries, mut cursor) = (Vec::new(), None);
        loop {
            let page = store
                .ledger(id, &LedgerFilter::default(), cursor.as_deref(), 500)
                .await
                .expect("the table answers")
                .expect("our own cursor");
            entries.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        entries.reverse();
        let (mut generations, mut cursor) = (Vec::new(), None);
        loop {
            let page = store.generations(id, cursor.as_deref(), 500).await.expect("the table answers").expect("our own cursor");
            generations.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        Self { account, entries, generations }
    }

    /// Reads the entries as the auditor does, and compares everything else with them.
    pub fn audit(&self) -> Books {
        let books = Books::of(&self.entries);
        books.agree(&self.account);
        books.agree_with(&self.generations);
        books
    }
}
