//! A text from a language model in passing: a translation, a style, a document put right. It is asked for on the way to something else, so
//! it is waited for shortly, nothing is stored, and whoever asks can go on without it.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::inputs::Files;
use super::{Provider, provider_keys};
use crate::backend::Backend;
use crate::outcome::{Found, Report, SubmitAnswer};

/// The longest text that is taken, in bytes.
const MAX_BYTES: usize = 200_000;

/// What a language model is asked.
#[derive(Debug, Clone, Copy)]
pub struct TextOrder<'a> {
    /// What holds for the whole answer.
    pub system: &'a str,
    /// What it is about.
    pub prompt: &'a str,
    /// The longest wait, whoever is asked.
    pub limit: Duration,
}

/// What it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    pub text: String,
    /// The model's catalog name.
    pub by: String,
}

/// Asks the configured text model, or those of a chain one after the other. None: there is none, or none answered.
pub async fn complete(backend: &Backend, order: TextOrder<'_>) -> Option<Completion> {
    // Keys are read and the catalog is loaded within the limit, too.
    match tokio::time::timeout(order.limit, first_answer(backend, order)).await {
        Ok(answer) => answer,
        Err(_) => {
            tracing::warn!("no text model answered in time");
            None
        }
    }
}

async fn first_answer(backend: &Backend, order: TextOrder<'_>) -> Option<Completion> {
    let name = backend.config.text_model.as_deref()?;
    let catalog = backend.catalog().await.ok()?;
    let Some(offer) = catalog.offer(name) else {
        tracing::error!(name, "`TEXT_MODEL` is no model of the catalog");
        return None;
    };
    let mut params = Map::new();
    params.insert("prompt".to_owned(), Value::from(order.prompt));
    params.insert("system_prompt".to_owned(), Value::from(order.system));
    let params = match offer.params().check("", &params) {
        Ok(params) => params,
        Err(wrong) => {
            tracing::warn!(name, param = wrong.param, detail = wrong.detail, "the text model cannot be asked this");
            return None;
        }
    };
    let deadline = Instant::now() + order.limit;
    let plans: Vec<_> = offer.plans(&params).into_iter().filter(|plan| !plan.stand_in).collect();
    for (left, plan) in (1..=u32::try_from(plans.len()).unwrap_or(u32::MAX)).rev().zip(plans) {
        let Some(model) = catalog.model_by_name(&plan.candidate.model) else { continue };
        let Some((_, key)) = provider_keys(backend, &model.provider).await.unwrap_or_default().into_iter().next() else {
            continue;
        };
        let provider = Provider { backend, model: model.clone(), key: Some(key) };
        let own = plan.candidate.params.unwrap_or_else(|| params.clone());
        // Each has its share of what is left of the time, so that one that hangs leaves some for the next.
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        let answer = tokio::time::timeout(share, provider.answer(own)).await;
        match answer.unwrap_or_else(|_| Err(format!("no answer within {} s", share.as_secs()))) {
            Ok(text) => return Some(Completion { text, by: model.spec.name.clone() }),
            Err(why) => tracing::warn!(model = model.spec.name, why, "a text model did not answer"),
        }
    }
    None
}

impl Provider<'_> {
    /// The text of a model that answers at once.
    async fn answer(&self, params: Map<String, Value>) -> Result<String, String> {
        let remote = self.remote().filter(|remote| remote.api.poll.is_none());
        let remote = remote.ok_or("it does not answer at once")?;
        let variables = self.rendered(remote, params.clone(), params, None).map_err(|failure| failure.message)?;
        let call = &remote.api.submit.call;
        let reply = self.call(remote, self.backend.outbound.api(), call, &variables, &Files::new()).await;
        match remote.reader().submit(&reply.map_err(super::CallError::why)?) {
            SubmitAnswer::Done(Report::Succeeded(delivery)) => delivery
                .into_iter()
                .find_map(|found| match found {
                    Found::Text(text) if text.len() <= MAX_BYTES && !text.trim().is_empty() => Some(text),
                    Found::Text(_) | Found::Link { .. } | Found::Bytes(_) => None,
                })
                .ok_or_else(|| "it answered without a text".to_owned()),
            SubmitAnswer::Done(Report::Failed(failure)) | SubmitAnswer::Refused { failure, .. } => Err(failure.message),
            SubmitAnswer::Done(_) | SubmitAnswer::Accepted { .. } | SubmitAnswer::Lost(_) => {
                Err("its answer cannot be understood".to_owned())
            }
        }
    }
}
