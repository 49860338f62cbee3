//! `/v1/log-level` on the admin socket: which diagnostics are written, from here on.
//!
//! `GET` tells it, `PUT` with another one as its body changes it: `info`, or
//! `info,vestibule_sidecar=debug`. It holds until the process ends.

use std::error::Error;

use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Limited};
use vestibule::ApiError;

use super::{Answer, text};
use crate::config::LogLevel;
use crate::log::Log;

/// Where it is asked for.
pub(super) const PATH: &str = "/v1/log-level";

/// Answers a request for the level; there is none where the program writes a log of its own.
pub(super) async fn answer<B>(log: Option<&Log>, request: Request<B>) -> Answer
where
    B: http_body::Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let Some(log) = log else {
        return ApiError::endpoint_not_found().into_response();
    };
    match *request.method() {
        Method::GET => {}
        Method::PUT => match level(request.into_body()).await {
            Ok(level) => {
                log.set_level(&level);
                tracing::info!(?level, "the level of the log was changed");
            }
            Err(refusal) => return refusal.into_response(),
        },
        _ => {
            let allow = HeaderValue::from_static("GET, PUT");
            return ApiError::method_not_allowed(allow).into_response();
        }
    }
    text(format!("{}\n", log.level()))
}

async fn level<B>(body: B) -> Result<LogLevel, ApiError>
where
    B: http_body::Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let body = Limited::new(body, LEVEL_MAX).collect().await;
    let body = body.map_err(|_| ApiError::payload_too_large(LEVEL_MAX as u64))?;
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let wanted = |wanted| ApiError::invalid_request_body(format!("The body must be {wanted}."));
    LogLevel::parse(text.trim()).map_err(wanted)
}

/// Bytes of a level.
const LEVEL_MAX: usize = 1024;
