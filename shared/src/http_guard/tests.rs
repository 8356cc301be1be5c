use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::get;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn outbound(allow_loopback: bool) -> Outbound {
    Outbound::new(Policy { allow_loopback })
}

/// Starts `router` on loopback and returns its port.
async fn serve(router: Router) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

/// A port nobody listens on.
async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[test]
fn urls_are_checked() {
    let strict = outbound(false);
    let local = outbound(true);
    // What to request, whether production permits it, whether the one-process run does.
    let cases = [
        ("https://api.example.com/v1?x=1", true, true),
        ("https://8.8.8.8/", true, true),
        ("https://[2606:4700:4700::1111]/", true, true),
        ("https://api.example.com:8443/", true, true),
        ("http://api.example.com/", false, false),
        ("http://8.8.8.8/", false, false),
        ("ftp://api.example.com/", false, false),
        ("file:///etc/passwd", false, false),
        ("data:text/plain,hello", false, false),
        ("gopher://127.0.0.1/", false, false),
        ("https://user@api.example.com/", false, false),
        ("https://user:secret@api.example.com/", false, false),
        ("https://:secret@api.example.com/", false, false),
        ("https://127.0.0.1/", false, true),
        ("http://127.0.0.1:9000/", false, true),
        ("http://[::1]:9000/", false, true),
        ("http://[::ffff:127.0.0.1]/", false, true),
        ("http://localhost:9000/", false, true),
        ("http://sim.localhost./", false, true),
        ("http://localhost.example.com/", false, false),
        ("http://0.0.0.0/", false, false),
        ("https://10.0.0.1/", false, false),
        ("https://169.254.169.254/latest/meta-data/", false, false),
        ("http://169.254.169.254/latest/meta-data/", false, false),
        ("https://2852039166/", false, false),
        ("https://0xa9fea9fe/", false, false),
        ("https://0251.0376.0251.0376/", false, false),
        ("https://10.1/", false, false),
        ("https://[fd00:ec2::254]/", false, false),
        ("https://[::ffff:a9fe:a9fe]/", false, false),
        ("https://[64:ff9b::a9fe:a9fe]/", false, false),
        ("/relative", false, false),
        ("", false, false),
    ];
    for (url, in_production, locally) in cases {
        assert_eq!(strict.check(url).is_ok(), in_production, "`{url}` in production");
        assert_eq!(local.check(url).is_ok(), locally, "`{url}` locally");
    }
}

#[test]
fn refusals_do_not_repeat_secrets() {
    for url in ["https://user:hunter2@example.com/", "http://example.com/?token=hunter2", "https://10.0.0.1/hunter2"] {
        let error = outbound(false).check(url).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn one_private_address_among_public_ones_is_refused() {
    let addresses = |list: &[&str]| list.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 0)).collect();
    let strict = Policy { allow_loopback: false };
    assert_eq!(strict.admit("a.example", addresses(&["8.8.8.8", "2606:4700::1"])).unwrap().len(), 2);
    for mixed in [["8.8.8.8", "169.254.169.254"], ["10.0.0.1", "8.8.8.8"], ["8.8.8.8", "::1"]] {
        let error = strict.admit("a.example", addresses(&mixed)).unwrap_err();
        assert!(matches!(error, GuardError::AddressRefused { .. }), "{mixed:?}");
    }
    let local = Policy { allow_loopback: true };
    local.admit("localhost", addresses(&["127.0.0.1", "::1"])).unwrap();
    local.admit("a.example", addresses(&["127.0.0.1", "192.168.1.1"])).unwrap_err();
}

#[tokio::test]
async fn a_name_that_resolves_to_loopback_is_refused_before_connecting() {
    let port = serve(Router::new().route("/", get(|| async { "secret" }))).await;
    let url = format!("http://localhost:{port}/");
    let error = outbound(false).api().get(&url).send().await.unwrap_err();
    assert!(matches!(refusal(&error), Some(GuardError::AddressRefused { host, .. }) if host == "localhost"), "{error:?}");
    assert!(never_sent(&error));

    let answer = outbound(true).api().get(&url).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "secret");
}

#[tokio::test]
async fn redirects_are_followed_for_media_only_and_checked_each() {
    let router = Router::new()
        .route("/end", get(|| async { "end" }))
        .route("/1", get(|| async { Redirect::temporary("/end") }))
        .route("/2", get(|| async { Redirect::temporary("/1") }))
        .route("/3", get(|| async { Redirect::temporary("/2") }))
        .route("/4", get(|| async { Redirect::temporary("/3") }))
        .route("/metadata", get(|| async { Redirect::temporary("http://169.254.169.254/latest/meta-data/") }))
        .route("/private", get(|| async { Redirect::temporary("https://[::ffff:10.0.0.1]/") }))
        .route("/ftp", get(|| async { Redirect::temporary("ftp://127.0.0.1/") }))
        .route("/file", get(|| async { Redirect::temporary("file:///etc/passwd") }));
    let base = format!("http://127.0.0.1:{}", serve(router).await);
    let outbound = outbound(true);

    let answer = outbound.api().get(format!("{base}/1")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);

    let answer = outbound.media().get(format!("{base}/3")).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "end");

    let error = outbound.media().get(format!("{base}/4")).send().await.unwrap_err();
    assert!(matches!(refusal(&error), Some(GuardError::TooManyRedirects)), "{error:?}");

    for path in ["metadata", "private"] {
        let error = outbound.media().get(format!("{base}/{path}")).send().await.unwrap_err();
        assert!(matches!(refusal(&error), Some(GuardError::AddressRefused { .. })), "{path}: {error:?}");
        assert!(!never_sent(&error), "the first request was sent");
    }
    let error = outbound.media().get(format!("{base}/ftp")).send().await.unwrap_err();
    assert!(matches!(refusal(&error), Some(GuardError::SchemeRefused { .. })), "{error:?}");
    let answer = outbound.media().get(format!("{base}/file")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT, "a URL without a host is not followed");
}

#[tokio::test]
async fn only_requests_that_never_left_count_as_never_sent() {
    let outbound = outbound(true);
    let refused = outbound.api().get(format!("http://127.0.0.1:{}/", closed_port().await)).send().await.unwrap_err();
    assert!(never_sent(&refused), "connection refused: {refused:?}");

    // A label over 63 characters: the resolver refuses it without asking anyone.
    let unknown = outbound.api().get(format!("https://{}.example/", "x".repeat(64))).send().await.unwrap_err();
    assert!(never_sent(&unknown), "unknown name: {unknown:?}");

    let plain = serve(Router::new()).await;
    let no_tls = outbound.api().get(format!("https://127.0.0.1:{plain}/")).send().await.unwrap_err();
    assert!(never_sent(&no_tls), "no TLS: {no_tls:?}");

    let unbuilt = outbound.api().get("not a url").send().await.unwrap_err();
    assert!(never_sent(&unbuilt), "not a URL: {unbuilt:?}");

    let silent = serve(Router::new().route("/", get(std::future::pending::<()>))).await;
    let late = outbound.api().get(format!("http://127.0.0.1:{silent}/")).timeout(Duration::from_millis(100));
    let late = late.send().await.unwrap_err();
    assert!(late.is_timeout() && !never_sent(&late), "time-out after sending: {late:?}");

    let rude = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = rude.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = rude.accept().await {
            drop(socket)
        }
    });
    let cut = outbound.api().get(format!("http://127.0.0.1:{port}/")).send().await.unwrap_err();
    assert!(!never_sent(&cut), "closed after connecting: {cut:?}");
}

#[tokio::test]
async fn bodies_are_read_up_to_the_cap() {
    let stream = || async { Body::from_stream(stream::iter((0..10).map(|_| Ok::<_, Infallible>(vec![b'x'; 100])))) };
    let router = Router::new().route("/fixed", get(|| async { vec![b'x'; 1000] })).route("/stream", get(stream));
    let base = format!("http://127.0.0.1:{}", serve(router).await);
    let outbound = outbound(true);
    let fetch = async |path: &str, max_bytes| {
        let response = outbound.api().get(format!("{base}/{path}")).send().await.unwrap();
        read_capped(response, max_bytes).await
    };
    for path in ["fixed", "stream"] {
        assert_eq!(fetch(path, 1000).await.unwrap().len(), 1000, "{path}");
        assert!(matches!(fetch(path, 999).await, Err(ReadError::TooLarge { max_bytes: 999 })), "{path}");
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        assert!(socket.read(&mut [0; 4096]).await.unwrap() > 0);
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nonly this").await.unwrap();
    });
    let response = outbound.api().get(url).send().await.unwrap();
    assert!(matches!(read_capped(response, 1000).await, Err(ReadError::Interrupted { .. })));
}
