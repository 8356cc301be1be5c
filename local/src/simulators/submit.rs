//! Submits: refused, taken, or answered when the work is done.

use std::io;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::faults::Faults;
use super::jobs::{End, Ended, Job};
use super::journal::{Submit, shortened, steering_headers};
use super::provider::{Provider, Refusal};
use super::run::{Made, Request, disk_failed};
use super::{Reply, Simulators, gateway_page, lock};

/// Largest answer that is cut in the middle, in bytes.
const MAX_CUT_BYTES: usize = 256 * 1024 * 1024;

impl Simulators {
    /// The faults a submit's prompt asks for, unless its key, or one of them, is a reason to refuse it. `refusal` has the
    /// provider's words. To be called before the provider's own checks.
    pub(super) fn screen(
        &self,
        provider: Provider,
        headers: &HeaderMap,
        prompt: &str,
        refusal: fn(Refusal) -> Reply,
    ) -> Result<Faults, Reply> {
        let supposed = if prompt.is_empty() { lock(&self.parts.supposed).get(&provider).cloned() } else { None };
        let prompt = supposed.as_deref().unwrap_or(prompt);
        let faults = Faults::from_prompt(prompt);
        if faults.auth || !self.parts.keys.admits(provider, headers) {
            return Err(refusal(Refusal::Key));
        }
        if self.throttles(provider, prompt, &faults) {
            let seconds = faults.retry_after.map_or(1, |wait| wait.as_secs());
            return Err(refusal(Refusal::Throttled { seconds }));
        }
        for (asked, why) in
            [(faults.error_before, Refusal::Unavailable), (faults.funds, Refusal::Funds), (faults.reject, Refusal::Input)]
        {
            if asked {
                return Err(refusal(why));
            }
        }
        Ok(faults)
    }

    /// Answers a submit with the refusal, or takes the job, and notes it in the journal. `accepted` makes the answer from
    /// the job as it was when it was taken.
    pub(super) async fn take(&self, request: Request<'_>, admitted: Result<Job, Reply>, accepted: fn(&Job) -> Reply) -> Response {
        let at = self.parts.clock.now();
        let job = match admitted {
            Err(refusal) => return self.refuse(request, at, refusal),
            Ok(job) => job,
        };
        if let Err(error) = self.accept(job.clone()).await {
            return self.refuse(request, at, disk_failed(&error));
        }
        let status = if job.faults.hang { 0 } else { accepted(&job).status.as_u16() };
        let status = if job.faults.error_after { StatusCode::BAD_GATEWAY.as_u16() } else { status };
        self.note(request, at, Some(job.id.clone()), status);
        spoilt(&job.faults, || accepted(&job).into_response()).await
    }

    /// As [`Simulators::take`], of a provider that answers when the work is done. The job runs on when the caller leaves.
    pub(super) async fn answer(
        &self,
        request: Request<'_>,
        admitted: Result<Job, Reply>,
        answered: fn(&Made) -> Response,
    ) -> Response {
        let at = self.parts.clock.now();
        let job = match admitted {
            Err(refusal) => return self.refuse(request, at, refusal),
            Ok(job) => job,
        };
        if let Err(error) = self.insert(job.clone()) {
            return self.refuse(request, at, disk_failed(&error));
        }
        // Before the work, as a caller that leaves takes this function down with it.
        self.note(request, at, Some(job.id.clone()), 0);
        let (ended, end) = oneshot::channel();
        let (sim, id) = (self.clone(), job.id.clone());
        self.spawn(async move {
            let worked = sim.work(&id).await;
            let works = matches!(worked, Ok(true));
            // The caller may have left.
            let _ = ended.send(worked);
            if works && let Err(error) = sim.call_back(&id).await {
                tracing::error!(job = id, %error, "a simulated job could not be written");
            }
        });
        let response = match end.await.unwrap_or_else(|_| Err(io::Error::other("the simulators were stopped"))) {
            Err(error) => disk_failed(&error).into_response(),
            Ok(_) => match self.made(&job.id).await {
                Err(error) => disk_failed(&error).into_response(),
                Ok(made) => spoilt(&job.faults, || answered(&made)).await,
            },
        };
        self.parts.journal.record_answer(&job.id, response.status().as_u16());
        response
    }

    fn refuse(&self, request: Request<'_>, at: Timestamp, refusal: Reply) -> Response {
        self.note(request, at, None, refusal.status.as_u16());
        refusal.into_response()
    }

    fn note(&self, request: Request<'_>, at: Timestamp, job: Option<String>, status: u16) {
        self.parts.journal.record_submit(Submit {
            provider: request.provider.name(),
            path: request.path,
            headers: steering_headers(request.headers),
            body: shortened(request.body),
            callback_url: request.callback_url,
            job,
            key: self.parts.keys.label(request.provider, request.headers),
            at,
            status,
        });
    }

    /// The ended job and its files.
    pub(super) async fn made(&self, id: &str) -> io::Result<Made> {
        let job = self.parts.jobs.get(id).ok_or_else(|| io::Error::other("the job is gone"))?;
        let mut files = Vec::new();
        if let Some(Ended { end: End::Files(made), .. }) = &job.ended {
            for file in made {
                let mut bytes = tokio::fs::read(self.parts.jobs.files(id).join(&file.name)).await?;
                bytes.resize(usize::try_from(file.bytes).map_err(io::Error::other)?, 0);
                files.push(bytes);
            }
        }
        Ok(Made { job, files })
    }

    /// Whether this submit is to be refused as one too many.
    fn throttles(&self, provider: Provider, prompt: &str, faults: &Faults) -> bool {
        if faults.throttle == 0 {
            return false;
        }
        let mut throttled = lock(&self.parts.throttled);
        let seen = throttled.entry((provider, prompt.to_owned())).or_default();
        *seen = seen.saturating_add(1);
        *seen <= faults.throttle
    }
}

/// The answer to an accepted submit, or what the faults make of it.
async fn spoilt(faults: &Faults, answer: impl FnOnce() -> Response) -> Response {
    if faults.hang {
        return std::future::pending().await;
    }
    if faults.error_after {
        return gateway_page();
    }
    if faults.malformed { cut(answer()).await } else { answer() }
}

/// The answer with the second half of its body missing. Half a picture would still be one: there the connection breaks instead.
async fn cut(answer: Response) -> Response {
    let (mut parts, body) = answer.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let is_json = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    match axum::body::to_bytes(body, MAX_CUT_BYTES).await {
        Ok(whole) if is_json => Response::from_parts(parts, Body::from(whole.slice(..whole.len() / 2))),
        Ok(whole) => {
            let broken = io::Error::new(io::ErrorKind::ConnectionReset, "the connection broke");
            let pieces = [Ok(whole.slice(..whole.len() / 2)), Err(broken)];
            Response::from_parts(parts, Body::from_stream(futures_util::stream::iter(pieces)))
        }
        Err(_) => gateway_page(),
    }
}
