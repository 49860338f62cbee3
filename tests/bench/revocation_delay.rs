//! Measures how long after a revocation a key is still taken, at a sidecar that learns of it
//! through the Redis that both share: `cargo run -p vestibule-tests --example revocation_delay`.

#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use std::time::Duration;

use harness::{Draft, Replicas};
use tokio::time::Instant;
use vestibule::clock::Timestamp;

#[tokio::main]
async fn main() {
    let replicas = Replicas::start().await;
    let mut delays = Vec::new();
    let mut requests = Vec::new();
    let mut late = 0;
    for number in 0..REVOCATIONS {
        let name = format!("revoked-{number}");
        replicas
            .create(&name, |record| record.per_minute(1_000_000))
            .await;
        let draft = Draft::get("/v1/charges/17").key(&name);
        let (revoked, mut told) = tokio::sync::oneshot::channel();
        let mut wire = replicas.edges[1].wire().await;
        let client = tokio::spawn(async move {
            let (mut seen, mut late) = (Vec::new(), 0);
            loop {
                let sent = Instant::now();
                let reply = wire.exchange(&draft).await;
                if reply.status == 401 {
                    let revoked = told.await.expect("it is told before it may be refused");
                    return (revoked, Instant::now(), seen, late);
                }
                assert_eq!(reply.status, 200);
                seen.push(sent.elapsed());
                // Whether this request was sent after the revocation was answered.
                if let Ok(revoked) = told.try_recv() {
                    late += u32::from(sent > revoked);
                    told = again(revoked);
                }
            }
        });
        // A client that is in the middle of its work.
        tokio::time::sleep(Duration::from_millis(20)).await;
        replicas
            .change(&name, |record| record.revoked(Timestamp::EPOCH))
            .await;
        let _ = revoked.send(Instant::now());
        let (revoked, refused, seen, passed) = client.await.expect("a client panics not");
        delays.push(refused.saturating_duration_since(revoked));
        requests.extend(seen);
        late += passed;
    }
    let [delay, request] = [delays, requests].map(|mut times| {
        times.sort_unstable();
        (times[times.len() / 2], times[times.len() - 1])
    });
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{REVOCATIONS} revocations, two sidecars on one Redis, a client in a loop at one of them"
    );
    println!("requests that were sent after the answer to a revocation, and passed: {late}");
    println!(
        "from that answer to the first 401, in ms: median {:.2}, max {:.2}",
        millis(delay.0),
        millis(delay.1)
    );
    println!(
        "a request of that client, in ms: median {:.2}, max {:.2}",
        millis(request.0),
        millis(request.1)
    );
}

/// A channel in which this lies already.
fn again(revoked: Instant) -> tokio::sync::oneshot::Receiver<Instant> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let _ = sender.send(revoked);
    receiver
}

const REVOCATIONS: usize = 100;
