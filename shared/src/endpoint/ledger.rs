//! The ledger of an account, as its owner and operators see it.

use lambda_http::{Body, Request, Response};

use super::{bad_cursor, json, limit, query};
use crate::api::{EntryView, LedgerView, Problem};
use crate::backend::Backend;
use crate::ids::AccountId;

/// The page of an account's ledger that a request asks for: every change of the balance, newest first.
pub async fn ledger(backend: &Backend, request: &Request, account: AccountId) -> Result<Response<Body>, Problem> {
    let cursor = query(request, "cursor");
    let page = backend.store.ledger(account, cursor.as_deref(), limit(request)?).await?.ok_or_else(bad_cursor)?;
    let entries = page.items.into_iter().map(EntryView::from).collect();
    Ok(json(200, &LedgerView { entries, next_cursor: page.next }))
}
