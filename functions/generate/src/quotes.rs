//! Quotes: what an order would cost, signed, so that the price holds for a while whatever becomes of the catalog.

use lambda_http::{Body, Request, Response};
use serde_json::{Map, Value};
use shared::api::{CreateQuote, CreatedQuote, Problem};
use shared::backend::Backend;
use shared::endpoint::{self, Caller};
use shared::idempotency::canonical;
use shared::ids::AccountId;
use shared::price::Cost;
use shared::quote::{Quote, QuoteError, Redemption};
use shared::signature::fingerprint;

use super::{Asked, Wanted};

/// Ask what a generation would cost. Nothing is held; the price is good for `POST /v1/generations` until `expires_at`, as often as wished.
#[utoipa::path(post, path = "/v1/quotes", request_body = CreateQuote, responses(
    (status = 200, body = CreatedQuote),
    (status = 400, body = Problem), (status = 401, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem),
    (status = 503, body = Problem),
))]
pub async fn quote(backend: &Backend, request: &Request) -> Result<Response<Body>, Problem> {
    let Caller { account, .. } = endpoint::reader(backend, request)?;
    // First: what is wrong with the table or the way to it shows before a fresh process has compiled the schema of the body.
    let catalog = backend.catalog().await;
    let asked: CreateQuote = endpoint::json_body(request, CreateQuote::shape())?;
    let CreateQuote { model, tool, params, prompt_syntax } = &asked;
    let of = Asked { model: model.as_deref(), tool: tool.as_deref(), params, prompt_syntax: *prompt_syntax };
    let wanted = Wanted::read(backend, &*catalog?, of).await?;
    let cost = wanted.cost()?;
    let expires_at = backend.now() + backend.config.quote_expires;
    let (model, params) = (wanted.quoted_as(), fingerprint_of(&wanted.params));
    let quote = Quote { account, model, params, cost, expires_at };
    let token = quote.sign(secret(backend)?).map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a quote cannot be signed");
        Problem::internal()
    })?;
    let Quote { model, cost, .. } = quote;
    tracing::info!(%account, model, cost = cost.credits.get(), "quoted");
    Ok(endpoint::json(
        200,
        &CreatedQuote {
            quote: token,
            model,
            params: wanted.params,
            credits: cost.credits,
            price_by_results: cost.by_results,
            expires_at,
        },
    ))
}

/// The price that a quote promises for this order.
pub(super) fn redeem(backend: &Backend, token: &str, account: AccountId, wanted: &Wanted) -> Result<Cost, Problem> {
    let params = fingerprint_of(&wanted.params);
    let order = Redemption { account, model: &wanted.quoted_as(), params: &params };
    Quote::read(secret(backend)?, token).and_then(|quote| quote.redeem(order, backend.now())).map_err(|error| refused(&error))
}

fn refused(error: &QuoteError) -> Problem {
    let (code, title) = match error {
        QuoteError::Invalid => ("invalid_quote", "Invalid quote"),
        QuoteError::OtherAccount | QuoteError::OtherModel | QuoteError::OtherParams => {
            ("quote_mismatch", "Quote for another order")
        }
        QuoteError::Expired(_) => ("quote_expired", "Quote expired"),
    };
    Problem::new(422, code, title, error.to_string()).at("quote")
}

fn fingerprint_of(params: &Map<String, Value>) -> String {
    fingerprint(canonical(&Value::Object(params.clone())).as_bytes())
}

fn secret(backend: &Backend) -> Result<&str, Problem> {
    backend.config.signing_secret().ok_or_else(|| {
        tracing::error!("`SIGNING_SECRET` is not set: quotes can be neither given nor redeemed");
        Problem::internal()
    })
}
