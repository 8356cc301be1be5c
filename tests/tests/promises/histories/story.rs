//! One history: an account, two processes, and what happens to them.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use jiff::SignedDuration;
use serde_json::Map;
use shared::backend::{Applied, Backend};
use shared::catalog::manifest::MediaKind;
use shared::clock::Clock;
use shared::credits::Credits;
use shared::failure::{Failure, FailureClass};
use shared::generation::{Ambiguity, Candidate, Finish, Generation, Job, LateState, Order, Outcome, Source, State, StoredResult};
use shared::idempotency::IdempotencyClaim;
use shared::ids::{AccountId, ApiKeyId, AssetId, GenerationId};
use shared::lifecycle::Event;
use shared::queue::{MemoryQueues, Queue};
use shared::store::{Accepted, ByHand, StoreError};
use tests::{Fault, Random, Statement, Wire, World};

/// A process of the deployment: its backend, and the wire between it and the table.
pub(super) struct Process {
    pub(super) backend: Backend,
    wire: Wire,
}

pub(super) struct Story {
    pub(super) random: Random,
    pub(super) processes: [Process; 2],
    pub(super) account: AccountId,
    clock: Clock,
    /// Every generation that somebody tried to have.
    asked: Vec<GenerationId>,
    /// Records that a worker read some time ago.
    read: Vec<Generation>,
    /// Who may make what is ordered.
    candidates: Vec<Candidate>,
    trace: bool,
    pub(super) told: Vec<String>,
    pub(super) references: u32,
}

/// The clock is so much ahead of the stack's own: its schedule finds nothing of this due.
const AHEAD: Duration = Duration::from_secs(400 * 86_400);

/// Two clients of the table, each over a wire of its own, for one history after the other.
pub(super) struct Lines([(Client, Wire); 2]);

impl Lines {
    pub(super) fn of(world: &World) -> Self {
        Self([(); 2].map(|()| {
            let wire = Wire::default();
            (world.another_client(&wire), wire)
        }))
    }
}

fn process(world: &World, (client, wire): &(Client, Wire), clock: &Clock) -> Process {
    let wire = wire.clone();
    let mut backend = world.stack.backend.clone();
    backend.store = world.store_over(client.clone());
    backend.clock = clock.clone();
    // Nobody reads them: whatever a message would have brought about happens here by chance, or is left to the poll.
    backend.queue = Queue::Memory(MemoryQueues::new(Vec::new(), clock.clone()));
    Process { backend, wire }
}

impl Story {
    pub(super) async fn begin(world: &World, lines: &Lines, seed: u64, trace: bool) -> Self {
        let clock = Clock::system();
        clock.advance(AHEAD);
        let processes = [0, 1].map(|number| process(world, &lines.0[number], &clock));
        processes.iter().for_each(|process| process.wire.mend());
        let (unix_ms, random) = processes[0].backend.id_parts();
        let account = AccountId::from_parts(unix_ms, random);
        let catalog = world.stack.backend.catalog().await.expect("it loads");
        // Submitting to the one may be repeated, to the other not.
        let offers = ["placeholder", "flux-schnell"].map(|name| catalog.offer(name).expect("it is built in"));
        let candidates =
            offers.iter().flat_map(|offer| offer.plans(&Map::new()).into_iter().map(|plan| plan.candidate)).collect();
        let mut story = Self {
            random: Random::of(seed),
            processes,
            account,
            clock,
            asked: Vec::new(),
            read: Vec::new(),
            candidates,
            trace,
            told: Vec::new(),
            references: 0,
        };
        story.open().await;
        story
    }

    pub(super) fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.trace {
            self.told.push(what());
        }
    }

    pub(super) async fn live(&mut self) {
        for _ in 0..self.random.between(6, 18) {
            let number = self.random.index(2);
            if self.random.percent(20) {
                let fault = if self.random.percent(50) { Fault::CutBefore } else { Fault::CutAfter };
                let nth = u32::try_from(self.random.between(1, 3)).expect("few");
                self.tell(|| format!("{fault:?} at call {nth} of process {number}"));
                self.processes[number].wire.cut(nth, fault);
            }
            match self.random.below(20) {
                0..3 => self.time_passes(),
                3..8 if self.asked.len() < 5 => self.somebody_asks(number).await,
                3..17 => self.something_happens(number).await,
                _ => self.an_operator_acts(number).await,
            }
        }
    }

    fn time_passes(&mut self) {
        let seconds = [0, 1, 20, 70, 1_000][self.random.index(5)];
        self.tell(|| format!("{seconds} s pass"));
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// What was cut may be answered with an error; nothing else may.
    pub(super) fn forgive(&mut self, number: usize, error: &StoreError) {
        let is_cut = matches!(error, StoreError::Table { .. }) && !self.processes[number].wire.is_waiting();
        assert!(is_cut, "{error}: {error:?}");
        self.tell(|| format!("  {error}"));
    }

    /// As `POST /v1/generations`: a request, its twin, or one whose answer was lost.
    async fn somebody_asks(&mut self, number: usize) {
        let key = *self.random.one_of(&[None, Some(super::operators::key(1)), Some(super::operators::key(2))]);
        let claim = self.random.percent(60).then(|| self.random.below(4)).map(|request| IdempotencyClaim {
            account: self.account,
            key_hash: format!("request-{request}"),
            payload: "the same".to_owned(),
            keep: Duration::from_secs(86_400),
        });
        let generation = self.order(key);
        self.asked.push(generation.id);
        self.tell(|| format!("ask for {} credits with {claim:?} by {key:?}", generation.hold));
        let other = if self.random.percent(20) { Some(self.order(key)) } else { None };
        let one = self.processes[number].backend.store.accept(&generation, claim.as_ref(), None, generation.created_at);
        let accepted = match other {
            None => one.await,
            // Two with one key at once, in two processes.
            Some(twin) => {
                self.asked.push(twin.id);
                let two = self.processes[1 - number].backend.store.accept(&twin, claim.as_ref(), None, twin.created_at);
                let (accepted, twin) = futures_util::join!(one, two);
                if let Err(error) = &twin {
                    self.forgive(1 - number, error);
                }
                let both_new = matches!((&accepted, &twin), (Ok(Accepted::New(_)), Ok(Accepted::New(_))));
                assert!(!both_new || claim.is_none(), "one key, two holds");
                accepted
            }
        };
        match accepted {
            Ok(accepted) => self.tell(|| format!("  {accepted:?}")),
            Err(error) => {
                self.forgive(number, &error);
                // As the function does: the ledger knows whether it was written.
                let known = self.processes[number].backend.store.accepted(&generation).await;
                self.tell(|| format!("  after all: {known:?}"));
            }
        }
    }

    fn order(&mut self, key: Option<ApiKeyId>) -> Generation {
        let hold = self.random.below(13);
        let is_by_results = self.random.percent(30);
        let price_by_results =
            if is_by_results { (1..=4).map(|results| credits(hold * results / 4)).collect() } else { Vec::new() };
        let order = Order {
            model: "placeholder".to_owned(),
            kind: MediaKind::Image,
            box_id: None,
            params: Map::new(),
            inputs: Vec::new(),
            price_by_results,
            finish: Finish::default(),
            erase_inputs: false,
            candidates: self.candidates[self.random.index(self.candidates.len())..].to_vec(),
        };
        let backend = &self.processes[0].backend;
        let now = backend.now();
        let (unix_ms, random) = backend.id_parts();
        let id = GenerationId::from_parts(unix_ms, random);
        Generation::accept(id, self.account, order, credits(hold), key, now, now + SignedDuration::from_secs(60))
    }

    /// An event for one of the generations, decided on what was read now or some time ago, by one process or by both at once.
    async fn something_happens(&mut self, number: usize) {
        if self.asked.is_empty() {
            return;
        }
        let id = *self.random.one_of(&self.asked);
        let read = match self.processes[number].backend.store.generation(id).await {
            Ok(Some(read)) => read,
            Ok(None) => return,
            Err(error) => return self.forgive(number, &error),
        };
        let old =
            if self.read.is_empty() || self.random.percent(70) { read.clone() } else { self.random.one_of(&self.read).clone() };
        self.read.push(read);
        let (event, other) = (self.event_for(&old), self.event_for(&old));
        if self.random.percent(80) {
            self.apply(number, old, &event).await;
            return;
        }
        self.tell(|| format!("at once {event:?} and {other:?}"));
        let [one, two] = [number, 1 - number].map(|number| &self.processes[number].backend);
        let (one, two) = futures_util::join!(one.apply(old.clone(), &event), two.apply(old, &other));
        for (number, applied) in [(number, one), (1 - number, two)] {
            if let Err(error) = applied {
                self.forgive(number, &error);
            }
        }
    }

    /// As an operator's resolution or retry: with a note of who did it in the same transaction.
    pub(super) async fn decide_by_hand(&mut self, number: usize, event: &Event) {
        if self.asked.is_empty() {
            return;
        }
        let id = *self.random.one_of(&self.asked);
        let backend = self.processes[number].backend.clone();
        let read = match backend.store.generation(id).await {
            Ok(Some(read)) => read,
            Ok(None) => return,
            Err(error) => return self.forgive(number, &error),
        };
        let action = backend.action(self.account, None, "resolve", &id.to_string(), Some("a test"));
        let applied = backend.apply_by_hand(read, event, &ByHand { action: &action, remembered: None }).await;
        self.tell(|| format!("by hand {event:?}: {}", applied.as_ref().map_or("an error", |now| now.generation().state.phase())));
        if let Err(error) = applied {
            self.forgive(number, &error);
        }
    }

    async fn apply(&mut self, number: usize, read: Generation, event: &Event) -> Option<Applied> {
        let applied = self.processes[number].backend.apply(read, event).await;
        self.tell(|| match &applied {
            Ok(Applied::Changed(generation)) => format!("{event:?} -> {}", generation.state.phase()),
            Ok(Applied::Unchanged(generation, why)) => format!("{event:?}: {why}, {}", generation.state.phase()),
            Err(error) => format!("{event:?}: {error}"),
        });
        applied.map_err(|error| self.forgive(number, &error)).ok()
    }

    /// What may well happen in such a state, or anything at all.
    fn event_for(&mut self, read: &Generation) -> Event {
        const QUEUED: &[&str] = &["claim", "claim", "claim", "cancel", "due", "pass_over"];
        const SUBMITTED: &[&str] =
            &["accepted", "accepted", "lost", "failed", "succeeded", "key_refused", "unsent", "woken", "cancel", "due"];
        const RUNNING: &[&str] = &[
            "asking",
            "still_running",
            "ask_failed",
            "succeeded",
            "succeeded",
            "failed",
            "provider_canceled",
            "cancel",
            "woken",
        ];
        const COLLECTING: &[&str] = &["collecting", "stored", "stored", "collect_delayed", "collect_failed", "due"];
        const ENDED: &[&str] = &["succeeded", "failed", "stored", "collecting", "collect_failed", "cancel", "due"];
        let likely = match &read.state {
            State::Queued { .. } => QUEUED,
            State::Claimed { .. } | State::Unconfirmed { .. } => SUBMITTED,
            State::Running { .. } => RUNNING,
            State::Collecting { .. } => COLLECTING,
            State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. } => ENDED,
        };
        let any = [QUEUED, SUBMITTED, RUNNING, COLLECTING, ENDED][self.random.index(5)];
        let word = *if self.random.percent(75) { self.random.one_of(likely) } else { self.random.one_of(any) };
        let is_late = read.late.as_ref().is_some_and(|late| matches!(late.state, LateState::Collecting { .. }));
        let attempt = match read.late.as_ref().filter(|_| is_late && self.random.percent(50)) {
            Some(late) => late.attempt,
            None if self.random.percent(80) => read.attempt(),
            None => read.attempt().saturating_sub(1),
        };
        self.event(word, attempt)
    }

    fn event(&mut self, word: &str, attempt: u32) -> Event {
        let class = if self.random.percent(60) { FailureClass::Throttled } else { *self.random.one_of(&FailureClass::ALL) };
        let failure = Failure::new(class, "as told");
        let job = Job { id: format!("job-{attempt}"), facts: [].into() };
        match word {
            "claim" => Event::Claim { key: None, holds_slot: false },
            "pass_over" => Event::PassOver,
            "accepted" => Event::Accepted { attempt, job },
            "failed" => Event::Failed { attempt, failure, retry_after: None },
            "key_refused" => Event::KeyRefused { attempt, failure },
            "unsent" => Event::Unsent { attempt, failure },
            "lost" => Event::Lost { attempt, reason: Ambiguity::TimedOut },
            "succeeded" => Event::Succeeded { attempt, job: Some(job), outcome: Outcome { sources: vec![Source::Local] } },
            "provider_canceled" => Event::ProviderCanceled { attempt },
            "asking" => Event::Asking { attempt },
            "still_running" => Event::StillRunning { attempt, progress: Some(1), queue_position: None },
            "ask_failed" => Event::AskFailed { attempt },
            "woken" => Event::Woken { attempt, job: Some(job) },
            "collecting" => Event::Collecting { attempt },
            "stored" => Event::Stored { attempt, results: self.results() },
            "collect_delayed" => Event::CollectDelayed { attempt, failure },
            "collect_failed" => Event::CollectFailed { attempt, failure },
            "cancel" => Event::CancelRequested,
            "due" => Event::Due,
            other => panic!("`{other}` is not an event"),
        }
    }

    fn results(&mut self) -> Vec<StoredResult> {
        let result = |story: &mut Self| {
            let (unix_ms, random) = story.processes[0].backend.id_parts();
            let asset = AssetId::from_parts(unix_ms, random);
            StoredResult {
                asset,
                key: "results/1".into(),
                bytes: 9,
                content_type: "image/png".into(),
                text: None,
                media: None,
                erased_at: None,
            }
        };
        (0..=self.random.index(3)).map(|_| result(self)).collect()
    }

    /// Everybody is dead, every message lost, and the wires are whole: what is due is looked at, until nothing is. The looks come later and
    /// later: an end that is long overdue is the same end.
    pub(super) async fn ends(&mut self) -> Statement {
        self.processes.iter().for_each(|process| process.wire.mend());
        self.tell(|| "only the poll is left".to_owned());
        let mut open = self.asked.clone();
        for round in 0..100 {
            let number = self.random.index(2);
            let backend = self.processes[number].backend.clone();
            let account = backend.store.account(self.account).await.expect("the wire is whole").expect("it was opened");
            let mut due = Vec::new();
            for id in std::mem::take(&mut open) {
                let there = backend.store.generation(id).await.expect("the wire is whole");
                due.extend(there.filter(|generation| generation.due_at.is_some()));
            }
            let first = due.iter().filter_map(|generation| generation.due_at).chain(account.due_at()).min();
            let Some(first) = first else { return Statement::read(&backend.store, self.account).await };
            let at = first + SignedDuration::from_mins(5) * round;
            self.clock.advance(Duration::try_from(at.duration_since(backend.now())).unwrap_or_default());
            if account.due_at().is_some_and(|due| due <= backend.now()) {
                backend.store.expire_credits(self.account, backend.now()).await.expect("the wire is whole");
            }
            for generation in due {
                open.push(generation.id);
                if generation.due_at.is_some_and(|due| due <= backend.now()) {
                    self.look_at(number, generation).await;
                }
            }
        }
        panic!("it goes on for ever");
    }

    /// As the poll function's nudge.
    async fn look_at(&mut self, number: usize, generation: Generation) {
        let attempt = generation.attempt();
        let State::Running { .. } = generation.state else {
            self.apply(number, generation, &Event::Due).await;
            return;
        };
        if let Some(Applied::Changed(leased)) = self.apply(number, generation, &Event::Asking { attempt }).await {
            let word = if self.random.percent(50) { "failed" } else { "ask_failed" };
            let answer = self.event(word, attempt);
            self.apply(number, *leased, &answer).await;
        }
    }
}

pub(super) fn credits(amount: u64) -> Credits {
    Credits::new(amount).expect("small")
}
