//! Gemini's API: answers and pictures (`generateContent`), uploaded files, videos (interactions). Webhooks are not simulated:
//! their tokens' claims are not documented, so whoever asks for them must poll.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::fields::Wrong;
use super::provider::Refusal;
use super::{Reply, Simulators, gemini_answers, gemini_files, gemini_interactions};

/// Largest piece of an uploaded file, in bytes.
const MAX_PIECE_BYTES: usize = 512 * 1024 * 1024;

pub(super) fn routes() -> Router<Simulators> {
    // Google's own client asks for `v1`, everything else for `v1beta`.
    ["v1beta", "v1"].into_iter().fold(Router::new(), |router, version| {
        let upload = post(gemini_files::upload).layer(DefaultBodyLimit::max(MAX_PIECE_BYTES));
        let path = |rest: &str| format!("/gemini/{version}/{rest}");
        router
            .route(&path("models/{call}"), post(gemini_answers::generate))
            .route(&format!("/gemini/upload/{version}/files"), upload)
            .route(&path("files/{name}"), get(gemini_files::show).delete(gemini_files::delete))
            .route(&path("interactions"), post(gemini_interactions::create))
            .route(&path("interactions/{id}"), get(gemini_interactions::show))
            .route(&path("interactions/{id}/cancel"), post(gemini_interactions::cancel))
    })
}

/// A wrong key is an invalid argument here, not a 401.
pub(super) fn refusal(refusal: Refusal) -> Reply {
    match refusal {
        Refusal::Key => {
            let mut reply = invalid("API key not valid. Please pass a valid API key.");
            reply.body["error"]["details"] = json!([{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            }]);
            reply
        }
        Refusal::Funds => {
            let text = "Your prepaid balance is empty. Add credits to continue.";
            problem(StatusCode::PAYMENT_REQUIRED, "RESOURCE_EXHAUSTED", text)
        }
        Refusal::Throttled { seconds } => {
            let text = format!("You exceeded your current quota. Please retry in {seconds}s.");
            let mut reply = problem(StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED", &text);
            reply.body["error"]["details"] = json!([
                {
                    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                    "violations": [{
                        "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
                        "quotaId": "GenerateRequestsPerMinutePerProjectPerModel",
                    }],
                },
                {"@type": "type.googleapis.com/google.rpc.Help", "links": []},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s")},
            ]);
            reply
        }
        Refusal::Unavailable => {
            let text = "The model is overloaded. Please try again later.";
            problem(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", text)
        }
        Refusal::Input => invalid("Request contains an invalid argument."),
    }
}

pub(super) fn input_problem(wrong: &Wrong) -> Reply {
    invalid(&format!("Invalid value at '{}': {}", wrong.field, wrong.text))
}

pub(super) fn invalid(text: &str) -> Reply {
    problem(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", text)
}

pub(super) fn internal(text: &str) -> Reply {
    problem(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", text)
}

pub(super) fn unknown_model(model: &str) -> Reply {
    let text = format!("models/{model} is not found for API version v1beta, or is not supported for this method.");
    problem(StatusCode::NOT_FOUND, "NOT_FOUND", &text)
}

/// The code is the HTTP status.
pub(super) fn problem(status: StatusCode, word: &str, text: &str) -> Reply {
    let error: Value = json!({"code": status.as_u16(), "message": text, "status": word});
    Reply::json(status, json!({"error": error}))
}
