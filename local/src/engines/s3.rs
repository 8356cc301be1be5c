//! S3: s3s-fs on a directory with the bucket's CORS rules in front of it, or another engine at an endpoint.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_sdk_s3::types::CorsConfiguration;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body::{Body as HttpBody, Frame, SizeHint};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use shared::backend::s3_client;
use tokio::task::JoinHandle;
use tracing::error;

use super::{ACCESS_KEY_ID, EngineError, SECRET_ACCESS_KEY, listen, sdk};
use crate::template::{Bucket, CorsRule};

/// A running S3; dropping it stops it.
pub struct S3 {
    /// `http://127.0.0.1:{port}`, to be used with path-style addresses.
    pub endpoint_url: String,
    server: Option<JoinHandle<()>>,
}

impl S3 {
    /// Serves `directory`, in which each bucket is a folder; makes both if they are not there.
    pub async fn start(directory: &Path, bucket: &Bucket) -> Result<Self, EngineError> {
        let bucket_directory = directory.join(&bucket.name);
        let problem = |source| EngineError::Directory { path: bucket_directory.clone(), source };
        std::fs::create_dir_all(&bucket_directory).map_err(problem)?;
        let refused = |error: s3s_fs::Error| EngineError::Bucket { path: directory.to_owned(), reason: format!("{error:?}") };
        let mut builder = S3ServiceBuilder::new(FileSystem::new(directory).map_err(refused)?);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        let front = Arc::new(Front { service: builder.build(), cors: bucket.cors.clone() });
        let (listener, endpoint_url) = listen().await?;
        let server = tokio::spawn(async move {
            let router = Router::new().fallback(answer).with_state(front);
            if let Err(problem) = axum::serve(listener, router).await {
                error!(error = %problem, "the S3 engine ended");
            }
        });
        Ok(Self { endpoint_url, server: Some(server) })
    }

    /// One that somebody else runs, in which the bucket is made with the template's CORS rules if it is not there.
    pub async fn elsewhere(endpoint_url: String, bucket: &Bucket) -> Result<Self, EngineError> {
        let client = s3_client(&sdk(&endpoint_url));
        let refused = |action, source| EngineError::BucketCall { action, bucket: bucket.name.clone(), source: Box::new(source) };
        let there = client.head_bucket().bucket(&bucket.name).send().await.is_ok();
        if !there {
            client.create_bucket().bucket(&bucket.name).send().await.map_err(|error| refused("make", error.into()))?;
        }
        let rules = bucket.cors.iter().map(|rule| {
            aws_sdk_s3::types::CorsRule::builder()
                .set_allowed_origins(Some(rule.allowed_origins.clone()))
                .set_allowed_methods(Some(rule.allowed_methods.clone()))
                .set_allowed_headers(Some(rule.allowed_headers.clone()))
                .set_expose_headers(Some(rule.exposed_headers.clone()))
                .max_age_seconds(i32::try_from(rule.max_age).unwrap_or(i32::MAX))
                .build()
        });
        let rules = rules.collect::<Result<Vec<_>, _>>().map_err(|error| refused("describe", error.into()))?;
        if !rules.is_empty() {
            let cors = CorsConfiguration::builder().set_cors_rules(Some(rules)).build();
            let cors = cors.map_err(|error| refused("describe", error.into()))?;
            let put = client.put_bucket_cors().bucket(&bucket.name).cors_configuration(cors);
            put.send().await.map_err(|error| refused("set the CORS rules of", error.into()))?;
        }
        Ok(Self { endpoint_url, server: None })
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

struct Front {
    service: S3Service,
    cors: Vec<CorsRule>,
}

async fn answer(State(front): State<Arc<Front>>, request: Request) -> Response<Body> {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let preflight = request.headers().get(header::ACCESS_CONTROL_REQUEST_METHOD).cloned();
    let method = preflight.as_ref().map_or(request.method().as_str(), |method| method.to_str().unwrap_or_default());
    let rule = origin.as_ref().and_then(|origin| allowing(&front.cors, origin, method));
    let mut response = match (&preflight, &rule) {
        (Some(_), Some(_)) if request.method() == Method::OPTIONS => Response::new(Body::empty()),
        (Some(_), None) if request.method() == Method::OPTIONS => {
            plain(StatusCode::FORBIDDEN, "no CORS rule allows this request")
        }
        _ => front.serve(request).await,
    };
    if let (Some(rule), Some(origin)) = (rule, origin) {
        add_cors(response.headers_mut(), rule, origin, preflight.is_some());
    }
    response
}

impl Front {
    async fn serve(&self, request: Request) -> Response<Body> {
        match self.service.call(request.map(ReadToTheEnd).map(s3s::Body::http_body_unsync)).await {
            Ok(response) => response.map(Body::new),
            Err(problem) => {
                error!(error = ?problem, "the S3 engine could not answer");
                plain(StatusCode::INTERNAL_SERVER_ERROR, "the S3 engine could not answer")
            }
        }
    }
}

/// A request body that is read to its end even if nobody wants it. s3s lets go of a body as soon as it refuses the request; the
/// connection would then be cut while the client is still sending, which would often not see the answer.
struct ReadToTheEnd(Body);

impl HttpBody for ReadToTheEnd {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Drop for ReadToTheEnd {
    fn drop(&mut self) {
        if !self.0.is_end_stream()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let mut rest = std::mem::take(&mut self.0).into_data_stream();
            runtime.spawn(async move { while let Some(Ok(_)) = rest.next().await {} });
        }
    }
}

/// The first rule that allows the origin and the method.
fn allowing<'a>(rules: &'a [CorsRule], origin: &HeaderValue, method: &str) -> Option<&'a CorsRule> {
    let allows_origin = |rule: &CorsRule| rule.allowed_origins.iter().any(|allowed| allowed == "*" || allowed == origin);
    rules.iter().find(|rule| allows_origin(rule) && rule.allowed_methods.iter().any(|allowed| allowed == method))
}

fn add_cors(headers: &mut HeaderMap, rule: &CorsRule, origin: HeaderValue, preflight: bool) {
    let any_origin = rule.allowed_origins.iter().any(|allowed| allowed == "*");
    let origin = if any_origin { HeaderValue::from_static("*") } else { origin };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    let mut list = |name: HeaderName, values: &[String]| {
        if let Ok(value) = HeaderValue::try_from(values.join(", "))
            && !values.is_empty()
        {
            headers.insert(name, value);
        }
    };
    list(header::ACCESS_CONTROL_EXPOSE_HEADERS, &rule.exposed_headers);
    if preflight {
        list(header::ACCESS_CONTROL_ALLOW_METHODS, &rule.allowed_methods);
        list(header::ACCESS_CONTROL_ALLOW_HEADERS, &rule.allowed_headers);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(rule.max_age));
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
    use aws_sdk_s3::primitives::ByteStream;
    use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

    use super::*;
    use crate::template::{BUILT_IN, LocalValues, Template};

    struct Fixture {
        _engine: S3,
        _directory: tempfile::TempDir,
        client: aws_sdk_s3::Client,
        http: reqwest::Client,
    }

    #[allow(clippy::disallowed_methods, reason = "calls loopback only, which the guard refuses")]
    async fn fixture() -> Fixture {
        let parameters = [("SigningSecret".to_owned(), "s".repeat(32))].into();
        let values = LocalValues { bucket_name: "media".to_owned(), parameters, ..LocalValues::default() };
        let bucket = Template::parse(BUILT_IN, &values).unwrap_or_else(|error| panic!("{error}")).bucket;
        let directory = tempfile::tempdir().unwrap();
        let engine = S3::start(&directory.path().join("new"), &bucket).await.unwrap();
        let client = s3_client(&sdk(&engine.endpoint_url));
        Fixture { _engine: engine, _directory: directory, client, http: reqwest::Client::new() }
    }

    fn expires() -> PresigningConfig {
        PresigningConfig::expires_in(Duration::from_secs(900)).unwrap()
    }

    impl Fixture {
        async fn presigned_put(&self, key: &str, content_type: &str, bytes: i64) -> PresignedRequest {
            let put = self.client.put_object().bucket("media").key(key).content_type(content_type).content_length(bytes);
            put.presigned(expires()).await.unwrap()
        }

        async fn upload(&self, link: &PresignedRequest, content_type: &str, body: &'static str) -> u16 {
            let request = self.http.put(link.uri()).header("content-type", content_type).body(body);
            request.send().await.unwrap().status().as_u16()
        }
    }

    #[tokio::test]
    async fn a_presigned_put_fixes_type_and_size() {
        let fixture = fixture().await;
        let link = fixture.presigned_put("uploads/a.txt", "text/plain", 5).await;
        let signed: Vec<_> = link.headers().map(|(name, _)| name).collect();
        assert!(signed.contains(&"content-length") && signed.contains(&"content-type"), "{signed:?}");
        assert_eq!(fixture.upload(&link, "text/plain", "hello!").await, 403);
        assert_eq!(fixture.upload(&link, "text/html", "hello").await, 403);
        assert_eq!(fixture.upload(&link, "text/plain", "hello").await, 200);
        let head = fixture.client.head_object().bucket("media").key("uploads/a.txt").send().await.unwrap();
        assert_eq!((head.content_length(), head.content_type()), (Some(5), Some("text/plain")));
        assert_eq!(head.content_encoding(), None);
    }

    #[tokio::test]
    async fn a_presigned_get_takes_ranges_and_names_the_file() {
        let fixture = fixture().await;
        let put = fixture.client.put_object().bucket("media").key("results/v.mp4").content_type("video/mp4");
        put.body(ByteStream::from_static(b"0123456789")).send().await.unwrap();
        let get = fixture.client.get_object().bucket("media").key("results/v.mp4");
        let get = get.response_content_disposition("attachment; filename=\"v.mp4\"").response_content_type("video/mp4");
        let link = get.presigned(expires()).await.unwrap();

        let whole = fixture.http.get(link.uri()).send().await.unwrap();
        assert_eq!(whole.headers()["content-disposition"], "attachment; filename=\"v.mp4\"");
        assert_eq!(whole.text().await.unwrap(), "0123456789");
        let part = fixture.http.get(link.uri()).header("range", "bytes=2-4").send().await.unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.headers()["content-range"], "bytes 2-4/10");
        assert_eq!(part.text().await.unwrap(), "234");

        let bent = link.uri().replace("v.mp4?", "w.mp4?");
        assert_eq!(fixture.http.get(bent).send().await.unwrap().status(), 403);
        let bare = link.uri().split('?').next().unwrap();
        assert_eq!(fixture.http.get(bare).send().await.unwrap().status(), 403);
    }

    #[tokio::test]
    async fn a_multipart_upload_becomes_one_object() {
        let fixture = fixture().await;
        let (bucket, key) = ("media", "results/big.bin");
        let create = fixture.client.create_multipart_upload().bucket(bucket).key(key).content_type("image/png");
        let upload = create.send().await.unwrap().upload_id.unwrap();
        let mut parts = Vec::new();
        for (number, byte, bytes) in [(1, b'a', 5 * 1024 * 1024), (2, b'b', 7)] {
            let part = fixture.client.upload_part().bucket(bucket).key(key).upload_id(&upload).part_number(number);
            let sent = part.body(ByteStream::from(vec![byte; bytes])).send().await.unwrap();
            parts.push(CompletedPart::builder().part_number(number).e_tag(sent.e_tag.unwrap()).build());
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = fixture.client.complete_multipart_upload().bucket(bucket).key(key).upload_id(&upload);
        complete.multipart_upload(parts).send().await.unwrap();
        let object = fixture.client.get_object().bucket(bucket).key(key).send().await.unwrap();
        assert_eq!((object.content_type(), object.content_encoding()), (Some("image/png"), None));
        let body = object.body.collect().await.unwrap().into_bytes();
        assert_eq!((body.len(), &body[5 * 1024 * 1024..]), (5 * 1024 * 1024 + 7, &b"bbbbbbb"[..]));
    }

    #[tokio::test]
    async fn browsers_may_do_what_the_bucket_allows() {
        let fixture = fixture().await;
        let link = fixture.presigned_put("uploads/b.txt", "text/plain", 5).await;
        let preflight = |method: &'static str| {
            let request = fixture.http.request(Method::OPTIONS, link.uri()).header("origin", "https://app.example");
            request.header("access-control-request-method", method).header("access-control-request-headers", "content-type")
        };
        let allowed = preflight("PUT").send().await.unwrap();
        assert_eq!(allowed.status(), 200);
        assert_eq!(allowed.headers()["access-control-allow-origin"], "*");
        assert_eq!(allowed.headers()["access-control-allow-headers"], "*");
        assert_eq!(allowed.headers()["access-control-allow-methods"], "GET, HEAD, PUT");
        assert_eq!(preflight("DELETE").send().await.unwrap().status(), 403);

        let put = fixture.http.put(link.uri()).header("origin", "https://app.example").header("content-type", "text/plain");
        let done = put.body("hello").send().await.unwrap();
        assert_eq!(done.status(), 200);
        assert_eq!(done.headers()["access-control-allow-origin"], "*");
        assert!(done.headers()["access-control-expose-headers"].to_str().unwrap().contains("ETag"));
    }

    #[tokio::test]
    async fn objects_are_still_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let bucket = Bucket { name: "media".to_owned(), cors: Vec::new() };
        for round in 1..=2 {
            let engine = S3::start(directory.path(), &bucket).await.unwrap();
            let client = s3_client(&sdk(&engine.endpoint_url));
            if round == 1 {
                let put = client.put_object().bucket("media").key("results/x").content_type("text/plain");
                put.body(ByteStream::from_static(b"kept")).send().await.unwrap();
            }
            let object = client.get_object().bucket("media").key("results/x").send().await.unwrap();
            assert_eq!(object.content_type(), Some("text/plain"));
        }
    }
}
