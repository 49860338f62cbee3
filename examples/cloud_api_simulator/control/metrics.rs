//! `GET /__sim/metrics`: the counts of a run, as Prometheus reads them.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use vestibule::clock::Timestamp;

use crate::limits;
use crate::simulator::Simulator;
use crate::state::State;

/// Handles the request.
pub(super) async fn metrics(Shared(simulator): Shared<Arc<Simulator>>) -> impl IntoResponse {
    let now = simulator.clock.now();
    let text = render(&simulator.lock(), now);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

fn render(state: &State, now: Timestamp) -> String {
    let mut text = String::new();
    let none = || vec![(String::new(), 0)];
    let single = |value: u64| vec![(String::new(), value)];
    let labelled = |label: &str, rows: Vec<(String, u64)>| {
        let rows = rows.into_iter();
        rows.map(|(key, value)| (format!("{{{label}=\"{key}\"}}"), value))
            .collect::<Vec<_>>()
    };
    let refusals = state.refusals.iter();
    let refusals = refusals.map(|(code, count)| (code.to_string(), *count));
    let attempts = state.log.statuses();
    let attempts = attempts.map(|(status, count)| {
        let status = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        (status, count)
    });
    let violations = [limits::THROUGHPUT, limits::PAIR];
    let violations = violations.map(|code| (code.to_string(), state.limits.violations(code)));
    for (name, kind, rows) in [
        ("accepted_total", "counter", single(state.ledger.len())),
        ("inbound_total", "counter", single(state.inbound)),
        (
            "refused_total",
            "counter",
            labelled("code", refusals.collect()),
        ),
        (
            "limit_violations_total",
            "counter",
            labelled("code", violations.to_vec()),
        ),
        (
            "webhook_attempts_total",
            "counter",
            labelled("status", attempts.collect()),
        ),
        (
            "webhooks_dropped_total",
            "counter",
            single(state.outbox.dropped()),
        ),
        (
            "webhooks_waiting",
            "gauge",
            single(state.outbox.len() as u64),
        ),
        (
            "webhooks_parked",
            "gauge",
            single(state.queue.parked() as u64),
        ),
        (
            "faults_struck_total",
            "counter",
            single(state.faults.struck()),
        ),
        ("time_seconds", "gauge", single(now.as_unix_seconds())),
    ] {
        let rows = if rows.is_empty() { none() } else { rows };
        writeln!(text, "# TYPE {PREFIX}{name} {kind}").expect(TAKES_ALL);
        for (labels, value) in rows {
            writeln!(text, "{PREFIX}{name}{labels} {value}").expect(TAKES_ALL);
        }
    }
    text
}

const PREFIX: &str = "cloud_api_simulator_";

const TAKES_ALL: &str = "a String takes all that is written";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Seed;
    use crate::webhook::log::Attempt;
    use crate::world::World;

    #[test]
    fn each_count_has_a_type_and_a_line() {
        let mut state = State::new(World::default(), Seed::new(1));
        state.note_refusal(190);
        state.note_refusal(190);
        state.limits.note_violation("n", limits::PAIR);
        for status in [Some(200), None, Some(200)] {
            state.log.push(Attempt {
                app: String::new(),
                at_ms: 0,
                attempt: 1,
                status,
                bytes: 0,
                is_signed: true,
                body: String::new(),
            });
        }
        let text = render(&state, Timestamp::from_unix_seconds(1_800_000_000));
        for want in [
            "# TYPE cloud_api_simulator_accepted_total counter",
            "cloud_api_simulator_accepted_total 0",
            "cloud_api_simulator_refused_total{code=\"190\"} 2",
            "cloud_api_simulator_limit_violations_total{code=\"130429\"} 0",
            "cloud_api_simulator_limit_violations_total{code=\"131056\"} 1",
            "cloud_api_simulator_webhook_attempts_total{status=\"200\"} 2",
            "cloud_api_simulator_webhook_attempts_total{status=\"none\"} 1",
            "cloud_api_simulator_time_seconds 1800000000",
        ] {
            assert!(text.lines().any(|line| line == want), "{want} in\n{text}");
        }
    }
}
