//! P4: windows that end while messages wait, and windows of which Meta knows better.

use harness::proof::{Crowd, Engine, Ledger, Site, customer_of};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::until;

/// More texts are accepted than one customer may be sent before the window ends. Meta's
/// clock is ahead of ours, by less than what is held back for the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_text_that_waits_is_sent_after_its_window() {
    let site = Site::start(Engine::Sqlite, &mut StdRng::seed_from_u64(17)).await;
    let crowd = Crowd::new(&site, 20);
    let user = customer_of(0);
    let opened = now(&site).await - DAY + 90;
    site.tell("clock", &json!({"advance_ms": 3000})).await;
    site.tell(
        "inbound",
        &json!({"user": user, "text": "Hello", "timestamp": opened}),
    )
    .await;
    until("the window opens", async || crowd.is_open(&user).await).await;
    let mut told = Vec::new();
    for turn in 0..22 {
        told.push(crowd.send(turn * crowd.customers()).await);
    }
    let (mut sent, mut late) = (0, 0);
    let mut ends = Vec::new();
    for one in &told {
        let mut message = Value::Null;
        until("all have an end", async || {
            message = crowd.read(&one.id).await.unwrap_or_default();
            message["status"] == "read" || message["status"] == "failed"
        })
        .await;
        ends.push((one, message));
    }
    let ledger = Ledger::read(&site).await;
    assert_eq!(ledger.outside_window(), 0, "{ledger:?}");
    for (one, message) in ends {
        let is_read = message["status"] == "read";
        assert_eq!(ledger.accepted(&one.id), usize::from(is_read), "{message}");
        if is_read {
            sent += 1;
        } else {
            assert_eq!(message["error"]["code"], "window_closed", "{message}");
            late += 1;
        }
    }
    assert!(
        sent > 0 && late > 0,
        "{sent} were sent, and {late} too late"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_is_counted_from_what_the_customer_did() {
    let site = Site::start(Engine::Sqlite, &mut StdRng::seed_from_u64(18)).await;
    let crowd = Crowd::new(&site, 40);
    for (customer, (fault, opens)) in [
        (json!({"fault": "ts_old", "ms": 25 * HOUR}), false),
        (json!({"fault": "ts_missing"}), false),
        (json!({"fault": "ts_old", "ms": 23 * HOUR}), true),
        (json!({"fault": "ts_future", "ms": 2 * HOUR}), true),
        (json!({"fault": "ts_ms"}), true),
        (json!({"fault": "unknown_type"}), true),
        (json!({"fault": "unknown_field"}), true),
    ]
    .into_iter()
    .enumerate()
    {
        let (user, next) = (customer_of(customer), customer_of(10 + customer));
        site.tell("faults", &fault).await;
        site.tell("inbound", &json!({"user": user, "text": "Hello"}))
            .await;
        until("the fault has struck", async || {
            site.ask("faults").await["faults"] == json!([])
        })
        .await;
        // Worked off after it, and a moment later by Meta's clock.
        let later = now(&site).await + 5;
        let hello = json!({"user": next, "text": "Hello", "timestamp": later});
        site.tell("inbound", &hello).await;
        until("the next is heard", async || crowd.is_open(&next).await).await;
        let end = crowd.open_until(&user).await;
        assert_eq!(end.is_some(), opens, "{fault}");
        // Both are moments of one length, so the later one is the greater text.
        assert!(end < crowd.open_until(&next).await, "{fault}: {end:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_meta_calls_closed_is_closed_until_the_customer_writes_again() {
    let site = Site::start(Engine::Sqlite, &mut StdRng::seed_from_u64(19)).await;
    let crowd = Crowd::new(&site, 20);
    let user = customer_of(0);
    let hello = json!({"user": user, "text": "Hello"});
    site.tell("inbound", &hello).await;
    until("the window opens", async || crowd.is_open(&user).await).await;
    site.tell("faults", &json!({"fault": "window_disagree"}))
        .await;
    let told = crowd.send(0).await;
    until("Meta's word is heard", async || {
        let message = crowd.read(&told.id).await.unwrap_or_default();
        message["error"]["code"] == "window_closed"
    })
    .await;
    assert_eq!(Ledger::read(&site).await.accepted(&told.id), 1);
    let refused = crowd.offer(10, &Value::Null).await;
    assert_eq!(refused.unwrap_err(), "outside_24h_window");
    let later = now(&site).await + 2;
    let hello = json!({"user": user, "text": "Hello", "timestamp": later});
    site.tell("inbound", &hello).await;
    until("the window opens again", async || {
        crowd.is_open(&user).await
    })
    .await;

    // Where Meta says so at once, once is worth it: it may know better a moment later.
    let settings = json!({"window_mode": "sync", "read_ms": [20, 250]});
    site.tell("world", &json!({"settings": settings})).await;
    site.tell("faults", &json!({"fault": "window_disagree"}))
        .await;
    let told = crowd.send(20).await;
    until("it is read", async || {
        crowd.read(&told.id).await.unwrap_or_default()["status"] == "read"
    })
    .await;
    assert_eq!(site.refusals(131_047).await, 1);
    assert_eq!(Ledger::read(&site).await.accepted(&told.id), 1);
}

/// Meta's time, in seconds.
async fn now(site: &Site) -> u64 {
    let now = site.ask("healthz").await["now_ms"].as_u64();
    now.expect("it tells the time") / 1000
}

const DAY: u64 = 86_400;

/// In milliseconds.
const HOUR: u64 = 3_600_000;
