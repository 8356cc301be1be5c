//! Boxes and names of files in requests.

use crate::api::Problem;
use crate::assets::fits_name;
use crate::backend::Backend;
use crate::ids::{AccountId, BoxId};
use crate::store::StoreError;

/// The box that something is to be put into, if it can be.
pub async fn open_box(backend: &Backend, account: AccountId, id: Option<&str>) -> Result<Option<BoxId>, Problem> {
    let Some(id) = id else { return Ok(None) };
    let found = match id.parse() {
        Ok(parsed) => backend.store.asset_box(account, parsed).await?,
        Err(_) => None,
    };
    let open = found.filter(|found| found.removal.is_none()).ok_or_else(|| unknown_box(id))?;
    Ok(Some(open.id))
}

/// The refusal of a box that is not the account's, or is being removed.
pub fn unknown_box(id: &str) -> Problem {
    let id: String = id.chars().take(80).collect();
    let detail = format!("there is no box `{id}` that anything can be put into; `GET /v1/boxes` lists yours");
    Problem::new(422, "unknown_box", "Unknown box", detail).at("box_id")
}

/// The same for a box that went between being found and being used.
pub fn box_went(id: Option<BoxId>) -> Problem {
    match id {
        Some(id) => unknown_box(&id.to_string()),
        None => StoreError::Missing { what: "box that was asked for".to_owned() }.into(),
    }
}

/// Refuses a name whose extension says that the file is something else.
pub fn fitting_name(content_type: &str, filename: Option<&str>) -> Result<(), Problem> {
    let Some(filename) = filename else { return Ok(()) };
    fits_name(content_type, filename).map_err(|claimed| {
        let detail =
            format!("the extension of `{filename}` says `{claimed}`, the file is `{content_type}`: give it a name that fits");
        Problem::new(422, "content_type_mismatch", "Content type differs", detail).at("filename")
    })
}
