//! A connection's waits, over an in-memory stream and with the time paused.

use std::convert::Infallible;

use futures_util::stream;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tower::service_fn;

use super::*;
use crate::config;
use crate::newest::Newest;
use crate::tls::Reloads;

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed() {
    let (mut client, _leave) = connect();
    let waited = until_closed(&mut client).await;
    assert_eq!(waited, Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_come_to_its_end_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["api.test".to_owned()]).unwrap();
    let file = |name: &str, text| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = config::Tls {
        certificate: file("tls.crt", made.cert.pem()),
        key: file("tls.key", made.signing_key.serialize_pem()),
        client_ca: None,
        place: config::Place::Named(String::new()),
    };
    let certificates = tls::read(&files, true, &Reloads::default()).unwrap();
    // The first is silent, the other begins with the head of a record of a handshake.
    for sent in [&[][..], &[22, 3, 1, 1, 0]] {
        let (mut client, server) = tokio::io::duplex(PIPE);
        let (_leave, told) = watch::channel(Leave::Stay);
        let http = http().encrypted(Some(Arc::clone(&certificates)));
        let serving = tokio::spawn(async move {
            http.serve(server, NOBODY, Newest::new(service_fn(answer)).view(), told)
                .await
        });
        client.write_all(sent).await.unwrap();
        assert_eq!(until_closed(&mut client).await, Duration::from_secs(10));
        assert_eq!(serving.await.unwrap(), Err(Refused::Tls));
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_dribbles_is_answered_408_at_its_deadline() {
    let (mut client, _leave) = connect();
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let began = Instant::now();
    for line in 0.. {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let line = format!("x-{line}: y\r\n");
        if client.write_all(line.as_bytes()).await.is_err() {
            break;
        }
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "it is still open"
        );
    }
    assert!(
        began.elapsed() >= Duration::from_secs(10),
        "it was cut early"
    );
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{head}"
    );
    assert!(
        head.contains(&format!("content-length: {}", body.len())),
        "{head}"
    );
    assert!(
        head.contains("connection: close") && body.contains("request_timeout"),
        "{answer}"
    );
    let id = head.split("x-correlation-id: ").nth(1).unwrap();
    assert!(body.contains(id.lines().next().unwrap()), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_outlives_the_deadline_of_a_head() {
    let (mut client, _leave) = connect();
    for _ in 0..3 {
        assert!(get(&mut client).await.starts_with("HTTP/1.1 200"));
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert!(get(&mut client).await.starts_with("HTTP/1.1 200"));
    assert_eq!(until_closed(&mut client).await, Duration::from_secs(75));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_rests_holds_no_stack_and_nothing_of_hyper_and_serves_on() {
    let held = Arc::new(());
    let stack = {
        let held = Arc::clone(&held);
        service_fn(move |request| {
            let _held = &held;
            answer(request)
        })
    };
    let (mut client, _leave) = connect_to(stack);
    for _ in 0..3 {
        assert!(get(&mut client).await.starts_with("HTTP/1.1 200"));
        tokio::time::sleep(RESTS_AFTER / 2).await;
        assert_eq!(Arc::strong_count(&held), 3, "it may go on at once");
        tokio::time::sleep(RESTS_AFTER).await;
        assert_eq!(Arc::strong_count(&held), 2, "the newest alone has it");
    }
    let waited = until_closed(&mut client).await;
    let idle = http().bounds.idle;
    assert_eq!(
        waited,
        idle - RESTS_AFTER * 3 / 2,
        "the deadline is the same"
    );
}

#[tokio::test(start_paused = true)]
async fn what_came_of_the_next_head_before_a_connection_rested_is_not_lost() {
    let (mut client, _leave) = connect();
    let (head, rest) = (
        "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HT",
        "TP/1.1\r\nhost: a\r\n\r\n",
    );
    client.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(RESTS_AFTER * 3).await;
    client.write_all(rest.as_bytes()).await.unwrap();
    tokio::time::sleep(RESTS_AFTER / 2).await;
    let mut answers = vec![0; 4096];
    let length = client.read(&mut answers).await.unwrap();
    let answers = String::from_utf8_lossy(&answers[..length]);
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_dribbles_after_a_rest_has_its_deadline() {
    let (mut client, _leave) = connect();
    get(&mut client).await;
    tokio::time::sleep(RESTS_AFTER * 2).await;
    client.write_all(b"GET /").await.unwrap();
    let began = Instant::now();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_still_sent_after_its_answer_is_no_next_request() {
    let (mut client, _leave) = connect();
    let head = "POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nsome";
    client.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(RESTS_AFTER * 2).await;
    let smuggled = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let _ = client.write_all(smuggled.as_bytes()).await;
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 1, "{answers}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_waited_for() {
    let (mut client, _leave) = connect();
    client
        .write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = vec![0; 12];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 200");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut() {
    let (mut client, _leave) = connect();
    client
        .write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(31)).await;
    let mut taken = Vec::new();
    let _ = client.read_to_end(&mut taken).await;
    assert!(taken.len() < LARGE, "it was cut before the end");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_drop_by_drop_is_cut_at_the_deadline_of_the_whole_request() {
    let (mut client, _leave) = connect();
    client
        .write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let began = Instant::now();
    // Often enough that it is never blocked for long.
    while let Ok(1..) = client.read(&mut [0; 256]).await {
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(
            began.elapsed() < Duration::from_secs(2 * 3600),
            "it is still open"
        );
    }
    assert!(
        began.elapsed() >= Duration::from_secs(3600),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn at_the_end_an_idle_connection_is_closed_at_once_and_a_fresh_one_soon() {
    let at_once = Duration::ZERO;
    for (requests, idle, want) in [
        (0, at_once, FRESH),
        (1, at_once, at_once),
        (1, RESTS_AFTER * 2, at_once),
    ] {
        let (mut client, leave) = connect();
        for _ in 0..requests {
            get(&mut client).await;
        }
        tokio::time::sleep(idle).await;
        leave.send_replace(Leave::Now);
        let waited = until_closed(&mut client).await;
        assert_eq!(waited, want, "after {requests} requests");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_connection_is_answered_even_at_the_end() {
    let (mut client, leave) = connect();
    leave.send_replace(Leave::Now);
    tokio::time::sleep(FRESH / 2).await;
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_to_leave_says_so_with_its_next_answer() {
    let (mut client, leave) = connect();
    assert!(!get(&mut client).await.contains("connection: close"));
    leave.send_replace(Leave::AfterAnswer);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let answer = get(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    until_closed(&mut client).await;
}

#[tokio::test(start_paused = true)]
async fn draining_lets_a_request_finish() {
    let (mut client, leave) = connect();
    client
        .write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    leave.send_replace(Leave::Now);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_layer_that_fails_is_answered_for() {
    let (client, server) = tokio::io::duplex(PIPE);
    let mut client = client;
    let (_leave, told) = watch::channel(Leave::Stay);
    let stack = service_fn(|_: Request<Incoming>| async {
        Err::<Response<Full<Bytes>>, _>("a layer's own trouble")
    });
    tokio::spawn(async move {
        http()
            .serve(server, NOBODY, Newest::new(stack).view(), told)
            .await
    });
    let answer = get(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert!(answer.contains("internal_error"), "{answer}");
    assert!(!answer.contains("trouble"), "{answer}");
}

fn connect() -> (DuplexStream, watch::Sender<Leave>) {
    connect_to(service_fn(answer))
}

fn connect_to(stack: impl Stack + Sync) -> (DuplexStream, watch::Sender<Leave>) {
    let (client, server) = tokio::io::duplex(PIPE);
    let (leave, told) = watch::channel(Leave::Stay);
    tokio::spawn(async move {
        http()
            .serve(server, NOBODY, Newest::new(stack).view(), told)
            .await
    });
    (client, leave)
}

async fn answer(request: Request<Incoming>) -> Result<Response<Given>, Infallible> {
    if request.uri().path() == "/endless" {
        let pieces = stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[b'x'; 1024]))));
        return Ok(Response::new(StreamBody::new(pieces).boxed_unsync()));
    }
    if request.uri().path() == "/early" {
        let mut body = request.into_body();
        // Held on to for longer than the answer takes.
        tokio::spawn(async move { while body.frame().await.is_some() {} });
        return Ok(Response::new(Full::from("early").boxed_unsync()));
    }
    let body = match request.uri().path() {
        "/slow" => {
            tokio::time::sleep(Duration::from_secs(600)).await;
            Full::from("slow")
        }
        "/large" => Full::from(vec![b'x'; LARGE]),
        _ => Full::from("ok"),
    };
    Ok(Response::new(body.boxed_unsync()))
}

type Given = UnsyncBoxBody<Bytes, Infallible>;

async fn get(client: &mut DuplexStream) -> String {
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = vec![0; 4096];
    let length = client.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// How long it takes until the other side closes.
async fn until_closed(client: &mut DuplexStream) -> Duration {
    let began = Instant::now();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    began.elapsed()
}

fn http() -> Http {
    let text = "listen = '127.0.0.1:0'\nupstream = '127.0.0.1:1'\n[[route]]\nmatch = 'GET /'";
    Http::new(&Config::parse("test.toml", text).unwrap())
}

const NOBODY: Peer = Peer {
    address: None,
    is_encrypted: false,
};
const PIPE: usize = 16 << 10;
const LARGE: usize = 1 << 20;
