//! What a server says instead of an answer, and what a step makes of it.

use std::sync::atomic::AtomicUsize;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

#[tokio::test]
async fn every_error_of_a_server_has_its_meaning_at_every_step() {
    use StoreErrorKind::{Full, NotSent, Unanswered};
    for (said, want) in [
        (
            "-READONLY You can't write against a read only replica.",
            NotSent,
        ),
        ("-LOADING Redis is loading the dataset in memory", NotSent),
        ("-BUSY Redis is busy running a script.", NotSent),
        ("-NOSCRIPT No matching script.", NotSent),
        ("-MOVED 1 127.0.0.1:1", NotSent),
        ("-ASK 1 127.0.0.1:1", NotSent),
        (
            "-TRYAGAIN Multiple keys request during rehashing of slot",
            NotSent,
        ),
        ("-CLUSTERDOWN The cluster is down", NotSent),
        (
            "-CROSSSLOT Keys in request don't hash to the same slot",
            NotSent,
        ),
        ("-MASTERDOWN Link with MASTER is down", NotSent),
        ("-NOAUTH Authentication required.", NotSent),
        ("-WRONGPASS invalid username-password pair", NotSent),
        ("-NOPERM this user has no permissions", NotSent),
        (
            "-OOM command not allowed when used memory > 'maxmemory'.",
            Full,
        ),
        ("-ERR Error running script", Unanswered),
        ("-UNHEARDOF of", Unanswered),
        ("$-1", Unanswered),
        ("*0", Unanswered),
        ("*1\r\n$7\r\nsurpise", Unanswered),
        ("+OK", Unanswered),
        (":7", Unanswered),
        (":-1", Unanswered),
        ("$3\r\nabc", Unanswered),
    ] {
        let server = Scripted::start(said).await;
        let store = Store::open(&server.address()).await.unwrap();
        let attempt = attempt("k", 1);
        let owner = &attempt.owner;
        let (caller, quota) = (&owner.caller, Quota::per_minute(5));
        let admitted = store.admit(caller, &quota, None, &attempt).await;
        for (step, answer) in [
            ("hit", store.hit(caller, &quota).await.map(drop)),
            ("claim", store.claim(&attempt).await.map(drop)),
            ("admit", admitted.0.map(drop)),
            ("renew", store.renew(owner, LEASE).await.map(drop)),
            (
                "keep",
                store.finish(owner, &done(b""), LEASE).await.map(drop),
            ),
            (
                "finish",
                store
                    .finish(owner, &Outcome::Unknown, LEASE)
                    .await
                    .map(drop),
            ),
            ("release", store.release(owner).await.map(drop)),
        ] {
            let fault = answer.expect_err(&format!("{said} at {step}"));
            assert_eq!(fault.kind(), want, "{said} at {step}: {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_script_that_is_not_known_is_sent_once() {
    let server = Scripted::start("-NOSCRIPT No matching script.").await;
    let store = Store::open(&server.address()).await.unwrap();
    store.claim(&attempt("k", 1)).await.unwrap_err();
    assert_eq!(server.steps(), ["EVALSHA", "EVAL"]);
}

#[tokio::test]
async fn a_step_is_sent_once_where_it_may_have_been_taken() {
    for said in [
        "-ERR no",
        "-BUSY no",
        "-TRYAGAIN no",
        "-CLUSTERDOWN no",
        "+OK",
    ] {
        let server = Scripted::start(said).await;
        let store = Store::open(&server.address()).await.unwrap();
        store.claim(&attempt("k", 1)).await.unwrap_err();
        assert_eq!(server.steps(), ["EVALSHA"], "{said}");
    }
}

#[tokio::test]
async fn a_server_that_is_no_master_any_more_is_looked_up_anew() {
    let server = Scripted::start("-READONLY You can't write against a read only replica.").await;
    let store = Store::open(&server.address()).await.unwrap();
    let before = server.connections.load(Ordering::Acquire);
    store.claim(&attempt("k", 1)).await.unwrap_err();
    server.say("*2\r\n$7\r\nexecute\r\n:1");
    assert!(executes(&store, &attempt("k", 1)).await);
    assert_eq!(server.connections.load(Ordering::Acquire), before + 1);
}

/// A server that opens like a Redis, and answers every step with the same.
struct Scripted {
    address: String,
    said: Arc<Mutex<String>>,
    steps: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

// === impl Scripted ===

impl Scripted {
    async fn start(said: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: format!("redis://{}", listener.local_addr().unwrap()),
            said: Arc::new(Mutex::new(said.to_owned())),
            steps: Arc::default(),
            connections: Arc::default(),
        };
        let (said, steps) = (Arc::clone(&server.said), Arc::clone(&server.steps));
        let connections = Arc::clone(&server.connections);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::AcqRel);
                tokio::spawn(serve(client, Arc::clone(&said), Arc::clone(&steps)));
            }
        });
        server
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    fn say(&self, said: &str) {
        said.clone_into(&mut self.said.lock().unwrap());
    }

    /// The commands that were no preparation.
    fn steps(&self) -> Vec<String> {
        self.steps.lock().unwrap().clone()
    }
}

async fn serve(mut client: TcpStream, said: Arc<Mutex<String>>, steps: Arc<Mutex<Vec<String>>>) {
    let mut unread = Vec::new();
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = client.read(&mut bytes).await {
        unread.extend_from_slice(&bytes[..length]);
        while let Some((words, taken)) = command(&unread) {
            unread.drain(..taken);
            let reply = match &words[0][..] {
                "INFO" => {
                    let lines = "redis_version:7.0.0\r\nmaxmemory_policy:noeviction\r\nrole:master";
                    format!("${}\r\n{lines}", lines.len())
                }
                "SCRIPT" => "$6\r\ndigest".to_owned(),
                "PING" | "CLIENT" => "+OK".to_owned(),
                step => {
                    steps.lock().unwrap().push(step.to_owned());
                    said.lock().unwrap().clone()
                }
            };
            client
                .write_all(format!("{reply}\r\n").as_bytes())
                .await
                .unwrap();
        }
    }
}

/// One command, as RESP has it, and how many bytes it takes; nothing while some are missing.
fn command(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    let mut at = 0;
    let number = |bytes: &[u8], at: &mut usize| {
        let end = bytes
            .get(*at..)?
            .windows(2)
            .position(|pair| pair == b"\r\n")?;
        let digits = std::str::from_utf8(&bytes[*at + 1..*at + end]).unwrap();
        *at += end + 2;
        Some(digits.parse::<usize>().unwrap())
    };
    let mut words = Vec::new();
    for _ in 0..number(bytes, &mut at)? {
        let length = number(bytes, &mut at)?;
        let word = bytes.get(at..at + length + 2)?;
        words.push(String::from_utf8_lossy(&word[..length]).into_owned());
        at += length + 2;
    }
    Some((words, at))
}
