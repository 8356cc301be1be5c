//! Runs functions as Lambda does: each invocation on its own, ended at its time-out, a panic no more than a failure.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, error, warn};

use crate::template::Template;

/// A function's code: event in, answer or error text out.
pub type Handler = Arc<dyn Fn(Value) -> BoxFuture<'static, Result<Value, String>> + Send + Sync>;

/// A [`Handler`] of an async function.
pub fn handler<F, O>(function: F) -> Handler
where
    F: Fn(Value) -> O + Send + Sync + 'static,
    O: Future<Output = Result<Value, String>> + Send + 'static,
{
    Arc::new(move |event| Box::pin(function(event)))
}

/// The functions of a template.
pub struct Invoker {
    functions: BTreeMap<String, Function>,
    stopped: watch::Sender<bool>,
    ran: Mutex<BTreeMap<String, Ran>>,
    work: Arc<Mutex<Work>>,
}

/// What is being worked on. Two equal looks in which nothing runs say that nothing ran between them either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Invocations that run just now, and batches of messages that are in a worker's hands.
    pub running: usize,
    /// How many of them ever began.
    pub begun: u64,
}

/// Counts as running for as long as it lives.
pub(crate) struct Running(Arc<Mutex<Work>>);

impl Running {
    fn begin(work: &Arc<Mutex<Work>>) -> Self {
        let mut counted = work.lock().unwrap_or_else(PoisonError::into_inner);
        counted.running += 1;
        counted.begun += 1;
        Self(Arc::clone(work))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).running -= 1;
    }
}

/// How often a function has run, and how long in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    pub count: u64,
    pub duration: Duration,
}

struct Function {
    handler: Handler,
    timeout: Duration,
}

/// Why an invocation gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    #[error("the function `{function}` was ended after its time-out of {} s", .timeout.as_secs())]
    TimedOut { function: String, timeout: Duration },
    #[error("the function `{function}` failed: {message}")]
    Failed { function: String, message: String },
    #[error("the function `{function}` panicked: {message}")]
    Panicked { function: String, message: String },
    #[error("the function `{function}` was cut off: the local run is stopping")]
    Stopped { function: String },
    #[error("the template declares no function `{function}`")]
    Unknown { function: String },
}

/// The template declares a function whose code is not in this program.
#[derive(Debug, thiserror::Error)]
#[error("the template's function `{logical_id}` is built from `{binary}`, which is not part of this program; it has: {known}")]
pub struct UnknownBinary {
    pub logical_id: String,
    pub binary: String,
    pub known: String,
}

impl Invoker {
    /// The functions that `template` declares, with the code of `handlers` (by crate name). Code without a declaration
    /// does not run.
    pub fn new(template: &Template, handlers: &HashMap<String, Handler>) -> Result<Self, UnknownBinary> {
        let mut functions = BTreeMap::new();
        for function in &template.functions {
            let Some(handler) = handlers.get(&function.binary) else {
                let mut known: Vec<&str> = handlers.keys().map(String::as_str).collect();
                known.sort_unstable();
                return Err(UnknownBinary {
                    logical_id: function.logical_id.clone(),
                    binary: function.binary.clone(),
                    known: known.join(", "),
                });
            };
            functions.insert(function.logical_id.clone(), Function { handler: handler.clone(), timeout: function.timeout });
        }
        Ok(Self { functions, stopped: watch::Sender::new(false), ran: Mutex::default(), work: Arc::default() })
    }

    /// Runs a function to its end and returns what it answered. Whoever drops the returned future no longer waits, but
    /// the function runs on, as on Lambda.
    pub async fn invoke(&self, function: &str, event: Value) -> Result<Value, InvokeError> {
        let name = function.to_owned();
        let Some(Function { handler, timeout }) = self.functions.get(function) else {
            return Err(InvokeError::Unknown { function: name });
        };
        let (handler, timeout) = (handler.clone(), *timeout);
        let mut stopped = self.stopped.subscribe();
        let started = Instant::now();
        let running = self.begin();
        let invocation = tokio::spawn(async move {
            let _running = running;
            tokio::select! {
                biased;
                // An error means that the invoker is gone, which stops as well.
                _ = stopped.wait_for(|stopped| *stopped) => Err(InvokeError::Stopped { function: name }),
                answer = tokio::time::timeout(timeout, async move { handler(event).await }) => match answer {
                    Ok(Ok(answer)) => Ok(answer),
                    Ok(Err(message)) => Err(InvokeError::Failed { function: name, message }),
                    Err(_) => Err(InvokeError::TimedOut { function: name, timeout }),
                }
            }
        });
        let answer = match invocation.await {
            Ok(answer) => answer,
            Err(ended) => Err(InvokeError::Panicked { function: function.to_owned(), message: panic_message(ended) }),
        };
        let elapsed = started.elapsed();
        let duration_ms = elapsed.as_millis();
        self.note(function, elapsed);
        match &answer {
            Ok(_) => debug!(function, duration_ms, "function answered"),
            Err(InvokeError::Stopped { .. }) => debug!(function, duration_ms, "function cut off"),
            Err(InvokeError::TimedOut { .. }) => warn!(function, duration_ms, "function timed out"),
            Err(InvokeError::Failed { message, .. }) => {
                warn!(function, duration_ms, error = message, "function failed")
            }
            Err(InvokeError::Panicked { message, .. }) => {
                error!(function, duration_ms, error = message, "function panicked")
            }
            Err(InvokeError::Unknown { .. }) => error!(function, "function is not declared"),
        }
        answer
    }

    fn note(&self, function: &str, elapsed: Duration) {
        let mut ran = self.ran.lock().unwrap_or_else(PoisonError::into_inner);
        let own = ran.entry(function.to_owned()).or_default();
        own.count += 1;
        own.duration += elapsed;
    }

    /// What has run so far, by logical id.
    pub fn ran(&self) -> BTreeMap<String, Ran> {
        self.ran.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What runs just now.
    pub fn work(&self) -> Work {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts something as running until what is returned is dropped.
    pub(crate) fn begin(&self) -> Running {
        Running::begin(&self.work)
    }

    /// Cuts off everything that runs, wherever it is, and refuses what comes after: what a power cut does.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }
}

fn panic_message(ended: tokio::task::JoinError) -> String {
    let Ok(payload) = ended.try_into_panic() else {
        return "the task was ended from outside".to_owned();
    };
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use serde_json::json;

    use super::*;
    use crate::template::{BUILT_IN, LocalValues};

    fn invoker(query: Handler) -> Result<Invoker, UnknownBinary> {
        let parameters = [("SigningSecret".to_owned(), "s".repeat(32))].into();
        let values = LocalValues { parameters, ..LocalValues::default() };
        let template = Template::parse(BUILT_IN, &values).unwrap_or_else(|error| panic!("{error}"));
        let idle = handler(|_| async { Ok(Value::Null) });
        let mut handlers: HashMap<String, Handler> =
            template.functions.iter().map(|function| (function.binary.clone(), idle.clone())).collect();
        handlers.insert("query".to_owned(), query);
        Invoker::new(&template, &handlers)
    }

    async fn outcome_of(query: Handler) -> Result<Value, InvokeError> {
        invoker(query).unwrap_or_else(|error| panic!("{error}")).invoke("QueryFunction", json!({"n": 1})).await
    }

    struct OnDrop(Arc<AtomicBool>);

    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn an_answer_comes_back() {
        assert_eq!(outcome_of(handler(|event| async move { Ok(event["n"].clone()) })).await, Ok(json!(1)));
    }

    #[tokio::test]
    async fn an_error_is_a_failure_with_its_text() {
        let failed = outcome_of(handler(|_| async { Err("no luck".to_owned()) })).await;
        assert_eq!(failed, Err(InvokeError::Failed { function: "QueryFunction".to_owned(), message: "no luck".to_owned() }));
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let panicked = outcome_of(handler(|_| async { panic!("on purpose") })).await;
        let message = "on purpose".to_owned();
        assert_eq!(panicked, Err(InvokeError::Panicked { function: "QueryFunction".to_owned(), message }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_is_dropped_at_its_time_out() {
        let dropped = Arc::new(AtomicBool::new(false));
        let witness = dropped.clone();
        let started = Instant::now();
        let outcome = outcome_of(handler(move |_| {
            let witness = OnDrop(witness.clone());
            async move {
                std::future::pending::<()>().await;
                drop(witness);
                Ok(Value::Null)
            }
        }))
        .await;
        let timeout = Duration::from_secs(10);
        assert_eq!(outcome, Err(InvokeError::TimedOut { function: "QueryFunction".to_owned(), timeout }));
        assert_eq!(started.elapsed(), timeout);
        assert!(dropped.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_stop_cuts_off_what_runs_and_refuses_the_rest() {
        let invoker = Arc::new(invoker(handler(|_| std::future::pending())).unwrap_or_else(|error| panic!("{error}")));
        let running = tokio::spawn({
            let invoker = invoker.clone();
            async move { invoker.invoke("QueryFunction", Value::Null).await }
        });
        tokio::task::yield_now().await;
        invoker.stop();
        let stopped = Err(InvokeError::Stopped { function: "QueryFunction".to_owned() });
        assert_eq!(running.await.unwrap(), stopped);
        assert_eq!(invoker.invoke("QueryFunction", Value::Null).await, stopped);
    }

    #[test]
    fn a_declared_function_without_code_is_refused() {
        let values = LocalValues { parameters: [("SigningSecret".to_owned(), "s".repeat(32))].into(), ..LocalValues::default() };
        let template = Template::parse(BUILT_IN, &values).unwrap_or_else(|error| panic!("{error}"));
        let error = Invoker::new(&template, &HashMap::new()).err().unwrap();
        assert_eq!(error.binary, "authorize");
    }
}
