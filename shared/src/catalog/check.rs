//! What a manifest must satisfy before anything runs on it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::manifest::{Call, HttpProvider, Manifest, ModelSpec};
use crate::template;

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or not of the manifest's shape.
    #[error("`{file}` is not a manifest: {reason}")]
    Shape { file: String, reason: serde_json::Error },
    /// Of the right shape, with a mistake inside.
    #[error("manifest `{manifest}`, at `{at}`: {reason}")]
    Content { manifest: String, at: String, reason: String },
}

pub(super) fn bad(manifest: &str, at: &str, reason: impl Into<String>) -> ManifestError {
    ManifestError::Content { manifest: manifest.to_owned(), at: at.to_owned(), reason: reason.into() }
}

pub(super) fn parse(file: &str, text: &str) -> Result<Manifest, ManifestError> {
    let manifest: Manifest =
        serde_json::from_str(text).map_err(|reason| ManifestError::Shape { file: file.to_owned(), reason })?;
    let name = &manifest.name;
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        return Err(bad(name, "name", "use lowercase letters and digits only"));
    }
    if manifest.times.poll_growth_percent < 100 || manifest.times.poll_first_s == 0 {
        return Err(bad(name, "times", "polls need a first pause of at least 1 s that does not shrink"));
    }
    for model in &manifest.models {
        check_model(&manifest, model)?;
    }
    if let Some(http) = manifest.http() {
        check_http(&manifest, http)?;
    }
    Ok(manifest)
}

fn check_model(manifest: &Manifest, model: &ModelSpec) -> Result<(), ManifestError> {
    let complain = |reason: String| Err(bad(&manifest.name, &model.name, reason));
    let own = model.name == manifest.name || model.name.starts_with(&format!("{}/", manifest.name));
    if !own {
        return complain(format!("a model's name is `{0}` or starts with `{0}/`", manifest.name));
    }
    let Some(properties) = model.params.get("properties").and_then(Value::as_object) else {
        return complain("`params` needs `properties`".to_owned());
    };
    if model.params.get("additionalProperties") != Some(&Value::Bool(false)) {
        return complain("`params` needs `\"additionalProperties\": false`: unknown parameters are refused".to_owned());
    }
    if let Some(per) = &model.price.per {
        let counted = properties.get(per).is_some_and(|param| {
            param.get("type") == Some(&Value::from("integer")) && param.get("default").is_some() && param.get("maximum").is_some()
        });
        if !counted {
            return complain(format!(
                "the price counts `{per}`, which has to be an integer parameter with a default and a maximum"
            ));
        }
    }
    let names = template::variables(&model.input).map_err(|error| bad(&manifest.name, &model.name, error.to_string()))?;
    match names.iter().find(|name| !properties.contains_key(*name)) {
        Some(unknown) => complain(format!("`input` uses `{unknown}`, which is not a parameter")),
        None => Ok(()),
    }
}

fn check_http(manifest: &Manifest, http: &HttpProvider) -> Result<(), ManifestError> {
    let base_url = http.base_url.parse::<url::Url>();
    if !base_url.is_ok_and(|url| url.scheme() == "https" && url.path() == "/") {
        return Err(bad(&manifest.name, "base_url", "has to be `https://host` without a path"));
    }
    let job: Vec<String> = http.submit.job_facts.keys().map(|fact| format!("job.{fact}")).chain(["job.id".to_owned()]).collect();
    check_call(manifest, "submit", &http.submit.call, &["input", "callback_url"])?;
    let job: Vec<&str> = job.iter().map(String::as_str).collect();
    check_call(manifest, "poll", &http.poll, &job)?;
    if let Some(fetch) = &http.result.fetch {
        check_call(manifest, "result.fetch", fetch, &job)?;
    }
    if let Some(cancel) = &http.cancel {
        check_call(manifest, "cancel", &cancel.call, &job)?;
    }
    for (header, value) in &http.headers {
        check_names(manifest, &format!("headers.{header}"), &Value::from(value.as_str()), &["key"])?;
    }
    Ok(())
}

fn check_call(manifest: &Manifest, at: &str, call: &Call, own: &[&str]) -> Result<(), ManifestError> {
    for url in &call.urls {
        let allowed: Vec<&str> = own.iter().copied().chain(["base_url"]).collect();
        check_names(manifest, &format!("{at}.urls"), &Value::from(url.as_str()), &allowed)?;
    }
    for (name, value) in &call.query {
        check_names(manifest, &format!("{at}.query.{name}"), &Value::from(value.as_str()), own)?;
    }
    match &call.body {
        Some(body) => check_names(manifest, &format!("{at}.body"), body, own),
        None => Ok(()),
    }
}

fn check_names(manifest: &Manifest, at: &str, template: &Value, known: &[&str]) -> Result<(), ManifestError> {
    let names: BTreeSet<String> = template::variables(template).map_err(|error| bad(&manifest.name, at, error.to_string()))?;
    for name in names {
        let remote = name.strip_prefix("remote.");
        let fine = match remote {
            Some(fact) => manifest.models.iter().all(|model| model.remote.contains_key(fact)),
            None => known.contains(&name.as_str()),
        };
        if !fine {
            let reason = match remote {
                Some(fact) => format!("uses `{name}`, and not every model has `{fact}` in its `remote`"),
                None => format!("uses `{name}`; known here: {}", known.join(", ")),
            };
            return Err(bad(&manifest.name, at, reason));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Value), expected: &str) {
        let mut manifest: Value = serde_json::from_str(include_str!("providers/fal.json")).expect("JSON");
        change(&mut manifest);
        let error = parse("fal.json", &manifest.to_string()).expect_err("a mistake").to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn mistakes_are_found_when_loading() {
        check(|m| m["nmae"] = json!(1), "unknown field `nmae`");
        check(|m| m["name"] = json!("Fal AI"), "lowercase");
        check(|m| m["models"][0]["input"]["x"] = json!("{{promt}}"), "uses `promt`");
        check(|m| m["models"][0]["price"]["per"] = json!("prompt"), "counts `prompt`");
        check(|m| m["models"][0]["remote"] = json!({}), "not every model has");
        check(|m| m["models"][0]["params"]["additionalProperties"] = json!(true), "additionalProperties");
        check(|m| m["transport"]["http"]["poll"]["urls"][0] = json!("{{job.url}}"), "uses `job.url`");
        check(|m| m["transport"]["http"]["poll"]["urls"][0] = json!("{{base_url"), "does not close it");
        check(|m| m["transport"]["http"]["base_url"] = json!("http://x"), "https://host");
        check(|m| m["transport"]["http"]["status"]["pick"] = json!("$..status"), "uses `..`");
        check(|m| m["models"][0]["name"] = json!("replicate/x"), "starts with `fal/`");
    }
}
