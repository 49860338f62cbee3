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

#[tokio::test(start_paused = true)]
async fn a_counted_key_is_asked_for_once_a_minute_and_tells_its_age() {
    let (record, store, cached) = one_key(|record| record);
    let cached = cached.counted();
    for (wait, asked, age) in [(0, 1, 0), (30, 1, 30), (29, 1, 59), (2, 2, 0), (0, 2, 0)] {
        advance(Duration::from_secs(wait)).await;
        assert!(cached.find(&record).await.unwrap().is_some());
        assert_eq!(store.asked(), asked, "after {wait} s");
        assert_eq!(cached.age(), Duration::from_secs(age), "after {wait} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_counted_key_that_is_not_good_is_asked_for_each_time_and_never_told_from_memory() {
    let at = Timestamp::from_unix_seconds(10);
    let (digest, store, cached) = one_key(|record| record.expires(at));
    let cached = cached.counted();
    let expired = cached.find(&digest).await.unwrap().unwrap();
    advance(Duration::from_secs(10)).await;
    for asked in [2, 3] {
        assert!(cached.find(&digest).await.unwrap().is_some());
        assert_eq!(store.asked(), asked);
    }
    let later = Timestamp::from_unix_seconds(100);
    store.hold(expired.to_builder().expires(later).build());
    let good = cached.find(&digest).await.unwrap().unwrap();
    assert_eq!(good.expires(), Some(later));
    advance(Duration::from_secs(30)).await;
    assert!(cached.find(&digest).await.unwrap().is_some());
    assert_eq!(store.asked(), 4, "a good one is remembered");
    store.hold(expired);
    store.turn(Mode::Fails);
    advance(Duration::from_secs(31)).await;
    assert!(cached.find(&digest).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_read_again_takes_the_place_of_the_remembered_one() {
    let (digest, store, cached) = one_key(|record| record);
    let cached = cached.counted();
    let old = cached.find(&digest).await.unwrap().unwrap();
    let new = old.to_builder().name("renamed").build();
    store.hold(new);
    assert_eq!(cached.find(&digest).await.unwrap().unwrap().name(), "");
    let read = cached.reread(old.principal()).await.unwrap().unwrap();
    assert_eq!(read.name(), "renamed");
    assert_eq!(
        cached.find(&digest).await.unwrap().unwrap().name(),
        "renamed"
    );
    store.turn(Mode::Fails);
    assert!(
        cached.reread(old.principal()).await.is_err(),
        "no memory answers this"
    );
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
        let found = seen.entry(&digest(number), Duration::ZERO);
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
struct Fickle(Arc<Mutex<(Mode, Arc<KeyRecord>, usize)>>);

impl Fickle {
    fn turn(&self, mode: Mode) {
        self.0.lock().unwrap().0 = mode;
    }

    fn hold(&self, record: Arc<KeyRecord>) {
        self.0.lock().unwrap().1 = record;
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().2
    }

    async fn answer(&self) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        let (mode, record) = {
            let mut held = self.0.lock().unwrap();
            held.2 += 1;
            (held.0, Arc::clone(&held.1))
        };
        match mode {
            Mode::Answers => Ok(Some(record)),
            Mode::Denies => Ok(None),
            Mode::Fails => Err(StoreError::not_sent().because("refused")),
            Mode::Hangs => pending().await,
        }
    }
}

impl Keyring for Fickle {
    async fn find(&self, _: &Digest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        self.answer().await
    }

    async fn reread(&self, _: &Principal) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        self.answer().await
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
    let store = Fickle(Arc::new(Mutex::new((Mode::Answers, record, 0))));
    let clock = Arc::new(FromEpoch(Instant::now()));
    (digest, store.clone(), Cached::new(store, clock))
}
