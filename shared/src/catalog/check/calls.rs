//! Requests: their URLs, headers and bodies, and the variables that these may use.

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::Checked;
use super::place::Place;
use super::templates;
use crate::catalog::calls::{Call, Method, Upload, UploadStep};
use crate::catalog::manifest::HttpProvider;

/// A longer wait would outlast the functions that make the requests.
const MAX_TIMEOUT_S: u32 = 600;
/// An answer is held in memory.
const MAX_ANSWER_BYTES: usize = 128 * 1024 * 1024;
/// Headers that the HTTP client makes itself.
const OWN_HEADERS: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "te"];

/// What kind of place a template of a request fills.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Url,
    /// A query parameter or a header.
    Text,
    /// A JSON body.
    Body,
    /// A form or the bytes of a file.
    Files,
}

impl Slot {
    /// Whether only a text can stand there.
    pub(super) fn is_text(self) -> bool {
        match self {
            Self::Url | Self::Text => true,
            Self::Body | Self::Files => false,
        }
    }
}

/// Every template of a request.
pub(super) fn templates_of<'a>(place: &Place<'a>, call: &Call) -> Vec<(Place<'a>, Slot, Value)> {
    let text = |text: &String| Value::from(text.as_str());
    let urls = call.urls.iter().enumerate().map(|(index, url)| (place.key("urls").index(index), Slot::Url, text(url)));
    let query = call.query.iter().map(|(name, value)| (place.key("query").key(name), Slot::Text, text(value)));
    let headers = call.headers.iter().map(|(name, value)| (place.key("headers").key(name), Slot::Text, text(value)));
    let bodies = [
        ("body", Slot::Body, call.body.clone()),
        ("form", Slot::Files, call.form.clone()),
        ("raw", Slot::Files, call.raw.as_ref().map(text)),
    ];
    let bodies = bodies.into_iter().filter_map(|(name, slot, body)| Some((place.key(name), slot, body?)));
    urls.chain(query).chain(headers).chain(bodies).collect()
}

/// The variables that a request may use.
#[derive(Clone)]
pub(super) struct Scope {
    /// Anywhere.
    text: Vec<String>,
    /// In bodies.
    body: Vec<String>,
    /// `{{params.…}}` too.
    params: bool,
}

impl Scope {
    /// The provider's addresses.
    pub(super) fn hosts(http: &HttpProvider) -> Self {
        let hosts = http.hosts.keys().map(|host| format!("hosts.{host}"));
        Self { text: ["base_url".to_owned()].into_iter().chain(hosts).collect(), body: Vec::new(), params: false }
    }

    /// These too.
    pub(super) fn with(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.text.extend(names);
        self
    }

    /// What a submit may use besides.
    pub(super) fn for_submit(mut self) -> Self {
        self.text.push("callback_url".to_owned());
        self.body.push("input".to_owned());
        self.params = true;
        self
    }

    fn for_upload(mut self) -> Self {
        self.text.extend(["file.content_type", "file.name", "file.bytes"].map(str::to_owned));
        self.body.extend(["file.base64", "file.data_uri", "file.file"].map(str::to_owned));
        self
    }

    fn admit(&self, name: &str, slot: Slot) -> Result<(), String> {
        let is_known = |list: &[String]| list.iter().any(|known| known == name);
        // Whether each model has these is told at the model.
        let by_model = name.starts_with("remote.") || (self.params && name.starts_with("params."));
        if name == "file.file" && slot == Slot::Body {
            return Err(
                "a file cannot stand in a JSON body: use `file.base64` or `file.data_uri`, or send a `form` or `raw`".to_owned()
            );
        }
        if by_model || is_known(&self.text) || (!slot.is_text() && is_known(&self.body)) {
            return Ok(());
        }
        Err(match name {
            "key" => "the key stands in the provider's own `headers` only; they go with every request".to_owned(),
            _ if is_known(&self.body) => "it can stand in a body only".to_owned(),
            _ => {
                let own = if self.params { ["remote.<name>", "params.<name>"].as_slice() } else { &["remote.<name>"] };
                let known = self.text.iter().chain(if slot.is_text() { &[] } else { self.body.as_slice() });
                let known: Vec<&str> = known.map(String::as_str).chain(own.iter().copied()).collect();
                format!("there is no such variable here; there are `{}`", known.join("`, `"))
            }
        })
    }
}

/// One request.
pub(super) fn call(place: &Place<'_>, call: &Call, scope: &Scope) -> Checked {
    if call.urls.is_empty() {
        return place.key("urls").refuse("a request needs at least one URL");
    }
    for (index, text) in call.urls.iter().enumerate() {
        url(&place.key("urls").index(index), text)?;
    }
    body(place, call)?;
    headers(&place.key("headers"), &call.headers)?;
    if call.form.is_some() && call.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
        return place.key("headers").refuse("a `form` brings its own Content-Type: leave it out");
    }
    if !(1..=MAX_TIMEOUT_S).contains(&call.timeout_s) {
        return place
            .key("timeout_s")
            .refuse(format!("`{}` is not a timeout: give 1 to {MAX_TIMEOUT_S} seconds", call.timeout_s));
    }
    if let Some(bytes) = call.max_answer_bytes.filter(|bytes| !(1..=MAX_ANSWER_BYTES).contains(bytes)) {
        return place
            .key("max_answer_bytes")
            .refuse(format!("`{bytes}` is out of range: give 1 to {MAX_ANSWER_BYTES} bytes (128 MiB)"));
    }
    for (place, slot, template) in templates_of(place, call) {
        templates::only(&place, &template, |name| scope.admit(name, slot))?;
    }
    Ok(())
}

/// A request goes to the provider's own addresses, or to those that it named itself.
fn url(place: &Place<'_>, text: &str) -> Checked {
    let first = text.strip_prefix("{{").and_then(|rest| rest.split_once("}}"));
    let begins = "has to begin with `{{base_url}}`, `{{hosts.<name>}}`, `{{job.<name>}}` or `{{step.<name>}}`";
    let Some((name, rest)) = first else { return place.refuse(format!("`{text}` {begins}")) };
    let is_host = name == "base_url" || name.starts_with("hosts.");
    if !is_host && !name.starts_with("job.") && !name.starts_with("step.") {
        return place.refuse(format!("`{text}` {begins}"));
    }
    if is_host && !rest.is_empty() && !rest.starts_with(['/', '?']) {
        return place.refuse(format!("`{text}` goes on behind the host without a slash: write `{{{{{name}}}}}/…`"));
    }
    if filled_in_is_odd(text) {
        return place.refuse(format!("`{text}` has a space or a `#`: write `%20` or leave it out"));
    }
    Ok(())
}

fn filled_in_is_odd(text: &str) -> bool {
    templates::filled_in(text).contains(|c: char| c.is_whitespace() || c.is_control() || c == '#')
}

fn body(place: &Place<'_>, call: &Call) -> Checked {
    let bodies = [("body", call.body.is_some()), ("form", call.form.is_some()), ("raw", call.raw.is_some())];
    let given: Vec<&str> = bodies.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    if given.len() > 1 {
        return place.refuse(format!("has `{}`: a request has one body at most, keep one of them", given.join("` and `")));
    }
    if let (Method::Get, Some(name)) = (call.method, given.first()) {
        return place.key(name).refuse("a GET has no body: use `query`, or another method");
    }
    if let Some(form) = &call.form
        && !form.is_object()
        && form.as_str().and_then(templates::lone_name).is_none()
    {
        return place.key("form").refuse("has to be an object whose members are the parts, or `{{input}}`");
    }
    match &call.raw {
        Some(raw) if templates::lone_name(raw).is_none() => {
            place.key("raw").refuse(format!("`{raw}` is not a file: write a single placeholder, such as `{{{{file.file}}}}`"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Names and values of headers.
pub(super) fn headers<'h>(place: &Place<'_>, headers: impl IntoIterator<Item = (&'h String, &'h String)>) -> Checked {
    for (name, value) in headers {
        let at = place.key(name);
        let Ok(parsed) = HeaderName::try_from(name.as_str()) else {
            return at.refuse(format!("`{name}` is not a header name: use letters, digits and `-`"));
        };
        if OWN_HEADERS.contains(&parsed.as_str()) {
            return at.refuse(format!("`{name}` is made by the HTTP client: leave it out"));
        }
        if HeaderValue::try_from(templates::filled_in(value)).is_err() {
            return at.refuse("is not a header value: it has a line break or another control character");
        }
    }
    Ok(())
}

/// The requests of an upload.
pub(super) fn upload(place: &Place<'_>, upload: &Upload, hosts: Scope) -> Checked {
    if upload.steps.is_empty() {
        return place.key("steps").refuse("an upload needs at least one request");
    }
    let mut scope = hosts.for_upload();
    for (index, step) in upload.steps.iter().enumerate() {
        let at = place.key("steps").index(index);
        call(&at.key("call"), &step.call, &scope)?;
        until(&at, step)?;
        for name in step.facts.keys().chain(step.header_facts.keys()) {
            if !templates::is_word(name) {
                return at.refuse(format!("the fact `{name}` cannot be named in a template: use letters, digits and `_`"));
            }
        }
        for (fact, header) in &step.header_facts {
            if HeaderName::from_lowercase(header.as_bytes()).is_err() {
                return at.key("header_facts").key(fact).refuse(format!("`{header}` is not a header name in lowercase"));
            }
        }
        let facts = step.facts.keys().chain(step.header_facts.keys());
        scope = scope.with(facts.map(|fact| format!("step.{fact}")));
    }
    let reference = Value::from(upload.reference.as_str());
    templates::only(&place.key("reference"), &reference, |name| scope.admit(name, Slot::Text))
}

fn until(place: &Place<'_>, step: &UploadStep) -> Checked {
    let Some(until) = &step.until else { return Ok(()) };
    let place = place.key("until");
    if until.any.is_empty() {
        return place.key("any").refuse("is empty, so the wait would never end well: name the word of success");
    }
    if let Some((index, word)) = until.failed.iter().enumerate().find(|(_, word)| until.any.contains(word)) {
        return place.key("failed").index(index).refuse(format!("`{word}` is in `any` too: keep it in one list"));
    }
    if until.every_s == 0 {
        return place.key("every_s").refuse("is 0: give at least 1 second");
    }
    if until.at_most_s < until.every_s || until.at_most_s > MAX_TIMEOUT_S {
        return place
            .key("at_most_s")
            .refuse(format!("`{}` is out of range: give `every_s` to {MAX_TIMEOUT_S} seconds", until.at_most_s));
    }
    Ok(())
}
