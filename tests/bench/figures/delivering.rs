//! Messages delivered a second, and how long one takes, beside a client that only posts.

use std::net::SocketAddr;
use std::time::Duration;

use harness::proof::Engine;
use harness::{Answer, Draft, Wire};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::rig::{CLIENTS, Rig, accepted, drive, order, simulator};

/// Accepts a queue while its number sends one message a second, and then lets all of it go,
/// with shaping off.
pub(crate) async fn ours(engine: Engine) -> f64 {
    let mut rig = Rig::start(engine, "shaping = true", 1);
    drive_queue(&rig).await;
    rig.reconfigure("shaping = true", "shaping = false");
    // The number still owes the time of what it sent slowly.
    let before = rig.accepted_after(rig.accepted().await + 1).await;
    let began = Instant::now();
    let after = rig.accepted_after(MESSAGES as u64).await;
    (after - before) as f64 / began.elapsed().as_secs_f64()
}

/// Posts of the same bodies, with as many connections.
pub(crate) async fn floor() -> f64 {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let (_process, address) = simulator(&folder);
    let rate = drive(address, CLIENTS, 200, post).await;
    assert!(
        accepted(address).await > 0,
        "the simulator counts what it accepts"
    );
    rate
}

/// The median and the 99th percentile of the time from 202 to the simulator's acceptance, and
/// the median of a bare post, in milliseconds.
pub(crate) async fn latency(engine: Engine) -> (u64, u64, f64) {
    let rig = Rig::start(engine, "", 1000);
    let mut wire = Wire::connect(rig.service).await;
    let mut answered = Vec::new();
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    for n in 0..SENDS {
        pace.tick().await;
        wire.send(&order(n, false)).await;
        let Answer::Reply(reply) = wire.answer(false).await else {
            panic!("the connection broke off");
        };
        assert_eq!(reply.status, 202, "{}", reply.text());
        let id = reply.json()["id"]
            .as_str()
            .expect("it has an id")
            .to_owned();
        answered.push((id, now_ms(rig.simulator).await));
    }
    while rig.accepted().await < SENDS as u64 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ask = Draft::get("/__sim/ledger");
    let ledger = Wire::connect(rig.simulator)
        .await
        .exchange(&ask)
        .await
        .json();
    let mut waits: Vec<u64> = answered
        .iter()
        .map(|(id, at)| accepted_at(&ledger, id).saturating_sub(*at))
        .collect();
    waits.sort_unstable();
    let mut bare = Vec::new();
    let mut wire = Wire::connect(rig.simulator).await;
    for n in 0..200 {
        let began = Instant::now();
        wire.send(&post(n)).await;
        wire.answer(false).await;
        bare.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let at = |share: usize| waits[(waits.len() - 1) * share / 100];
    (at(50), at(99), super::rig::median(&mut bare))
}

async fn drive_queue(rig: &Rig) {
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let address = rig.service;
        clients.spawn(async move {
            let mut wire = Wire::connect(address).await;
            for n in (client..MESSAGES).step_by(CLIENTS) {
                wire.send(&order(n, false)).await;
                wire.answer(false).await;
            }
        });
    }
    clients.join_all().await;
}

/// The simulator's clock, which its ledger is written by.
async fn now_ms(simulator: SocketAddr) -> u64 {
    let ask = Draft::get("/__sim/healthz");
    let health = Wire::connect(simulator).await.exchange(&ask).await.json();
    health["now_ms"].as_u64().expect("it has a clock")
}

fn accepted_at(ledger: &Value, id: &str) -> u64 {
    let rows = ledger["rows"].as_array().expect("a ledger has rows");
    let row = rows.iter().find(|row| {
        let token = row["token"].as_str().unwrap_or_default();
        token.contains(id)
    });
    let at = row.and_then(|row| row["accepted_at_ms"].as_u64());
    at.expect("everything was accepted")
}

fn post(n: usize) -> Vec<u8> {
    let body = json!({
        "messaging_product": "whatsapp", "recipient_type": "individual",
        "to": format!("+1650{:07}", n % 10_000_000), "type": "template",
        "template": {"name": "hello_world", "language": {"code": "en_US"}},
        "biz_opaque_callback_data": format!("m1.00000000-0000-7000-8000-{n:012}.1.abcdefghij"),
    })
    .to_string();
    format!(
        "POST /v25.0/106540352242922/messages HTTP/1.1\r\nhost: a\r\n\
         authorization: Bearer demo-access-token\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

const MESSAGES: usize = 6400;

const SENDS: usize = 1000;
