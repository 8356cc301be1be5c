use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lambda_events::event::apigw::{ApiGatewayV2CustomAuthorizerV2Request, ApiGatewayV2httpRequest};
use futures_util::future::BoxFuture;

use super::*;
use crate::invoker::{Handler, handler};
use crate::template::{BUILT_IN, LocalValues};

struct Fixture {
    url: String,
    http: reqwest::Client,
    clock: Clock,
    authorized: Arc<AtomicUsize>,
}

/// The built-in template behind a port; `function` is the code of everything but the authorizer, which lets through whoever
/// says `Bearer good`.
#[allow(clippy::disallowed_methods, reason = "calls loopback only, which the guard refuses")]
async fn fixture(function: Handler) -> Fixture {
    let values = LocalValues { parameters: [("SigningSecret".to_owned(), "s".repeat(32))].into(), ..LocalValues::default() };
    let template = Template::parse(BUILT_IN, &values).unwrap_or_else(|error| panic!("{error}"));
    let mut handlers: HashMap<String, Handler> =
        template.functions.iter().map(|declared| (declared.binary.clone(), function.clone())).collect();
    let authorized = Arc::new(AtomicUsize::new(0));
    let counter = authorized.clone();
    handlers.insert("authorize".to_owned(), handler(move |event| authorize(event, counter.clone())));
    let invoker = Arc::new(Invoker::new(&template, &handlers).unwrap());
    let clock = Clock::system();
    let gateway = Arc::new(Gateway::new(&template, invoker, clock.clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let extra = Router::new().route("/_sim/ping", axum::routing::get(|| async { "pong" }));
    tokio::spawn(gateway.serve(listener, extra, std::future::pending()));
    Fixture { url, http: reqwest::Client::new(), clock, authorized }
}

fn authorize(event: Value, counter: Arc<AtomicUsize>) -> BoxFuture<'static, Result<Value, String>> {
    counter.fetch_add(1, Ordering::SeqCst);
    Box::pin(async move {
        let typed: ApiGatewayV2CustomAuthorizerV2Request = serde_json::from_value(event.clone()).unwrap();
        assert_eq!(typed.request_context.stage.as_deref(), Some("$default"));
        assert_eq!(event["type"], "REQUEST");
        match event["identitySource"][0].as_str().unwrap() {
            "Bearer good" => Ok(json!({ "isAuthorized": true, "context": { "account": "acct_1" } })),
            "Bearer odd" => Ok(json!({ "allowed": true })),
            "Bearer broken" => Err("out of order".to_owned()),
            _ => Ok(json!({ "isAuthorized": false })),
        }
    })
}

/// A function that answers with its event.
fn echo() -> Handler {
    handler(|event: Value| async move {
        let headers = json!({ "content-type": "application/json", "x-one": "1" });
        let many = json!({ "x-many": ["a", "b"] });
        Ok(json!({
            "statusCode": 201, "headers": headers, "multiValueHeaders": many, "cookies": ["a=1; Path=/", "b=2"],
            "body": event.to_string(),
        }))
    })
}

impl Fixture {
    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.url)).header("authorization", "Bearer good")
    }

    fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{path}", self.url)).header("authorization", "Bearer good")
    }

    async fn status_with(&self, authorization: &str) -> (u16, String) {
        let request = self.http.get(format!("{}/v1/models", self.url)).header("authorization", authorization);
        status(request).await
    }
}

async fn status(request: reqwest::RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    assert!(response.headers().contains_key("apigw-requestid"));
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn echoed(request: reqwest::RequestBuilder) -> Value {
    serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_request_becomes_a_payload_2_0_event() {
    let fixture = fixture(echo()).await;
    let request = fixture.post("/v1/uploads/a%20b/complete?x=1&x=2&y=%C3%A9").header("X-Thing", "1").header("X-Thing", "2");
    let request = request.header("cookie", "s=1; t=2").header("user-agent", "tests").header("content-type", "application/json");
    let event = echoed(request.body("{\"n\":1}")).await;

    let typed: ApiGatewayV2httpRequest = serde_json::from_value(event.clone()).unwrap();
    assert_eq!(typed.path_parameters["id"], "a b");
    assert_eq!(typed.headers["x-thing"], "1,2");
    assert_eq!(typed.cookies.unwrap(), ["s=1", "t=2"]);
    assert_eq!(event["version"], "2.0");
    assert_eq!(event["routeKey"], "POST /v1/uploads/{id}/complete");
    assert_eq!(event["rawPath"], "/v1/uploads/a%20b/complete");
    assert_eq!(event["rawQueryString"], "x=1&x=2&y=%C3%A9");
    assert_eq!(event["queryStringParameters"], json!({ "x": "1,2", "y": "é" }));
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("{\"n\":1}"), &json!(false)));
    let context = &event["requestContext"];
    assert_eq!(context["authorizer"], json!({ "lambda": { "account": "acct_1" } }));
    assert_eq!(context["http"]["method"], "POST");
    assert_eq!(context["http"]["sourceIp"], "127.0.0.1");
    assert_eq!(context["http"]["userAgent"], "tests");
    assert_eq!((&context["routeKey"], &context["stage"]), (&event["routeKey"], &json!("$default")));
    assert!((context["timeEpoch"].as_i64().unwrap() - fixture.clock.now().as_millisecond()).abs() < 10_000);
}

#[tokio::test]
async fn bodies_that_are_no_text_are_base64() {
    let fixture = fixture(echo()).await;
    for (content_type, body, expected) in [
        ("image/png", &b"abc"[..], "YWJj"),
        ("application/x-www-form-urlencoded", b"a=1", "YT0x"),
        ("text/plain", b"\xff\x00", "/wA="),
    ] {
        let event = echoed(fixture.post("/v1/uploads").header("content-type", content_type).body(body)).await;
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!(expected), &json!(true)), "{content_type}");
    }
    let event = echoed(fixture.post("/v1/uploads")).await;
    assert_eq!((event.get("body"), &event["isBase64Encoded"]), (None, &json!(false)));
}

#[tokio::test]
async fn an_answer_becomes_a_response() {
    let response = fixture(echo()).await.get("/v1/models").send().await.unwrap();
    assert_eq!(response.status(), 201);
    let all = |name: &str| response.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(all("x-one"), ["1"]);
    assert_eq!(all("x-many"), ["a", "b"]);
    assert_eq!(all("set-cookie"), ["a=1; Path=/", "b=2"]);
    assert_eq!(all("content-type"), ["application/json"]);
}

#[tokio::test]
async fn base64_and_bare_answers_are_understood() {
    let answer =
        json!({ "statusCode": "200", "headers": { "content-type": "image/png" }, "body": "/wA=", "isBase64Encoded": true });
    let binary = fixture(handler(move |_| std::future::ready(Ok(answer.clone())))).await.get("/v1/models").send().await.unwrap();
    assert_eq!(binary.headers()["content-type"], "image/png");
    assert_eq!(binary.bytes().await.unwrap().as_ref(), b"\xff\x00");

    let bare = fixture(handler(|_| async { Ok(json!({ "message": "hi" })) })).await.get("/v1/models").send().await.unwrap();
    assert_eq!((bare.status().as_u16(), bare.headers()["content-type"].to_str().unwrap()), (200, "application/json"));
    assert_eq!(bare.text().await.unwrap(), r#"{"message":"hi"}"#);
}

#[tokio::test]
async fn the_gateway_answers_for_itself_what_api_gateway_does() {
    let fixture = fixture(echo()).await;
    let message = |status: u16, text: &str| (status, json!({ "message": text }).to_string());
    assert_eq!(status(fixture.get("/v1/nothing")).await, message(404, "Not Found"));
    assert_eq!(status(fixture.post("/v1/models")).await, message(404, "Not Found"));
    assert_eq!(status(fixture.http.head(format!("{}/v1/models", fixture.url))).await, (404, String::new()));
    assert_eq!(status(fixture.http.get(format!("{}/v1/models", fixture.url))).await, message(401, "Unauthorized"));
    assert_eq!(fixture.status_with("Bearer bad").await, message(403, "Forbidden"));
    assert_eq!(fixture.status_with("Bearer broken").await, message(500, "Internal Server Error"));
    assert_eq!(fixture.status_with("Bearer odd").await, message(500, "Internal Server Error"));
    let large = fixture.post("/v1/uploads").body(vec![b'x'; MAX_BODY_BYTES + 1]);
    assert_eq!(status(large).await, message(413, "Request Entity Too Large"));
    let largest = fixture.post("/v1/uploads").body(vec![b'x'; MAX_BODY_BYTES]);
    assert_eq!(status(largest).await.0, 201);
}

#[tokio::test]
async fn a_failing_function_is_an_internal_server_error() {
    for function in [
        handler(|_| async { Err("no".to_owned()) }),
        handler(|_| async { panic!("on purpose") }),
        handler(|_| async { Ok(json!({ "statusCode": 99 })) }),
        handler(|_| async { Ok(json!({ "statusCode": 200, "headers": { "bad name": "x" } })) }),
    ] {
        let expected = (500, r#"{"message":"Internal Server Error"}"#.to_owned());
        assert_eq!(status(fixture(function).await.get("/v1/models")).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_that_times_out_is_unavailable() {
    let values = LocalValues { parameters: [("SigningSecret".to_owned(), "s".repeat(32))].into(), ..LocalValues::default() };
    let template = Template::parse(BUILT_IN, &values).unwrap_or_else(|error| panic!("{error}"));
    let never = handler(|_| std::future::pending());
    let handlers = template.functions.iter().map(|declared| (declared.binary.clone(), never.clone())).collect();
    let invoker = Arc::new(Invoker::new(&template, &handlers).unwrap());
    let gateway = Gateway::new(&template, invoker, Clock::system());
    // Without a socket, whose wait would let the paused clock run ahead.
    let found = gateway.routes.find("POST", "/v1/callbacks/fal/gen_1/token").unwrap();
    let client = SocketAddr::from(([127, 0, 0, 1], 1));
    let outcome = gateway.handle(&found, Request::new(Body::empty()), client, "id").await;
    assert_eq!(outcome.err(), Some(Refusal::Unavailable));
}

#[tokio::test]
async fn routes_without_authorizer_need_no_header() {
    let fixture = fixture(echo()).await;
    let event = echoed(fixture.http.post(format!("{}/v1/callbacks/fal/gen_1/token", fixture.url))).await;
    assert_eq!(event["pathParameters"], json!({ "provider": "fal", "generation": "gen_1", "token": "token" }));
    assert!(event["requestContext"].get("authorizer").is_none());
    assert_eq!(fixture.authorized.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_authorizer_is_asked_once_per_identity_until_its_answer_is_over() {
    let fixture = fixture(echo()).await;
    let asked = || fixture.authorized.load(Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(fixture.status_with("Bearer good").await.0, 201);
    }
    assert_eq!(asked(), 1);
    assert_eq!(status(fixture.post("/v1/uploads")).await.0, 201);
    assert_eq!(asked(), 1, "the answer holds for all routes");
    for _ in 0..2 {
        assert_eq!(fixture.status_with("Bearer bad").await.0, 403);
    }
    assert_eq!(asked(), 2, "a refusal is kept too");
    for _ in 0..2 {
        assert_eq!(fixture.status_with("Bearer broken").await.0, 500);
    }
    assert_eq!(asked(), 4, "a failure is not");
    fixture.clock.advance(Duration::from_secs(61));
    assert_eq!(fixture.status_with("Bearer good").await.0, 201);
    assert_eq!(asked(), 5);
}

#[tokio::test]
async fn other_routers_go_before_the_gateway() {
    let fixture = fixture(echo()).await;
    assert_eq!(fixture.get("/_sim/ping").send().await.unwrap().text().await.unwrap(), "pong");
}
