//! Every mistake is told apart from the others, at the place where it was made, and costs nothing.

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tests::{Setting, UNREAD, World};

/// What a request has to be answered with: status, code, and the part of the request that is meant.
struct Case {
    name: &'static str,
    request: RequestBuilder,
    status: u16,
    code: &'static str,
    param: Option<&'static str>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_parameter_is_named() {
    let world = World::with(Setting::idle()).await;
    let none = "asset_00000000000070008000000000000000";
    let wrong = |name, model, params: Value, code, param| {
        let request = world.request(Method::POST, "/v1/generations").json(&json!({"model": model, "params": params}));
        Case { name, request, status: 422, code, param: Some(param) }
    };
    let cases = vec![
        wrong("unknown model", "dall-e-9", json!({"prompt": "x"}), "unknown_model", "model"),
        wrong("empty model", "", json!({"prompt": "x"}), "out_of_range", "model"),
        wrong("missing prompt", "placeholder", json!({}), "missing_param", "params.prompt"),
        wrong("wrong type", "placeholder", json!({"prompt": 7}), "invalid_type", "params.prompt"),
        wrong("null", "placeholder", json!({"prompt": null}), "invalid_type", "params.prompt"),
        wrong("empty prompt", "placeholder", json!({"prompt": ""}), "out_of_range", "params.prompt"),
        wrong("long prompt", "placeholder", json!({"prompt": "x".repeat(10_001)}), "out_of_range", "params.prompt"),
        wrong("too narrow", "placeholder", json!({"prompt": "x", "width": 1}), "out_of_range", "params.width"),
        wrong("too wide", "placeholder", json!({"prompt": "x", "width": 5000}), "out_of_range", "params.width"),
        wrong("negative", "placeholder", json!({"prompt": "x", "height": -64}), "out_of_range", "params.height"),
        wrong("no whole number", "placeholder", json!({"prompt": "x", "width": 99.5}), "invalid_type", "params.width"),
        wrong("huge number", "placeholder", json!({"prompt": "x", "width": 1e300}), "out_of_range", "params.width"),
        wrong("five outputs", "flux-schnell", json!({"prompt": "x", "num_outputs": 5}), "out_of_range", "params.num_outputs"),
        wrong("no outputs", "flux-schnell", json!({"prompt": "x", "num_outputs": 0}), "out_of_range", "params.num_outputs"),
        wrong("unknown choice", "placeholder", json!({"prompt": "x", "format": "bmp"}), "invalid_param", "params.format"),
        wrong("unknown param", "placeholder", json!({"prompt": "x", "size": 1}), "unknown_param", "params.size"),
        wrong("no asset id", "placeholder", json!({"prompt": "x", "image": "cat.jpg"}), "invalid_param", "params.image"),
        wrong("unknown asset", "placeholder", json!({"prompt": "x", "image": none}), "unknown_asset", "params.image"),
        wrong(
            "one of two",
            "nano-banana-edit",
            json!({"prompt": "x", "images": [none, none]}),
            "unknown_asset",
            "params.images.0",
        ),
    ];
    check(&world, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_quote_is_told_from_a_wrong_order() {
    let world = World::with(Setting::idle()).await;
    let wrong = |name, path: &str, body: Value, code, param| {
        let request = world.request(Method::POST, path).json(&body);
        Case { name, request, status: 422, code, param: Some(param) }
    };
    let order = |quote: Value| json!({"model": "placeholder", "params": {"prompt": "x"}, "quote": quote});
    let asked = |model: &str, params: Value| json!({"model": model, "params": params});
    let cases = vec![
        wrong("a number", "/v1/generations", order(json!(7)), "invalid_type", "quote"),
        wrong("null", "/v1/generations", order(json!(null)), "invalid_type", "quote"),
        wrong("any text", "/v1/generations", order(json!("cheap")), "invalid_quote", "quote"),
        wrong("a quote of a quote", "/v1/quotes", order(json!("cheap")), "unknown_param", "quote"),
        wrong("no model", "/v1/quotes", json!({}), "missing_param", "model"),
        wrong("unknown model", "/v1/quotes", asked("dall-e-9", json!({"prompt": "x"})), "unknown_model", "model"),
        wrong("missing prompt", "/v1/quotes", asked("placeholder", json!({})), "missing_param", "params.prompt"),
        wrong(
            "too wide",
            "/v1/quotes",
            asked("placeholder", json!({"prompt": "x", "width": 5000})),
            "out_of_range",
            "params.width",
        ),
        wrong(
            "no asset id",
            "/v1/quotes",
            asked("placeholder", json!({"prompt": "x", "image": "a"})),
            "invalid_param",
            "params.image",
        ),
    ];
    check(&world, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_read_says_where() {
    let world = World::with(Setting::idle()).await;
    let wrong = |name, body: Vec<u8>, status, code, param| {
        let request = world.request(Method::POST, "/v1/generations").header("content-type", "application/json").body(body);
        Case { name, request, status, code, param }
    };
    let large = json!({"model": "placeholder", "params": {"prompt": "x".repeat(1_000_000)}}).to_string();
    let extra = json!({"model": "placeholder", "params": {"prompt": "x"}, "webhook": "https://example.com"}).to_string();
    let cases = vec![
        wrong("nothing", Vec::new(), 400, "invalid_json", None),
        wrong("cut off", br#"{"model": "placeholder", "#.to_vec(), 400, "invalid_json", None),
        wrong("no JSON", b"model=placeholder".to_vec(), 400, "invalid_json", None),
        wrong("two values", b"{} {}".to_vec(), 400, "invalid_json", None),
        wrong("deeply nested", [vec![b'['; 5_000], vec![b']'; 5_000]].concat(), 400, "invalid_json", None),
        wrong("no UTF-8", b"{\"model\": \"place\xff\xfeholder\"}".to_vec(), 400, "invalid_utf8", None),
        wrong("an array", b"[]".to_vec(), 422, "invalid_type", None),
        wrong("text", b"\"placeholder\"".to_vec(), 422, "invalid_type", None),
        wrong("null", b"null".to_vec(), 422, "invalid_type", None),
        wrong("no model", b"{\"params\": {}}".to_vec(), 422, "missing_param", Some("model")),
        wrong("no params", b"{\"model\": \"placeholder\"}".to_vec(), 422, "missing_param", Some("params.prompt")),
        wrong("params an array", b"{\"model\": \"placeholder\", \"params\": []}".to_vec(), 422, "invalid_type", Some("params")),
        wrong("unknown field", extra.into_bytes(), 422, "unknown_param", Some("webhook")),
        wrong("over a megabyte", large.into_bytes(), 413, "body_too_large", None),
    ];
    check(&world, cases).await;
    let broken = "{\n  \"model\": \"placeholder\",\n  \"params\": {\"prompt\": x}\n}";
    let reply = world.send(world.request(Method::POST, "/v1/generations").body(broken)).await;
    let detail = reply.body["detail"].as_str().expect("a detail");
    assert!(detail.contains("line 3, column 24"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_that_cannot_be_used_are_refused() {
    let world = World::with(Setting::idle()).await;
    let other = world.customer(100).await;
    let theirs = other.upload("image/jpeg", World::photo()).await;
    let pending = world.post("/v1/uploads", &json!({"content_type": "image/png", "bytes": 10})).await.body["id"].clone();
    let erased = world.upload("image/jpeg", World::photo()).await;
    assert_eq!(world.delete(&format!("/v1/assets/{erased}")).await.status, 204);
    let using = |name, image: Value, code| {
        let body = json!({"model": "placeholder", "params": {"prompt": "x", "image": image}});
        let request = world.request(Method::POST, "/v1/generations").json(&body);
        Case { name, request, status: 422, code, param: Some("params.image") }
    };
    let cases = vec![
        using("another account's asset", json!(theirs), "unknown_asset"),
        using("an upload that is not completed", pending, "asset_not_ready"),
        using("an asset that was erased", json!(erased), "asset_erased"),
    ];
    check(&world, cases).await;
    assert_eq!(other.balance().await, (100, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() {
    let world = World::with(Setting::idle()).await;
    let missing = |name, method, path: &str| {
        let request = world.request(method, path).json(&json!({}));
        Case { name, request, status: 404, code: "not_found", param: None }
    };
    let cases = vec![
        missing("unknown generation", Method::GET, "/v1/generations/gen_00000000000070008000000000000000"),
        missing("malformed generation", Method::GET, "/v1/generations/42"),
        missing("id of another kind", Method::GET, "/v1/generations/asset_00000000000070008000000000000000"),
        missing("strange characters", Method::GET, "/v1/generations/%D0%B6%00%22"),
        missing("cancel of an unknown one", Method::POST, "/v1/generations/gen_00000000000070008000000000000000/cancel"),
        missing("cancel of a malformed one", Method::POST, "/v1/generations/42/cancel"),
        missing("unknown asset", Method::GET, "/v1/assets/asset_00000000000070008000000000000000"),
        missing("malformed asset", Method::GET, "/v1/assets/42"),
        missing("unknown upload", Method::POST, "/v1/uploads/asset_00000000000070008000000000000000/complete"),
        missing("erasure of an unknown asset", Method::DELETE, "/v1/assets/asset_00000000000070008000000000000000"),
        missing("erasure of a malformed asset", Method::DELETE, "/v1/assets/42"),
        missing("erasure of an unknown one", Method::DELETE, "/v1/generations/gen_00000000000070008000000000000000/content"),
        missing("erasure of a malformed one", Method::DELETE, "/v1/generations/42/content"),
        missing("malformed upload", Method::POST, "/v1/uploads/42/complete"),
    ];
    check(&world, cases).await;
    // The gateway knows no such routes, and answers by itself.
    for (method, path) in
        [(Method::GET, "/"), (Method::GET, "/v1/secrets"), (Method::DELETE, "/v1/account"), (Method::PUT, "/v1/models")]
    {
        let reply = world.send(world.request(method.clone(), path)).await;
        assert_eq!((reply.status, &reply.body["message"]), (404, &json!("Not Found")), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_headers_are_checked() {
    let world = World::with(Setting::idle()).await;
    let list = |name, path: &str, code, param| Case {
        name,
        request: world.request(Method::GET, path),
        status: 422,
        code,
        param: Some(param),
    };
    let cases = vec![
        list("no rows", "/v1/generations?limit=0", "out_of_range", "limit"),
        list("too many rows", "/v1/generations?limit=101", "out_of_range", "limit"),
        list("rows in words", "/v1/generations?limit=abc", "out_of_range", "limit"),
        list("half a row", "/v1/account/ledger?limit=1.5", "out_of_range", "limit"),
        list("too many entries", "/v1/account/ledger?limit=99999999999999999999", "out_of_range", "limit"),
        list("cursor that is no base64", "/v1/generations?cursor=%21%21%21", "invalid_param", "cursor"),
        list("cursor of nothing", "/v1/generations?cursor=", "invalid_param", "cursor"),
        list("cursor of our own making", "/v1/generations?cursor=Z2VuXzE", "invalid_param", "cursor"),
        list("ledger cursor of our own making", "/v1/account/ledger?cursor=Z2VuXzE", "invalid_param", "cursor"),
        list("ledger cursor of no number", "/v1/account/ledger?cursor=eCB5", "invalid_param", "cursor"),
    ];
    check(&world, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_opens_nothing_is_told_so() {
    let world = World::with(Setting::idle()).await;
    let body = json!({"model": "placeholder", "params": {"prompt": "x"}});
    let with = |name, header: HeaderValue| {
        let mut request = world.request(Method::POST, "/v1/generations").json(&body).build().expect("a request");
        request.headers_mut().insert(AUTHORIZATION, header);
        let request = RequestBuilder::from_parts(world.http.api().clone(), request);
        Case { name, request, status: 401, code: "unauthenticated", param: None }
    };
    let cases = vec![
        with("unknown key", HeaderValue::from_static("Bearer dk_nobody")),
        with("another scheme", HeaderValue::from_static("Basic dXNlcjpwYXNz")),
        with("a key without a scheme", HeaderValue::from_str(&world.key).expect("ASCII")),
        with("an endless key", HeaderValue::from_str(&format!("Bearer {}", "k".repeat(4_000))).expect("ASCII")),
    ];
    check(&world, cases).await;
    // Without a key the gateway refuses by itself.
    let reply = world.send(world.http.api().post(format!("{}/v1/generations", world.stack.api)).json(&body)).await;
    assert_eq!((reply.status, &reply.body), (401, &json!({"message": "Unauthorized"})));
    let callback = world.stack.api.clone() + "/v1/callbacks/replicate/gen_00000000000070008000000000000000/token";
    let reply = world.send(world.http.api().post(callback).json(&body)).await;
    assert_eq!((reply.status, &reply.body["code"]), (404, &json!("not_found")), "{:?}", reply.body);
}

async fn check(world: &World, cases: Vec<Case>) {
    let balance = world.balance().await;
    for Case { name, request, status, code, param } in cases {
        let reply = world.send(request).await;
        let found = (reply.status, reply.body["code"].as_str(), reply.body["param"].as_str());
        assert_eq!(found, (status, Some(code), param), "{name}: {:?}", reply.body);
        assert_eq!(reply.header("content-type"), "application/problem+json", "{name}");
        assert_eq!(reply.body["status"].as_u64(), Some(u64::from(status)), "{name}");
        assert_eq!(reply.body["type"], format!("urn:darkroom:problem:{code}"), "{name}");
        assert_eq!(reply.body["request_id"].as_str(), Some(reply.header("apigw-requestid")), "{name}");
        let texts = [&reply.body["title"], &reply.body["detail"]];
        assert!(texts.iter().all(|text| text.as_str().is_some_and(|text| !text.is_empty())), "{name}: {:?}", reply.body);
    }
    assert_eq!(world.balance().await, balance);
    assert_eq!(world.generations().await.len(), 0);
    assert!(world.queues().peek(UNREAD).is_empty());
    world.audit().await;
}
