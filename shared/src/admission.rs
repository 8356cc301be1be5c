//! May a generation that waits be submitted now, and with which key? The keys' limits, the line in front of them and the provider's health
//! decide.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

use crate::backend::Backend;
use crate::catalog::manifest::Manifest;
use crate::failure::FailureClass;
use crate::generation::{Ambiguity, AttemptResult, Generation, State};
use crate::lifecycle::Send;
use crate::messages::Outgoing;
use crate::outcome::SubmitAnswer;
use crate::pool::{Busy, BusyWhy, JoinPlan, KeyId, KeyLimits, KeyState, PoolChange, Sign, choose};
use crate::provider::provider_keys;
use crate::store::StoreError;

/// What is to become of a generation that waits.
#[derive(Debug)]
pub enum Admission {
    /// It can be claimed, together with these changes of the pool.
    Claim { key: Option<KeyId>, holds_slot: bool, changes: Vec<PoolChange> },
    /// It has to wait: in the line, or until a known time.
    Wait { join: Option<JoinPlan>, until: Option<Timestamp> },
    /// Its provider cannot do it soon, and another one can.
    PassOver,
}

/// What this process knows of the keys of providers without limits: read anew after a while, so that their jobs cost no further read.
#[derive(Debug, Clone, Default)]
pub struct HealthMemory(Arc<Mutex<HashMap<String, Remembered>>>);

#[derive(Debug, Clone)]
struct Remembered {
    states: Vec<(KeyId, KeyState)>,
    at: Timestamp,
}

/// How long health is remembered.
const KEEP: SignedDuration = SignedDuration::from_secs(5);
/// A lease on a running job's slot outlasts the job: it is given back by what ends the job.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);
/// A pause so short that it is not worth another provider.
const SOON: SignedDuration = SignedDuration::from_secs(10);
/// How long the one that tries whether a provider is back is waited for at a time.
const PROBE_TAKES: SignedDuration = SignedDuration::from_secs(10);
/// When keys that could not be had are asked for again.
const KEYS_RETRY: SignedDuration = SignedDuration::from_secs(30);
/// The most that are sent for at once.
const MAX_CALLED: u32 = 25;

/// Who holds a slot: the generation's attempt with this number.
pub fn holder(generation: &Generation, attempt: u32) -> String {
    format!("{}#{attempt}", generation.id)
}

/// Who in a line is sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Called {
    /// The first one, now or when there will be room; once it is claimed it sends for the next one. So each slot that becomes free costs
    /// one message, and not one for each who waits.
    First,
    /// As many as there is room for now.
    AllWithRoom,
}

/// The keys of one provider, as they stand.
struct Pool {
    limits: KeyLimits,
    states: Vec<(KeyId, KeyState)>,
}

impl Pool {
    fn is_limited(&self) -> bool {
        self.limits != KeyLimits::default()
    }

    /// Leaves these keys alone, unless there are no others.
    fn leave_out(&mut self, keys: &[&KeyId]) {
        if self.states.iter().any(|(key, _)| !keys.contains(&key)) {
            self.states.retain(|(key, _)| !keys.contains(&key));
        }
    }

    /// How many could be claimed right now, at most [`MAX_CALLED`]; when none can, the time at which that changes by itself.
    fn room(&self, now: Timestamp) -> Result<u32, Timestamp> {
        let mut states = self.states.clone();
        let mut room = 0;
        while room < MAX_CALLED {
            // A lease that ends with the moment is enough to count.
            let until = now + SignedDuration::from_secs(1);
            match choose(&states, &self.limits, &format!("room {room}"), until, now) {
                Ok((key, taken)) => {
                    room += 1;
                    if let Some((_, state)) = states.iter_mut().find(|(own, _)| *own == key) {
                        *state = taken.next;
                    }
                }
                Err(busy) if room == 0 => return Err(busy.free_at),
                Err(_) => break,
            }
        }
        Ok(room)
    }
}

impl Backend {
    /// Decides for a generation in the queue.
    pub async fn admit(&self, generation: &Generation) -> Result<Admission, StoreError> {
        let model = self.model_for(generation.candidate()).await?;
        let without_key = || Admission::Claim { key: None, holds_slot: false, changes: Vec::new() };
        if model.provider.http().is_none() {
            return Ok(without_key());
        }
        let keys = match provider_keys(self, &model.provider).await {
            Ok(keys) if keys.is_empty() && generation.has_next_candidate() => return Ok(Admission::PassOver),
            // The submit will say that the provider is not configured.
            Ok(keys) if keys.is_empty() => return Ok(without_key()),
            Ok(keys) => keys,
            Err(_) if generation.has_next_candidate() => return Ok(Admission::PassOver),
            Err(_) => return Ok(Admission::Wait { join: None, until: Some(self.now() + KEYS_RETRY) }),
        };
        let mut pool = self.pool(&model.provider, &keys).await?;
        pool.leave_out(&refused_keys(generation));
        let (now, rules) = (self.now(), model.rules(&self.config.limits));
        let own = holder(generation, generation.attempt() + 1);
        match choose(&pool.states, &pool.limits, &own, now + rules.claim_lease, now) {
            Ok((key, taken)) => {
                if pool.is_limited() && !self.is_its_turn(generation, &model.provider, &pool, now).await? {
                    return self.wait(generation, &model.provider, &pool, None).await;
                }
                let holds_slot = taken.lease.is_some();
                let provider = model.provider.name.clone();
                let take = PoolChange::Take { provider, key: key.clone(), taken: Box::new(taken) };
                Ok(Admission::Claim { key: Some(key), holds_slot, changes: vec![take] })
            }
            Err(busy) if generation.has_next_candidate() && is_passed_over(&busy, now) => Ok(Admission::PassOver),
            Err(busy) => {
                let until = match busy.why {
                    // Whoever gives one back sends for the next one.
                    BusyWhy::Slots => None,
                    // Its answer is here long before its lease is over.
                    BusyWhy::Probed => Some(busy.free_at.min(now + PROBE_TAKES)),
                    BusyWhy::OutOfOrder | BusyWhy::Paused | BusyWhy::Day | BusyWhy::Minute => Some(busy.free_at),
                };
                self.wait(generation, &model.provider, &pool, until).await
            }
        }
    }

    async fn wait(
        &self,
        generation: &Generation,
        provider: &Manifest,
        pool: &Pool,
        until: Option<Timestamp>,
    ) -> Result<Admission, StoreError> {
        if !pool.is_limited() {
            return Ok(Admission::Wait { join: None, until });
        }
        let provider = &provider.name;
        let join = match waiting_of(generation) {
            Some(_) => None,
            None => Some(self.store.join_place(provider, generation.account, generation.id, self.now()).await?),
        };
        // Only the head keeps the time: whoever is claimed sends for the next one.
        let head = self.store.line_heads(provider, 1).await?.into_iter().next();
        let is_head = head.is_none_or(|head| head.generation == generation.id);
        Ok(Admission::Wait { join, until: until.filter(|_| is_head) })
    }

    /// Whether nobody who has waited longer would be passed over.
    async fn is_its_turn(
        &self,
        generation: &Generation,
        provider: &Manifest,
        pool: &Pool,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let room = pool.room(now).unwrap_or(0);
        let heads = self.store.line_heads(&provider.name, room.max(1)).await?;
        Ok(u32::try_from(heads.len()).is_ok_and(|before| before < room)
            || heads.iter().any(|head| head.generation == generation.id))
    }

    async fn pool(&self, provider: &Manifest, keys: &[(KeyId, SecretString)]) -> Result<Pool, StoreError> {
        let limits = self.config.key_limits(provider);
        let provider = &provider.name;
        let ids: Vec<KeyId> = keys.iter().map(|(id, _)| id.clone()).collect();
        let now = self.now();
        if limits == KeyLimits::default()
            && let Some(states) = self.health.recall(provider, &ids, now)
        {
            return Ok(Pool { limits, states });
        }
        let states = self.store.pool_states(provider, &ids).await?;
        self.health.remember(provider, &states, now);
        Ok(Pool { limits, states })
    }

    /// Sends for all in every provider's line for whom there is room: whoever should have done so may have died.
    pub async fn call_every_line(&self) {
        let catalog = match self.catalog().await {
            Ok(catalog) => catalog,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the lines were not called; the next minute does it");
                return;
            }
        };
        join_all(catalog.providers().map(|provider| self.call_the_line(provider, Called::AllWithRoom))).await;
    }

    /// Sends for those whose turn it is. Nothing is promised by it: they are admitted when they come.
    pub async fn call_the_line(&self, provider: &Manifest, called: Called) {
        if let Err(error) = self.try_to_call_the_line(provider, called).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                provider = provider.name,
                "the line was not called; the next tick will"
            );
        }
    }

    async fn try_to_call_the_line(&self, provider: &Manifest, called: Called) -> Result<(), StoreError> {
        if provider.http().is_none() || self.config.key_limits(provider) == KeyLimits::default() {
            return Ok(());
        }
        let most = match called {
            Called::First => 1,
            Called::AllWithRoom => MAX_CALLED,
        };
        let heads = self.store.line_heads(&provider.name, most).await?;
        if heads.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let (count, after) = match provider_keys(self, provider).await {
            // A function that has no keys cannot know: the first one finds out.
            Err(_) => (1, SignedDuration::ZERO),
            Ok(keys) if keys.is_empty() => (1, SignedDuration::ZERO),
            Ok(keys) => {
                let pool = self.pool(provider, &keys).await?;
                match (pool.room(now), called) {
                    (Ok(room), _) => (room, SignedDuration::ZERO),
                    // Full until somebody ends, who will call.
                    (Err(free_at), _) if self.is_full(&pool, now) || free_at == Timestamp::MAX => return Ok(()),
                    (Err(free_at), Called::First) => (1, free_at.duration_since(now)),
                    (Err(_), Called::AllWithRoom) => return Ok(()),
                }
            }
        };
        for head in heads.into_iter().take(usize::try_from(count).unwrap_or(1)) {
            let send = Send::Dispatch { after: after.clamp(SignedDuration::ZERO, SignedDuration::from_mins(15)) };
            self.send_or_leave_to_the_poll(&Outgoing::of(send, head.generation, head.account, now)).await;
        }
        Ok(())
    }

    fn is_full(&self, pool: &Pool, now: Timestamp) -> bool {
        let Some(concurrency) = pool.limits.concurrency else { return false };
        let slots = usize::try_from(concurrency).unwrap_or(usize::MAX);
        pool.states.iter().all(|(_, state)| state.in_use(now) >= slots)
    }

    /// Remembers what a submit's answer says of the key and the provider.
    pub async fn note_answer(&self, generation: &Generation, answer: &SubmitAnswer) {
        let Some(attempt) = generation.attempts.last() else { return };
        let Some(key) = &attempt.key else { return };
        let (sign, now) = (sign(answer), self.now());
        if sign == Sign::Reachable && self.health.is_known_well(&attempt.provider, key, now) {
            return;
        }
        if sign == Sign::Refused {
            tracing::error!(provider = attempt.provider, %key, "the provider refuses this key, or its account is out of funds");
        }
        match self.store.note_sign(&attempt.provider, key, sign, now).await {
            Ok(state) => self.health.update(&attempt.provider, key, &state),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    provider = attempt.provider,
                    "a key's state was not noted"
                );
            }
        }
        // The provider may have been out of order until now, with a line in front of it.
        if sign == Sign::Reachable
            && let Ok(catalog) = self.catalog().await
            && let Some(provider) = catalog.provider(&attempt.provider)
        {
            self.call_the_line(provider, Called::AllWithRoom).await;
        }
    }

    /// Whether the candidate that refused the key of its current attempt can be asked with another one, which is not refused as well.
    pub async fn has_another_key(&self, generation: &Generation) -> Result<bool, StoreError> {
        let Some(attempt) = generation.attempts.last() else { return Ok(false) };
        let model = self.model_for(generation.candidate()).await?;
        let Ok(mut keys) = provider_keys(self, &model.provider).await else { return Ok(false) };
        let refused = refused_keys(generation);
        keys.retain(|(key, _)| attempt.key.as_ref() != Some(key) && !refused.contains(&key));
        let ids: Vec<KeyId> = keys.into_iter().map(|(key, _)| key).collect();
        let (states, now) = (self.store.pool_states(&model.provider.name, &ids).await?, self.now());
        Ok(states.iter().any(|(_, state)| !state.is_refused(now)))
    }
}

/// Whether a failure is about our key alone.
pub fn is_about_the_key(class: FailureClass) -> bool {
    match class {
        FailureClass::ProviderAuth | FailureClass::ProviderFunds => true,
        FailureClass::RejectedInput
        | FailureClass::Moderated
        | FailureClass::Throttled
        | FailureClass::Unavailable
        | FailureClass::ProviderFailed
        | FailureClass::ResultLost
        | FailureClass::Expired
        | FailureClass::Canceled
        | FailureClass::Internal
        | FailureClass::Resolved => false,
    }
}

fn sign(answer: &SubmitAnswer) -> Sign {
    match answer {
        SubmitAnswer::Accepted { .. } | SubmitAnswer::Done(_) => Sign::Reachable,
        SubmitAnswer::Lost(reason) => match reason {
            // It did answer.
            Ambiguity::UnreadableAnswer | Ambiguity::ResultsNotKept => Sign::Reachable,
            Ambiguity::TimedOut | Ambiguity::ConnectionLost | Ambiguity::ServerError | Ambiguity::WorkerLost => Sign::Unavailable,
        },
        SubmitAnswer::Refused { failure, retry_after } => match failure.class {
            FailureClass::Throttled => Sign::Throttled { retry_after: *retry_after },
            FailureClass::Unavailable => Sign::Unavailable,
            FailureClass::ProviderAuth | FailureClass::ProviderFunds => Sign::Refused,
            FailureClass::RejectedInput
            | FailureClass::Moderated
            | FailureClass::ProviderFailed
            | FailureClass::ResultLost
            | FailureClass::Expired
            | FailureClass::Canceled
            | FailureClass::Internal
            | FailureClass::Resolved => Sign::Reachable,
        },
    }
}

/// The keys with which the current candidate has refused this generation.
fn refused_keys(generation: &Generation) -> Vec<&KeyId> {
    let here = generation.attempts.iter().filter(|attempt| attempt.candidate == generation.candidate);
    let refused = here.filter(|attempt| match &attempt.result {
        AttemptResult::Failed { failure } => is_about_the_key(failure.class),
        AttemptResult::Submitting
        | AttemptResult::Accepted
        | AttemptResult::Unconfirmed { .. }
        | AttemptResult::Succeeded
        | AttemptResult::Canceled => false,
    });
    refused.filter_map(|attempt| attempt.key.as_ref()).collect()
}

/// Whether another provider is better than to wait for this one.
fn is_passed_over(busy: &Busy, now: Timestamp) -> bool {
    match busy.why {
        BusyWhy::OutOfOrder | BusyWhy::Probed => true,
        BusyWhy::Paused | BusyWhy::Day => busy.free_at.duration_since(now) > SOON,
        BusyWhy::Slots | BusyWhy::Minute => false,
    }
}

impl HealthMemory {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Remembered>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn recall(&self, provider: &str, keys: &[KeyId], now: Timestamp) -> Option<Vec<(KeyId, KeyState)>> {
        let memory = self.lock();
        let own = memory.get(provider).filter(|own| now.duration_since(own.at).abs() < KEEP)?;
        own.states.iter().map(|(key, _)| key).eq(keys).then(|| own.states.clone())
    }

    fn remember(&self, provider: &str, states: &[(KeyId, KeyState)], now: Timestamp) {
        self.lock().insert(provider.to_owned(), Remembered { states: states.to_vec(), at: now });
    }

    fn update(&self, provider: &str, key: &KeyId, state: &KeyState) {
        if let Some(own) = self.lock().get_mut(provider).and_then(|own| own.states.iter_mut().find(|(id, _)| id == key)) {
            own.1 = state.clone();
        }
    }

    /// What was remembered has turned out to be old.
    pub(crate) fn forget(&self, provider: &str) {
        self.lock().remove(provider);
    }

    /// Whether the key was found without blemish a moment ago.
    fn is_known_well(&self, provider: &str, key: &KeyId, now: Timestamp) -> bool {
        let memory = self.lock();
        let own = memory.get(provider).filter(|own| now.duration_since(own.at).abs() < KEEP);
        let state = own.and_then(|own| own.states.iter().find(|(id, _)| id == key));
        state.is_some_and(|(_, state)| state.misses == 0 && state.throttles == 0 && state.open_until.is_none())
    }
}

fn waiting_of(generation: &Generation) -> Option<&crate::pool::Waiting> {
    match &generation.state {
        State::Queued { waiting, .. } => waiting.as_ref(),
        State::Claimed { .. }
        | State::Running { .. }
        | State::Unconfirmed { .. }
        | State::Collecting { .. }
        | State::Succeeded { .. }
        | State::Failed { .. }
        | State::Canceled { .. } => None,
    }
}

/// The slot that a generation's current attempt holds, if any: provider, key and holder.
fn slot_of(generation: &Generation) -> Option<(String, KeyId, String)> {
    let under_way = match &generation.state {
        State::Claimed { .. } | State::Running { .. } | State::Unconfirmed { .. } => true,
        State::Queued { .. }
        | State::Collecting { .. }
        | State::Succeeded { .. }
        | State::Failed { .. }
        | State::Canceled { .. } => false,
    };
    let attempt = generation.attempts.last().filter(|attempt| under_way && attempt.holds_slot)?;
    Some((attempt.provider.clone(), attempt.key.clone()?, holder(generation, attempt.number)))
}

/// What a step of a generation means for its slot and its place in the line; it is written with the step.
pub fn pool_changes(before: &Generation, after: &Generation) -> Vec<PoolChange> {
    let mut changes = Vec::new();
    if let Some(waiting) = waiting_of(before).filter(|own| waiting_of(after) != Some(own)) {
        changes.push(PoolChange::Leave { waiting: waiting.clone() });
    }
    match (slot_of(before), slot_of(after)) {
        (Some((provider, key, holder)), None) => changes.push(PoolChange::Release { provider, key, holder }),
        (Some((provider, key, holder)), Some(_)) => {
            let started = !matches!(before.state, State::Running { .. });
            if let State::Running { expires_at, .. } = &after.state
                && started
            {
                changes.push(PoolChange::Renew { provider, key, holder, until: *expires_at + MARGIN });
            }
        }
        (None, _) => {}
    }
    changes
}

/// Whether others who wait for the provider may go on after this step: a slot became free, its holder was lost, or the one that they stood
/// behind has left the line.
pub fn lets_others_go_on(before: &Generation, after: &Generation) -> bool {
    let lost = matches!((&before.state, &after.state), (State::Claimed { .. }, State::Unconfirmed { .. }));
    let frees_a_slot = slot_of(before).is_some() && (slot_of(after).is_none() || lost);
    let leaves_the_line = waiting_of(before).is_some() && waiting_of(after).is_none();
    frees_a_slot || leaves_the_line
}
