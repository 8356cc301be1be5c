//! The ten providers, and where each one's module is called.

use axum::Router;
use axum::http::{HeaderMap, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::jobs::{Failure, Job};
use super::keys::Keys;
use super::media::Plan;
use super::run::Message;
use super::{
    Simulators, fal, gemini, huggingface, kie, minimax, openai, openrouter, openrouter_videos, replicate, stability, wanted,
    wavespeed,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Provider {
    Replicate,
    Fal,
    Kie,
    Minimax,
    Wavespeed,
    Stability,
    Huggingface,
    Openai,
    Openrouter,
    Gemini,
}

impl Provider {
    pub(super) const ALL: [Self; 10] = [
        Self::Replicate,
        Self::Fal,
        Self::Kie,
        Self::Minimax,
        Self::Wavespeed,
        Self::Stability,
        Self::Huggingface,
        Self::Openai,
        Self::Openrouter,
        Self::Gemini,
    ];

    /// The first segment of its paths, and its name in the journal.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Replicate => "replicate",
            Self::Fal => "fal",
            Self::Kie => "kie",
            Self::Minimax => "minimax",
            Self::Wavespeed => "wavespeed",
            Self::Stability => "stability",
            Self::Huggingface => "huggingface",
            Self::Openai => "openai",
            Self::Openrouter => "openrouter",
            Self::Gemini => "gemini",
        }
    }

    /// The environment variable that holds its key.
    pub(super) fn key_env(self) -> &'static str {
        match self {
            Self::Replicate => "REPLICATE_API_TOKEN",
            Self::Fal => "FAL_KEY",
            Self::Kie => "KIE_API_KEY",
            Self::Minimax => "MINIMAX_API_KEY",
            Self::Wavespeed => "WAVESPEED_API_KEY",
            Self::Stability => "STABILITY_API_KEY",
            Self::Huggingface => "HUGGINGFACE_API_KEY",
            Self::Openai => "OPENAI_API_KEY",
            Self::Openrouter => "OPENROUTER_API_KEY",
            Self::Gemini => "GEMINI_API_KEY",
        }
    }

    /// The environment variable that holds the secret its callbacks are signed with, for those that share one.
    pub(super) fn secret_env(self) -> Option<&'static str> {
        match self {
            Self::Replicate => Some("REPLICATE_WEBHOOK_SECRET"),
            Self::Kie => Some("KIE_WEBHOOK_SECRET"),
            Self::Wavespeed => Some("WAVESPEED_WEBHOOK_SECRET"),
            Self::Openrouter => Some("OPENROUTER_WEBHOOK_SECRET"),
            Self::Fal | Self::Minimax | Self::Stability | Self::Huggingface | Self::Openai | Self::Gemini => None,
        }
    }

    /// The key a request carries, where this provider looks for it.
    pub(super) fn key_of(self, headers: &HeaderMap) -> Option<&str> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let scheme = match self {
            Self::Gemini => return text("x-goog-api-key"),
            Self::Fal => "Key ",
            Self::Replicate
            | Self::Kie
            | Self::Minimax
            | Self::Wavespeed
            | Self::Stability
            | Self::Huggingface
            | Self::Openai
            | Self::Openrouter => "Bearer ",
        };
        text(header::AUTHORIZATION.as_str())?.strip_prefix(scheme)
    }

    /// What an admitted job is to make.
    pub(super) fn plan(self, job: &Job) -> Result<Plan, Failure> {
        match self {
            Self::Replicate => Ok(replicate::plan(job)),
            Self::Fal => fal::plan(job),
            Self::Kie => kie::plan(job),
            Self::Minimax => minimax::plan(job),
            Self::Wavespeed => wavespeed::plan(job),
            Self::Stability | Self::Huggingface | Self::Openai | Self::Openrouter | Self::Gemini => wanted::plan(job),
        }
    }

    /// The callback of the job as it stands; none from a provider that sends none.
    pub(super) fn callback(self, keys: &Keys, job: &Job, message_id: &str, now: Timestamp) -> Option<Message> {
        match self {
            Self::Replicate => Some(replicate::callback(keys, job, message_id, now)),
            Self::Fal => Some(fal::callback(keys, job, now)),
            Self::Kie => Some(kie::callback(keys, job, now)),
            Self::Minimax => Some(minimax::callback(job, now)),
            Self::Wavespeed => Some(wavespeed::callback(keys, job, message_id, now)),
            Self::Openrouter => Some(openrouter_videos::callback(keys, job, now)),
            Self::Stability | Self::Huggingface | Self::Openai | Self::Gemini => None,
        }
    }

    /// Its routes, each beginning with `/{name}`.
    pub(super) fn routes(self) -> Router<Simulators> {
        match self {
            Self::Replicate => replicate::routes(),
            Self::Fal => fal::routes(),
            Self::Kie => kie::routes(),
            Self::Minimax => minimax::routes(),
            Self::Wavespeed => wavespeed::routes(),
            Self::Stability => stability::routes(),
            Self::Huggingface => huggingface::routes(),
            Self::Openai => openai::routes(),
            Self::Openrouter => openrouter::routes(),
            Self::Gemini => gemini::routes(),
        }
    }
}

/// What a provider refuses a submit with, asked for by the prompt or because of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The key is missing or wrong.
    Key,
    /// The account has run out of money.
    Funds,
    /// One request too many: the wait that is named, by those who name one.
    Throttled { seconds: u64 },
    /// The provider is down; nothing was accepted.
    Unavailable,
    /// The input does not pass the provider's validation.
    Input,
}
