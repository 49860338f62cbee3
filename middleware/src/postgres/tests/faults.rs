//! A database that is killed, frozen, restarted, or ends its sessions (F10).

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::*;
use crate::clock::SystemClock;
use crate::guarded::Guarded;

#[tokio::test]
async fn a_database_that_is_killed_and_comes_back_needs_no_restart_of_ours() {
    let mut server = PostgresServer::start();
    let store = Store::open(&server.address()).await.unwrap();
    let (running, ended) = (attempt("running", 1), attempt("ended", 2));
    assert!(executes(&store, &running).await && executes(&store, &ended).await);
    assert!(
        store
            .finish(&ended.owner, &done(b"kept"), LEASE)
            .await
            .unwrap()
    );
    server.kill();
    let lost = store.claim(&attempt("new", 3)).await.unwrap_err();
    assert_ne!(lost.kind(), StoreErrorKind::Full);
    // Once it is known that nobody listens there, nothing is sent.
    let not_sent = || async {
        let answer = store.claim(&attempt("new", 3)).await;
        answer.is_err_and(|error| error.kind() == StoreErrorKind::NotSent)
    };
    until(not_sent).await;
    server.restart();
    until(|| async { store.claim(&attempt("new", 3)).await.is_ok() }).await;
    // What was answered had been committed.
    let again = store.claim(&attempt("running", 4)).await.unwrap();
    assert!(!matches!(again, Decision::Execute { .. }), "{again:?}");
    let again = store.claim(&attempt("ended", 5)).await.unwrap();
    assert!(matches!(again, Decision::Replay(_)), "{again:?}");
}

#[tokio::test]
async fn sessions_that_were_ended_while_they_lay_idle_are_noticed_by_nobody() {
    let server = PostgresServer::start();
    let store = open(&server, "door").await;
    for round in 0..5_u128 {
        let steps = (0..20).map(|number| {
            let key = format!("{round} {number}");
            let (store, attempt) = (store.clone(), attempt(&key, number));
            tokio::spawn(async move { executes(&store, &attempt).await })
        });
        for executed in join_all(steps.collect::<Vec<_>>()).await {
            assert!(executed.unwrap());
        }
        let ended = server.sql(
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity \
             WHERE application_name = 'vestibule'",
        );
        assert_ne!(ended, "0");
    }
}

#[tokio::test]
async fn a_frozen_database_is_waited_for_until_the_deadline_and_no_longer() {
    let server = PostgresServer::start();
    let store = Store::open(&server.address()).await.unwrap();
    let guarded = Guarded::new(store.clone(), SystemClock::shared());
    assert!(executes(&store, &attempt("before", 1)).await);
    until(|| async { store.pool().num_idle() > 0 }).await;
    server.freeze();
    let mut kinds = Vec::new();
    for token in 0..20 {
        let started = Instant::now();
        let lost = guarded.claim(&attempt("frozen", token)).await.unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(1), "{lost}");
        kinds.push(lost.kind());
    }
    // The first one went out over a connection that was there; none can be made now.
    assert_eq!(kinds[0], StoreErrorKind::Unanswered);
    assert_eq!(kinds.last(), Some(&StoreErrorKind::NotSent));
    server.thaw();
    until(|| async { guarded.claim(&attempt("after", 100)).await.is_ok() }).await;
    let size = store.pool().size();
    assert!(size <= 10, "{size} connections");
}

#[tokio::test]
async fn a_step_that_is_given_up_leaves_no_reply_and_no_transaction_to_another() {
    let server = PostgresServer::shared();
    let store = open(&server, &schema()).await;
    for number in 0..20 {
        let key = format!("k{number}");
        let first = attempt(&key, number);
        assert!(executes(&store, &first).await);
        let response = done(key.as_bytes());
        assert!(store.finish(&first.owner, &response, LEASE).await.unwrap());
    }
    let mut given_up = 0;
    for number in 0..400_u128 {
        let key = format!("k{}", number % 20);
        let again = attempt(&key, 1000 + number);
        let mut asked = Box::pin(store.claim(&again));
        if number % 3 == 0 {
            // Given up at one point or another of its way, whatever time that takes.
            let mut is_answered = false;
            for _ in 0..=number % 40 {
                is_answered = is_answered || asked.as_mut().now_or_never().is_some();
                tokio::task::yield_now().await;
            }
            given_up += u32::from(!is_answered);
            continue;
        }
        let Decision::Replay(response) = asked.await.unwrap() else {
            panic!("{key} has ended");
        };
        assert_eq!(response.body, key);
    }
    assert!(given_up > 0, "some are given up before they are answered");
}

#[tokio::test]
async fn what_cannot_be_opened_is_said_in_a_sentence() {
    let server = PostgresServer::shared();
    let nobody = format!(
        "postgres://127.0.0.1:{}/x",
        crate::testing::server::free_port()
    );
    let no_database = server.address().replace("/postgres", "/missing");
    for (address, said) in [
        (nobody, "it cannot be reached: "),
        (no_database, "it cannot be reached: "),
    ] {
        let fault = Store::open(&address).await.unwrap_err().to_string();
        assert!(fault.starts_with(said), "{address}: {fault}");
    }
    let shown = format!("{:?}", open(&server, &schema()).await);
    assert!(!shown.contains("127.0.0.1"), "{shown}");
}
