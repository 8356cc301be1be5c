//! Entries of the catalog: checked as a whole, written as a new version.

use lambda_http::{Body, Request, Response};
use serde_json::{Map, Value};
use shared::api::{CatalogChange, CatalogEntryView, Problem};
use shared::backend::Backend;
use shared::catalog::entry::{CatalogEntry, CatalogKind, MAX_BODY_BYTES};
use shared::catalog::overlay::{Skipped, check_entry};
use shared::catalog::{Catalog, ManifestError};
use shared::endpoint;
use shared::live_catalog::LIVE_WITHIN_SECONDS;
use shared::store::StoreError;

/// How often a change is decided anew because somebody else changed the entry meanwhile.
const MAX_RACES: u32 = 10;
/// The member whose value the server gives.
const VERSION: &str = "version";
/// The body of what is gone.
const NOTHING: &str = "null";

/// One entry with its body.
pub(crate) async fn show(backend: &Backend, kind: CatalogKind, name: &str) -> Result<Response<Body>, Problem> {
    let entry = find(backend.store.catalog_entries().await?, kind, name).1.ok_or_else(|| no_entry(kind, name))?;
    Ok(endpoint::json(200, &CatalogEntryView::whole(entry)))
}

/// Checks a body and makes it the next version.
pub(crate) async fn put(backend: &Backend, request: &Request, kind: CatalogKind, name: &str) -> Result<Response<Body>, Problem> {
    let text = endpoint::text(request)?;
    let body = endpoint::json_object(text)?;
    // First: what is wrong with the table shows before a fresh process has compiled what the entry is checked with.
    let entries = backend.store.catalog_entries().await?;
    // Without a version only the shape of what will be stored can be judged.
    if kind == CatalogKind::Model || body.contains_key(VERSION) {
        check_entry(kind, name, text).map_err(|why| invalid(&why))?;
    }
    let change = Change { kind, name, if_match: if_match(request)? };
    change
        .write(backend, entries, |built_in, current| {
            let version = next_version(built_in, kind, name, current);
            let body = with_version(kind, &body, version);
            match current {
                Some(current) if !current.removed && is_same(&current.body, &body) => Ok(None),
                Some(_) | None => {
                    let body = Value::Object(body).to_string();
                    fits(kind, &body)?;
                    Ok(Some(CatalogEntry { kind, name: name.to_owned(), version, body, put_at: backend.now(), removed: false }))
                }
            }
        })
        .await
}

/// Makes a version that says that the entry is gone.
pub(crate) async fn remove(
    backend: &Backend,
    request: &Request,
    kind: CatalogKind,
    name: &str,
) -> Result<Response<Body>, Problem> {
    let change = Change { kind, name, if_match: if_match(request)? };
    let entries = backend.store.catalog_entries().await?;
    change
        .write(backend, entries, |built_in, current| match current {
            None => Err(no_entry(kind, name)),
            Some(current) if current.removed => Ok(None),
            Some(current) => {
                let version = next_version(built_in, kind, name, Some(current));
                let body = NOTHING.to_owned();
                Ok(Some(CatalogEntry { kind, name: name.to_owned(), version, body, put_at: backend.now(), removed: true }))
            }
        })
        .await
}

/// A change of one entry.
struct Change<'a> {
    kind: CatalogKind,
    name: &'a str,
    if_match: Option<u32>,
}

impl Change<'_> {
    /// Writes what `decide` makes of the current entry, which is among `entries`; none: it is so already.
    async fn write(
        &self,
        backend: &Backend,
        mut entries: Vec<CatalogEntry>,
        decide: impl Fn(&Catalog, Option<&CatalogEntry>) -> Result<Option<CatalogEntry>, Problem>,
    ) -> Result<Response<Body>, Problem> {
        let built_in = backend.live_catalog.built_in();
        for _ in 0..MAX_RACES {
            let (others, current) = find(entries, self.kind, self.name);
            let version = current.as_ref().map(|current| current.version);
            // First, so that a change whose answer was lost can be asked for again.
            let Some(next) = decide(built_in, current.as_ref())? else {
                return Ok(self.answer(version.unwrap_or_default()));
            };
            if self.if_match.is_some() && self.if_match != version {
                return Err(self.other_version(version));
            }
            check_whole(built_in, others, current, &next)?;
            if backend.store.put_catalog_entry(&next, version).await? {
                tracing::info!(
                    kind = self.kind.word(),
                    name = self.name,
                    version = next.version,
                    removed = next.removed,
                    "catalog changed"
                );
                if let Err(error) = backend.live_catalog.refresh().await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the change is written and not seen here yet");
                }
                return Ok(self.answer(next.version));
            }
            entries = backend.store.catalog_entries().await?;
        }
        Err(StoreError::TooBusy { tries: MAX_RACES }.into())
    }

    fn answer(&self, version: u32) -> Response<Body> {
        let Self { kind, name, .. } = *self;
        let change = CatalogChange { kind, name: name.to_owned(), version, live_within_seconds: LIVE_WITHIN_SECONDS };
        endpoint::json(200, &change)
    }

    fn other_version(&self, version: Option<u32>) -> Problem {
        let (kind, name) = (self.kind.word(), self.name);
        let now = version.map_or_else(|| "was never put".to_owned(), |version| format!("has version `{version}` now"));
        let detail = format!("the {kind} `{name}` {now}; nothing was changed: look at it and ask again");
        Problem::new(412, "version_mismatch", "Another version", detail).at("If-Match")
    }
}

/// The other entries, and the one of this name.
fn find(mut entries: Vec<CatalogEntry>, kind: CatalogKind, name: &str) -> (Vec<CatalogEntry>, Option<CatalogEntry>) {
    let at = entries.iter().position(|entry| entry.kind == kind && entry.name == name);
    let entry = at.map(|at| entries.remove(at));
    (entries, entry)
}

fn no_entry(kind: CatalogKind, name: &str) -> Problem {
    let name: String = name.chars().take(80).collect();
    let detail = format!("no {} `{name}` was put at run time; `GET /v1/admin/catalog` lists what was", kind.word());
    Problem::new(404, "not_found", "Not found", detail)
}

/// Later than the entry's last version and, where it has one, the built-in one.
fn next_version(built_in: &Catalog, kind: CatalogKind, name: &str, current: Option<&CatalogEntry>) -> u32 {
    let built_in = match kind {
        CatalogKind::Provider => built_in.provider(name).map(|manifest| manifest.version),
        CatalogKind::Chain => built_in.chain_by_name(name).map(|chain| chain.spec.version),
        CatalogKind::Model => None,
    };
    let last = current.map(|current| current.version).max(built_in);
    last.unwrap_or(0).saturating_add(1)
}

fn with_version(kind: CatalogKind, body: &Map<String, Value>, version: u32) -> Map<String, Value> {
    let mut body = body.clone();
    match kind {
        CatalogKind::Provider | CatalogKind::Chain => {
            body.insert(VERSION.to_owned(), version.into());
        }
        CatalogKind::Model => {}
    }
    body
}

fn fits(kind: CatalogKind, body: &str) -> Result<(), Problem> {
    if body.len() <= MAX_BODY_BYTES {
        return Ok(());
    }
    let (kind, bytes) = (kind.word(), body.len());
    let detail = format!("without white space this has {bytes} bytes, a {kind} has {MAX_BODY_BYTES} at most; make it shorter");
    Err(Problem::new(413, "body_too_large", "Body too large", detail))
}

/// Whatever the version and the order of members.
fn is_same(stored: &str, body: &Map<String, Value>) -> bool {
    let Ok(Value::Object(mut stored)) = serde_json::from_str(stored) else { return false };
    if let Some(version) = body.get(VERSION) {
        stored.insert(VERSION.to_owned(), version.clone());
    }
    stored == *body
}

/// Whether everything that loads now would load with the change, and the entry itself.
fn check_whole(
    built_in: &Catalog,
    mut entries: Vec<CatalogEntry>,
    current: Option<CatalogEntry>,
    next: &CatalogEntry,
) -> Result<(), Problem> {
    let is_own = |skipped: &Skipped| skipped.kind == next.kind && skipped.name == next.name;
    entries.push(next.clone());
    let (_, after) = built_in.with_entries(&entries);
    if let Some(own) = after.iter().find(|skipped| is_own(skipped)) {
        return Err(invalid(&own.why));
    }
    if after.is_empty() {
        return Ok(());
    }
    entries.pop();
    entries.extend(current);
    let (_, before) = built_in.with_entries(&entries);
    let was_so = |skipped: &Skipped| before.iter().any(|own| own.kind == skipped.kind && own.name == skipped.name);
    match after.iter().find(|skipped| !was_so(skipped)) {
        None => Ok(()),
        Some(Skipped { kind, name, why, .. }) => {
            let detail = format!("the {} `{name}` would not load any more: {why}; change that first", kind.word());
            Err(match next.removed {
                true => Problem::new(409, "in_use", "In use", detail),
                false => Problem::new(422, "invalid_catalog_entry", "Invalid catalog entry", detail).at(name.clone()),
            })
        }
    }
}

fn invalid(why: &ManifestError) -> Problem {
    let (ManifestError::Shape { at, .. } | ManifestError::Content { at, .. }) = why;
    Problem::new(422, "invalid_catalog_entry", "Invalid catalog entry", why.to_string()).at(at)
}

/// `If-Match: 3` or `If-Match: "3"`.
fn if_match(request: &Request) -> Result<Option<u32>, Problem> {
    let Some(text) = endpoint::header(request, "if-match") else { return Ok(None) };
    let version = text.trim().trim_matches('"').parse();
    let wrong = |_| Problem::new(422, "invalid_param", "Invalid parameter", "`If-Match` is a version, as `3`").at("If-Match");
    version.map(Some).map_err(wrong)
}
