//! One corpus of requests, sent to both mountings: their answers are equal byte for byte,
//! apart from a list.
//!
//! A case of the corpus is one connection; its files say how to read them. What may differ,
//! and why, is in [`differences`] alone. An entry that is no longer needed fails the test.

mod comparison;
mod corpus;
mod differences;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use harness::{Answer, Draft, Mounting, Origin, Setup, Wire};

use self::comparison::Observed;
use self::corpus::{Case, corpus, id};
use self::differences::DIFFERENCES;

#[tokio::test]
async fn both_mountings_answer_alike() {
    let cases = corpus();
    let requests: usize = cases.iter().map(|case| case.requests.len()).sum();
    assert!(requests >= 200, "the corpus has {requests} requests");

    let in_process = setup(&cases).mount(Mounting::InProcess).await;
    let sidecar = setup(&cases).mount_configured().await;
    let (mut faults, mut seen) = (Vec::new(), BTreeSet::new());
    for case in &cases {
        let one = observe(in_process.address, &in_process.origin, case).await;
        let other = observe(sidecar.address, &sidecar.origin, case).await;
        for (request, answer) in case.requests.iter().zip(&one.answers) {
            if answer.verdict() != request.verdict {
                let found = answer.verdict();
                faults.push(format!("{}: {found}, not {}", case.name, request.verdict));
            }
        }
        for difference in one.differences(&other) {
            if !DIFFERENCES
                .iter()
                .any(|entry| entry.covers(&case.name, &difference))
            {
                faults.push(format!("{}: {difference}", case.name));
            }
            seen.insert((case.name.clone(), difference));
        }
    }
    faults.extend(DIFFERENCES.iter().flat_map(|entry| entry.unneeded(&seen)));
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// A key for each case, so that none spends the budget of another.
fn setup(cases: &[Case]) -> Setup {
    let ample = |setup: Setup, case: &Case| setup.key(&id(&case.name), |key| key.per_minute(1000));
    cases.iter().fold(Setup::new(), ample)
}

/// Sends a case on one connection, and one more request after it: whatever a case left
/// behind on the connection would be taken for a part of that one.
async fn observe(address: SocketAddr, origin: &Origin, case: &Case) -> Observed {
    let before = origin.executions();
    let mut wire = Wire::connect(address).await;
    let mut answers = Vec::new();
    for burst in case.bursts() {
        let bytes: Vec<u8> = burst
            .iter()
            .flat_map(|request| request.bytes.clone())
            .collect();
        wire.send(&bytes).await;
        for request in burst {
            answers.push(wire.answer(request.is_head).await);
        }
    }
    let canary = Draft::get("/healthz").origin("body canary");
    wire.send(&canary.to_bytes()).await;
    let afterwards = match wire.answer(false).await {
        Answer::Reply(reply) => reply.text(),
        Answer::Closed => "closed".to_owned(),
        Answer::Silence => "silence".to_owned(),
    };
    let received = origin.received().split_off(before);
    Observed::new(answers, &received, afterwards)
}
