//! The client that repeats: against a server that fails as it is told to, and against a real one.

use std::net::SocketAddr;
use std::process::Command;

use harness::process::{Process, binary};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::start;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_goes_through_every_attempt_until_there_is_an_answer() {
    let (address, heard) = scripted(vec![
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\n",
        "",
        "HTTP/1.1 409 Conflict\r\nretry-after: 0\r\n\
         x-body: {\"error\":{\"code\":\"idempotency_key_in_progress\"}}\r\n",
        "HTTP/1.1 201 Created\r\nidempotent-replayed: true\r\nx-body: {\"id\":7}\r\n",
    ])
    .await;
    let said = run(address, "o-17");
    assert_eq!(said, "made: {\"id\":7} after 4 attempts\n");
    let heard = heard.await.expect("it works on the loopback");
    assert_eq!(heard, ["o-17"; 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_not_be_repeated_is_not() {
    for (code, want) in [
        (
            "idempotency_outcome_unknown",
            "nobody knows whether it was made after 1 attempt\n",
        ),
        (
            "idempotency_response_not_stored",
            "made, its answer was not kept after 1 attempt\n",
        ),
    ] {
        let answer =
            format!("HTTP/1.1 409 Conflict\r\nx-body: {{\"error\":{{\"code\":\"{code}\"}}}}\r\n");
        let (address, heard) = scripted(vec![answer.leak()]).await;
        assert_eq!(run(address, "o-18"), want);
        assert_eq!(heard.await.expect("it works on the loopback"), ["o-18"]);
    }
}

#[tokio::test]
async fn a_client_that_starts_again_under_its_key_gets_the_first_answer() {
    let (_process, address) = start("in_process_axum");
    let (first, again) = (run(address, "o-19"), run(address, "o-19"));
    assert!(first.starts_with("made: {\"id\":1,"), "{first}");
    assert_eq!(first, again);
}

/// Runs the client to its end, and gives what it says.
fn run(address: SocketAddr, key: &str) -> String {
    let mut command = Command::new(binary("examples/client_retry"));
    Process::announced(command.arg(format!("http://{address}")).arg(key)).1
}

/// A server that gives these heads, one a connection, and cuts it where there is none; it ends
/// with the keys that it was shown. What a head has as `x-body` is the body.
async fn scripted(heads: Vec<&'static str>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("it works on the loopback");
    let address = listener.local_addr().expect("it works on the loopback");
    let serving = tokio::spawn(async move {
        let mut keys = Vec::new();
        for head in heads {
            let (mut stream, _) = listener.accept().await.expect("it works on the loopback");
            keys.push(key_of_request(&mut stream).await);
            if head.is_empty() {
                stream.set_zero_linger().expect("it works on the loopback");
                continue;
            }
            let body = head
                .split_once("x-body: ")
                .map_or("", |(_, body)| body.trim_end());
            let rest = format!(
                "connection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream
                .write_all(head.as_bytes())
                .await
                .expect("it works on the loopback");
            stream
                .write_all(rest.as_bytes())
                .await
                .expect("it works on the loopback");
        }
        keys
    });
    (address, serving)
}

/// Reads a whole request, so that closing the connection resets nothing, and gives its key.
async fn key_of_request(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let value = |name: &str| {
                let mut lines = head.lines();
                let found = lines.find_map(|line| line.strip_prefix(name));
                found
                    .expect("the client sends this field")
                    .trim()
                    .to_owned()
            };
            if body.len()
                >= value("content-length:")
                    .parse()
                    .expect("it works on the loopback")
            {
                return value("idempotency-key:");
            }
        }
        let count = stream
            .read_buf(&mut read)
            .await
            .expect("it works on the loopback");
        assert!(count > 0, "the request broke off");
    }
}
