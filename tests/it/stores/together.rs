//! Two replicas are one: they claim, replay and count together.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use harness::{Draft, Edge, PATIENCE, Replicas, Reply};
use tokio::time::timeout;
use vestibule::api_key::KeyRecordBuilder;

#[tokio::test]
async fn of_200_requests_under_one_key_at_two_replicas_one_is_executed() {
    let replicas = Replicas::start().await;
    handed_out(&replicas).await;
    let waiting = charge().origin("wait for all").origin("status 201");
    let edges = replicas.edges.iter().cycle().take(200);
    let mut sent: FuturesUnordered<_> = edges
        .map(|edge| repeated(edge, &waiting, &["201", IN_PROGRESS]))
        .collect();
    // The one that is executed is not answered yet: all others are told to come again.
    for _ in 1..200 {
        let refused = sent.next().await.unwrap();
        assert_eq!(refused.verdict(), IN_PROGRESS);
        assert!(refused.has("retry-after"));
    }
    replicas.origin.open("for all");
    let last = sent.next().await.unwrap();
    let mut replies = Vec::new();
    for edge in &replicas.edges {
        replies.push(repeated(edge, &charge(), &["201"]).await);
    }
    assert_eq!(executions(&replicas), 1);
    if last.status == 201 {
        assert!(!last.has("idempotent-replayed"));
        for replay in replies {
            is_replay(&replay, &last);
        }
    }
}

#[tokio::test]
async fn of_200_requests_at_once_one_is_executed_and_the_others_wait_or_replay() {
    let replicas = Replicas::start().await;
    handed_out(&replicas).await;
    let draft = charge().origin("status 201");
    let edges = replicas.edges.iter().cycle().take(200);
    let sent: FuturesUnordered<_> = edges.map(|edge| repeated(edge, &draft, &["201"])).collect();
    let replies: Vec<_> = sent.collect().await;
    let (replays, firsts): (Vec<_>, Vec<_>) = replies
        .iter()
        .partition(|reply| reply.has("idempotent-replayed"));
    assert_eq!((firsts.len(), executions(&replicas)), (1, 1));
    for replay in replays {
        is_replay(replay, firsts[0]);
    }
}

#[tokio::test]
async fn a_limit_is_counted_over_both_replicas() {
    let replicas = Replicas::start().await;
    let limited = |record: KeyRecordBuilder| record.per_minute(7);
    replicas.create("limited", limited).await;
    let read = Draft::get("/v1/charges/17").key("limited");
    for (place, want) in ["6", "5", "4", "3", "2", "1", "0"].into_iter().enumerate() {
        let reply = replicas.edges[place % 2].send(&read).await;
        let found = (reply.status, reply.one("x-ratelimit-remaining"));
        assert_eq!(found, (200, want));
    }
    for edge in &replicas.edges {
        assert_eq!(edge.send(&read).await.status, 429);
    }
}

/// A key that both replicas know: of a hundred look-ups at once some would be late.
async fn handed_out(replicas: &Replicas) {
    let busy = |record: KeyRecordBuilder| record.per_minute(1_000_000);
    replicas.create("full", busy).await;
    let read = Draft::get("/v1/charges/17").key("full");
    for edge in &replicas.edges {
        repeated(edge, &read, &["200"]).await;
    }
}

/// Sends a request until the answer is one of these, as a client does that is told to come
/// again: by a 409, or by a 503 where a busy machine let a deadline pass.
async fn repeated(edge: &Edge, draft: &Draft, wanted: &[&str]) -> Reply {
    let answered = async {
        loop {
            let reply = edge.send(draft).await;
            let verdict = reply.verdict();
            if wanted.contains(&&*verdict) {
                return reply;
            }
            let is_to_come_again = verdict.starts_with("503 ") || verdict == IN_PROGRESS;
            assert!(is_to_come_again && reply.has("retry-after"), "{verdict}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, answered).await.expect("it is answered")
}

fn is_replay(replay: &Reply, first: &Reply) {
    assert_eq!(replay.one("idempotent-replayed"), "true");
    assert_eq!((replay.status, &replay.body), (first.status, &first.body));
    let original = replay.one("x-original-correlation-id");
    assert_eq!(original, first.one("x-correlation-id"));
}

fn executions(replicas: &Replicas) -> usize {
    let received = replicas.origin.received().into_iter();
    received.filter(|one| one.method == "POST").count()
}

fn charge() -> Draft {
    Draft::post("/v1/charges").key("full").idempotency_key("k")
}

const IN_PROGRESS: &str = "409 idempotency_key_in_progress";
