//! The auditor: recomputes the books from the entries alone and compares them with everything else that is said.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Customer;

/// What the entries say of one generation.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    pub held: u64,
    pub charged: u64,
    pub released: u64,
}

impl Customer {
    async fn all(&self, path: &str, field: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("{path}?limit=100{cursor}")).await.body;
            let Some(entries) = page[field].as_array() else { panic!("no list: {page:#}") };
            all.extend(entries.iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// Every entry of the ledger, oldest first.
    pub async fn ledger(&self) -> Vec<Value> {
        let mut entries = self.all("/v1/account/ledger", "entries").await;
        entries.reverse();
        entries
    }

    /// Every generation, newest first.
    pub async fn generations(&self) -> Vec<Value> {
        self.all("/v1/generations", "generations").await
    }

    /// Ledger, balance and generations as they are at one moment: read anew while something is being settled.
    async fn books(&self) -> (Vec<Value>, (u64, u64), Vec<Value>) {
        for _ in 0..100 {
            let entries = self.ledger().await;
            let (balance, generations) = (self.balance().await, self.generations().await);
            if self.ledger().await.len() == entries.len() {
                return (entries, balance, generations);
            }
        }
        panic!("the ledger never stands still");
    }

    /// Checks that every credit is accounted for; what the entries say of each generation.
    pub async fn audit(&self) -> BTreeMap<String, Closing> {
        let (entries, (now_available, now_held), generations) = self.books().await;
        let (mut available, mut held) = (0_i64, 0_i64);
        let mut closings: BTreeMap<String, Closing> = BTreeMap::new();
        for entry in &entries {
            let amount = entry["amount"].as_u64().expect("an amount");
            let signed = i64::try_from(amount).expect("small");
            let closing = entry["generation_id"].as_str().map(|id| closings.entry(id.to_owned()).or_default());
            let kind = entry["kind"].as_str().expect("a kind");
            let unique = match (kind, closing) {
                ("grant", None) => {
                    available += signed;
                    true
                }
                ("adjust", None) => {
                    available += entry["available_change"].as_i64().expect("a number");
                    true
                }
                ("expire", _) => {
                    available -= signed;
                    true
                }
                ("hold", Some(closing)) => {
                    available -= signed;
                    held += signed;
                    std::mem::replace(&mut closing.held, amount) == 0
                }
                ("charge", Some(closing)) => {
                    held -= signed;
                    std::mem::replace(&mut closing.charged, amount) == 0
                }
                ("release", Some(closing)) => {
                    available += signed;
                    held -= signed;
                    std::mem::replace(&mut closing.released, amount) == 0
                }
                (kind, _) => panic!("an entry of kind {kind} that belongs nowhere: {entry}"),
            };
            assert!(unique, "twice in the ledger: {entry}");
            assert!(available >= 0 && held >= 0, "below zero at {entry}");
            assert_eq!(entry["balance_after"].as_i64(), Some(available), "{entry}");
            assert_eq!(entry["held_after"].as_i64(), Some(held), "{entry}");
        }
        assert_eq!(
            (available, held),
            (now_available.cast_signed(), now_held.cast_signed()),
            "the counters differ from the entries"
        );
        compare_generations(&generations, &closings);
        closings
    }

    /// Audits; this generation has been paid for in full.
    pub async fn assert_charged(&self, id: &str) {
        let closing = self.audit().await[id];
        assert_eq!(closing, Closing { held: closing.held, charged: closing.held, released: 0 });
    }

    /// Audits; this generation's credits have been given back.
    pub async fn assert_released(&self, id: &str) {
        let closing = self.audit().await[id];
        assert_eq!(closing, Closing { held: closing.held, charged: 0, released: closing.held });
    }

    /// Audits; this generation's credits are set aside and not yet spent.
    pub async fn assert_held(&self, id: &str) {
        let closing = self.audit().await[id];
        assert_eq!(closing, Closing { held: closing.held, charged: 0, released: 0 });
    }
}

fn compare_generations(generations: &[Value], closings: &BTreeMap<String, Closing>) {
    assert_eq!(generations.len(), closings.len(), "holds without a generation, or the other way round");
    for generation in generations {
        let closing = closings[generation["id"].as_str().expect("an id")];
        let cost = generation["cost"].as_u64().expect("a cost");
        let charged = generation["charged"].as_u64().expect("a number");
        assert_eq!(closing.held, cost, "{generation:#}");
        assert_eq!(closing.charged, charged, "{generation:#}");
        let ended = !generation["finished_at"].is_null();
        let expected = if ended { cost } else { 0 };
        assert_eq!(closing.charged + closing.released, expected, "a hold closed not at all, or too early: {generation:#}");
        let results = generation["results"].as_array().expect("a list").len();
        assert_eq!(generation["status"] == "succeeded", results > 0, "{generation:#}");
    }
}
