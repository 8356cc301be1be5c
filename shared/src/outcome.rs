//! What a provider's answer means, read by its manifest.

use jiff::SignedDuration;
use serde_json::Value;

use crate::catalog::manifest::{CancelProof, FailureRule, HttpProvider, Words};
use crate::failure::{Failure, FailureClass};
use crate::generation::{Ambiguity, Job, Outcome, Source};
use crate::pick::Pick;

/// More results than any model makes; a record has to fit into 400 KB and its settlement into one transaction.
const MAX_RESULTS: usize = 16;
/// The longest id, address or link that is taken from an answer, in bytes.
const MAX_FACT_BYTES: usize = 4_096;

/// What a pick finds, unless it is absurdly long.
pub fn fact(pick: &Pick, body: &Value) -> Option<String> {
    pick.text(body).filter(|text| text.len() <= MAX_FACT_BYTES)
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The `Retry-After` header, when it is a number of seconds.
    pub retry_after: Option<SignedDuration>,
    /// The body; a JSON string with its text when it is not JSON.
    pub body: Value,
}

/// What became of a submit.
#[derive(Debug, Clone, PartialEq)]
pub enum SubmitAnswer {
    /// The provider has the job; `report` when the answer already says more.
    Accepted { job: Job, report: Report },
    /// Certainly not accepted.
    Refused { failure: Failure, retry_after: Option<SignedDuration> },
    /// It may have been accepted.
    Lost(Ambiguity),
}

/// What a provider says of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Not done yet.
    Running { progress: Option<u8>, queue_position: Option<u32> },
    /// Done; the results have to be asked for.
    Fetch,
    /// Done.
    Succeeded(Outcome),
    /// Failed.
    Failed(Failure),
    /// Stopped.
    Canceled,
    /// It does not say.
    Unclear(String),
}

impl Report {
    /// Whether the job failed.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

/// Reads the answer to a submit.
pub fn read_submit(provider: &HttpProvider, reply: &Reply) -> SubmitAnswer {
    match reply.status {
        200..=299 => {
            let Some(id) = provider.submit.job_id.text(&reply.body).filter(|id| id.len() <= MAX_FACT_BYTES) else {
                return SubmitAnswer::Lost(Ambiguity::UnreadableAnswer);
            };
            let facts = &provider.submit.job_facts;
            let facts = facts.iter().filter_map(|(name, pick)| Some((name.clone(), fact(pick, &reply.body)?))).collect();
            SubmitAnswer::Accepted { job: Job { id, facts }, report: read_status(provider, &reply.body) }
        }
        // 408 and 499: the server gave up waiting for the request, or an intermediary for the server. A redirect proves nothing either.
        408 | 499 | 0..=399 | 500.. => SubmitAnswer::Lost(Ambiguity::ServerError),
        status => {
            SubmitAnswer::Refused { failure: classify(provider, Some(status), &reply.body), retry_after: reply.retry_after }
        }
    }
}

/// Reads the answer to a poll. Only a 2xx answer says anything of the job: others are the asking that failed.
pub fn read_poll(provider: &HttpProvider, reply: &Reply) -> Report {
    match reply.status {
        200..=299 => read_status(provider, &reply.body),
        status => Report::Unclear(format!("HTTP status {status}")),
    }
}

fn read_status(provider: &HttpProvider, body: &Value) -> Report {
    match read_words(provider, &provider.status, body) {
        Word::Succeeded if provider.result.fetch.is_some() => Report::Fetch,
        Word::Succeeded => links(&provider.result.links, body).map_or_else(
            || Report::Failed(Failure::new(FailureClass::ProviderFailed, "the provider finished without a result")),
            Report::Succeeded,
        ),
        Word::Other(report) => report,
    }
}

/// Reads the answer to the request for the results.
pub fn read_result(provider: &HttpProvider, reply: &Reply) -> Report {
    let failed = provider.result.failed_when.as_ref().is_some_and(|pick| pick.first(&reply.body).is_some());
    match reply.status {
        200..=299 if !failed => links(&provider.result.links, &reply.body).map_or_else(
            || Report::Failed(Failure::new(FailureClass::ProviderFailed, "the provider finished without a result")),
            Report::Succeeded,
        ),
        // These say that we may not ask, or not now, or come from something in between; the job is as it was.
        401 | 403 | 408 | 429 | 502..=504 => Report::Unclear(format!("HTTP status {}", reply.status)),
        status if failed => Report::Failed(job_failure(provider, Some(status), &reply.body)),
        status => Report::Unclear(format!("HTTP status {status}")),
    }
}

/// Reads the answer to a cancel: `Canceled` when it proves that the job is stopped.
pub fn read_cancel(provider: &HttpProvider, reply: &Reply) -> Report {
    match provider.cancel.as_ref().map(|cancel| &cancel.proof) {
        Some(CancelProof::Status) if (200..=299).contains(&reply.status) => read_status(provider, &reply.body),
        Some(CancelProof::Word { pick, any }) if (200..=299).contains(&reply.status) => {
            match pick.text(&reply.body).filter(|word| any.contains(word)) {
                Some(_) => Report::Canceled,
                None => Report::Unclear("the cancel was noted".to_owned()),
            }
        }
        Some(CancelProof::Status | CancelProof::Word { .. }) | None => Report::Unclear(format!("HTTP status {}", reply.status)),
    }
}

/// Reads a callback whose signature has been verified. A success without links is only a hint to ask.
pub fn read_callback(provider: &HttpProvider, body: &Value) -> Report {
    let Some(callback) = &provider.callback else { return Report::Unclear("this provider has no callbacks".to_owned()) };
    if callback.ask_when.as_ref().is_some_and(|pick| pick.first(body).is_some()) {
        return Report::Unclear("the callback leaves the outcome open".to_owned());
    }
    match read_words(provider, &callback.status, body) {
        Word::Succeeded => links(&callback.links, body)
            .map_or_else(|| Report::Unclear("a success without results".to_owned()), Report::Succeeded),
        Word::Other(report) => report,
    }
}

enum Word {
    Succeeded,
    Other(Report),
}

fn read_words(provider: &HttpProvider, words: &Words, body: &Value) -> Word {
    let Some(word) = words.pick.text(body) else {
        return Word::Other(Report::Unclear("no status".to_owned()));
    };
    let has_failed = || words.failed_when.as_ref().is_some_and(|pick| pick.text(body).is_some());
    let known = |list: &[String]| list.contains(&word);
    if known(&words.succeeded) && !has_failed() {
        return Word::Succeeded;
    }
    Word::Other(if known(&words.running) {
        let number = |pick: &Option<Pick>| pick.as_ref().and_then(|pick| pick.first(body)).and_then(Value::as_u64);
        Report::Running {
            progress: number(&words.progress).map(|percent| u8::try_from(percent.min(100)).unwrap_or(100)),
            queue_position: number(&words.queue_position).and_then(|position| u32::try_from(position).ok()),
        }
    } else if known(&words.failed) || known(&words.succeeded) {
        match job_failure(provider, None, body) {
            Failure { class: FailureClass::Canceled, .. } => Report::Canceled,
            failure => Report::Failed(failure),
        }
    } else if known(&words.canceled) {
        Report::Canceled
    } else {
        Report::Unclear(format!("the status `{}` is not in the manifest", word.chars().take(40).collect::<String>()))
    })
}

fn links(picks: &[Pick], body: &Value) -> Option<Outcome> {
    let is_link = |text: &str| text.starts_with("https://") || text.starts_with("http://");
    picks.iter().find_map(|pick| {
        let found = pick.all(body).into_iter().filter_map(Value::as_str).filter(|text| is_link(text));
        let sources: Vec<Source> = found.map(|link| Source::Link(link.to_owned())).collect();
        let fits = sources.len() <= MAX_RESULTS
            && sources.iter().all(|source| matches!(source, Source::Link(link) if link.len() <= MAX_FACT_BYTES));
        (!sources.is_empty() && fits).then_some(Outcome { sources })
    })
}

/// A failure of the job itself: what no rule knows is the provider's failure, not a rejected request.
fn job_failure(provider: &HttpProvider, status: Option<u16>, body: &Value) -> Failure {
    match provider.failures.iter().find(|rule| matches(rule, status, body)) {
        Some(rule) => worded(provider, rule.class, rule.message.as_deref(), body),
        None => worded(provider, FailureClass::ProviderFailed, None, body),
    }
}

/// The failure that an answer with an error status stands for.
pub fn classify(provider: &HttpProvider, status: Option<u16>, body: &Value) -> Failure {
    if let Some(rule) = provider.failures.iter().find(|rule| matches(rule, status, body)) {
        return worded(provider, rule.class, rule.message.as_deref(), body);
    }
    let class = match status {
        Some(401 | 403) => FailureClass::ProviderAuth,
        Some(402) => FailureClass::ProviderFunds,
        Some(429) => FailureClass::Throttled,
        Some(400..=499) => FailureClass::RejectedInput,
        Some(_) => FailureClass::Unavailable,
        None => FailureClass::ProviderFailed,
    };
    worded(provider, class, None, body)
}

fn matches(rule: &FailureRule, status: Option<u16>, body: &Value) -> bool {
    // A rule that names only statuses is about HTTP errors; a job's failure has no status of its own.
    let status_fits = rule.status.is_empty() || status.is_some_and(|status| rule.status.contains(&status));
    let text_fits = rule.picks.is_empty()
        || rule.picks.iter().flat_map(|pick| pick.all(body)).filter_map(Value::as_str).any(|text| {
            let text = text.to_lowercase();
            rule.contains.is_empty() || rule.contains.iter().any(|part| text.contains(&part.to_lowercase()))
        });
    status_fits && text_fits
}

fn worded(provider: &HttpProvider, class: FailureClass, own: Option<&str>, body: &Value) -> Failure {
    let theirs = || provider.messages.iter().find_map(|pick| pick.text(body));
    let message = match (own, class) {
        (Some(own), _) => own.to_owned(),
        // These speak of our account with the provider, which is not the customer's business.
        (None, FailureClass::ProviderAuth | FailureClass::ProviderFunds | FailureClass::Throttled) => {
            "the provider does not serve us at the moment".to_owned()
        }
        (None, _) => theirs().unwrap_or_else(|| "the provider gave no reason".to_owned()),
    };
    Failure::new(class, message)
}

#[cfg(test)]
mod tests;
