//! What a person who sets up a provider needs to know: its secrets, its callbacks, its limits, and what to try first.

use serde_json::Value;
use shared::api::ModelView;
use shared::catalog::manifest::{HttpProvider, Manifest, MediaKind};
use shared::catalog::rules::SignatureScheme;
use shared::catalog::{Catalog, Offer};
use shared::config::limit_variables;
use shared::pool::KeyLimits;

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Calls are made with it; nothing works without.
    Key,
    /// Callbacks are checked with it; without it, what a callback says is confirmed by asking the provider.
    Webhook,
}

impl Purpose {
    pub(super) fn explain(self) -> &'static str {
        match self {
            Self::Key => "the API key; several are separated by commas, and share the work",
            Self::Webhook => "the secret that callbacks are signed with; may be left empty",
        }
    }
}

/// Every secret that the provider needs or can use, each once.
pub(super) fn secrets(http: &HttpProvider) -> Vec<(String, Purpose)> {
    let mut all: Vec<(String, Purpose)> = Vec::new();
    for name in http.secret_names().filter(|name| !name.is_empty()) {
        if !all.iter().any(|(own, _)| own == name) {
            let purpose = if name == http.key_env { Purpose::Key } else { Purpose::Webhook };
            all.push((name.to_owned(), purpose));
        }
    }
    all
}

/// Where the provider shows a webhook secret, or where signing is switched on. Sources: the providers' documentation, "Verify webhooks"
/// and the like; OpenRouter's on its video generation.
pub(super) fn where_webhook_secret_is(provider: &str, http: &HttpProvider) -> Option<String> {
    let base = &http.base_url;
    let named = |header: &str, path: &str| {
        let key = &http.key_env;
        Some(format!("ask for it with your key: curl -H \"Authorization: {header} ${key}\" {base}{path}"))
    };
    match provider {
        "replicate" => named("Bearer", "/v1/webhooks/default/secret"),
        "wavespeed" => named("Bearer", "/api/v3/webhook/secret"),
        "kie" => Some(
            "create a `webhookHmacKey` in the settings (https://kie.ai/settings); until then callbacks are not signed".to_owned(),
        ),
        "openrouter" => Some("set a signing secret for your workspace; until then callbacks are not signed".to_owned()),
        _ => None,
    }
}

/// How its callbacks are believed.
pub(super) fn trust(provider: &Manifest, http: &HttpProvider, has_secret: bool) -> Vec<String> {
    let schemes: Vec<&SignatureScheme> =
        http.apis.values().filter_map(|api| api.callback.as_ref()).map(|callback| &callback.signature).collect();
    let Some(scheme) = schemes.first() else { return Vec::new() };
    let covers_body = match scheme {
        SignatureScheme::Unsigned => {
            return vec!["They are not signed: what a callback says is confirmed by asking.".to_owned()];
        }
        SignatureScheme::FalEd25519 { .. } => {
            return vec!["They are signed, and checked with the provider's public keys: nothing to set up.".to_owned()];
        }
        SignatureScheme::KieHmac { .. } => false,
        SignatureScheme::StandardWebhooks { .. }
        | SignatureScheme::OpenrouterHmac { .. }
        | SignatureScheme::WavespeedHmac { .. } => true,
    };
    let secret = scheme.secret_env().unwrap_or_default();
    let mut lines = Vec::new();
    if has_secret {
        lines.push(format!("Signatures are checked with `{secret}`; a callback without the right one is refused."));
    } else {
        lines.push(format!("`{secret}` is not stored: what a callback says is confirmed by asking."));
    }
    if !covers_body {
        lines.push("The signature does not cover the body, so the provider is asked in any case.".to_owned());
    }
    lines.extend(where_webhook_secret_is(&provider.name, http).map(|place| format!("The secret: {place}")));
    lines
}

/// `10 jobs at once, 120 submits a minute, for each key`.
pub(super) fn limits(provider: &Manifest) -> String {
    let KeyLimits { concurrency, per_minute, per_day } = provider.limits;
    let limits = [(concurrency, "jobs at once"), (per_minute, "submits a minute"), (per_day, "submits a day")];
    let stated: Vec<String> = limits.iter().filter_map(|(limit, what)| Some(format!("{} {what}", (*limit)?))).collect();
    if stated.is_empty() {
        return "none but the provider's own; when it throttles, jobs wait and are tried again".to_owned();
    }
    format!("{}, for each key", stated.join(", "))
}

/// The options that change the limits of a local run.
pub(super) fn limit_options(provider: &Manifest) -> String {
    limit_variables(&provider.name).map(|name| format!("--env {name}=N")).join(" ")
}

/// The command that tries the provider: its first model that needs no file, else its first one.
pub(super) fn first_trial(catalog: &Catalog, provider: &Manifest) -> Option<String> {
    let views: Vec<ModelView> = provider
        .models
        .iter()
        .filter_map(|spec| catalog.model(&spec.name))
        .map(|model| ModelView::from(&Offer::Model(model.clone())))
        .collect();
    let needs = |model: &ModelView| required_files(model).len();
    let known: Vec<&ModelView> = views.iter().filter(|model| model.params.pointer("/properties/input").is_none()).collect();
    let rank = |model: &ModelView| match model.kind {
        MediaKind::Image => 0,
        MediaKind::Video => 1,
        MediaKind::Text => 2,
        MediaKind::Json => 3,
    };
    let model = known.iter().min_by_key(|model| (needs(model).min(1), rank(model)))?;
    let command = if model.kind == MediaKind::Video { "test-video" } else { "test-image" };
    // An alias of one word is what a person would type.
    let name = model.aliases.iter().find(|alias| !alias.contains('/')).unwrap_or(&model.name);
    let files: String = required_files(model).iter().map(|param| format!(" --image {param}=FILE")).collect();
    Some(format!("darkroom {command} --model {name}{files}"))
}

/// The media parameters that the model cannot do without.
fn required_files(model: &ModelView) -> Vec<String> {
    let required = model.params.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let is_media = |name: &str| {
        let Some(property) = model.params.get("properties").and_then(|properties| properties.get(name)) else { return false };
        [Some(property), property.get("items")]
            .into_iter()
            .flatten()
            .any(|value| value.get("format") == Some(&Value::from("asset")))
    };
    required.filter(|name| is_media(name)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(name: &str) -> std::sync::Arc<Manifest> {
        Catalog::built_in().unwrap().provider(name).unwrap().clone()
    }

    #[test]
    fn each_secret_is_asked_for_once() {
        let replicate = provider("replicate");
        let asked = secrets(replicate.http().unwrap());
        let expected = [("REPLICATE_API_TOKEN", Purpose::Key), ("REPLICATE_WEBHOOK_SECRET", Purpose::Webhook)];
        assert_eq!(asked, expected.map(|(name, purpose)| (name.to_owned(), purpose)));
    }

    #[test]
    fn every_webhook_secret_says_where_it_comes_from() {
        let catalog = Catalog::built_in().unwrap();
        for (provider, http) in catalog.providers().filter_map(|provider| Some((provider, provider.http()?))) {
            let has_secret = secrets(http).iter().any(|(_, purpose)| *purpose == Purpose::Webhook);
            assert_eq!(where_webhook_secret_is(&provider.name, http).is_some(), has_secret, "{}", provider.name);
        }
    }

    #[test]
    fn every_provider_can_be_tried() {
        let catalog = Catalog::built_in().unwrap();
        let trial = |name: &str| first_trial(&catalog, &provider(name)).unwrap();
        assert_eq!(trial("replicate"), "darkroom test-image --model flux-schnell");
        assert_eq!(trial("wavespeed"), "darkroom test-image --model face-swap --image image=FILE --image face=FILE");
        for provider in catalog.providers().filter(|provider| provider.http().is_some()) {
            let command = first_trial(&catalog, provider).unwrap();
            let name = command.split(' ').nth(3).unwrap();
            assert_eq!(catalog.model(name).unwrap().provider.name, provider.name, "{command}");
        }
    }
}
