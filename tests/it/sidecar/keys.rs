//! `vestibule keys` with the real binary: what a file, two commands at once and a sidecar see of it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use harness::process::binary;
use http::Request;
use http_body_util::Empty;
use serde_json::{Value, json};

use super::world::{address, send, service, sidecar};

#[test]
fn a_key_lives_from_create_to_revoke() {
    let folder = tempfile::tempdir().unwrap();
    let made = answer(folder.path(), "create --account acc_1 --scope a:b,c:d");
    let (secret, id) = (text(&made["secret"]), text(&made["key"]["id"]));
    assert!(secret.starts_with("mk_live_"), "{made}");
    assert_eq!(made["key"]["scopes"], json!(["a:b", "c:d"]));
    let file = std::fs::read_to_string(folder.path().join("keys.json")).unwrap();
    assert!(!file.contains(&secret), "the file holds digests only");
    assert_eq!(verdict(folder.path(), &secret), ("good".into(), Some(0)));

    let changed = answer(folder.path(), &format!("update {id} --per-minute 7"));
    assert_eq!(changed["key"]["per_minute"], 7);
    let next = answer(folder.path(), &format!("rotate {id} --overlap 0s"));
    assert_eq!(next["key"]["per_minute"], 7);
    assert_eq!(next["key"]["family"], id.as_str());
    assert_eq!(verdict(folder.path(), &secret), ("expired".into(), Some(1)));

    let (secret, id) = (text(&next["secret"]), text(&next["key"]["id"]));
    assert_eq!(verdict(folder.path(), &secret), ("good".into(), Some(0)));
    let revoked = answer(folder.path(), &format!("revoke {id}"));
    assert_eq!(revoked["key"]["state"], "revoked");
    assert_eq!(verdict(folder.path(), &secret), ("revoked".into(), Some(1)));
    let listed = answer(folder.path(), "list --account acc_1");
    assert_eq!(listed["keys"].as_array().map(Vec::len), Some(2));
    let table = String::from_utf8(keys(folder.path(), "list", "").stdout).unwrap();
    assert!(table.contains(&id) && !table.contains(&secret), "{table}");
}

#[test]
fn a_fault_is_one_sentence_that_names_file_key_and_value() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let file = file.display();
    let good = r#"{"id":"k","account":"a","digest":{"algorithm":"sha256","value":"00"}}"#;
    answer(folder.path(), "create --account acc_1");
    for (arguments, input, want) in [
        (
            "show nobody",
            "",
            format!("{file}: there is no key with the id \"nobody\"\n"),
        ),
        (
            "create --account acc_1 --expires tomorrow",
            "",
            format!(
                "{file}: expires_at: found \"tomorrow\", allowed is a time like 2026-11-22T10:00:00Z\n"
            ),
        ),
        (
            "import -",
            good,
            format!(
                "{file}: -: nothing was taken: 1 of the lines are wrong\n  line 1: digest.value: found 2 characters, allowed is 64 characters of hex: the digest, never the key\n"
            ),
        ),
    ] {
        let output = keys(folder.path(), arguments, input);
        assert_eq!(output.status.code(), Some(1), "{arguments}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, format!("vestibule: {want}"), "{arguments}");
        assert_eq!(output.stdout, b"", "{arguments}");
    }
}

#[test]
fn of_commands_at_once_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let secrets: Vec<String> = std::thread::scope(|scope| {
        let path = folder.path();
        let create = || text(&answer(path, "create --account acc_1")["secret"]);
        let running: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        let ended = running.into_iter().map(|one| one.join().unwrap());
        ended.collect()
    });
    for secret in secrets {
        assert_eq!(verdict(folder.path(), &secret).0, "good");
    }
}

#[test]
fn ten_thousand_keys_are_taken_and_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (0..10_000)
        .map(|number| {
            let digest = json!({ "algorithm": "hmac-sha256", "pepper": "p1", "value": format!("{number:064x}") });
            let line = json!({ "id": format!("key_{number:05}"), "account": "acc_1", "scopes": ["a:b"], "digest": digest });
            format!("{line}\n")
        })
        .collect();
    let output = keys(folder.path(), "import - --json", &lines);
    assert_eq!(output.stdout, b"{\"imported\":10000}\n");
    let exported = keys(folder.path(), "export", "");
    let again = tempfile::tempdir().unwrap();
    let exported = String::from_utf8(exported.stdout).unwrap();
    assert_eq!(exported.lines().count(), 10_000);
    assert!(keys(again.path(), "import -", &exported).status.success());
    let files =
        [&folder, &again].map(|folder| std::fs::read(folder.path().join("keys.json")).unwrap());
    assert!(files[0] == files[1], "what is exported is all there is");
}

#[tokio::test]
async fn a_running_sidecar_follows_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let old = answer(folder.path(), "create --account acc_1");
    let upstream = service(Router::new().fallback(any(|| async { "in" }))).await;
    let source = folder.path().join("keys.json");
    let more = format!(
        "[keys]\nsource = '{}'\n[[route]]\nmatch = '* /'\n",
        source.display()
    );
    let running = sidecar(upstream, &more);
    let edge = address(&running);
    assert_eq!(status(edge, &old).await, 200);

    let new = answer(folder.path(), "create --account acc_1");
    assert!(within_a_second(edge, &new, 200).await, "create");
    answer(
        folder.path(),
        &format!("revoke {}", text(&old["key"]["id"])),
    );
    assert!(within_a_second(edge, &old, 401).await, "revoke");
    assert_eq!(status(edge, &new).await, 200);
}

async fn within_a_second(edge: SocketAddr, made: &Value, want: u16) -> bool {
    let deadline = now() + Duration::from_secs(1);
    while now() < deadline {
        if status(edge, made).await == want {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

pub(super) async fn status(edge: SocketAddr, made: &Value) -> u16 {
    let bearer = format!("Bearer {}", text(&made["secret"]));
    let request = Request::get("/")
        .header("host", "h")
        .header("authorization", bearer);
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    send(edge, request).await.status().as_u16()
}

/// What `keys verify` says of a secret in one word, and how it ends.
fn verdict(folder: &Path, secret: &str) -> (String, Option<i32>) {
    let output = keys(folder, "verify --json", &format!("{secret}\n"));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    (text(&json["reason"]), output.status.code())
}

/// What a command answers with `--json`.
pub(super) fn answer(folder: &Path, arguments: &str) -> Value {
    let output = keys(folder, &format!("{arguments} --json"), "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn keys(folder: &Path, arguments: &str, input: &str) -> Output {
    let file = folder.join("keys.json");
    keys_at(&["--file", file.to_str().unwrap()], arguments, input)
}

/// Runs a command on the keys of a place.
pub(super) fn keys_at(place: &[&str], arguments: &str, input: &str) -> Output {
    let mut command = Command::new(binary("vestibule"));
    command
        .arg("keys")
        .args(arguments.split(' '))
        .args(place)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that does not read ends before it is written to.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a change must hold within a second of real time"
)]
fn now() -> Instant {
    Instant::now()
}
