//! The metrics that prove it works: one registry, filled by the workers and the endpoints.
//!
//! Label values are words of ours or Meta's codes, so their number is bounded.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::cloud_api::{WINDOW_CLOSED, failure};
use crate::delivery::{Hold, Settlement};
use crate::message::Next;
use crate::store::{Applied, Reconciled, Settled};
use crate::window::Verdict;

/// What the service counts. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    attempts: Family<AttemptLabels, Counter>,
    send: Histogram,
    queue: Histogram,
    throttled: Family<CodeLabels, Counter>,
    uncertain: Gauge,
    reconcile: Histogram,
    reconciled: Family<ViaLabels, Counter>,
    duplicates: Counter,
    orphans: Gauge,
    ignored: Counter,
    windows: Family<WindowLabels, Counter>,
    disagreements: Counter,
    holds: Family<HoldLabels, Gauge>,
    shaper: Family<ScopeLabels, Histogram, fn() -> Histogram>,
    waiting: Gauge,
    acks: Histogram,
    lag: Gauge,
    repeated: Counter,
    forgeries: Counter,
    skewed: Counter,
    skipped: Counter,
    unknown: Counter,
}

/// Where a window is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A message is accepted.
    Accept,
    /// A message is sent.
    Dispatch,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    outcome: &'static str,
    code_class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ViaLabels {
    via: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WindowLabels {
    at: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HoldLabels {
    scope: String,
    reason: String,
    code: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScopeLabels {
    scope: &'static str,
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing was counted yet.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            attempts: Family::default(),
            send: seconds(),
            queue: seconds(),
            throttled: Family::default(),
            uncertain: Gauge::default(),
            reconcile: seconds(),
            reconciled: Family::default(),
            duplicates: Counter::default(),
            orphans: Gauge::default(),
            ignored: Counter::default(),
            windows: Family::default(),
            disagreements: Counter::default(),
            holds: Family::default(),
            shaper: Family::new_with_constructor(seconds),
            waiting: Gauge::default(),
            acks: seconds(),
            lag: Gauge::default(),
            repeated: Counter::default(),
            forgeries: Counter::default(),
            skewed: Counter::default(),
            skipped: Counter::default(),
            unknown: Counter::default(),
        };
        let mut registry = Registry::with_prefix("messaging");
        metrics.register(&mut registry);
        metrics.registry = Arc::new(registry);
        metrics.begin();
        metrics
    }

    /// What has not happened yet is shown as zero, so that its first time is a change.
    fn begin(&self) {
        for scope in ["number", "pair"] {
            let _ = self.shaper.get_or_create(&ScopeLabels { scope });
        }
        for via in ["deadline", "status"] {
            let _ = self.reconciled.get_or_create(&ViaLabels { via });
        }
        for at in ["accept", "dispatch"] {
            for result in ["closed", "open", "unknown"] {
                let _ = self.windows.get_or_create(&WindowLabels { at, result });
            }
        }
        let labels = AttemptLabels {
            outcome: "accepted",
            code_class: "none",
        };
        let _ = self.attempts.get_or_create(&labels);
    }

    fn register(&self, registry: &mut Registry) {
        macro_rules! register {
            ($($field:ident $name:literal $help:literal;)*) => {
                $(registry.register($name, $help, self.$field.clone());)*
            };
        }
        register! {
            attempts "attempts" "Attempts to send, by outcome and by what Meta's code asks for";
            send "send_latency_seconds" "From the start of an attempt to its outcome";
            queue "queue_seconds" "From accepted to the attempt that Meta took";
            throttled "throttled" "Refusals that ask for waiting";
            uncertain "uncertain_current" "Messages of which nobody knows whether they were sent";
            reconcile "reconcile_seconds" "From an uncertain attempt to its confirmation";
            reconciled "reconciled" "Uncertain attempts that were cleared up";
            duplicates "duplicate_detected" "Messages that Meta has twice";
            orphans "orphan_status_current" "Statuses of messages that nobody knows";
            ignored "status_regressions_ignored" "Statuses that came after a later one";
            windows "window_check" "Windows that were asked for";
            disagreements "window_disagree" "Windows that Meta called closed and that were open here";
            holds "number_paused" "What is held, by scope and reason";
            shaper "shaper_wait_seconds" "How long messages have to wait so that nothing is too fast";
            waiting "queue_depth" "Messages that wait to be sent";
            acks "webhook_ack_seconds" "From a webhook's arrival to its answer";
            lag "webhook_lag_seconds" "How long the oldest webhook has waited";
            repeated "webhook_duplicates" "Updates that had come before";
            forgeries "webhook_sig_fail" "Webhooks with a wrong signature";
            skewed "clock_skew" "Events that lay in the future";
            skipped "webhook_updates_skipped" "Updates that were not understood";
            unknown "webhook_words_unknown" "Words and fields of webhooks that nobody knows";
        }
    }

    /// Everything, in the text format of Prometheus.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a string takes everything");
        text
    }

    /// An attempt has ended after this long.
    pub fn attempted(&self, settlement: &Settlement, took: Duration) {
        let code = settlement
            .refusal
            .as_ref()
            .map_or(0, |refusal| refusal.code);
        let labels = AttemptLabels {
            outcome: settlement.outcome,
            code_class: class(settlement),
        };
        self.attempts.get_or_create(&labels).inc();
        self.send.observe(took.as_secs_f64());
        if settlement.strike.is_some() || settlement.pair_until.is_some() {
            self.throttled.get_or_create(&CodeLabels { code }).inc();
        }
        if settlement.is_disputed() {
            self.disagreements.inc();
        }
    }

    /// An outcome was written down.
    pub fn settled(&self, settled: &Settled) {
        self.duplicates.inc_by(u64::from(settled.is_duplicate));
    }

    /// A message was taken by Meta so long after it was accepted.
    pub fn submitted(&self, after: Duration) {
        self.queue.observe(after.as_secs_f64());
    }

    /// A webhook was worked off.
    pub fn applied(&self, applied: &Applied) {
        for took in &applied.reconciled {
            self.reconcile.observe(took.as_secs_f64());
        }
        let confirmed = applied.reconciled.len() as u64;
        self.reconciled
            .get_or_create(&ViaLabels { via: "status" })
            .inc_by(confirmed);
        self.repeated.inc_by(applied.repeated);
        self.ignored.inc_by(applied.ignored);
        self.duplicates.inc_by(applied.duplicates);
    }

    /// Updates of a webhook were not understood, spoke words that nobody knows, or lay in
    /// the future.
    pub fn parsed(&self, skipped: u64, unknown: u64, skewed: u64) {
        self.skipped.inc_by(skipped);
        self.unknown.inc_by(unknown);
        self.skewed.inc_by(skewed);
    }

    /// What time alone brought about.
    pub fn reconciled(&self, reconciled: &Reconciled) {
        self.reconciled
            .get_or_create(&ViaLabels { via: "deadline" })
            .inc_by(reconciled.given_up);
        self.uncertain.set(gauge(reconciled.uncertain));
        self.orphans.set(gauge(reconciled.orphans));
        self.lag.set(gauge(reconciled.lag.as_secs()));
        self.waiting.set(gauge(reconciled.waiting));
    }

    /// What is held now.
    pub fn held(&self, holds: &[Hold]) {
        self.holds.clear();
        for hold in holds {
            let labels = HoldLabels {
                scope: hold.scope.to_string(),
                reason: failure(hold.code).code.into_owned(),
                code: hold.code,
            };
            self.holds.get_or_create(&labels).set(1);
        }
    }

    /// A window was asked for.
    pub fn window(&self, at: At, verdict: Verdict) {
        let at = match at {
            At::Accept => "accept",
            At::Dispatch => "dispatch",
        };
        let result = match verdict {
            Verdict::Open { .. } => "open",
            Verdict::Closed => "closed",
            Verdict::Unknown => "unknown",
        };
        self.windows
            .get_or_create(&WindowLabels { at, result })
            .inc();
    }

    /// A message has to wait so long because its number, or its number with this customer,
    /// would be too fast.
    pub fn shaped(&self, scope: &'static str, wait: Duration) {
        self.shaper
            .get_or_create(&ScopeLabels { scope })
            .observe(wait.as_secs_f64());
    }

    /// A webhook was acknowledged after this long.
    pub fn acknowledged(&self, took: Duration) {
        self.acks.observe(took.as_secs_f64());
    }

    /// A webhook had a wrong signature.
    pub fn forged(&self) {
        self.forgeries.inc();
    }
}

/// What the code of a refusal asks for; there are few of these, and Meta has many codes.
fn class(settlement: &Settlement) -> &'static str {
    match (&settlement.refusal, &settlement.next) {
        (None, _) => "none",
        (Some(refusal), _) if refusal.code == WINDOW_CLOSED => "window",
        (Some(_), Next::Retry { .. }) => "retry",
        (Some(_), Next::Blocked { .. }) => "pause",
        (Some(_), Next::Failed(_) | Next::Submitted | Next::Uncertain) => "fail",
    }
}

fn seconds() -> Histogram {
    Histogram::new(BUCKETS)
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// From a millisecond to ten minutes, each about three times the one before.
const BUCKETS: [f64; 13] = [
    0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 600.0,
];

#[cfg(test)]
mod tests {
    use vestibule::clock::Timestamp;

    use super::*;
    use crate::cloud_api::{Action, Refusal};
    use crate::delivery::Names;

    #[test]
    fn what_is_counted_is_shown_with_its_labels() {
        let metrics = Metrics::new();
        metrics.window(At::Accept, Verdict::Closed);
        metrics.window(At::Dispatch, Verdict::Unknown);
        metrics.forged();
        metrics.shaped("pair", Duration::from_secs(6));
        metrics.submitted(Duration::from_secs(1));
        metrics.parsed(0, 0, 2);
        metrics.reconciled(&Reconciled {
            given_up: 3,
            waiting: 7,
            lag: Duration::from_secs(9),
            ..Reconciled::default()
        });
        metrics.held(&[hold()]);
        let text = metrics.text();
        for line in [
            "messaging_window_check_total{at=\"accept\",result=\"closed\"} 1",
            "messaging_window_check_total{at=\"dispatch\",result=\"unknown\"} 1",
            "messaging_webhook_sig_fail_total 1",
            "messaging_uncertain_current 0",
            "messaging_shaper_wait_seconds_count{scope=\"pair\"} 1",
            "messaging_queue_seconds_count 1",
            "messaging_clock_skew_total 2",
            "messaging_reconciled_total{via=\"deadline\"} 3",
            "messaging_queue_depth 7",
            "messaging_webhook_lag_seconds 9",
            "messaging_number_paused{scope=\"app\",reason=",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn attempts_are_counted_by_what_their_code_asks_for() {
        let metrics = Metrics::new();
        for (next, code) in [
            (Next::Submitted, None),
            (Next::Uncertain, None),
            (retry(), Some(131_056)),
            (retry(), Some(WINDOW_CLOSED)),
            (
                Next::Blocked {
                    at: Timestamp::EPOCH,
                },
                Some(190),
            ),
            (Next::Failed(failure(131_026)), Some(131_026)),
        ] {
            metrics.attempted(&settlement(next, code), Duration::from_millis(5));
        }
        let text = metrics.text();
        for (class, count) in [
            ("none", 2),
            ("retry", 1),
            ("window", 1),
            ("pause", 1),
            ("fail", 1),
        ] {
            let line =
                format!("messaging_attempts_total{{outcome=\"o\",code_class=\"{class}\"}} {count}");
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
        assert!(
            text.contains("messaging_send_latency_seconds_count 6"),
            "{text}"
        );
    }

    #[test]
    fn everything_that_proves_it_works_is_there() {
        let metrics = Metrics::new();
        // These two have no label before there is a code.
        let throttled = Settlement {
            pair_until: Some(Timestamp::EPOCH),
            ..settlement(retry(), Some(131_056))
        };
        metrics.attempted(&throttled, Duration::ZERO);
        metrics.held(&[hold()]);
        let text = metrics.text();
        for name in [
            "attempts counter",
            "send_latency_seconds histogram",
            "uncertain_current gauge",
            "reconcile_seconds histogram",
            "reconciled counter",
            "duplicate_detected counter",
            "orphan_status_current gauge",
            "status_regressions_ignored counter",
            "window_check counter",
            "window_disagree counter",
            "shaper_wait_seconds histogram",
            "throttled counter",
            "number_paused gauge",
            "webhook_ack_seconds histogram",
            "webhook_lag_seconds gauge",
            "webhook_duplicates counter",
            "webhook_sig_fail counter",
            "clock_skew counter",
        ] {
            let line = format!("# TYPE messaging_{name}\n");
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }

    fn settlement(next: Next, code: Option<u32>) -> Settlement {
        Settlement {
            outcome: "o",
            refusal: code.map(refusal),
            wamid: None,
            recipient: Names::default(),
            next,
            strike: None,
            pair_until: None,
            is_too_fast: false,
            closes_window: false,
        }
    }

    fn refusal(code: u32) -> Refusal {
        Refusal {
            code,
            http_status: 1,
            fbtrace_id: None,
            retry_after: None,
            action: Action::Fail,
        }
    }

    fn retry() -> Next {
        let at = Timestamp::EPOCH;
        Next::Retry { at, counts: true }
    }

    fn hold() -> Hold {
        Hold {
            scope: "app".into(),
            code: 4,
            since: Timestamp::EPOCH,
            struck_at: Timestamp::EPOCH,
            until: None,
            strikes: 1,
        }
    }
}
