//! What state the process is in: readiness with its reason, the stores, the configuration.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Response};
use serde_json::{Value, json};
use vestibule::{ApiError, Body};

use super::{Answer, text};
use crate::lifecycle::{Lifecycle, Stage};

/// The configuration in force, on the admin socket.
pub(super) const CONFIG: &str = "/v1/config";

/// How the stores are, on the admin socket.
pub(super) const STORES: &str = "/v1/stores";

/// Ready means: stores and keys have been read, and the end has not begun. Who asks is told
/// why not.
pub(super) fn readiness(life: &Lifecycle) -> Answer {
    let (stage, reason) = match life.stage() {
        Stage::Ready => return object(&json!({ "ready": true, "stage": "ready" })),
        Stage::Starting => ("starting", "stores and keys are being read"),
        Stage::Lagging => (
            "lagging",
            "the end has begun; connections are taken until load balancers have heard of it",
        ),
        Stage::Draining => ("draining", "the end has begun; no connection is taken"),
    };
    let mut answer = object(&json!({ "ready": false, "stage": stage, "reason": reason }));
    *answer.status_mut() = ApiError::upstream_unavailable().status();
    answer
}

/// What is answered to who may see everything.
pub(super) fn answer(life: &Lifecycle, method: &Method, path: &str) -> Answer {
    if method != Method::GET {
        let allow = HeaderValue::from_static("GET");
        return ApiError::method_not_allowed(allow).into_response();
    }
    match path {
        CONFIG => text(life.shown().configuration()),
        _ => object(&stores(life)),
    }
}

/// The figures are those of the metrics; none where the stack has not been built yet.
fn stores(life: &Lifecycle) -> Value {
    let figure = |name| life.gauges().value(name);
    let is = |name| figure(name).map(|value| value > 0.0);
    json!({
        "store": {
            "is_cut_off": is("vestibule_store_cut_off"),
            "keyed_requests_running": figure("vestibule_keyed_requests_running"),
        },
        "keys": {
            "is_lost": is("vestibule_key_store_lost"),
            "record_age_seconds": figure("vestibule_key_record_age_seconds"),
        },
        "upstreams_well": figure("vestibule_upstreams_well"),
    })
}

fn object(value: &Value) -> Answer {
    let mut answer = Response::new(Body::full(value.to_string()));
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}
