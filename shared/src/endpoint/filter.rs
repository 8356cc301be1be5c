//! What a request for assets asks for: which ones, and under what name to save one.

use lambda_http::Request;

use super::ledger::{moment, wrong};
use super::query;
use crate::api::{AssetSource, Problem};
use crate::assets::Asset;
use crate::catalog::manifest::MediaKind;
use crate::store::AssetFilter;
use jiff::tz::TimeZone;

/// `box`, `kind`, `source`, `since` and `until`; a box that is not the account's has nothing in it.
pub fn filter(request: &Request) -> Result<AssetFilter, Problem> {
    let kind = match query(request, "kind").as_deref() {
        None => None,
        Some("image") => Some(MediaKind::Image),
        Some("video") => Some(MediaKind::Video),
        Some("text") => Some(MediaKind::Text),
        Some("json") => Some(MediaKind::Json),
        Some(_) => return Err(wrong("kind", "`kind` is `image`, `video`, `text` or `json`")),
    };
    let source = query(request, "source")
        .map(|word| AssetSource::of(&word).ok_or_else(|| wrong("source", "`source` is `uploaded`, `generated` or `derived`")));
    let box_id = query(request, "box").map(|id| {
        let detail = "`box` is a box's id, `box_` and 32 hexadecimal digits; `GET /v1/boxes` lists yours";
        id.parse().map_err(|_| wrong("box", detail))
    });
    Ok(AssetFilter {
        box_id: box_id.transpose()?,
        kind,
        source: source.transpose()?,
        since: moment(request, "since", &TimeZone::UTC)?,
        until: moment(request, "until", &TimeZone::UTC)?,
    })
}

/// The longest name of a download, in characters.
const MAX_NAME_CHARS: usize = 200;

/// `download=1&filename=`: the name that a browser saves the file under, if it is to be saved: the one asked for, the asset's own, or its
/// id with the extension.
pub fn download_name(request: &Request, asset: &Asset) -> Result<Option<String>, Problem> {
    let wanted = match query(request, "download").as_deref() {
        None | Some("0" | "false") => false,
        Some("1" | "true") => true,
        Some(_) => return Err(wrong("download", "`download` is `1` or `0`")),
    };
    let Some(name) = query(request, "filename") else {
        let extension = asset.key.rsplit_once('.').map(|(_, extension)| extension).unwrap_or("bin");
        return Ok(wanted.then(|| asset.filename.clone().unwrap_or_else(|| format!("{}.{extension}", asset.id))));
    };
    if !wanted {
        return Err(wrong("filename", "`filename` goes with `download=1`"));
    }
    let is_name = (1..=MAX_NAME_CHARS).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if is_name {
        Ok(Some(name))
    } else {
        Err(wrong("filename", "`filename` has 1 to 200 characters, none of them control characters"))
    }
}
