//! The sample events in `events/`, each given to the function that it is for.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use shared::http_guard::{Outbound, Policy};
use shared::signature::callback_token;

use crate::stack::{Options, Stack};

// What the samples name; a running stack has its own.
const ACCOUNT: &str = "acct_01a1fd45181e7010959e1f615cda3a06";
const KEY: &str = "key_01a1fd45182470109bd0c7a2f3e4d501";
const ASSET: &str = "asset_01a1fd45cc2d7f3788cdf358fd7a9527";
const GENERATION: &str = "gen_01a1fd45cc9b7f419a9d117ebc842c56";
const API_KEY: &str = "dk_000000000000000000000000000000000000000000000000";
const JOB: &str = "4o5al3zxrfppdye2pyovdbso7s";
const TOKEN: &str = "1-0E3HUj4d76zDC2TxTond_W1ndMGwFAeU";
const PROMPT: &str = "A lighthouse in the fog";

struct Samples {
    stack: Stack,
    /// The id of the development account's key.
    key: String,
    used: BTreeSet<String>,
}

impl Samples {
    fn folder() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../events"))
    }

    async fn of(stack: Stack) -> Self {
        let keys = stack.backend.store.keys(stack.account).await.unwrap();
        Self { key: keys[0].0.key.id.to_string(), stack, used: BTreeSet::new() }
    }

    /// A sample with this stack's account and key, and with what else is to be replaced.
    fn read(&mut self, name: &str, replace: &[(&str, &str)]) -> Value {
        self.used.insert(name.to_owned());
        let mut text = std::fs::read_to_string(Self::folder().join(format!("{name}.json"))).unwrap();
        text = text.replace(ACCOUNT, &self.stack.account.to_string()).replace(KEY, &self.key);
        text = text.replace(API_KEY, &self.stack.api_key);
        for (sample, ours) in replace {
            assert!(text.contains(sample), "{name} does not name `{sample}`");
            text = text.replace(sample, ours);
        }
        serde_json::from_str(&text).unwrap()
    }

    async fn answer(&mut self, function: &str, name: &str, replace: &[(&str, &str)]) -> Value {
        let event = self.read(name, replace);
        self.stack.invoker.invoke(function, event).await.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The status and the body of an HTTP function's answer.
    async fn http(&mut self, function: &str, name: &str, replace: &[(&str, &str)]) -> (u64, Value) {
        read_http(&self.answer(function, name, replace).await)
    }

    /// A batch in which nothing failed.
    async fn batch(&mut self, function: &str, name: &str, replace: &[(&str, &str)]) {
        let answer = self.answer(function, name, replace).await;
        assert_eq!(answer, json!({ "batchItemFailures": [] }), "{name}");
    }

    async fn generate(&mut self, key: &str, model: &str, prompt: &str) -> String {
        let replace = [("order-1001", key), ("placeholder", model), (PROMPT, prompt)];
        let (status, created) = self.http("GenerateFunction", "generate-create", &replace).await;
        assert_eq!(status, 202, "{created}");
        created["id"].as_str().unwrap().to_owned()
    }

    async fn until(&mut self, id: &str, phase: &str) -> Value {
        for _ in 0..1_500 {
            let (status, generation) = self.http("QueryFunction", "query-generation", &[(GENERATION, id)]).await;
            assert_eq!(status, 200, "{generation}");
            if generation["phase"] == phase {
                return generation;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("`{id}` is not {phase} after 30 s");
    }
}

fn read_http(answer: &Value) -> (u64, Value) {
    let body = answer["body"].as_str().unwrap_or("null");
    (answer["statusCode"].as_u64().unwrap(), serde_json::from_str(body).unwrap())
}

async fn send_photo(upload: &Value) {
    let http = Outbound::new(Policy { allow_loopback: true });
    let photo = std::fs::read(Samples::folder().join("media/photo.jpg")).unwrap();
    let request = http.api().put(upload["url"].as_str().unwrap()).header("content-type", "image/jpeg").body(photo);
    assert_eq!(request.send().await.unwrap().status(), 200);
}

/// Signs a Replicate callback anew, as of now (Standard Webhooks).
fn sign(event: &mut Value, stack: &Stack) {
    let secrets = stack.simulators.credentials();
    let (_, secret) = secrets.iter().find(|(name, _)| *name == "REPLICATE_WEBHOOK_SECRET").unwrap();
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let now = stack.clock.now().as_second().to_string();
    let id = event["headers"]["webhook-id"].as_str().unwrap();
    let signed = format!("{id}.{now}.{}", event["body"].as_str().unwrap());
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes());
    event["headers"]["webhook-timestamp"] = now.into();
    event["headers"]["webhook-signature"] = format!("v1,{}", STANDARD.encode(tag)).into();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_event_is_answered_by_its_function() {
    let stack = Stack::start(Options::default()).await.unwrap();
    let account = stack.account.to_string();
    let mut samples = Samples::of(stack).await;

    let verdict = samples.answer("AuthorizeFunction", "authorize", &[]).await;
    assert_eq!((&verdict["isAuthorized"], &verdict["context"]["account"]), (&json!(true), &json!(account)));
    assert_eq!(verdict["context"]["scopes"], "user admin");

    let (status, upload) = samples.http("PresignFunction", "presign-create", &[]).await;
    assert_eq!(status, 201, "{upload}");
    send_photo(&upload).await;
    let asset = upload["id"].as_str().unwrap();
    let (status, asset) = samples.http("PresignFunction", "presign-complete", &[(ASSET, asset)]).await;
    assert_eq!((status, &asset["status"]), (200, &json!("ready")), "{asset}");

    let (status, own) = samples.http("OrganizeFunction", "organize-create", &[]).await;
    assert_eq!((status, &own["name"]), (201, &json!("Lighthouses")), "{own}");

    let (status, quote) = samples.http("GenerateFunction", "generate-quote", &[]).await;
    assert_eq!((status, &quote["credits"]), (200, &json!(5)), "{quote}");

    let id = samples.generate("order-1001", "placeholder", PROMPT).await;
    samples.until(&id, "succeeded").await;
    let (status, ledger) = samples.http("QueryFunction", "query-ledger", &[]).await;
    assert_eq!((status, ledger["entries"].as_array().unwrap().len()), (200, 3), "{ledger}");

    samples.batch("DispatchFunction", "dispatch", &[(GENERATION, &id)]).await;
    samples.batch("CollectFunction", "collect", &[(GENERATION, &id)]).await;
    samples.batch("PollFunction", "poll-nudge", &[(GENERATION, &id)]).await;
    samples.batch("PollFunction", "poll-sweep", &[]).await;
    samples.batch("PollFunction", "poll-tick", &[]).await;

    let id = samples.generate("order-1002", "placeholder", "slow [[delay=10m]]").await;
    let (status, canceled) = samples.http("GenerateFunction", "generate-cancel", &[(GENERATION, &id)]).await;
    assert!(matches!(status, 200 | 202), "{canceled}");
    samples.until(&id, "canceled").await;

    let erase = samples.answer("EraseFunction", "erase-generation", &[(GENERATION, &id)]).await;
    assert_eq!(erase["statusCode"], 204, "{erase}");
    assert_eq!(samples.until(&id, "canceled").await["params"], json!({}));

    let id = samples.generate("order-1003", "flux-schnell", "slow [[delay=30m]]").await;
    let running = samples.until(&id, "running").await;
    let job = running["attempts"][0]["provider_job"].as_str().unwrap();
    let secret = samples.stack.backend.config.signing_secret().unwrap();
    let token = callback_token(secret, "replicate", id.parse().unwrap(), 1);
    let api = samples.stack.api.clone();
    let replace = [(GENERATION, id.as_str()), (TOKEN, &token), (JOB, job), ("https://replicate.delivery", &api)];
    let mut event = samples.read("callback-replicate", &replace);
    let refused = samples.stack.invoker.invoke("CallbackFunction", event.clone()).await.unwrap();
    assert_eq!(read_http(&refused).0, 401, "the sample's signature is of another time");
    sign(&mut event, &samples.stack);
    let taken = samples.stack.invoker.invoke("CallbackFunction", event).await.unwrap();
    assert_eq!(read_http(&taken), (200, json!({ "changed": true })));

    let (status, change) = samples.http("AdminFunction", "admin-put-model", &[]).await;
    assert_eq!((status, &change["version"]), (200, &json!(1)), "{change}");
    let id = samples.generate("order-1004", "poster", PROMPT).await;
    samples.until(&id, "succeeded").await;

    let files = std::fs::read_dir(Samples::folder()).unwrap().map(|entry| entry.unwrap().path());
    let samples_there = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let there: BTreeSet<String> = samples_there.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(there, samples.used, "a sample that nobody tries");
}
