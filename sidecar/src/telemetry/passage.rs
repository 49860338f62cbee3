//! One request on its way: what it is, and what is noted of it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use http_body::Body;
use tokio::time::Instant;
use vestibule::telemetry::{Decisions, Observer};

use super::traces::{ClientSpan, ServerSpan, Traces};
use crate::forwarded::ClientAddress;

/// One request, in its extensions. Clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Passage(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    began: Instant,
    method: Method,
    uri: Uri,
    version: Version,
    client: Option<IpAddr>,
    /// Of the body, where it was said.
    declared: Option<u64>,
    /// Of the body, as far as it went to the service.
    received: AtomicU64,
    upstream: Mutex<Option<Call>>,
    observer: Observer,
    /// None where no spans are made.
    span: Option<ServerSpan>,
}

/// What became of a request at the service behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// A word for how it ended: `answered`, or the fault.
    pub(crate) outcome: &'static str,
    /// Until the head of the answer.
    pub(crate) took: Duration,
}

/// A request that is at the service. What became of it is noted when this is dropped.
#[derive(Debug)]
pub(crate) struct Calling {
    passage: Passage,
    began: Instant,
    outcome: &'static str,
    status: Option<StatusCode>,
    span: Option<ClientSpan>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ending {
    /// Of the answer; none where the client left before it.
    pub(crate) status: Option<StatusCode>,
    /// Bytes of the answer's body that were given away.
    pub(crate) sent: u64,
    /// Whether all of the answer was given away.
    pub(crate) is_whole: bool,
}

// === impl Passage ===

impl Passage {
    /// A request whose head has been read, and of which the layers will tell.
    pub(crate) fn begin<B: Body>(request: &mut Request<B>, traces: Option<&Traces>) -> Self {
        let observer = Observer::new();
        let client: Option<&ClientAddress> = request.extensions().get();
        let facts = Facts {
            began: Instant::now(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            client: client.and_then(|client| client.address),
            declared: request.body().size_hint().exact(),
            received: AtomicU64::new(0),
            upstream: Mutex::new(None),
            observer: observer.clone(),
            span: traces.map(|traces| ServerSpan::begin(traces, request)),
        };
        let passage = Self(Arc::new(facts));
        request.extensions_mut().insert(observer);
        request.extensions_mut().insert(passage.clone());
        passage
    }

    /// So many bytes of the body have arrived.
    pub(crate) fn received(&self, bytes: usize) {
        self.0.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// It is sent to the service now, with these fields, which say whose trace it belongs to
    /// where there is one.
    pub(crate) fn calling(self, headers: &mut HeaderMap) -> Calling {
        let span = self.0.span.as_ref();
        Calling {
            span: span.map(|span| span.client(headers, &self)),
            passage: self,
            began: Instant::now(),
            outcome: "abandoned",
            status: None,
        }
    }

    /// How long it has taken so far.
    pub(crate) fn age(&self) -> Duration {
        self.0.began.elapsed()
    }

    pub(crate) fn method(&self) -> &Method {
        &self.0.method
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.0.uri
    }

    pub(crate) fn version(&self) -> Version {
        self.0.version
    }

    /// Who is calling.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        self.0.client
    }

    /// What became of it at the service; none where it never got there.
    pub(crate) fn call(&self) -> Option<Call> {
        *self.call_mut()
    }

    /// Bytes of the request's body.
    pub(crate) fn body_bytes(&self) -> u64 {
        let received = || self.0.received.load(Ordering::Relaxed);
        self.0.declared.unwrap_or_else(received)
    }

    /// Its span, where there is one.
    pub(super) fn span(&self) -> Option<&ServerSpan> {
        self.0.span.as_ref()
    }

    /// What the layers decided.
    pub(crate) fn decisions(&self) -> Decisions {
        self.0.observer.decisions()
    }

    fn call_mut(&self) -> std::sync::MutexGuard<'_, Option<Call>> {
        let held = self.0.upstream.lock();
        held.unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Calling ===

impl Calling {
    /// The service has answered, with this status, or failed; a word for it.
    pub(crate) fn ended(mut self, outcome: &'static str, status: Option<StatusCode>) {
        self.outcome = outcome;
        self.status = status;
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        *self.passage.call_mut() = Some(Call {
            outcome: self.outcome,
            took: self.began.elapsed(),
        });
        if let Some(span) = &self.span {
            span.ended(self.outcome, self.status);
        }
    }
}
