#![allow(clippy::disallowed_methods, reason = "these requests play the customer and the provider")]
use std::io;
use std::time::Duration;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::{Stream, StreamExt, stream};
use reqwest::Response;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

mod objects;
mod store;

const MIB: usize = 1024 * 1024;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
const ACCEPT: &[&str] = &["image/png", "image/jpeg"];

/// A bucket on a real S3 server over a directory, and a provider to download from.
struct Stand {
    bucket: Bucket,
    /// The same bucket with a wrong secret.
    locked_out: Bucket,
    provider: String,
    directory: TempDir,
}

/// A client of the S3 server at `endpoint`, with path-style addresses.
fn client(endpoint: &str, secret: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("key", secret, None, None, "test"))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .force_path_style(true)
        .build();
    Client::from_conf(config)
}

async fn stand() -> Stand {
    let directory = TempDir::new().unwrap();
    std::fs::create_dir(directory.path().join("results")).unwrap();
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(directory.path()).unwrap());
    service.set_auth(SimpleAuth::from_single("key", "secret"));
    let service = service.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answer = move |request: Request| {
        let service = service.clone();
        async move { service.call(request.map(s3s::Body::http_body_unsync)).await.unwrap().map(Body::new) }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    Stand {
        bucket: Bucket::new(client(&endpoint, "secret"), "results"),
        locked_out: Bucket::new(client(&endpoint, "wrong"), "results"),
        provider: serve_provider().await,
        directory,
    }
}

/// `bytes` bytes that begin like a PNG, in chunks.
fn png(bytes: usize) -> Vec<u8> {
    let mut content: Vec<u8> = PNG.to_vec();
    content.extend((content.len()..bytes).map(|place| u8::try_from(place % 251).unwrap()));
    content
}

fn chunks(content: Vec<u8>) -> impl Stream<Item = io::Result<Vec<u8>>> {
    stream::iter(content.chunks(100_000).map(|chunk| Ok(chunk.to_vec())).collect::<Vec<_>>())
}

fn chunked(content: Vec<u8>) -> Body {
    Body::from_stream(chunks(content))
}

/// A response that ends too early: `head` and `content`, then the connection is closed.
async fn broken(head: String, content: Vec<u8>) -> Response {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        assert!(socket.read(&mut [0; 4096]).await.unwrap() > 0);
        let head = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n");
        // The reader may hang up first.
        let _ = socket.write_all(head.as_bytes()).await;
        let _ = socket.write_all(&content).await;
    });
    reqwest::get(url).await.unwrap()
}

async fn truncated(declared: usize, sent: usize) -> Response {
    broken(format!("content-length: {declared}"), png(sent)).await
}

async fn cut_chunked(sent: usize) -> Response {
    let mut body = format!("{sent:x}\r\n").into_bytes();
    body.extend(png(sent));
    body.extend(b"\r\n");
    broken("transfer-encoding: chunked".into(), body).await
}

async fn serve_provider() -> String {
    let router = Router::new()
        .route("/small", get(|| async { png(1000) }))
        .route("/one-part", get(|| async { chunked(png(8 * MIB)) }))
        .route("/large", get(|| async { png(20 * MIB) }))
        .route("/large-chunked", get(|| async { chunked(png(20 * MIB)) }))
        .route("/page", get(|| async { ([(header::CONTENT_TYPE, "image/png")], "<html>Expired</html>") }))
        .route("/text", get(|| async { "{\"label\":\"кот\"}" }))
        .route("/empty", get(|| async {}))
        .route("/gone", get(|| async { (StatusCode::GONE, png(1000)) }))
        .route("/busy", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
        .route("/stalled", get(|| async { Body::from_stream(chunks(png(1000)).chain(stream::pending())).into_response() }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

impl Stand {
    async fn fetch(&self, path: &str) -> Response {
        reqwest::get(format!("{}/{path}", self.provider)).await.unwrap()
    }

    async fn store(&self, path: &str, max_bytes: usize) -> Result<Stored, StoreError> {
        self.bucket.store("r/a", self.fetch(path).await, max_bytes as u64, ACCEPT).await
    }

    /// Names of everything the S3 server keeps: objects, their metadata, unfinished uploads.
    fn files(&self) -> Vec<String> {
        let mut directories = vec![self.directory.path().to_owned()];
        let mut names = Vec::new();
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    directories.push(entry.path());
                } else {
                    names.push(entry.file_name().into_string().unwrap());
                }
            }
        }
        names
    }
}
