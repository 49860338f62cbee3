//! The call of the inner service, within the route's deadline and cap.

use http::{Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;

use crate::body::{Body, Capped, RequestBody, Tripwire};
use crate::error::ApiError;
use crate::future::{Ending, Within, within};
use crate::header::VESTIBULE_REPLAYED;
use crate::rate_limit::Verdict;
use crate::route::{Policy, RouteMatch};

/// Passes on a request that is not charged here: of a public route, or charged and
/// claimed already by the layers that vouch for it.
pub(super) async fn uncharged<T, B, R>(
    mut inner: T,
    request: Request<B>,
    found: RouteMatch,
    is_vouched: bool,
) -> Result<Response<Body<R>>, T::Error>
where
    T: Service<Request<RequestBody<B>>, Response = Response<R>>,
    B: HttpBody,
{
    let judged = found.into_policy().and_then(|policy| {
        policy.judge_length(request.headers())?;
        Ok(policy)
    });
    let policy = match judged {
        Ok(policy) => policy,
        Err(refusal) => return Ok(refusal.into_response()),
    };
    let (call, wire) = call_capped(&mut inner, request, &policy);
    let mut response = answered(call.await, wire.as_ref(), &policy)?;
    if !is_vouched {
        response.headers_mut().remove(VESTIBULE_REPLAYED);
    }
    Ok(response)
}

/// What a call of the inner service came to, within the route's deadline and cap.
pub(super) fn answered<R, E>(
    ending: Ending<Result<Response<R>, E>>,
    wire: Option<&Tripwire>,
    policy: &Policy,
) -> Result<Response<Body<R>>, E> {
    if wire.is_some_and(Tripwire::is_tripped) {
        return Ok(ApiError::payload_too_large(policy.bytes_allowed()).into_response());
    }
    match ending {
        Ending::Answered(answer) => Ok(answer?.map(Body::inner)),
        Ending::Late => Ok(ApiError::timeout().into_response()),
        Ending::Panicked => {
            tracing::error!("a handler panicked");
            Ok(ApiError::internal().into_response())
        }
    }
}

pub(super) fn over_limit<R>(verdict: &Verdict) -> Response<Body<R>> {
    ApiError::rate_limit_exceeded(verdict.limit, verdict.wait).into_response()
}

/// Calls the inner service within the route's deadline and cap. A panic is caught here, so
/// that its answer still tells the caller's budget.
///
/// A body of a known length has been judged by it; only the others need a wire.
pub(super) fn call_capped<T, B>(
    inner: &mut T,
    request: Request<B>,
    policy: &Policy,
) -> (Within<T::Future>, Option<Tripwire>)
where
    T: Service<Request<RequestBody<B>>>,
    B: HttpBody,
{
    let (parts, body) = request.into_parts();
    let cap = policy.bytes_allowed();
    let is_judged = body.size_hint().upper().is_some_and(|most| most <= cap);
    let wire = (!is_judged).then(Tripwire::default);
    let body = Body::inner(Capped::new(body, cap).wired(wire.clone()));
    let call = inner.call(Request::from_parts(parts, body));
    (within(policy.time_allowed(), call), wire)
}
