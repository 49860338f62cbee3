//! The two spans of a request: its own, and that of its way to the service.

use http::{HeaderMap, Request, StatusCode};
use opentelemetry::trace::{
    Link, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use vestibule::telemetry::Decisions;

use super::super::passage::{Ending, Passage};
use super::attributes;
use super::{Traces, caller, tell};

/// The span of a request, which ends when it is told to.
#[derive(Debug)]
pub(crate) struct ServerSpan {
    traces: Traces,
    context: Context,
}

/// The span of a request's way to the service, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct ClientSpan {
    context: Context,
}

// === impl ServerSpan ===

impl ServerSpan {
    pub(crate) fn begin<B>(traces: &Traces, request: &Request<B>) -> Self {
        let caller = caller(request.headers());
        let mut builder = SpanBuilder::from_name("HTTP").with_kind(SpanKind::Server);
        let parent = match caller {
            Some(caller) if traces.trusts => Context::new().with_remote_span_context(caller),
            Some(caller) => {
                builder = builder.with_links(vec![Link::with_context(without_state(&caller))]);
                Context::new()
            }
            None => Context::new(),
        };
        let span = traces.tracer.build_with_context(builder, &parent);
        let context = Context::new().with_span(span);
        if context.span().is_recording() {
            context.span().set_attributes(attributes::of_head(request));
        }
        Self {
            traces: traces.clone(),
            context,
        }
    }

    /// The request is sent to the service now, which is told of it.
    pub(crate) fn client(&self, headers: &mut HeaderMap, passage: &Passage) -> ClientSpan {
        let method = attributes::method(passage.method());
        let builder = SpanBuilder::from_name(method.name).with_kind(SpanKind::Client);
        let span = self
            .traces
            .tracer
            .build_with_context(builder, &self.context);
        let context = Context::new().with_span(span);
        tell(headers, &context);
        if context.span().is_recording() {
            context.span().set_attributes(method.attributes());
        }
        ClientSpan { context }
    }

    /// The request is over.
    pub(crate) fn ended(&self, passage: &Passage, decisions: &Decisions, ending: Ending) {
        let span = self.context.span();
        if !span.is_recording() {
            return;
        }
        span.update_name(attributes::name(passage, decisions));
        span.set_attributes(attributes::of_end(passage, decisions, ending));
        if ending.status.is_some_and(|status| status.is_server_error()) {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

// === impl ClientSpan ===

impl ClientSpan {
    /// A word for what became of it, and the status where there was an answer.
    pub(crate) fn ended(&self, outcome: &'static str, status: Option<StatusCode>) {
        let span = self.context.span();
        if !span.is_recording() {
            return;
        }
        if let Some(status) = status {
            let status = i64::from(status.as_u16());
            span.set_attribute(KeyValue::new("http.response.status_code", status));
        }
        // For a client a fault of its own is a failure too.
        let is_error = |status: &StatusCode| status.is_client_error() || status.is_server_error();
        let error = match status {
            Some(status) if is_error(&status) => Some(status.as_str().to_owned()),
            Some(_) => None,
            None => Some(outcome.to_owned()),
        };
        if let Some(error) = error {
            span.set_attribute(KeyValue::new("error.type", error));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// What others may have written, of any meaning and length, is not kept of a caller that is
/// not trusted.
fn without_state(caller: &SpanContext) -> SpanContext {
    SpanContext::new(
        caller.trace_id(),
        caller.span_id(),
        caller.trace_flags(),
        true,
        TraceState::NONE,
    )
}
