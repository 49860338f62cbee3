//! Each fault by itself, and what a client sees of it.

use std::time::Duration;

use harness::proof::{Crowd, Engine, Ledger, Site, customer_of};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_costs_what_it_must_and_no_more() {
    let site = Site::start(Engine::Sqlite, &mut StdRng::seed_from_u64(7)).await;
    let rows = rows();
    // An odd number of customers, so that each has a turn that is odd: those are templates.
    let crowd = Crowd::new(&site, 2 * (rows.len() | 1));
    let mut clients = Vec::new();
    for (number, (fault, ..)) in rows.iter().enumerate() {
        let mut order = fault.clone();
        order["to"] = json!(customer_of(number));
        site.tell("faults", &order).await;
        let crowd = crowd.clone();
        let turn = match number % 2 {
            1 => number,
            _ => number + crowd.customers(),
        };
        clients.push(tokio::spawn(async move { crowd.send(turn).await }));
    }
    for (client, (fault, want, times)) in clients.into_iter().zip(&rows) {
        let told = client.await.expect("the client is answered");
        let mut shown = Value::Null;
        let ends = async {
            while shown_of(&shown) != *want {
                tokio::time::sleep(Duration::from_millis(50)).await;
                shown = crowd.read(&told.id).await.unwrap_or_default();
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(40), ends).await;
        assert!(
            ended.is_ok(),
            "{fault}: {want} was to come, and there is {shown}"
        );
        let accepted = Ledger::read(&site).await.accepted(&told.id);
        assert_eq!(accepted, *times, "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_prefers_twice_to_never_is_sent_again() {
    let site = Site::start(Engine::Sqlite, &mut StdRng::seed_from_u64(9)).await;
    let crowd = Crowd::new(&site, 9);
    let wish = json!({"policy": "at_least_once"});
    // Customers 1 and 3; what Meta says of the second one's first message is lost.
    for (turn, faults, times) in [
        (1, vec![json!({"fault": "http", "status": 502})], 1),
        (
            3,
            vec![
                json!({"fault": "process_then_reset"}),
                json!({"fault": "drop", "times": 3}),
            ],
            2,
        ),
    ] {
        for mut fault in faults {
            fault["to"] = json!(customer_of(turn));
            site.tell("faults", &fault).await;
        }
        let told = crowd.send_as(turn, &wish).await;
        let ends = async {
            loop {
                let message = crowd.read(&told.id).await.unwrap_or_default();
                if message["status"] == "read" {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(60), ends).await;
        assert!(ended.is_ok(), "message {turn} is sent again, and read");
        let accepted = Ledger::read(&site).await.accepted(&told.id);
        assert_eq!(accepted, times, "message {turn}");
    }
}

/// Who cannot connect has sent nothing: whatever the sender prefers, it is sent again, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_left_is_sent_as_soon_as_somebody_listens() {
    let site = Site::start(Engine::Sqlite, &mut StdRng::seed_from_u64(11)).await;
    let crowd = Crowd::new(&site, 10);
    let nobody = json!({"fault": "refuse_connect", "ms": null});
    site.tell("faults", &nobody).await;
    let told = crowd.send(1).await;
    let outcomes = || -> Vec<Value> {
        let shown = site.operate(&["messages", "show", &told.id, "--json"]);
        let tries = shown[0]["tries"].as_array().cloned().unwrap_or_default();
        tries.iter().map(|one| one["outcome"].clone()).collect()
    };
    let refused = json!("not_sent");
    until("an attempt finds nobody", async || {
        outcomes().contains(&refused)
    })
    .await;
    assert_eq!(Ledger::read(&site).await.accepted(&told.id), 0);
    site.forgive().await;
    until("it is read", async || {
        shown_of(&crowd.read(&told.id).await.unwrap_or_default()) == "read"
    })
    .await;
    assert_eq!(Ledger::read(&site).await.accepted(&told.id), 1);
    let (last, others) = outcomes()
        .split_last()
        .map_or_else(Default::default, |(last, others)| {
            (last.clone(), others.to_vec())
        });
    assert_eq!(last, "accepted");
    assert!(others.iter().all(|one| *one == refused), "{others:?}");
}

/// The status, or why it failed.
fn shown_of(message: &Value) -> &str {
    let code = message["error"]["code"].as_str();
    code.or_else(|| message["status"].as_str())
        .unwrap_or_default()
}

/// The fault, what becomes of the message, and how often Meta has it.
fn rows() -> Vec<(Value, &'static str, usize)> {
    let webhooks = of_webhooks().into_iter();
    let webhooks = webhooks.map(|fault| (fault, "read", 1));
    of_sends().into_iter().chain(webhooks).collect()
}

fn of_sends() -> Vec<(Value, &'static str, usize)> {
    let graph = |code: u32| json!({"fault": "graph", "code": code});
    let http = |status: u16, body: &str| json!({"fault": "http", "status": status, "body": body});
    vec![
        (json!({"fault": "process_then_reset"}), "read", 1),
        (json!({"fault": "process_then_hang", "ms": 2500}), "read", 1),
        (json!({"fault": "process_then_truncate"}), "read", 1),
        (json!({"fault": "hang_then_process", "ms": 2500}), "read", 1),
        (json!({"fault": "latency", "ms": 300}), "read", 1),
        (
            json!({"fault": "drip", "bytes_per_second": 3000}),
            "read",
            1,
        ),
        (json!({"fault": "keepalive_close"}), "read", 1),
        (json!({"fault": "h2_goaway"}), "read", 1),
        (json!({"fault": "before_response"}), "read", 1),
        (
            json!({"fault": "fail", "code": 131_026}),
            "undeliverable",
            1,
        ),
        (
            json!({"fault": "fail", "code": 131_049, "after_sent": true}),
            "delivery_withheld",
            1,
        ),
        // Meta refused it, and takes it the next time.
        (graph(2), "read", 1),
        (graph(131_016), "read", 1),
        (graph(131_056), "read", 1),
        (graph(131_026), "undeliverable", 0),
        (graph(131_047), "window_closed", 0),
        (graph(132_001), "template_not_found", 0),
        (graph(130_497), "country_not_allowed", 0),
        (http(400, "<html>"), "rejected", 0),
        // Nobody can tell whether it was sent, and nobody sends it again. Over HTTP/1.1 the
        // refused stream is a connection that was reset.
        (json!({"fault": "h2_refused_stream"}), "outcome_unknown", 0),
        (http(502, "<html>"), "outcome_unknown", 0),
        (http(200, ""), "outcome_unknown", 0),
        (http(200, "{}"), "outcome_unknown", 0),
    ]
}

/// However Meta tells what became of a message, it is known in the end.
fn of_webhooks() -> Vec<Value> {
    vec![
        json!({"fault": "reorder"}),
        json!({"fault": "reorder", "window_ms": 300, "times": 3}),
        json!({"fault": "delay", "ms": 500, "times": 3}),
        json!({"fault": "duplicate", "copies": 3, "times": 3}),
        json!({"fault": "bad_signature"}),
        json!({"fault": "tampered_body"}),
        json!({"fault": "old_secret", "times": 3}),
        json!({"fault": "unescaped_body"}),
        json!({"fault": "unescaped_body", "signed_anew": true, "times": 3}),
        json!({"fault": "oversize", "times": 3}),
        json!({"fault": "omit_phone", "times": 3}),
        json!({"fault": "ts_ms", "times": 3}),
        json!({"fault": "ts_missing", "times": 3}),
        json!({"fault": "ts_future", "ms": 2 * HOUR, "times": 3}),
        // Longer than Meta tries to deliver.
        json!({"fault": "ts_old", "ms": 960 * HOUR, "times": 3}),
        json!({"fault": "unknown_field", "times": 3}),
        // Of the three words one is lost, and the others still tell.
        json!({"fault": "unknown_status"}),
    ]
}

/// In milliseconds.
const HOUR: u64 = 3_600_000;
