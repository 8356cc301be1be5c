//! Callbacks of our own making, signed with the simulators' keys as the providers would.

use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::{Reply, World};

/// A request as a provider makes it when a job has ended.
#[derive(Debug, Clone)]
pub struct Callback {
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Callback {
    /// The same with another value of a header it has.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        let header = self.headers.iter_mut().find(|(own, _)| *own == name).expect("one of its headers");
        header.1 = value.into();
        self
    }

    /// The value of a header it has.
    pub fn header(&self, name: &str) -> &str {
        &self.headers.iter().find(|(own, _)| *own == name).expect("one of its headers").1
    }
}

impl World {
    /// The address that `provider` was last given for this generation.
    pub fn callback_url(&self, provider: &str, id: &str) -> String {
        let submits = self.stack.simulators.journal().submits(provider);
        submits
            .iter()
            .rev()
            .filter_map(|submit| submit.callback_url.clone())
            .find(|url| url.contains(id))
            .expect("a callback URL")
    }

    /// The id of a running generation's job.
    pub async fn job(&self, id: &str) -> String {
        let generation = self.phase(id, "running").await;
        let attempts = generation["attempts"].as_array().expect("attempts");
        attempts.last().expect("an attempt")["provider_job"].as_str().expect("a job").to_owned()
    }

    /// What a provider says when a job has succeeded, with any link as its result.
    pub fn success(provider: &str, job: &str, link: &str) -> Value {
        match provider {
            "replicate" => json!({"id": job, "status": "succeeded", "output": [link], "error": null}),
            "fal" => {
                json!({"request_id": job, "gateway_request_id": job, "status": "OK", "payload": {"images": [{"url": link}]}})
            }
            other => panic!("`{other}` does not call back"),
        }
    }

    /// What the provider itself says of the job, once it has ended.
    pub async fn true_callback(&self, provider: &str, job: &str) -> Value {
        for _ in 0..1_000 {
            let reply = self.send(self.ask(provider, job)).await;
            match provider {
                "replicate" if !reply.body["completed_at"].is_null() => return reply.body,
                "fal" if reply.status == 200 => {
                    return json!({"request_id": job, "gateway_request_id": job, "status": "OK", "payload": reply.body});
                }
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        panic!("the job `{job}` does not end");
    }

    fn ask(&self, provider: &str, job: &str) -> RequestBuilder {
        let secret = |name| self.secret(name);
        let (path, key) = match provider {
            "replicate" => (format!("v1/predictions/{job}"), format!("Bearer {}", secret("REPLICATE_API_TOKEN"))),
            "fal" => (format!("fal-ai/flux/requests/{job}"), format!("Key {}", secret("FAL_KEY"))),
            other => panic!("`{other}` cannot be asked"),
        };
        self.http.api().get(format!("{}/_sim/{provider}/{path}", self.api)).header("authorization", key)
    }

    fn secret(&self, name: &str) -> String {
        let credentials = self.stack.simulators.credentials();
        credentials.into_iter().find(|(own, _)| *own == name).expect("a credential of the simulators").1
    }

    /// Signs `body` with the simulated provider's own key, as of `at`. For fal the world needs a data folder, where that key lies.
    pub fn sign(&self, provider: &str, body: &Value, at: Timestamp) -> Callback {
        let bytes = body.to_string().into_bytes();
        match provider {
            "replicate" => sign_replicate(&self.secret("REPLICATE_WEBHOOK_SECRET"), bytes, at),
            "fal" => {
                let path = self.data.as_ref().expect("a data folder").join("simulators/keys.json");
                let keys: Value = serde_json::from_slice(&std::fs::read(path).expect("the keys")).expect("JSON");
                let request = body["request_id"].as_str().expect("a request id");
                sign_fal(keys["fal_seed"].as_str().expect("a seed"), request, bytes, at)
            }
            other => panic!("`{other}` does not sign"),
        }
    }

    /// Sends a callback.
    pub async fn deliver(&self, url: &str, callback: &Callback) -> Reply {
        let mut request = self.http.api().post(url).header("content-type", "application/json").body(callback.body.clone());
        for (name, value) in &callback.headers {
            request = request.header(*name, value);
        }
        self.send(request).await
    }
}

/// <https://www.standardwebhooks.com>
fn sign_replicate(secret: &str, body: Vec<u8>, at: Timestamp) -> Callback {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("its prefix")).expect("base64");
    let (id, seconds) = ("msg_of_a_test", at.as_second().to_string());
    let signed = [id.as_bytes(), b".", seconds.as_bytes(), b".", &body].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &signed);
    let headers = vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds),
        ("webhook-signature", format!("v1,{}", STANDARD.encode(tag))),
    ];
    Callback { headers, body }
}

fn sign_fal(seed: &str, request: &str, body: Vec<u8>, at: Timestamp) -> Callback {
    let pair = Ed25519KeyPair::from_seed_unchecked(&hex::decode(seed).expect("hex")).expect("a seed");
    let (user, seconds) = ("user-of-a-test", at.as_second().to_string());
    let hash = hex::encode(digest::digest(&digest::SHA256, &body));
    let signature = pair.sign(format!("{request}\n{user}\n{seconds}\n{hash}").as_bytes());
    let headers = vec![
        ("x-fal-webhook-request-id", request.to_owned()),
        ("x-fal-webhook-user-id", user.to_owned()),
        ("x-fal-webhook-timestamp", seconds),
        ("x-fal-webhook-signature", hex::encode(signature)),
    ];
    Callback { headers, body }
}
