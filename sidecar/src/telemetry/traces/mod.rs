//! Spans of requests, sent to a collector in OTLP: one of the server for each request, and
//! inside of it one of the client for its way to the service.
//!
//! Whose trace it is: by default a new one, with a link to the caller's, because whoever
//! calls could otherwise have every request sampled, or write into other traces. Behind
//! callers that are trusted it is theirs, and so is the decision on sampling. The service is
//! told of the span of the client, sampled or not (W3C Trace Context).

mod attributes;
mod queue;
mod spans;

use http::HeaderMap;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanContext, TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
    WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanExporter as _};

use self::queue::Queue;
pub(super) use self::spans::{ClientSpan, ServerSpan};
use crate::config::{self, TraceProtocol};

/// What spans are made with, and where they go. Clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Traces {
    tracer: SdkTracer,
    queue: Queue,
    trusts: bool,
}

// === impl Traces ===

impl Traces {
    /// Starts sending to the collector of the configuration; nothing where there is none. It
    /// needs a runtime, in which one task sends. Whether anybody listens is not asked.
    ///
    /// # Errors
    ///
    /// Where the address of the collector is none.
    pub(crate) fn start(config: &config::Traces) -> Result<Option<Self>, ExporterBuildError> {
        let Some(collector) = &config.otlp else {
            return Ok(None);
        };
        let exporter = exporter(collector, config.protocol)?;
        Ok(Some(Self::by(config, Queue::to(exporter))))
    }

    fn by(config: &config::Traces, queue: Queue) -> Self {
        let root = Sampler::TraceIdRatioBased(config.sampling);
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(root)))
            .with_resource(resource())
            .with_span_processor(queue.clone())
            .build();
        Self {
            tracer: provider.tracer("vestibule"),
            queue,
            trusts: config.trust_traceparent,
        }
    }

    /// How many spans found no room, or could not be delivered.
    pub(crate) fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Sends what has ended, unless that takes longer than two seconds.
    pub(crate) async fn flush(&self) {
        self.queue.flush().await;
    }
}

fn exporter(collector: &str, protocol: TraceProtocol) -> Result<SpanExporter, ExporterBuildError> {
    // A batch is not sent twice: a collector that is down would be asked ever more.
    let once = opentelemetry_otlp::RetryPolicy::disabled();
    let mut exporter = match protocol {
        TraceProtocol::Grpc => SpanExporter::builder()
            .with_tonic()
            .with_endpoint(collector)
            .with_timeout(queue::SENT_WITHIN)
            .with_retry_policy(once)
            .build(),
        TraceProtocol::Http => SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", collector.trim_end_matches('/')))
            .with_timeout(queue::SENT_WITHIN)
            .with_retry_policy(once)
            .build(),
    }?;
    exporter.set_resource(&resource());
    Ok(exporter)
}

/// Who sends; `OTEL_RESOURCE_ATTRIBUTES` may add to it.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_service_name("vestibule");
    resource.with_attribute(version).build()
}

/// The caller's span, where it says a good one, and says it once.
fn caller(headers: &HeaderMap) -> Option<SpanContext> {
    if headers.get_all(TRACEPARENT).iter().count() != 1 {
        return None;
    }
    let fields = HeaderExtractor(headers);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &fields);
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

/// Tells the service of a span, in place of the caller's.
fn tell(headers: &mut HeaderMap, context: &Context) {
    headers.remove(TRACEPARENT);
    headers.remove(TRACESTATE);
    TraceContextPropagator::new().inject_context(context, &mut HeaderInjector(headers));
    if headers
        .get(TRACESTATE)
        .is_some_and(|state| state.is_empty())
    {
        headers.remove(TRACESTATE);
    }
}

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

#[cfg(test)]
mod tests;
