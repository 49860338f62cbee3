//! `vestibule explain` with the real binary: at the admin socket of a sidecar that runs, and by
//! itself where none does.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use axum::Router;
use axum::routing::any;
use harness::process::{Process, binary};
use http::{HeaderMap, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::keys::{keys_at, text};
use super::world::{self, send, sidecar};

#[tokio::test(flavor = "multi_thread")]
async fn a_running_sidecar_explains_what_it_would_do_and_does_nothing() {
    let place = Place::new().await;
    let body = r#"{"amount":1}"#;
    for (time, answer) in [
        ("the first time", json!({ "kind": "forwarded" })),
        ("again", json!({ "kind": "replayed", "status": 200 })),
    ] {
        let asked = place.post("k-1", body);
        let told = place.explain(&["--request", "-", "--json"], &asked, 0);
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!(told["answer"], answer, "{time}: {told}");
        for _ in 0..3 {
            let again = place.explain(&["--request", "-", "--json"], &asked, 0);
            let again: Value = serde_json::from_slice(&again.stdout).unwrap();
            assert_eq!(left(&again), left(&told), "{time}: looking costs nothing");
        }
        let headers = place.send("k-1", body).await;
        assert_eq!(headers["x-ratelimit-remaining"], left(&told), "{time}");
        assert_eq!(headers.contains_key("idempotent-replayed"), time == "again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_curl_is_explained_for_people_without_its_key() {
    let place = Place::new().await;
    let key = &place.key;
    let curl = format!(
        "curl -sS 'https://api.test/v1/charges' \\\n  -H 'Authorization: Bearer {key}' \\\n  --data-raw '{{\"amount\":1}}'"
    );
    let refused = place.explain(&["--curl", "-"], &curl, 1);
    let said = String::from_utf8(refused.stdout).unwrap();
    // What curl sends without a -H of its own.
    assert!(
        said.starts_with("POST /v1/charges would be refused: 415 unsupported_media_type\n"),
        "{said}"
    );
    assert!(!said.contains(&key[10..]), "{said}");
    let passing = curl.replace("-sS", "-sS -H 'Content-Type: application/json'");
    let told = place.explain(&["--curl", &passing], "", 0);
    let said = String::from_utf8(told.stdout).unwrap();
    for line in [
        "POST /v1/charges would be sent on to the service",
        "  API key          passes       it is good: ",
        "  rate limit       passes       there is room in the caller's budget: 59 left",
        "  upstream         passes       the request is sent on, and has 30s for its answer",
    ] {
        assert!(
            said.lines().any(|told| told.starts_with(line)),
            "{line}: {said}"
        );
    }
    assert!(!said.contains(&key[10..]), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_explained_ends_with_2_and_a_sentence() {
    let place = Place::new().await;
    let nowhere = ["--admin", "unix:/nowhere/admin.sock"];
    for (arguments, input, want) in [
        (
            ["--curl", "curl https://h/a -u me:canary"],
            "",
            "vestibule: -u sends a user",
        ),
        (
            ["--curl", "curl \"https://h/$PATH_OF\""],
            "",
            "vestibule: a shell would put something in the place of $PATH_OF",
        ),
        (
            ["--request", "-"],
            "canary",
            "vestibule: -: the first line is",
        ),
        (
            ["--request", "/nowhere"],
            "",
            "vestibule: /nowhere: No such file",
        ),
    ] {
        let refused = place.explain(&arguments, input, 2);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.starts_with(want), "{said}");
        assert!(refused.stdout.is_empty());
    }
    let refused = run(&[&nowhere[..], &["--curl", "curl h/a"]].concat(), "");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.starts_with("vestibule: unix:/nowhere/admin.sock: No such file"),
        "{said}"
    );
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(run(&["--curl", "curl h/a"], "").status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_process_the_stores_of_the_configuration_are_looked_at() {
    let place = Place::new().await;
    place.send("k-2", "{}").await;
    let config = place.folder.path().join("vestibule.toml");
    let by_config = [
        "--config",
        config.to_str().unwrap(),
        "--request",
        "-",
        "--json",
    ];
    let asked = place.post("k-2", "{}");
    // The file is the sidecar's own while it runs, so this is asked at its socket.
    let told = run(&by_config, &asked);
    assert_eq!(answer(&told)["kind"], "replayed", "{told:?}");
    let Place {
        mut process,
        folder,
        ..
    } = place;
    process.signal("INT");
    process.ended(world::PATIENCE);
    let told = run(&by_config, &asked);
    assert_eq!(answer(&told)["kind"], "replayed", "{told:?}");
    let (file, away) = (folder.path().join("store"), folder.path().join("away"));
    std::fs::rename(&file, &away).unwrap();
    let told = run(&by_config, &asked);
    assert_eq!(answer(&told)["code"], "invalid_api_key", "{told:?}");
    assert_eq!(told.status.code(), Some(1));
    assert!(!file.exists(), "a file that is not there is not made");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_and_whoever_reaches_a_port_are_told_nothing() {
    let place = Place::new().await;
    let lines = "admin = '127.0.0.1:0'\n[[route]]\nmatch = '* /'\n";
    let on_a_port = sidecar("127.0.0.1:1", lines);
    let edge = place.address;
    let admin = world::tcp(on_a_port.admin().unwrap());
    let asked = json!({ "method": "GET", "target": "/" }).to_string();
    for (address, key) in [(edge, Some(&place.key)), (admin, None)] {
        let mut request = Request::post("/v1/explain").header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let request = request
            .header("host", "api.test")
            .body(Full::from(asked.clone()))
            .unwrap();
        assert_eq!(send(address, request).await.status(), 404, "{address}");
    }
}

/// A sidecar with one keyed route and its keys in a file of its own, in front of a service that
/// says yes.
struct Place {
    process: Process,
    address: SocketAddr,
    folder: TempDir,
    key: String,
}

impl Place {
    async fn new() -> Self {
        let upstream = world::service(Router::new().fallback(any(|| async { "in" }))).await;
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("vestibule.toml");
        std::fs::write(&config, lines(folder.path(), upstream)).unwrap();
        let mut serve = Command::new(binary("vestibule"));
        let serve = serve.arg("serve").arg("--config").arg(config);
        let (process, line) = Process::announced(serve.env("RUST_LOG", "off"));
        let said: Value = serde_json::from_str(&line).unwrap();
        let place = ["--admin", &socket(folder.path())];
        // Until it has opened its store, it has no keys to change.
        let is_ready = || keys_at(&place, "list", "").status.success();
        world::until("the sidecar is ready", is_ready).await;
        let create = "create --account acc_1 --scope charges:write --json";
        let made = keys_at(&place, create, "");
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        Self {
            process,
            address: text(&said["listening"]).parse().unwrap(),
            folder,
            key: text(&made["secret"]),
        }
    }

    /// What the command says at the admin socket, and that it ends with this code.
    fn explain(&self, arguments: &[&str], input: &str, code: i32) -> Output {
        let socket = socket(self.folder.path());
        let output = run(&[&["--admin", &socket], arguments].concat(), input);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        output
    }

    /// A request as a file has it.
    fn post(&self, name: &str, body: &str) -> String {
        let key = &self.key;
        format!(
            "POST /v1/charges HTTP/1.1\nHost: api.test\nAuthorization: Bearer {key}\nContent-Type: application/json\nIdempotency-Key: {name}\n\n{body}"
        )
    }

    /// Sends the same request.
    async fn send(&self, name: &str, body: &str) -> HeaderMap {
        let request = Request::post("/v1/charges")
            .header("host", "api.test")
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .header("idempotency-key", name)
            .body(Full::from(body.to_owned()))
            .unwrap();
        let response = send(self.address, request).await;
        assert_eq!(response.status(), 200);
        response.headers().clone()
    }
}

fn run(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(binary("vestibule"));
    let piped = || Stdio::piped();
    command
        .arg("explain")
        .args(arguments)
        .env("RUST_LOG", "off");
    let child = command
        .stdin(piped())
        .stdout(piped())
        .stderr(piped())
        .spawn();
    let mut child = child.unwrap();
    // One that has no use for it may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn answer(told: &Output) -> Value {
    let told: Value = serde_json::from_slice(&told.stdout).unwrap_or_default();
    told["answer"].clone()
}

fn left(told: &Value) -> String {
    let steps = told["steps"].as_array().unwrap();
    let step = steps
        .iter()
        .find(|step| step["layer"] == "rate_limit")
        .unwrap();
    step["facts"]["left"].to_string()
}

fn socket(folder: &Path) -> String {
    format!("unix:{}", folder.join("admin.sock").display())
}

fn lines(folder: &Path, upstream: SocketAddr) -> String {
    let socket = socket(folder);
    let folder = folder.display();
    format!(
        "listen = '127.0.0.1:0'\nupstream = '{upstream}'\nthreads = 1\nstore = 'file:{folder}/store'\nadmin = '{socket}'\n[keys]\nsource = 'store'\n[[route]]\nmatch = 'POST /v1/charges'\nscope = 'charges:write'\nidempotency = 'executes'\n"
    )
}
