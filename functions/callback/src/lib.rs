//! Providers call back. A callback is evidence when its signature proves the provider, and only a reason to ask when it does not.

use lambda_http::{Body, Request, Response};
use serde_json::json;
use shared::api::Problem;
use shared::backend::{Applied, Backend};
use shared::endpoint;
use shared::generation::{Generation, State};
use shared::ids::GenerationId;
use shared::lifecycle::Event;
use shared::metrics::{self, Sample};
use shared::outcome::Report;
use shared::provider::{CallbackNews, CallbackRefusal, Provider, challenge_reply};
use shared::signature::read_callback_token;

/// Answers `POST /v1/callbacks/{provider}/{generation}/{token}`. 2xx tells the provider that it need not call again.
pub async fn handle(backend: &Backend, request: Request) -> Response<Body> {
    let answer = match endpoint::segments(&request).as_slice() {
        ["v1", "callbacks", provider, generation, token] => receive(backend, &request, provider, generation, token).await,
        _ => Err(endpoint::no_route(&request)),
    };
    answer.unwrap_or_else(|problem| endpoint::problem(&request, problem))
}

/// For providers only: the address is made for one attempt of one generation, and told to its provider alone.
#[utoipa::path(post, path = "/v1/callbacks/{provider}/{generation}/{token}",
    params(("provider" = String, Path), ("generation" = String, Path), ("token" = String, Path)),
    responses((status = 200), (status = 401, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub async fn receive(
    backend: &Backend,
    request: &Request,
    provider: &str,
    id: &str,
    token: &str,
) -> Result<Response<Body>, Problem> {
    let unknown = || Problem::not_found("callback address", id);
    let generation_id: GenerationId = id.parse().map_err(|_| unknown())?;
    let secret = backend.config.signing_secret().ok_or_else(unknown)?;
    let attempt = read_callback_token(secret, provider, generation_id, token).ok_or_else(unknown)?;
    let catalog = backend.catalog().await?;
    let challenge = catalog.provider(provider).and_then(|manifest| challenge_reply(manifest, endpoint::bytes(request)));
    if let Some(reply) = challenge {
        return Ok(endpoint::json(200, &reply));
    }
    let generation = backend.store.generation(generation_id).await?.ok_or_else(unknown)?;
    let caller = Provider::of(backend, &generation, attempt).await?;
    let reply = caller.callback_reply().cloned();
    let news = caller.read_callback(&generation, attempt, request.headers(), endpoint::bytes(request), backend.now()).await;
    let news = news.map_err(|why| {
        tracing::warn!(provider, generation = id, attempt, %why, "a callback was refused");
        refusal(&why)
    })?;
    if let Some(problem) = other_job(&generation, attempt, &news) {
        tracing::warn!(provider, generation = id, attempt, "a callback names another job");
        return Err(problem);
    }
    backend.measure(&[Sample::count(metrics::CALLBACKS, &[("Provider", provider)])]);
    let changed = match event(attempt, news) {
        Some(event) => match backend.apply(generation, &event).await? {
            Applied::Changed(_) => true,
            Applied::Unchanged(_, why) => {
                tracing::info!(provider, generation = id, attempt, %why, "a callback changed nothing");
                false
            }
        },
        None => false,
    };
    Ok(endpoint::json(200, &reply.unwrap_or_else(|| json!({ "changed": changed }))))
}

fn event(attempt: u32, news: CallbackNews) -> Option<Event> {
    let job = news.job;
    match news.report {
        Report::Succeeded(outcome) => Some(Event::Succeeded { attempt, job, outcome }),
        Report::Failed(failure) => Some(Event::Failed { attempt, failure, retry_after: None }),
        Report::Canceled => Some(Event::ProviderCanceled { attempt }),
        // Nothing has ended yet.
        Report::Running { .. } => None,
        Report::Fetch(_) | Report::Unclear(_) => Some(Event::Woken { attempt, job }),
    }
}

fn other_job(generation: &Generation, attempt: u32, news: &CallbackNews) -> Option<Problem> {
    let State::Running { job, .. } = &generation.state else { return None };
    let named = news.job.as_ref()?;
    let differs = attempt == generation.attempt() && named.id != job.id;
    differs.then(|| Problem::new(422, "other_job", "Another job", "this address belongs to another job"))
}

fn refusal(why: &CallbackRefusal) -> Problem {
    match why {
        CallbackRefusal::Signature(_) | CallbackRefusal::OtherJob => {
            Problem::new(401, "bad_signature", "Bad signature", "the callback is not signed by the provider")
        }
        CallbackRefusal::NotJson => Problem::new(400, "invalid_json", "Invalid JSON", "the body is not JSON"),
        CallbackRefusal::Keys(_) => Problem::unavailable(),
    }
}
