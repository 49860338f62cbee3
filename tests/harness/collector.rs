//! A receiver of spans in OTLP, over gRPC and over HTTP, that keeps what it is sent.

use std::convert::Infallible;
use std::mem::take;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::serving::Serving;

/// A receiver that serves, until it is dropped.
#[derive(Debug)]
pub struct Collector {
    kept: Kept,
    serving: Serving,
}

/// Where spans are kept. Clones are one.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<Span>>>);

type Taken = BoxBody<Bytes, Infallible>;

// === impl Collector ===

impl Collector {
    /// Takes spans on a free port, in either way.
    pub async fn start() -> Self {
        let kept = Kept::default();
        let taking = kept.clone();
        let service = tower::service_fn(move |request| taking.clone().receive(request));
        let serving = Serving::start(service).await;
        Self { kept, serving }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.serving.address
    }

    /// The spans that came since they were last taken.
    pub fn take(&self) -> Vec<Span> {
        take(&mut *self.kept.lock())
    }
}

// === impl Kept ===

impl Kept {
    /// # Panics
    ///
    /// Where it is sent anything else.
    async fn receive(self, request: Request<Incoming>) -> Result<Response<Taken>, Infallible> {
        let is_grpc = request.uri().path() == GRPC;
        assert!(is_grpc || request.uri().path() == "/v1/traces");
        let body = request.into_body().collect().await;
        let body = body.expect("the sender stays until it is answered");
        let body = body.to_bytes();
        // A message of gRPC has five bytes before it: not compressed, and its length.
        let message = if is_grpc { body.slice(5..) } else { body };
        let export = ExportTraceServiceRequest::decode(message).expect("it is an export");
        for spans in export.resource_spans {
            let resource = spans.resource.expect("it says who sends");
            let mut about = resource.attributes.iter();
            assert!(about.any(|one| one.key == "service.name"));
            let scopes = spans.scope_spans.into_iter();
            self.lock().extend(scopes.flat_map(|scope| scope.spans));
        }
        let (kind, body) = match is_grpc {
            true => ("application/grpc", &[0; 5][..]),
            false => ("application/x-protobuf", &[][..]),
        };
        // gRPC says after its message how it went.
        let status = HeaderMap::from_iter([(
            HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("0"),
        )]);
        let body = Full::new(Bytes::from_static(body));
        let body = body.with_trailers(std::future::ready(Some(Ok(status))));
        let response = Response::builder().header("content-type", kind);
        Ok(response.body(body.boxed()).expect("it is well-formed"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Span>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const GRPC: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
