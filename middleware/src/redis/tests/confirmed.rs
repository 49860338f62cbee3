//! What replicas have confirmed.

use super::*;

#[tokio::test]
async fn a_claim_and_its_end_are_answered_once_a_replica_has_them() {
    let master = RedisServer::start(&[]);
    let replica = replica_of(&master);
    let store = open(&master).await.confirmed_by(1, WITHIN);
    for number in 0..50 {
        let attempt = attempt(&format!("k{number}"), 1);
        assert!(executes(&store, &attempt).await);
        let record = store.name(
            "record",
            &attempt.owner.caller,
            attempt.owner.key.as_bytes(),
        );
        let record = String::from_utf8(record).unwrap();
        assert_eq!(replica.cli(&["HGET", &record, "s"]), "c");
        assert!(
            store
                .finish(&attempt.owner, &done(b"kept"), LEASE)
                .await
                .unwrap()
        );
        assert_eq!(replica.cli(&["HGET", &record, "s"]), "d");
    }
}

#[tokio::test]
async fn without_its_replica_nothing_new_is_executed_and_what_is_known_is_answered() {
    let master = RedisServer::start(&[]);
    let replica = replica_of(&master);
    let store = open(&master).await.confirmed_by(1, WITHIN);
    let (ended, running) = (attempt("ended", 1), attempt("running", 2));
    assert!(executes(&store, &ended).await && executes(&store, &running).await);
    assert!(
        store
            .finish(&ended.owner, &done(b"kept"), LEASE)
            .await
            .unwrap()
    );
    replica.freeze();
    let store = store.confirmed_by(1, Duration::from_millis(20));
    let lost = store.claim(&attempt("new", 3)).await.unwrap_err();
    assert_eq!(lost.kind(), StoreErrorKind::Unanswered);
    let again = store.claim(&attempt("ended", 4)).await.unwrap();
    assert!(matches!(again, Decision::Replay(_)), "{again:?}");
    let lost = store.finish(&running.owner, &done(b""), LEASE).await;
    assert_eq!(lost.unwrap_err().kind(), StoreErrorKind::Unanswered);
    let caller = Caller::new("live", "family");
    let quota = Quota::per_minute(5);
    let admitted = store
        .admit(&caller, &quota, None, &attempt("both", 5))
        .await;
    assert!(admitted.0.unwrap().verdict().unwrap().allowed);
    let lost = admitted.1.unwrap().unwrap_err();
    assert_eq!(lost.kind(), StoreErrorKind::Unanswered);
    // What counts and what is let go waits for nobody.
    assert_eq!(store.hit(&caller, &quota).await.unwrap().remaining, 3);
    assert!(store.release(&attempt("new", 3).owner).await.unwrap());
    replica.thaw();
    until(|| async {
        store
            .finish(&running.owner, &done(b""), LEASE)
            .await
            .is_ok()
    })
    .await;
    until(|| async { store.claim(&attempt("new", 6)).await.is_ok() }).await;
}

#[tokio::test]
async fn who_waits_for_a_replica_holds_up_nobody() {
    let master = RedisServer::start(&[]);
    let replica = replica_of(&master);
    let store = open(&master).await.confirmed_by(1, WITHIN);
    replica.freeze();
    let waiting: Vec<_> = (0..8)
        .map(|number| {
            let store = store.clone();
            let attempt = attempt(&format!("k{number}"), 1);
            tokio::spawn(async move { store.claim(&attempt).await })
        })
        .collect();
    until(|| async {
        master
            .cli(&["INFO", "clients"])
            .contains("blocked_clients:8")
    })
    .await;
    store
        .hit(&Caller::new("live", "family"), &Quota::per_minute(5))
        .await
        .unwrap();
    assert!(waiting.iter().all(|claim| !claim.is_finished()));
    replica.thaw();
    for claim in waiting {
        assert!(matches!(claim.await.unwrap(), Ok(Decision::Execute { .. })));
    }
}

#[tokio::test]
async fn a_cluster_confirms_at_the_node_that_has_the_key() {
    let cluster = RedisCluster::start(3, 1);
    let address = format!("{}/?replicas=1&within=9000ms", cluster.address());
    let store = Store::open(&address).await.unwrap();
    for family in 0..20 {
        let attempt = attempt_of(&family.to_string(), "k", 1);
        assert!(executes(&store, &attempt).await);
        assert!(
            store
                .finish(&attempt.owner, &done(b""), LEASE)
                .await
                .unwrap()
        );
    }
    let store = store.confirmed_by(2, Duration::from_millis(5));
    let lost = store.claim(&attempt("k", 1)).await.unwrap_err();
    assert_eq!(lost.kind(), StoreErrorKind::Unanswered);
}

/// Long: it is not what these cases are about.
const WITHIN: Duration = Duration::from_secs(9);
