//! Whether the books are right, computed now.

use std::time::Duration;

use lambda_http::{Body, Request, Response};
use shared::api::{Problem, ReconciliationList};
use shared::backend::Backend;
use shared::endpoint;
use shared::ids::AccountId;
use shared::reconcile::Reconciliation;
use shared::store::Store;
use tokio::time::{Instant, timeout_at};

/// All that is read for one answer: the function has 29 s.
const TIME_LIMIT: Duration = Duration::from_secs(22);

/// Look at one account's books: balances and holds are computed anew from its entries and compared with what is said elsewhere.
#[utoipa::path(get, path = "/v1/admin/accounts/{account}/reconciliation", params(("account" = String, Path)), responses(
    (status = 200, body = Reconciliation, description = "Right if `findings_total` is 0"),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 503, body = Problem, description = "It has too many entries for one request; the daily look has more time"),
))]
pub async fn one(backend: &Backend, account: &str) -> Result<Response<Body>, Problem> {
    let not_found = || Problem::not_found("account", account);
    let id: AccountId = account.parse().map_err(|_| not_found())?;
    match timeout_at(Instant::now() + TIME_LIMIT, backend.reconcile(id)).await {
        Ok(found) => Ok(endpoint::json(200, &found?.ok_or_else(not_found)?)),
        Err(_) => {
            let detail = format!("its books cannot be read within {} s; the daily look has more time", TIME_LIMIT.as_secs());
            Err(Problem::new(503, "too_large", "Too large", detail))
        }
    }
}

/// Look at the books of a page of accounts. A page ends early when its accounts take long.
#[utoipa::path(get, path = "/v1/admin/reconciliations",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 100 accounts, 20 unless said"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, body = ReconciliationList), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem),
    ))]
pub async fn page(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    let until = Instant::now() + TIME_LIMIT;
    let cursor = endpoint::query(request, "cursor");
    let accounts = backend.store.account_ids(cursor.as_deref(), endpoint::limit(request)?).await?;
    let accounts = accounts.ok_or_else(endpoint::bad_cursor)?;
    let mut list = ReconciliationList { reconciliations: Vec::new(), unchecked: Vec::new(), next_cursor: accounts.next };
    let mut last = None;
    for id in accounts.items {
        match timeout_at(until, backend.reconcile(id)).await {
            Ok(found) => list.reconciliations.extend(found?),
            // It alone is too large: the next page goes on behind it.
            Err(_) if last.is_none() => list.unchecked.push(id),
            Err(_) => {
                list.next_cursor = last.map(Store::cursor_after);
                break;
            }
        }
        last = Some(id);
    }
    Ok(endpoint::json(200, &list))
}
