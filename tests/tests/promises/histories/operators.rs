//! What operators do by hand. A new thing that they may do to an account or a generation belongs here.

use jiff::SignedDuration;
use serde_json::json;
use shared::failure::Charge;
use shared::ids::ApiKeyId;
use shared::keys::{ApiKey, KeyTerms, Scope};
use shared::ledger::{Account, AccountChange, LimitsChange, Note, Posting, SpendingLimits};
use shared::lifecycle::Event;
use shared::store::{Changed, FiledKey};

use super::story::{Story, credits};

pub(super) fn key(number: u8) -> ApiKeyId {
    ApiKeyId::from_parts(1, [number; 10])
}

impl Story {
    /// An account with two keys and some credits.
    pub(super) async fn open(&mut self) {
        let backend = self.processes[0].backend.clone();
        let (now, account) = (backend.now(), self.account);
        let grant = Posting::Grant { reference: "opening".into(), amount: credits(20), ends_at: None, note: None };
        let action = backend.action(account, None, "open_account", "it", None);
        let opened = backend.store.open_account(&Account::open(account, now), Some(&grant), &action, None, now).await;
        assert!(matches!(opened, Ok(Changed::Done(_))), "{opened:?}");
        for number in [1, 2] {
            let filed = self.filed(number, now);
            let added = backend.store.add_key(&filed, &backend.action(account, None, "create_key", "it", None), None, now).await;
            assert!(matches!(added, Ok(Changed::Done(_))), "{added:?}");
        }
        self.grant(0).await;
    }

    fn filed(&mut self, number: u8, now: jiff::Timestamp) -> FiledKey {
        let terms = KeyTerms { limits: self.some_limits(), ..KeyTerms::plain(vec![Scope::User]) };
        let key = ApiKey::new(key(number), self.account, "dk_of_a_test", terms, now);
        FiledKey { hash: format!("{}#{number}", self.account), key }
    }

    pub(super) async fn an_operator_acts(&mut self, number: usize) {
        match self.random.below(10) {
            0..3 => self.grant(number).await,
            3 => {
                let reference = format!("c{}", self.references);
                self.references += 1;
                let note = Note { by: None, reason: "a correction".to_owned() };
                let change = self.random.between(-8, 8);
                self.by_hand(number, Posting::Adjust { reference, change, note }).await;
            }
            4..6 => {
                let limits = self.some_limits();
                let suspended = self.random.percent(20);
                let limits = LimitsChange {
                    in_flight: Some(limits.in_flight),
                    spend_per_day: Some(limits.spend_per_day),
                    spend_per_month: Some(limits.spend_per_month),
                };
                let change = AccountChange { limits, suspended: Some(suspended), ..AccountChange::default() };
                self.tell(|| format!("{change:?}"));
                let backend = self.processes[number].backend.clone();
                let action = backend.action(self.account, None, "change_account", "it", None);
                let changed = backend.store.change_account(self.account, &change, &action).await;
                self.note(number, changed);
            }
            6 => {
                let backend = self.processes[number].backend.clone();
                let now = backend.now();
                let which = u8::try_from(self.random.between(1, 2)).expect("one of two");
                let before = match backend.store.key(self.account, key(which)).await {
                    Ok(before) => before.expect("it was made at the opening"),
                    Err(error) => return self.forgive(number, &error),
                };
                let Some(revoked) = before.key.revoked(now) else { return };
                let ended = FiledKey { key: revoked, ..before.clone() };
                self.tell(|| format!("key {which} is revoked"));
                let action = backend.action(self.account, None, "revoke_key", "it", None);
                let changed = backend.store.end_key(&before, &ended, None, &action, None, now).await;
                self.note(number, changed);
            }
            7..9 => {
                let note = Note { by: None, reason: "the customer asked".to_owned() };
                let event = match self.random.below(4) {
                    0 => Event::Resolve { charge: Charge::None, note },
                    1 => Event::Resolve { charge: Charge::Full, note },
                    _ => Event::RetryNow,
                };
                self.decide_by_hand(number, &event).await;
            }
            _ => {
                let backend = self.processes[number].backend.clone();
                if let Err(error) = backend.store.expire_credits(self.account, backend.now()).await {
                    self.forgive(number, &error);
                }
            }
        }
    }

    /// Sometimes with a reference that was used before: the same grant.
    async fn grant(&mut self, number: usize) {
        let reference = if self.random.percent(20) { self.references / 2 } else { self.references };
        self.references += 1;
        let now = self.processes[number].backend.now();
        let ends_at = self.random.percent(60).then(|| now + SignedDuration::from_secs(self.random.between(1, 900)));
        let amount = credits(self.random.below(20));
        self.by_hand(number, Posting::Grant { reference: format!("r{reference}"), amount, ends_at, note: None }).await;
    }

    async fn by_hand(&mut self, number: usize, posting: Posting) {
        self.tell(|| format!("{posting:?}"));
        let backend = self.processes[number].backend.clone();
        let action = backend.action(self.account, None, "post", "it", Some("a test"));
        let changed = backend.store.post_by_hand(self.account, &posting, &action, None, |_| json!({}), backend.now()).await;
        self.note(number, changed);
    }

    fn note(&mut self, number: usize, changed: Result<Changed, shared::store::StoreError>) {
        match changed {
            Ok(Changed::Done(_)) => {}
            Ok(Changed::AlreadySo) => self.tell(|| "  already so".to_owned()),
            Ok(Changed::Refused(refusal)) => self.tell(|| format!("  refused: {refusal}")),
            Err(error) => self.forgive(number, &error),
        }
    }

    fn some_limits(&mut self) -> SpendingLimits {
        let mut some = |most: i64| {
            let limit = self.random.between(1, most).cast_unsigned();
            self.random.percent(20).then_some(limit)
        };
        SpendingLimits {
            in_flight: some(4).map(|limit| u32::try_from(limit).expect("small")),
            spend_per_day: some(40).map(credits),
            spend_per_month: some(60).map(credits),
        }
    }
}
