//! Scripts of what happens to a generation, one event a line, with what `decide` has to make of it.
//!
//! `+5s lost 1 -> unconfirmed, due 300s`: five seconds later the answer to attempt 1 is lost; the generation is then unconfirmed and
//! falls due 300 s from now. `@due` instead of `+5s` goes forward to the due time. A line that starts with `?` only asks what would
//! happen. Money, assets, messages, the due time and a late result are listed when there are any: an expectation is always the whole
//! decision, and every posting goes through a real account.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, json};

use super::{Backoff, Decision, Event, Rules, Send, Unchanged, decide};
use crate::catalog::manifest::MediaKind;
use crate::credits::Credits;
use crate::failure::{Charge, Failure, FailureClass, Policies};
use crate::generation::{
    Ambiguity, AttemptResult, Candidate, Erasure, Finish, Generation, Input, Job, LateState, Order, Outcome, Prepared, Source,
    State, StoredResult,
};
use crate::ids::{AccountId, AssetId, GenerationId};
use crate::ledger::{Account, Entry, Note, Posting, Taken};
use crate::pool::Waiting;

mod books;
mod chains;
mod erasure;
mod matrix;
mod promises;
mod simulation;
mod table;

/// Every kind of event, by the word that scripts use for it.
const EVENTS: [&str; 28] = [
    "claim",
    "wait",
    "pass_over",
    "prepared",
    "accepted",
    "failed",
    "key_refused",
    "unsent",
    "lost",
    "succeeded",
    "provider_canceled",
    "asking",
    "still_running",
    "ask_failed",
    "woken",
    "collecting",
    "stored",
    "collect_delayed",
    "collect_failed",
    "cancel",
    "erase",
    "erased",
    "erase_result",
    "tidied",
    "due",
    "let_go",
    "bill",
    "retry_now",
];

/// What an event may carry besides its attempt.
#[derive(Debug, Clone)]
struct Details {
    class: FailureClass,
    retry_after: Option<SignedDuration>,
    job: Option<Job>,
    progress: Option<u8>,
}

fn event(word: &str, attempt: u32, details: &Details, now: Timestamp) -> Event {
    let failure = Failure::new(details.class, "as told");
    let job = details.job.clone();
    match word {
        "claim" => Event::Claim { key: None, holds_slot: false },
        "wait" => Event::Wait { waiting: Some(place()), until: details.retry_after.map(|after| now + after) },
        "pass_over" => Event::PassOver,
        "prepared" => Event::Prepared { attempt, prepared: prepared_file() },
        "accepted" => Event::Accepted { attempt, job: job.unwrap_or_else(|| provider_job(attempt)) },
        "failed" => Event::Failed { attempt, failure, retry_after: details.retry_after },
        "key_refused" => Event::KeyRefused { attempt, failure },
        "unsent" => Event::Unsent { attempt, failure },
        "lost" => Event::Lost { attempt, reason: Ambiguity::TimedOut },
        "succeeded" => Event::Succeeded { attempt, job, outcome: Outcome { sources: vec![Source::Link("https://x/1".into())] } },
        "provider_canceled" => Event::ProviderCanceled { attempt },
        "asking" => Event::Asking { attempt },
        "still_running" => Event::StillRunning { attempt, progress: details.progress, queue_position: None },
        "ask_failed" => Event::AskFailed { attempt },
        "woken" => Event::Woken { attempt, job },
        "collecting" => Event::Collecting { attempt },
        "stored" => Event::Stored { attempt, results: vec![stored_file()] },
        "collect_delayed" => Event::CollectDelayed { attempt, failure },
        "collect_failed" => Event::CollectFailed { attempt, failure },
        "cancel" => Event::CancelRequested,
        "erase" => Event::EraseRequested,
        "erased" => Event::Erased,
        "erase_result" => Event::EraseResult { asset: stored_file().asset },
        "tidied" => Event::Tidied,
        "due" => Event::Due,
        "let_go" => Event::Resolve { charge: Charge::None, note: operators_note() },
        "bill" => Event::Resolve { charge: Charge::Full, note: operators_note() },
        "retry_now" => Event::RetryNow,
        other => panic!("`{other}` is not one of {EVENTS:?}"),
    }
}

fn operators_note() -> Note {
    Note { by: None, reason: "the customer asked".into() }
}

/// A place in the line of provider `p`.
fn place() -> Waiting {
    Waiting::new("p", AccountId::from_parts(1, [1; 10]), 1, GenerationId::from_parts(1, [2; 10]))
}

fn candidate(provider: &str) -> Candidate {
    Candidate {
        model: format!("{provider}/m"),
        provider: provider.to_owned(),
        catalog_version: 1,
        model_version: None,
        params: None,
        cost_micro_usd: None,
    }
}

/// For an image that `provider` is to make, without parameters.
pub(crate) fn order(provider: &str) -> Order {
    Order {
        model: "m".into(),
        kind: MediaKind::Image,
        box_id: None,
        params: Map::new(),
        inputs: Vec::new(),
        price_by_results: Vec::new(),
        finish: Finish::default(),
        erase_inputs: false,
        candidates: vec![candidate(provider)],
    }
}

fn provider_job(attempt: u32) -> Job {
    Job { id: format!("job-{attempt}"), facts: [("url".to_owned(), "https://x".to_owned())].into() }
}

fn stored_file() -> StoredResult {
    let asset = AssetId::from_parts(1, [3; 10]);
    let text = Some("told by the model".to_owned());
    StoredResult {
        asset,
        key: "results/1".into(),
        bytes: 9,
        content_type: "image/png".into(),
        text,
        media: None,
        erased_at: None,
    }
}

fn prepared_file() -> Prepared {
    let input =
        Input { asset: AssetId::from_parts(1, [4; 10]), key: "prepared/1".into(), content_type: "image/jpeg".into(), bytes: 9 };
    Prepared { inputs: vec![input], texts: Vec::new() }
}

fn seconds(s: i64) -> SignedDuration {
    SignedDuration::from_secs(s)
}

fn credits(amount: u64) -> Credits {
    Credits::new(amount).expect("small")
}

fn start() -> Timestamp {
    Timestamp::from_second(1_790_000_000).expect("in range")
}

/// Every limit is another number, so that no two can be mistaken for each other.
pub(crate) fn rules() -> Rules {
    Rules {
        claim_lease: seconds(30),
        collect_lease: seconds(90),
        ask_lease: seconds(45),
        run_limit: seconds(200),
        unconfirmed_for: seconds(300),
        poll: Backoff { first: seconds(10), growth_percent: 200, max: seconds(40) },
        retry: Backoff { first: seconds(2), growth_percent: 300, max: seconds(50) },
        submit_repeat_safe: false,
        max_attempts: 3,
        max_attempts_before_next: 2,
        max_throttled: 6,
        collect_for: seconds(400),
        requeue_every: seconds(60),
        queue_limit: seconds(3600),
        policies: Policies::default(),
    }
}

/// The rules of a provider that bills for `classes`.
fn billing(classes: &[&str]) -> Rules {
    let full = |class: &&str| ((*class).to_owned(), json!({"charge": "full", "retry": "no", "alarm": "nobody"}));
    let policies = classes.iter().map(full).collect::<Map<_, _>>();
    Rules { policies: serde_json::from_value(policies.into()).expect("known classes"), ..rules() }
}

/// A generation that has just been accepted, with its customer's account.
#[derive(Debug, Clone)]
struct Life {
    generation: Generation,
    account: Account,
    entries: Vec<Entry>,
    now: Timestamp,
}

impl Life {
    fn new(granted: u64, hold: u64, due_in: SignedDuration) -> Self {
        Self::granted_in_parts(&[(granted, None)], hold, due_in)
    }

    /// Each part can be spent for so long, or for good.
    fn granted_in_parts(parts: &[(u64, Option<SignedDuration>)], hold: u64, due_in: SignedDuration) -> Self {
        let now = start();
        let id = GenerationId::from_parts(1, [2; 10]);
        let account = AccountId::from_parts(1, [1; 10]);
        let generation = Generation::accept(id, account, order("p"), credits(hold), None, now, now + due_in);
        let mut life = Self { generation, account: Account::open(account, now), entries: Vec::new(), now };
        for (number, (amount, ends_in)) in parts.iter().enumerate() {
            let (reference, ends_at) = (format!("part-{number}"), ends_in.map(|ends_in| now + ends_in));
            life.post(&Posting::Grant { reference, amount: credits(*amount), ends_at, note: None });
        }
        life.generation.funds.from = life.post(&Posting::Hold { generation: id, amount: credits(hold), key: None });
        life
    }

    /// What a hold took from credits that end.
    fn post(&mut self, posting: &Posting) -> Vec<Taken> {
        let posted = self.account.post(posting, self.now).unwrap_or_else(|refusal| panic!("{posting:?}: {refusal}"));
        self.account = posted.account;
        self.entries.extend(posted.entries);
        posted.taken
    }

    fn keep(&mut self, decision: Decision) {
        if let Some(posting) = &decision.posting {
            self.post(posting);
        }
        self.generation = decision.next;
    }

    /// Goes forward to the due time; time does not run backwards for what is overdue.
    fn wait_until_due(&mut self) {
        let due_at = self.generation.due_at.expect("nothing is due any more");
        self.now = self.now.max(due_at);
    }
}

/// Plays a script against a new generation with a hold of 7 out of 100 credits. Returns each state in which an event was tried.
#[track_caller]
fn check(rules: &Rules, script: &str) -> BTreeSet<(&'static str, &'static str)> {
    play(Life::new(100, 7, seconds(60)), rules, script)
}

/// As [`check`], with an order that `p`, and failing that `q`, is to make.
#[track_caller]
fn check_chain(rules: &Rules, script: &str) {
    let mut life = Life::new(100, 7, seconds(60));
    life.generation.order.candidates.push(candidate("q"));
    play(life, rules, script);
}

#[track_caller]
fn play(mut life: Life, rules: &Rules, script: &str) -> BTreeSet<(&'static str, &'static str)> {
    let mut tried = BTreeSet::new();
    let (mut expected, mut actual) = (Vec::new(), Vec::new());
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (told, result) = line.split_once("->").unwrap_or_else(|| panic!("`{line}` needs `-> what happens`"));
        let mut words = told.split_whitespace().peekable();
        let only_asking = words.next_if_eq(&"?").is_some();
        let before = life.clone();
        if words.next_if_eq(&"@due").is_some() {
            assert!(life.generation.due_at.is_some(), "`{line}`: nothing is due after\n{}", actual.join("\n"));
            life.wait_until_due();
        } else if let Some(wait) = words.next_if(|word| word.starts_with('+')) {
            life.now += seconds(wait[1..].trim_end_matches('s').parse().expect("`+<seconds>s`"));
        }
        let event = parse(&words.collect::<Vec<_>>(), life.now);
        let word = EVENTS.into_iter().find(|word| told.split_whitespace().any(|told| told == *word)).expect("parsed");
        tried.insert((life.generation.state.phase(), word));
        let decided = decide(&life.generation, &event, rules, life.now);
        actual.push(format!("{} -> {}", told.trim(), describe(&decided, life.now)));
        expected.push(format!("{} -> {}", told.trim(), result.trim()));
        match decided {
            Ok(_) | Err(_) if only_asking => life = before,
            Ok(decision) => life.keep(decision),
            Err(_) => {}
        }
        books::agree(&life);
    }
    let lines: Vec<String> = std::iter::zip(&actual, &expected)
        .map(|(actual, expected)| if actual == expected { format!("  {actual}") } else { format!("- {expected}\n+ {actual}") })
        .collect();
    assert!(actual == expected, "expected (-) and decided (+):\n{}", lines.join("\n"));
    tried
}

/// `<event> [attempt] [failure class] [retry <n>s] [<n>%] [job]`
fn parse(words: &[&str], now: Timestamp) -> Event {
    let mut details = Details { class: FailureClass::ProviderFailed, retry_after: None, job: None, progress: None };
    let mut attempt = 0;
    let number = |text: &str| text.trim_end_matches(['s', '%']).parse().expect("a number");
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        if *word == "retry" {
            details.retry_after = Some(seconds(number(rest.next().expect("`retry <n>s`"))));
        } else if *word == "job" {
            details.job = Some(provider_job(attempt));
        } else if word.ends_with('%') {
            details.progress = Some(u8::try_from(number(word)).expect("a percentage"));
        } else if word.starts_with(|c: char| c.is_ascii_digit()) {
            attempt = word.parse().expect("an attempt");
        } else {
            details.class = serde_json::from_value(json!(word)).expect("a failure class");
        }
    }
    event(words[0], attempt, &details, now)
}

fn describe(decided: &Result<Decision, Unchanged>, now: Timestamp) -> String {
    let decision = match decided {
        Ok(decision) => decision,
        Err(Unchanged::AlreadySo) => return "already so".to_owned(),
        Err(Unchanged::StaleAttempt) => return "stale".to_owned(),
        Err(Unchanged::TooLate) => return "too late".to_owned(),
        Err(Unchanged::NotYet) => return "not yet".to_owned(),
    };
    let generation = &decision.next;
    let mut parts = vec![describe_state(generation)];
    match &decision.posting {
        Some(Posting::Charge { hold, charge }) => parts.push(format!("charge {charge} of {}", hold.amount)),
        Some(Posting::Release { hold }) => parts.push(format!("release {}", hold.amount)),
        Some(Posting::Grant { .. } | Posting::Hold { .. } | Posting::Adjust { .. } | Posting::Expire) => {
            panic!("a generation only closes its hold")
        }
        None => {}
    }
    if !decision.assets.is_empty() {
        parts.push(format!("file {}", decision.assets.len()));
    }
    parts.extend(decision.send.iter().map(|send| match send {
        Send::Dispatch { after } => format!("dispatch in {}s", after.as_secs()),
        Send::Collect => "collect".to_owned(),
        Send::Nudge { at } => format!("nudge in {}s", at.duration_since(now).as_secs()),
    }));
    parts.extend(generation.due_at.map(|due| format!("due {}s", due.duration_since(now).as_secs())));
    parts.extend(generation.late.as_ref().map(|late| match &late.state {
        LateState::Collecting { tries, .. } => format!("late {} collecting, try {tries}", late.attempt),
        LateState::Stored { .. } => format!("late {} stored", late.attempt),
        LateState::Lost { .. } => format!("late {} lost", late.attempt),
    }));
    parts.join(", ")
}

fn describe_state(generation: &Generation) -> String {
    let phase = generation.state.phase();
    let mut text = match &generation.state {
        State::Running { progress: Some(percent), .. } => format!("{phase} {percent}%"),
        State::Collecting { tries, .. } => format!("{phase}, try {tries}"),
        State::Failed { failure, .. } => format!("{phase} {}", json!(failure.class).as_str().expect("a word")),
        State::Queued { .. }
        | State::Claimed { .. }
        | State::Running { .. }
        | State::Unconfirmed { .. }
        | State::Succeeded { .. }
        | State::Canceled { .. } => phase.to_owned(),
    };
    if let State::Queued { waiting: Some(_), .. } = generation.state {
        text += " in line";
    }
    let erased = generation.results().filter(|result| result.erased_at.is_some()).count();
    match generation.erasure {
        None if erased > 0 => text += &format!(", {erased} erased"),
        None => {}
        Some(Erasure::Erasing { .. }) => text += ", erasing",
        Some(Erasure::Erased { .. }) => text += ", erased",
    }
    if generation.candidate > 0 {
        text += &format!(" by {}", generation.candidate().provider);
    }
    if generation.cancel_requested_at.is_some() && !generation.state.is_terminal() {
        text += ", canceling";
    }
    text
}
