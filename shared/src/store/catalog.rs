//! Catalog entries: the current version of each, and every version for good.
//!
//! | item | pk | sk |
//! |---|---|---|
//! | current version | `C#` | `{kind}#{name}` |
//! | each version | `C#history` | `{kind}#{name}#{version}`, the version in ten digits |

use super::items::{self, Item, Key};
use super::transact::{Role, Write, Written};
use super::{Store, StoreError};
use crate::catalog::entry::{CatalogEntry, CatalogKind, MAX_BODY_BYTES};

impl Store {
    /// The current version of every entry, removed ones included, by kind and name.
    pub async fn catalog_entries(&self) -> Result<Vec<CatalogEntry>, StoreError> {
        let mut entries = Vec::new();
        let mut start: Option<Item> = None;
        loop {
            let request = self.client.query().table_name(&self.table).consistent_read(true);
            let request = request
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", items::s(items::CATALOG))
                .set_exclusive_start_key(start);
            let answer = request.send().await.map_err(|error| StoreError::table("read the catalog", error))?;
            for item in answer.items.unwrap_or_default() {
                match items::read(item) {
                    Ok(entry) => entries.push(entry),
                    // One that this version cannot read must not hide the others.
                    Err(error) => {
                        tracing::error!(error = &error as &dyn std::error::Error, "a catalog entry cannot be read; left out");
                    }
                }
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(entries);
            }
        }
    }

    /// One version of an entry, however old.
    pub async fn catalog_version(&self, kind: CatalogKind, name: &str, version: u32) -> Result<Option<CatalogEntry>, StoreError> {
        self.get(Key::catalog_version(kind, name, version)).await
    }

    /// Writes a new version of an entry over the `expected` one (none: there is no entry of this name yet), and its copy for good.
    /// `false`: the current version is another one, and nothing was written.
    pub async fn put_catalog_entry(&self, entry: &CatalogEntry, expected: Option<u32>) -> Result<bool, StoreError> {
        if entry.body.len() > MAX_BODY_BYTES {
            let what = format!("the {} `{}`", entry.kind.word(), entry.name);
            return Err(StoreError::TooLarge { what, bytes: entry.body.len(), most: MAX_BODY_BYTES });
        }
        let [now, copy] = items::catalog_entry(entry)?;
        let now = match expected {
            Some(version) => Write::over_version(Role::Catalog, now, items::n(version)),
            None => Write::new(Role::Catalog, now),
        };
        Ok(matches!(self.transact(&[now, Write::new(Role::Catalog, copy)]).await?, Written::Done))
    }
}
