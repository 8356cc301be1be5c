//! A provider: its name, its addresses, its secrets and its times.

use serde_json::Value;
use url::{Host, Url};

use super::place::Place;
use super::{Checked, apis, calls, failures, templates};
use crate::catalog::manifest::{HttpProvider, Manifest, Times};
use crate::failure::FailureClass;

/// It stands in the path of callbacks.
const MAX_NAME_CHARS: usize = 32;
/// Each pause between polls is ten times the one before at most.
const MAX_GROWTH_PERCENT: u32 = 1_000;
/// The longest name that the sources of secrets take.
const MAX_SECRET_NAME_CHARS: usize = 128;
/// A secret of our own, whatever a provider is called.
const OUR_SECRET: &str = "SIGNING_SECRET";

pub(super) fn provider(top: &Place<'_>, manifest: &Manifest) -> Checked {
    let name = &manifest.name;
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if name.is_empty() || name.len() > MAX_NAME_CHARS || !plain {
        return top
            .key("name")
            .refuse(format!("`{name}` is not a provider's name: use 1 to {MAX_NAME_CHARS} lowercase letters and digits"));
    }
    version(&top.key("version"), manifest.version)?;
    times(&top.key("times"), &manifest.times)?;
    if manifest.policies.is_own(FailureClass::Resolved) {
        return top.key("policies").key("resolved").refuse("what operators do by hand follows their word alone: leave it out");
    }
    match manifest.http() {
        Some(own) => http(&top.key("transport.http"), name, own),
        None => Ok(()),
    }
}

/// The version of a manifest or a chain.
pub(super) fn version(place: &Place<'_>, version: u32) -> Checked {
    if version == 0 { place.refuse("is 0: begin with 1, and raise it with every change") } else { Ok(()) }
}

/// Time limits.
pub(super) fn times(place: &Place<'_>, times: &Times) -> Checked {
    let seconds = [
        ("run_limit_s", times.run_limit_s),
        ("unconfirmed_s", times.unconfirmed_s),
        ("result_lifetime_s", times.result_lifetime_s),
        ("poll_first_s", times.poll_first_s),
        ("poll_max_s", times.poll_max_s),
    ];
    if let Some((name, _)) = seconds.into_iter().find(|(_, seconds)| *seconds == 0) {
        return place.key(name).refuse("is 0: give at least 1 second");
    }
    if !(100..=MAX_GROWTH_PERCENT).contains(&times.poll_growth_percent) {
        let reason = format!(
            "`{}` is out of range: give 100 (pauses stay the same) to {MAX_GROWTH_PERCENT} percent",
            times.poll_growth_percent
        );
        return place.key("poll_growth_percent").refuse(reason);
    }
    if times.poll_max_s < times.poll_first_s {
        return place.key("poll_max_s").refuse("is shorter than the first pause, `poll_first_s`");
    }
    Ok(())
}

fn http(place: &Place<'_>, provider: &str, http: &HttpProvider) -> Checked {
    host(&place.key("base_url"), &http.base_url)?;
    for (name, address) in &http.hosts {
        let at = place.key("hosts").key(name);
        if !templates::is_word(name) {
            return at.refuse(format!("`{name}` cannot be named in a template: use letters, digits and `_`"));
        }
        host(&at, address)?;
    }
    secret_name(&place.key("key_env"), provider, &http.key_env)?;
    key_headers(&place.key("headers"), http)?;
    failures::list(&place.key("failures"), &http.failures)?;
    if http.apis.is_empty() {
        return place.key("apis").refuse("is empty: a provider needs at least one API");
    }
    for (name, own) in &http.apis {
        apis::api(&place.key("apis").key(name), provider, http, own)?;
    }
    Ok(())
}

fn key_headers(place: &Place<'_>, http: &HttpProvider) -> Checked {
    calls::headers(place, &http.headers)?;
    let mut carries_key = false;
    for (name, value) in &http.headers {
        let value = Value::from(value.as_str());
        let at = place.key(name);
        templates::only(&at, &value, |name| match name {
            "key" => Ok(()),
            _ => Err("headers of the provider know `{{key}}` only; put this one into a request's `headers`".to_owned()),
        })?;
        carries_key |= templates::names(&at, &value)?.contains("key");
    }
    if carries_key {
        return Ok(());
    }
    place.refuse("no header carries the key: add one such as `\"Authorization\": \"Bearer {{key}}\"`")
}

/// A provider's own secrets only: a manifest cannot send those of others to its address.
pub(super) fn secret_name(place: &Place<'_>, provider: &str, name: &str) -> Checked {
    let prefix = format!("{}_", provider.to_ascii_uppercase());
    let plain = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if !plain || name.is_empty() || name.len() > MAX_SECRET_NAME_CHARS {
        let reason = format!("`{name}` is not the name of a secret: use up to {MAX_SECRET_NAME_CHARS} of A to Z, 0 to 9 and `_`");
        return place.refuse(reason);
    }
    if name != OUR_SECRET && name.len() > prefix.len() && name.starts_with(&prefix) {
        return Ok(());
    }
    place.refuse(format!("`{name}` may be a secret of our own or of another provider: those of this one begin with `{prefix}`"))
}

fn host(place: &Place<'_>, text: &str) -> Checked {
    let wrong = |why: &str| place.refuse(format!("`{text}` {why}"));
    let Ok(url) = text.parse::<Url>() else { return wrong("is not a URL: write `https://host`") };
    if url.scheme() != "https" && !is_loopback(&url) {
        return wrong("has to be `https://host`; plain http is for programs on this machine only");
    }
    let origin = url.origin().ascii_serialization();
    if origin == text {
        Ok(())
    } else {
        wrong(&format!("has more than a host: write `{origin}`, and the path in each request's `urls`"))
    }
}

/// Plain HTTP to this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    let own = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    own && url.scheme() == "http"
}
