//! In a Cluster: whoever has the key is found, whatever happens to the nodes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::time::{Instant, timeout};

use super::*;
use crate::redis::slots::slot;

#[tokio::test]
async fn a_key_has_the_slot_that_a_server_says() {
    let cluster = shared(&CLUSTER, || RedisCluster::start(3, 0));
    for key in [
        "",
        "123456789",
        "a{tag}b{other}",
        "a{}{tag}",
        "a{tag",
        "v:record:11:{live:f}k",
    ] {
        let said = cluster.nodes()[0].cli(&["CLUSTER", "KEYSLOT", key]);
        assert_eq!(slot(key.as_bytes()).to_string(), said, "{key:?}");
    }
}

#[tokio::test]
async fn every_master_is_checked() {
    let cluster = RedisCluster::start(3, 0);
    cluster.nodes()[2].cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let first = cluster.nodes()[0].socket();
    let address = format!("redis+cluster://{first}");
    let fault = Store::open(&address).await.unwrap_err().to_string();
    assert!(
        fault.starts_with("its maxmemory-policy is \"allkeys-lru\""),
        "{fault}"
    );
    let store = Store::open_evicting(&address).await.unwrap();
    for family in 0..20 {
        assert!(executes(&store, &attempt_of(&family.to_string(), "k", 1)).await);
    }
    let fault = Store::open(&cluster.nodes()[0].address())
        .await
        .unwrap_err();
    assert!(
        fault.to_string().starts_with("it is a node of a Cluster"),
        "{fault}"
    );
}

#[tokio::test]
async fn all_records_are_counted_only_where_they_lie_together() {
    let redis = Redis::in_cluster().await;
    let counted = |store: Store| {
        let bounded = AssertUnwindSafe(|| drop(store.records(12)));
        catch_unwind(bounded).is_ok()
    };
    assert!(!counted(redis.store.clone()));
    assert!(counted(redis.store.prefix("{together}")));
}

#[tokio::test]
async fn a_key_that_moves_is_found_while_it_moves_and_after() {
    let cluster = RedisCluster::start(3, 0);
    let store = Store::open(&cluster.address()).await.unwrap();
    let held = attempt("held", 1);
    assert!(executes(&store, &held).await);
    let name = String::from_utf8(store.name("record", &held.owner.caller, b"held")).unwrap();
    let from = cluster.master_of(&name, 0).unwrap();
    let (from, to) = (&cluster.nodes()[from], &cluster.nodes()[(from + 1) % 3]);
    let slot = slot(name.as_bytes()).to_string();
    let [from_id, to_id] = [from, to].map(|node| node.cli(&["CLUSTER", "MYID"]));
    to.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
    from.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
    // Of the keys of this step some are there and some are not: nothing is done.
    let torn = || async { store.claim(&attempt("new", 2)).await.unwrap_err().kind() };
    assert_eq!(torn().await, StoreErrorKind::NotSent);
    let keys = from.cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
    let port = to.port().to_string();
    let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
    migrate.extend(keys.lines());
    assert_eq!(from.cli(&migrate), "OK");
    // What has moved is given to who asks for it there.
    let again = store.claim(&attempt("held", 3)).await.unwrap();
    assert!(matches!(again, Decision::InProgress { .. }), "{again:?}");
    assert_eq!(torn().await, StoreErrorKind::NotSent);
    for node in [to, from] {
        assert_eq!(
            node.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]),
            "OK"
        );
    }
    let again = store.claim(&attempt("held", 5)).await.unwrap();
    assert!(matches!(again, Decision::InProgress { .. }), "{again:?}");
    assert!(
        store
            .finish(&held.owner, &done(b"kept"), LEASE)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn writes_come_back_where_a_master_is_killed_and_none_is_sent_to_the_old_one() {
    let mut cluster = RedisCluster::start_with(3, 1, &PARTIAL);
    let store = Store::open(&cluster.address()).await.unwrap();
    let (family, killed) = family_at_a_master(&cluster, &store);
    assert!(executes(&store, &attempt_of(&family, "before", 1)).await);
    let other = family_elsewhere(&cluster, &store, killed);
    cluster.nodes_mut()[killed].kill();
    let tokens = AtomicU64::new(2);
    until(|| async {
        // Who has lost nothing is served all the while.
        let lively = attempt_of(&other, &format!("k{}", tokens.load(Ordering::Relaxed)), 1);
        let asked = Instant::now();
        assert!(executes(&store, &lively).await);
        assert!(asked.elapsed() < DEADLINE * 5, "{:?}", asked.elapsed());
        let token = tokens.fetch_add(1, Ordering::Relaxed);
        let answer = store
            .claim(&attempt_of(&family, "after", u128::from(token)))
            .await;
        answer.is_ok_and(|decision| matches!(decision, Decision::Execute { .. }))
    })
    .await;
    // The old one is back: it follows the new one, and is asked for nothing that counts.
    cluster.nodes_mut()[killed].restart();
    cluster.wait_until_ok();
    for number in 0..20 {
        assert!(executes(&store, &attempt_of(&family, &format!("later{number}"), 1)).await);
    }
    let old = cluster.nodes()[killed].cli(&["INFO", "commandstats"]);
    assert!(!old.contains("cmdstat_eval"), "{old}");
}

#[tokio::test]
async fn a_frozen_master_holds_up_nobody_else_and_its_successor_is_found() {
    let cluster = RedisCluster::start_with(3, 1, &PARTIAL);
    let store = Store::open(&cluster.address()).await.unwrap();
    let (family, frozen) = family_at_a_master(&cluster, &store);
    let other = family_elsewhere(&cluster, &store, frozen);
    cluster.nodes()[frozen].freeze();
    let tokens = AtomicU64::new(0);
    until(|| async {
        let number = tokens.fetch_add(1, Ordering::Relaxed);
        let lively = attempt_of(&other, &format!("k{number}"), 1);
        let asked = Instant::now();
        assert!(executes(&store, &lively).await);
        assert!(asked.elapsed() < DEADLINE * 5, "{:?}", asked.elapsed());
        let attempt = attempt_of(&family, &format!("k{number}"), 1);
        // Who asks gives up at its deadline, as contract §7 has it.
        let answer = timeout(DEADLINE, store.claim(&attempt)).await;
        answer.is_ok_and(|answer| answer.is_ok())
    })
    .await;
    cluster.nodes()[frozen].thaw();
    cluster.wait_until_ok();
    assert!(executes(&store, &attempt_of(&family, "later", 1)).await);
}

/// A family whose keys one node has, and that node's place.
fn family_at_a_master(cluster: &RedisCluster, store: &Store) -> (String, usize) {
    let name = store.name("record", &Caller::new("live", "family"), b"");
    let name = String::from_utf8(name).unwrap();
    ("family".to_owned(), cluster.master_of(&name, 0).unwrap())
}

/// A family whose keys another node has.
fn family_elsewhere(cluster: &RedisCluster, store: &Store, at: usize) -> String {
    let families = (0..).map(|number| format!("other{number}"));
    let is_elsewhere = |family: &String| {
        let name = store.name("record", &Caller::new("live", family), b"");
        cluster.master_of(&String::from_utf8(name).unwrap(), 0) != Some(at)
    };
    { families }.find(is_elsewhere).unwrap()
}

/// Those that have lost nothing go on.
const PARTIAL: [&str; 2] = ["--cluster-require-full-coverage", "no"];

/// What a claim has (contract §7).
const DEADLINE: Duration = Duration::from_millis(200);
