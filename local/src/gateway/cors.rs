//! What an HTTP API does with `CorsConfiguration`: it answers preflight requests itself, and puts its own headers on every answer, whatever
//! the function says: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html>.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use crate::template::Cors;

/// The answer to a preflight request; none: it is not one.
pub(super) fn preflight(cors: &Cors, method: &Method, headers: &HeaderMap) -> Option<Response<Body>> {
    let origin = headers.get(header::ORIGIN)?;
    if *method != Method::OPTIONS || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if allow(cors, origin, response.headers_mut()) {
        put(response.headers_mut(), header::ACCESS_CONTROL_ALLOW_METHODS, &cors.allow_methods.join(","));
        put(response.headers_mut(), header::ACCESS_CONTROL_ALLOW_HEADERS, &cors.allow_headers.join(","));
        put(response.headers_mut(), header::ACCESS_CONTROL_MAX_AGE, &cors.max_age.to_string());
    }
    Some(response)
}

/// Lets pages of this origin read the answer, if they may; whether they may.
pub(super) fn allow(cors: &Cors, origin: &HeaderValue, headers: &mut HeaderMap) -> bool {
    let any = cors.allow_origins.iter().any(|own| own == "*");
    if !any && !cors.allow_origins.iter().any(|own| own.as_bytes() == origin.as_bytes()) {
        return false;
    }
    let told = if any { HeaderValue::from_static("*") } else { origin.clone() };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, told);
    if !any {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    if !cors.expose_headers.is_empty() {
        put(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, &cors.expose_headers.join(","));
    }
    true
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        let all = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Cors {
            allow_origins: all(origins),
            allow_methods: all(&["GET", "POST"]),
            allow_headers: all(&["authorization"]),
            expose_headers: all(&["ratelimit"]),
            max_age: 600,
        }
    }

    fn asking(origin: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        headers.insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
        headers
    }

    #[test]
    fn a_page_of_an_allowed_origin_may_ask() {
        let cors = cors(&["https://app.example"]);
        let answer = preflight(&cors, &Method::OPTIONS, &asking("https://app.example")).expect("a preflight request");
        let said = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(said("access-control-allow-origin").as_deref(), Some("https://app.example"));
        assert_eq!(said("access-control-allow-methods").as_deref(), Some("GET,POST"));
        assert_eq!(said("access-control-max-age").as_deref(), Some("600"));
        assert_eq!(said("vary").as_deref(), Some("origin"));
    }

    #[test]
    fn a_page_of_another_origin_is_told_nothing() {
        let cors = cors(&["https://app.example"]);
        let answer = preflight(&cors, &Method::OPTIONS, &asking("https://evil.example")).expect("a preflight request");
        assert!(answer.headers().is_empty());
        let mut headers = HeaderMap::new();
        assert!(!allow(&cors, &HeaderValue::from_static("https://evil.example"), &mut headers));
        assert!(headers.is_empty());
    }

    #[test]
    fn what_is_no_preflight_request_goes_on() {
        let cors = cors(&["*"]);
        assert!(preflight(&cors, &Method::POST, &asking("https://app.example")).is_none());
        assert!(preflight(&cors, &Method::OPTIONS, &HeaderMap::new()).is_none());
        let mut headers = HeaderMap::new();
        assert!(allow(&cors, &HeaderValue::from_static("https://app.example"), &mut headers));
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    }
}
