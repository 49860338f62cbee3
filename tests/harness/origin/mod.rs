//! The service behind the layers: it answers as each request tells it, and notes what it was
//! sent.
//!
//! The instructions are values of the field `X-Origin`, carried out in their order; they are
//! no part of what makes two requests the same one.
//!
//! | instruction | it |
//! |---|---|
//! | `status 201` | answers with this status instead of 200 |
//! | `header Name: value` | adds a field |
//! | `body text` | answers with this text instead of a JSON of what it was sent |
//! | `bytes 300` | answers with so many bytes and declares their number |
//! | `stream 300` | the same, and does not declare it |
//! | `endless` | answers with one byte and never ends |
//! | `cut-body` | breaks off in the middle of the body |
//! | `cut` | ends the connection without an answer |
//! | `panic` | panics |
//! | `never` | never answers |
//! | `wait name` | waits until the test calls [`open`](Origin::open) with this name |
//! | `unread` | answers without reading the body |

mod script;

use std::collections::BTreeSet;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::watch;
use tower::Service;
use vestibule::{ApiError, Body, Claim, CorrelationId, Principal};

use self::script::Script;

/// The service behind the layers.
///
/// See the module docs for its instructions. Clones are one origin.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    shared: Arc<Shared>,
}

/// A request as the origin got it.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its method.
    pub method: String,
    /// Its target.
    pub target: String,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body, as far as it came.
    pub body: Bytes,
    /// Who is calling, where the layers are in the same process.
    pub principal: Option<Principal>,
    /// Under which claim, where the layers are in the same process.
    pub claim: Option<Claim>,
    /// Its id, where the layers are in the same process.
    pub correlation_id: Option<CorrelationId>,
}

/// The origin broke its connection off.
#[derive(Debug, thiserror::Error)]
#[error("the origin was told to break off")]
pub struct BrokenOff;

/// The body of an answer.
pub type AnswerBody = UnsyncBoxBody<Bytes, BrokenOff>;

#[derive(Debug)]
struct Shared {
    received: Mutex<Vec<Received>>,
    open: watch::Sender<BTreeSet<String>>,
}

// === impl Origin ===

impl Origin {
    /// How many requests it has executed.
    pub fn executions(&self) -> usize {
        self.lock().len()
    }

    /// Everything that it was sent.
    pub fn received(&self) -> Vec<Received> {
        self.lock().clone()
    }

    /// What it was sent last.
    ///
    /// # Panics
    ///
    /// Where it was sent nothing.
    pub fn last(&self) -> Received {
        self.lock().last().cloned().expect("the origin was reached")
    }

    /// Lets every request go on that waits, or will wait, for this name.
    pub fn open(&self, name: &str) {
        self.shared
            .open
            .send_modify(|open| open.extend([name.to_owned()]));
    }

    /// Waits until it has begun to execute so many requests.
    pub async fn executes(&self, count: usize) {
        crate::eventually("the origin is reached", || self.executions() >= count).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Received>> {
        self.shared
            .received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer<B>(self, request: Request<B>) -> Result<Response<AnswerBody>, BrokenOff>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Error,
    {
        let (head, body) = request.into_parts();
        let script = Script::read(&head.headers);
        let mut received = Received {
            method: head.method.to_string(),
            target: head.uri.to_string(),
            headers: head.headers,
            body: Bytes::new(),
            principal: head.extensions.get().cloned(),
            claim: head.extensions.get().cloned(),
            correlation_id: head.extensions.get().cloned(),
        };
        if script.reads {
            let Ok(body) = body.collect().await else {
                // Nothing was executed: the client, or a cap, cut the request.
                return Ok(unreadable());
            };
            received.body = body.to_bytes();
        }
        self.lock().push(received.clone());
        self.pass(&script.gates).await;
        script.carry_out(&received).await
    }

    async fn pass(&self, gates: &[String]) {
        let mut open = self.shared.open.subscribe();
        for gate in gates {
            let passed = open.wait_for(|open| open.contains(gate)).await;
            passed.expect("the sender is this origin's own");
        }
    }
}

impl<B> Service<Request<B>> for Origin
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Error,
{
    type Response = Response<AnswerBody>;
    type Error = BrokenOff;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BrokenOff>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BrokenOff>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}

// === impl Received ===

impl Received {
    /// The values of a field, in their order.
    pub fn all(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(name).iter();
        values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    }
}

/// What a handler of a team's own would answer.
fn unreadable() -> Response<AnswerBody> {
    let error = ApiError::malformed_request("The body could not be read to its end.");
    let response: Response<Body<AnswerBody>> = error.into_response();
    response.map(BodyExt::boxed_unsync)
}

// === impl Shared ===

impl Default for Shared {
    fn default() -> Self {
        Self {
            received: Mutex::default(),
            open: watch::Sender::new(BTreeSet::new()),
        }
    }
}
