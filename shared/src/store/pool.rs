//! The pools of provider keys in the table.
//!
//! | item | pk | sk | attributes |
//! |---|---|---|---|
//! | key | `S#{provider}#{key}` | `slots` | `version`, `doc` (a [`KeyState`]), one `lease#{holder}` for each slot in use: until when, ms |
//! | line | `S#{provider}` | `line` | `served`: the round of who was served last |
//! | account in the line | `S#{provider}` | `account#{account}` | `round`: its last one; `expires_at` |
//! | place | `S#{provider}` | `wait#{round}#{generation}` | `doc` (a [`Waiter`]) |
//! | place of a generation | `S#{provider}` | `place#{generation}` | `place`: the one it has in this line |
//!
//! `version` and `doc` are written by takes and signs, on the condition that the version is as it was read. A lease is an attribute of
//! its own, which giving back and renewing write blindly: a take sets its holder's alone, so it cannot undo them.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::Select;
use futures_util::future::{try_join, try_join_all};
use jiff::{SignedDuration, Timestamp};

use super::items::{self, Item, Key};
use super::transact::{Changes, Check, Role, Write, Written};
use super::{Store, StoreError};
use crate::ids::{AccountId, GenerationId};
use crate::pool::{JoinPlan, KeyId, KeyState, PoolChange, Sign, Taken, Waiter, Waiting};

/// What the attributes of leases start with.
const LEASE: &str = "lease#";
/// The most places that are counted: a longer line is told as this long.
const MAX_COUNTED: i32 = 1000;
/// How long an account's last round is remembered.
const ROUND_KEPT: SignedDuration = SignedDuration::from_hours(48);
/// How often a write is decided anew because others were faster.
const MAX_RACES: u32 = 60;

impl Store {
    /// The keys of a provider as they are, in the order asked; one that was never used is in its default state.
    pub async fn pool_states(&self, provider: &str, keys: &[KeyId]) -> Result<Vec<(KeyId, KeyState)>, StoreError> {
        try_join_all(keys.iter().map(async |key| Ok((key.clone(), self.key_state(provider, key).await?)))).await
    }

    async fn key_state(&self, provider: &str, key: &KeyId) -> Result<KeyState, StoreError> {
        self.pool_item(Key::slots(provider, key)).await?.map_or_else(|| Ok(KeyState::default()), key_state)
    }

    async fn pool_item(&self, key: Key) -> Result<Option<Item>, StoreError> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key.into_item())).consistent_read(true);
        Ok(request.send().await.map_err(|error| StoreError::table("read an item", error))?.item)
    }

    /// Remembers what an answer said about a key, and gives the key's state after it. Nothing is written when it says nothing new.
    pub async fn note_sign(&self, provider: &str, key: &KeyId, sign: Sign, now: Timestamp) -> Result<KeyState, StoreError> {
        for _ in 0..MAX_RACES {
            let state = self.key_state(provider, key).await?;
            let mut next = state.note(sign, now);
            if next == state {
                return Ok(state);
            }
            next.version += 1;
            if self.put(&Write::update(Role::Pool, Key::slots(provider, key), over(state.version, &next)?)).await? {
                return Ok(next);
            }
        }
        Err(StoreError::TooBusy { tries: MAX_RACES })
    }

    /// Writes changes that belong to no generation's transaction, all or nothing; `false` when a condition refused them.
    pub async fn change_pool(&self, changes: &[PoolChange]) -> Result<bool, StoreError> {
        let writes: Vec<Write> = changes.iter().map(writes).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        match writes.as_slice() {
            [] => Ok(true),
            [only] => self.put(only).await,
            several => Ok(matches!(self.transact(several).await?, Written::Done)),
        }
    }

    /// Reserves a place in a provider's line; [`PoolChange::Join`] takes it. A generation that stands in the line already gets its first
    /// place again. A place that is reserved and never taken costs its account one round.
    pub async fn join_place(
        &self,
        provider: &str,
        account: AccountId,
        generation: GenerationId,
        now: Timestamp,
    ) -> Result<JoinPlan, StoreError> {
        let own = self.pool_item(Key::place_of(provider, &generation.to_string()));
        let (own, line) = try_join(own, self.pool_item(Key::line(provider))).await?;
        if let Some(place) = own.as_ref().and_then(|own| own.get("place")?.as_s().ok()) {
            let waiting = Waiting { provider: provider.to_owned(), account, place: place.clone() };
            return Ok(JoinPlan { generation, waiting });
        }
        let served = line.and_then(|line| items::number(&line, "served")).unwrap_or(0);
        let round = self.next_round(provider, account, served, now).await?;
        Ok(JoinPlan { generation, waiting: Waiting::new(provider, account, round, generation) })
    }

    /// One after the later of the served round and the account's last one. A counter rather than a condition on what was read: a hundred
    /// jobs of one account that join together do not make each other try again.
    async fn next_round(&self, provider: &str, account: AccountId, served: u64, now: Timestamp) -> Result<u64, StoreError> {
        let expires_at = || items::n((now + ROUND_KEPT).as_second());
        let key = || Key::line_account(provider, account);
        for _ in 0..MAX_RACES {
            let further = Changes::default().raise("round", items::n(1)).set("expires_at", expires_at());
            let further = further.only_if("round", Check::AtLeast(items::n(served)));
            let first = Changes::default().set("round", items::n(served + 1)).set("expires_at", expires_at());
            let first = first.only_if("round", Check::AbsentOrBelow(items::n(served)));
            for changes in [further, first] {
                if let Some(account) = self.put_returning(&Write::update(Role::Pool, key(), changes)).await? {
                    let missing = || StoreError::Missing { what: "round in the answer of the table".to_owned() };
                    return items::number(&account, "round").ok_or_else(missing);
                }
            }
        }
        Err(StoreError::TooBusy { tries: MAX_RACES })
    }

    /// Remembers that it was this one's turn: whoever joins from now on stands behind its round. To be called once it is served, after the
    /// transaction, which it would only make collide with others. One that is lost does no harm: the next one makes up for it.
    pub async fn note_served(&self, waiting: &Waiting) -> Result<(), StoreError> {
        let round = waiting.round();
        let changes = Changes::default().set("served", items::n(round));
        let changes = changes.only_if("served", Check::AbsentOrBelow(items::n(round)));
        // Refused when somebody behind it was served before it: the line is further already.
        self.put(&Write::update(Role::Pool, Key::line(&waiting.provider), changes)).await.map(|_| ())
    }

    /// The first of a provider's line, in the order of service.
    pub async fn line_heads(&self, provider: &str, limit: u32) -> Result<Vec<Waiter>, StoreError> {
        let limit = i32::try_from(limit.max(1)).unwrap_or(i32::MAX).min(MAX_COUNTED);
        let answer = self.line(provider, None).limit(limit).send().await;
        let answer = answer.map_err(|error| StoreError::table("read a line", error))?;
        answer.items.unwrap_or_default().into_iter().map(items::read).collect()
    }

    /// How many stand before this one, 999 at most. Read anew, not from an index.
    pub async fn line_position(&self, waiting: &Waiting) -> Result<u32, StoreError> {
        let up_to_it = self.count(self.line(&waiting.provider, Some(&waiting.place))).await?;
        Ok(up_to_it.saturating_sub(1))
    }

    /// How many stand in a provider's line, 1000 at most.
    pub async fn line_length(&self, provider: &str) -> Result<u32, StoreError> {
        self.count(self.line(provider, None)).await
    }

    async fn count(&self, line: QueryFluentBuilder) -> Result<u32, StoreError> {
        let answer = line.select(Select::Count).limit(MAX_COUNTED).send().await;
        let answer = answer.map_err(|error| StoreError::table("count a line", error))?;
        Ok(u32::try_from(answer.count).unwrap_or(0))
    }

    /// The places of a line, up to and with `last`. At most [`MAX_COUNTED`] of some 300 bytes are asked for, so one page of 1 MB has them.
    fn line(&self, provider: &str, last: Option<&str>) -> QueryFluentBuilder {
        let request = self.client.query().table_name(&self.table).consistent_read(true);
        let request = request
            .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":pk", items::s(items::line_partition(provider)))
            .expression_attribute_values(":first", items::s(items::wait_key("")))
            // A place starts with a digit, and every digit sorts before `~`.
            .expression_attribute_values(":last", items::s(items::wait_key(last.unwrap_or("~"))));
        request.scan_index_forward(true)
    }
}

/// What a change of a pool writes, each item once.
pub(super) fn writes(change: &PoolChange) -> Result<Vec<Write>, StoreError> {
    let blind = |provider: &str, key: &KeyId, changes| Write::update(Role::Pool, Key::slots(provider, key), changes);
    Ok(match change {
        PoolChange::Take { provider, key, taken } if taken.is_recorded() => {
            vec![Write::update(Role::Pool, Key::slots(provider, key), take(taken)?)]
        }
        PoolChange::Take { .. } => Vec::new(),
        PoolChange::Renew { provider, key, holder, until } => {
            vec![blind(provider, key, Changes::default().set(&lease(holder), items::millis(*until)))]
        }
        PoolChange::Release { provider, key, holder } => {
            vec![blind(provider, key, Changes::default().remove(&lease(holder)))]
        }
        PoolChange::Join(JoinPlan { generation, waiting }) => {
            let place = items::s(&waiting.place);
            let own = Changes::default().set("place", place.clone()).only_if("place", Check::AbsentOrEquals(place));
            let waiter = Waiter { generation: *generation, account: waiting.account, place: waiting.place.clone() };
            vec![
                Write::update(Role::Pool, Key::place_of(&waiting.provider, &generation.to_string()), own),
                Write::always(Role::Pool, items::waiter(&waiting.provider, &waiter)?),
            ]
        }
        PoolChange::Leave { waiting } => vec![
            Write::delete(Role::Pool, Key::place_of(&waiting.provider, waiting.generation_text())),
            Write::delete(Role::Pool, Key::wait(waiting)),
        ],
    })
}

/// Leases that are over are removed only as they were read: one that was renewed meanwhile stays, and the take is refused.
fn take(taken: &Taken) -> Result<Changes, StoreError> {
    let mut changes = over(taken.based_on, &taken.next)?;
    if let Some(until) = taken.lease {
        changes = changes.set(&lease(&taken.holder), items::millis(until));
    }
    for (holder, until) in &taken.evicted {
        let lease = lease(holder);
        changes = changes.remove(&lease).only_if(&lease, Check::AbsentOrEquals(items::millis(*until)));
    }
    Ok(changes)
}

/// The next version over the one that was read. An item without a version was made by giving back or renewing a lease.
fn over(version: u64, next: &KeyState) -> Result<Changes, StoreError> {
    let check = if version == 0 { Check::Absent } else { Check::Equals(items::n(version)) };
    let changes = Changes::default().set("version", items::n(next.version)).set("doc", items::value(next)?);
    Ok(changes.only_if("version", check))
}

fn lease(holder: &str) -> String {
    format!("{LEASE}{holder}")
}

fn key_state(item: Item) -> Result<KeyState, StoreError> {
    let version = items::number(&item, "version").unwrap_or(0);
    let until = |name: &str| Timestamp::from_millisecond(items::number(&item, name)?).ok();
    let leases = item.keys().filter_map(|name| Some((name.strip_prefix(LEASE)?.to_owned(), until(name)?))).collect();
    let state = if item.contains_key("doc") { items::read(item)? } else { KeyState::default() };
    Ok(KeyState { version, leases, ..state })
}
