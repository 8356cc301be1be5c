//! What operators do to accounts, through the API alone.

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use reqwest::Method;
use serde_json::{Value, json};
use shared::ids::AccountId;

use crate::{Customer, Reply, World};

impl World {
    /// A request about accounts, with the development account's admin key; `path` is what comes after `/v1/admin/accounts`.
    pub async fn operate(&self, method: Method, path: &str, body: &Value) -> Reply {
        let request = self.request(method.clone(), &format!("/v1/admin/accounts{path}"));
        self.send(if method == Method::GET { request } else { request.json(body) }).await
    }

    /// The same with an `Idempotency-Key`.
    pub async fn operate_once(&self, key: &str, path: &str, body: &Value) -> Reply {
        let request = self.request(Method::POST, &format!("/v1/admin/accounts{path}")).header("idempotency-key", key);
        self.send(request.json(body)).await
    }

    /// Makes a key: what is told of it, and its account seen with it.
    pub async fn make_key(&self, account: AccountId, terms: &Value) -> (Value, Customer) {
        let reply = self.operate(Method::POST, &format!("/{account}/keys"), terms).await;
        assert_eq!(reply.status, 201, "{:?}", reply.body);
        let key = reply.body["key"].as_str().expect("the key, this once").to_owned();
        (reply.body["api_key"].clone(), Customer { account, key, ..self.developer.clone() })
    }

    /// Gives or takes credits.
    pub async fn add_credits(&self, account: AccountId, key: &str, body: &Value) -> Reply {
        self.operate_once(key, &format!("/{account}/credits"), body).await
    }

    /// What was done to an account by hand, newest first.
    pub async fn actions(&self, account: AccountId) -> Vec<Value> {
        let reply = self.operate(Method::GET, &format!("/{account}/actions?limit=100"), &json!({})).await;
        reply.body["actions"].as_array().expect("a list").clone()
    }

    /// Lets the clock jump to the next day's noon (UTC): no day and no month ends while a test looks.
    pub fn until_noon(&self) {
        let now = self.stack.clock.now();
        let tomorrow = TimeZone::UTC.to_datetime(now + SignedDuration::from_hours(24)).date();
        let noon = TimeZone::UTC.to_timestamp(tomorrow.at(12, 0, 0, 0)).expect("in range");
        self.later(noon.duration_since(now).try_into().expect("ahead"));
    }
}
