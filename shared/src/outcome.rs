//! What a provider's answer means, read by its manifest.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use jiff::SignedDuration;
use serde_json::Value;
use url::Url;

use crate::catalog::manifest::{Api, HttpProvider, ModelSpec};
use crate::catalog::rules::{CancelProof, FailureRule, ResultRules, Words};
use crate::failure::{Failure, FailureClass};
use crate::generation::{Ambiguity, Job, Outcome, Source};
use crate::pick::{Pick, plain_text};

/// More results than any model makes; a record has to fit into 400 KB and its settlement into one transaction.
pub const MAX_RESULTS: usize = 16;
/// The longest id, address or link that is taken from an answer, in bytes.
const MAX_FACT_BYTES: usize = 4_096;
/// No provider is waited for longer than this, whatever it asks.
const MAX_DELAY: SignedDuration = SignedDuration::from_hours(24);

/// What a pick finds, unless it is absurdly long.
pub fn fact(pick: &Pick, body: &Value) -> Option<String> {
    pick.text(body).filter(|text| text.len() <= MAX_FACT_BYTES)
}

/// What each pick finds.
pub fn facts(picks: &BTreeMap<String, Pick>, body: &Value) -> BTreeMap<String, String> {
    picks.iter().filter_map(|(name, pick)| Some((name.clone(), fact(pick, body)?))).collect()
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// What the `Retry-After` header asks for.
    pub retry_after: Option<SignedDuration>,
    /// The body; when it is not JSON, an object with the `headers` and, if it is text, the beginning of the `text`.
    pub body: Value,
    /// The body's bytes when it is not JSON.
    pub bytes: Option<Bytes>,
}

impl Reply {
    fn is_success(&self) -> bool {
        (200..=299).contains(&self.status)
    }
}

/// One result as an answer delivers it.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// To be downloaded; with our key, when `with_key`.
    Link { link: String, with_key: bool },
    /// The file itself.
    Bytes(Bytes),
    /// A text.
    Text(String),
}

impl Found {
    /// Where it is downloaded from, if it is to be.
    pub fn link(&self) -> Option<Source> {
        match self {
            Self::Link { link, with_key: false } => Some(Source::Link(link.clone())),
            Self::Link { link, with_key: true } => Some(Source::LinkWithKey(link.clone())),
            Self::Bytes(_) | Self::Text(_) => None,
        }
    }
}

/// The results as an answer delivers them; never empty.
pub type Delivery = Vec<Found>;

/// What became of a submit.
#[derive(Debug, Clone, PartialEq)]
pub enum SubmitAnswer<D = Outcome> {
    /// The provider has the job; `report` when the answer already says more.
    Accepted { job: Job, report: Report<D> },
    /// The provider did the job while we waited: the answer is all there will ever be.
    Done(Report<D>),
    /// Certainly not accepted.
    Refused { failure: Failure, retry_after: Option<SignedDuration> },
    /// It may have been accepted.
    Lost(Ambiguity),
}

/// What a provider says of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Report<D = Outcome> {
    /// Not done yet.
    Running { progress: Option<u8>, queue_position: Option<u32> },
    /// Done; the results have to be asked for, with these facts.
    Fetch(BTreeMap<String, String>),
    /// Done.
    Succeeded(D),
    /// Failed.
    Failed(Failure),
    /// Stopped.
    Canceled,
    /// It does not say.
    Unclear(String),
}

impl<D> Report<D> {
    /// Whether the job failed.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

/// Reads the answers of one API of a provider.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// The provider.
    pub http: &'a HttpProvider,
    /// The API that was called.
    pub api: &'a Api,
}

impl<'a> Reader<'a> {
    /// The reader for a model's answers.
    pub fn of(http: &'a HttpProvider, model: &ModelSpec) -> Option<Self> {
        Some(Self { http, api: http.api_of(model)? })
    }

    /// Reads the answer to a submit.
    pub fn submit(&self, reply: &Reply) -> SubmitAnswer<Delivery> {
        match reply.status {
            200..=299 => match self.envelope_error(&reply.body) {
                Some(code) if self.is_unsure(&code) && !self.proves_refusal(reply) => SubmitAnswer::Lost(Ambiguity::ServerError),
                Some(_) => self.refused(reply),
                None if self.api.poll.is_none() => self.done(reply),
                None => self.accepted(reply),
            },
            // 408 and 499: the server gave up waiting for the request, or an intermediary for the server. A redirect proves nothing either.
            408 | 499 | 0..=399 | 500.. if !self.proves_refusal(reply) => SubmitAnswer::Lost(Ambiguity::ServerError),
            _ => self.refused(reply),
        }
    }

    fn accepted(&self, reply: &Reply) -> SubmitAnswer<Delivery> {
        let submit = &self.api.submit;
        let Some(id) = submit.job_id.as_ref().and_then(|pick| fact(pick, &reply.body)) else {
            return SubmitAnswer::Lost(Ambiguity::UnreadableAnswer);
        };
        let job = Job { id, facts: facts(&submit.job_facts, &reply.body) };
        SubmitAnswer::Accepted { job, report: self.status(reply) }
    }

    /// A synchronous answer. One that cannot be read may be a result that was cut off.
    fn done(&self, reply: &Reply) -> SubmitAnswer<Delivery> {
        let unreadable = reply.bytes.is_some() && !self.api.result.body;
        let report = self.delivered(reply);
        let failed = matches!(&report, Report::Failed(failure) if failure.class == FailureClass::ProviderFailed);
        if failed && unreadable { SubmitAnswer::Lost(Ambiguity::UnreadableAnswer) } else { SubmitAnswer::Done(report) }
    }

    fn refused(&self, reply: &Reply) -> SubmitAnswer<Delivery> {
        SubmitAnswer::Refused { failure: self.classify(Some(reply.status), &reply.body), retry_after: self.delay(reply) }
    }

    fn proves_refusal(&self, reply: &Reply) -> bool {
        self.rules().any(|rule| rule.not_accepted && matches(rule, Some(reply.status), &reply.body))
    }

    fn envelope_error(&self, body: &Value) -> Option<String> {
        let envelope = self.api.envelope.as_ref()?;
        envelope.code.text(body).filter(|code| !envelope.ok.contains(code))
    }

    fn is_unsure(&self, code: &str) -> bool {
        self.api.envelope.as_ref().is_some_and(|envelope| envelope.unsure.iter().any(|unsure| unsure == code))
    }

    /// How long an answer asks to wait.
    pub fn delay(&self, reply: &Reply) -> Option<SignedDuration> {
        let told = || self.http.delays.iter().find_map(|pick| seconds(&pick.text(&reply.body)?));
        reply.retry_after.or_else(told).map(|delay| delay.min(MAX_DELAY))
    }

    /// Reads the answer to a poll. Unless the manifest says otherwise only a 2xx answer says anything of the job: others are the asking
    /// that failed.
    pub fn poll(&self, reply: &Reply) -> Report<Delivery> {
        let by_status = self.api.status.as_ref().map(|words| &words.http);
        if by_status.is_some_and(|http| http.running.contains(&reply.status)) {
            return Report::Running { progress: None, queue_position: None };
        }
        if by_status.is_some_and(|http| http.failed.contains(&reply.status)) {
            return self.job_failed(Some(reply.status), &reply.body);
        }
        if by_status.is_some_and(|http| http.succeeded.contains(&reply.status)) && reply.bytes.is_some() {
            return self.delivered(reply);
        }
        if reply.is_success() { self.status(reply) } else { Report::Unclear(format!("HTTP status {}", reply.status)) }
    }

    fn status(&self, reply: &Reply) -> Report<Delivery> {
        let Some(words) = &self.api.status else { return Report::Unclear("this API tells no status".to_owned()) };
        match self.word(words, &reply.body) {
            Word::Succeeded if self.api.result.fetch.is_some() => Report::Fetch(facts(&words.facts, &reply.body)),
            Word::Succeeded => self.delivered(reply),
            Word::Other(report) => report,
        }
    }

    /// Reads the answer to the request for the results.
    pub fn result(&self, reply: &Reply) -> Report<Delivery> {
        match reply.status {
            200..=299 => match self.envelope_error(&reply.body) {
                Some(code) => Report::Unclear(format!("code {code}")),
                None => self.delivered(reply),
            },
            // These say that we may not ask, or not now, or come from something in between; the job is as it was.
            401 | 403 | 408 | 429 | 502..=504 => Report::Unclear(format!("HTTP status {}", reply.status)),
            status if self.carries_failure(&reply.body) => self.job_failed(Some(status), &reply.body),
            status => Report::Unclear(format!("HTTP status {status}")),
        }
    }

    fn carries_failure(&self, body: &Value) -> bool {
        self.api.result.failed_when.as_ref().is_some_and(|pick| pick.first(body).is_some())
    }

    /// The results in an answer of success.
    fn delivered(&self, reply: &Reply) -> Report<Delivery> {
        if self.carries_failure(&reply.body) {
            return self.job_failed(Some(reply.status), &reply.body);
        }
        match self.found(reply) {
            Some(delivery) => Report::Succeeded(delivery),
            None => match self.rules().find(|rule| matches(rule, None, &reply.body)) {
                Some(rule) => Report::Failed(self.worded(rule.class, rule.message.as_deref(), &reply.body)),
                None => Report::Failed(Failure::new(FailureClass::ProviderFailed, "the provider finished without a result")),
            },
        }
    }

    fn found(&self, reply: &Reply) -> Option<Delivery> {
        let rules = &self.api.result;
        if rules.body {
            return reply.bytes.clone().filter(|bytes| !bytes.is_empty()).map(|bytes| vec![Found::Bytes(bytes)]);
        }
        let files = || {
            rules.base64.iter().find_map(|pick| {
                let texts = pick.all(&reply.body);
                let files = texts.iter().filter_map(|text| BASE64_STANDARD.decode(text.as_str()?).ok());
                let files: Delivery = files.filter(|file| !file.is_empty()).map(|file| Found::Bytes(file.into())).collect();
                (!files.is_empty() && files.len() == texts.len() && files.len() <= MAX_RESULTS).then_some(files)
            })
        };
        let text = || {
            rules.text.iter().find_map(|pick| {
                let texts: String = pick.all(&reply.body).iter().filter_map(|text| text.as_str()).collect();
                (!texts.trim().is_empty()).then(|| vec![Found::Text(texts)])
            })
        };
        links(&rules.links, rules, &reply.body).or_else(files).or_else(text)
    }

    /// Reads the answer to a cancel: `Canceled` when it proves that the job is stopped.
    pub fn cancel(&self, reply: &Reply) -> Report<Delivery> {
        match self.api.cancel.as_ref().map(|cancel| &cancel.proof) {
            Some(CancelProof::Status) if reply.is_success() => self.status(reply),
            Some(CancelProof::Word { pick, any }) if reply.is_success() => {
                match pick.text(&reply.body).filter(|word| any.contains(word)) {
                    Some(_) => Report::Canceled,
                    None => Report::Unclear("the cancel was noted".to_owned()),
                }
            }
            Some(CancelProof::Status | CancelProof::Word { .. }) | None => {
                Report::Unclear(format!("HTTP status {}", reply.status))
            }
        }
    }

    /// Reads a callback whose signature has been verified. A success without links is only a hint to ask.
    pub fn callback(&self, body: &Value) -> Report<Delivery> {
        let Some(callback) = &self.api.callback else { return Report::Unclear("this API has no callbacks".to_owned()) };
        if callback.ask_when.as_ref().is_some_and(|pick| pick.first(body).is_some()) {
            return Report::Unclear("the callback leaves the outcome open".to_owned());
        }
        let Some(words) = &callback.status else { return Report::Unclear("its callbacks tell no outcome".to_owned()) };
        match self.word(words, body) {
            Word::Succeeded if self.carries_failure(body) => self.job_failed(None, body),
            Word::Succeeded => links(&callback.links, &self.api.result, body)
                .map_or_else(|| Report::Unclear("a success without results".to_owned()), Report::Succeeded),
            Word::Other(report) => report,
        }
    }

    fn word(&self, words: &Words, body: &Value) -> Word {
        let Some(word) = words.pick.as_ref().and_then(|pick| pick.text(body)) else {
            let code = self.envelope_error(body).map_or_else(String::new, |code| format!(", code {code}"));
            return Word::Other(Report::Unclear(format!("no status{code}")));
        };
        let has_failed = || words.failed_when.as_ref().is_some_and(|pick| pick.first(body).is_some_and(|found| *found != ""));
        let is_word = |own: &String| *own == word || (words.ignore_case && own.eq_ignore_ascii_case(&word));
        let known = |list: &[String]| list.iter().any(is_word);
        if known(&words.succeeded) && !has_failed() {
            return Word::Succeeded;
        }
        Word::Other(if known(&words.running) {
            let number = |pick: &Option<Pick>| pick.as_ref().and_then(|pick| pick.first(body)?.as_u64());
            Report::Running {
                progress: number(&words.progress).map(|percent| u8::try_from(percent.min(100)).unwrap_or(100)),
                queue_position: number(&words.queue_position).and_then(|position| u32::try_from(position).ok()),
            }
        } else if known(&words.failed) || known(&words.succeeded) {
            self.job_failed(None, body)
        } else if known(&words.canceled) {
            Report::Canceled
        } else {
            Report::Unclear(format!("the status `{}` is not in the manifest", word.chars().take(40).collect::<String>()))
        })
    }

    fn rules(&self) -> impl Iterator<Item = &'a FailureRule> {
        self.api.failures.iter().chain(&self.http.failures)
    }

    /// A failure of the job itself: what no rule knows is the provider's failure, not a rejected request.
    fn job_failed(&self, status: Option<u16>, body: &Value) -> Report<Delivery> {
        let failure = match self.rules().find(|rule| matches(rule, status, body)) {
            Some(rule) => self.worded(rule.class, rule.message.as_deref(), body),
            None => self.worded(FailureClass::ProviderFailed, None, body),
        };
        if failure.class == FailureClass::Canceled { Report::Canceled } else { Report::Failed(failure) }
    }

    /// The failure that an answer with an error status stands for.
    pub fn classify(&self, status: Option<u16>, body: &Value) -> Failure {
        if let Some(rule) = self.rules().find(|rule| matches(rule, status, body)) {
            return self.worded(rule.class, rule.message.as_deref(), body);
        }
        let class = match status {
            Some(401 | 403) => FailureClass::ProviderAuth,
            Some(402) => FailureClass::ProviderFunds,
            Some(429) => FailureClass::Throttled,
            Some(400..=499) => FailureClass::RejectedInput,
            Some(500..) => FailureClass::Unavailable,
            Some(_) | None => FailureClass::ProviderFailed,
        };
        self.worded(class, None, body)
    }

    fn worded(&self, class: FailureClass, own: Option<&str>, body: &Value) -> Failure {
        let theirs = || self.http.messages.iter().find_map(|pick| pick.text(body));
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
}

enum Word {
    Succeeded,
    Other(Report<Delivery>),
}

fn links(picks: &[Pick], rules: &ResultRules, body: &Value) -> Option<Delivery> {
    picks.iter().find_map(|pick| {
        let texts = pick.all(body);
        let mut found = Vec::new();
        for text in texts.iter().filter_map(|text| text.as_str()) {
            if let Some((_, file)) = text.strip_prefix("data:").and_then(|data| data.split_once(";base64,")) {
                found.push(Found::Bytes(BASE64_STANDARD.decode(file).ok()?.into()));
            } else if text.starts_with("https://") || text.starts_with("http://") {
                if text.len() > MAX_FACT_BYTES {
                    return None;
                }
                found.push(Found::Link { link: with_query(text, &rules.link_query)?, with_key: rules.links_need_key });
            }
        }
        (!found.is_empty() && found.len() <= MAX_RESULTS).then_some(found)
    })
}

/// The link with the parameters that it lacks.
fn with_query(link: &str, query: &BTreeMap<String, String>) -> Option<String> {
    if query.is_empty() {
        return Some(link.to_owned());
    }
    let mut url: Url = link.parse().ok()?;
    for (name, value) in query {
        if url.query_pairs().all(|(own, _)| own != name.as_str()) {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    Some(url.into())
}

/// The seconds in `30`, `1.5`, `34s` or `resets in ~30s`: the first number, rounded up to milliseconds.
fn seconds(text: &str) -> Option<SignedDuration> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let number: String = text[start..].chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let (whole, part) = number.split_once('.').unwrap_or((&number, ""));
    let thousandths: String = part.chars().chain("000".chars()).take(3).collect();
    let ms = whole.parse::<i64>().ok()?.checked_mul(1_000)?.checked_add(thousandths.parse().ok()?)?;
    Some(SignedDuration::from_millis(ms))
}

fn matches(rule: &FailureRule, status: Option<u16>, body: &Value) -> bool {
    // A rule that names only statuses is about HTTP errors; a job's failure has no status of its own.
    let status_fits = rule.status.is_empty() || status.is_some_and(|status| rule.status.contains(&status));
    let fits = |value: &Value| {
        if rule.equals.is_empty() && rule.contains.is_empty() {
            return !value.is_null();
        }
        let Some(text) = plain_text(value) else { return false };
        let lower = text.to_lowercase();
        rule.equals.contains(&text) || rule.contains.iter().any(|part| lower.contains(&part.to_lowercase()))
    };
    let picked_fits = || rule.picks.iter().flat_map(|pick| pick.all(body)).any(|value| fits(&value));
    status_fits && (rule.picks.is_empty() || picked_fits())
}

#[cfg(test)]
mod tests;
