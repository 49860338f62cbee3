//! Health, readiness and metrics, on a listener of their own that outlives the drain; on a
//! Unix socket, where nobody but the owner of the process comes, everything else.
//!
//! | request | answer | where |
//! |---|---|---|
//! | `GET /healthz` | 200 as long as the process answers at all | everywhere |
//! | `GET /readyz` | 200, or 503 with the reason, in JSON | everywhere |
//! | `GET /metrics` | the metrics, in the text format of Prometheus | everywhere |
//! | `GET /v1/config` | the configuration in force, without its secrets | socket |
//! | `GET /v1/stores` | how the stores are, in JSON | socket |
//! | `GET`, `PUT /v1/log-level` | which diagnostics are written | socket |
//! | `/v1/keys` | key records, where they are in the store | socket |
//! | `POST /v1/explain` | what would become of a request | socket |
//! | `POST /v1/drain` | 202: the end begins | socket |

mod drain;
mod explain;
mod keys;
mod log_level;
mod state;

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use prometheus_client::encoding::prometheus_text;
use serde_json::Value;
use tower_service::Service;
use vestibule::{ApiError, Body};

use crate::config::Address;
use crate::keys::wire::BODY_MAX;
use crate::lifecycle::{Lifecycle, Stage};

/// Answers `/healthz`, `/readyz` and `/metrics`, and `/v1/keys` to whoever may.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    life: Arc<Lifecycle>,
    /// Whether nobody but the owner of the process gets here.
    is_private: bool,
}

type Answer = Response<Body<Full<Bytes>>>;

/// A gauge of the process itself.
type Own = (&'static str, &'static str, fn(&Lifecycle) -> f64);

const OWN: [Own; 2] = [
    ("vestibule_ready", "Whether requests are served.", |life| {
        f64::from(u8::from(life.stage() == Stage::Ready))
    }),
    (
        "vestibule_connections",
        "Connections that are open.",
        |life| life.connections() as f64,
    ),
];

// === impl Admin ===

impl Admin {
    pub(crate) fn new(life: Arc<Lifecycle>) -> Self {
        for (name, help, read) in OWN {
            let shown = Arc::downgrade(&life);
            let read = move || shown.upgrade().map_or(0.0, |life| read(&life));
            life.gauges().show(name, help, read);
        }
        Self {
            life,
            is_private: false,
        }
    }

    /// The same on one of its addresses.
    pub(crate) fn at(&self, address: &Address) -> Self {
        Self {
            life: Arc::clone(&self.life),
            is_private: matches!(address, Address::Unix(_)),
        }
    }

    fn answer(&self, method: &Method, path: &str) -> Answer {
        if !matches!(path, "/healthz" | "/readyz" | "/metrics") {
            return ApiError::endpoint_not_found().into_response();
        }
        if ![Method::GET, Method::HEAD].contains(method) {
            let allow = HeaderValue::from_static("GET, HEAD");
            return ApiError::method_not_allowed(allow).into_response();
        }
        let mut answer = match path {
            "/healthz" => text("ok\n"),
            "/readyz" => state::readiness(&self.life),
            _ => self.metrics(),
        };
        let fresh = HeaderValue::from_static("no-store");
        answer.headers_mut().insert(CACHE_CONTROL, fresh);
        answer
    }

    fn metrics(&self) -> Answer {
        let mut written = String::new();
        self.life.gauges().write(&mut written);
        self.life.metrics().write(&mut written);
        let mut answer = text(written);
        let kind = HeaderValue::from_static(prometheus_text::CONTENT_TYPE);
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        answer
    }
}

impl<B> Service<Request<B>> for Admin
where
    B: http_body::Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let admin = self.clone();
        Box::pin(async move {
            let (life, path) = (&admin.life, request.uri().path());
            if !admin.is_private {
                return Ok(admin.answer(request.method(), path));
            }
            Ok(match (path, life.keys()) {
                (drain::PATH, _) => drain::answer(life, request.method()),
                (explain::PATH, _) => explain::answer(life, request).await,
                (log_level::PATH, _) => log_level::answer(life.shown().log(), request).await,
                (state::CONFIG | state::STORES, _) => state::answer(life, request.method(), path),
                (path, Some(keys)) if path.starts_with(keys::PATH) => {
                    keys::answer(keys, request).await
                }
                (path, _) => admin.answer(request.method(), path),
            })
        })
    }
}

/// JSON, or why there is none.
fn answered(json: Result<Value, ApiError>) -> Answer {
    let mut answer = json.map_or_else(ApiError::into_response, |json| {
        let mut answer = Response::new(Body::full(json.to_string()));
        let json = HeaderValue::from_static("application/json");
        answer.headers_mut().insert(CONTENT_TYPE, json);
        answer
    });
    let fresh = HeaderValue::from_static("no-store");
    answer.headers_mut().insert(CACHE_CONTROL, fresh);
    answer
}

/// The JSON that was sent.
async fn json_of<B>(body: B) -> Result<Value, ApiError>
where
    B: http_body::Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let body = Limited::new(body, BODY_MAX).collect().await;
    let body = body.map_err(|_| ApiError::payload_too_large(BODY_MAX as u64))?;
    let not_json = |_| ApiError::invalid_request_body("The body must be JSON.");
    serde_json::from_slice(&body.to_bytes()).map_err(not_json)
}

fn not_allowed(methods: &'static str) -> ApiError {
    ApiError::method_not_allowed(HeaderValue::from_static(methods))
}

fn text(text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Body::full(text));
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}

#[cfg(test)]
mod tests {
    use crate::config::Drain;
    use crate::lifecycle::Order;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn readiness_follows_the_life_of_the_process() {
        let life = Lifecycle::new(Drain::default());
        let admin = Admin::new(Arc::clone(&life));
        let status = |path| admin.answer(&Method::GET, path).status().as_u16();
        assert_eq!(
            (status("/healthz"), status("/readyz")),
            (200, 503),
            "starting"
        );
        life.ready();
        assert_eq!((status("/healthz"), status("/readyz")), (200, 200), "ready");
        life.tell(Order::Drain);
        life.run(false).await;
        assert_eq!(
            (status("/healthz"), status("/readyz")),
            (200, 503),
            "draining"
        );
    }

    #[test]
    fn what_is_not_there_is_said_to_be_not_there() {
        let admin = Admin::new(Lifecycle::new(Drain::default()));
        for (method, path, want) in [
            (Method::GET, "/", 404),
            (Method::GET, "/healthz/", 404),
            (Method::POST, "/healthz", 405),
            (Method::HEAD, "/healthz", 200),
            (Method::GET, "/metrics", 200),
            (Method::GET, "/v1/keys", 404),
            (Method::POST, "/v1/drain", 404),
            (Method::POST, "/v1/explain", 404),
            (Method::GET, "/v1/config", 404),
            (Method::GET, "/v1/stores", 404),
            (Method::PUT, "/v1/log-level", 404),
        ] {
            let status = admin.answer(&method, path).status().as_u16();
            assert_eq!(status, want, "{method} {path}");
        }
    }
}
