//! What a real Prometheus, and the tool that comes with it, say to what a sidecar shows.

use std::io::Write;
use std::process::{Command, Stdio};

use super::metrics::busy;

#[tokio::test]
async fn promtool_finds_nothing_to_say_about_the_metrics() {
    let (_pod, edge) = busy().await;
    let text = edge.metrics().await;
    assert_eq!(lint(&text), (true, String::new()), "{text}");
    // It says something where there is something to say.
    let (is_good, said) = lint("# TYPE no_help counter\nno_help 1\n");
    assert!(!is_good && said.contains("no_help"), "{said}");
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
