use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;

mod aws;
mod file;

const SECOND: Duration = Duration::from_secs(1);

fn secret(value: &str) -> SecretString {
    SecretString::from(value)
}

fn environment(pairs: &[(&str, &str)]) -> HashMap<String, SecretString> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), secret(value))).collect()
}

fn only_environment(pairs: &[(&str, &str)]) -> Secrets {
    Secrets::new(environment(pairs), Clock::system())
}

/// The value, where it is set at all.
async fn value(secrets: &Secrets, name: &str) -> Result<Option<String>, SecretsError> {
    Ok(secrets.get(name).await?.map(|value| value.expose_secret().to_owned()))
}

async fn keys(secrets: &Secrets, name: &str) -> Result<Vec<String>, SecretsError> {
    Ok(secrets.keys(name).await?.iter().map(|key| key.expose_secret().to_owned()).collect())
}

/// What was expected to be found.
fn found(value: &str) -> Result<Option<String>, SecretsError> {
    Ok(Some(value.to_owned()))
}

#[tokio::test]
async fn the_first_place_that_has_a_secret_answers() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secrets.json");
    std::fs::write(&path, r#"{"A": "file", "B": "file", "C": "file", "D": ""}"#).unwrap();
    let server = aws::Server::start(Some(r#"{"A": "aws", "B": "aws", "C": "aws", "D": "aws", "E": ""}"#)).await;
    let secrets = Secrets::new(environment(&[("A", "environment"), ("B", "")]), Clock::system());
    let secrets = secrets.with_file(&path).with_secrets_manager(server.client(), aws::ID);
    assert_eq!(value(&secrets, "A").await, found("environment"));
    assert_eq!(value(&secrets, "B").await, found("file"), "empty in the environment");
    assert_eq!(value(&secrets, "C").await, found("file"));
    assert_eq!(server.calls(), 0, "nothing was needed from Secrets Manager");
    assert_eq!(value(&secrets, "D").await, found("aws"), "empty in the file");
    assert_eq!(value(&secrets, "E").await, Ok(None));
    assert_eq!(value(&secrets, "F").await, Ok(None));
}

#[tokio::test]
async fn one_secret_can_be_a_pool_of_keys() {
    let secrets = only_environment(&[("ONE", "k1"), ("TWO", "k1,k2"), ("MANY", " k1,\n\tk2 ,, k3\r\nk1 k2\n"), ("NONE", " ,\n")]);
    assert_eq!(keys(&secrets, "ONE").await, Ok(vec!["k1".to_owned()]));
    assert_eq!(keys(&secrets, "TWO").await, Ok(vec!["k1".to_owned(), "k2".to_owned()]));
    assert_eq!(keys(&secrets, "MANY").await, Ok(vec!["k1".to_owned(), "k2".to_owned(), "k3".to_owned()]));
    assert_eq!(keys(&secrets, "NONE").await, Ok(Vec::new()));
    assert_eq!(keys(&secrets, "UNSET").await, Ok(Vec::new()));
}

#[tokio::test]
async fn more_than_32_keys_are_refused() {
    let pool = |keys: u32| (0..keys).map(|key| format!("key-{key}")).collect::<Vec<_>>().join(",");
    let most = format!("{},key-0", pool(32));
    let secrets = only_environment(&[("MOST", &most), ("TOO_MANY", &pool(33))]);
    assert_eq!(keys(&secrets, "MOST").await.map(|keys| keys.len()), Ok(32), "a repeated key does not count");
    let error = keys(&secrets, "TOO_MANY").await.expect_err("too many").to_string();
    assert_eq!(error, "`TOO_MANY` in the environment holds more than 32 keys; remove some");
}

#[tokio::test]
async fn a_name_that_is_none_is_refused_and_not_repeated() {
    let secrets = only_environment(&[]);
    let long = "A".repeat(129);
    for name in ["", "fal_key", "sk-live-VERY-SECRET", "FAL KEY", "SCHLÜSSEL", &long] {
        assert_eq!(value(&secrets, name).await, Err(SecretsError::BadName), "`{name}`");
        assert_eq!(secrets.put(name, &secret("value")).await, Err(SecretsError::BadName), "`{name}`");
        assert_eq!(write_file(Path::new("/nowhere"), name, &secret("value")), Err(SecretsError::BadName), "`{name}`");
    }
    assert!(!SecretsError::BadName.to_string().contains("VERY-SECRET"));
    assert_eq!(value(&secrets, &"A".repeat(128)).await, Ok(None));
    assert_eq!(value(&secrets, "_KEY_2").await, Ok(None));
}

#[tokio::test]
async fn a_value_of_more_than_16_kib_is_refused_wherever_it_comes_from() {
    let (longest, long) = ("x".repeat(16 * 1024), "x".repeat(16 * 1024 + 1));
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secrets.json");
    std::fs::write(&path, format!(r#"{{"FILED": "{long}"}}"#)).unwrap();
    let secrets = Secrets::new(environment(&[("LONGEST", &longest), ("SET", &long)]), Clock::system()).with_file(&path);
    assert_eq!(value(&secrets, "LONGEST").await, found(&longest));
    for (name, place) in [("SET", Place::Environment), ("FILED", Place::File(path.clone()))] {
        let too_long = SecretsError::BadValue { name: name.to_owned(), place, fault: Fault::TooLong };
        assert_eq!(value(&secrets, name).await, Err(too_long));
    }
    let refused = |fault| Err(SecretsError::Refused { name: "NEW".to_owned(), fault });
    assert_eq!(secrets.put("NEW", &secret(&long)).await, refused(Fault::TooLong));
    assert_eq!(write_file(&path, "NEW", &secret(&long)), refused(Fault::TooLong));
    assert_eq!(secrets.put("NEW", &secret("")).await, refused(Fault::Empty));
    assert_eq!(secrets.put("NEW", &secret(&longest)).await, Ok(()));
}

#[tokio::test]
async fn storing_what_the_environment_hides_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secrets.json");
    let secrets = Secrets::new(environment(&[("FAL_KEY", "k1")]), Clock::system()).with_file(&path);
    assert_eq!(secrets.put("FAL_KEY", &secret("k2")).await, Err(SecretsError::Shadowed("FAL_KEY".to_owned())));
    assert!(!path.exists());
}

#[tokio::test]
async fn storing_needs_a_place() {
    assert_eq!(only_environment(&[]).put("FAL_KEY", &secret("k1")).await, Err(SecretsError::NowhereToStore));
}

#[tokio::test]
async fn a_file_goes_before_secrets_manager_when_storing_too() {
    let directory = TempDir::new().unwrap();
    let server = aws::Server::start(Some("{}")).await;
    let secrets = only_environment(&[]).with_file(directory.path().join("secrets.json"));
    let secrets = secrets.with_secrets_manager(server.client(), aws::ID);
    secrets.put("FAL_KEY", &secret("k1")).await.unwrap();
    assert_eq!(value(&secrets, "FAL_KEY").await, found("k1"));
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn debug_shows_no_value() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secrets.json");
    std::fs::write(&path, r#"{"FILED": "hidden-in-file"}"#).unwrap();
    let server = aws::Server::start(Some(r#"{"STORED": "hidden-in-aws"}"#)).await;
    let secrets = Secrets::new(environment(&[("SET", "hidden-in-environment")]), Clock::system());
    let secrets = secrets.with_file(&path).with_secrets_manager(server.client(), aws::ID);
    for name in ["SET", "FILED", "STORED"] {
        assert!(value(&secrets, name).await.unwrap().unwrap().starts_with("hidden"));
        let shown = format!("{secrets:?} {secrets:#?} {:?} {:?}", secrets.get(name).await, secrets.keys(name).await);
        assert!(!shown.contains("hidden"), "{shown}");
        assert!(shown.contains("secrets.json") && shown.contains(aws::ID), "{shown}");
    }
}
