//! A sidecar that is killed under load: what it answered it answers again, and nothing is
//! executed twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use harness::{Answer, Draft, Pod, Reply, Wire, eventually};
use tokio::task::JoinSet;
use vestibule::clock::{Clock, SystemClock};
use vestibule::testing::ManualClock;
use vestibule_sidecar::Sidecar;
use vestibule_sidecar::config::Config;

use super::world::address;

/// What became of the requests of all rounds, by their numbers.
#[derive(Debug, Default)]
struct Ledger {
    answered: HashMap<usize, Reply>,
    /// The origin executed them, or nobody did: their clients were not told.
    cut: Vec<usize>,
    /// They were being executed when the sidecar was killed.
    running: Vec<usize>,
}

#[tokio::test]
async fn a_killed_sidecar_forgets_no_answer_and_executes_nothing_twice() {
    let pod = Pod::new("store = 'file:store.redb'").await;
    let mut ledger = Ledger::default();
    for round in 0..KILLED {
        kill_under_load(&pod, round, &mut ledger).await;
    }
    assert!(ledger.answered.len() >= KILLED * ANSWERED);

    let edge = pod.start().await;
    let before = executions(&pod);
    for (number, first) in &ledger.answered {
        is_replayed(first, &edge.send(&request(*number)).await);
    }
    for number in &ledger.running {
        let verdict = edge.send(&request(*number)).await.verdict();
        let held = ["409 idempotency_key_in_progress", UNKNOWN];
        assert!(held.contains(&&*verdict), "{number}: {verdict}");
    }
    assert_eq!(executions(&pod), before, "nothing of this is executed");
    for number in &ledger.cut {
        let verdict = edge.send(&request(*number)).await.verdict();
        let told = ["201", "409 idempotency_key_in_progress", UNKNOWN];
        assert!(told.contains(&&*verdict), "{number}: {verdict}");
    }
    assert!(edge.end("KILL").await.code().is_none());

    // The same file, once the last lease has lapsed.
    let clock = ManualClock::at(SystemClock.now() + LEASE);
    let config = Config::read(pod.config()).unwrap();
    let running = Sidecar::new(config).clock(clock.shared()).spawn().unwrap();
    let mut wire = Wire::connect(address(&running)).await;
    for number in &ledger.running {
        let reply = wire.exchange(&request(*number)).await;
        assert_eq!(reply.verdict(), UNKNOWN, "{number}");
    }
    for number in &ledger.cut {
        let verdict = wire.exchange(&request(*number)).await.verdict();
        assert!(["201", UNKNOWN].contains(&&*verdict), "{number}: {verdict}");
    }
    for (number, first) in &ledger.answered {
        is_replayed(first, &wire.exchange(&request(*number)).await);
    }
    for (body, times) in executions(&pod) {
        assert_eq!(times, 1, "{body}");
    }
}

/// Starts a sidecar, sends it requests from several clients, and kills it in the midst.
async fn kill_under_load(pod: &Pod, round: usize, ledger: &mut Ledger) {
    let edge = pod.start().await;
    let begun = pod.origin.executions();
    // No number is given twice.
    let next = Arc::new(AtomicUsize::new(round * 1_000_000));
    let mut held = Vec::new();
    for _ in 0..HELD {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let mut wire = Wire::connect(edge.address).await;
        wire.send(&request(number).origin("wait for ever").to_bytes())
            .await;
        ledger.running.push(number);
        held.push(wire);
    }
    pod.origin.executes(begun + HELD).await;

    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (next, answered) = (Arc::clone(&next), Arc::clone(&answered));
        let mut wire = Wire::connect(edge.address).await;
        clients.spawn(async move {
            let mut replies = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                wire.send(&request(number).to_bytes()).await;
                match wire.answer(false).await {
                    // A disk that is late; nothing was executed.
                    Answer::Reply(reply) if reply.verdict() == LATE => continue,
                    Answer::Reply(reply) if reply.is_whole => replies.push((number, reply)),
                    _ => return (replies, number),
                }
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let enough = || answered.load(Ordering::Relaxed) >= ANSWERED;
    eventually("requests are answered", enough).await;
    assert!(edge.end("KILL").await.code().is_none());
    while let Some(client) = clients.join_next().await {
        let (replies, cut) = client.unwrap();
        ledger.answered.extend(replies);
        ledger.cut.push(cut);
    }
}

/// Sends what only this number sends, and is answered what only it is answered.
fn request(number: usize) -> Draft {
    let charge = Draft::post("/v1/charges").key("full");
    charge
        .json(&format!("{{\"number\":{number}}}"))
        .idempotency_key(&number.to_string())
        .origin("status 201")
        .origin(&format!("header Location: /v1/charges/{number}"))
        .origin(&format!("body {number}{}", "-".repeat(number % 7 * 500)))
}

fn is_replayed(first: &Reply, second: &Reply) {
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(second.one("idempotent-replayed"), "true", "{second:?}");
    assert_eq!((second.status, &second.body), (201, &first.body));
    assert_eq!(second.one("location"), first.one("location"));
    let id = first.one("x-correlation-id");
    assert_eq!(second.one("x-original-correlation-id"), id);
}

/// How often each number was executed.
fn executions(pod: &Pod) -> HashMap<String, usize> {
    let mut executions = HashMap::new();
    for received in pod.origin.received() {
        let body = String::from_utf8_lossy(&received.body).into_owned();
        *executions.entry(body).or_default() += 1;
    }
    executions
}

const KILLED: usize = 3;
const CLIENTS: usize = 8;
const ANSWERED: usize = 100;
const HELD: usize = 3;
const UNKNOWN: &str = "409 idempotency_outcome_unknown";
const LATE: &str = "503 idempotency_store_unavailable";

/// More than a lease lasts.
const LEASE: Duration = Duration::from_secs(11);
