//! The Cloud API over the network: one POST, never repeated.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};
use reqwest::Url;
use tracing::debug;

use super::{CloudApi, Reply};
use crate::config::Secret;

/// A client of Meta's Graph host, or of a stand-in for it.
///
/// Cheap to clone; the clones share one pool of connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Read once: a name is looked at letter by letter.
    base: Url,
    authorization: HeaderValue,
}

/// How long Meta may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until there is a connection, TLS included.
    pub connect: Duration,
    /// Until the whole answer is there. Peers wait 30 to 35 s; a shorter wait leaves more
    /// attempts unclear.
    pub whole: Duration,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none that anything can be posted to.
    #[error("the Cloud API's base URL cannot be read")]
    Address(#[source] Box<dyn std::error::Error + Send + Sync>),
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
    pub fn new(
        base_url: &str,
        version: &str,
        token: &Secret,
        timeouts: Timeouts,
    ) -> Result<Self, ClientError> {
        Self::over(http(timeouts), base_url, version, token)
    }

    fn over(
        http: reqwest::ClientBuilder,
        base_url: &str,
        version: &str,
        token: &Secret,
    ) -> Result<Self, ClientError> {
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
            .map_err(|_| ClientError::Token)?;
        authorization.set_sensitive(true);
        let http = http.build().map_err(ClientError::Http)?;
        let base = format!("{}/{version}/", base_url.trim_end_matches('/'));
        let base = Url::parse(&base).map_err(|cause| ClientError::Address(cause.into()))?;
        Ok(Self {
            http,
            base,
            authorization,
        })
    }

    fn to(&self, phone_number_id: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{phone_number_id}/messages", self.base.path()));
        url
    }

    async fn post(&self, phone_number_id: &str, body: Bytes) -> Result<Reply, reqwest::Error> {
        let mut response = self
            .http
            .post(self.to(phone_number_id))
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
                let reply = match is_unsent(&cause) {
                    true => Reply::NotSent,
                    false => Reply::Lost,
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
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}

/// Connections that repeat nothing by themselves.
fn http(timeouts: Timeouts) -> reqwest::ClientBuilder {
    // The TLS library takes its cryptography from the process; who came first, wins.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .connect_timeout(timeouts.connect)
        .timeout(timeouts.whole)
        .redirect(reqwest::redirect::Policy::none())
        // Whether a message may be sent again is decided in one place, and not here.
        .retry(reqwest::retry::never())
        .no_proxy()
        // Connections are kept for the next message, but not for one that comes after
        // Meta has most likely closed them.
        .pool_idle_timeout(IDLE)
        .tcp_nodelay(true)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Whether an error proves that nothing of the request was acted on: there was no
/// connection, the one that was reused had ended before anything was written to it, or
/// the server says over HTTP/2 that it never looked at the stream, by refusing it or by
/// ending the connection with a stream before it (RFC 9113 §8.7).
fn is_unsent(error: &reqwest::Error) -> bool {
    if error.is_connect() || error.is_builder() {
        return true;
    }
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && error.is_canceled()
        {
            return true;
        }
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let is_refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
            // A stream that GOAWAY spares fails as the connection does, with no word of it.
            return error.is_remote() && (is_refused || error.is_go_away());
        }
        cause = error.source();
    }
    false
}

/// Shorter than servers keep a connection that nobody uses.
const IDLE: Duration = Duration::from_secs(50);

/// Meta's answers have a few hundred bytes.
const ANSWER_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

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
            let client = Client::new(&base, "v25.0", &Secret::new("canary"), TIMEOUTS).unwrap();
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

    #[tokio::test]
    async fn a_handshake_that_fails_has_sent_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("https://{}/", listener.local_addr().unwrap());
        let client = Client::new(&base, "v25.0", &Secret::new("canary"), TIMEOUTS).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"this is no TLS\r\n").await.unwrap();
            stream
        });
        let reply = client.send("10", Bytes::from_static(b"{}")).await;
        assert_eq!(reply, Reply::NotSent);
        drop(server.await.unwrap());
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_in_time_is_lost() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap());
        let timeouts = Timeouts {
            whole: Duration::from_millis(50),
            ..TIMEOUTS
        };
        let client = Client::new(&base, "v25.0", &Secret::new("canary"), timeouts).unwrap();
        // The system takes the connection and the request; nobody reads them.
        let reply = client.send("10", Bytes::from_static(b"{}")).await;
        assert_eq!(reply, Reply::Lost);
    }

    #[tokio::test]
    async fn a_connection_is_kept_and_one_that_ended_is_replaced() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap());
        let client = Client::new(&base, "v25.0", &Secret::new("canary"), TIMEOUTS).unwrap();
        let server = tokio::spawn(async move {
            let mut requests = Vec::new();
            for on_one_connection in [2, 1] {
                let (mut stream, _) = listener.accept().await.unwrap();
                for _ in 0..on_one_connection {
                    requests.push(request(&mut stream).await);
                    stream.write_all(KEPT.as_bytes()).await.unwrap();
                }
                // Closed without a word, as servers do with what is idle.
            }
            requests
        });
        for _ in 0..2 {
            let reply = client.send("10", Bytes::from_static(b"{}")).await;
            assert_eq!(reply, answered(200, None));
        }
        // Where the client has not seen the end yet, it writes into it, and cannot tell.
        let mut tries = 0;
        while client.send("10", Bytes::from_static(b"{}")).await != answered(200, None) {
            tries += 1;
            assert!(tries < 10, "the new connection is not used");
        }
        assert_eq!(
            server.await.unwrap().len(),
            3,
            "what was read was sent once"
        );
    }

    #[tokio::test]
    async fn over_http_2_only_the_servers_word_proves_that_nothing_was_sent() {
        let reset = |code| frame(3, 1, &u32::to_be_bytes(code));
        let go_away =
            |last: u32, code: u32| frame(7, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat());
        for (case, answer, want) in [
            ("REFUSED_STREAM", reset(7), Reply::NotSent),
            ("INTERNAL_ERROR", reset(2), Reply::Lost),
            ("CANCEL", reset(8), Reply::Lost),
            ("GOAWAY before us", go_away(0, 0), Reply::NotSent),
            ("calm down", go_away(0, 11), Reply::NotSent),
            ("GOAWAY after us", go_away(1, 0), Reply::Lost),
            ("a fault after us", go_away(1, 2), Reply::Lost),
            ("a frame that is wrong", frame(7, 0, &[0; 4]), Reply::Lost),
            ("an end", Vec::new(), Reply::Lost),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let base = format!("http://{}/", listener.local_addr().unwrap());
            let http = http(TIMEOUTS).http2_prior_knowledge();
            let client = Client::over(http, &base, "v25.0", &Secret::new("canary")).unwrap();
            let requests = Arc::new(AtomicUsize::new(0));
            let server = tokio::spawn(refuse(listener, answer, Arc::clone(&requests)));
            let reply = client.send("10", Bytes::from_static(b"{}")).await;
            assert_eq!(reply, want, "{case}");
            assert_eq!(requests.load(Ordering::SeqCst), 1, "{case}");
            server.abort();
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let client = Client::new("http://x", "v25.0", &Secret::new("canary"), TIMEOUTS).unwrap();
        assert!(!format!("{client:?}").contains("canary"));
        let error =
            Client::new("http://x", "v25.0", &Secret::new("ca\nnary"), TIMEOUTS).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("nary"));
    }

    /// Reads one request, answers it with these bytes, and closes.
    async fn answer_once(listener: TcpListener, answer: &str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = request(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        request
    }

    /// Reads whole requests over HTTP/2, counts them, answers each with these bytes, and
    /// closes.
    async fn refuse(listener: TcpListener, answer: Vec<u8>, requests: Arc<AtomicUsize>) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.unwrap();
            stream.write_all(&frame(4, 0, &[])).await.unwrap();
            loop {
                let mut head = [0; 9];
                stream.read_exact(&mut head).await.unwrap();
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; length as usize];
                stream.read_exact(&mut payload).await.unwrap();
                // The frame of data that ends the stream: nothing was left unsent.
                if head[3] == 0 && head[4] & 1 == 1 {
                    break;
                }
            }
            requests.fetch_add(1, Ordering::SeqCst);
            stream.write_all(&answer).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    }

    /// A frame of HTTP/2 without flags (RFC 9113 §4.1).
    fn frame(kind: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, 0, 0, 0, 0, stream][..], payload].concat()
    }

    async fn request(stream: &mut TcpStream) -> String {
        let mut request = vec![0; 4096];
        let mut read = 0;
        while !request[..read].ends_with(b"{}") {
            read += stream.read(&mut request[read..]).await.unwrap();
        }
        String::from_utf8(request[..read].to_vec()).unwrap()
    }

    fn answered(status: u16, retry_after: Option<u64>) -> Reply {
        Reply::Answered {
            status,
            retry_after: retry_after.map(Duration::from_secs),
            body: Bytes::from_static(b"{}"),
        }
    }

    const KEPT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

    const TIMEOUTS: Timeouts = Timeouts {
        connect: Duration::from_secs(3),
        whole: Duration::from_secs(30),
    };
}
