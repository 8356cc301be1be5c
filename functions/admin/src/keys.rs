//! API keys of an account: made, listed, revoked, replaced. A key is told once, in the answer that made it.

use jiff::{SignedDuration, Timestamp};
use lambda_http::{Body, Request, Response};
use serde_json::json;
use shared::api::{CreateKey, CreatedKey, KeyList, KeyView, Problem, RotateKey};
use shared::backend::Backend;
use shared::endpoint::{self, Caller};
use shared::idempotency::{IdempotencyClaim, IdempotencyRecord};
use shared::ids::ApiKeyId;
use shared::keys::{ApiKey, KeyTerms};
use shared::ledger::Account;
use shared::store::{Changed, FiledKey, StoreError};

use crate::accounts::{created, earlier, find, future, is_empty, not_written, replayed};

/// How often the end of a key is decided anew because somebody else changed it meanwhile.
const MAX_RACES: u32 = 10;

/// Make an API key. The key itself is in this answer alone: it is kept nowhere, and the same request with the same `Idempotency-Key` gets the
/// first answer with `key: null`. Whoever lost the answer revokes that key and makes another one.
#[utoipa::path(post, path = "/v1/admin/accounts/{account}/keys", request_body = CreateKey,
    params(
        ("account" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sending the same key and body again gives the first answer again, without the API key; remembered for 24 hours"),
    ),
    responses(
        (status = 201, body = CreatedKey), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem, description = "The account has as many keys as it may have"),
        (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ))]
pub async fn create_key(backend: &Backend, caller: Caller, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
    let asked: CreateKey = endpoint::json_body(request, CreateKey::shape())?;
    let account = find(backend, id).await?.id;
    let claim = IdempotencyClaim::of(request, caller.account, &json!(asked))?;
    if let Some(earlier) = earlier(backend, claim.as_ref()).await? {
        return Ok(replayed(&earlier.answer));
    }
    let now = backend.now();
    let expires_at = end_of_life(&asked, now)?;
    let CreateKey { name, scopes, limits, requests_per_second, .. } = asked;
    let terms = KeyTerms { name, scopes, limits, requests_per_second, expires_at, replaces: None };
    let (text, filed) = FiledKey::make(account, terms, now);
    let action = backend.action(account, Some(caller.key), "create_key", &filed.key.id.to_string(), filed.key.name.as_deref());
    let changed = backend.store.add_key(&filed, &action, remembered(claim.as_ref(), &filed, now), now).await;
    answer(backend, text, &filed, changed, claim.as_ref()).await
}

/// Every API key of an account that ever was, oldest first, with what it spent; never the keys themselves.
#[utoipa::path(get, path = "/v1/admin/accounts/{account}/keys", params(("account" = String, Path)), responses(
    (status = 200, body = KeyList), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
))]
pub async fn keys(backend: &Backend, id: &str) -> Result<Response<Body>, Problem> {
    let account = find(backend, id).await?;
    let now = backend.now();
    let keys = backend.store.keys(account.id).await?;
    let view =
        |(filed, used): &(FiledKey, Option<Timestamp>)| KeyView::of(&filed.key, account.keys.get(&filed.key.id), *used, now);
    Ok(endpoint::json(200, &KeyList { keys: keys.iter().map(view).collect() }))
}

/// Revoke an API key. From this answer on it spends nothing, wherever it is still known: the account itself refuses. What only reads may be
/// answered for another minute, for as long as the gateway remembers the key. Revoking it again changes nothing.
#[utoipa::path(delete, path = "/v1/admin/accounts/{account}/keys/{key}", params(("account" = String, Path), ("key" = String, Path)), responses(
    (status = 200, body = KeyView), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 503, body = Problem),
))]
pub async fn revoke_key(backend: &Backend, caller: Caller, id: &str, key: &str) -> Result<Response<Body>, Problem> {
    let account = find(backend, id).await?;
    for _ in 0..MAX_RACES {
        let before = find_key(backend, &account, key).await?;
        let now = backend.now();
        let Some(revoked) = before.key.revoked(now) else { return Ok(shown(&account, &before.key, now)) };
        let ended = FiledKey { key: revoked, ..before.clone() };
        let action = backend.action(account.id, Some(caller.key), "revoke_key", &ended.key.id.to_string(), None);
        match backend.store.end_key(&before, &ended, None, &action, None, now).await? {
            Changed::Done(account) => return Ok(shown(&account, &ended.key, now)),
            Changed::AlreadySo => {}
            Changed::Refused(refusal) => return Err(not_written(Ok(Changed::Refused(refusal)))),
        }
    }
    Err(StoreError::TooBusy { tries: MAX_RACES }.into())
}

/// Replace an API key: a new one with the same name, scopes and limits, which does not end by itself; the old one ends after the grace, a day unless
/// said. Both work until then. As with a new key, the key itself is in this answer alone.
#[utoipa::path(post, path = "/v1/admin/accounts/{account}/keys/{key}/rotate", request_body = RotateKey,
    params(
        ("account" = String, Path), ("key" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sending the same key and body again gives the first answer again, without the API key; remembered for 24 hours"),
    ),
    responses(
        (status = 201, body = CreatedKey), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem, description = "The key has ended, or the account has as many as it may have"),
        (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ))]
pub async fn rotate_key(
    backend: &Backend,
    caller: Caller,
    request: &Request,
    id: &str,
    key: &str,
) -> Result<Response<Body>, Problem> {
    let asked: RotateKey = match is_empty(request) {
        true => RotateKey::default(),
        false => endpoint::json_body(request, RotateKey::shape())?,
    };
    let account = find(backend, id).await?;
    let claim = IdempotencyClaim::of(request, caller.account, &json!(asked))?;
    for _ in 0..MAX_RACES {
        if let Some(earlier) = earlier(backend, claim.as_ref()).await? {
            return Ok(replayed(&earlier.answer));
        }
        let before = find_key(backend, &account, key).await?;
        let now = backend.now();
        let end = now + SignedDuration::from_secs(asked.grace_seconds);
        let ended = FiledKey { key: before.key.ending(end, now).ok_or_else(ended_already)?, ..before.clone() };
        let (text, new) = FiledKey::make(account.id, successor(&before.key), now);
        let action = backend.action(account.id, Some(caller.key), "rotate_key", &before.key.id.to_string(), None);
        let remembered = remembered(claim.as_ref(), &new, now);
        match backend.store.end_key(&before, &ended, Some(&new), &action, remembered, now).await {
            Ok(Changed::AlreadySo) => {}
            changed => return answer(backend, text, &new, changed, claim.as_ref()).await,
        }
    }
    Err(StoreError::TooBusy { tries: MAX_RACES }.into())
}

/// What a key is to be that takes the place of another one.
fn successor(key: &ApiKey) -> KeyTerms {
    let ApiKey { id, name, scopes, limits, requests_per_second, .. } = key.clone();
    KeyTerms { name, scopes, limits, requests_per_second, expires_at: None, replaces: Some(id) }
}

fn ended_already() -> Problem {
    let detail = "the key has ended, so that there is nothing to replace: make a new one";
    Problem::new(409, "key_ended", "Key ended", detail)
}

async fn find_key(backend: &Backend, account: &Account, key: &str) -> Result<FiledKey, Problem> {
    let not_found = || Problem::not_found("API key of this account", key);
    let id: ApiKeyId = key.parse().map_err(|_| not_found())?;
    backend.store.key(account.id, id).await?.ok_or_else(not_found)
}

fn shown(account: &Account, key: &ApiKey, now: Timestamp) -> Response<Body> {
    endpoint::json(200, &KeyView::of(key, account.keys.get(&key.id), None, now))
}

fn end_of_life(asked: &CreateKey, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    match (&asked.expires_at, asked.expires_in_seconds) {
        (Some(_), Some(_)) => {
            let detail = "give either this or `expires_at`, not both";
            Err(Problem::new(422, "invalid_param", "Invalid parameter", detail).at("expires_in_seconds"))
        }
        (Some(text), None) => future(text, "expires_at", now).map(Some),
        (None, Some(seconds)) => Ok(Some(now + SignedDuration::from_secs(seconds))),
        (None, None) => Ok(None),
    }
}

fn told(key: Option<String>, filed: &FiledKey, now: Timestamp) -> CreatedKey {
    CreatedKey { key, api_key: KeyView::of(&filed.key, None, None, now) }
}

fn remembered<'a>(
    claim: Option<&'a IdempotencyClaim>,
    filed: &FiledKey,
    now: Timestamp,
) -> Option<(&'a IdempotencyClaim, IdempotencyRecord)> {
    claim.map(|claim| (claim, claim.record(filed.key.id, json!(told(None, filed, now)), now)))
}

/// The answer that tells the new key, if it was filed; else that of the request that had the same `Idempotency-Key`.
async fn answer(
    backend: &Backend,
    text: String,
    filed: &FiledKey,
    changed: Result<Changed, StoreError>,
    claim: Option<&IdempotencyClaim>,
) -> Result<Response<Body>, Problem> {
    let ApiKey { account, id, created_at, .. } = filed.key;
    let is_filed = match &changed {
        Ok(Changed::Done(_)) => true,
        // The answer was lost, or a twin was faster: the table knows which.
        Ok(Changed::AlreadySo | Changed::Refused(_)) | Err(_) => backend.store.key(account, id).await?.is_some(),
    };
    if is_filed {
        tracing::info!(%account, key = %id, "API key made");
        return Ok(created(&told(Some(text), filed, created_at)));
    }
    match earlier(backend, claim).await? {
        Some(earlier) => Ok(replayed(&earlier.answer)),
        None => Err(not_written(changed)),
    }
}
