//! The simulators over real HTTP on loopback.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "the test harness")]

mod fal;
mod faults;
mod gemini;
mod huggingface;
mod kie;
mod minimax;
mod openai;
mod openrouter;
mod replicate;
mod restart;
mod stability;
mod wavespeed;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use shared::clock::Clock;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::provider::Provider;
use super::{CallbackDelivery, Journal, Simulators, lock};

const MINUTE: Duration = Duration::from_secs(60);
/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// The simulators served on a port of their own, and a receiver of callbacks on another.
struct World {
    clock: Clock,
    sim: Simulators,
    root: String,
    http: reqwest::Client,
    receiver: Receiver,
    dir: TempDir,
}

struct Receiver {
    root: String,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

struct Arrival {
    headers: HeaderMap,
    raw: Bytes,
    body: Value,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl World {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let sim = Simulators::open_with_clock(dir.path(), clock.clone()).unwrap();
        let root = serve(&sim).await;
        Self { clock, sim, root, http: client(), receiver: Receiver::open().await, dir }
    }

    fn credential(&self, name: &str) -> String {
        self.sim.credentials().into_iter().find(|(known, _)| *known == name).unwrap().1
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = answer.bytes().await.unwrap();
        Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    async fn get(&self, url: &str) -> Answer {
        self.send(self.http.get(url)).await
    }

    /// A request with the key of the provider whose path it is.
    fn keyed(&self, method: &str, url: &str) -> reqwest::RequestBuilder {
        let provider = Provider::ALL.into_iter().find(|provider| url.contains(&format!("/_sim/{}/", provider.name()))).unwrap();
        let key = self.credential(provider.key_env());
        let (name, value) = match provider {
            Provider::Gemini => ("x-goog-api-key", key),
            Provider::Fal => ("authorization", format!("Key {key}")),
            _ => ("authorization", format!("Bearer {key}")),
        };
        self.http.request(method.parse().unwrap(), url).header(name, value)
    }

    /// Posts JSON to a path of the simulators, such as `/kie/api/v1/jobs/createTask`, with the provider's key.
    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.keyed("POST", &format!("{}{path}", self.root)).json(body)).await
    }

    /// Posts a form to a path of the simulators, with the provider's key.
    fn form(&self, path: &str, parts: &[(&str, &str, &[u8])]) -> reqwest::RequestBuilder {
        let (content_type, body) = form(parts);
        self.keyed("POST", &format!("{}{path}", self.root)).header("content-type", content_type).body(body)
    }

    async fn ask(&self, method: &str, url: &str) -> Answer {
        self.send(self.keyed(method, url)).await
    }

    /// Submits to flux of either provider, callback included.
    async fn submit(&self, provider: &str, prompt: &str) -> Answer {
        self.submit_input(provider, json!({"prompt": prompt})).await
    }

    async fn submit_input(&self, provider: &str, input: Value) -> Answer {
        let hook = &self.receiver.root;
        let request = if provider == "replicate" {
            let url = format!("{}/replicate/v1/models/black-forest-labs/flux-schnell/predictions", self.root);
            self.keyed("POST", &url).json(&json!({"input": input, "webhook": hook, "webhook_events_filter": ["completed"]}))
        } else {
            let url = format!("{}/fal/fal-ai/flux/dev?fal_webhook={hook}", self.root);
            self.keyed("POST", &url).json(&input)
        };
        self.send(request).await
    }

    /// Asks until `done`, as a poller would.
    async fn poll(&self, url: &str, done: impl Fn(&Value) -> bool) -> Answer {
        within(async {
            loop {
                let answer = self.ask("GET", url).await;
                if done(&answer.body) {
                    return answer;
                }
            }
        })
        .await
    }

    async fn journal(&self, predicate: impl Fn(&Journal) -> bool) {
        within(self.sim.journal().wait_for(predicate)).await;
    }

    async fn file(&self, link: &str) -> (u16, HeaderMap, Bytes) {
        let answer = self.http.get(link).send().await.unwrap();
        (answer.status().as_u16(), answer.headers().clone(), answer.bytes().await.unwrap())
    }
}

impl Receiver {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let root = format!("http://{}/hook", listener.local_addr().unwrap());
        let (sender, arrivals) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(VecDeque::new()));
        let app = Router::new().route("/hook", post(receive)).with_state((sender, Arc::clone(&answers)));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { root, arrivals, answers }
    }

    /// The statuses of the next answers; 200 after that.
    fn will_answer(&self, statuses: &[u16]) {
        lock(&self.answers).extend(statuses);
    }

    async fn next(&mut self) -> Arrival {
        within(self.arrivals.recv()).await.unwrap()
    }

    fn is_empty(&mut self) -> bool {
        self.arrivals.try_recv().is_err()
    }
}

type ReceiverState = (mpsc::UnboundedSender<Arrival>, Arc<Mutex<VecDeque<u16>>>);

/// A challenge is sent back, as its senders ask for; nothing else looks at the answer's body.
async fn receive(State((sender, answers)): State<ReceiverState>, headers: HeaderMap, raw: Bytes) -> (StatusCode, Json<Value>) {
    let body: Value = serde_json::from_slice(&raw).unwrap();
    let answer = json!({"challenge": body["challenge"]});
    sender.send(Arrival { headers, raw, body }).unwrap_or_default();
    (StatusCode::from_u16(lock(&answers).pop_front().unwrap_or(200)).unwrap(), Json(answer))
}

/// Serves the simulators as the server does; their root.
async fn serve(sim: &Simulators) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let root = format!("http://{}/_sim", listener.local_addr().unwrap());
    let app = Router::new().nest("/_sim", sim.router());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    root
}

/// A file server on loopback, for inputs: `/picture.png`, and `/broken.png` that is none.
async fn serve_inputs(picture: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let root = format!("http://{}", listener.local_addr().unwrap());
    let app =
        Router::new().route("/picture.png", get(|| async move { picture })).route("/broken.png", get(|| async { "no picture" }));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    root
}

fn picture(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(width, height).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A form of (name, file name, bytes); a text where the file name is empty. Its content type, and the body.
fn form(parts: &[(&str, &str, &[u8])]) -> (&'static str, Vec<u8>) {
    let mut body = Vec::new();
    for (name, file, bytes) in parts {
        let file = if file.is_empty() { String::new() } else { format!("; filename=\"{file}\"\r\nContent-Type: image/png") };
        body.extend(format!("--boundary\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").bytes());
        body.extend_from_slice(bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--boundary--\r\n");
    ("multipart/form-data; boundary=boundary", body)
}

/// Width, height and content type of a real picture.
fn decoded(bytes: &[u8]) -> (u32, u32, &'static str) {
    let picture = image::load_from_memory(bytes).unwrap();
    (picture.width(), picture.height(), infer::get(bytes).unwrap().mime_type())
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it came to pass in time")
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers[name].to_str().unwrap()
}

fn attempts(journal: &Journal, provider: &str) -> Vec<(u32, Option<u16>)> {
    journal.callbacks(provider).iter().map(|sent: &CallbackDelivery| (sent.attempt, sent.status)).collect()
}
