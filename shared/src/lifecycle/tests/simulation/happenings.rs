//! What customers, providers, queues and workers do, in any order.

use super::world::{Message, Work};
use super::*;

/// Nothing much happens without a claim, and most failures end it.
const COMMON: [&str; 5] = ["claim", "accepted", "failed", "lost", "succeeded"];

impl World {
    /// A new request, or one that was sent before: its answer was lost, or has not come yet.
    pub(super) fn somebody_asks(&mut self) {
        let process = self.random.index(2);
        let asked = u64::try_from(self.table.generations.len() + self.works.len()).expect("few");
        let request = self.random.percent(60).then(|| self.random.below(asked + 1));
        if request.is_none() && self.table.generations.len() >= 5 {
            return;
        }
        let begun = self.works.iter().any(|work| match work {
            Work::Accept { request: other, .. } => other.is_some() && *other == request,
            Work::Event { .. } => false,
        });
        if begun {
            self.seen.insert("two acceptances with one key at once");
        }
        let generation = Box::new(self.order(process));
        self.tell(|| format!("  ask for {} credits, request {request:?}, by {:?}", generation.hold, generation.funds.key));
        let work = Work::Accept { process, generation, request };
        if self.random.percent(30) { self.works.push(work) } else { self.go_on(work) }
    }

    fn order(&mut self, process: usize) -> Generation {
        let now = self.clock(process);
        let candidates = ["p", "q", "r"].iter().take(self.random.index(3) + 1).map(|name| candidate(name)).collect();
        let hold = self.random.below(13);
        let price =
            if self.random.percent(30) { (1..=4).map(|results| credits(hold * results / 4)).collect() } else { Vec::new() };
        let order = Order {
            model: "m".into(),
            kind: MediaKind::Image,
            box_id: None,
            params: Map::from_iter([("prompt".to_owned(), json!("a fox"))]),
            inputs: Vec::new(),
            price_by_results: price,
            finish: Finish::default(),
            erase_inputs: false,
            candidates,
        };
        let key = *self.random.one_of(&[None, Some(operators::key(1)), Some(operators::key(1)), Some(operators::key(2))]);
        let id = GenerationId::from_parts(1, self.random.bytes());
        Generation::accept(id, self.table.account.id, order, credits(hold), key, now, now + self.rules.requeue_every)
    }

    /// Any event, right or wrong: callbacks and answers that come twice, late or for an earlier attempt.
    pub(super) fn something_happens(&mut self) {
        if self.table.generations.is_empty() {
            return;
        }
        let (process, which) = (self.random.index(2), self.random.index(self.table.generations.len()));
        let read = Box::new(self.table.generations[which].clone());
        let attempt = match self.random.below(10) {
            0..5 => read.attempt(),
            5..8 => read.attempt().saturating_sub(1),
            8 => read.late.as_ref().map_or(read.attempt(), |late| late.attempt),
            _ => u32::try_from(self.random.below(5)).expect("few"),
        };
        let word = if self.random.percent(45) { *self.random.one_of(&COMMON) } else { *self.random.one_of(&EVENTS) };
        let event = self.event(word, attempt, process);
        self.begin(Work::Event { process, which, read, event });
    }

    fn event(&mut self, word: &str, attempt: u32, process: usize) -> Event {
        if word == "stored" {
            let results = vec![stored_file(); self.random.index(4) + 1];
            return Event::Stored { attempt, results };
        }
        let class = if self.random.percent(60) { FailureClass::Throttled } else { *self.random.one_of(&FailureClass::ALL) };
        let details = Details {
            class,
            retry_after: self.random.percent(30).then(|| seconds(self.random.between(0, 2_000))),
            job: self.random.percent(50).then(|| provider_job(1)),
            progress: None,
        };
        event(word, attempt, &details, self.clock(process))
    }

    /// Done at once, or by a worker who is slow after he has read the record.
    fn begin(&mut self, work: Work) {
        if self.random.percent(30) { self.works.push(work) } else { self.go_on(work) }
    }

    pub(super) fn a_worker_goes_on(&mut self) {
        if !self.works.is_empty() {
            let index = self.random.index(self.works.len());
            let work = self.works.swap_remove(index);
            self.go_on(work);
        }
    }

    /// Before its commit: as if nothing had been.
    pub(super) fn a_worker_dies(&mut self) {
        if self.works.pop().is_some() {
            self.tell(|| "  a worker dies".to_owned());
        }
    }

    fn go_on(&mut self, work: Work) {
        match work {
            // The function's time is over.
            Work::Accept { generation, .. } if self.now.duration_since(generation.created_at) > seconds(30) => {}
            Work::Accept { process, generation, request } => {
                let is_new = self.accept(process, &generation, request);
                self.tell(|| format!("  accepted: {is_new}"));
                if is_new && self.random.percent(90) {
                    self.messages.push(Message::Dispatch(self.table.generations.len() - 1));
                }
            }
            Work::Event { process, which, read, event } => {
                self.apply(process, which, *read, &event);
            }
        }
    }

    pub(super) fn a_message_comes(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let index = self.random.index(self.messages.len());
        // Delivered at least once.
        let message = if self.random.percent(10) { self.messages[index] } else { self.messages.swap_remove(index) };
        let process = self.random.index(2);
        match message {
            Message::Dispatch(which) => {
                let claim = Event::Claim { key: None, holds_slot: false };
                let answers = ["accepted", "accepted", "accepted", "failed", "lost", "succeeded", "key_refused", "unsent"];
                self.work_on(process, which, claim, &answers);
            }
            Message::Collect(which) => {
                let generation = &self.table.generations[which];
                let attempt = match generation.late.as_ref() {
                    Some(late) if generation.state.is_terminal() => late.attempt,
                    Some(_) | None => generation.attempt(),
                };
                let ends = ["stored", "stored", "stored", "collect_delayed", "collect_failed"];
                self.work_on(process, which, Event::Collecting { attempt }, &ends);
            }
            Message::Nudge(which, due_at) if self.table.generations[which].due_at == Some(due_at) => self.look_at(process, which),
            Message::Nudge(..) => {}
        }
    }

    /// A step that is written before the work, and one of its ends after it.
    fn work_on(&mut self, process: usize, which: usize, first: Event, ends: &[&'static str]) {
        let read = self.table.generations[which].clone();
        let attempt = if let Event::Collecting { attempt } = first { Some(attempt) } else { None };
        if self.apply(process, which, read, &first) {
            let read = Box::new(self.table.generations[which].clone());
            let attempt = attempt.unwrap_or(read.attempt());
            let word = *self.random.one_of(ends);
            let event = self.event(word, attempt, process);
            self.begin(Work::Event { process, which, read, event });
        }
    }

    pub(super) fn the_poll_looks(&mut self) {
        let process = self.random.index(2);
        if self.table.account.due_at().is_some_and(|due| due <= self.now) {
            self.take_away_what_has_ended(process);
        } else if !self.table.generations.is_empty() {
            let which = self.random.index(self.table.generations.len());
            self.look_at(process, which);
        }
    }

    /// As the poll function's nudge.
    fn look_at(&mut self, process: usize, which: usize) {
        let generation = &self.table.generations[which];
        if generation.erasure.is_some() {
            self.apply(process, which, generation.clone(), &Event::Erased);
        } else if generation.left_overs {
            self.apply(process, which, generation.clone(), &Event::Tidied);
        } else if let State::Running { .. } = generation.state {
            let asking = Event::Asking { attempt: generation.attempt() };
            let answers = ["still_running", "still_running", "ask_failed", "succeeded", "failed", "provider_canceled"];
            self.work_on(process, which, asking, &answers);
        } else {
            self.apply(process, which, generation.clone(), &Event::Due);
        }
    }

    /// Of what is due, each once: whatever is due, something is done about it.
    pub(super) fn look_at_what_is_due(&mut self) {
        if self.table.account.due_at().is_some_and(|due| due <= self.now) {
            self.take_away_what_has_ended(0);
        }
        let answers = self.random.percent(50);
        for which in 0..self.table.generations.len() {
            let read = self.table.generations[which].clone();
            if read.due_at.is_none_or(|due| due > self.now) {
                continue;
            }
            let attempt = read.attempt();
            let State::Running { .. } = read.state else {
                let event = match (read.erasure, read.left_overs) {
                    (Some(_), _) => Event::Erased,
                    (None, true) => Event::Tidied,
                    (None, false) => Event::Due,
                };
                let is_done = self.apply(0, which, read, &event);
                assert!(is_done, "due, and nothing was done: {:#?}", self.table.generations[which]);
                continue;
            };
            assert!(self.apply(0, which, read, &Event::Asking { attempt }), "what is due may be asked for");
            let answer = match answers {
                true => Event::StillRunning { attempt, progress: Some(1), queue_position: None },
                false => Event::AskFailed { attempt },
            };
            let read = self.table.generations[which].clone();
            assert!(self.apply(0, which, read, &answer), "what was asked may be answered");
        }
    }
}
