//! The command line, as a person or a script uses it: a provider is set up, a model is tried.

use std::path::Path;
use std::process::{Output, Stdio};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tests::{Process, free_port, serve};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_darkroom-under-test");
const PHOTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/media/photo.jpg");

/// A run of the program in a folder of its own, with nothing of this machine's environment that it could take for a setting.
pub(crate) fn darkroom(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(folder).env_clear().kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) async fn run(folder: &Path, arguments: &[&str]) -> (bool, String, String) {
    read(darkroom(folder, arguments).output().await.expect("the program starts"))
}

async fn run_with_stdin(mut command: Command, stdin: &str) -> (bool, String, String) {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the program starts");
    child.stdin.take().expect("it is piped").write_all(stdin.as_bytes()).await.expect("it reads");
    read(child.wait_with_output().await.expect("it ends"))
}

pub(crate) fn read(output: Output) -> (bool, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn stored(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join(".darkroom/secrets.json")).expect("it is there")).expect("JSON")
}

#[tokio::test]
async fn a_key_from_stdin_is_stored_for_its_owner_alone_and_never_shown() {
    let folder = TempDir::new().expect("a folder");
    let setup = || darkroom(folder.path(), &["provider", "setup", "kie"]);
    let (is_ok, out, errors) = run_with_stdin(setup(), "# of the team\nKIE_API_KEY = very-secret-1,very-secret-2\n").await;
    assert!(is_ok, "{errors}");
    assert!(out.contains("KIE_API_KEY (2 keys)") && out.contains("KIE_WEBHOOK_SECRET is not stored"), "{out}");
    assert!(out.contains("{public_url}/v1/callbacks/kie/{generation}/{token}") && out.contains("webhookHmacKey"), "{out}");
    assert!(out.contains("100 jobs at once, 120 submits a minute") && out.contains("--env KIE_CONCURRENCY=N"), "{out}");
    assert!(out.contains("`darkroom test-image --model nano-banana-2`"), "{out}");
    assert!(!format!("{out}{errors}").contains("very-secret"), "{out}{errors}");

    let (is_ok, out, errors) = run_with_stdin(setup(), "KIE_WEBHOOK_SECRET=very-secret-3").await;
    assert!(is_ok && out.contains("KIE_API_KEY is there already"), "{out}{errors}");
    let expected = json!({"KIE_API_KEY": "very-secret-1,very-secret-2", "KIE_WEBHOOK_SECRET": "very-secret-3"});
    assert_eq!(stored(folder.path()), expected);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(folder.path().join(".darkroom/secrets.json")).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let (_, out, _) = run(folder.path(), &["models", "--provider", "kie", "--kind", "image"]).await;
    assert!(out.contains("kie (real)") && !out.contains("seedance") && !out.contains("fal/"), "{out}");
}

#[tokio::test]
async fn a_refused_secret_stores_nothing_and_is_not_repeated() {
    let folder = TempDir::new().expect("a folder");
    for (secret, reason) in [
        ("very-secret", "--secret 1 is not `NAME=VALUE`"),
        ("FAL_KEY=very-secret", "does not name a secret of this provider; there are REPLICATE_API_TOKEN"),
        ("REPLICATE_WEBHOOK_SECRET=whsec_very-secret", "`REPLICATE_API_TOKEN` is needed"),
    ] {
        let (is_ok, out, errors) = run(folder.path(), &["provider", "setup", "replicate", "--secret", secret]).await;
        assert!(!is_ok && errors.contains(reason), "{out}{errors}");
        assert!(!format!("{out}{errors}").contains("very-secret"), "{out}{errors}");
    }
    assert!(!folder.path().join(".darkroom").exists());
}

/// A Secrets Manager with one secret, which has no value yet.
#[derive(Clone, Default)]
struct SecretsManager(Arc<Mutex<Option<String>>>);

async fn secrets_manager(State(own): State<SecretsManager>, headers: HeaderMap, body: String) -> (u16, String) {
    let asked: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(asked["SecretId"], "darkroom-providers");
    let mut kept = own.0.lock().expect("nobody panicked");
    match headers["x-amz-target"].to_str().expect("text") {
        "secretsmanager.GetSecretValue" => match &*kept {
            Some(text) => (200, json!({"Name": "darkroom-providers", "SecretString": text}).to_string()),
            None => (400, json!({"__type": "ResourceNotFoundException", "Message": "no value"}).to_string()),
        },
        "secretsmanager.PutSecretValue" => {
            *kept = Some(asked["SecretString"].as_str().expect("text").to_owned());
            (200, json!({"Name": "darkroom-providers"}).to_string())
        }
        other => panic!("{other} is not expected"),
    }
}

#[tokio::test]
async fn a_deployed_darkroom_has_its_keys_in_secrets_manager() {
    let own = SecretsManager::default();
    let answer = |state, headers, body| async move {
        let (status, body) = secrets_manager(state, headers, body).await;
        (axum::http::StatusCode::from_u16(status).expect("a status"), body)
    };
    let (address, _server) = serve(Router::new().route("/", post(answer)).with_state(own.clone())).await;
    let folder = TempDir::new().expect("a folder");
    let aws = [
        ("AWS_ENDPOINT_URL", address.as_str()),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    for line in ["FAL_KEY=very-secret-1", "FAL_KEY=very-secret-2"] {
        let mut setup = darkroom(folder.path(), &["provider", "setup", "fal", "--secrets-id", "darkroom-providers"]);
        setup.envs(aws);
        let (is_ok, out, errors) = run_with_stdin(setup, line).await;
        assert!(is_ok, "{errors}");
        assert!(out.contains("Stored in the Secrets Manager secret `darkroom-providers`: FAL_KEY."), "{out}");
        assert!(!format!("{out}{errors}").contains("very-secret"), "{out}{errors}");
    }
    let kept: Value = serde_json::from_str(own.0.lock().expect("nobody panicked").as_deref().expect("stored")).expect("JSON");
    assert_eq!(kept, json!({"FAL_KEY": "very-secret-2"}));
    assert!(!folder.path().join(".darkroom").exists());
}

#[tokio::test]
async fn a_model_is_tried_without_a_running_darkroom() {
    let folder = TempDir::new().expect("a folder");
    let trial = ["test-image", "--model", "placeholder", "--image", PHOTO, "--out", "result.png", "--params", r#"{"width": 64}"#];
    let (is_ok, out, errors) = run(folder.path(), &trial).await;
    assert!(is_ok, "{errors}");
    assert!(out.contains("charged     5 credits of 5 held; 995 available") && out.contains("result.png  (image/png"), "{out}");
    assert!(std::fs::read(folder.path().join("result.png")).expect("written").starts_with(b"\x89PNG"));

    let (is_ok, out, errors) = run(folder.path(), &["test-video", "--image", PHOTO, "--duration", "10", "--json"]).await;
    assert!(is_ok, "{errors}");
    let generation: Value = serde_json::from_str(&out).expect("nothing but JSON");
    assert_eq!((&generation["status"], &generation["charged"]), (&json!("succeeded"), &json!(100)));
    let (asked, id) = (&generation["params"], generation["id"].as_str().expect("an id"));
    assert!(asked["image"].as_str().is_some_and(|asset| asset.starts_with("asset_")) && asked["duration"] == 10, "{asked}");
    assert!(folder.path().join(format!("out/{id}.mp4")).exists());
}

#[tokio::test]
async fn a_failed_trial_says_why_and_what_to_do() {
    let folder = TempDir::new().expect("a folder");
    let trial = ["test-image", "--model", "flux-dev", "--prompt", "A lighthouse [[fail]]"];
    let (is_ok, out, errors) = run(folder.path(), &trial).await;
    assert!(
        !is_ok && out.contains("charged     0 credits") && out.contains("failed (simulated): provider_failed"),
        "{out}{errors}"
    );
    assert!(
        errors.contains("the generation failed: provider_failed") && errors.contains("`darkroom models --kind image`"),
        "{errors}"
    );

    let (is_ok, _, errors) = run(folder.path(), &["test-image", "--model", "nano-banana-edit", "--params", r#"{"a": 1}"#]).await;
    assert!(!is_ok && errors.contains("needs a file for `images`"), "{errors}");
}

#[tokio::test]
async fn a_running_darkroom_is_used_and_told_from_the_real_provider() {
    let folder = TempDir::new().expect("a folder");
    let product = Process::start(PROGRAM, &folder.path().join(".darkroom"), free_port(), &[]).await;
    let api = product.api.clone();
    let (is_ok, out, errors) = run(folder.path(), &["test-image", "--model", "flux-dev", "--api", &api]).await;
    assert!(is_ok, "{errors}");
    assert!(out.contains("`darkroom provider setup fal` makes it real"), "{out}");
    let (available, _) = product.balance().await;
    assert_eq!(available, 996);

    let (is_ok, _, errors) = run(folder.path(), &["provider", "setup", "fal", "--secret", "FAL_KEY=k"]).await;
    assert!(is_ok, "{errors}");
    let (_, out, errors) = run(folder.path(), &["test-image", "--model", "flux-dev", "--api", &api]).await;
    assert!(out.contains("This was the simulator of fal, although its key is there"), "{out}{errors}");

    let (is_ok, _, errors) = run(folder.path(), &["test-image", "--api", &api, "--data", "elsewhere"]).await;
    assert!(!is_ok && errors.contains("`elsewhere` holds no key for"), "{errors}");
    let (is_ok, _, errors) = run(folder.path(), &["test-image", "--api", "https://darkroom.example"]).await;
    assert!(!is_ok && errors.contains("wants an API key"), "{errors}");
}
