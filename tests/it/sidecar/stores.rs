//! `store` in the configuration, with the real binary: what it keeps across a restart, what
//! two sidecars share, and what it says where a store cannot be opened.

use harness::{Draft, Edge, Pod, Reply};
use vestibule::testing::server::{PostgresServer, RedisServer};

#[tokio::test]
async fn a_file_keeps_responses_and_counts_across_a_restart() {
    // Named relative to the folder of the configuration, whatever the process works in.
    for (store, file) in [
        ("", "vestibule.redb"),
        ("store = 'file:kept.redb'", "kept.redb"),
    ] {
        let pod = Pod::new(store).await;
        let edge = pod.start().await;
        assert!(pod.path(file).exists(), "{store}");
        let first = edge.send(&charge("k")).await;
        assert_eq!(first.status, 201, "{store}");
        assert_eq!(left(&edge).await, "200 4", "{store}");
        assert_eq!(left(&edge).await, "200 3", "{store}");
        assert!(edge.end("TERM").await.success(), "{store}");

        let edge = pod.start().await;
        is_replayed(&first, &edge.send(&charge("k")).await);
        for want in ["200 2", "200 1", "200 0", "429 0"] {
            assert_eq!(left(&edge).await, want, "{store}");
        }
        let executions = |method| {
            let received = pod.origin.received().into_iter();
            received.filter(|one| one.method == method).count()
        };
        assert_eq!((executions("POST"), executions("GET")), (1, 5), "{store}");
    }
}

#[tokio::test]
async fn two_sidecars_share_a_redis() {
    let server = RedisServer::start(&[]);
    two_sidecars_share(&format!("store = '{}'", server.address())).await;
}

#[tokio::test]
async fn two_sidecars_share_a_database_and_the_redis_that_counts_beside_it() {
    let (database, counters) = (PostgresServer::shared(), RedisServer::start(&[]));
    let store = database.database();
    let top = format!("store = '{store}'\ncounters = '{}'", counters.address());
    two_sidecars_share(&top).await;
}

#[tokio::test]
async fn counters_can_lie_elsewhere_beside_a_database_only() {
    let pod = Pod::new("store = 'memory:'\ncounters = 'redis://127.0.0.1:1'").await;
    let output = pod.command().output().expect("the binary is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains(":5: store \"redis://127.0.0.1:1\": it counts by itself"),
        "{said}"
    );
}

async fn two_sidecars_share(top: &str) {
    let pod = Pod::new(top).await;
    let (one, other) = tokio::join!(pod.start(), pod.start());
    for (edge, want) in [
        (&one, "200 4"),
        (&other, "200 3"),
        (&one, "200 2"),
        (&one, "200 1"),
        (&other, "200 0"),
        (&one, "429 0"),
        (&other, "429 0"),
    ] {
        assert_eq!(left(edge).await, want);
    }
    let running = charge("running").origin("wait go");
    let asked = async {
        let first = one.send(&running);
        let second = async {
            pod.origin.executes(6).await;
            let second = other.send(&running).await;
            pod.origin.open("go");
            second
        };
        tokio::join!(first, second)
    };
    let (first, second) = asked.await;
    assert_eq!(second.verdict(), "409 idempotency_key_in_progress");
    assert_eq!(first.status, 201);
    is_replayed(&first, &other.send(&charge("running")).await);
    assert!(one.end("TERM").await.success());
    is_replayed(&first, &pod.start().await.send(&charge("running")).await);
    assert_eq!(pod.origin.executions(), 6, "five are not keyed");
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_said_with_file_line_and_value() {
    for (top, held, fault) in [
        (
            "store = 'file:held.redb'",
            true,
            "the file \"{path}\" is in use by another process, or by another store of this one",
        ),
        (
            "store = 'file:nowhere/held.redb'",
            false,
            "the file \"{path}\" cannot be opened as a store: No such file or directory (os error 2)",
        ),
    ] {
        let pod = Pod::new(top).await;
        let first = match held {
            true => Some(pod.start().await),
            false => None,
        };
        let output = pod.command().output().expect("the binary is there");
        let path = pod.path(
            top.trim_start_matches("store = 'file:")
                .trim_end_matches('\''),
        );
        let path = path.display().to_string();
        let want = format!(
            "vestibule: {}:4: store \"file:{path}\": {}\n",
            pod.config().display(),
            fault.replace("{path}", &path)
        );
        assert_eq!(String::from_utf8_lossy(&output.stderr), want);
        assert_eq!(output.status.code(), Some(1), "{top}");
        if let Some(first) = first {
            assert_eq!(first.send(&charge("k")).await.status, 201, "it goes on");
        }
    }
}

#[tokio::test]
async fn memory_forgets_with_the_process() {
    let pod = Pod::new("store = 'memory:'").await;
    let edge = pod.start().await;
    let first = edge.send(&charge("k")).await;
    is_replayed(&first, &edge.send(&charge("k")).await);
    assert!(edge.end("TERM").await.success());
    let again = pod.start().await.send(&charge("k")).await;
    assert!(again.status == 201 && !again.has("idempotent-replayed"));
    assert_eq!(pod.origin.executions(), 2);
}

fn charge(key: &str) -> Draft {
    let charge = Draft::post("/v1/charges").key("full").idempotency_key(key);
    charge
        .origin("status 201")
        .origin("header Location: /v1/charges/17")
}

fn is_replayed(first: &Reply, second: &Reply) {
    assert_eq!(second.one("idempotent-replayed"), "true", "{second:?}");
    assert_eq!((second.status, &second.body), (first.status, &first.body));
    assert_eq!(second.one("location"), first.one("location"));
}

/// A request of a key that has five a minute: its status, and how many it has left.
async fn left(edge: &Edge) -> String {
    let reply = edge
        .send(&Draft::get("/v1/charges/17").key("limited"))
        .await;
    format!("{} {}", reply.status, reply.one("x-ratelimit-remaining"))
}
