//! Quotes, new generations and their cancellation: the price is held, the record written and the idempotency key taken in one transaction.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lambda_http::{Body, Request, Response};
use serde_json::{Map, Value, json};
use shared::api::{AssetStatus, CreateGeneration, CreatedGeneration, GenerationView, Problem, Status};
use shared::backend::{Applied, Backend};
use shared::catalog::{Catalog, Offer};
use shared::endpoint::{self, Caller};
use shared::generation::{Generation, Input, Order};
use shared::idempotency::{IdempotencyClaim, key_reused};
use shared::ids::{AccountId, GenerationId};
use shared::ledger::{LimitReached, Refusal, Whose};
use shared::lifecycle::{Event, Unchanged};
use shared::store::{Accepted, StoreError};

pub mod quotes;
mod wanted;

use wanted::{Asked, Wanted};

/// Counted from the request's arrival: an HTTP API answers within 30 s or not at all.
const MAX_WAIT_SECONDS: i64 = 22;

/// Answers `POST /v1/quotes`, `POST /v1/generations` and `POST /v1/generations/{id}/cancel`.
pub async fn handle(backend: &Backend, request: Request) -> Response<Body> {
    endpoint::answer(backend, &request, route(backend, &request)).await
}

async fn route(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    match (request.method().as_str(), endpoint::segments(request).as_slice()) {
        ("POST", ["v1", "quotes"]) => quotes::quote(backend, request).await,
        ("POST", ["v1", "generations"]) => create(backend, request).await,
        ("POST", ["v1", "generations", id, "cancel"]) => cancel(backend, request, id).await,
        _ => Err(endpoint::no_route(request)),
    }
}

/// Ask for a generation. Its price is held now and charged when it succeeds.
#[utoipa::path(post, path = "/v1/generations", request_body = CreateGeneration,
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "Sending the same key and body again gives the first answer again; 1 to 255 characters, remembered for 24 hours"),
        ("Prefer" = Option<String>, Header, description = "`wait=n`: answer when it has ended, or after n seconds (at most 22)"),
    ),
    responses(
        (status = 202, body = CreatedGeneration, description = "Accepted; with `Prefer: wait`, not ended in time"),
        (status = 200, body = GenerationView, description = "Ended while waiting"),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 402, body = Problem),
        (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ))]
pub async fn create(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    let started = backend.clock.now();
    let caller = endpoint::user(backend, request)?;
    let account = caller.account;
    // First: what is wrong with the table or the way to it shows before a fresh process has compiled the schema of the body.
    let catalog = backend.catalog().await;
    let asked: CreateGeneration = endpoint::json_body(request, CreateGeneration::shape())?;
    let until = wait(request).map(|seconds| started + SignedDuration::from_secs(seconds));
    let claim = IdempotencyClaim::of(request, account, &json!(asked))?;
    let accepted = match prepare(backend, catalog, caller, &asked).await {
        Ok(generation) => answer(backend.accept(&generation, claim.as_ref(), None).await?)?,
        // A repeated request gets its first answer even if it would be refused today.
        Err(problem) => match &claim {
            Some(claim) => match backend.store.earlier_generation(claim, backend.now()).await? {
                Some(Accepted::Replayed(created)) => (created, true),
                Some(Accepted::KeyReused | Accepted::New(_) | Accepted::Refused(_)) | None => return Err(problem),
            },
            None => return Err(problem),
        },
    };
    let (created, replayed) = accepted;
    let ended = match until {
        Some(until) => ended_view(backend, created.id, until).await,
        None => None,
    };
    let mut response = match ended {
        Some(view) => endpoint::json(200, &view),
        None => endpoint::json(202, &created),
    };
    let headers = response.headers_mut();
    if let Ok(location) = format!("/v1/generations/{}", created.id).parse() {
        headers.insert("location", location);
    }
    if replayed {
        endpoint::mark_replayed(&mut response);
    }
    Ok(response)
}

/// Checks what was asked and makes the record of it, not yet written.
async fn prepare(
    backend: &Backend,
    catalog: Result<Arc<Catalog>, StoreError>,
    caller: Caller,
    asked: &CreateGeneration,
) -> Result<Generation, Problem> {
    let CreateGeneration { model, tool, params, prompt_syntax, .. } = asked;
    let of = Asked { model: model.as_deref(), tool: tool.as_deref(), params, prompt_syntax: *prompt_syntax };
    let wanted = Wanted::read(backend, &*catalog?, of).await?;
    let cost = match &asked.quote {
        Some(token) => quotes::redeem(backend, token, caller.account, &wanted)?,
        None => wanted.cost()?,
    };
    let Wanted { offer, params, candidates, .. } = wanted;
    let inputs = inputs(backend, caller.account, &offer, &params).await?;
    let box_id = endpoint::open_box(backend, caller.account, asked.box_id.as_deref()).await?;
    let now = backend.now();
    let (unix_ms, random) = backend.id_parts();
    let (model, kind) = (offer.name().to_owned(), offer.kind());
    let (finish, erase_inputs) = (offer.finish(), offer.erases_inputs(&params));
    let order =
        Order { model, kind, params, inputs, price_by_results: cost.by_results, candidates, box_id, finish, erase_inputs };
    let due_at = now + backend.config.limits.requeue_every;
    let id = GenerationId::from_parts(unix_ms, random);
    Ok(Generation::accept(id, caller.account, order, cost.credits, Some(caller.key), now, due_at))
}

/// The answer to a request that was written, or was written before.
fn answer(accepted: Accepted) -> Result<(CreatedGeneration, bool), Problem> {
    match accepted {
        Accepted::New(created) => Ok((created, false)),
        Accepted::Replayed(created) => Ok((created, true)),
        Accepted::KeyReused => Err(key_reused()),
        Accepted::Refused(refusal) => Err(refused(&refusal)),
    }
}

/// Stop a generation. One that a provider works on is stopped by the provider first: until then it is shown as it is, with
/// `cancel_requested_at`.
#[utoipa::path(post, path = "/v1/generations/{id}/cancel", params(("id" = String, Path)), responses(
    (status = 200, body = GenerationView, description = "Canceled"),
    (status = 202, body = GenerationView, description = "Noted; the provider is being asked"),
    (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem, description = "Too late"),
))]
pub async fn cancel(backend: &Backend, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::user(backend, request)?;
    let not_found = || Problem::not_found("generation", id);
    let generation_id: GenerationId = id.parse().map_err(|_| not_found())?;
    let generation = backend.store.generation(generation_id).await?.filter(|generation| generation.account == account);
    let applied = backend.apply(generation.ok_or_else(not_found)?, &Event::CancelRequested).await?;
    if let Applied::Unchanged(generation, Unchanged::TooLate) = &applied {
        let detail = format!("the generation is {} already; nothing was changed", generation.state.phase());
        return Err(Problem::new(409, "too_late", "Too late to cancel", detail));
    }
    let view = backend.view(applied.generation()).await?;
    let status = if view.status == Status::Canceled { 200 } else { 202 };
    Ok(endpoint::json(status, &view))
}

async fn inputs(
    backend: &Backend,
    account: AccountId,
    offer: &Offer,
    params: &Map<String, Value>,
) -> Result<Vec<Input>, Problem> {
    let mut inputs: Vec<Input> = Vec::new();
    for (name, id) in offer.params().assets(params) {
        let at = format!("params.{name}");
        let wrong = |code, detail: String| Problem::new(422, code, "Invalid parameter", detail).at(at.clone());
        let asset =
            backend.store.asset(account, id).await?.ok_or_else(|| wrong("unknown_asset", format!("there is no asset `{id}`")))?;
        match asset.status {
            AssetStatus::Ready => {}
            AssetStatus::Pending => {
                return Err(wrong("asset_not_ready", format!("the upload `{id}` has not been completed")));
            }
            AssetStatus::Failed => {
                return Err(wrong("asset_failed", format!("the upload `{id}` failed: announce the file again")));
            }
            AssetStatus::Erased => {
                return Err(wrong("asset_erased", format!("the asset `{id}` was erased: give another one, or upload it again")));
            }
        }
        if asset.is_gone(backend.now()) {
            return Err(wrong(
                "asset_expired",
                format!("the upload `{id}` was kept until its `expires_at` and is gone: upload it again"),
            ));
        }
        offer.params().admits(&name, &asset.content_type, asset.bytes).map_err(|detail| wrong("invalid_param", detail))?;
        if inputs.iter().all(|input| input.asset != id) {
            inputs.push(Input { asset: id, key: asset.key, content_type: asset.content_type, bytes: asset.bytes });
        }
    }
    Ok(inputs)
}

fn refused(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::Suspended => {
            let detail = "this account is suspended: nothing new is accepted; ask whoever runs this service";
            Problem::new(403, "account_suspended", "Account suspended", detail)
        }
        Refusal::KeyEnded => endpoint::unauthenticated(),
        Refusal::Limit { whose, reached } => limited(*whose, *reached),
        Refusal::InsufficientCredits { available, needed } => {
            let detail = format!("this costs {needed} credits, {available} are available; nothing was held");
            Problem::new(402, "insufficient_credits", "Insufficient credits", detail)
        }
        Refusal::Overflow
        | Refusal::TooManyEndingGrants
        | Refusal::TooManyKeys
        | Refusal::EndedGrant { .. }
        | Refusal::ChargeAboveHold { .. }
        | Refusal::HeldTooLow { .. } => {
            tracing::error!(%refusal, "a hold was refused");
            Problem::internal()
        }
    }
}

/// What is in progress ends within minutes, as a rule; a limit of credits is the customer's own budget.
fn limited(whose: Whose, reached: LimitReached) -> Problem {
    const TRY_AGAIN_S: u32 = 10;
    let whose = match whose {
        Whose::Account => "this account",
        Whose::Key => "this API key",
    };
    let detail = format!("the limit of {whose} is reached: {reached}; nothing was held");
    match reached {
        LimitReached::InFlight { .. } => {
            Problem::new(429, "too_many_in_progress", "Too many in progress", detail).retry_after(TRY_AGAIN_S)
        }
        LimitReached::Day { .. } | LimitReached::Month { .. } => {
            Problem::new(402, "spending_limit_reached", "Spending limit reached", detail)
        }
    }
}

/// `Prefer: wait=10` (RFC 7240, which has other and malformed preferences ignored), in seconds.
fn wait(request: &Request) -> Option<i64> {
    let preferences = endpoint::header(request, "prefer")?;
    let seconds = preferences.split(',').find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').parse::<u32>().ok())?
    })?;
    Some(i64::from(seconds).min(MAX_WAIT_SECONDS)).filter(|seconds| *seconds > 0)
}

/// The generation, if it ends in time. It is accepted: whatever goes wrong here, the answer is that it is.
async fn ended_view(backend: &Backend, id: GenerationId, until: Timestamp) -> Option<GenerationView> {
    let mut pause = Duration::from_millis(50);
    loop {
        match backend.load(id).await {
            Ok(generation) if generation.state.is_terminal() => return backend.view(&generation).await.ok(),
            Ok(_) => {}
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, generation = %id, "waiting went wrong"),
        }
        let now = backend.clock.now();
        let left = Duration::try_from(until.duration_since(now)).ok().filter(|left| !left.is_zero())?;
        backend.clock.sleep(pause.min(left)).await;
        pause = (pause * 3 / 2).min(Duration::from_secs(1));
    }
}
