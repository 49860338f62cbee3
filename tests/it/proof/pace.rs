//! P5: Meta is never asked for more than it allows.

use std::time::Duration;

use harness::proof::{Crowd, Engine, Site};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn meta_never_has_to_slow_a_number_down() {
    let mut random = StdRng::seed_from_u64(5);
    // Meta's default; clients offer several times as much, and customers write meanwhile.
    let site = Site::paced(Engine::Sqlite, 80, &mut random).await;
    let crowd = Crowd::new(&site, 240);
    crowd.open_windows(&site).await;
    let told = crowd.clone().send_all().await;
    for customer in 0..40 {
        let user = harness::proof::customer_of(customer);
        site.tell("inbound", &json!({"user": user, "text": "Are you there?"}))
            .await;
    }
    // One customer is sent more than Meta takes at once: what is too much waits.
    for turn in 0..8 {
        crowd.send(1000 + turn * crowd.customers()).await;
    }
    let sending = async {
        for one in &told {
            while crowd
                .read(&one.id)
                .await
                .is_none_or(|one| one["status"] == "queued")
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    let sent = tokio::time::timeout(Duration::from_secs(60), sending).await;
    assert!(sent.is_ok(), "everything is sent");
    let limits = site.ask("limits").await;
    let violations = &limits["numbers"][0]["violations"];
    assert_eq!(violations, &json!({"130429": 0, "131056": 0}), "{limits}");
}
