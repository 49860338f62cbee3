//! The Cloud API over the network: one POST, never repeated.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};
use tracing::debug;

use super::{CloudApi, Reply};
use crate::config::Secret;

/// A client of Meta's Graph host, or of a stand-in for it.
///
/// Cheap to clone; the clones share one pool of connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Box<str>,
    authorization: HeaderValue,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The token cannot be written into a header.
    #[error("the Cloud API's token has a character that no header can carry")]
    Token,
    /// TLS could not be set up.
    #[error("the Cloud API's client could not be set up")]
    Http(#[source] reqwest::Error),
}

// === impl Client ===

impl Client {
    /// A client that posts to `{base_url}/{version}/{phone number id}/messages`.
    ///
    /// # Errors
    ///
    /// [`ClientError`] where the token is no header value or TLS cannot be set up.
    pub fn new(base_url: &str, version: &str, token: &Secret) -> Result<Self, ClientError> {
        // The TLS library takes its cryptography from the process; who came first, wins.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
            .map_err(|_| ClientError::Token)?;
        authorization.set_sensitive(true);
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .redirect(reqwest::redirect::Policy::none())
            // Whether a message may be sent again is decided in one place, and not here.
            .retry(reqwest::retry::never())
            .no_proxy()
            .build()
            .map_err(ClientError::Http)?;
        let base = format!("{}/{version}/", base_url.trim_end_matches('/')).into();
        Ok(Self {
            http,
            base,
            authorization,
        })
    }

    async fn post(&self, phone_number_id: &str, body: Bytes) -> Result<Reply, reqwest::Error> {
        let mut response = self
            .http
            .post(format!("{}{phone_number_id}/messages", self.base))
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .send()
            .await?;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_MAX {
                return Ok(Reply::Lost);
            }
        }
        Ok(Reply::Answered {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers()),
            body: body.freeze(),
        })
    }
}

impl CloudApi for Client {
    async fn send(&self, phone_number_id: &str, body: Bytes) -> Reply {
        self.post(phone_number_id, body)
            .await
            .unwrap_or_else(|cause| {
                let reply = if cause.is_connect() || cause.is_builder() {
                    Reply::NotSent
                } else {
                    Reply::Lost
                };
                let cause = cause.without_url();
                debug!(?cause, ?reply, "the Cloud API gave no whole answer");
                reply
            })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Long enough for a handshake across the world, short enough to try again soon.
const CONNECT: Duration = Duration::from_secs(3);

/// Peers wait 30 to 35 s; a shorter wait leaves more attempts unclear.
const WHOLE: Duration = Duration::from_secs(30);

/// Meta's answers have a few hundred bytes.
const ANSWER_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn only_a_missing_connection_proves_that_nothing_was_sent() {
        for (answer, want) in [
            (None, Reply::NotSent),
            (Some(""), Reply::Lost),
            (
                Some("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"),
                Reply::Lost,
            ),
            (Some("what?\r\n\r\n"), Reply::Lost),
            (
                Some("HTTP/1.1 400 Bad Request\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\n{}"),
                answered(400, Some(7)),
            ),
            (
                Some(
                    "HTTP/1.1 307 Temporary Redirect\r\nlocation: /x\r\ncontent-length: 2\r\n\r\n{}",
                ),
                answered(307, None),
            ),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let base = format!("http://{}/", listener.local_addr().unwrap());
            let client = Client::new(&base, "v25.0", &Secret::new("canary")).unwrap();
            let server = match answer {
                Some(answer) => Some(tokio::spawn(answer_once(listener, answer))),
                None => {
                    drop(listener);
                    None
                }
            };
            let reply = client.send("10", Bytes::from_static(b"{}")).await;
            assert_eq!(reply, want, "{answer:?}");
            if let Some(server) = server {
                let head = server.await.unwrap();
                assert!(
                    head.starts_with("POST /v25.0/10/messages HTTP/1.1\r\n"),
                    "{head}"
                );
                assert!(head.contains("authorization: Bearer canary\r\n"), "{head}");
            }
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let client = Client::new("http://x", "v25.0", &Secret::new("canary")).unwrap();
        assert!(!format!("{client:?}").contains("canary"));
        let error = Client::new("http://x", "v25.0", &Secret::new("ca\nnary")).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("nary"));
    }

    /// Reads one request, answers it with these bytes, and closes.
    async fn answer_once(listener: TcpListener, answer: &str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let mut read = 0;
        while !request[..read].ends_with(b"{}") {
            read += stream.read(&mut request[read..]).await.unwrap();
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request[..read].to_vec()).unwrap()
    }

    fn answered(status: u16, retry_after: Option<u64>) -> Reply {
        Reply::Answered {
            status,
            retry_after: retry_after.map(Duration::from_secs),
            body: Bytes::from_static(b"{}"),
        }
    }
}
