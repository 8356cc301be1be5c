//! The erasure of an account's content, when its owner cannot ask for it.

use lambda_http::{Body, Request, Response};
use shared::api::{ErasureView, Problem};
use shared::backend::Backend;
use shared::endpoint::{self, Caller};
use shared::erasure;
use shared::ids::AccountId;

/// Erase all content that an account has at this moment, as its owner can with `DELETE /v1/account/content`.
#[utoipa::path(delete, path = "/v1/admin/accounts/{account}/content", params(("account" = String, Path)), responses(
    (status = 202, body = ErasureView, description = "Noted"),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem),
))]
pub async fn erase_content(backend: &Backend, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
    let Caller { key, .. } = endpoint::admin(backend, request)?;
    let not_found = || Problem::not_found("account", id);
    let account: AccountId = id.parse().map_err(|_| not_found())?;
    backend.store.account(account).await?.ok_or_else(not_found)?;
    let action = backend.action(account, Some(key), "erase_content", id, None);
    let erasure = erasure::erase_account(backend, account, Some(&action)).await?;
    Ok(endpoint::json(202, &ErasureView::from(&erasure)))
}
