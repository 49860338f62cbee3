//! P1, P2 and P8 at the points where something is written: a process that ends itself after the
//! n-th statement, from the claim of a request on until its message is read.

use std::time::Duration;

use futures_util::future::join_all;
use harness::proof::{Crowd, Engine, Ledger, Site, Told, customer_of};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_point_a_message_is_sent_once_or_nobody_says_it_was_on_sqlite() {
    kill_at_each_point(Engine::Sqlite, 1).await;
}

/// A claim and an attempt of a process that is gone are left to their leases, which other
/// processes cannot know to be over: so several points are waited out at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_point_a_message_is_sent_once_or_nobody_says_it_was_on_postgres() {
    kill_at_each_point(Engine::Postgres, LANES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_kill_on_sqlite() {
    kill_after_each_acknowledgement(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_kill_on_postgres() {
    kill_after_each_acknowledgement(Engine::Postgres).await;
}

/// P1 and P2. Each lane is a service of its own.
#[expect(
    clippy::print_stdout,
    reason = "how many points were met is what it is run for"
)]
async fn kill_at_each_point(engine: Engine, lanes: usize) {
    let points: Vec<u64> = (1..=MOST).step_by(step()).collect();
    let lanes = (0..lanes).map(|lane| {
        let points = points.iter().copied().skip(lane).step_by(lanes).collect();
        kill_at(engine, points)
    });
    let (met, sent) = join_all(lanes)
        .await
        .into_iter()
        .fold((0, 0), |sum, lane| (sum.0 + lane.0, sum.1 + lane.1));
    let (store, count) = (engine.as_str(), points.len());
    let unknown = count - sent;
    println!("store={store} points={count} met={met} sent={sent} unknown={unknown}");
    assert!(sent > 0, "nothing is sent");
    assert!(met > 10, "{met} of {} points were met", points.len());
}

/// Kills one service at these points, one after the other; returns how many were met, and
/// how many of the messages were sent.
async fn kill_at(engine: Engine, points: Vec<u64>) -> (usize, usize) {
    let mut site = Site::alone(engine, &mut StdRng::seed_from_u64(6)).await;
    let crowd = Crowd::new(&site, 2 * MOST as usize);
    let (mut told, mut met) = (Vec::new(), 0);
    for statements in points {
        site.doom(statements);
        let (one, times, kills) = ended_at(&mut site, &crowd, statements).await;
        told.push((one, times));
        met += kills;
    }
    let ledger = Ledger::read(&site).await;
    for (one, times) in &told {
        assert_eq!(ledger.accepted(&one.id), *times, "{one:?}");
    }
    (met, told.iter().map(|(_, times)| times).sum())
}

/// Sends a message, whatever is killed meanwhile; returns what its sender was told, how
/// often it must have been sent, and how often the service had ended.
async fn ended_at(site: &mut Site, crowd: &Crowd, statements: u64) -> (Told, usize, usize) {
    // A template: its customer has never written.
    let turn = 2 * statements as usize + 1;
    let sending = tokio::spawn({
        let crowd = crowd.clone();
        async move { crowd.send(turn).await }
    });
    let comes_to_an_end = async {
        let mut killed = 0;
        while !sending.is_finished() {
            killed += usize::from(site.revive());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let one = sending.await.expect("the client is answered");
        let mut tries = 0;
        loop {
            killed += usize::from(site.revive());
            let message = crowd.read(&one.id).await.unwrap_or_default();
            match message["status"].as_str() {
                Some("read") => return (one, 1, killed),
                // Between the attempt's row and the connection nobody can tell.
                Some("failed") => {
                    assert_eq!(message["error"]["code"], "outcome_unknown");
                    return (one, 0, killed);
                }
                _ => {}
            }
            tries += 1;
            if tries % 20 == 0 {
                // What was not taken would be told again minutes later.
                site.tell("webhooks/flush", &json!({})).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(90), comes_to_an_end).await;
    ended.unwrap_or_else(|_| panic!("killed after {statements}: no end"))
}

/// P8.
async fn kill_after_each_acknowledgement(engine: Engine) {
    let mut site = Site::alone(engine, &mut StdRng::seed_from_u64(8)).await;
    let crowd = Crowd::new(&site, 20);
    for customer in 0..10 {
        let user = customer_of(customer);
        site.tell("inbound", &json!({"user": user, "text": "Hello"}))
            .await;
        while acknowledged(&site).await <= customer {
            tokio::task::yield_now().await;
        }
        site.kill(0);
        let opens = async {
            while !crowd.is_open(&user).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let opened = tokio::time::timeout(Duration::from_secs(20), opens).await;
        assert!(
            opened.is_ok(),
            "customer {customer} was heard and is forgotten"
        );
    }
}

/// How many webhooks were answered with 200.
async fn acknowledged(site: &Site) -> usize {
    let attempts = site.ask("webhooks").await["attempts"].clone();
    let attempts = attempts.as_array().into_iter().flatten();
    attempts.filter(|attempt| attempt["status"] == 200).count()
}

/// Every point where `DEEP` is set.
fn step() -> usize {
    match std::env::var_os("DEEP") {
        Some(_) => 1,
        None => 6,
    }
}

/// More statements than a message takes from its request until it is read.
const MOST: u64 = 180;

/// So many services wait for their leases at once.
const LANES: usize = 6;
