//! What the admin socket tells and takes, and that nobody else is told.

use std::fs::File;
use std::path::Path;

use harness::{Draft, Edge, Pod};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

#[tokio::test]
async fn the_level_of_the_log_changes_without_a_restart() {
    let (pod, edge, socket) = start(Some("error")).await;
    let level = async |method: &str, body: &str| ask(&socket, method, "/v1/log-level", body).await;
    assert_eq!(level("GET", "").await, (200, "error\n".to_owned()));
    // The change itself is told, where it lets that pass.
    let (status, text) = level("PUT", "info,vestibule_sidecar::upstream=debug").await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("vestibule_sidecar::upstream=debug"), "{text}");
    assert_eq!(level("PUT", "error\n").await.0, 200);
    for (method, body, want) in [
        ("PUT", "inof", 422),
        ("PUT", "", 422),
        ("POST", "info", 405),
    ] {
        assert_eq!(level(method, body).await.0, want, "{method} {body:?}");
    }
    edge.end("TERM").await;
    let said = std::fs::read_to_string(pod.path("stderr")).unwrap();
    assert_eq!(
        said.matches("the level of the log was changed").count(),
        1,
        "{said}"
    );
}

#[tokio::test]
async fn the_configuration_in_force_is_told_without_its_secrets() {
    let (_pod, edge, socket) = start(None).await;
    let (status, text) = ask(&socket, "GET", "/v1/config", "").await;
    assert_eq!(status, 200);
    for want in [
        "per_minute: 60",
        "/v1/charges/{id}",
        "format: Text",
        "connections: ",
    ] {
        assert!(text.contains(want), "{want} is not in {text}");
    }
    assert!(!text.contains("a secret of the tests"), "{text}");
    let (status, text) = ask(&socket, "GET", "/v1/stores", "").await;
    let stores: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (status, &stores["store"]["is_cut_off"]),
        (200, &json!(false))
    );
    assert_eq!(stores["keys"]["is_lost"], json!(false));
    assert_eq!(stores["upstreams_well"], json!(1.0));
    let (status, text) = ask(&socket, "GET", "/readyz", "").await;
    let ready: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (status, ready),
        (200, json!({"ready": true, "stage": "ready"}))
    );
    for path in [
        "/v1/config",
        "/v1/stores",
        "/v1/log-level",
        "/v1/drain",
        "/v1/keys",
    ] {
        let at = async |address| {
            let mut wire = harness::Wire::connect(address).await;
            wire.exchange(&Draft::get(path).key("full")).await.status
        };
        assert_eq!(at(edge.admin()).await, 404, "{path} on a port");
        assert_eq!(at(edge.address).await, 404, "{path} for clients");
    }
}

/// A sidecar with an admin socket, whose diagnostics go into a file.
async fn start(level: Option<&str>) -> (Pod, Edge, std::path::PathBuf) {
    let level = level.map_or(String::new(), |level| format!("log.level = \"{level}\""));
    let pod = Pod::new(&format!("store = \"memory:\"\n{level}")).await;
    let socket = pod.path("admin.sock");
    let admin = format!("[\"127.0.0.1:0\", \"unix:{}\"]", socket.display());
    let mut command = pod.command();
    command
        .env_remove("RUST_LOG")
        .env("VESTIBULE__ADMIN", admin);
    command.stderr(File::create(pod.path("stderr")).unwrap());
    let (edge, _) = pod.start_talking(command).await;
    (pod, edge, socket)
}

async fn ask(socket: &Path, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}
