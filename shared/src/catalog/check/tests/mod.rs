//! One manifest without a mistake, and what is said of it with one.

use serde_json::{Value, json};

use super::*;

mod chains;
mod documents;
mod models;
mod prices;
mod providers;

/// A provider with jobs and an upload, and with an API that answers at once.
fn acme() -> Value {
    serde_json::from_str(include_str!("acme.json")).expect("JSON")
}

/// Puts `value` in the place at this JSON pointer, whose parent is there.
fn put(document: &mut Value, pointer: &str, value: Value) {
    let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
    let parent = document.pointer_mut(parent).unwrap_or_else(|| panic!("`{parent}` is there"));
    match parent.as_array_mut() {
        None => parent[last] = value,
        Some(items) => {
            let index: usize = last.parse().expect("a number");
            items.splice(index..items.len().min(index + 1), [value]);
        }
    }
}

/// Takes the member at this JSON pointer away.
fn remove(document: &mut Value, pointer: &str) {
    let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
    let parent = document.pointer_mut(parent).and_then(Value::as_object_mut);
    parent.expect("an object").remove(last).unwrap_or_else(|| panic!("`{last}` is there"));
}

fn place_and_reason(error: ManifestError) -> (String, String) {
    match error {
        ManifestError::Shape { at, reason, .. } => (at, reason.to_string()),
        ManifestError::Content { at, reason, .. } => (at, reason),
    }
}

#[track_caller]
fn assert_refused(result: Result<(), ManifestError>, at: &str, reason: &str) {
    let error = result.expect_err("refused");
    let whole = error.to_string();
    let (told_at, told_reason) = place_and_reason(error);
    assert_eq!(told_at, at, "{whole}");
    assert!(told_reason.contains(reason), "`{reason}` is not in: {whole}");
    assert!(whole.contains(at), "{whole}");
}

/// The manifest with `value` at `pointer` is refused there, or at `at`.
#[track_caller]
fn refuses(pointer: &str, value: Value, at: &str, reason: &str) {
    let mut broken = acme();
    put(&mut broken, pointer, value);
    assert_refused(manifest("acme.json", &broken.to_string()).map(drop), at, reason);
}

/// The manifest without what is at `pointer` is refused.
#[track_caller]
fn refuses_without(pointer: &str, at: &str, reason: &str) {
    let mut broken = acme();
    remove(&mut broken, pointer);
    assert_refused(manifest("acme.json", &broken.to_string()).map(drop), at, reason);
}

#[test]
fn a_manifest_without_mistakes_is_taken() {
    let manifest = manifest("acme.json", &acme().to_string()).expect("fine");
    assert_eq!(manifest.models.len(), 2);
}
