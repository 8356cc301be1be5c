//! Logs: one JSON object a line in the cloud. Prompts, keys and links with signatures are never logged.

use tracing_subscriber::EnvFilter;

/// The crates whose lines are ours.
const OURS: [&str; 12] = [
    "shared",
    "authorize",
    "presign",
    "generate",
    "dispatch",
    "callback",
    "poll",
    "collect",
    "query",
    "organize",
    "erase",
    "admin",
];

/// Starts logging for a Lambda function at the level of `LOG_LEVEL`, `info` unless said.
pub fn init() {
    #[allow(clippy::disallowed_methods, reason = "before the configuration is read, so that its errors are logged")]
    let level = std::env::var("LOG_LEVEL").unwrap_or_default();
    let level = level.parse::<tracing::Level>().unwrap_or(tracing::Level::INFO);
    // The level is for our own lines: at trace the Lambda runtime logs whole events, API keys included.
    let ours = OURS.map(|name| format!("{name}={level}")).join(",");
    let filter = EnvFilter::new(format!("warn,{ours}"));
    // A second subscriber is refused; the first one stays.
    let _ = tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_target(true).try_init();
}
