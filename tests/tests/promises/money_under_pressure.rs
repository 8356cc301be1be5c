//! Many processes on one account at once: nothing is spent twice, given back twice or lost, and nobody is turned away for the crowd.

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::Map;
use shared::catalog::manifest::MediaKind;
use shared::credits::Credits;
use shared::failure::{Failure, FailureClass};
use shared::generation::{Candidate, Finish, Generation, Order, Outcome, Source, State, StoredResult};
use shared::ids::{AccountId, ApiKeyId, AssetId, GenerationId};
use shared::keys::{ApiKey, KeyTerms};
use shared::ledger::{Account, AccountChange, EntryKind, LimitReached, LimitsChange, Refusal, SpendingLimits, Whose};
use shared::lifecycle::{Event, decide};
use shared::store::{Accepted, Changed, CommitError, FiledKey, Store};
use tests::{Random, Setting, Statement, World};

/// As many Lambda environments, each with a memory of its own.
const PROCESSES: usize = 8;

/// A world, one account, and the processes that work on it.
struct Crowd {
    world: World,
    stores: Vec<Store>,
    account: AccountId,
    now: Timestamp,
}

impl Crowd {
    async fn with(credits: u64) -> Self {
        let world = World::with(Setting::idle()).await;
        let account = world.customer(credits).await.account;
        let stores = (0..PROCESSES).map(|_| world.another_store()).collect();
        let now = world.stack.backend.now();
        Self { world, stores, account, now }
    }

    fn store(&self, number: usize) -> &Store {
        &self.stores[number % PROCESSES]
    }

    /// How often a posting was decided anew, in all processes together.
    fn races(&self) -> u64 {
        self.stores.iter().map(Store::races).sum()
    }

    async fn limit(&self, limits: SpendingLimits) {
        let backend = &self.world.stack.backend;
        let limits = LimitsChange {
            in_flight: Some(limits.in_flight),
            spend_per_day: Some(limits.spend_per_day),
            spend_per_month: Some(limits.spend_per_month),
        };
        let change = AccountChange { limits, ..AccountChange::default() };
        let action = backend.action(self.account, None, "change_account", &self.account.to_string(), None);
        let changed = backend.store.change_account(self.account, &change, &action).await.expect("the table answers");
        assert!(matches!(changed, Changed::Done(_)), "{changed:?}");
    }

    async fn key_with(&self, limits: SpendingLimits) -> ApiKeyId {
        let backend = &self.world.stack.backend;
        let id = ApiKeyId::from_parts(1, [9; 10]);
        let terms = KeyTerms { limits, ..KeyTerms::plain(vec![shared::keys::Scope::User]) };
        let key = ApiKey::new(id, self.account, "dk_limited", terms, self.now);
        let action = backend.action(self.account, None, "create_key", &id.to_string(), None);
        let filed = FiledKey { hash: "of-nobody".to_owned(), key };
        let changed = backend.store.add_key(&filed, &action, None, self.now).await.expect("the table answers");
        assert!(matches!(changed, Changed::Done(_)), "{changed:?}");
        id
    }

    /// So many holds of one credit at once, over all processes: how many were accepted, and what the others were told.
    async fn reserve(&self, count: usize, key: Option<ApiKeyId>) -> (usize, Vec<Refusal>) {
        let holds = (0..count).map(|number| async move {
            let generation = self.generation(number, key);
            self.store(number).accept(&generation, None, None, self.now).await.expect("nobody is turned away for the crowd")
        });
        let (mut accepted, mut refused) = (0, Vec::new());
        for outcome in join_all(holds).await {
            match outcome {
                Accepted::New(_) => accepted += 1,
                Accepted::Refused(refusal) => refused.push(refusal),
                Accepted::Replayed(_) | Accepted::KeyReused => panic!("there is no key"),
            }
        }
        (accepted, refused)
    }

    fn generation(&self, number: usize, key: Option<ApiKeyId>) -> Generation {
        let candidate = Candidate {
            model: "placeholder".to_owned(),
            provider: "placeholder".to_owned(),
            catalog_version: 1,
            model_version: None,
            params: None,
            cost_micro_usd: None,
        };
        let order = Order {
            model: "placeholder".to_owned(),
            kind: MediaKind::Image,
            box_id: None,
            candidates: vec![candidate],
            params: Map::new(),
            inputs: Vec::new(),
            price_by_results: Vec::new(),
            finish: Finish::default(),
            erase_inputs: false,
        };
        let id = GenerationId::from_parts(1, Random::of(number as u64).bytes());
        let due_at = self.now + SignedDuration::from_hours(1);
        Generation::accept(id, self.account, order, credits(1), key, self.now, due_at)
    }

    async fn statement(&self) -> Statement {
        Statement::read(&self.stores[0], self.account).await
    }

    #[allow(clippy::print_stdout, reason = "the figure is worth knowing; `--nocapture` shows it")]
    fn print_races(&self, postings: usize) {
        println!("{postings} postings from {PROCESSES} processes: {} decided anew", self.races());
    }
}

fn credits(amount: u64) -> Credits {
    Credits::new(amount).expect("small")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_reservations_take_what_is_there_and_not_one_credit_more() {
    let crowd = Crowd::with(100).await;
    let (accepted, refused) = crowd.reserve(1_000, None).await;
    assert_eq!((accepted, refused.len()), (100, 900));
    let broke = Refusal::InsufficientCredits { available: credits(0), needed: credits(1) };
    assert!(refused.iter().all(|refusal| *refusal == broke), "{refused:?}");
    let statement = crowd.statement().await;
    let books = statement.audit();
    assert_eq!((books.available, books.held, statement.generations.len()), (0, 100, 100));
    // The opening grant, and then one hold after the other.
    assert!(statement.entries[1..].iter().all(|entry| entry.kind == EntryKind::Hold));
    assert_eq!(statement.entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), (1..=101).collect::<Vec<_>>());
    crowd.print_races(100);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_charged_and_released_twice_at_once_ends_once() {
    const HOLDS: usize = 500;
    const AT_ONCE: usize = 50;
    let crowd = Crowd::with(HOLDS as u64).await;
    let model =
        crowd.world.stack.backend.catalog().await.expect("it loads").model("placeholder").expect("it is built in").clone();
    let rules = model.rules(&crowd.world.stack.backend.config.limits);
    let outcome = Outcome { sources: vec![Source::Local] };
    let lives = (0..HOLDS).map(|number| {
        let (crowd, rules, outcome) = (&crowd, &rules, &outcome);
        async move {
            let mut generation = crowd.generation(number, None);
            for event in [
                Event::Claim { key: None, holds_slot: false },
                Event::Succeeded { attempt: 1, job: None, outcome: outcome.clone() },
            ] {
                generation = decide(&generation, &event, rules, crowd.now).expect("it goes on").next;
            }
            let accepted = crowd.store(number).accept(&generation, None, None, crowd.now).await.expect("accepted");
            assert!(matches!(accepted, Accepted::New(_)), "{accepted:?}");
            let asset = AssetId::from_parts(1, Random::of(number as u64).bytes());
            let result = StoredResult {
                asset,
                key: "r".to_owned(),
                bytes: 1,
                content_type: "image/png".to_owned(),
                text: None,
                media: None,
                erased_at: None,
            };
            let stored = Event::Stored { attempt: 1, results: vec![result] };
            let failure = Failure::new(FailureClass::ResultLost, "gone");
            let lost = Event::CollectFailed { attempt: 1, failure };
            // Four workers who have read the same record.
            let commits = [&stored, &lost, &lost, &stored].into_iter().enumerate().map(|(worker, event)| {
                let decision = decide(&generation, event, rules, crowd.now).expect("it ends");
                async move { crowd.store(number + worker).commit(&decision, &[], None, crowd.now).await }
            });
            let outcomes = join_all(commits).await;
            let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            let stale = outcomes.iter().filter(|outcome| matches!(outcome, Err(CommitError::Stale))).count();
            // None when the winner's answer was late and it was sent again: it finds its own end written.
            assert!(done <= 1 && done + stale == 4, "{outcomes:?}");
        }
    });
    stream::iter(lives).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    let statement = crowd.statement().await;
    let books = statement.audit();
    let charged = statement.entries.iter().filter(|entry| entry.kind == EntryKind::Charge).count();
    let released = statement.entries.iter().filter(|entry| entry.kind == EntryKind::Release).count();
    assert_eq!((charged + released, statement.entries.len()), (HOLDS, 1 + 2 * HOLDS));
    assert_eq!((books.available, books.held), (released as i128, 0));
    assert!(statement.generations.iter().all(|generation| generation.state.is_terminal()));
    let succeeded = statement.generations.iter().filter(|generation| matches!(generation.state, State::Succeeded { .. }));
    assert_eq!(succeeded.count(), charged);
    crowd.print_races(2 * HOLDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_limit_is_passed_however_many_ask_at_once() {
    let none = SpendingLimits::default();
    let in_flight = SpendingLimits { in_flight: Some(20), ..none };
    let daily = SpendingLimits { spend_per_day: Some(credits(30)), ..none };
    let monthly = SpendingLimits { spend_per_month: Some(credits(40)), ..none };
    let reached = |limits: SpendingLimits, refusal: &Refusal, who: Whose| {
        let Refusal::Limit { whose, reached } = refusal else { return false };
        *whose == who
            && match reached {
                LimitReached::InFlight { .. } => limits == in_flight,
                LimitReached::Day { .. } => limits == daily,
                LimitReached::Month { .. } => limits == monthly,
            }
    };
    for (limits, most) in [(in_flight, 20), (daily, 30), (monthly, 40)] {
        for whose in [Whose::Account, Whose::Key] {
            let crowd = Crowd::with(1_000).await;
            let key = match whose {
                Whose::Account => {
                    crowd.limit(limits).await;
                    None
                }
                Whose::Key => Some(crowd.key_with(limits).await),
            };
            let (accepted, refused) = crowd.reserve(200, key).await;
            assert_eq!((accepted, refused.len()), (most, 200 - most), "{limits:?} of {whose:?}");
            assert!(refused.iter().all(|refusal| reached(limits, refusal, whose)), "{limits:?} of {whose:?}: {refused:?}");
            let statement = crowd.statement().await;
            let books = statement.audit();
            books.are_within(&limits, key);
            let Account { usage, keys, .. } = &statement.account;
            assert_eq!(usize::try_from(usage.in_flight), Ok(most));
            assert!(key.is_none_or(|key| keys[&key].usage == *usage));
        }
    }
}
