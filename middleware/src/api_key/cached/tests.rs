//! A store that is lost, slow or changes its mind.

use std::future::pending;

use tokio::time::{Instant, advance};

use super::*;
use crate::api_key::{ApiKey, Peppers};
use crate::clock::Clock;
use crate::entropy::SystemEntropy;

#[tokio::test(start_paused = true)]
async fn a_confirmed_key_goes_on_for_the_stale_bound_and_no_longer() {
    let (record, store, cached) = one_key(|record| record);
    assert!(cached.find(&record).await.unwrap().is_some());
    for mode in [Mode::Fails, Mode::Hangs] {
        store.turn(mode);
        advance(Duration::from_secs(29)).await;
        assert!(cached.find(&record).await.unwrap().is_some(), "{mode:?}");
        assert!(cached.is_lost());
    }
    advance(Duration::from_secs(2)).await;
    assert!(cached.find(&record).await.is_err());
    store.turn(Mode::Answers);
    assert!(cached.find(&record).await.unwrap().is_some());
    assert!(!cached.is_lost());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_never_seen_is_in_doubt_and_not_unknown() {
    let (record, store, cached) = one_key(|record| record);
    store.turn(Mode::Fails);
    assert!(cached.find(&record).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_the_store_takes_back_does_not_go_on() {
    let (record, store, cached) = one_key(|record| record);
    cached.find(&record).await.unwrap();
    store.turn(Mode::Denies);
    assert!(cached.find(&record).await.unwrap().is_none());
    store.turn(Mode::Fails);
    assert!(cached.find(&record).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_cached_key_does_not_outlive_its_expiry() {
    let at = Timestamp::from_unix_seconds(30);
    let (record, store, cached) = one_key(|record| record.expires(at));
    cached.find(&record).await.unwrap();
    store.turn(Mode::Fails);
    advance(Duration::from_secs(29)).await;
    assert!(cached.find(&record).await.is_ok());
    advance(Duration::from_secs(1)).await;
    assert!(cached.find(&record).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_is_waited_for_as_long_as_the_deadline() {
    let (record, store, cached) = one_key(|record| record);
    store.turn(Mode::Hangs);
    let start = Instant::now();
    assert!(cached.find(&record).await.is_err());
    assert_eq!(start.elapsed(), DEADLINE);
}

#[test]
fn the_memory_is_bounded_and_keeps_the_latest() {
    let mut seen = Seen::default();
    let record = record(|record| record);
    let digest = |number: u8| Digest::from_parts(None, [number; 32]);
    for number in 0..=255 {
        seen.keep(&digest(number), &record, Duration::ZERO, 10);
        assert!(seen.young.len() + seen.old.len() <= 10, "{number}");
    }
    for (number, kept) in [(255, true), (251, true), (240, false), (0, false)] {
        let found = seen.recall(&digest(number), Timestamp::EPOCH, Duration::ZERO);
        assert_eq!(found.is_some(), kept, "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_not_waited_for_by_each_request() {
    let (record, store, cached) = one_key(|record| record);
    store.turn(Mode::Hangs);
    let start = Instant::now();
    for _ in 0..100 {
        assert!(cached.find(&record).await.is_err());
    }
    assert!(start.elapsed() <= 10 * DEADLINE, "{:?}", start.elapsed());
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Answers,
    Denies,
    Fails,
    Hangs,
}

#[derive(Clone)]
struct Fickle(Arc<(Mutex<Mode>, Arc<KeyRecord>)>);

impl Fickle {
    fn turn(&self, mode: Mode) {
        *self.0.0.lock().unwrap() = mode;
    }
}

impl Keyring for Fickle {
    async fn find(&self, _: &Digest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        let mode = *self.0.0.lock().unwrap();
        match mode {
            Mode::Answers => Ok(Some(Arc::clone(&self.0.1))),
            Mode::Denies => Ok(None),
            Mode::Fails => Err(StoreError::not_sent().because("refused")),
            Mode::Hangs => pending().await,
        }
    }
}

/// Wall time that starts at the epoch and follows tokio's paused time.
#[derive(Debug)]
struct FromEpoch(Instant);

impl Clock for FromEpoch {
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH + self.0.elapsed()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

fn record(
    with: impl FnOnce(crate::api_key::KeyRecordBuilder) -> crate::api_key::KeyRecordBuilder,
) -> Arc<KeyRecord> {
    let key = ApiKey::mint("mk", "live", &SystemEntropy);
    with(KeyRecord::of(&key, &Peppers::none(), "k", "a")).build()
}

fn one_key(
    with: impl FnOnce(crate::api_key::KeyRecordBuilder) -> crate::api_key::KeyRecordBuilder,
) -> (Digest, Fickle, Cached<Fickle>) {
    let record = record(with);
    let digest = record.digest().clone();
    let store = Fickle(Arc::new((Mutex::new(Mode::Answers), record)));
    let clock = Arc::new(FromEpoch(Instant::now()));
    (digest, store.clone(), Cached::new(store, clock))
}
