//! The metrics of requests and stores: one registry, and every label value one of a known set.
//!
//! Routes are the path patterns of the configuration, methods those that HTTP names, statuses
//! their class; everything else is a word of ours. So the number of series is bounded by the
//! configuration, whatever clients send.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::prometheus_text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use vestibule::telemetry::{
    Decisions, IdDecision, KeyDecision, KeyedDecision, LimitDecision, StoreObserver, StoreOutcome,
    StoreStep,
};

use super::passage::{Ending, Passage};
use crate::connection::Refused;
use crate::tls::Reloads;

/// What a sidecar counts. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    registry: Registry,
    in_flight: Gauge,
    requests: Family<RequestLabels, Counter>,
    duration: Family<RouteLabels, Histogram, fn() -> Histogram>,
    upstream: Family<RouteLabels, Histogram, fn() -> Histogram>,
    calls: Family<OutcomeLabels, Counter>,
    refusals: Family<CodeLabels, Counter>,
    received: Counter,
    sent: Counter,
    decided: Decided,
    steps: Family<StepLabels, Counter>,
    step_duration: Family<StepNameLabels, Histogram, fn() -> Histogram>,
    connections: Family<ReasonLabels, Counter>,
    reloads: Family<ReloadLabels, Counter>,
}

/// Whom a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Clients,
    Upstream,
}

/// The decisions of each layer, looked up once instead of with every request.
#[derive(Debug)]
struct Decided {
    id: Vec<Counter>,
    key: Vec<Counter>,
    limit: Vec<Counter>,
    keyed: Vec<Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Arc<str>,
    method: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LayerLabels {
    layer: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    step: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepNameLabels {
    step: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    side: &'static str,
    outcome: &'static str,
}

// === impl Metrics ===

impl Metrics {
    /// Nothing was counted yet. What may happen at any time is shown as zero, so that its
    /// first time is a change.
    pub(crate) fn new() -> Self {
        let decisions = Family::<LayerLabels, Counter>::default();
        let mut counted = Counted {
            registry: Registry::default(),
            in_flight: Gauge::default(),
            requests: Family::default(),
            duration: Family::new_with_constructor(of_requests),
            upstream: Family::new_with_constructor(of_requests),
            calls: Family::default(),
            refusals: Family::default(),
            received: Counter::default(),
            sent: Counter::default(),
            decided: Decided::new(&decisions),
            steps: Family::default(),
            step_duration: Family::new_with_constructor(of_steps),
            connections: Family::default(),
            reloads: Family::default(),
        };
        let mut registry = Registry::with_prefix("vestibule");
        registry.register(
            "layer_decisions",
            "What each layer decided about requests",
            decisions,
        );
        counted.register(&mut registry);
        counted.registry = registry;
        let metrics = Self(Arc::new(counted));
        for refused in [Refused::Tls, Refused::TooMany] {
            drop(metrics.refusals_of(refused));
        }
        for side in [Side::Clients, Side::Upstream] {
            drop(metrics.reloads(side));
        }
        metrics
    }

    /// A request has begun.
    pub(super) fn began(&self) {
        self.0.in_flight.inc();
    }

    /// A request has ended, one way or another.
    pub(super) fn ended(&self, passage: &Passage, decisions: &Decisions, ending: Ending) {
        let counted = &self.0;
        counted.in_flight.dec();
        let route = decisions.route.clone();
        let route = route.unwrap_or_else(|| UNMATCHED.into());
        let requests = RequestLabels {
            route: Arc::clone(&route),
            method: method(passage.method()),
            status: class(ending.status),
        };
        counted.requests.get_or_create(&requests).inc();
        let route = RouteLabels { route };
        let took = passage.age().as_secs_f64();
        counted.duration.get_or_create(&route).observe(took);
        if let Some(call) = passage.call() {
            let took = call.took.as_secs_f64();
            counted.upstream.get_or_create(&route).observe(took);
            let outcome = call.outcome;
            counted
                .calls
                .get_or_create(&OutcomeLabels { outcome })
                .inc();
        }
        counted.received.inc_by(passage.body_bytes());
        counted.sent.inc_by(ending.sent);
        if let Some(code) = decisions.refusal {
            let code = code.name();
            counted.refusals.get_or_create(&CodeLabels { code }).inc();
        }
        counted.decided.note(decisions);
    }

    /// A connection was closed before a request was taken from it.
    pub(crate) fn refused(&self, refused: Refused) {
        self.refusals_of(refused).inc();
    }

    /// What counts how often certificates are read anew.
    pub(crate) fn reloads(&self, side: Side) -> Reloads {
        let side = match side {
            Side::Clients => "clients",
            Side::Upstream => "upstream",
        };
        let counter = |outcome| {
            let labels = ReloadLabels { side, outcome };
            self.0.reloads.get_or_create_owned(&labels)
        };
        Reloads {
            taken: counter("taken"),
            refused: counter("refused"),
        }
    }

    fn refusals_of(&self, refused: Refused) -> Counter {
        let reason = match refused {
            Refused::Tls => "tls",
            Refused::TooMany => "too_many",
        };
        let labels = ReasonLabels { reason };
        self.0.connections.get_or_create_owned(&labels)
    }

    /// Writes everything in the text format of Prometheus.
    pub(crate) fn write(&self, text: &mut String) {
        encode(text, &self.0.registry).expect("a string takes what is written");
    }
}

impl StoreObserver for Metrics {
    fn ended(&self, step: StoreStep, outcome: StoreOutcome, took: Duration) {
        let (step, outcome_word) = (step.as_str(), outcome.as_str());
        let labels = StepLabels {
            step,
            outcome: outcome_word,
        };
        self.0.steps.get_or_create(&labels).inc();
        // A store that was not asked has taken no time.
        if outcome != StoreOutcome::CutOff {
            let name = StepNameLabels { step };
            let duration = self.0.step_duration.get_or_create(&name);
            duration.observe(took.as_secs_f64());
        }
    }
}

// === impl Counted ===

impl Counted {
    fn register(&self, registry: &mut Registry) {
        macro_rules! register {
            ($($field:ident $name:literal $help:literal;)*) => {
                $(registry.register($name, $help, self.$field.clone());)*
            };
        }
        register! {
            in_flight "requests_in_flight" "Requests whose answers have not been given away yet";
            requests "requests" "Requests that are over, by route, method and class of status";
            duration "request_duration_seconds" "From the head of a request to the end of its answer";
            upstream "upstream_duration_seconds" "From a request's being sent on to the head of the service's answer";
            calls "upstream_requests" "Requests that were sent on, by what came of it";
            refusals "refusals" "Errors that the layers or the proxy answered, by code";
            received "received_bytes" "Bytes of the bodies of requests";
            sent "sent_bytes" "Bytes of the bodies of answers";
            steps "store_steps" "Steps at the store, by how they ended";
            step_duration "store_step_duration_seconds" "How long a step at the store took";
            connections "connections_refused" "Connections that were closed before a request was taken from them, by reason";
            reloads "certificate_reloads" "Changed files of certificates, by whom they are for and whether they were taken";
        }
    }
}

// === impl Decided ===

impl Decided {
    fn new(family: &Family<LayerLabels, Counter>) -> Self {
        let counters = |layer, words: Vec<&'static str>| {
            let labels = words.into_iter();
            let labels = labels.map(|outcome| LayerLabels { layer, outcome });
            labels
                .map(|labels| family.get_or_create_owned(&labels))
                .collect()
        };
        macro_rules! words {
            ($kind:ty) => {
                <$kind>::ALL.iter().map(|word| word.as_str()).collect()
            };
        }
        Self {
            id: counters("correlation_id", words!(IdDecision)),
            key: counters("api_key", words!(KeyDecision)),
            limit: counters("rate_limit", words!(LimitDecision)),
            keyed: counters("idempotency", words!(KeyedDecision)),
        }
    }

    fn note(&self, decisions: &Decisions) {
        let at = |counters: &[Counter], index: Option<usize>| {
            if let Some(counter) = index.and_then(|index| counters.get(index)) {
                counter.inc();
            }
        };
        at(&self.id, decisions.id.map(|word| word as usize));
        at(&self.key, decisions.key.map(|word| word as usize));
        at(&self.limit, decisions.limit.map(|word| word as usize));
        at(&self.keyed, decisions.idempotency.map(|word| word as usize));
    }
}

/// A method that HTTP names; any other one is of a client's invention.
pub(super) fn method(method: &Method) -> &'static str {
    let known = [
        (&Method::GET, "GET"),
        (&Method::POST, "POST"),
        (&Method::PUT, "PUT"),
        (&Method::PATCH, "PATCH"),
        (&Method::DELETE, "DELETE"),
        (&Method::HEAD, "HEAD"),
        (&Method::OPTIONS, "OPTIONS"),
        (&Method::TRACE, "TRACE"),
        (&Method::CONNECT, "CONNECT"),
    ];
    let found = known.into_iter().find(|(known, _)| *known == method);
    found.map_or(OTHER_METHOD, |(_, name)| name)
}

/// The class of a status; `none` where the client left before there was one.
fn class(status: Option<StatusCode>) -> &'static str {
    match status.map_or(0, |status| status.as_u16() / 100) {
        0 => "none",
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "other",
    }
}

fn of_requests() -> Histogram {
    Histogram::new(REQUEST_BUCKETS)
}

fn of_steps() -> Histogram {
    Histogram::new(STEP_BUCKETS)
}

/// The method of what is none of HTTP's.
pub(super) const OTHER_METHOD: &str = "_OTHER";

/// The route of what matches none.
const UNMATCHED: &str = "unmatched";

/// Seconds: from what a loopback takes to the longest that a route waits by default.
const REQUEST_BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Seconds: from memory to past the longest that a step may take (contract §7).
const STEP_BUCKETS: [f64; 11] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
];
