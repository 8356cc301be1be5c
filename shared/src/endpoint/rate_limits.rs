//! Requests a second: the one place where every route with an API key takes its turn.
//!
//! Header fields: draft-ietf-httpapi-ratelimit-headers-10. `q` requests in `w` seconds; `r` would pass now, and `t` is when there are more.

use lambda_http::{Body, Request, Response};

use super::{anybody, authorized, context, problem};
use crate::api::Problem;
use crate::backend::Backend;
use crate::metrics::{self, Sample};
use crate::rate_limit::{Rate, Standing, Verdict};
use crate::store::Bucket;

/// How a limit stands after a request.
#[derive(Clone, Copy)]
struct Limit {
    bucket: Bucket,
    rate: Rate,
    standing: Standing,
}

/// The whole answer to a request: that of `route`, or why there is none, and how the tighter one of the key's and the account's limit stands.
/// `route` does not begin when a limit is reached. A request without a good key is not counted: `route` refuses it.
pub async fn answer(
    backend: &Backend,
    request: &Request,
    route: impl Future<Output = Result<Response<Body>, Problem>>,
) -> Response<Body> {
    let (limit, answer) = match admit(backend, request).await {
        Ok(limit) => (limit, route.await),
        Err(limit) => {
            backend.measure(&[Sample::count(metrics::RATE_LIMITED, &[])]);
            let refusal = limit.refusal();
            (Some(limit), Err(refusal))
        }
    };
    let mut response = answer.unwrap_or_else(|refusal| problem(request, refusal));
    for (name, value) in limit.iter().flat_map(Limit::headers) {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The tighter limit, if there is one; an error: the one that is reached. The key's is first, so that a key that asks too often takes nothing
/// from the account's other keys.
async fn admit(backend: &Backend, request: &Request) -> Result<Option<Limit>, Limit> {
    let Ok(caller) = anybody(backend, request) else { return Ok(None) };
    let limits =
        [(context::KEY_RATE, Bucket::Key(caller.account, caller.key)), (context::ACCOUNT_RATE, Bucket::Account(caller.account))];
    let mut tighter: Option<Limit> = None;
    for (name, bucket) in limits {
        let per_second = authorized(request, name).and_then(|text| text.parse().ok());
        let Some(rate) = per_second.and_then(Rate::new) else { continue };
        match backend.store.admit(bucket, rate, &backend.clock).await {
            Verdict::Pass(standing) => {
                let limit = Limit { bucket, rate, standing };
                tighter = Some(tighter.map_or(limit, |other: Limit| other.tighter(limit)));
            }
            Verdict::Refuse(standing) => return Err(Limit { bucket, rate, standing }),
            Verdict::Unknown => {}
        }
    }
    Ok(tighter)
}

impl Limit {
    fn tighter(self, other: Self) -> Self {
        let left = |limit: &Self| (limit.standing.remaining, limit.rate);
        if left(&other) < left(&self) { other } else { self }
    }

    fn refusal(&self) -> Problem {
        let whose = match self.bucket {
            Bucket::Account(_) => "account",
            Bucket::Key(..) => "API key",
        };
        let (rate, wait_s) = (self.rate.per_second(), self.standing.reset_s);
        let detail = format!("this {whose} may make {rate} requests a second: ask again in {wait_s} s; nothing was done");
        Problem::new(429, "rate_limited", "Too many requests", detail).retry_after(wait_s)
    }

    fn headers(&self) -> [(&'static str, String); 2] {
        let name = match self.bucket {
            Bucket::Account(_) => "account",
            Bucket::Key(..) => "key",
        };
        let Standing { remaining, reset_s } = self.standing;
        [
            ("ratelimit", format!("\"{name}\";r={remaining};t={reset_s}")),
            ("ratelimit-policy", format!("\"{name}\";q={};w=1", self.rate.per_second())),
        ]
    }
}
