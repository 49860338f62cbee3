//! A sidecar whose Redis is lost and comes back, as a process of its own.

use harness::{Draft, PATIENCE, Pod, record};
use tokio::time::timeout;
use vestibule::api_key::{KeyChange, KeyStore as _};
use vestibule::redis;
use vestibule::testing::server::RedisServer;

use super::lossy::{Loss, Lossy, Server};

#[tokio::test]
async fn a_sidecar_shows_that_its_store_is_lost_and_needs_no_restart() {
    for loss in Loss::ALL {
        let mut lossy = Lossy::over(<RedisServer as Server>::start(), loss).await;
        let store = redis::Store::open(&lossy.server.address()).await.unwrap();
        let created = [KeyChange::create(record("full").per_minute(10_000).build())];
        store.keyring().write(&created).await.unwrap();
        let pod = Pod::stored(&format!("redis://{}", lossy.address())).await;
        let edge = pod.start().await;
        let read = Draft::get("/v1/charges/17").key("full");
        let keyed = Draft::post("/v1/charges").key("full").idempotency_key("k");
        assert_eq!(edge.send(&read).await.status, 200, "{loss:?}");
        assert_eq!(edge.metric(CUT_OFF).await, 0.0, "{loss:?}");
        lossy.lose();
        let mut passed = 0;
        while edge.metric(CUT_OFF).await == 0.0 {
            passed += 1;
            assert!(passed < 100, "{loss:?}: it is not cut off");
            assert_eq!(edge.send(&read).await.status, 200, "{loss:?}");
        }
        for _ in 0..50 {
            assert_eq!(edge.send(&read).await.status, 200, "{loss:?}");
        }
        let refused = edge.send(&keyed).await;
        assert_eq!(
            refused.verdict(),
            "503 idempotency_store_unavailable",
            "{loss:?}"
        );
        lossy.find_again();
        let executed = async {
            while edge.send(&keyed).await.status != 200 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let executed = timeout(PATIENCE, executed).await;
        assert!(executed.is_ok(), "{loss:?}: it does not come back");
        assert_eq!(edge.metric(CUT_OFF).await, 0.0, "{loss:?}");
        let again = edge.send(&keyed).await;
        assert_eq!(again.one("idempotent-replayed"), "true", "{loss:?}");
        let charges = pod.origin.received();
        let charges = charges.iter().filter(|one| one.method == "POST").count();
        assert_eq!(charges, 1, "{loss:?}");
    }
}

const CUT_OFF: &str = "vestibule_store_cut_off";
