//! What goes wrong while clients send: faults of the simulator, and kills.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::Site;
use super::crowd::Written;

/// What was done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) kills: usize,
    pub(super) faults: usize,
}

/// Orders faults and kills processes, until everything is sent and everybody was killed who
/// was to be.
pub(super) async fn make<T>(
    site: &mut Site,
    sending: &JoinHandle<T>,
    written: &[Written],
    kills: usize,
    random: &mut StdRng,
) -> Done {
    let faults = faults();
    let mut done = Done {
        kills: 0,
        faults: 1,
    };
    // P7 is about these, whatever is drawn.
    let lost = json!({"fault": "process_then_reset", "times": 5});
    site.tell("faults", &lost).await;
    while !sending.is_finished() || done.kills < kills {
        for _ in 0..random.random_range(1..4) {
            let fault = faults.choose(random).expect("there are faults");
            site.tell("faults", fault).await;
            done.faults += 1;
        }
        // P6: what came before may come again, and whoever took it for a message of its own
        // would take the time that it shows now.
        let one = written.choose(random).expect("somebody wrote");
        let again = json!({"user": one.user, "id": one.id, "text": "Hello"});
        site.tell("inbound", &again).await;
        if done.kills < kills && random.random_bool(0.3) {
            site.kill(random.random_range(0..2));
            done.kills += 1;
            if done.kills % 4 == 2 {
                site.disconnect();
            }
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(20..150))).await;
    }
    done
}

/// Every fault that a message may survive; none after which Meta wants a minute of silence.
fn faults() -> Vec<Value> {
    let mut faults: Vec<Value> = [2_u32, 131_016, 131_026, 130_429, 131_056]
        .map(|code| json!({"fault": "graph", "code": code}))
        .into();
    faults.extend([
        json!({"fault": "process_then_reset", "times": 2}),
        json!({"fault": "process_then_hang", "ms": 2500}),
        json!({"fault": "process_then_truncate"}),
        json!({"fault": "hang_then_process", "ms": 2500}),
        json!({"fault": "hang_then_process", "ms": 300}),
        json!({"fault": "reset_before_read"}),
        json!({"fault": "reset_mid_body", "after": 10}),
        json!({"fault": "tls_fail"}),
        json!({"fault": "slow_accept", "ms": 300}),
        json!({"fault": "latency", "ms": [10, 400]}),
        json!({"fault": "drip", "bytes_per_second": 2000}),
        json!({"fault": "keepalive_close"}),
        json!({"fault": "http", "status": 502, "body": "<html>"}),
        json!({"fault": "http", "status": 504}),
        json!({"fault": "http", "status": 200}),
        json!({"fault": "http", "status": 200, "body": "{\"messages\":["}),
        json!({"fault": "before_response"}),
        json!({"fault": "fail", "code": 131_026, "after_sent": true}),
        json!({"fault": "fail", "code": 131_000}),
        json!({"fault": "reorder"}),
        json!({"fault": "reorder", "window_ms": 300, "times": 5}),
        json!({"fault": "delay", "ms": 400, "times": 3}),
        json!({"fault": "duplicate", "copies": 2, "spacing_ms": 30, "times": 3}),
        json!({"fault": "bad_signature"}),
        json!({"fault": "no_signature"}),
        json!({"fault": "tampered_body"}),
        json!({"fault": "unknown_field", "times": 3}),
        json!({"fault": "omit_phone", "times": 3}),
        json!({"fault": "ts_ms"}),
        json!({"fault": "omit_opaque_on_failed", "times": 2}),
        json!({"fault": "outage", "ms": 300}),
    ]);
    faults
}
