//! One question to the admin socket of a running sidecar, and its answer.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;
use vestibule::error::StoreError;

/// Sends JSON where there is some, and reads JSON.
pub(crate) async fn ask(
    socket: &Path,
    path: &str,
    body: Option<Value>,
) -> Result<(StatusCode, Value), StoreError> {
    let answer = timeout(WITHIN, exchange(socket, path, body)).await;
    answer.unwrap_or_else(|late| Err(StoreError::unanswered().because(late)))
}

async fn exchange(
    socket: &Path,
    path: &str,
    body: Option<Value>,
) -> Result<(StatusCode, Value), StoreError> {
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|cause| StoreError::not_sent().because(cause))?;
    let unanswered = |cause: hyper::Error| StoreError::unanswered().because(cause);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(unanswered)?;
    tokio::spawn(connection);
    let request = match body {
        None => Request::get(path),
        Some(_) => Request::post(path).header(CONTENT_TYPE, "application/json"),
    };
    let body = body.map(|json| Bytes::from(json.to_string()));
    let request = request
        .header(HOST, "admin")
        .body(Full::new(body.unwrap_or_default()))
        .map_err(|cause| StoreError::not_sent().because(cause))?;
    let answer = sender.send_request(request).await.map_err(unanswered)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
    let body = body.map_err(|cause| StoreError::unanswered().because(cause))?;
    let json = serde_json::from_slice(&body.to_bytes());
    let json = json.map_err(|cause| StoreError::unanswered().because(cause))?;
    Ok((status, json))
}

/// As much as the largest page of key records takes.
const ANSWER_MAX: usize = 8 << 20;

/// An import of many keys waits for the disk of the sidecar.
const WITHIN: Duration = Duration::from_secs(30);
