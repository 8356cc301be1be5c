//! The ledger over HTTP: a page in JSON or CSV, by time and kind, in a time zone of the reader's.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use lambda_http::{Body, Request, Response};

use crate::api::{EntryView, LedgerView, Problem};
use crate::backend::Backend;
use crate::endpoint;
use crate::ids::AccountId;
use crate::ledger::EntryKind;
use crate::store::LedgerFilter;

/// The most entries of one page, in CSV and in JSON.
const MOST: [i32; 2] = [5_000, 100];

/// What is asked for.
struct Asked {
    filter: LedgerFilter,
    zone: TimeZone,
    csv: bool,
    limit: i32,
}

/// Answers `GET …/ledger?since=&until=&kind=&time_zone=&format=&limit=&cursor=`.
pub async fn ledger(backend: &Backend, request: &Request, account: AccountId) -> Result<Response<Body>, Problem> {
    let Asked { filter, zone, csv, limit } = Asked::of(request)?;
    let cursor = endpoint::query(request, "cursor");
    let page = backend.store.ledger(account, &filter, cursor.as_deref(), limit).await?.ok_or_else(endpoint::bad_cursor)?;
    let entries: Vec<EntryView> = page.items.into_iter().map(|entry| EntryView::of(entry, &zone)).collect();
    if !csv {
        return Ok(endpoint::json(200, &LedgerView { entries, next_cursor: page.next }));
    }
    let mut response = endpoint::respond(200, "text/csv; charset=utf-8", csv_of(&entries));
    let headers = response.headers_mut();
    headers.insert("content-disposition", http::HeaderValue::from_static("attachment; filename=\"ledger.csv\""));
    // RFC 8288: what is left out is replaced, the rest of the address is the same.
    if let Some(link) = page.next.and_then(|next| http::HeaderValue::from_str(&next_link(request, &next)).ok()) {
        headers.insert("link", link);
    }
    Ok(response)
}

impl Asked {
    fn of(request: &Request) -> Result<Self, Problem> {
        let zone = match endpoint::query(request, "time_zone") {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(&name)
                .map_err(|_| wrong("time_zone", "`time_zone` is a name of the IANA time zone database, as `Europe/Kyiv`"))?,
        };
        let csv = match endpoint::query(request, "format").as_deref() {
            None | Some("json") => false,
            Some("csv") => true,
            Some(_) => return Err(wrong("format", "`format` is `json` or `csv`")),
        };
        let filter = LedgerFilter {
            since: moment(request, "since", &zone)?,
            until: moment(request, "until", &zone)?,
            kinds: kinds(request)?,
        };
        let [most_csv, most_json] = MOST;
        let limit = match csv {
            true => endpoint::limit_up_to(request, most_csv, most_csv)?,
            false => endpoint::limit_up_to(request, most_json, 20)?,
        };
        Ok(Self { filter, zone, csv, limit })
    }
}

pub(super) fn wrong(param: &str, detail: &str) -> Problem {
    Problem::new(422, "invalid_param", "Invalid parameter", detail).at(param)
}

/// A moment, or the beginning of a day in the reader's time zone.
pub(super) fn moment(request: &Request, name: &str, zone: &TimeZone) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = endpoint::query(request, name) else { return Ok(None) };
    let day = || text.parse::<Date>().ok().and_then(|day| day.to_zoned(zone.clone()).ok()).map(|start| start.timestamp());
    // A date has no `T`; the parser of dates would take a whole time for its day.
    // In an address, the plus of an offset that was not escaped arrives as a space.
    let found = if text.contains(['T', 't']) { text.replace(' ', "+").parse().ok() } else { day() };
    match found {
        Some(at) => Ok(Some(at)),
        None => {
            Err(wrong(name, &format!("`{name}` is a day, as `2026-11-25`, or a time in RFC 3339, as `2026-11-25T08:00:00Z`")))
        }
    }
}

fn kinds(request: &Request) -> Result<Vec<EntryKind>, Problem> {
    let Some(text) = endpoint::query(request, "kind") else { return Ok(Vec::new()) };
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let kinds = words.map(|word| EntryKind::ALL.into_iter().find(|kind| kind.word() == word));
    let mut kinds: Vec<EntryKind> = kinds.collect::<Option<_>>().ok_or_else(|| {
        let all: Vec<&str> = EntryKind::ALL.iter().map(|kind| kind.word()).collect();
        wrong("kind", &format!("`kind` is one or more of {}, separated by commas", all.join(", ")))
    })?;
    kinds.sort();
    kinds.dedup();
    Ok(kinds)
}

/// The next page's address: this one's, with another cursor.
fn next_link(request: &Request, cursor: &str) -> String {
    let mut pairs = url::form_urlencoded::Serializer::new(String::new());
    let own = request.uri().query().unwrap_or_default();
    for (name, value) in url::form_urlencoded::parse(own.as_bytes()).filter(|(name, _)| name != "cursor") {
        pairs.append_pair(&name, &value);
    }
    let query = pairs.append_pair("cursor", cursor).finish();
    format!("<{}?{query}>; rel=\"next\"", request.uri().path())
}

const COLUMNS: &str =
    "created_at,kind,amount,available_change,held_change,balance_after,held_after,generation_id,ends_at,reason,id\r\n";

/// RFC 4180, with a header line.
fn csv_of(entries: &[EntryView]) -> String {
    let mut out = COLUMNS.to_owned();
    for entry in entries {
        let numbers = [entry.available_change, entry.held_change].map(|change| change.to_string());
        let fields = [
            entry.created_at.clone(),
            entry.kind.word().to_owned(),
            entry.amount.to_string(),
            numbers[0].clone(),
            numbers[1].clone(),
            entry.balance_after.to_string(),
            entry.held_after.to_string(),
            entry.generation_id.map(|id| id.to_string()).unwrap_or_default(),
            entry.ends_at.clone().unwrap_or_default(),
            entry.reason.clone().unwrap_or_default(),
            entry.id.clone(),
        ];
        out.push_str(&fields.map(|field| csv_field(&field)).join(","));
        out.push_str("\r\n");
    }
    out
}

/// Quoted where needed. A text that a spreadsheet would take for a formula is made plain text by an apostrophe (OWASP, CSV injection);
/// negative numbers are numbers.
fn csv_field(text: &str) -> String {
    let is_number = text.parse::<i64>().is_ok();
    let formula = !is_number && text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_neither_two_fields_nor_a_formula() {
        assert_eq!(csv_field("plain"), "plain");
        assert_eq!(csv_field("-5"), "-5");
        assert_eq!(csv_field("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(csv_field("=1+1"), "'=1+1");
        assert_eq!(csv_field("-1+1"), "'-1+1");
    }
}
