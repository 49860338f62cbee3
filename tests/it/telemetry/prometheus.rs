//! What a real Prometheus, and the tool that comes with it, say to what a sidecar shows; and
//! whether the dashboard and the alerts that are shipped ask for what it shows.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::{PATIENCE, Panel, Prometheus};
use tokio::time::Instant;

use super::metrics::{busy, requests};

#[tokio::test]
async fn promtool_finds_nothing_to_say_about_the_metrics() {
    let (_pod, edge) = busy().await;
    let text = edge.metrics().await;
    assert_eq!(lint(&text), (true, String::new()), "{text}");
    // It says something where there is something to say.
    let (is_good, said) = lint("# TYPE no_help counter\nno_help 1\n");
    assert!(!is_good && said.contains("no_help"), "{said}");
}

#[test]
fn the_alerts_wake_whom_their_tests_say() {
    for arguments in [
        ["check", "rules", "alerts.yaml"],
        ["test", "rules", "alerts_test.yaml"],
    ] {
        let mut promtool = Command::new("promtool");
        let output = promtool
            .args(arguments)
            .current_dir(folder())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let tests = shipped("alerts_test.yaml");
    let runbook = shipped("README.md");
    let alerts = shipped("alerts.yaml");
    let names = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let tested = tests.matches(&format!("alertname: {name}")).count();
        assert!(
            tested >= 2,
            "{name} is not seen both to wake and not to wake"
        );
        assert!(
            runbook.contains(&format!("| {name} |")),
            "{name} is not in the runbook"
        );
    }
}

#[tokio::test]
async fn dashboard_and_alerts_ask_for_what_a_sidecar_shows_and_a_prometheus_answers() {
    let (_pod, edge) = busy().await;
    let text = edge.metrics().await;
    let panels = Panel::shipped(".*", "5s");
    let queries = panels.into_iter().flat_map(|panel| panel.queries);
    let queries: Vec<String> = queries.map(|query| query.text).collect();
    assert!(queries.len() > 20, "{queries:?}");
    let asked = queries
        .iter()
        .map(String::as_str)
        .chain([&*shipped("alerts.yaml")])
        .flat_map(names)
        .collect::<BTreeSet<String>>();
    for name in &asked {
        // It is there where connections are encrypted.
        let is_shown = name == CERTIFICATE || text.contains(&format!("# TYPE {name} "));
        assert!(is_shown, "{name} is not shown");
    }
    let prometheus = Prometheus::start(SCRAPED / 2, &[(edge.admin(), "/metrics")]).await;
    let deadline = Instant::now() + PATIENCE;
    let mut left: Vec<&String> = queries
        .iter()
        .filter(|query| !query.contains(CERTIFICATE))
        .collect();
    while !left.is_empty() {
        assert!(Instant::now() < deadline, "without an answer: {left:?}");
        requests(&edge).await;
        tokio::time::sleep(SCRAPED).await;
        let mut unanswered = Vec::new();
        for query in left {
            if prometheus.ask(query).await.is_empty() {
                unanswered.push(query);
            }
        }
        left = unanswered;
    }
}

/// The metrics of this house that a text names.
fn names(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = words.filter(|word| word.starts_with("vestibule_"));
    ours.map(|word| word.strip_suffix("_bucket").unwrap_or(word).to_owned())
}

fn lint(text: &str) -> (bool, String) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    (output.status.success(), said)
}

fn shipped(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/kubernetes")
}

const CERTIFICATE: &str = "vestibule_certificate_expiry_timestamp_seconds";

/// Long enough for two scrapes.
const SCRAPED: Duration = Duration::from_millis(600);
