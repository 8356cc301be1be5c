//! The APIs of a provider: which of their parts belong together, and which variables their requests may use.

use std::collections::BTreeSet;

use serde_json::Value;

use super::calls::{self, Scope, Slot};
use super::place::Place;
use super::{Checked, failures, providers, results, templates, words};
use crate::catalog::calls::Call;
use crate::catalog::manifest::{Api, HttpProvider};
use crate::catalog::rules::{Callback, CancelProof, SignatureScheme};

/// A submit and the uploads before it have to end before the function does that makes them.
const MAX_SUBMIT_S: u32 = 590;
/// A callback much older than this proves nothing.
const MAX_TOLERANCE_S: u32 = 86_400;

pub(super) fn api(place: &Place<'_>, provider: &str, http: &HttpProvider, api: &Api) -> Checked {
    parts(place, api)?;
    let hosts = Scope::hosts(http);
    if let Some(upload) = &api.upload {
        calls::upload(&place.key("upload"), upload, hosts.clone())?;
    }
    let submit = place.key("submit");
    calls::call(&submit.key("call"), &api.submit.call, &hosts.clone().for_submit())?;
    words::facts(&submit.key("job_facts"), api.submit.job_facts.keys())?;
    let longest = api.longest_submit_s();
    if longest > MAX_SUBMIT_S {
        return submit.refuse(format!(
            "with the uploads before it, it may take {longest} s; all time-outs together at most {MAX_SUBMIT_S}"
        ));
    }
    if let Some(envelope) = &api.envelope {
        words::envelope(&place.key("envelope"), envelope)?;
    }
    if let Some(own) = &api.status {
        words::of_polls(&place.key("status"), own)?;
    }
    requests_about_a_job(place, api, hosts)?;
    results::rules(&place.key("result"), &api.result)?;
    if let Some(own) = &api.callback {
        callback(&place.key("callback"), provider, own)?;
    }
    failures::list(&place.key("failures"), &api.failures)?;
    failures::needed(place, http, api)?;
    match &api.times {
        Some(times) => providers::times(&place.key("times"), times),
        None => Ok(()),
    }
}

/// Jobs are polled; without a poll the submit's answer is all there is.
fn parts(place: &Place<'_>, api: &Api) -> Checked {
    if api.poll.is_some() {
        let needed = [("status", api.status.is_none()), ("submit.job_id", api.submit.job_id.is_none())];
        return match needed.into_iter().find(|(_, missing)| *missing) {
            Some((name, _)) => place.key(name).refuse("is missing: an API with `poll` needs `submit.job_id` and `status`"),
            None => Ok(()),
        };
    }
    let unused = [
        ("status", api.status.is_some()),
        ("submit.job_id", api.submit.job_id.is_some()),
        ("result.fetch", api.result.fetch.is_some()),
        ("cancel", api.cancel.is_some()),
        ("callback", api.callback.is_some()),
    ];
    match unused.into_iter().find(|(_, given)| *given) {
        Some((name, _)) => place
            .key(name)
            .refuse("needs a job, but without `poll` the submit's answer is the result: add `poll`, or leave it out"),
        None => Ok(()),
    }
}

fn requests_about_a_job(place: &Place<'_>, api: &Api, hosts: Scope) -> Checked {
    let facts = api.submit.job_facts.keys().map(|fact| format!("job.{fact}"));
    let job = hosts.with(["job.id".to_owned()].into_iter().chain(facts));
    if let Some(poll) = &api.poll {
        calls::call(&place.key("poll"), poll, &job)?;
    }
    if let Some(cancel) = &api.cancel {
        let at = place.key("cancel");
        calls::call(&at.key("call"), &cancel.call, &job)?;
        match &cancel.proof {
            CancelProof::Word { any, .. } if any.is_empty() => {
                return at
                    .key("proof.word.any")
                    .refuse("is empty, so nothing would prove that the job is stopped: name the word");
            }
            CancelProof::Word { .. } | CancelProof::Status => {}
        }
    }
    // What the poll's answer told is known only when the results are fetched.
    let told = api.status.iter().flat_map(|words| words.facts.keys()).map(|fact| format!("job.{fact}"));
    match &api.result.fetch {
        Some(fetch) => calls::call(&place.key("result.fetch"), fetch, &job.with(told)),
        None => Ok(()),
    }
}

fn callback(place: &Place<'_>, provider: &str, callback: &Callback) -> Checked {
    let signature = place.key("signature");
    if let (Some(scheme), Some(secret)) = (scheme_with_secret(&callback.signature), callback.signature.secret_env()) {
        providers::secret_name(&signature.key(scheme).key("secret_env"), provider, secret)?;
    }
    if let SignatureScheme::FalEd25519 { jwks_url } = &callback.signature
        && !jwks_url.parse::<url::Url>().is_ok_and(|url| url.scheme() == "https" || providers::is_loopback(&url))
    {
        return signature.key("fal_ed25519.jwks_url").refuse(format!("`{jwks_url}` has to be an https URL"));
    }
    if !(1..=MAX_TOLERANCE_S).contains(&callback.tolerance_s) {
        let reason = format!("`{}` is out of range: give 1 to {MAX_TOLERANCE_S} seconds", callback.tolerance_s);
        return place.key("tolerance_s").refuse(reason);
    }
    if callback.job_id.is_empty() {
        return place.key("job_id").refuse("is empty: say where a callback names its job");
    }
    if let Some(own) = &callback.status {
        words::of_callbacks(&place.key("status"), own)?;
    }
    if let Some(challenge) = &callback.challenge {
        templates::only(&place.key("challenge.reply"), &challenge.reply, |name| match name {
            "challenge" => Ok(()),
            _ => Err("there is `challenge` only".to_owned()),
        })?;
    }
    match &callback.reply {
        Some(reply) => {
            templates::only(&place.key("reply"), reply, |_| Err("the reply is sent as it is, without variables".to_owned()))
        }
        None => Ok(()),
    }
}

fn scheme_with_secret(signature: &SignatureScheme) -> Option<&'static str> {
    match signature {
        SignatureScheme::Unsigned | SignatureScheme::FalEd25519 { .. } => None,
        SignatureScheme::StandardWebhooks { .. } => Some("standard_webhooks"),
        SignatureScheme::KieHmac { .. } => Some("kie_hmac"),
        SignatureScheme::OpenrouterHmac { .. } => Some("openrouter_hmac"),
        SignatureScheme::WavespeedHmac { .. } => Some("wavespeed_hmac"),
    }
}

/// What an API's requests need of each model.
pub(super) struct Need {
    /// `remote.…`, `params.…`, `input` or `callback_url`.
    pub(super) name: String,
    /// Where it is used.
    pub(super) at: String,
    /// What it fills there.
    pub(super) slot: Slot,
}

/// The variables of an API's requests that a model has to give.
pub(super) fn needs(place: &Place<'_>, api: &Api) -> Vec<Need> {
    let steps = api.upload.iter().flat_map(|upload| &upload.steps).enumerate();
    let steps = steps.map(|(index, step)| (place.key("upload.steps").index(index).key("call"), &step.call));
    let others: [(&str, Option<&Call>); 4] = [
        ("submit.call", Some(&api.submit.call)),
        ("poll", api.poll.as_ref()),
        ("result.fetch", api.result.fetch.as_ref()),
        ("cancel.call", api.cancel.as_ref().map(|cancel| &cancel.call)),
    ];
    let others = others.into_iter().filter_map(|(name, call)| Some((place.key(name), call?)));
    let reference =
        api.upload.iter().map(|upload| (place.key("upload.reference"), Slot::Text, Value::from(upload.reference.as_str())));
    let all = steps.chain(others).flat_map(|(place, call)| calls::templates_of(&place, call)).chain(reference);
    let of_a_model =
        |name: &String| name == "input" || name == "callback_url" || name.starts_with("remote.") || name.starts_with("params.");
    all.flat_map(|(place, slot, template)| {
        let names: BTreeSet<String> = crate::template::variables(&template).unwrap_or_default();
        let own = names.into_iter().filter(of_a_model);
        own.map(|name| Need { name, at: place.path().to_owned(), slot }).collect::<Vec<_>>()
    })
    .collect()
}
