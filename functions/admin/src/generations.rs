//! Generations in the hands of operators: looked at, sent on, ended, made once more.

use lambda_http::http::HeaderValue;
use lambda_http::{Body, Request, Response};
use serde_json::json;
use shared::api::{AssetStatus, GenerationActionView, OperatorsGeneration, Problem, WithReason};
use shared::backend::{Applied, Backend};
use shared::endpoint::{self, Caller};
use shared::failure::Charge;
use shared::generation::{Generation, State};
use shared::idempotency::{Earlier, IdempotencyClaim, key_reused};
use shared::ids::GenerationId;
use shared::ledger::{Note, Refusal};
use shared::lifecycle::{Event, Unchanged};
use shared::store::{Accepted, Action, ByHand};

/// A generation of any account, with what operators need to know of it.
#[utoipa::path(get, path = "/v1/admin/generations/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = OperatorsGeneration), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
))]
pub async fn show(backend: &Backend, id: &str) -> Result<Response<Body>, Problem> {
    let generation = load(backend, id).await?;
    Ok(endpoint::json(200, &view(backend, &generation).await?))
}

/// Let a generation go on at once: one that waits is dispatched, asked for or collected now. Of an unconfirmed one this says that the
/// provider does not have the job: it is submitted again. One that has ended is made once more, as a new generation of the same order at
/// the same price.
#[utoipa::path(post, path = "/v1/admin/generations/{id}/retry", request_body = WithReason,
    params(
        ("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sending the same key and body again does nothing again"),
    ),
    responses(
        (status = 200, body = OperatorsGeneration, description = "It goes on"),
        (status = 202, body = OperatorsGeneration, description = "A new generation, with `retry_of`"),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "It is being submitted, an input is gone, or the account does not allow it"),
        (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ))]
pub async fn retry(backend: &Backend, request: &Request, caller: Caller, id: &str) -> Result<Response<Body>, Problem> {
    let (generation, claim, action) = match Order::read(backend, request, caller, id, "retry").await? {
        Order::New { generation, claim, action } => (generation, claim, action),
        Order::Done(id) => return replay(backend, &id).await,
    };
    if !generation.state.is_terminal() {
        let by_hand = by_hand(backend, &action, claim.as_ref(), generation.id);
        match backend.apply_by_hand(generation, &Event::RetryNow, &by_hand).await? {
            Applied::Changed(generation) => return Ok(endpoint::json(200, &view(backend, &generation).await?)),
            // It has ended meanwhile.
            Applied::Unchanged(generation, _) if generation.state.is_terminal() => {
                return make_once_more(backend, &generation, claim.as_ref(), &action).await;
            }
            Applied::Unchanged(_, Unchanged::NotYet | Unchanged::AlreadySo | Unchanged::StaleAttempt | Unchanged::TooLate) => {
                let detail = "it is being submitted at this moment; ask again when the answer is there or has been given up";
                return Err(Problem::new(409, "in_progress", "In progress", detail).retry_after(5));
            }
        }
    }
    make_once_more(backend, &generation, claim.as_ref(), &action).await
}

/// End a generation that has not ended, and give its credits back. A result that comes later is stored and not charged.
#[utoipa::path(post, path = "/v1/admin/generations/{id}/release", request_body = WithReason,
    params(
        ("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sending the same key and body again does nothing again"),
    ),
    responses(
        (status = 200, body = OperatorsGeneration, description = "It has ended"),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "It has ended already"),
        (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ))]
pub async fn release(backend: &Backend, request: &Request, caller: Caller, id: &str) -> Result<Response<Body>, Problem> {
    end(backend, request, caller, id, Charge::None).await
}

/// End a generation that has not ended, and charge its full price. A result that comes later is stored.
#[utoipa::path(post, path = "/v1/admin/generations/{id}/charge", request_body = WithReason,
    params(
        ("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sending the same key and body again does nothing again"),
    ),
    responses(
        (status = 200, body = OperatorsGeneration, description = "It has ended"),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "It has ended already"),
        (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ))]
pub async fn charge(backend: &Backend, request: &Request, caller: Caller, id: &str) -> Result<Response<Body>, Problem> {
    end(backend, request, caller, id, Charge::Full).await
}

async fn end(backend: &Backend, request: &Request, caller: Caller, id: &str, charge: Charge) -> Result<Response<Body>, Problem> {
    let what = match charge {
        Charge::None => "release",
        Charge::Full => "charge",
    };
    let (generation, claim, action) = match Order::read(backend, request, caller, id, what).await? {
        Order::New { generation, claim, action } => (generation, claim, action),
        Order::Done(id) => return replay(backend, &id).await,
    };
    let note = Note { by: action.by, reason: action.reason.clone().unwrap_or_default() };
    let by_hand = by_hand(backend, &action, claim.as_ref(), generation.id);
    let applied = backend.apply_by_hand(generation, &Event::Resolve { charge, note }, &by_hand).await?;
    match &applied {
        Applied::Unchanged(generation, Unchanged::TooLate) => Err(ended_already(generation)),
        Applied::Changed(_) | Applied::Unchanged(_, Unchanged::AlreadySo | Unchanged::NotYet | Unchanged::StaleAttempt) => {
            Ok(endpoint::json(200, &view(backend, applied.generation()).await?))
        }
    }
}

/// What is to be done.
#[allow(clippy::large_enum_variant, reason = "made once a request and taken apart at once")]
enum Order {
    New {
        generation: Generation,
        claim: Option<IdempotencyClaim>,
        action: Action,
    },
    /// It was done by an earlier request with this key, to this generation or by making it.
    Done(String),
}

impl Order {
    async fn read(backend: &Backend, request: &Request, caller: Caller, id: &str, what: &str) -> Result<Self, Problem> {
        let WithReason { reason } = endpoint::json_body(request, WithReason::shape())?;
        let claim = IdempotencyClaim::of(request, caller.account, &json!({ "reason": reason }))?;
        let earlier = match &claim {
            Some(claim) => backend.store.earlier(claim, backend.now()).await?,
            None => None,
        };
        match earlier {
            Some(Earlier::Same(record)) => return Ok(Self::Done(record.made)),
            Some(Earlier::Other) => return Err(key_reused()),
            None => {}
        }
        let generation = load(backend, id).await?;
        let action = backend.action(generation.account, Some(caller.key), what, &generation.id.to_string(), Some(&reason));
        Ok(Self::New { generation, claim, action })
    }
}

async fn replay(backend: &Backend, id: &str) -> Result<Response<Body>, Problem> {
    let generation = load(backend, id).await?;
    let mut response = endpoint::json(200, &view(backend, &generation).await?);
    response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    Ok(response)
}

fn by_hand<'a>(backend: &Backend, action: &'a Action, claim: Option<&'a IdempotencyClaim>, made: GenerationId) -> ByHand<'a> {
    let remembered = claim.map(|claim| (claim, claim.record(made, json!({ "id": made }), backend.now())));
    ByHand { action, remembered }
}

/// A new generation of the same order, for the same account, at the price that the order had.
async fn make_once_more(
    backend: &Backend,
    ended: &Generation,
    claim: Option<&IdempotencyClaim>,
    action: &Action,
) -> Result<Response<Body>, Problem> {
    inputs_are_there(backend, ended).await?;
    let (now, (unix_ms, random)) = (backend.now(), backend.id_parts());
    let (id, due_at) = (GenerationId::from_parts(unix_ms, random), now + backend.config.limits.requeue_every);
    let again = Generation::accept(id, ended.account, ended.order.clone(), ended.hold, None, now, due_at);
    let again = Generation { retry_of: Some(ended.id), ..again };
    let (id, status) = match backend.accept(&again, claim, Some(action)).await? {
        Accepted::New(created) => (created.id, 202),
        Accepted::Replayed(created) => (created.id, 200),
        Accepted::KeyReused => return Err(key_reused()),
        Accepted::Refused(refusal) => return Err(refused(&refusal)),
    };
    let generation = backend.load(id).await?;
    let mut response = endpoint::json(status, &view(backend, &generation).await?);
    if status == 200 {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

async fn inputs_are_there(backend: &Backend, ended: &Generation) -> Result<(), Problem> {
    for input in &ended.order.inputs {
        let asset = backend.store.asset(ended.account, input.asset).await?;
        if asset.is_none_or(|asset| asset.status != AssetStatus::Ready || asset.is_gone(backend.now())) {
            let detail = format!("its input `{}` is gone: the customer has to upload it again and ask anew", input.asset);
            return Err(Problem::new(409, "input_gone", "Input gone", detail));
        }
    }
    Ok(())
}

fn refused(refusal: &Refusal) -> Problem {
    let (code, title, hint) = match refusal {
        Refusal::Suspended => ("account_suspended", "Account suspended", "lift that first"),
        Refusal::InsufficientCredits { .. } => {
            ("insufficient_credits", "Insufficient credits", "give it some with `darkroom credits add`")
        }
        Refusal::Limit { .. } => ("limit_reached", "Limit reached", "raise the account's limit, or wait"),
        Refusal::KeyEnded
        | Refusal::Overflow
        | Refusal::TooManyEndingGrants
        | Refusal::TooManyKeys
        | Refusal::EndedGrant { .. }
        | Refusal::ChargeAboveHold { .. }
        | Refusal::HeldTooLow { .. } => {
            tracing::error!(%refusal, "a hold was refused");
            return Problem::internal();
        }
    };
    Problem::new(409, code, title, format!("{refusal}: {hint}; nothing was held"))
}

fn ended_already(generation: &Generation) -> Problem {
    let phase = generation.state.phase();
    let money = match &generation.state {
        State::Succeeded { charged, .. } | State::Failed { charged, .. } | State::Canceled { charged, .. } => {
            format!("{charged} of {} credits were charged and the rest was released", generation.hold)
        }
        State::Queued { .. }
        | State::Claimed { .. }
        | State::Running { .. }
        | State::Unconfirmed { .. }
        | State::Collecting { .. } => "its credits are held".to_owned(),
    };
    let detail =
        format!("the generation is {phase} already: {money}. Nothing was changed; correct a balance with `darkroom credits add`");
    Problem::new(409, "too_late", "Ended already", detail)
}

async fn load(backend: &Backend, id: &str) -> Result<Generation, Problem> {
    let not_found = || Problem::not_found("generation", id);
    let generation: GenerationId = id.parse().map_err(|_| not_found())?;
    backend.store.generation(generation).await?.ok_or_else(not_found)
}

async fn view(backend: &Backend, generation: &Generation) -> Result<OperatorsGeneration, Problem> {
    let actions = backend.store.actions_about(generation.account, &generation.id.to_string()).await?;
    let actions = actions.into_iter().map(|Action { id, at, by, what, reason, account: _, about: _ }| GenerationActionView {
        id,
        at,
        by,
        what,
        reason,
    });
    Ok(OperatorsGeneration::of(generation, backend.view(generation).await?, actions.collect()))
}
