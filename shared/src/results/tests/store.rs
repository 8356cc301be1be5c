use super::*;
use crate::results::download::Download;

#[tokio::test]
async fn a_small_result_is_stored_with_the_type_of_its_bytes() {
    let stand = stand().await;
    let stored = stand.store("small", 1000).await.unwrap();
    assert_eq!(stored, Stored { key: "r/a.png".into(), bytes: 1000, content_type: "image/png".into() });
    assert_eq!(stand.bucket.get("r/a.png", 1000).await.unwrap(), png(1000));
    let head = stand.bucket.head("r/a.png").await.unwrap();
    assert_eq!(head, Some(Head { bytes: 1000, content_type: "image/png".into() }));

    let link = stand.bucket.presign_get("r/a.png", Duration::from_secs(60), None).await.unwrap();
    let answer = reqwest::get(link).await.unwrap();
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "private, max-age=31536000, immutable");
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "image/png");
    assert!(!answer.headers().contains_key(header::CONTENT_ENCODING));
}

#[tokio::test]
async fn a_result_of_exactly_one_part_needs_no_multipart_upload() {
    let stand = stand().await;
    let stored = stand.store("one-part", 8 * MIB).await.unwrap();
    assert_eq!(stored.bytes, 8 * MIB as u64);
    let tag = stand.bucket.client.head_object().bucket("results").key("r/a.png").send().await.unwrap().e_tag.unwrap();
    assert!(!tag.contains('-'), "a multipart upload's tag counts its parts: {tag}");
    assert_eq!(stand.bucket.get("r/a.png", 8 * MIB as u64).await.unwrap(), png(8 * MIB));
}

#[tokio::test]
async fn a_large_result_is_stored_in_parts() {
    let stand = stand().await;
    for path in ["large", "large-chunked"] {
        let stored = stand.store(path, 20 * MIB).await.unwrap();
        let expected = Stored { key: "r/a.png".into(), bytes: 20 * MIB as u64, content_type: "image/png".into() };
        assert_eq!(stored, expected, "{path}");
        assert!(stand.bucket.get("r/a.png", 20 * MIB as u64).await.unwrap() == png(20 * MIB), "{path}");
        let head = stand.bucket.head("r/a.png").await.unwrap().unwrap();
        assert_eq!(head.content_type, "image/png", "{path}");
        assert!(!stand.files().iter().any(|name| name.contains(".upload")), "{path}: {:?}", stand.files());
        stand.bucket.delete("r/a.png").await.unwrap();
    }
}

#[tokio::test]
async fn failures_are_told_apart_and_leave_nothing_behind() {
    let stand = stand().await;
    let check = async |response: Response, max_bytes: usize, is_retryable: bool| {
        let result = stand.bucket.store("r/a", response, max_bytes as u64, ACCEPT).await;
        let error = result.unwrap_err();
        assert_eq!(error.is_retryable(), is_retryable, "{error:?}");
        assert!(!format!("{error:?}").contains("127.0.0.1"), "the link is a secret: {error:?}");
        assert_eq!(stand.files(), Vec::<String>::new(), "{error:?}");
        error
    };
    let small = 1000;
    let (part_and_half, large) = (12 * MIB, 20 * MIB);

    let error = check(stand.fetch("small").await, small - 1, false).await;
    assert!(matches!(error, StoreError::TooLarge { limit: 999 }), "{error:?}");
    let error = check(stand.fetch("large").await, large - 1, false).await;
    assert!(matches!(error, StoreError::TooLarge { .. }), "declared: {error:?}");
    for max_bytes in [4 * MIB, 18 * MIB] {
        let error = check(stand.fetch("large-chunked").await, max_bytes, false).await;
        assert!(matches!(error, StoreError::TooLarge { .. }), "undeclared: {error:?}");
    }

    let error = check(truncated(2 * small, small).await, large, true).await;
    assert!(matches!(error, StoreError::Truncated { expected: 2000, received: 1000 }), "{error:?}");
    let error = check(truncated(large, part_and_half).await, large, true).await;
    assert!(matches!(error, StoreError::Truncated { .. }), "in the second part: {error:?}");
    for sent in [small, part_and_half] {
        let error = check(cut_chunked(sent).await, large, true).await;
        assert!(matches!(error, StoreError::Download { .. }), "undeclared: {error:?}");
    }

    let error = check(stand.fetch("page").await, large, false).await;
    assert!(matches!(error, StoreError::WrongType { ref found } if found == "text/html"), "{error:?}");
    let error = check(stand.fetch("empty").await, large, false).await;
    assert!(matches!(error, StoreError::Empty), "{error:?}");
    let error = check(stand.fetch("gone").await, large, false).await;
    assert!(matches!(error, StoreError::Refused { status: 410 }), "{error:?}");
    let error = check(stand.fetch("busy").await, large, true).await;
    assert!(matches!(error, StoreError::Refused { status: 503 }), "{error:?}");
}

#[tokio::test]
async fn a_storage_failure_is_retryable_and_names_the_step() {
    let stand = stand().await;
    for (path, step) in [("small", "put an object"), ("large", "start an upload")] {
        let response = stand.fetch(path).await;
        let error = stand.locked_out.store("r/a", response, 20 * MIB as u64, ACCEPT).await.unwrap_err();
        assert!(error.is_retryable());
        assert_eq!(error.to_string(), format!("could not {step} in the bucket"));
    }
    assert_eq!(stand.files(), Vec::<String>::new());
}

#[tokio::test]
async fn a_silent_download_is_given_up() {
    let stand = stand().await;
    let idle = Duration::from_millis(50);
    let mut download = Download::new(stand.fetch("stalled").await, MIB as u64, idle).unwrap();
    let error = download.next_part().await.err().unwrap();
    assert!(matches!(error, StoreError::Download { source: DownloadError::Stalled { .. } }), "{error:?}");
}

#[tokio::test]
async fn text_is_stored_when_it_is_asked_for() {
    let stand = stand().await;
    let stored = stand.bucket.store("r/t", stand.fetch("text").await, 100, &["application/json"]).await.unwrap();
    assert_eq!((stored.key.as_str(), stored.content_type.as_str()), ("r/t.json", "application/json"));
    let stored = stand.bucket.store("r/t", stand.fetch("text").await, 100, &["text/plain"]).await.unwrap();
    assert_eq!((stored.key.as_str(), stored.content_type.as_str()), ("r/t.txt", "text/plain; charset=utf-8"));
}
