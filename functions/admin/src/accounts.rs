//! Accounts: opened, looked at, changed; their ledgers, and what was done to them by hand.

use futures_util::future::try_join_all;
use lambda_http::{Body, Request, Response};
use serde_json::{Value, json};
use shared::api::{
    AccountList, AccountView, ActionList, ActionView, ChangeAccount, CreateAccount, LedgerQuery, LedgerView, Problem,
};
use shared::backend::Backend;
use shared::endpoint::{self, Caller};
use shared::idempotency::{Earlier, IdempotencyClaim, IdempotencyRecord, key_reused};
use shared::ids::AccountId;
use shared::ledger::{Account, Note, Posting, Refusal};
use shared::store::{Action, Changed, StoreError};

/// Open an account. The opening grant is an entry of its ledger.
#[utoipa::path(post, path = "/v1/admin/accounts", request_body = CreateAccount,
    params(("Idempotency-Key" = Option<String>, Header, description = "Sending the same key and body again gives the first answer again; remembered for 24 hours")),
    responses(
        (status = 201, body = AccountView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ))]
pub async fn create_account(backend: &Backend, caller: Caller, request: &Request) -> Result<Response<Body>, Problem> {
    let asked: CreateAccount = endpoint::json_body(request, CreateAccount::shape())?;
    let claim = IdempotencyClaim::of(request, caller.account, &json!(asked))?;
    if let Some(earlier) = earlier(backend, claim.as_ref()).await? {
        return Ok(replayed(&earlier.answer));
    }
    let now = backend.now();
    let (unix_ms, random) = backend.id_parts();
    let id = AccountId::from_parts(unix_ms, random);
    let CreateAccount { name, limits, requests_per_second, credits } = asked;
    let account = Account { name, limits, requests_per_second, ..Account::open(id, now) };
    let opening = Posting::Grant {
        reference: "opening".to_owned(),
        amount: credits.unwrap_or(backend.config.starting_credits),
        ends_at: None,
        note: Some(Note { by: Some(caller.key), reason: "the opening grant".to_owned() }),
    };
    let opened = account.post(&opening, now).map_err(|refusal| refused(&refusal))?.account;
    let view = AccountView::of(&opened, now);
    let action = backend.action(id, Some(caller.key), "open_account", &id.to_string(), None);
    let remembered = claim.as_ref().map(|claim| (claim, claim.record(id, json!(view), now)));
    let changed = backend.store.open_account(&account, Some(&opening), &action, remembered, now).await;
    if let Ok(Changed::Done(_)) = changed {
        tracing::info!(account = %id, "account opened");
        return Ok(created(&view));
    }
    // The answer was lost, or a twin was faster: the table knows which.
    if backend.store.account(id).await?.is_some() {
        return Ok(created(&view));
    }
    match earlier(backend, claim.as_ref()).await? {
        Some(earlier) => Ok(replayed(&earlier.answer)),
        None => Err(not_written(changed)),
    }
}

/// All accounts, newest first.
#[utoipa::path(get, path = "/v1/admin/accounts",
    params(("limit" = Option<u32>, Query, minimum = 1, maximum = 100), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = AccountList), (status = 401, body = Problem), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub async fn accounts(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    let cursor = endpoint::query(request, "cursor");
    let page = backend.store.account_ids(cursor.as_deref(), endpoint::limit(request)?).await?.ok_or_else(endpoint::bad_cursor)?;
    let accounts = try_join_all(page.items.iter().map(|id| backend.store.account(*id))).await?;
    let now = backend.now();
    let accounts = accounts.iter().flatten().map(|account| AccountView::of(account, now)).collect();
    Ok(endpoint::json(200, &AccountList { accounts, next_cursor: page.next }))
}

/// One account.
#[utoipa::path(get, path = "/v1/admin/accounts/{account}", params(("account" = String, Path)), responses(
    (status = 200, body = AccountView), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
))]
pub async fn account(backend: &Backend, id: &str) -> Result<Response<Body>, Problem> {
    let account = find(backend, id).await?;
    Ok(endpoint::json(200, &AccountView::of(&account, backend.now())))
}

/// Change an account's settings, or suspend it: nothing new is accepted from it then, and what is in progress ends as usual. What is left
/// out stays; null takes away. A change that changes nothing is not among the actions.
#[utoipa::path(patch, path = "/v1/admin/accounts/{account}", request_body = ChangeAccount, params(("account" = String, Path)), responses(
    (status = 200, body = AccountView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
))]
pub async fn change_account(backend: &Backend, caller: Caller, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
    let asked: ChangeAccount = endpoint::json_body(request, ChangeAccount::shape())?;
    let account = find(backend, id).await?;
    let change = asked.change();
    let wanted = account.changed(&change).account;
    let is_so = Account { version: account.version, ..wanted } == account;
    let account = if is_so {
        account
    } else {
        let what = match asked.suspended.filter(|suspended| *suspended != account.suspended) {
            Some(true) => "suspend_account",
            Some(false) => "resume_account",
            None => "change_account",
        };
        let action = backend.action(account.id, Some(caller.key), what, &account.id.to_string(), asked.reason.as_deref());
        match backend.store.change_account(account.id, &change, &action).await? {
            Changed::Done(account) => *account,
            // Our own transaction, whose answer was lost.
            Changed::AlreadySo => find(backend, id).await?,
            Changed::Refused(refusal) => return Err(refused(&refusal)),
        }
    };
    Ok(endpoint::json(200, &AccountView::of(&account, backend.now())))
}

/// Every change of an account's balance, newest first: what its owner sees by `GET /v1/account/ledger`.
#[utoipa::path(get, path = "/v1/admin/accounts/{account}/ledger",
    params(
        ("account" = String, Path),
        LedgerQuery,
    ),
    responses(
        (status = 200, body = LedgerView), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem),
    ))]
pub async fn account_ledger(backend: &Backend, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
    endpoint::ledger(backend, request, find(backend, id).await?.id).await
}

/// What was done to an account by hand, newest first.
#[utoipa::path(get, path = "/v1/admin/accounts/{account}/actions",
    params(("account" = String, Path), ("limit" = Option<u32>, Query, minimum = 1, maximum = 100), ("cursor" = Option<String>, Query)),
    responses(
        (status = 200, body = ActionList), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem),
    ))]
pub async fn account_actions(backend: &Backend, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
    let account = find(backend, id).await?.id;
    let cursor = endpoint::query(request, "cursor");
    let page = backend.store.actions(account, cursor.as_deref(), endpoint::limit(request)?).await?;
    let page = page.ok_or_else(endpoint::bad_cursor)?;
    let view = |action: Action| {
        let Action { id, account, at, by, what, about, reason } = action;
        ActionView { id, at, by, what, about, reason, account_id: account }
    };
    Ok(endpoint::json(200, &ActionList { actions: page.items.into_iter().map(view).collect(), next_cursor: page.next }))
}

/// The account of this id.
pub(crate) async fn find(backend: &Backend, id: &str) -> Result<Account, Problem> {
    let not_found = || Problem::not_found("account", id);
    let account = id.parse().map_err(|_| not_found())?;
    backend.store.account(account).await?.ok_or_else(not_found)
}

/// What is remembered of an earlier request with this key; another request with it is refused.
pub(crate) async fn earlier(backend: &Backend, claim: Option<&IdempotencyClaim>) -> Result<Option<IdempotencyRecord>, Problem> {
    let Some(claim) = claim else { return Ok(None) };
    match backend.store.earlier(claim, backend.now()).await? {
        None => Ok(None),
        Some(Earlier::Same(record)) => Ok(Some(record)),
        Some(Earlier::Other) => Err(key_reused()),
    }
}

pub(crate) fn created(body: &impl serde::Serialize) -> Response<Body> {
    endpoint::json(201, body)
}

/// The first answer, again.
pub(crate) fn replayed(answer: &impl serde::Serialize) -> Response<Body> {
    let mut response = created(answer);
    endpoint::mark_replayed(&mut response);
    response
}

/// Why nothing was written, when the table holds neither this change nor an earlier one with its key.
pub(crate) fn not_written(changed: Result<Changed, StoreError>) -> Problem {
    match changed {
        Ok(Changed::Refused(refusal)) => refused(&refusal),
        // Somebody else changed the same record at that moment; asking again decides anew.
        Ok(Changed::AlreadySo | Changed::Done(_)) => Problem::unavailable(),
        Err(error) => error.into(),
    }
}

/// What an account does not allow an operator.
pub(crate) fn refused(refusal: &Refusal) -> Problem {
    let conflict = |code, title| Problem::new(409, code, title, format!("{refusal}; nothing was changed"));
    match refusal {
        Refusal::InsufficientCredits { .. } => conflict("insufficient_credits", "Insufficient credits").at("amount"),
        Refusal::Overflow => conflict("balance_too_large", "Balance too large").at("amount"),
        Refusal::TooManyEndingGrants => conflict("too_many_ending_grants", "Too many ending grants").at("ends_at"),
        Refusal::TooManyKeys => conflict("too_many_keys", "Too many keys"),
        Refusal::EndedGrant { .. } => {
            Problem::new(422, "out_of_range", "Invalid parameter", "has to be in the future").at("ends_at")
        }
        Refusal::Suspended
        | Refusal::KeyEnded
        | Refusal::Limit { .. }
        | Refusal::ChargeAboveHold { .. }
        | Refusal::HeldTooLow { .. } => {
            tracing::error!(%refusal, "a change by hand was refused");
            Problem::internal()
        }
    }
}

/// A time in RFC 3339 that has to be ahead.
pub(crate) fn future(text: &str, at: &str, now: jiff::Timestamp) -> Result<jiff::Timestamp, Problem> {
    let wrong = |code, detail: &str| Problem::new(422, code, "Invalid parameter", detail).at(at);
    let time: jiff::Timestamp =
        text.parse().map_err(|_| wrong("invalid_param", "has to be a time in RFC 3339, as `2030-01-31T00:00:00Z`"))?;
    if time <= now {
        return Err(wrong("out_of_range", "has to be in the future"));
    }
    Ok(time)
}

/// A body that may be left out altogether.
pub(crate) fn is_empty(request: &Request) -> bool {
    endpoint::bytes(request).iter().all(u8::is_ascii_whitespace)
}

/// Nothing to remember: what an answer says is in the table for good.
pub(crate) const NOTHING: Value = Value::Null;
