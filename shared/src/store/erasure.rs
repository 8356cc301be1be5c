//! What erasing content writes, and how all of an account's is found.

use super::items::{self, Item, Key};
use super::transact::{Role, Write, Written};
use super::{Action, Store, StoreError};
use crate::account_erasure::AccountErasure;
use crate::generation::Attempt;
use crate::ids::{AccountId, GenerationId};

/// As many attempts as are written at once; a transaction takes 100 items.
const ATTEMPTS_AT_ONCE: usize = 50;

/// What an account has, in the order of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owned {
    /// Every generation that ever was: each has its hold.
    Generations,
    Assets,
    Boxes,
}

impl Store {
    /// Writes the rows of attempts anew.
    pub async fn rewrite_attempts(&self, generation: GenerationId, attempts: &[Attempt]) -> Result<(), StoreError> {
        for some in attempts.chunks(ATTEMPTS_AT_ONCE) {
            let rows = some.iter().map(|attempt| Ok(Write::always(Role::Attempt, items::attempt(generation, attempt)?)));
            self.transact(&rows.collect::<Result<Vec<_>, StoreError>>()?).await?;
        }
        Ok(())
    }

    /// How far the erasure of an account's content is; none: nobody ever asked for it.
    pub async fn erasure(&self, account: AccountId) -> Result<Option<AccountErasure>, StoreError> {
        self.get(Key::erasure(account)).await
    }

    /// Writes an erasure over the version before it, with what an operator did, if one did; `false`: somebody else was faster.
    pub async fn put_erasure(&self, erasure: &AccountErasure, action: Option<&Action>) -> Result<bool, StoreError> {
        let item = items::erasure(erasure, self.due_shards)?;
        let write = match erasure.version - 1 {
            0 => Write::new(Role::Erasure, item),
            version => Write::over_version(Role::Erasure, item, items::n(version)),
        };
        let Some(action) = action else { return self.put(&write).await };
        let writes = [write, Write::new(Role::Action, items::action(action)?)];
        Ok(matches!(self.transact(&writes).await?, Written::Done))
    }

    /// Up to `limit` ids of what an account has, from an id on; and whether these are the last ones. As it is now: not from an index.
    pub async fn owned(
        &self,
        account: AccountId,
        what: Owned,
        from: &str,
        limit: i32,
    ) -> Result<(Vec<String>, bool), StoreError> {
        let prefix = match what {
            Owned::Generations => items::HOLDS,
            Owned::Assets => items::ASSETS,
            Owned::Boxes => items::BOXES,
        };
        let query = self.client.query().table_name(&self.table).consistent_read(true).limit(limit);
        let answer = query
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .projection_expression("sk")
            .expression_attribute_values(":pk", items::s(items::account_partition(account)))
            .expression_attribute_values(":from", items::s(format!("{prefix}{from}")))
            .expression_attribute_values(":to", items::s(format!("{prefix}~")))
            .send()
            .await;
        let answer = answer.map_err(|error| StoreError::table("list what an account has", error))?;
        let is_last = answer.last_evaluated_key.is_none();
        let id = |item: Item| Some(item.get("sk")?.as_s().ok()?.strip_prefix(prefix)?.to_owned());
        Ok((answer.items.unwrap_or_default().into_iter().filter_map(id).collect(), is_last))
    }
}
