//! One account's world: who works in it, what they know, and how it ends.

use super::*;

/// A process of the deployment.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// The account as it was after this process's last posting.
    pub(super) memory: Option<Account>,
    /// Its clock is behind by so much.
    pub(super) behind: SignedDuration,
}

/// A message that was sent: about which generation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Message {
    Dispatch(usize),
    Collect(usize),
    Nudge(usize, Timestamp),
}

/// What a worker has begun: it knows what it has read, and nothing later.
#[derive(Debug)]
pub(super) enum Work {
    Accept { process: usize, generation: Box<Generation>, request: Option<u64> },
    Event { process: usize, which: usize, read: Box<Generation>, event: Event },
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) rules: &'static Rules,
    pub(super) bug: Option<Bug>,
    pub(super) now: Timestamp,
    pub(super) table: Table,
    pub(super) processes: [Process; 2],
    pub(super) works: Vec<Work>,
    pub(super) messages: Vec<Message>,
    pub(super) references: u32,
    pub(super) books: Books,
    pub(super) seen: BTreeSet<&'static str>,
    /// What happened; none when nobody wants to know.
    pub(super) steps: Option<Vec<String>>,
}

/// Making rules takes longer than playing a history.
fn rules_of(random: &mut Random) -> &'static Rules {
    static RULES: OnceLock<Vec<Rules>> = OnceLock::new();
    let all = RULES.get_or_init(|| (0..200).map(|seed| some_rules(&mut Random::of(seed))).collect());
    random.one_of(all)
}

fn some_rules(random: &mut Random) -> Rules {
    let policies = if random.percent(60) {
        Policies::default()
    } else {
        let policy = |class: &FailureClass| {
            let charge = if random.percent(50) { "full" } else { "none" };
            let retry = ["same", "next", "no"][random.index(3)];
            let name = json!(class).as_str().expect("a word").to_owned();
            (name, json!({"charge": charge, "retry": retry, "alarm": "nobody"}))
        };
        let all: Map<_, _> = FailureClass::ALL.iter().map(policy).collect();
        serde_json::from_value(all.into()).expect("policies")
    };
    let attempts = u32::try_from(random.between(1, 4)).expect("few");
    Rules {
        submit_repeat_safe: random.percent(30),
        max_attempts: attempts,
        max_attempts_before_next: attempts.min(2),
        max_throttled: attempts + 1,
        collect_for: seconds(random.between(1, 4) * 100),
        // Short, so that waiting for it does not take most of the test's time.
        queue_limit: seconds(600),
        policies,
        ..rules()
    }
}

impl World {
    pub(super) fn new(seed: u64, bug: Option<Bug>, trace: bool) -> Self {
        let mut random = Random::of(seed);
        // Often shortly before midnight, and then at the end of a month.
        let midnight = Timestamp::from_second(1_790_812_800).expect("in range");
        let now = if random.percent(50) { midnight - seconds(random.between(1, 600)) } else { start() };
        let rules = rules_of(&mut random);
        let account = Account::open(AccountId::from_parts(1, [1; 10]), now);
        let behind = SignedDuration::from_millis(random.between(0, 3_000));
        let table = Table { account, generations: Vec::new(), entries: Vec::new(), requests: BTreeMap::new() };
        Self {
            random,
            rules,
            bug,
            now,
            table,
            processes: [Process::default(), Process { memory: None, behind }],
            works: Vec::new(),
            messages: Vec::new(),
            references: 0,
            books: Books::default(),
            seen: BTreeSet::new(),
            steps: trace.then(Vec::new),
        }
    }

    pub(super) fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(steps) = &mut self.steps {
            steps.push(what());
        }
    }

    pub(super) fn live(&mut self) {
        self.opening();
        for _ in 0..self.random.between(10, 60) {
            self.step();
        }
        let stored = self.random.percent(1).then(|| serde_json::to_value(&self.table.generations).expect("serializes"));
        if let Some(stored) = stored {
            let read: Vec<Generation> = serde_json::from_value(stored).expect("reads back");
            assert_eq!(read, self.table.generations);
        }
        self.reaches_its_end();
        self.books.agree(&self.table.account);
        self.books.agree_with(&self.table.generations);
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..16 => self.time_passes(),
            16..26 => self.somebody_asks(),
            26..50 => self.something_happens(),
            50..68 => self.a_message_comes(),
            68..82 => self.a_worker_goes_on(),
            82..85 => self.a_worker_dies(),
            85..92 => self.an_operator_acts(),
            _ => self.the_poll_looks(),
        }
    }

    fn time_passes(&mut self) {
        let by = match self.random.below(10) {
            0..4 => SignedDuration::from_millis(self.random.between(0, 2_000)),
            4..7 => seconds(self.random.between(1, 60)),
            7 => seconds(self.random.between(60, 5_000)),
            // To the very moment at which something falls due, or ends.
            _ => self.next_due().map_or(SignedDuration::ZERO, |due| due.duration_since(self.now).max(SignedDuration::ZERO)),
        };
        self.now += by;
        let now = self.now;
        self.tell(|| format!("{now}"));
    }

    /// What this process's clock shows.
    pub(super) fn clock(&self, process: usize) -> Timestamp {
        self.now - self.processes[process].behind
    }

    fn next_due(&self) -> Option<Timestamp> {
        let generations = self.table.generations.iter().filter_map(|generation| generation.due_at);
        generations.chain(self.table.account.due_at()).min()
    }

    /// Decides, commits, sends; decides again when somebody else was faster. Says whether anything changed.
    pub(super) fn apply(&mut self, process: usize, which: usize, mut read: Generation, event: &Event) -> bool {
        let now = self.clock(process);
        for _ in 0..3 {
            let Ok(decision) = decide(&read, event, self.rules, now) else { return false };
            keeps_its_promises(now, &read, event, &decision, self.rules);
            if !self.commit(process, which, &decision, now) {
                read = self.table.generations[which].clone();
                continue;
            }
            let phase = decision.next.state.phase();
            self.tell(|| format!("  {which}: {event:?} -> {phase}"));
            let forgotten = decision.next.due_at.is_none() && !decision.next.state.is_terminal();
            assert!(!forgotten, "{:#?}", decision.next);
            self.send(which, &decision);
            return true;
        }
        panic!("{event:?} cannot be written, whatever it is decided on: {:#?}", self.table.generations[which]);
    }

    /// Between the commit and the sending the process may die; a queue may deliver twice.
    fn send(&mut self, which: usize, decision: &Decision) {
        if self.random.percent(10) {
            return self.tell(|| "    its messages are lost".to_owned());
        }
        for send in &decision.send {
            let message = match send {
                Send::Dispatch { .. } => Message::Dispatch(which),
                Send::Collect => Message::Collect(which),
                Send::Nudge { at } => Message::Nudge(which, *at),
            };
            let copies = if self.random.percent(10) { 2 } else { 1 };
            self.messages.extend(std::iter::repeat_n(message, copies));
        }
    }

    /// Everybody is dead and every message lost: the poll function alone, with what is due, brings everything to an end.
    fn reaches_its_end(&mut self) {
        self.works.clear();
        self.messages.clear();
        self.tell(|| "only the poll is left".to_owned());
        for _ in 0..500 {
            let Some(due) = self.next_due() else {
                let unended = self.table.generations.iter().find(|generation| !generation.state.is_terminal());
                return assert!(unended.is_none(), "forgotten: {unended:#?}");
            };
            // The clock that is behind shows the time, too.
            self.now = self.now.max(due + self.processes[1].behind);
            self.look_at_what_is_due();
            self.messages.clear();
        }
        panic!("it goes on for ever: {:#?}", self.table);
    }
}
