//! A job's life: taken, run, ended, called back.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::faults::Faults;
use super::jobs::{Callback, End, Ended, Failure, Job, Provider};
use super::journal::{CallbackDelivery, Submit, shortened, steering_headers};
use super::media::{self, Plan};
use super::{Reply, Simulators, fal, gateway_page, lock, replicate};

/// Sends of a callback before it is given up. The waits between them are 0.5, 1, 2, 4 and 8 s: the providers' own are
/// longer (Replicate about a minute in all, fal up to two hours), these suit a laptop and tests.
const MAX_SENDS: u32 = 6;
const FIRST_RESEND: Duration = Duration::from_millis(500);

/// A submit request as it came in.
pub(super) struct Request<'a> {
    pub(super) provider: Provider,
    /// The provider's own path.
    pub(super) path: String,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Value,
    pub(super) callback_url: Option<String>,
}

/// A callback ready to be sent.
pub(super) struct Message {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Simulators {
    /// Answers a submit with the refusal, or takes the job, and notes it in the journal. `accepted` makes the answer from
    /// the job as it was when it was taken.
    pub(super) async fn take(&self, request: Request<'_>, admitted: Result<Job, Reply>, accepted: fn(&Job) -> Reply) -> Response {
        let (job, response) = match admitted {
            Err(refusal) => (None, refusal.into_response()),
            Ok(job) => match self.accept(job.clone()).await {
                Err(error) => (None, disk_failed(&error).into_response()),
                Ok(()) if job.faults.error_after => (Some(job.id), gateway_page()),
                Ok(()) => {
                    let answer = accepted(&job).into_response();
                    (Some(job.id), answer)
                }
            },
        };
        self.parts.journal.record_submit(Submit {
            provider: request.provider.name(),
            path: request.path,
            headers: steering_headers(request.headers),
            body: shortened(request.body),
            callback_url: request.callback_url,
            job,
            status: response.status().as_u16(),
        });
        response
    }

    /// Whether this submit is to be refused as one too many.
    pub(super) fn throttles(&self, provider: Provider, prompt: &str, faults: &Faults) -> bool {
        if faults.throttle == 0 {
            return false;
        }
        let mut throttled = lock(&self.parts.throttled);
        let seen = throttled.entry((provider, prompt.to_owned())).or_default();
        *seen = seen.saturating_add(1);
        *seen <= faults.throttle
    }

    /// Runs a job from where it stands until its callback is acknowledged or given up.
    pub(super) fn start(&self, id: String) {
        let sim = self.clone();
        self.spawn(async move {
            if let Err(error) = sim.run(&id).await {
                tracing::error!(job = id, %error, "a simulated job could not be written");
            }
        });
    }

    /// Ends a job unless it has ended; whether this call did it.
    pub(super) fn end(&self, id: &str, end: End) -> io::Result<bool> {
        let ended = Ended { at: self.parts.clock.now(), end };
        let first = self.parts.jobs.change(id, |job| {
            let running = job.ended.is_none();
            job.ended.get_or_insert(ended);
            running
        })?;
        Ok(first == Some(true))
    }

    async fn accept(&self, job: Job) -> io::Result<()> {
        let id = job.id.clone();
        let callback_first = job.faults.callback_first;
        self.parts.jobs.insert(job.clone())?;
        if !callback_first {
            self.start(id);
            return Ok(());
        }
        let end = self.produce(&job).await;
        self.end(&id, end)?;
        if let Some(wait) = self.send_callback(&id).await? {
            let sim = self.clone();
            self.spawn(async move {
                sim.parts.clock.sleep(wait).await;
                sim.start(id);
            });
        }
        Ok(())
    }

    async fn run(&self, id: &str) -> io::Result<()> {
        let Some(job) = self.parts.jobs.get(id) else {
            return Ok(());
        };
        if job.ended.is_none() {
            let end = self.produce(&job).await;
            self.parts.clock.sleep_until(job.ends_at).await;
            // Canceled meanwhile: the cancel has started the callback.
            if !self.end(id, end)? {
                return Ok(());
            }
        }
        if let Some(due) = self.parts.jobs.get(id).and_then(|job| job.callback_due()) {
            self.parts.clock.sleep_until(due).await;
        }
        while let Some(wait) = self.send_callback(id).await? {
            self.parts.clock.sleep(wait).await;
        }
        Ok(())
    }

    /// What the job comes to: its files are made here.
    async fn produce(&self, job: &Job) -> End {
        if job.faults.fail {
            return End::Failed(Failure::Broken("Internal server error".to_owned()));
        }
        if job.faults.moderate {
            return End::Failed(Failure::Moderated);
        }
        let planned = match job.provider {
            Provider::Replicate => Ok(replicate::plan(job)),
            Provider::Fal => fal::plan(job),
        };
        let drawing = match planned {
            Ok(Plan::Text(text)) => return End::Text(text),
            Ok(Plan::Images(drawing)) => drawing,
            Err(failure) => return End::Failed(failure),
        };
        let inputs = match media::fetch_inputs(&self.parts.outbound, &job.input, drawing.png_inputs_only).await {
            Ok(inputs) => inputs,
            Err(fault) => return End::Failed(Failure::Inputs(vec![fault])),
        };
        let (dir, huge_bytes) = (self.parts.jobs.files(&job.id), job.faults.huge_bytes);
        let drawn = tokio::task::spawn_blocking(move || media::draw_files(&dir, &drawing, &inputs, huge_bytes)).await;
        match drawn {
            Ok(Ok(files)) => End::Files(files),
            Ok(Err(text)) => End::Failed(Failure::Broken(text)),
            Err(_) => End::Failed(Failure::Broken("the drawing panicked".to_owned())),
        }
    }

    /// Sends the callback once if one is still owed; how long to wait before the next send, none when all is done.
    async fn send_callback(&self, id: &str) -> io::Result<Option<Duration>> {
        let Some(mut job) = self.parts.jobs.get(id) else {
            return Ok(None);
        };
        let Some(callback) = job.callback.clone().filter(|callback| callback.copies_left > 0) else {
            return Ok(None);
        };
        job.result_reads = 0;
        let now = self.parts.clock.now();
        let message = match job.provider {
            Provider::Replicate => replicate::callback(&self.parts.keys, &job, &callback.message_id, now),
            Provider::Fal => fal::callback(&self.parts.keys, &job, now),
        };
        let sent = self.parts.outbound.post(&callback.url, message.headers, message.body).await;
        let after = self.parts.jobs.change(id, |job| {
            let provider = job.provider;
            job.callback.as_mut().map(|callback| (callback.attempts + 1, settle(callback, provider, &sent)))
        })?;
        let Some((attempt, wait)) = after.flatten() else {
            return Ok(None);
        };
        self.parts.journal.record_callback(CallbackDelivery {
            provider: job.provider.name(),
            job: job.id,
            url: callback.url,
            attempt,
            status: sent.as_ref().ok().copied(),
            error: sent.err(),
        });
        Ok(wait)
    }
}

/// Writes one send's answer into the callback; how long to wait before the next send.
fn settle(callback: &mut Callback, provider: Provider, sent: &Result<u16, String>) -> Option<Duration> {
    callback.attempts += 1;
    match sent {
        Ok(200..=299) => {
            callback.failures = 0;
            callback.copies_left = callback.copies_left.saturating_sub(1);
            return (callback.copies_left > 0).then_some(Duration::ZERO);
        }
        // fal takes a redirection for a permanent failure.
        Ok(300..=399) if provider == Provider::Fal => callback.failures = MAX_SENDS,
        Ok(_) | Err(_) => callback.failures += 1,
    }
    if callback.failures >= MAX_SENDS {
        callback.copies_left = 0;
        return None;
    }
    Some(FIRST_RESEND * 2_u32.saturating_pow(callback.failures - 1))
}

/// The answer when the simulator itself cannot write.
pub(super) fn disk_failed(error: &io::Error) -> Reply {
    tracing::error!(%error, "the simulator could not write a job");
    let body = json!({"detail": "the simulator could not write its files: see the log"});
    Reply::json(StatusCode::INTERNAL_SERVER_ERROR, body)
}

/// Headers of a callback; names must be lower case.
pub(super) fn callback_headers(signed: BTreeMap<&'static str, String>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    for (name, value) in signed {
        let value = HeaderValue::try_from(value).expect("ids, numbers and encoded bytes are visible ASCII");
        headers.insert(name, value);
    }
    headers
}

/// The signature as it is to be sent: with one bit wrong, when that is asked for.
pub(super) fn signature_to_send(mut signature: Vec<u8>, faults: &Faults) -> Vec<u8> {
    if faults.bad_signature
        && let Some(first) = signature.first_mut()
    {
        *first ^= 1;
    }
    signature
}

/// The prompt, empty when there is none.
pub(super) fn prompt_of(input: &Value) -> &str {
    input.get("prompt").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callback(copies_left: u32) -> Callback {
        Callback { url: String::new(), message_id: String::new(), copies_left, attempts: 0, failures: 0 }
    }

    fn waits(callback: &mut Callback, provider: Provider, sent: &Result<u16, String>) -> Vec<u128> {
        std::iter::from_fn(|| settle(callback, provider, sent)).map(|wait| wait.as_millis()).take(20).collect()
    }

    #[test]
    fn refused_callback_is_resent_with_growing_waits_and_then_given_up() {
        for sent in [Ok(500), Ok(404), Err("refused".to_owned())] {
            let mut refused = callback(1);
            assert_eq!(waits(&mut refused, Provider::Fal, &sent), [500, 1000, 2000, 4000, 8000]);
            assert_eq!((refused.attempts, refused.copies_left), (MAX_SENDS, 0));
        }
    }

    #[test]
    fn acknowledged_callback_is_sent_once_per_copy() {
        let mut twice = callback(2);
        assert_eq!(waits(&mut twice, Provider::Replicate, &Ok(202)), [0]);
        assert_eq!((twice.attempts, twice.copies_left), (2, 0));
    }

    #[test]
    fn redirection_ends_a_fal_callback_only() {
        assert_eq!(waits(&mut callback(1), Provider::Fal, &Ok(302)), [0_u128; 0]);
        assert_eq!(waits(&mut callback(1), Provider::Replicate, &Ok(302)).len(), 5);
    }
}
