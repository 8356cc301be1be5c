//! Simulators of the providers' APIs: the same paths, headers, bodies, status codes and signatures as the real
//! ones, so that the product runs its real code against them. What a request should suffer is asked for in its prompt
//! (see [`Faults`]). A simulator never leaves the machine: it calls and fetches loopback addresses only.

mod answers;
mod fal;
mod fal_models;
mod faults;
mod fields;
mod gemini;
mod gemini_answers;
mod gemini_files;
mod gemini_interactions;
mod huggingface;
mod jobs;
mod journal;
mod keys;
mod kie;
mod kie_models;
mod media;
mod minimax;
mod minimax_checks;
mod minimax_v2;
mod multipart;
mod openai;
mod openai_checks;
mod openrouter;
mod openrouter_images;
mod openrouter_videos;
mod outbound;
mod prompt;
mod provider;
mod replicate;
mod replicate_checks;
mod run;
mod stability;
mod stability_checks;
mod submit;
#[cfg(test)]
mod tests;
mod uploads;
mod wanted;
mod wavespeed;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde_json::Value;
use shared::clock::Clock;
use tokio::task::JoinSet;

pub use faults::Faults;
use jobs::Jobs;
pub use journal::{CallbackDelivery, Cancel, Journal, Submit, Upload};
use keys::Keys;
use outbound::Outbound;
use provider::Provider;
use uploads::Uploads;

/// Largest request body taken, in bytes: a data URI of 10 MB (the limit of Replicate's client) and then some.
const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

/// All simulators with their jobs, keys and journal. Clones share everything.
#[derive(Clone)]
pub struct Simulators {
    parts: Arc<Parts>,
}

struct Parts {
    clock: Clock,
    jobs: Jobs,
    journal: Journal,
    keys: Keys,
    outbound: Outbound,
    uploads: Uploads,
    /// Submits seen so far of each prompt that asks to be throttled.
    throttled: Mutex<HashMap<(Provider, String), u32>>,
    /// What submits without a prompt count to have said.
    supposed: Mutex<HashMap<Provider, String>>,
    tasks: Mutex<JoinSet<()>>,
}

impl Simulators {
    /// Opens the simulators on `dir`, made if need be. Jobs are kept there as files, one JSON per job, written through on
    /// each change, so that a restart of the process resumes them: an outside provider would not forget them either.
    /// Keys are made once per `dir` and kept.
    ///
    /// # Errors
    /// When `dir` cannot be read or written, or holds a file that is not ours.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        Self::open_with_clock(dir, Clock::system())
    }

    /// As [`Simulators::open`], on the product's own clock: jobs, waits and signatures follow when it is moved.
    ///
    /// # Errors
    /// As [`Simulators::open`].
    pub fn open_with_clock(dir: &Path, clock: Clock) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("could not make the simulators' directory `{}`", dir.display()))?;
        let parts = Parts {
            jobs: Jobs::open(dir, clock.now())?,
            journal: Journal::default(),
            keys: Keys::open(&dir.join("keys.json"))?,
            outbound: Outbound::new()?,
            uploads: Uploads::open(dir)?,
            throttled: Mutex::default(),
            supposed: Mutex::default(),
            tasks: Mutex::default(),
            clock,
        };
        for provider in parts.jobs.running() {
            parts.journal.record_accepted(provider);
        }
        Ok(Self { parts: Arc::new(parts) })
    }

    /// Routes relative to `/_sim`, where the server must nest them (links are built so): `/{provider}/…` and `/journal`.
    pub fn router(&self) -> Router {
        let mut router = Router::new().route("/journal", get(show_journal));
        for provider in Provider::ALL {
            let files = format!("/{}/_files/{{job}}/{{read}}/{{name}}", provider.name());
            let uploads = format!("/{}/_uploads/{{id}}/{{name}}", provider.name());
            router = router.route(&files, get(media::serve)).route(&uploads, get(uploads::serve)).merge(provider.routes());
        }
        router.layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).with_state(self.clone())
    }

    /// Takes up the unfinished jobs and undelivered callbacks found at open. To be called once, inside the runtime, when
    /// the server listens (an overdue callback is sent at once).
    pub fn resume(&self) {
        for id in self.parts.jobs.unsettled() {
            self.start(id);
        }
    }

    /// Ends all running jobs' tasks where they stand, as the death of the process would. Their files stay as they are.
    pub fn stop(&self) {
        lock(&self.parts.tasks).abort_all();
    }

    /// What the simulators saw and sent since open.
    pub fn journal(&self) -> &Journal {
        &self.parts.journal
    }

    /// Environment variables that make the product talk to the simulators: each provider's key (`REPLICATE_API_TOKEN`,
    /// `FAL_KEY`, `KIE_API_KEY`, …) and the secrets that callbacks are signed with (`KIE_WEBHOOK_SECRET`, …).
    pub fn credentials(&self) -> Vec<(&'static str, String)> {
        self.parts.keys.credentials()
    }

    /// Has `provider` (`replicate`, `fal`, `kie`, …) take `key` besides its own, until the simulators are opened again. The
    /// journal tells which key a submit used, see [`Submit::key`].
    ///
    /// # Errors
    /// When there is no such provider.
    pub fn accept_key(&self, provider: &str, key: &str) -> anyhow::Result<()> {
        self.parts.keys.accept(known(provider)?, key);
        Ok(())
    }

    /// Has each submit to `provider` that carries no prompt suffer what `prompt` asks for (see [`Faults`]), until the simulators
    /// are opened again: some models take pictures alone.
    ///
    /// # Errors
    /// When there is no such provider.
    pub fn suppose_prompt(&self, provider: &str, prompt: &str) -> anyhow::Result<()> {
        lock(&self.parts.supposed).insert(known(provider)?, prompt.to_owned());
        Ok(())
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.parts.tasks);
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a simulated job panicked");
            }
        }
        tasks.spawn(work);
    }
}

fn known(name: &str) -> anyhow::Result<Provider> {
    let names = || Provider::ALL.map(Provider::name).join(", ");
    let found = Provider::ALL.into_iter().find(|known| known.name() == name);
    found.with_context(|| format!("`{name}` is not simulated: name one of {}", names()))
}

async fn show_journal(State(sim): State<Simulators>) -> Reply {
    Reply::json(StatusCode::OK, sim.journal().to_json())
}

/// A JSON answer of a provider.
#[derive(Debug, Clone)]
struct Reply {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Value,
}

impl Reply {
    fn json(status: StatusCode, body: Value) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    fn with(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.push((HeaderName::from_static(name), value));
        self
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body)).into_response();
        response.headers_mut().extend(self.headers);
        response
    }
}

/// The page a gateway in front of the provider shows when it lost the provider's answer.
fn gateway_page() -> Response {
    let page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n\
                <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";
    (StatusCode::BAD_GATEWAY, Html(page)).into_response()
}

/// `http://{host}/_sim`, with the host that the caller used.
fn base_url(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    Some(format!("http://{host}/_sim"))
}

/// A poisoned lock guards plain data that each holder leaves whole: it stays usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
