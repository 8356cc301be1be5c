//! The bucket: large results in parts, nothing left of those that broke, links that let nobody do anything else.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use futures_util::stream::{self, StreamExt as _};
use reqwest::{Method, StatusCode};
use shared::results::{Bucket, StoreError};
use tests::{Setting, World, endpoints, serve};

const MIB: usize = 1024 * 1024;
const MINUTE: Duration = Duration::from_secs(60);

/// So many bytes that begin like a PNG.
fn png(bytes: usize) -> Vec<u8> {
    let mut content = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    content.extend((content.len()..bytes).map(|place| u8::try_from(place % 251).expect("small")));
    content
}

/// A world, and the client that the product uses for its bucket.
struct Stand {
    world: World,
    client: aws_sdk_s3::Client,
    name: String,
}

impl Stand {
    async fn new() -> Self {
        let world = World::with(Setting::idle()).await;
        let client = shared::backend::s3_client(&local::engines::sdk(&world.stack.s3.endpoint_url));
        let name = world.stack.backend.config.bucket.clone();
        Self { world, client, name }
    }

    fn bucket(&self) -> &Bucket {
        &self.world.stack.backend.bucket
    }

    /// Multipart uploads that were begun and neither finished nor given up; our own engine cannot tell.
    async fn unfinished(&self) -> usize {
        if endpoints().s3.is_none() {
            return 0;
        }
        let list = self.client.list_multipart_uploads().bucket(&self.name).send().await.expect("S3 answers");
        list.uploads.unwrap_or_default().len()
    }

    async fn send(&self, method: Method, url: &str, content_type: &str, body: Vec<u8>) -> StatusCode {
        let request = self.world.http.api().request(method, url).header("content-type", content_type).body(body);
        request.send().await.expect("S3 answers").status()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_result_is_streamed_in_parts() {
    let stand = Stand::new().await;
    let (media, _server) = serve(Router::new().route("/large.png", get(async || png(20 * MIB)))).await;
    let response = stand.world.http.media().get(format!("{media}/large.png")).send().await.expect("it answers");
    let stored = stand.bucket().store("results/large", response, 32 * MIB as u64, &["image/png"]).await.expect("stored");
    assert_eq!((stored.key.as_str(), stored.bytes), ("results/large.png", 20 * MIB as u64));
    let head = stand.client.head_object().bucket(&stand.name).key("results/large.png").send().await.expect("it is there");
    assert_eq!(
        (head.content_type(), head.content_encoding(), head.content_length()),
        (Some("image/png"), None, Some(20 * MIB as i64))
    );
    assert!(head.e_tag().is_some_and(|tag| tag.contains("-3")), "three parts: {:?}", head.e_tag());
    assert!(stand.bucket().get("results/large.png", 32 * MIB as u64).await.expect("it is there") == png(20 * MIB));
    let fetched = stand.bucket().fetch("results/large.png", 32 * MIB as u64).await.expect("it is there");
    assert_eq!(fetched.bytes, 20 * MIB as u64);
    assert_eq!(stand.unfinished().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_download_that_broke_nothing_is_left() {
    let stand = Stand::new().await;
    let broken = get(async || {
        let pieces = png(20 * MIB).chunks(MIB).map(<[u8]>::to_vec).map(Ok).take(12).collect::<Vec<_>>();
        let end = stream::once(async { Err(std::io::Error::other("the wire was cut")) });
        Body::from_stream(stream::iter(pieces).chain(end))
    });
    let (media, _server) = serve(Router::new().route("/broken.png", broken)).await;
    let response = stand.world.http.media().get(format!("{media}/broken.png")).send().await.expect("it answers");
    let error = stand.bucket().store("results/broken", response, 32 * MIB as u64, &["image/png"]).await.expect_err("it broke");
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(stand.world.whole_bucket().await, Vec::<String>::new());
    assert_eq!(stand.unfinished().await, 0, "the upload is given up");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found_and_can_be_deleted() {
    let stand = Stand::new().await;
    let bucket = stand.bucket();
    assert_eq!(bucket.head("results/nothing").await.expect("S3 answers"), None);
    for found in [bucket.get("results/nothing", 10).await, bucket.first_bytes("results/nothing", 10).await] {
        assert!(matches!(found, Err(StoreError::NotFound { .. })), "{found:?}");
    }
    assert!(matches!(bucket.fetch("results/nothing", 10).await, Err(StoreError::NotFound { .. })));
    bucket.delete("results/nothing").await.expect("a success");
    bucket.put("results/empty", Vec::new(), "text/plain").await.expect("stored");
    assert_eq!(bucket.first_bytes("results/empty", 16).await.expect("it is there"), b"");
    bucket.put("results/short", b"[1,2,3]".to_vec(), "application/json").await.expect("stored");
    assert_eq!(bucket.first_bytes("results/short", 3).await.expect("it is there"), b"[1,");
    let head = bucket.head("results/short").await.expect("S3 answers").expect("it is there");
    assert_eq!((head.bytes, head.content_type.as_str()), (7, "application/json"));
    bucket.delete("results/short").await.expect("deleted");
    assert_eq!(bucket.head("results/short").await.expect("S3 answers"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_download_names_the_file_and_is_good_for_it_alone() {
    let stand = Stand::new().await;
    stand.bucket().put("results/c.txt", b"hello".to_vec(), "text/plain").await.expect("stored");
    stand.bucket().put("results/d.txt", b"secret".to_vec(), "text/plain").await.expect("stored");
    let link = stand.bucket().presign_get("results/c.txt", MINUTE, Some("кот.txt")).await.expect("signed");
    let answer = stand.world.http.media().get(&link).send().await.expect("S3 answers");
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
    let name = "attachment; filename=\"___.txt\"; filename*=UTF-8''%D0%BA%D0%BE%D1%82.txt";
    assert_eq!(header("content-disposition").as_deref(), Some(name));
    assert_eq!(header("content-type").as_deref(), Some("text/plain"));
    assert_eq!(header("cache-control").as_deref(), Some("private, max-age=31536000, immutable"));
    assert_eq!(answer.text().await.expect("a body"), "hello");
    let bent = stand.world.http.media().get(link.replace("c.txt", "d.txt")).send().await.expect("S3 answers");
    assert_eq!(bent.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_upload_takes_the_announced_file_only() {
    let stand = Stand::new().await;
    let presigned = stand.bucket().presign_put("uploads/u.png", "image/png", 1_000, None, MINUTE).await.expect("signed");
    for (kind, bytes) in [("image/png", 1_001), ("image/png", 999), ("text/html", 1_000)] {
        assert_eq!(stand.send(Method::PUT, &presigned.url, kind, png(bytes)).await, StatusCode::FORBIDDEN, "{kind}, {bytes}");
    }
    assert_eq!(stand.bucket().head("uploads/u.png").await.expect("S3 answers"), None);
    assert_eq!(stand.send(Method::PUT, &presigned.url, "image/png", png(1_000)).await, StatusCode::OK);
    let head = stand.client.head_object().bucket(&stand.name).key("uploads/u.png").send().await.expect("it is there");
    assert_eq!((head.content_length(), head.content_type(), head.content_encoding()), (Some(1_000), Some("image/png"), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_may_send_a_file_from_another_origin() {
    let stand = Stand::new().await;
    let presigned = stand.bucket().presign_put("uploads/b.png", "image/png", 1_000, None, MINUTE).await.expect("signed");
    let preflight = stand.world.http.api().request(Method::OPTIONS, &presigned.url).header("origin", "https://app.example");
    let preflight =
        preflight.header("access-control-request-method", "PUT").header("access-control-request-headers", "content-type");
    let answer = preflight.send().await.expect("S3 answers");
    assert_eq!(answer.status(), StatusCode::OK);
    let allowed = answer.headers()["access-control-allow-origin"].to_str().expect("text");
    assert!(matches!(allowed, "*" | "https://app.example"), "{allowed}");
    let put =
        stand.world.http.api().put(&presigned.url).header("origin", "https://app.example").header("content-type", "image/png");
    let done = put.body(png(1_000)).send().await.expect("S3 answers");
    assert_eq!(done.status(), StatusCode::OK);
    assert!(done.headers().contains_key("access-control-allow-origin"), "{:?}", done.headers());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_fetched_is_stored_with_its_fingerprint() {
    let stand = Stand::new().await;
    stand.bucket().put("uploads/f.png", png(100_000), "image/png").await.expect("stored");
    let fetched = stand.bucket().fetch("uploads/f.png", MIB as u64).await.expect("it is there");
    let stored = stand.bucket().put_fetched("media/f.png", &fetched, "image/png").await.expect("S3 compares the fingerprint");
    assert_eq!(stored.bytes, 100_000);
    let head = stand.client.head_object().bucket(&stand.name).key("media/f.png").send().await.expect("it is there");
    assert_eq!((head.content_length(), head.content_encoding()), (Some(100_000), None));
    assert!(stand.bucket().get("media/f.png", MIB as u64).await.expect("it is there") == png(100_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_prefix_is_deleted_page_after_page_and_nothing_else() {
    const MORE_THAN_A_PAGE: usize = 1_005;
    let stand = Stand::new().await;
    let bucket = stand.bucket();
    let puts = (0..MORE_THAN_A_PAGE).map(|number| async move {
        bucket.put(&format!("results/gone/{number:04}"), b"x".to_vec(), "text/plain").await.expect("stored");
    });
    stream::iter(puts).buffer_unordered(16).collect::<Vec<()>>().await;
    bucket.put("results/gone-not", b"x".to_vec(), "text/plain").await.expect("stored");
    let first = bucket.keys("results/gone/", None).await.expect("S3 answers");
    let rest = bucket.keys("results/gone/", first.last().map(String::as_str)).await.expect("S3 answers");
    assert_eq!((first.len(), rest.len()), (1_000, MORE_THAN_A_PAGE - 1_000));
    assert!(first.is_sorted() && first.last() < rest.first());
    bucket.delete_all("results/gone/").await.expect("deleted");
    assert_eq!(bucket.keys("results/", None).await.expect("S3 answers"), ["results/gone-not"]);
}
