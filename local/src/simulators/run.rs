//! A job's life: taken, run, ended, called back.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::faults::Faults;
use super::jobs::{Callback, End, Ended, Failure, Job};
use super::journal::CallbackDelivery;
use super::media::{self, InputPicture, MediaFile, Plan};
use super::provider::Provider;
use super::{Reply, Simulators};

/// Sends of a callback before it is given up. The waits between them are 0.5, 1, 2, 4 and 8 s: the providers' own are
/// longer (Replicate about a minute in all, fal up to two hours), these suit a laptop and tests.
const MAX_SENDS: u32 = 6;
const FIRST_RESEND: Duration = Duration::from_millis(500);
/// Time for the receiver of a challenge to send it back (MiniMax's video pages).
const CHALLENGE_TIMEOUT: Duration = Duration::from_secs(3);

/// A submit request as it came in.
pub(super) struct Request<'a> {
    pub(super) provider: Provider,
    /// The provider's own path.
    pub(super) path: String,
    pub(super) headers: &'a HeaderMap,
    /// As the journal is to show it.
    pub(super) body: &'a Value,
    pub(super) callback_url: Option<String>,
}

/// A callback ready to be sent.
pub(super) struct Message {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// A job that has ended, with what its files hold: for answers that carry them.
pub(super) struct Made {
    pub(super) job: Job,
    /// One entry per file of [`End::Files`], in the same order; zero bytes at the end included.
    pub(super) files: Vec<Vec<u8>>,
}

impl Simulators {
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
            running.then_some(job.provider)
        })?;
        if let Some(provider) = first.flatten() {
            self.parts.journal.record_ended(provider);
            return Ok(true);
        }
        Ok(false)
    }

    /// Counts and keeps a job without running it.
    pub(super) fn insert(&self, job: Job) -> io::Result<()> {
        let provider = job.provider;
        self.parts.jobs.insert(job)?;
        self.parts.journal.record_accepted(provider);
        Ok(())
    }

    /// Takes a job and has it run; with `[[callback_first]]` it has ended and called back when this returns.
    pub(super) async fn accept(&self, job: Job) -> io::Result<()> {
        let id = job.id.clone();
        let callback_first = job.faults.callback_first;
        self.insert(job.clone())?;
        if !callback_first {
            self.start(id);
            return Ok(());
        }
        self.challenge(&id).await?;
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
        if self.work(id).await? { self.call_back(id).await } else { Ok(()) }
    }

    /// Runs a job to its end; whether its callback is then this caller's to send.
    pub(super) async fn work(&self, id: &str) -> io::Result<bool> {
        let Some(job) = self.parts.jobs.get(id) else {
            return Ok(false);
        };
        self.challenge(id).await?;
        if job.ended.is_none() {
            let end = self.produce(&job).await;
            self.tell_start(&job).await?;
            self.parts.clock.sleep_until(job.ends_at).await;
            // Canceled meanwhile: the cancel has started the callback.
            return self.end(id, end);
        }
        Ok(true)
    }

    /// Sends the callback when it is due, until it is acknowledged or given up.
    pub(super) async fn call_back(&self, id: &str) -> io::Result<()> {
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
        let (links, png_only, making): (_, _, Making) = match job.provider.plan(job) {
            Err(failure) => return End::Failed(failure),
            Ok(Plan::Text(text)) => return End::Text(text),
            Ok(Plan::Images(drawing)) => (
                drawing.inputs.clone(),
                drawing.png_inputs_only,
                Box::new(move |dir, inputs, huge| media::draw_files(dir, &drawing, inputs, huge)),
            ),
            Ok(Plan::Video(clip)) => {
                (clip.inputs.clone(), false, Box::new(move |dir, inputs, huge| media::film(dir, &clip, inputs, huge)))
            }
        };
        let inputs = match media::fetch_inputs(&self.parts.outbound, &links, png_only).await {
            Ok(inputs) => inputs,
            Err(fault) => return End::Failed(Failure::Inputs(vec![fault])),
        };
        let (dir, huge_bytes) = (self.parts.jobs.files(&job.id), job.faults.huge_bytes);
        let made = tokio::task::spawn_blocking(move || making(&dir, &inputs, huge_bytes)).await;
        match made {
            Ok(Ok(files)) => End::Files(files),
            Ok(Err(text)) => End::Failed(Failure::Broken(text)),
            Err(_) => End::Failed(Failure::Broken("the drawing panicked".to_owned())),
        }
    }

    /// Has the receiver prove itself, where the provider asks that. One that fails gets nothing.
    async fn challenge(&self, id: &str) -> io::Result<()> {
        let Some(job) = self.parts.jobs.get(id) else {
            return Ok(());
        };
        let Some((url, challenge)) = job.callback.as_ref().and_then(|call| Some((&call.url, call.challenge.as_ref()?))) else {
            return Ok(());
        };
        let body = json!({"challenge": challenge});
        let sent = self.parts.outbound.exchange(url, &body, CHALLENGE_TIMEOUT).await;
        let proven =
            sent.as_ref().is_ok_and(|(status, answer)| *status == 200 && answer.get("challenge") == body.get("challenge"));
        let attempt = self.parts.jobs.change(id, |job| {
            job.callback.as_mut().map_or(0, |callback| {
                callback.challenge = None;
                callback.attempts += 1;
                if !proven {
                    callback.copies_left = 0;
                    callback.tells_start = false;
                }
                callback.attempts
            })
        })?;
        let sent = sent.map(|(status, _)| status);
        self.note_callback(&job, url, "challenge", attempt.unwrap_or(0), sent);
        Ok(())
    }

    /// Tells the receiver that the work begins, where the provider does so. Sent once, whatever the answer.
    async fn tell_start(&self, job: &Job) -> io::Result<()> {
        let tells = |job: &Job| job.callback.as_ref().is_some_and(|callback| callback.tells_start);
        if !self.parts.jobs.get(&job.id).is_some_and(|job| tells(&job)) {
            return Ok(());
        }
        self.parts.clock.sleep_until(job.starts_at).await;
        let Some(job) = self.parts.jobs.get(&job.id).filter(|job| job.ended.is_none()) else {
            return Ok(());
        };
        // The words of a job that waits and of one that works part at this very moment.
        let now = self.parts.clock.now() + Duration::from_nanos(1);
        let Some((callback, message)) = self.message(&job, now) else {
            return Ok(());
        };
        let sent = self.parts.outbound.post(&callback.url, message.headers, message.body).await;
        let attempt = self.parts.jobs.change(&job.id, |job| {
            job.callback.as_mut().map_or(0, |callback| {
                callback.tells_start = false;
                callback.attempts += 1;
                callback.attempts
            })
        })?;
        self.note_callback(&job, &callback.url, "start", attempt.unwrap_or(0), sent);
        Ok(())
    }

    fn message(&self, job: &Job, now: Timestamp) -> Option<(Callback, Message)> {
        let callback = job.callback.clone()?;
        let message = job.provider.callback(&self.parts.keys, job, &callback.message_id, now)?;
        Some((callback, message))
    }

    fn note_callback(&self, job: &Job, url: &str, event: &'static str, attempt: u32, sent: Result<u16, String>) {
        self.parts.journal.record_callback(CallbackDelivery {
            provider: job.provider.name(),
            job: job.id.clone(),
            url: url.to_owned(),
            event,
            attempt,
            status: sent.as_ref().ok().copied(),
            error: sent.err(),
        });
    }

    /// Sends the callback once if one is still owed; how long to wait before the next send, none when all is done.
    async fn send_callback(&self, id: &str) -> io::Result<Option<Duration>> {
        let Some(mut job) = self.parts.jobs.get(id) else {
            return Ok(None);
        };
        if job.callback.as_ref().is_none_or(|callback| callback.copies_left == 0) {
            return Ok(None);
        }
        job.result_reads = 0;
        let Some((callback, message)) = self.message(&job, self.parts.clock.now()) else {
            return Ok(None);
        };
        let sent = self.parts.outbound.post(&callback.url, message.headers, message.body).await;
        let after = self.parts.jobs.change(id, |job| {
            let provider = job.provider;
            job.callback.as_mut().map(|callback| (callback.attempts + 1, settle(callback, provider, &sent)))
        })?;
        let Some((attempt, wait)) = after.flatten() else {
            return Ok(None);
        };
        self.note_callback(&job, &callback.url, "end", attempt, sent);
        Ok(wait)
    }
}

/// Makes a result's files in a directory, from the pictures of the input and the size asked for in bytes.
type Making = Box<dyn FnOnce(&Path, &[InputPicture], Option<u64>) -> Result<Vec<MediaFile>, String> + Send>;

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

#[cfg(test)]
mod tests {
    use super::*;

    fn callback(copies_left: u32) -> Callback {
        let (url, message_id) = (String::new(), String::new());
        Callback { url, message_id, challenge: None, tells_start: false, copies_left, attempts: 0, failures: 0 }
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
