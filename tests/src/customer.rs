//! A customer's view: one account, its key, and everything the API lets it do.

use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use shared::http_guard::{Outbound, Policy};
use shared::ids::AccountId;

use crate::{PATIENCE, Reply};

/// One account, seen through the API alone.
#[derive(Clone)]
pub struct Customer {
    pub account: AccountId,
    /// Its API key.
    pub key: String,
    pub http: Outbound,
    /// `http://127.0.0.1:<port>`
    pub api: String,
}

impl Customer {
    /// The owner of `key` at the API at `api`.
    pub fn new(api: String, account: AccountId, key: String) -> Self {
        let http = Outbound::new(Policy { allow_loopback: true });
        Self { account, key, http, api }
    }

    /// A request with its own key.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_as(&self.key, method, path)
    }

    /// A request with another key.
    pub fn request_as(&self, key: &str, method: Method, path: &str) -> RequestBuilder {
        self.http.api().request(method, format!("{}{path}", self.api)).bearer_auth(key).timeout(PATIENCE)
    }

    /// Sends a request; an answer that is not JSON is a string.
    pub async fn send(&self, request: RequestBuilder) -> Reply {
        let answer = request.send().await.expect("the API answers");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.expect("a body");
        Reply { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Reply {
        self.send(self.request(Method::PATCH, path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Asks for a generation, which has to be accepted; its id.
    pub async fn create(&self, model: &str, prompt: &str) -> String {
        self.create_with(model, json!({ "prompt": prompt })).await
    }

    pub async fn create_with(&self, model: &str, params: Value) -> String {
        let reply = self.post("/v1/generations", &json!({ "model": model, "params": params })).await;
        assert_eq!(reply.status, 202, "{:?}", reply.body);
        reply.body["id"].as_str().expect("an id").to_owned()
    }

    pub async fn generation(&self, id: &str) -> Value {
        let reply = self.get(&format!("/v1/generations/{id}")).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        reply.body
    }

    /// Waits until the generation is as `wanted` says.
    pub async fn until(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until_within(id, PATIENCE, wanted).await
    }

    async fn until_within(&self, id: &str, patience: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let generation = self.generation(id).await;
            if wanted(&generation) {
                return generation;
            }
            assert!(started.elapsed() < patience, "waited in vain; it is {generation:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it is in this phase.
    pub async fn phase(&self, id: &str, phase: &str) -> Value {
        self.until(id, |generation| generation["phase"] == phase).await
    }

    /// Waits until it has ended.
    pub async fn ended(&self, id: &str) -> Value {
        self.until(id, |generation| !generation["finished_at"].is_null()).await
    }

    /// The same with a patience of its own.
    pub async fn ended_within(&self, id: &str, patience: Duration) -> Value {
        self.until_within(id, patience, |generation| !generation["finished_at"].is_null()).await
    }

    /// What can be spent, and what is held.
    pub async fn balance(&self) -> (u64, u64) {
        let account = self.get("/v1/account").await.body;
        (account["available"].as_u64().expect("a number"), account["held"].as_u64().expect("a number"))
    }

    /// Makes a box; its id.
    pub async fn make_box(&self, name: &str) -> String {
        let reply = self.post("/v1/boxes", &json!({ "name": name })).await;
        assert_eq!(reply.status, 201, "{:?}", reply.body);
        reply.body["id"].as_str().expect("an id").to_owned()
    }

    /// Uploads a file as a customer would; the asset's id.
    pub async fn upload(&self, content_type: &str, file: Vec<u8>) -> String {
        self.upload_with(json!({ "content_type": content_type }), file).await
    }

    /// Uploads a file with what is to be said of it but its size; the asset's id.
    pub async fn upload_with(&self, mut announced: Value, file: Vec<u8>) -> String {
        announced["bytes"] = json!(file.len());
        let reply = self.post("/v1/uploads", &announced).await;
        assert_eq!(reply.status, 201, "{:?}", reply.body);
        let status = self.put_upload(&reply.body, file).await;
        assert_eq!(status, 200);
        let id = reply.body["id"].as_str().expect("an id").to_owned();
        let complete = self.post(&format!("/v1/uploads/{id}/complete"), &json!({})).await;
        assert_eq!(complete.status, 200, "{:?}", complete.body);
        id
    }

    /// Sends a file to the address that `POST /v1/uploads` gave; the HTTP status.
    pub async fn put_upload(&self, upload: &Value, file: Vec<u8>) -> u16 {
        let mut request = self.http.api().put(upload["url"].as_str().expect("a URL")).body(file);
        for (name, value) in upload["headers"].as_object().expect("headers") {
            request = request.header(name, value.as_str().expect("text"));
        }
        request.send().await.expect("S3 answers").status().as_u16()
    }

    /// The bytes behind a link.
    pub async fn download(&self, url: &Value) -> Vec<u8> {
        let answer = self.http.media().get(url.as_str().expect("a URL")).send().await.expect("S3 answers");
        assert_eq!(answer.status(), 200);
        answer.bytes().await.expect("a body").to_vec()
    }
}
