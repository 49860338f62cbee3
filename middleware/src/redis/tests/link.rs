//! Over a link that is sick: what is answered is the truth, and it heals.

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::*;
use crate::testing::server::{FaultProxy, Sickness};

#[tokio::test]
async fn no_answer_is_told_to_another_whatever_the_link_does() {
    let server = RedisServer::start(&[]);
    let direct = open(&server).await;
    for number in 0..CALLERS {
        prepare(&server, &direct, number).await;
    }
    let proxy = FaultProxy::start(server.socket()).await;
    let address = format!("redis://{}", proxy.address());
    let store = Store::open(&address).await.unwrap();
    for sickness in [
        Sickness::Delays(Duration::from_millis(120)),
        Sickness::Delays(Duration::from_secs(5)),
        Sickness::Swallows,
        Sickness::ResetsBefore,
        Sickness::ResetsInstead,
        Sickness::ResetsWithin,
        Sickness::ResetsAfter,
        Sickness::Truncates,
        Sickness::Garbles,
        Sickness::Drips,
    ] {
        proxy.set(sickness);
        for _ in 0..3 {
            all_ask(&store, sickness).await;
        }
        proxy.set(Sickness::None);
        // Those that come now do so over what the sick link has left behind.
        until(|| async { all_ask(&store, sickness).await == 2 * CALLERS }).await;
    }
}

#[tokio::test]
async fn a_step_is_sent_once_whatever_the_link_does() {
    let server = RedisServer::start(&[]);
    let proxy = FaultProxy::start(server.socket()).await;
    let address = format!("redis://{}", proxy.address());
    let store = Store::open(&address).await.unwrap();
    let quota = Quota::new(1000, Duration::from_secs(3600));
    for (number, sickness) in [
        Sickness::Delays(Duration::from_millis(1500)),
        Sickness::ResetsInstead,
        Sickness::ResetsWithin,
        Sickness::Truncates,
        Sickness::Garbles,
    ]
    .into_iter()
    .enumerate()
    {
        let caller = Caller::new("live", &number.to_string());
        until(|| async {
            store
                .hit(&Caller::new("live", "probe"), &quota)
                .await
                .is_ok()
        })
        .await;
        proxy.set(sickness);
        let lost = store.hit(&caller, &quota).await.unwrap_err();
        assert_eq!(lost.kind(), StoreErrorKind::Unanswered, "{sickness:?}");
        proxy.set(Sickness::None);
        until(|| async {
            store
                .hit(&Caller::new("live", "probe"), &quota)
                .await
                .is_ok()
        })
        .await;
        let counted = open(&server).await.hit(&caller, &quota).await.unwrap();
        assert_eq!(counted.remaining, 998, "{sickness:?}");
    }
}

/// Every caller counts and repeats a request, within a deadline; how many were answered.
async fn all_ask(store: &Store, sickness: Sickness) -> u64 {
    let asked = Instant::now();
    let answers = join_all((0..CALLERS).map(|number| async move {
        let caller = caller(number);
        let counted = timeout(DEADLINE, store.hit(&caller, &QUOTA));
        let again = attempt_of(&number.to_string(), "k", 2);
        let replayed = timeout(DEADLINE, store.claim(&again));
        let (counted, replayed) = tokio::join!(counted, replayed);
        let mut answered = 0;
        if let Ok(Ok(verdict)) = counted {
            let had = u64::from(QUOTA.limit() - verdict.remaining);
            assert_eq!(had / APART, number, "{sickness:?}: {verdict:?}");
            answered += 1;
        }
        if let Ok(Ok(decision)) = replayed {
            let Decision::Replay(response) = decision else {
                panic!("{sickness:?}: {decision:?}");
            };
            assert_eq!(response.body, number.to_string(), "{sickness:?}");
            answered += 1;
        }
        answered
    }))
    .await;
    let took = asked.elapsed();
    assert!(took < DEADLINE * 5, "{sickness:?}: {took:?}");
    answers.into_iter().sum()
}

/// Gives a caller a count and a response that no other has.
async fn prepare(server: &RedisServer, store: &Store, number: u64) {
    let attempt = attempt_of(&number.to_string(), "k", 1);
    assert!(executes(store, &attempt).await);
    let outcome = done(number.to_string().as_bytes());
    assert!(
        store
            .finish(&attempt.owner, &outcome, LEASE * 100)
            .await
            .unwrap()
    );
    store.hit(&caller(number), &QUOTA).await.unwrap();
    let name = String::from_utf8(store.name("counter", &caller(number), b"")).unwrap();
    let counter = server.cli(&["GET", &name]);
    let (started, _) = counter.rsplit_once(' ').unwrap();
    let counter = format!("{started} {}", number * APART);
    assert_eq!(server.cli(&["SET", &name, &counter, "KEEPTTL"]), "OK");
}

fn caller(number: u64) -> Caller {
    Caller::new("live", &number.to_string())
}

const CALLERS: u64 = 20;

/// Between the counts of two callers: more than a caller can ask in a test.
const APART: u64 = 100_000;

const QUOTA: Quota = Quota::new(10_000_000, Duration::from_secs(3600));

const DEADLINE: Duration = Duration::from_millis(150);
