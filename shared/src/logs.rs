//! Logs: one JSON object a line in the cloud. Prompts, keys and links with signatures are never logged.

use tracing::{Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

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

/// The span that has Lambda's id of the request. Nothing else is of this target, and a span is no line by itself.
const REQUEST: &str = "lambda_runtime::layers::trace";

/// Starts logging for a Lambda function at the level of `LOG_LEVEL`, `info` unless said.
pub fn init() {
    #[allow(clippy::disallowed_methods, reason = "before the configuration is read, so that its errors are logged")]
    let level = std::env::var("LOG_LEVEL").unwrap_or_default();
    let level = level.parse::<Level>().unwrap_or(Level::INFO);
    // A second subscriber is refused; the first one stays.
    let _ = subscriber(level, std::io::stdout).try_init();
}

/// Writes lines of JSON, each with the span that it is in.
fn subscriber<W>(level: Level, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'line> MakeWriter<'line> + Send + Sync + 'static,
{
    // The level is for our own lines: at trace the Lambda runtime logs whole events, API keys included.
    let targets = Targets::new().with_default(Level::WARN).with_target(REQUEST, Level::INFO);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false);
    let lines = lines.with_target(true).with_writer(writer);
    tracing_subscriber::registry().with(lines).with(targets.with_targets(OURS.map(|name| (name, level))))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use lambda_http::lambda_runtime::layers::trace::request_span;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_line_has_lambdas_request_id_whatever_the_level_and_the_runtime_writes_none_of_its_own() {
        let mut context = lambda_http::Context::default();
        context.request_id = "8f6e-1".to_owned();
        for level in [Level::ERROR, Level::INFO, Level::TRACE] {
            let lines = Lines::default();
            let writer = lines.clone();
            tracing::subscriber::with_default(subscriber(level, move || writer.clone()), || {
                request_span(&context).in_scope(|| {
                    tracing::error!(generation = "gen_1", "a message failed");
                    tracing::info!(target: "lambda_runtime::runtime", "an event with an API key in it");
                });
            });
            let text = String::from_utf8(lines.0.lock().expect("nobody panicked").clone()).expect("text");
            let line: Value = serde_json::from_str(&text).expect("one line");
            assert_eq!((&line["span"]["requestId"], &line["generation"]), (&json!("8f6e-1"), &json!("gen_1")), "{text}");
            assert_eq!(line.get("spans"), None, "{text}");
        }
    }
}
