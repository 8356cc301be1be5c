//! Logs: one JSON object a line in the cloud. Prompts, keys and links with signatures are never logged.

use tracing_subscriber::EnvFilter;

/// Starts logging for a Lambda function at the level of `LOG_LEVEL`, `info` unless said.
pub fn init() {
    #[allow(clippy::disallowed_methods, reason = "before the configuration is read, so that its errors are logged")]
    let level = std::env::var("LOG_LEVEL").unwrap_or_default();
    let filter = EnvFilter::try_new(if level.is_empty() { "info" } else { &level }).unwrap_or_else(|_| EnvFilter::new("info"));
    // A second subscriber is refused; the first one stays.
    let _ = tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_target(true).try_init();
}
