//! Credits given and taken by hand. The ledger itself remembers a top-up for ever: its entry is named after the `Idempotency-Key`.

use jiff::Timestamp;
use lambda_http::{Body, Request, Response};
use serde_json::json;
use shared::api::{AddCredits, AddedCredits, Problem};
use shared::backend::Backend;
use shared::credits::Credits;
use shared::endpoint::{self, Caller};
use shared::idempotency::IdempotencyClaim;
use shared::ids::AccountId;
use shared::ledger::{Entry, EntryKind, Note, Posting};
use shared::store::Changed;

use crate::accounts::{NOTHING, created, find, future, not_written, replayed};

/// What is asked for, understood.
struct Wanted {
    /// Names the entry, whatever its kind.
    reference: String,
    amount: i64,
    reason: String,
    ends_at: Option<Timestamp>,
}

/// Give an account credits (`amount` above zero), or take some of what is available (below zero). `Idempotency-Key` is needed: the entry is named
/// after it, so that a top-up that is asked for again is the same one for ever. With another amount, end or reason the key is refused.
#[utoipa::path(post, path = "/v1/admin/accounts/{account}/credits", request_body = AddCredits,
    params(
        ("account" = String, Path),
        ("Idempotency-Key" = String, Header, description = "Names the change within this account, for ever; 1 to 255 characters"),
    ),
    responses(
        (status = 201, body = AddedCredits), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem, description = "More than is available; nothing was changed"),
        (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ))]
pub async fn add_credits(backend: &Backend, caller: Caller, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
    let asked: AddCredits = endpoint::json_body(request, AddCredits::shape())?;
    let account = find(backend, id).await?.id;
    let claim = IdempotencyClaim::of(request, account, &json!(asked))?.ok_or_else(no_key)?.by_hand();
    let (wanted, given_end) = understood(asked, claim.key_hash.clone())?;
    if let Some(entry) = existing(backend, account, &wanted.reference).await? {
        return again(entry, &wanted);
    }
    let now = backend.now();
    // Only now: what was given before its end may be asked for again after it.
    given_end.map(|end| future(&end, "ends_at", now)).transpose()?;
    let (posting, kind) = posting(&wanted, caller)?;
    let entry_id = format!("{}#{}", kind.word(), wanted.reference);
    let action = backend.action(account, Some(caller.key), kind.word(), &entry_id, Some(&wanted.reason));
    let changed = backend.store.post_by_hand(account, &posting, &action, Some(&claim), |_| NOTHING, now).await;
    let entry = existing(backend, account, &wanted.reference).await?;
    match (&changed, entry) {
        (Ok(Changed::Done(_)), Some(entry)) => {
            tracing::info!(%account, amount = wanted.amount, "credits changed by hand");
            Ok(created(&AddedCredits::from(entry)))
        }
        // A twin was faster, or the answer was lost.
        (Ok(Changed::AlreadySo | Changed::Refused(_)) | Err(_), Some(entry)) => again(entry, &wanted),
        (_, None) => Err(not_written(changed)),
    }
}

fn no_key() -> Problem {
    let detail = "`Idempotency-Key` is needed: it names this change, so that sending it again cannot do it twice";
    Problem::new(422, "missing_param", "Invalid parameter", detail).at("Idempotency-Key")
}

/// What is asked for, and its end as it was written.
fn understood(asked: AddCredits, reference: String) -> Result<(Wanted, Option<String>), Problem> {
    let AddCredits { amount, reason, ends_at: given_end } = asked;
    let wrong = |code, at: &str, detail: &str| Problem::new(422, code, "Invalid parameter", detail).at(at);
    if amount == 0 {
        return Err(wrong("out_of_range", "amount", "has to be above zero to give, or below zero to take"));
    }
    if amount < 0 && given_end.is_some() {
        return Err(wrong("invalid_param", "ends_at", "only credits that are given can end; leave it out"));
    }
    let ends_at = given_end.as_ref().map(|end| future(end, "ends_at", Timestamp::MIN)).transpose()?;
    Ok((Wanted { reference, amount, reason, ends_at }, given_end))
}

fn posting(wanted: &Wanted, caller: Caller) -> Result<(Posting, EntryKind), Problem> {
    let reference = wanted.reference.clone();
    let note = Note { by: Some(caller.key), reason: wanted.reason.clone() };
    if wanted.amount < 0 {
        return Ok((Posting::Adjust { reference, change: wanted.amount, note }, EntryKind::Adjust));
    }
    let amount = Credits::new(wanted.amount.unsigned_abs())
        .map_err(|error| Problem::new(422, "out_of_range", "Invalid parameter", error.to_string()).at("amount"))?;
    Ok((Posting::Grant { reference, amount, ends_at: wanted.ends_at, note: Some(note) }, EntryKind::Grant))
}

/// The entry of this reference, of either kind.
async fn existing(backend: &Backend, account: AccountId, reference: &str) -> Result<Option<Entry>, Problem> {
    for kind in [EntryKind::Grant, EntryKind::Adjust] {
        if let Some(entry) = backend.store.entry(account, &format!("{}#{reference}", kind.word())).await? {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// The answer to a change that was made before.
fn again(entry: Entry, wanted: &Wanted) -> Result<Response<Body>, Problem> {
    let differs = if entry.available_change != wanted.amount {
        Some(("amount", entry.available_change.to_string()))
    } else if entry.ends_at != wanted.ends_at {
        Some(("ends_at", entry.ends_at.map_or_else(|| "none".to_owned(), |end| end.to_string())))
    } else if entry.note.as_ref().map(|note| &note.reason) != Some(&wanted.reason) {
        Some(("reason", entry.note.as_ref().map(|note| note.reason.clone()).unwrap_or_default()))
    } else {
        None
    };
    let Some((field, was)) = differs else { return Ok(replayed(&AddedCredits::from(entry))) };
    let detail = format!("this `Idempotency-Key` was used with the {field} `{was}`: use a new key for another change");
    Err(Problem::new(422, "idempotency_key_reused", "Idempotency key reused", detail).at(field))
}
