//! What each provider is sent, compared with `tests/snapshots`. `UPDATE_SNAPSHOTS=1` writes them anew.

use std::path::Path;

use local::simulators::Submit;
use serde_json::{Map, Value, json};
use shared::catalog::Catalog;
use shared::template;

use super::Round;
use super::cases::GEMINI_JSON;

/// What a submit was, without what differs from one run to the next.
fn snapshot(submit: &Submit) -> Value {
    let headers = submit.headers.iter().map(|(name, value)| {
        let value = match value.split_once("; boundary=") {
            Some((kind, _)) => format!("{kind}; boundary={{{{boundary}}}}"),
            None => value.replace(env!("CARGO_PKG_VERSION"), "{{version}}"),
        };
        (name.clone(), Value::String(value))
    });
    let mut shown = json!({
        "request": format!("POST {}", submit.path),
        "headers": headers.collect::<Map<_, _>>(),
    });
    if submit.callback_url.is_some() {
        shown["callback"] = json!("{{callback}}");
    }
    shown["body"] = stable(&submit.body);
    shown
}

fn stable(value: &Value) -> Value {
    match value {
        Value::String(text) if text.contains("/v1/callbacks/") => json!("{{callback}}"),
        Value::String(text) if text.starts_with("http://127.0.0.1") => json!("{{link}}"),
        // Long ones are cut by the journal.
        Value::String(text) if text.ends_with(" bytes)") => {
            let media_type = text.strip_prefix("data:").and_then(|data| data.split_once(','));
            json!(media_type.map_or("{{data}}".to_owned(), |(media_type, _)| format!("data:{media_type},{{{{data}}}}")))
        }
        Value::Array(items) => items.iter().map(stable).collect(),
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), stable(field))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn compare(name: &str, found: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots").join(name).with_extension("json");
    let expected: Value = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    // The order of members means nothing, and a customer's own are not kept in it.
    if *found == expected {
        return;
    }
    let text = serde_json::to_string_pretty(found).expect("JSON") + "\n";
    #[allow(clippy::disallowed_methods, reason = "it is about this test alone")]
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, text).expect("it can be written");
        return;
    }
    panic!("`{}` differs; it is now:\n{text}\nUPDATE_SNAPSHOTS=1 writes it anew", path.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_provider_is_sent_what_its_snapshot_says() {
    let mut round = Round::start().await;
    round.order(|_| Some("")).await;
    let ended = round.until_ended().await;
    for (case, done) in &ended {
        assert_eq!(done["status"], "succeeded", "{}: {done:#}", case.name);
        let submits = round.submits(case);
        assert_eq!(submits.len(), 1, "{}", case.name);
        compare(case.name, &snapshot(&submits[0]));
    }
    // A video that was made is as good an input as one that was uploaded.
    let (_, video) = ended.iter().find(|(case, _)| case.name == "kie").expect("it is a case");
    let params = (GEMINI_JSON.params)("Which animal is it?", video["results"][0]["asset_id"].as_str().expect("an asset"));
    let id = round.customer.create_with(GEMINI_JSON.model, params).await;
    let done = round.customer.ended(&id).await;
    assert_eq!(done["results"][0]["text"], r#"{"animal":"Which animal is it?"}"#, "{done:#}");
    assert_eq!(done["results"][0]["content_type"], GEMINI_JSON.content_type);
    let submits = round.submits(&GEMINI_JSON);
    assert_eq!(submits.len(), 1);
    compare(GEMINI_JSON.name, &snapshot(&submits[0]));
    round.assert_paid(|_| true).await;
}

/// The first request that was ever made this way, as its customer wrote it down.
const FIRST_REQUEST: &str = concat!(
    r#"{"model":"bytedance/seedance-1.5-pro","#,
    r#""input":{"prompt":"Two people arm wrestling in a vintage room, dynamic movement, cinematic","#,
    r#""input_urls":["https://ai-production-asset-managemer.s3.timeweb.com/test_images/123_wqL0ZEQ.jpg"],"#,
    r#""aspect_ratio":"16:9","resolution":"720p","duration":"8"}}"#,
);

#[test]
fn kies_first_request_is_made_byte_for_byte() {
    let catalog = Catalog::built_in().expect("loads");
    let model = catalog.model("kie/bytedance/seedance-1.5-pro").expect("is there");
    let given = json!({"prompt": "Two people arm wrestling in a vintage room, dynamic movement, cinematic"});
    let mut context = model.params.check("params", given.as_object().expect("an object")).expect("is valid");
    let url = "https://ai-production-asset-managemer.s3.timeweb.com/test_images/123_wqL0ZEQ.jpg";
    context.insert("images".to_owned(), json!([{"url": url}]));
    let input = template::render(&model.spec.input, &context).expect("renders").expect("is there");
    let api = model.provider.http().and_then(|http| http.api_of(&model.spec)).expect("is there");
    let remote = Value::Object(model.spec.remote.clone());
    let context = Map::from_iter([("remote".to_owned(), remote), ("input".to_owned(), input)]);
    let body = template::render(api.submit.call.body.as_ref().expect("has one"), &context).expect("renders");
    assert_eq!(body.expect("is there").to_string(), FIRST_REQUEST);
}
