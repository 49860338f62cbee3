//! `vestibule check`: what it prints, where, and how it ends.

use std::process::{Command, Output};

use harness::process::binary;
use tempfile::TempDir;

use super::world::OPEN;

#[test]
fn a_good_file_is_said_to_be_good() {
    let folder = folder(&[("good.toml", GOOD)]);
    let output = check(&folder, &["good.toml"], &[]);
    assert_eq!(said(&output), ("good.toml is good\n".into(), String::new()));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn every_fault_of_every_file_is_printed() {
    let bad = format!("{GOOD}threads = 0\nlistem = 1\n[limits]\nstreams = 0\n");
    let folder = folder(&[("bad.toml", &bad), ("good.toml", GOOD)]);
    let output = check(&folder, &["bad.toml", "good.toml", "none.toml"], &[]);
    let (out, err) = said(&output);
    assert_eq!(out, "good.toml is good\n");
    let lines: Vec<&str> = err.lines().collect();
    let [threads, listem, streams, none] = lines[..] else {
        panic!("{err}");
    };
    let want = "bad.toml:3: threads = 0: expected a whole number from 1 to 1024";
    assert_eq!(threads, want);
    assert!(listem.starts_with("bad.toml:4: unknown key 'listem' at the top (is it 'listen'?); "));
    assert!(streams.starts_with("bad.toml:6: [limits] streams = 0: "));
    assert!(none.starts_with("none.toml:1: the file cannot be read: "));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_is_louder_than_the_file_is_judged_with_it() {
    let folder = folder(&[("c.toml", GOOD)]);
    let output = check(
        &folder,
        &[
            "c.toml",
            "--set",
            "limits.streams=0",
            "--set",
            "http2=false",
        ],
        &[
            ("VESTIBULE__LIMITS__STREAMS", "1"),
            ("VESTIBULE__DRAIN__LAG", "long"),
        ],
    );
    let (_, err) = said(&output);
    let want = [
        "VESTIBULE__DRAIN__LAG: [drain] lag = long: ",
        "--set limits.streams: [limits] streams = 0: ",
    ];
    assert_eq!(err.lines().count(), want.len(), "{err}");
    for want in want {
        assert!(err.lines().any(|line| line.starts_with(want)), "{err}");
    }
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_store_of_one_process_is_refused_to_several() {
    let folder = folder(&[("c.toml", GOOD)]);
    let output = check(&folder, &["c.toml", "--replicas", "2"], &[]);
    let want = "--set replicas: replicas = 2: expected a store that several sidecars may share, redis:// or postgres://, and not \"file:vestibule.redb\"\n";
    assert_eq!(said(&output).1, want);
    assert_eq!(output.status.code(), Some(1));
    let shared = [("VESTIBULE__STORE", "redis://redis")];
    let output = check(&folder, &["c.toml", "--replicas", "2"], &shared);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn what_is_unwise_is_a_warning() {
    let text = format!(
        "store = 'memory:'\n{GOOD}[[route]]\nmatch = 'POST /pay'\nauth = 'none'\nidempotency = 'executes'\n"
    );
    let folder = folder(&[("c.toml", &text)]);
    let output = check(&folder, &["c.toml"], &[]);
    let want = "c.toml:1: warning: the store ends with the process, after which a repeated request is executed again\n";
    assert_eq!(said(&output), ("c.toml is good\n".into(), want.into()));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn what_is_no_command_ends_with_2() {
    let folder = folder(&[("c.toml", GOOD)]);
    for words in [
        &[][..],
        &["c.toml", "--set", "threads"],
        &["c.toml", "--replicas", "x"],
    ] {
        let output = check(&folder, words, &[]);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
    }
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let text = format!("{text}{OPEN}");
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn check(folder: &TempDir, words: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary("vestibule"));
    command.arg("check").args(words).current_dir(folder.path());
    command.envs(variables.iter().copied()).output().unwrap()
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

const GOOD: &str = "listen = '127.0.0.1:0'\nupstream = '127.0.0.1:1'\n";
