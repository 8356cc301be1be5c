//! Every API of every provider: what is sent, and what each kind of answer means for the generation, the credits and the provider.
//!
//! A test tries one thing with all of them at once, in one world.

mod cancel;
mod cases;
mod failures;
mod lost_answers;
mod refusals;
mod requests;
mod success;

use std::collections::BTreeMap;

use futures_util::future::join_all;
use local::simulators::{Journal, Submit};
use serde_json::{Value, json};
use tests::{Customer, Setting, World};

use cases::{CASES, Case};

/// One order of each case.
struct Round {
    world: World,
    customer: Customer,
    photo: String,
    orders: Vec<(&'static Case, String)>,
}

impl Round {
    async fn start() -> Self {
        Self::with(Setting::default()).await
    }

    async fn with(setting: Setting) -> Self {
        let world = World::with(setting).await;
        let customer = world.customer(100_000).await;
        let photo = customer.upload("image/jpeg", World::photo()).await;
        Self { world, customer, photo, orders: Vec::new() }
    }

    /// Orders a fox from each case, whose prompt ends with that; none: not from this one.
    async fn order(&mut self, ending: impl Fn(&'static Case) -> Option<&'static str>) {
        // A prompt is throttled once: each has to be another one.
        let prompt = |case: &'static Case| Some(format!("a fox by {}{}", case.name, ending(case)?));
        let cases = CASES.iter().filter_map(|case| Some((case, prompt(case)?)));
        let (customer, photo, simulators) = (&self.customer, &self.photo, &self.world.stack.simulators);
        let orders = cases.map(|(case, prompt)| async move {
            let params = (case.params)(&prompt, photo);
            if !params.to_string().contains(&prompt) {
                simulators.suppose_prompt(case.provider, &prompt).expect("it is simulated");
            }
            (case, customer.create_with(case.model, params).await)
        });
        self.orders = join_all(orders).await;
    }

    /// Each order as it was when it first was as `wanted` says. Time passes by the minute while that takes.
    async fn until(&self, wanted: impl Fn(&Value) -> bool) -> Vec<(&'static Case, Value)> {
        let mut found: Vec<Option<Value>> = vec![None; self.orders.len()];
        for _ in 0..600 {
            self.world.at_rest().await;
            for ((_, id), found) in self.orders.iter().zip(&mut found) {
                if found.is_none() {
                    *found = Some(self.customer.generation(id).await).filter(&wanted);
                }
            }
            if found.iter().all(Option::is_some) {
                return self.orders.iter().zip(found).map(|((case, _), found)| (*case, found.expect("all are"))).collect();
            }
            self.world.minute().await;
        }
        let missing = self.orders.iter().zip(&found).find(|(_, found)| found.is_none());
        let ((case, id), _) = missing.expect("one is missing");
        panic!("ten hours passed in vain; {} is {:#}", case.name, self.customer.generation(id).await);
    }

    async fn until_ended(&self) -> Vec<(&'static Case, Value)> {
        self.until(|generation| !generation["finished_at"].is_null()).await
    }

    fn journal(&self) -> &Journal {
        self.world.stack.simulators.journal()
    }

    /// The submits of one order.
    fn submits(&self, case: &Case) -> Vec<Submit> {
        let mut submits = self.journal().submits(case.provider);
        submits.retain(|submit| submit.path == case.path && is_of(case, submit));
        submits
    }

    /// Audits; what became of each order's credits: held, charged, released.
    async fn money(&self) -> BTreeMap<&'static str, (u64, u64, u64)> {
        let closings = self.customer.audit().await;
        let closing = |id: &String| (closings[id].held, closings[id].charged, closings[id].released);
        self.orders.iter().map(|(case, id)| (case.name, closing(id))).collect()
    }

    async fn assert_paid(&self, is_paid: impl Fn(&Case) -> bool) {
        let money = self.money().await;
        for (case, _) in &self.orders {
            let (held, charged, released) = money[case.name];
            let expected = if is_paid(case) { (held, 0) } else { (0, held) };
            assert!(held > 0);
            assert_eq!((charged, released), expected, "{}", case.name);
        }
    }

    /// All orders failed with that class, in one attempt, and cost nothing.
    async fn assert_failed(&self, class: impl Fn(&Case) -> &'static str) {
        for (case, done) in self.until_ended().await {
            assert_eq!((&done["status"], &done["error"]["class"]), (&json!("failed"), &json!(class(case))), "{done:#}");
            assert_eq!(done["error"]["charge"], "none");
            assert!(done["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{done:#}");
            assert_eq!(attempts(&done).len(), 1, "{done:#}");
            let submits = self.submits(case);
            assert_eq!((submits.len(), submits[0].key.as_deref()), (1, Some("primary")), "{}", case.name);
        }
        self.assert_paid(|_| false).await;
    }
}

fn attempts(generation: &Value) -> &Vec<Value> {
    generation["attempts"].as_array().expect("attempts")
}

/// No two cases share a path, save that one of them wants JSON.
fn is_of(case: &Case, submit: &Submit) -> bool {
    let wants_json = submit.body.to_string().contains("\"json_object\"") || submit.body.to_string().contains("responseMimeType");
    wants_json == case.name.ends_with("-json")
}
