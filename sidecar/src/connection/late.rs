//! The answer to a head that did not come to its end in time: hyper has not seen a request,
//! and would close the connection without a word.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use vestibule::clock::{Clock as _, SystemClock};
use vestibule::entropy::{Entropy as _, SystemEntropy};
use vestibule::error::render;
use vestibule::{ApiError, Body, CorrelationId, ErrorFormat, header};

/// Answers, and closes the connection.
pub(super) async fn answer<I: AsyncWrite + Unpin>(mut io: I, format: &ErrorFormat) {
    let text = refusal(format).await;
    // A client that does not send may not read either.
    let _ = timeout(PATIENCE, async {
        io.write_all(text.as_bytes()).await?;
        io.shutdown().await
    })
    .await;
}

async fn refusal(format: &ErrorFormat) -> String {
    let id = CorrelationId::mint(SystemClock.now(), SystemEntropy.draw());
    let mut response: Response<Body<Full<Bytes>>> = ApiError::request_timeout().into_response();
    render(&mut response, format, &id);
    response
        .headers_mut()
        .insert(header::X_CORRELATION_ID, id.into_header_value());
    let (head, body) = response.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes());
    let body = body.unwrap_or_default();
    let mut text = format!("HTTP/1.1 {}\r\nconnection: close\r\n", head.status);
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        write!(text, "{name}: {value}\r\n").expect("a string takes what is written");
    }
    let length = body.len();
    let body = String::from_utf8_lossy(&body);
    write!(text, "content-length: {length}\r\n\r\n{body}").expect("a string takes what is written");
    text
}

/// The answer is short, and so is the time that is spent on it.
const PATIENCE: Duration = Duration::from_secs(2);
