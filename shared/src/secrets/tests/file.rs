use std::fs::File;
use std::time::SystemTime;

use super::super::file::SecretsFile;
use super::*;

struct Stand {
    directory: TempDir,
    path: PathBuf,
    clock: Clock,
    secrets: Secrets,
}

fn stand() -> Stand {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secrets.json");
    let clock = Clock::system();
    let secrets = Secrets::new(HashMap::new(), clock.clone()).with_file(&path);
    Stand { directory, path, clock, secrets }
}

impl Stand {
    fn write(&self, text: &str) {
        std::fs::write(&self.path, text).unwrap();
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap()
    }
}

#[tokio::test]
async fn a_changed_file_is_seen_without_a_restart() {
    let stand = stand();
    assert_eq!(value(&stand.secrets, "FAL_KEY").await, Ok(None), "there is no file yet");
    stand.write(r#"{"FAL_KEY": "k1"}"#);
    stand.clock.advance(SECOND);
    assert_eq!(value(&stand.secrets, "FAL_KEY").await, found("k1"));
    // Of the same length, right after it was read.
    stand.write(r#"{"FAL_KEY": "k2"}"#);
    stand.clock.advance(SECOND);
    assert_eq!(value(&stand.secrets, "FAL_KEY").await, found("k2"));
    stand.write(r#"{"FAL_KEY": "k3,k4"}"#);
    stand.clock.advance(SECOND);
    assert_eq!(keys(&stand.secrets, "FAL_KEY").await, Ok(vec!["k3".to_owned(), "k4".to_owned()]));
    std::fs::remove_file(&stand.path).unwrap();
    stand.clock.advance(SECOND);
    assert_eq!(value(&stand.secrets, "FAL_KEY").await, Ok(None));
}

#[test]
fn a_file_is_looked_at_once_a_second_and_read_when_its_time_has_changed() {
    let stand = stand();
    let file = SecretsFile::new(stand.path.clone());
    let now = |milliseconds: i64| Timestamp::from_millisecond(2_000_000_000_000 + milliseconds).unwrap();
    let write = |key: &str, second: u64| {
        stand.write(&format!(r#"{{"FAL_KEY": "{key}"}}"#));
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        File::options().write(true).open(&stand.path).unwrap().set_modified(modified).unwrap();
    };
    let read = |milliseconds| {
        let value = file.document(now(milliseconds)).unwrap().value("FAL_KEY", &file.place()).unwrap();
        value.unwrap().expose_secret().to_owned()
    };
    write("k1", 1_900_000_000);
    assert_eq!(read(0), "k1");
    write("k2", 1_900_000_001);
    assert_eq!(read(999), "k1", "not looked at");
    assert_eq!(read(1000), "k2");
    write("k3", 1_900_000_001);
    assert_eq!(read(2000), "k2", "looks the same");
    write("k3", 1_900_000_002);
    assert_eq!(read(3000), "k3");
    write("k4", 1_900_000_003);
    assert_eq!(read(-60_000), "k4", "the clock was set back");
}

#[tokio::test]
async fn a_file_that_is_no_json_object_is_a_clear_error_until_it_is_mended() {
    let stand = stand();
    let place = stand.path.display();
    for (text, fault) in [
        ("{\n  \"FAL_KEY\": hidden\n}", "is not JSON (line 2, column 14)"),
        (r#"["hidden"]"#, "is JSON, but not an object"),
        (r#""hidden""#, "is JSON, but not an object"),
        ("hidden", "is not JSON (line 1, column 1)"),
        (&" ".repeat(65_537), "is longer than 65536 bytes"),
    ] {
        stand.write(text);
        stand.clock.advance(SECOND);
        let error = value(&stand.secrets, "FAL_KEY").await.expect_err("malformed");
        let expected = format!(r#"the file `{place}` {fault}; make it one JSON object like {{ "FAL_KEY": "…" }}"#);
        assert_eq!(error.to_string(), expected);
        assert!(!format!("{error:?}").contains("hidden"), "{error:?}");
        assert_eq!(write_file(&stand.path, "FAL_KEY", &secret("k1")), Err(error), "it is not overwritten");
        assert_eq!(stand.text(), text);
    }
    for (text, expected) in [(r#"{"FAL_KEY": "k1"}"#, found("k1")), (" \n", Ok(None))] {
        stand.write(text);
        stand.clock.advance(SECOND);
        assert_eq!(value(&stand.secrets, "FAL_KEY").await, expected);
    }
}

#[tokio::test]
async fn an_entry_that_is_no_text_spoils_no_other() {
    let stand = stand();
    stand.write(r#"{"NUMBER": 7, "NULL": null, "LIST": ["hidden"], "FAL_KEY": "k1", "a comment": true}"#);
    for name in ["NUMBER", "NULL", "LIST"] {
        let error = value(&stand.secrets, name).await.expect_err("no text").to_string();
        assert_eq!(error, format!("`{name}` in the file `{}` is not a text; write it in quotes", stand.path.display()));
    }
    assert_eq!(value(&stand.secrets, "FAL_KEY").await, found("k1"));
}

#[tokio::test]
async fn a_directory_in_the_files_place_is_a_clear_error() {
    let stand = stand();
    std::fs::create_dir(&stand.path).unwrap();
    let error = value(&stand.secrets, "FAL_KEY").await.expect_err("a directory").to_string();
    assert!(error.contains("is not a regular file"), "{error}");
    std::fs::remove_dir(&stand.path).unwrap();
    let nowhere = stand.path.join("secrets.json");
    let error = write_file(&nowhere, "FAL_KEY", &secret("hidden")).expect_err("no directory").to_string();
    assert!(error.starts_with(&format!("the file `{}` cannot be written: ", nowhere.display())), "{error}");
    assert!(!error.contains("hidden"), "{error}");
}

#[test]
fn writing_merges_and_leaves_nothing_else_behind() {
    let stand = stand();
    write_file(&stand.path, "FAL_KEY", &secret("k1")).unwrap();
    assert_eq!(stand.text(), "{\n  \"FAL_KEY\": \"k1\"\n}\n");
    stand.write(r#"{"$schema": "./secrets.schema.json", "FAL_KEY": "k1", "REPLICATE_API_TOKEN": "r1"}"#);
    write_file(&stand.path, "FAL_KEY", &secret("k\"2\n")).unwrap();
    write_file(&stand.path, "KIE_KEY", &secret("q1")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(
        r#"{"$schema": "./secrets.schema.json", "FAL_KEY": "k\"2\n", "REPLICATE_API_TOKEN": "r1", "KIE_KEY": "q1"}"#,
    )
    .unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&stand.text()).unwrap(), expected);
    let names: Vec<_> = std::fs::read_dir(stand.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["secrets.json"]);
}

#[cfg(unix)]
#[test]
fn a_written_file_is_its_owners_alone_and_a_link_stays_a_link() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let stand = stand();
    let mode = || std::fs::metadata(&stand.path).unwrap().permissions().mode() & 0o777;
    write_file(&stand.path, "FAL_KEY", &secret("k1")).unwrap();
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&stand.path, PermissionsExt::from_mode(0o644)).unwrap();
    let link = stand.directory.path().join("link.json");
    symlink("secrets.json", &link).unwrap();
    write_file(&link, "FAL_KEY", &secret("k2")).unwrap();
    assert_eq!(mode(), 0o600);
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert!(stand.text().contains("k2"));
}

#[test]
fn writers_at_the_same_time_lose_nothing() {
    let stand = stand();
    let path = &stand.path;
    std::thread::scope(|threads| {
        for writer in 0..8 {
            threads.spawn(move || {
                for turn in 0..4 {
                    write_file(path, &format!("KEY_{writer}_{turn}"), &secret("k")).unwrap();
                }
            });
        }
    });
    let written: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&stand.text()).unwrap();
    assert_eq!(written.len(), 32);
}

#[test]
fn more_than_64_kib_of_secrets_are_refused() {
    let stand = stand();
    let value = secret(&"x".repeat(16_000));
    for name in ["A", "B", "C", "D"] {
        write_file(&stand.path, name, &value).unwrap();
    }
    let before = stand.text();
    assert_eq!(write_file(&stand.path, "E", &value), Err(SecretsError::Full(Place::File(stand.path.clone()))));
    assert_eq!(stand.text(), before);
}

#[tokio::test]
async fn what_is_stored_is_seen_at_once() {
    let stand = stand();
    assert_eq!(value(&stand.secrets, "FAL_KEY").await, Ok(None));
    for key in ["k1", "k2"] {
        stand.secrets.put("FAL_KEY", &secret(key)).await.unwrap();
        assert_eq!(value(&stand.secrets.clone(), "FAL_KEY").await, found(key));
    }
}
