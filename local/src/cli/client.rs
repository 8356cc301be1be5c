//! A client of the HTTP API, as a customer's program would be.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use reqwest::{RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::api::{
    AccountView, AssetView, CreateGeneration, CreateUpload, CreatedGeneration, CreatedUpload, GenerationView, LedgerView,
    ModelList, Problem, ToolList,
};
use shared::http_guard::{Outbound, Policy};
use shared::ids::{BoxId, GenerationId};

/// The API at one address, with one key.
pub(super) struct Client {
    http: Outbound,
    api: String,
    key: String,
}

impl Client {
    pub(super) fn new(api: &str, key: &str) -> Self {
        let http = Outbound::new(Policy { allow_loopback: true });
        Self { http, api: api.to_owned(), key: key.to_owned() }
    }

    /// Sends a file by presigned upload; the asset can be used at once.
    pub(super) async fn upload(
        &self,
        filename: &str,
        content_type: &str,
        file: Vec<u8>,
        box_id: Option<BoxId>,
    ) -> Result<AssetView> {
        let announced = CreateUpload {
            content_type: content_type.to_owned(),
            bytes: u64::try_from(file.len())?,
            filename: Some(filename.to_owned()),
            box_id: box_id.map(|id| id.to_string()),
            sha256: None,
        };
        let upload: CreatedUpload = self.post("/v1/uploads", &announced, &[]).await?;
        let mut request = self.http.api().put(&upload.url).body(file).timeout(Duration::from_secs(300));
        for (name, value) in &upload.headers {
            request = request.header(name, value.as_str().unwrap_or_default());
        }
        let answer = request.send().await.context("the upload could not be sent")?;
        if !answer.status().is_success() {
            bail!("the upload was answered with {}", answer.status());
        }
        self.post(&format!("/v1/uploads/{}/complete", upload.id), &serde_json::json!({}), &[]).await
    }

    pub(super) async fn generate(&self, asked: &CreateGeneration, idempotency_key: &str) -> Result<CreatedGeneration> {
        self.post("/v1/generations", asked, &[("idempotency-key", idempotency_key)]).await
    }

    pub(super) async fn generation(&self, id: GenerationId) -> Result<GenerationView> {
        self.get(&format!("/v1/generations/{id}")).await
    }

    pub(super) async fn account(&self) -> Result<AccountView> {
        self.get("/v1/account").await
    }

    pub(super) async fn ledger(&self) -> Result<LedgerView> {
        self.get("/v1/account/ledger?limit=100").await
    }

    pub(super) async fn models(&self) -> Result<ModelList> {
        self.get("/v1/models").await
    }

    pub(super) async fn tools(&self) -> Result<ToolList> {
        self.get("/v1/tools").await
    }

    /// Whether something answers there that takes the key.
    pub(super) async fn is_welcome(&self) -> bool {
        let request = self.http.api().get(format!("{}/v1/account", self.api)).bearer_auth(&self.key);
        let answer = request.timeout(Duration::from_secs(5)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// What the simulators of a local darkroom saw; none where there are no simulators.
    pub(super) async fn simulators_journal(&self) -> Option<Value> {
        let request = self.http.api().get(format!("{}/_sim/journal", self.api)).timeout(Duration::from_secs(5));
        request.send().await.ok()?.error_for_status().ok()?.json().await.ok()
    }

    /// The bytes behind a result's link.
    pub(super) async fn download(&self, url: &str) -> Result<Bytes> {
        let answer = self.http.media().get(url).send().await?.error_for_status()?;
        Ok(answer.bytes().await?)
    }

    pub(super) async fn put<T: DeserializeOwned>(&self, path: &str, json: String, headers: &[(&str, String)]) -> Result<T> {
        let request = self.http.api().put(format!("{}{path}", self.api)).header("content-type", "application/json").body(json);
        self.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, value))).await
    }

    pub(super) async fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.send(self.http.api().patch(format!("{}{path}", self.api)).json(body)).await
    }

    pub(super) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.send(self.http.api().delete(format!("{}{path}", self.api))).await
    }

    /// A deletion that is answered without a body.
    pub(super) async fn erase(&self, path: &str) -> Result<()> {
        self.answer(self.http.api().delete(format!("{}{path}", self.api))).await.map(drop)
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.send(self.http.api().get(format!("{}{path}", self.api))).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        headers: &[(&str, &str)],
    ) -> Result<T> {
        let mut request = self.http.api().post(format!("{}{path}", self.api)).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request).await
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        self.answer(request).await?.json().await.context("the API's answer is not understood")
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response> {
        let request = request.bearer_auth(&self.key).timeout(Duration::from_secs(40));
        let answer = request.send().await.context("the API does not answer")?;
        if answer.status().is_success() { Ok(answer) } else { Err(refusal(answer).await) }
    }
}

async fn refusal(answer: Response) -> anyhow::Error {
    let status = answer.status();
    match answer.json::<Problem>().await {
        Ok(Problem { detail, code, param: Some(param), .. }) => anyhow!("`{param}`: {detail} ({code})"),
        Ok(Problem { detail, code, .. }) => anyhow!("{detail} ({code})"),
        Err(_) => anyhow!("the API answered with {status}"),
    }
}
