use std::sync::{Mutex, MutexGuard};

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_sdk_secretsmanager::config::{BehaviorVersion, Credentials, Region};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::*;

/// Secrets Manager as far as it is used here: one secret, GetSecretValue and PutSecretValue.
#[derive(Clone)]
pub(super) struct Server {
    endpoint: String,
    vault: Arc<Mutex<Vault>>,
    /// A permit for every request that has come.
    arrived: Arc<Semaphore>,
    /// Answers need a permit, which they give back.
    gate: Arc<Semaphore>,
}

#[derive(Default)]
struct Vault {
    secret: Option<String>,
    /// Answered instead.
    refusal: Option<(StatusCode, &'static str)>,
    /// PutSecretValue is refused.
    read_only: bool,
    answer: Option<Value>,
    calls: usize,
}

impl Server {
    pub(super) async fn start(secret: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            vault: Arc::new(Mutex::new(Vault { secret: secret.map(str::to_owned), ..Vault::default() })),
            arrived: Arc::new(Semaphore::new(0)),
            gate: Arc::new(Semaphore::new(1)),
        };
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    pub(super) fn client(&self) -> Client {
        let config = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .build();
        Client::from_conf(config)
    }

    pub(super) fn calls(&self) -> usize {
        self.vault().calls
    }

    fn vault(&self) -> MutexGuard<'_, Vault> {
        self.vault.lock().unwrap()
    }

    fn holds(&self, secret: &str) {
        self.vault().secret = Some(secret.to_owned());
    }

    fn refuses(&self, refusal: Option<(StatusCode, &'static str)>) {
        self.vault().refusal = refusal;
    }

    fn json(&self) -> Value {
        serde_json::from_str(self.vault().secret.as_deref().unwrap()).unwrap()
    }

    /// A clock and secrets that come from this server alone.
    fn secrets(&self) -> (Clock, Secrets) {
        let clock = Clock::system();
        let secrets = Secrets::new(HashMap::new(), clock.clone()).with_secrets_manager(self.client(), ID);
        (clock, secrets)
    }
}

pub(super) const ID: &str = "arn:aws:secretsmanager:us-east-1:000000000000:secret:darkroom-AbCdEf";
const BROKEN: (StatusCode, &str) = (StatusCode::INTERNAL_SERVER_ERROR, "InternalServiceError");
const DENIED: (StatusCode, &str) = (StatusCode::BAD_REQUEST, "AccessDeniedException");

/// The JSON 1.1 protocol. Refusals repeat what was sent, as the real ones may.
async fn answer(State(server): State<Server>, headers: HeaderMap, body: String) -> Response {
    server.arrived.add_permits(1);
    let _open = server.gate.acquire().await.unwrap();
    let request: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(request["SecretId"], ID);
    let mut vault = server.vault();
    vault.calls += 1;
    let refuse = |status: StatusCode, code: &str| {
        (status, reply(&json!({ "__type": code, "message": format!("cannot do {body}") }))).into_response()
    };
    if let Some((status, code)) = vault.refusal {
        return refuse(status, code);
    }
    if let Some(answer) = &vault.answer {
        return reply(answer).into_response();
    }
    let about = json!({ "ARN": ID, "Name": "darkroom", "VersionId": "00000000-0000-0000-0000-000000000001" });
    match headers["x-amz-target"].to_str().unwrap() {
        "secretsmanager.GetSecretValue" => match &vault.secret {
            Some(secret) => {
                let mut about = about;
                about["SecretString"] = json!(secret);
                reply(&about).into_response()
            }
            None => refuse(StatusCode::BAD_REQUEST, "ResourceNotFoundException"),
        },
        "secretsmanager.PutSecretValue" if vault.read_only => refuse(DENIED.0, DENIED.1),
        "secretsmanager.PutSecretValue" => {
            assert!(request["ClientRequestToken"].is_string(), "a repeated call stores once");
            vault.secret = Some(request["SecretString"].as_str().unwrap().to_owned());
            reply(&about).into_response()
        }
        other => panic!("`{other}` is not called"),
    }
}

fn reply(value: &Value) -> impl IntoResponse + use<> {
    ([(header::CONTENT_TYPE, "application/x-amz-json-1.1")], value.to_string())
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_fetched_secret_is_good_for_a_minute() {
    let server = Server::start(Some(r#"{"FAL_KEY": "k1,k2", "KIE_KEY": "q1"}"#)).await;
    let (clock, secrets) = server.secrets();
    assert_eq!(keys(&secrets, "FAL_KEY").await, Ok(vec!["k1".to_owned(), "k2".to_owned()]));
    assert_eq!(value(&secrets.clone(), "KIE_KEY").await, found("q1"));
    assert_eq!(value(&secrets, "UNSET").await, Ok(None));
    server.holds(r#"{"FAL_KEY": "k3"}"#);
    clock.advance(MINUTE / 2);
    assert_eq!(value(&secrets, "FAL_KEY").await, found("k1,k2"));
    assert_eq!(server.calls(), 1);
    clock.advance(MINUTE / 2);
    assert_eq!(value(&secrets, "FAL_KEY").await, found("k3"));
    assert_eq!(value(&secrets, "KIE_KEY").await, Ok(None));
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn callers_at_the_same_time_fetch_once() {
    let server = Server::start(Some(r#"{"FAL_KEY": "k1"}"#)).await;
    let (_, secrets) = server.secrets();
    server.gate.forget_permits(1);
    let callers = join_all((0..16).map(|_| value(&secrets, "FAL_KEY")));
    let open = async {
        server.arrived.acquire().await.unwrap().forget();
        server.gate.add_permits(1);
    };
    let (values, ()) = tokio::join!(callers, open);
    assert_eq!(values, vec![found("k1"); 16]);
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn callers_at_the_same_time_share_a_failure() {
    let server = Server::start(None).await;
    let (clock, secrets) = server.secrets();
    let missing = Err(SecretsError::NoSuchSecret(ID.to_owned()));
    assert_eq!(join_all((0..16).map(|_| value(&secrets, "FAL_KEY"))).await, vec![missing; 16]);
    assert_eq!(server.calls(), 1);
    server.holds(r#"{"FAL_KEY": "k1"}"#);
    clock.advance(10 * SECOND);
    assert_eq!(value(&secrets, "FAL_KEY").await, found("k1"));
}

#[tokio::test]
async fn a_failed_refresh_serves_what_was_known() {
    let server = Server::start(Some(r#"{"FAL_KEY": "k1"}"#)).await;
    let (clock, secrets) = server.secrets();
    assert_eq!(value(&secrets, "FAL_KEY").await, found("k1"));
    server.refuses(Some(BROKEN));
    for calls in 2..5 {
        clock.advance(MINUTE);
        assert_eq!(value(&secrets, "FAL_KEY").await, found("k1"));
        assert_eq!(value(&secrets, "FAL_KEY").await, found("k1"));
        assert_eq!(server.calls(), calls, "it is left alone for a while");
    }
    server.refuses(None);
    server.holds("{ broken");
    clock.advance(MINUTE);
    assert_eq!(value(&secrets, "FAL_KEY").await, found("k1"), "somebody saved broken JSON");
    server.holds(r#"{"FAL_KEY": "k2"}"#);
    clock.advance(10 * SECOND);
    assert_eq!(value(&secrets, "FAL_KEY").await, found("k2"));
}

#[tokio::test]
async fn a_call_that_hangs_ends_after_five_seconds() {
    let server = Server::start(Some(r#"{"FAL_KEY": "k1"}"#)).await;
    let (clock, secrets) = server.secrets();
    let hang = async |secrets: &Secrets| {
        server.gate.forget_permits(1);
        let advance = async {
            server.arrived.acquire().await.unwrap().forget();
            clock.advance(5 * SECOND);
        };
        let (value, ()) = tokio::join!(value(secrets, "FAL_KEY"), advance);
        server.gate.add_permits(1);
        value
    };
    let error = hang(&secrets).await.expect_err("nothing is known yet").to_string();
    assert!(
        error.starts_with(&format!("`secretsmanager:GetSecretValue` of the secret `{ID}` failed: no answer within 5 s")),
        "{error}"
    );
    clock.advance(10 * SECOND);
    assert_eq!(value(&secrets, "FAL_KEY").await, found("k1"));
    server.arrived.forget_permits(usize::MAX);
    clock.advance(MINUTE);
    assert_eq!(hang(&secrets).await, found("k1"));
}

#[tokio::test]
async fn errors_say_what_to_do_and_hide_what_was_answered() {
    let server = Server::start(Some("")).await;
    let fresh = || server.secrets().1;
    for (secret, fault) in
        [("{ \"FAL_KEY\": hidden", "is not JSON (line 1, column 14)"), ("[\"hidden\"]", "is JSON, but not an object")]
    {
        server.holds(secret);
        let error = value(&fresh(), "FAL_KEY").await.expect_err("malformed");
        let expected = format!(r#"the Secrets Manager secret `{ID}` {fault}; make it one JSON object like {{ "FAL_KEY": "…" }}"#);
        assert_eq!(error.to_string(), expected);
        assert!(!format!("{error:?}").contains("hidden"), "{error:?}");
    }
    server.vault().answer = Some(json!({ "ARN": ID, "SecretBinary": "aGlkZGVu" }));
    let error = value(&fresh(), "FAL_KEY").await.expect_err("binary").to_string();
    assert!(error.contains("it has no SecretString"), "{error}");
    server.vault().answer = Some(json!(["hidden"]));
    let error = value(&fresh(), "FAL_KEY").await.expect_err("unreadable");
    assert!(!format!("{error} {error:?}").contains("hidden"), "{error:?}");
    server.refuses(Some(DENIED));
    let error = value(&fresh(), "FAL_KEY").await.expect_err("denied").to_string();
    let what = "failed: AccessDeniedException, HTTP 400; check `SECRETS_ID`, the network and that the role is allowed this call";
    assert_eq!(error, format!("`secretsmanager:GetSecretValue` of the secret `{ID}` {what}"));
}

#[tokio::test]
async fn nobody_at_the_address_is_an_error_that_says_so() {
    let server = Server { endpoint: "http://127.0.0.1:1".to_owned(), ..Server::start(None).await };
    let error = value(&server.secrets().1, "FAL_KEY").await.expect_err("nobody listens").to_string();
    assert!(error.contains("it could not be sent"), "{error}");
}

#[tokio::test]
async fn storing_keeps_the_other_secrets_and_is_seen_at_once() {
    let server = Server::start(Some(r#"{"KIE_KEY": "q1", "note": {"by": "hand"}}"#)).await;
    let (_, secrets) = server.secrets();
    assert_eq!(value(&secrets, "FAL_KEY").await, Ok(None));
    // Meanwhile, somewhere else.
    server.holds(r#"{"KIE_KEY": "q2", "note": {"by": "hand"}}"#);
    secrets.put("FAL_KEY", &secret("k1")).await.unwrap();
    assert_eq!(server.json(), json!({ "KIE_KEY": "q2", "note": { "by": "hand" }, "FAL_KEY": "k1" }));
    assert_eq!(value(&secrets, "FAL_KEY").await, found("k1"));
    assert_eq!(value(&secrets, "KIE_KEY").await, found("q2"));
    assert_eq!(server.calls(), 3, "get, then get and put");
}

#[tokio::test]
async fn puts_at_the_same_time_lose_nothing() {
    let server = Server::start(Some("{}")).await;
    let (_, secrets) = server.secrets();
    let names: Vec<String> = (0..16).map(|place| format!("KEY_{place}")).collect();
    let stored = join_all(names.iter().map(|name| async { secrets.put(name, &secret("k")).await })).await;
    assert_eq!(stored, vec![Ok(()); 16]);
    assert_eq!(server.json().as_object().unwrap().len(), 16);
}

#[tokio::test]
async fn a_secret_that_was_only_created_takes_its_first_value() {
    let server = Server::start(None).await;
    let (_, secrets) = server.secrets();
    secrets.put("FAL_KEY", &secret("k1")).await.unwrap();
    assert_eq!(server.json(), json!({ "FAL_KEY": "k1" }));
}

#[tokio::test]
async fn what_cannot_be_stored_changes_nothing_and_is_not_shown() {
    let server = Server::start(Some("{ broken")).await;
    let (_, secrets) = server.secrets();
    let error = secrets.put("FAL_KEY", &secret("hidden")).await.expect_err("malformed");
    assert!(matches!(error, SecretsError::Malformed { .. }), "{error:?}");
    assert_eq!(server.vault().secret.as_deref(), Some("{ broken"));
    server.refuses(Some(DENIED));
    let error = secrets.put("FAL_KEY", &secret("hidden")).await.expect_err("denied");
    assert!(!format!("{error} {error:?}").contains("hidden"), "{error:?}");
    server.refuses(None);
    server.holds("{}");
    server.vault().read_only = true;
    let error = secrets.put("FAL_KEY", &secret("hidden")).await.expect_err("denied");
    assert!(error.to_string().starts_with("`secretsmanager:PutSecretValue` of the secret"), "{error}");
    assert!(!format!("{error} {error:?}").contains("hidden"), "{error:?}");
    server.holds(&json!({ "OTHER": "x".repeat(65_500) }).to_string());
    let full = Err(SecretsError::Full(Place::SecretsManager(ID.to_owned())));
    assert_eq!(secrets.put("FAL_KEY", &secret("hidden")).await, full);
}
