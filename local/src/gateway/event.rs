//! HTTP to API Gateway's payload format 2.0 and back.
//!
//! Formats: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html> and
//! `…/http-api-lambda-authorizer.html`.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, Version, header, request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::routes::Match;
use crate::template::{ACCOUNT_ID, API_ID, arn};

/// A request as the gateway received it.
pub(super) struct Incoming<'a> {
    pub(super) parts: &'a request::Parts,
    pub(super) body: &'a Bytes,
    pub(super) client: SocketAddr,
    pub(super) request_id: &'a str,
    pub(super) now: Timestamp,
}

impl Incoming<'_> {
    /// The event that the function of a route gets; `authorized` is the context an authorizer gave.
    pub(super) fn http_event(&self, found: &Match<'_>, authorized: Option<&Value>) -> Value {
        let mut event = self.common(found);
        if let Some(context) = authorized {
            event["requestContext"]["authorizer"] = json!({ "lambda": context });
        }
        if !self.body.is_empty() {
            let (body, is_base64) = encode_body(&self.parts.headers, self.body);
            event["body"] = body.into();
            event["isBase64Encoded"] = is_base64.into();
        } else {
            event["isBase64Encoded"] = false.into();
        }
        event
    }

    /// The event that an authorizer gets.
    pub(super) fn authorizer_event(&self, found: &Match<'_>, identity: &str) -> Value {
        let mut event = self.common(found);
        let resource = format!("{API_ID}/$default/{}{}", self.parts.method, self.parts.uri.path());
        event["type"] = "REQUEST".into();
        event["routeArn"] = arn("execute-api", &resource).into();
        event["identitySource"] = json!([identity]);
        event
    }

    fn common(&self, found: &Match<'_>) -> Value {
        let (headers, cookies) = self.headers();
        let mut event = json!({
            "version": "2.0",
            "routeKey": found.route_key,
            "rawPath": self.parts.uri.path(),
            "rawQueryString": self.parts.uri.query().unwrap_or_default(),
            "headers": headers,
            "requestContext": self.request_context(&found.route_key),
        });
        if !cookies.is_empty() {
            event["cookies"] = cookies.into();
        }
        let query = query_parameters(&self.parts.uri);
        if !query.is_empty() {
            event["queryStringParameters"] = query.into();
        }
        if !found.parameters.is_empty() {
            let parameters = found.parameters.iter().map(|(name, value)| (name.clone(), value.clone().into()));
            event["pathParameters"] = Value::Object(parameters.collect());
        }
        event
    }

    /// Lower-case names, repeated ones joined with a comma, cookies apart.
    fn headers(&self) -> (Map<String, Value>, Vec<String>) {
        let mut headers = Map::new();
        let mut cookies = Vec::new();
        for name in self.parts.headers.keys() {
            let values = self.parts.headers.get_all(name).iter();
            let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
            if name == header::COOKIE {
                cookies.extend(values.iter().flat_map(|line| line.split(';')).map(|cookie| cookie.trim().to_owned()));
            } else {
                headers.insert(name.as_str().to_owned(), values.join(",").into());
            }
        }
        let mut add = |name: &str, value: String| {
            headers.entry(name).or_insert(value.into());
        };
        add("host", self.host().to_owned());
        add("x-forwarded-for", self.client.ip().to_string());
        add("x-forwarded-proto", "http".to_owned());
        add("x-forwarded-port", self.host().rsplit_once(':').map_or("80", |(_, port)| port).to_owned());
        (headers, cookies)
    }

    fn host(&self) -> &str {
        let host = self.parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        host.or_else(|| self.parts.uri.host()).unwrap_or("localhost")
    }

    fn request_context(&self, route_key: &str) -> Value {
        let domain = self.host().rsplit_once(':').map_or(self.host(), |(domain, _)| domain);
        let user_agent = self.parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        json!({
            "accountId": ACCOUNT_ID,
            "apiId": API_ID,
            "domainName": domain,
            "domainPrefix": domain.split('.').next().unwrap_or(domain),
            "http": {
                "method": self.parts.method.as_str(),
                "path": self.parts.uri.path(),
                "protocol": if self.parts.version == Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" },
                "sourceIp": self.client.ip().to_string(),
                "userAgent": user_agent.unwrap_or_default(),
            },
            "requestId": self.request_id,
            "routeKey": route_key,
            "stage": "$default",
            "time": self.now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": self.now.as_millisecond(),
        })
    }
}

/// Decoded, repeated ones joined with a comma.
fn query_parameters(uri: &Uri) -> Map<String, Value> {
    let mut parameters: Map<String, Value> = Map::new();
    for (name, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        let joined = match parameters.get(name.as_ref()).and_then(Value::as_str) {
            Some(before) => format!("{before},{value}"),
            None => value.into_owned(),
        };
        parameters.insert(name.into_owned(), joined.into());
    }
    parameters
}

/// Text as it is, anything else as base64.
fn encode_body(headers: &HeaderMap, body: &Bytes) -> (String, bool) {
    match std::str::from_utf8(body) {
        Ok(text) if is_text(headers) => (text.to_owned(), false),
        Ok(_) | Err(_) => (BASE64.encode(body), true),
    }
}

fn is_text(headers: &HeaderMap) -> bool {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return false;
    }
    let Some(content_type) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return true;
    };
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let text = ["application/json", "application/javascript", "application/xml"];
    media_type.starts_with("text/") || text.contains(&media_type.as_str())
}

/// A function's answer as an HTTP response; none if it is not in the shape API Gateway understands.
pub(super) fn http_response(answer: &Value) -> Option<Response<Body>> {
    let Some(status) = answer.get("statusCode") else {
        return Some(inferred_response(answer));
    };
    let status = status.as_u64().or_else(|| status.as_str()?.parse().ok())?;
    let status = StatusCode::from_u16(u16::try_from(status).ok()?).ok()?;
    let body = match answer.get("body") {
        None | Some(Value::Null) => Bytes::new(),
        Some(Value::String(text)) if answer.get("isBase64Encoded").and_then(Value::as_bool) == Some(true) => {
            BASE64.decode(text).ok()?.into()
        }
        Some(Value::String(text)) => text.clone().into(),
        Some(other) => other.to_string().into(),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, values) in answer.get("multiValueHeaders").and_then(Value::as_object).into_iter().flatten() {
        for value in values.as_array().into_iter().flatten() {
            headers.append(HeaderName::try_from(name).ok()?, header_value(value)?);
        }
    }
    for (name, value) in answer.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let name = HeaderName::try_from(name).ok()?;
        // A value that is among the many already would otherwise be sent twice.
        let value = header_value(value)?;
        if !headers.get_all(&name).iter().any(|known| known == value) {
            headers.append(name, value);
        }
    }
    for cookie in answer.get("cookies").and_then(Value::as_array).into_iter().flatten() {
        headers.append(header::SET_COOKIE, header_value(cookie)?);
    }
    // The server counts the bytes itself.
    headers.remove(header::CONTENT_LENGTH);
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain;charset=UTF-8"));
    Some(response)
}

/// An answer without a status is all body.
fn inferred_response(answer: &Value) -> Response<Body> {
    let text = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn header_value(value: &Value) -> Option<HeaderValue> {
    HeaderValue::try_from(crate::template::scalar_text(value)?).ok()
}
