//! Which route takes a request, by API Gateway's rules.

use crate::template::Template;

pub(super) struct Routes {
    routes: Vec<Route>,
}

struct Route {
    method: String,
    segments: Vec<Segment>,
    key: String,
    function: String,
    auth: bool,
}

/// Ordered as API Gateway prefers them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Exact(String),
    Parameter(String),
    /// `{name+}`: the rest of the path.
    Rest(String),
}

/// The route of a request.
pub(super) struct Match<'a> {
    /// Logical id.
    pub(super) function: &'a str,
    /// `POST /v1/uploads`
    pub(super) route_key: String,
    pub(super) auth: bool,
    /// Names and decoded values, in the order of the path.
    pub(super) parameters: Vec<(String, String)>,
}

impl Routes {
    pub(super) fn new(template: &Template) -> Self {
        let of_function = |function: &'_ crate::template::Function| {
            let id = function.logical_id.clone();
            let route = move |route: &crate::template::Route| Route {
                method: route.method.clone(),
                segments: route.path.trim_start_matches('/').split('/').map(Segment::parse).collect(),
                key: format!("{} {}", route.method, route.path),
                function: id.clone(),
                auth: route.auth,
            };
            function.routes.iter().map(route).collect::<Vec<_>>()
        };
        Self { routes: template.functions.iter().flat_map(of_function).collect() }
    }

    /// The most specific route for an undecoded path: a segment's own text goes before a parameter, that before the rest of
    /// the path, and a method before `ANY`.
    pub(super) fn find(&self, method: &str, path: &str) -> Option<Match<'_>> {
        let segments: Vec<String> = path.trim_start_matches('/').split('/').map(percent_decode).collect();
        let candidates = self.routes.iter().filter(|route| route.method == method || route.method == "ANY");
        let matches = candidates.filter_map(|route| Some((route, route.parameters(&segments)?)));
        let (route, parameters) = matches.min_by_key(|(route, _)| (route.kinds(), route.method == "ANY"))?;
        Some(Match { function: &route.function, route_key: route.key.clone(), auth: route.auth, parameters })
    }
}

impl Route {
    fn parameters(&self, path: &[String]) -> Option<Vec<(String, String)>> {
        let mut parameters = Vec::new();
        for (index, segment) in self.segments.iter().enumerate() {
            let given = path.get(index)?;
            match segment {
                Segment::Exact(text) if text == given => {}
                Segment::Exact(_) => return None,
                Segment::Parameter(_) if given.is_empty() => return None,
                Segment::Parameter(name) => parameters.push((name.clone(), given.clone())),
                Segment::Rest(name) => {
                    parameters.push((name.clone(), path[index..].join("/")));
                    return Some(parameters);
                }
            }
        }
        (path.len() == self.segments.len()).then_some(parameters)
    }

    fn kinds(&self) -> Vec<u8> {
        let kind = |segment: &Segment| match segment {
            Segment::Exact(_) => 0,
            Segment::Parameter(_) => 1,
            Segment::Rest(_) => 2,
        };
        self.segments.iter().map(kind).collect()
    }
}

impl Segment {
    fn parse(text: &str) -> Self {
        match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => match name.strip_suffix('+') {
                Some(name) => Self::Rest(name.to_owned()),
                None => Self::Parameter(name.to_owned()),
            },
            None => Self::Exact(text.to_owned()),
        }
    }
}

/// `%41` to `A`; what is no escape stays, bytes that are no text become the replacement character.
fn percent_decode(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let escape = bytes.get(index + 1..index + 3).filter(|_| bytes[index] == b'%');
        let byte = escape.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        decoded.push(byte.unwrap_or(bytes[index]));
        index += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(declared: &[&str]) -> Routes {
        let route = |line: &&str| {
            let (method, path) = line.split_once(' ').unwrap();
            Route {
                method: method.to_owned(),
                segments: path.trim_start_matches('/').split('/').map(Segment::parse).collect(),
                key: (*line).to_owned(),
                function: "F".to_owned(),
                auth: true,
            }
        };
        Routes { routes: declared.iter().map(route).collect() }
    }

    #[test]
    fn the_most_specific_route_wins() {
        let routes = routes(&[
            "ANY /{proxy+}",
            "GET /v1/{id}",
            "GET /v1/models",
            "GET /v1/{id}/complete",
            "ANY /v1/models",
            "GET /v1/files/{path+}",
            "GET /v1/files/{id}",
        ]);
        for (request, expected) in [
            ("GET /v1/models", "GET /v1/models"),
            ("POST /v1/models", "ANY /v1/models"),
            ("GET /v1/other", "GET /v1/{id}"),
            ("GET /v1/a/complete", "GET /v1/{id}/complete"),
            ("GET /v1/files/a", "GET /v1/files/{id}"),
            ("GET /v1/files/a/b", "GET /v1/files/{path+}"),
            ("GET /v2", "ANY /{proxy+}"),
            ("DELETE /v1/other", "ANY /{proxy+}"),
        ] {
            let (method, path) = request.split_once(' ').unwrap();
            assert_eq!(routes.find(method, path).unwrap().route_key, expected, "{request}");
        }
    }

    #[test]
    fn what_no_route_takes_is_not_found() {
        let routes = routes(&["GET /v1/models", "GET /v1/models/{id}"]);
        for request in ["HEAD /v1/models", "GET /v1/models/", "GET /v1", "GET /v1/models/a/b", "GET /", "OPTIONS /v1/models"] {
            let (method, path) = request.split_once(' ').unwrap();
            assert!(routes.find(method, path).is_none(), "{request}");
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let routes = routes(&["GET /a/{x}/{y}", "GET /files/{rest+}"]);
        let parameters = |path: &str| routes.find("GET", path).unwrap().parameters;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(parameters("/a/b%20c%2Fd/%D0%B6+%"), [pair("x", "b c/d"), pair("y", "ж+%")]);
        assert_eq!(parameters("/files/a/b%20c"), [pair("rest", "a/b c")]);
    }
}
