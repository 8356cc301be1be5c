use super::*;

#[tokio::test]
async fn objects_are_put_read_and_deleted() {
    let stand = stand().await;
    let bucket = &stand.bucket;
    let stored = bucket.put("r/b.json", b"[1,2,3]".to_vec(), "application/json").await.unwrap();
    assert_eq!(stored.bytes, 7);
    assert_eq!(bucket.get("r/b.json", 7).await.unwrap(), b"[1,2,3]");
    assert!(matches!(bucket.get("r/b.json", 6).await, Err(StoreError::TooLarge { limit: 6 })));
    assert_eq!(bucket.first_bytes("r/b.json", 3).await.unwrap(), b"[1,");
    assert_eq!(bucket.first_bytes("r/b.json", 100).await.unwrap(), b"[1,2,3]");
    assert_eq!(bucket.first_bytes("r/b.json", 0).await.unwrap(), b"");

    bucket.put("r/empty", Vec::new(), "text/plain").await.unwrap();
    assert_eq!(bucket.first_bytes("r/empty", 16).await.unwrap(), b"");

    bucket.delete("r/b.json").await.unwrap();
    bucket.delete("r/b.json").await.unwrap();
    assert_eq!(bucket.head("r/b.json").await.unwrap(), None);
    assert!(matches!(bucket.get("r/b.json", 7).await, Err(StoreError::NotFound { key }) if key == "r/b.json"));
    assert!(matches!(bucket.first_bytes("r/b.json", 7).await, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn a_presigned_put_takes_only_the_signed_type_and_size() {
    let stand = stand().await;
    let presigned = stand.bucket.presign_put("uploads/u.png", "image/png", 1000, None, Duration::from_secs(60)).await.unwrap();
    let mut headers = presigned.headers.clone();
    headers.sort();
    assert_eq!(headers, [("content-length".into(), "1000".into()), ("content-type".into(), "image/png".into())]);
    assert!(presigned.url.contains("X-Amz-SignedHeaders=content-length%3Bcontent-type%3Bhost"), "{}", presigned.url);

    let put = async |content_type: &str, body: Vec<u8>| {
        let request = reqwest::Client::new().put(&presigned.url).header(header::CONTENT_TYPE, content_type).body(body);
        request.send().await.unwrap().status()
    };
    assert_eq!(put("image/png", png(1001)).await, StatusCode::FORBIDDEN);
    assert_eq!(put("image/png", png(999)).await, StatusCode::FORBIDDEN);
    assert_eq!(put("text/html", png(1000)).await, StatusCode::FORBIDDEN);
    assert_eq!(stand.bucket.head("uploads/u.png").await.unwrap(), None);
    assert_eq!(put("image/png", png(1000)).await, StatusCode::OK);
    let head = stand.bucket.head("uploads/u.png").await.unwrap().unwrap();
    assert_eq!(head, Head { bytes: 1000, content_type: "image/png".into() });
}

#[tokio::test]
async fn a_presigned_get_downloads_under_a_name_and_only_that_key() {
    let stand = stand().await;
    stand.bucket.put("r/c.txt", b"hello".to_vec(), "text/plain").await.unwrap();
    stand.bucket.put("r/d.txt", b"secret".to_vec(), "text/plain").await.unwrap();
    let week_and_more = MAX_PRESIGN + Duration::from_secs(1);
    let link = stand.bucket.presign_get("r/c.txt", week_and_more, Some("кот.txt")).await.unwrap();
    assert!(link.contains("X-Amz-Expires=604800"));
    let answer = reqwest::get(&link).await.unwrap();
    let disposition = answer.headers()[header::CONTENT_DISPOSITION].to_str().unwrap().to_owned();
    assert_eq!(disposition, "attachment; filename=\"___.txt\"; filename*=UTF-8''%D0%BA%D0%BE%D1%82.txt");
    assert_eq!(answer.text().await.unwrap(), "hello");
    let other = reqwest::get(link.replace("c.txt", "d.txt")).await.unwrap();
    assert_eq!(other.status(), StatusCode::FORBIDDEN);
}
