//! `POST /v1/explain` on the admin socket: what `vestibule explain --admin` asks of a running
//! sidecar.

use std::error::Error;

use http::{Method, Request};
use serde_json::Value;
use vestibule::ApiError;

use super::{Answer, answered, json_of, not_allowed};
use crate::explain::wire;
use crate::lifecycle::Lifecycle;

/// Where it is asked.
pub(super) const PATH: &str = wire::PATH;

/// Explains the request that was sent as JSON.
pub(super) async fn answer<B>(life: &Lifecycle, request: Request<B>) -> Answer
where
    B: http_body::Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    answered(explained(life, request).await)
}

async fn explained<B>(life: &Lifecycle, request: Request<B>) -> Result<Value, ApiError>
where
    B: http_body::Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    if request.method() != Method::POST {
        return Err(not_allowed("POST"));
    }
    let asked = wire::read(&json_of(request.into_body()).await?);
    let asked = asked.map_err(|fault| ApiError::invalid_request_body(fault.to_string()))?;
    // Until the stack has been built every request waits.
    let explainer = life
        .explainer()
        .ok_or_else(ApiError::upstream_unavailable)?;
    let told = explainer.explain(asked).await;
    serde_json::to_value(told).map_err(|_| ApiError::internal())
}
