//! The embedded store, held to the cases that every store must pass, and to its file.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use redb::{Database, TableDefinition};
use tempfile::TempDir;

use super::*;
use crate::clock::{Clock, Timestamp};
use crate::context::{CorrelationId, Fingerprint};
use crate::error::StoreErrorKind;
use crate::idempotency::{IdempotencyKey, KeptResponse};
use crate::route::UpstreamKind;
use crate::testing::{KeySubject, ManualClock, Subject};

crate::store_conformance!(conformance, || Embedded::new());
crate::keystore_conformance!(keyring_conformance, || Keyrings(Embedded::new()));

/// The key records of a file that lasts as long as they.
struct Keyrings(Embedded);

impl KeySubject for Keyrings {
    type Store = Keyring;

    fn store(&self) -> Keyring {
        self.0.store.keyring()
    }
}

struct Embedded {
    // Dropped before the folder that its file is in.
    store: Store,
    clock: ManualClock,
    folder: TempDir,
}

impl Embedded {
    fn new() -> Self {
        let clock = ManualClock::at(Timestamp::from_unix_millis(1_800_000_000_123));
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store"), clock.shared()).unwrap();
        Self {
            store,
            clock,
            folder,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Ends the store and opens its file again.
    fn reopened(self) -> Self {
        let Self {
            store,
            clock,
            folder,
        } = self;
        drop(store);
        let store = Store::open(folder.path().join("store"), clock.shared()).unwrap();
        Self {
            store,
            clock,
            folder,
        }
    }

    /// What another process would find, had this one been killed now.
    fn crashed(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        fs::copy(self.path(), &path).unwrap();
        let store = Store::open(path, self.clock.shared()).unwrap();
        Self {
            store,
            clock: self.clock.clone(),
            folder,
        }
    }
}

impl Subject for Embedded {
    type Store = Store;

    fn store(&self) -> Store {
        self.store.clone()
    }

    async fn small(&self) -> Store {
        let path = self.folder.path().join("small");
        let small = Options::default().records(12);
        small.open(path, self.clock.shared()).unwrap()
    }

    async fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn jump_ahead(&self, by: Duration) {
        self.clock.jump_ahead(by);
    }

    async fn jump_back(&self, by: Duration) {
        self.clock.jump_back(by);
    }
}

#[tokio::test]
async fn records_and_counters_outlast_the_store() {
    let mut subject = Embedded::new();
    let (claimed, done) = (attempt("claimed", 1), attempt("done", 2));
    let outcome = response(&done, b"\x00first");
    for _ in 0..3 {
        hit(&subject.store).await;
    }
    assert!(is_execute(&subject.store.claim(&claimed).await.unwrap()));
    assert!(is_execute(&subject.store.claim(&done).await.unwrap()));
    let finished = subject.store.finish(&done.owner, &outcome, RETENTION).await;
    assert!(finished.unwrap());
    for remaining in [6, 5] {
        subject = subject.reopened();
        assert_eq!(subject.store.records_held(), 2);
        let other = attempt("claimed", 3);
        let decision = subject.store.claim(&other).await.unwrap();
        assert!(matches!(decision, Decision::InProgress { .. }));
        let decision = subject.store.claim(&attempt("done", 3)).await.unwrap();
        assert_eq!(decision, told(&outcome));
        assert_eq!(hit(&subject.store).await, remaining);
    }
    assert!(subject.store.release(&claimed.owner).await.unwrap());
}

#[tokio::test]
async fn a_crash_forgets_no_record_and_what_was_counted_since_the_last_snapshot() {
    let subject = Embedded::new();
    assert_eq!(hit(&subject.store).await, 9);
    subject.clock.advance(Duration::from_secs(1));
    let (first, second) = (attempt("first", 1), attempt("second", 2));
    assert!(is_execute(&subject.store.claim(&first).await.unwrap()));
    assert_eq!(hit(&subject.store).await, 8);
    assert!(is_execute(&subject.store.claim(&second).await.unwrap()));
    let found = subject.crashed();
    assert_eq!(found.store.records_held(), 2);
    assert!(found.store.release(&first.owner).await.unwrap());
    assert!(found.store.release(&second.owner).await.unwrap());
    assert_eq!(hit(&found.store).await, 8, "the second one is forgotten");
}

#[tokio::test]
async fn an_answer_waits_for_the_disk_unless_the_upstream_deduplicates() {
    let subject = Embedded::new();
    let mut writer = writer(&subject);
    assert!(is_execute(&claimed(&mut writer, 1).await.unwrap()));
    let ended = Change::Finish(response(&attempt("key", 1), b"first"), RETENTION);
    let mut deduplicated = attempt("deduplicated", 3);
    deduplicated.upstream = UpstreamKind::Deduplicates;
    let (claim, mut claimed) = Asker::new();
    let (early, mut claimed_early) = Asker::new();
    let (finish, mut finished) = Asker::new();
    let mut steps = [
        Step::Claim(attempt("new", 2), claim),
        Step::Claim(deduplicated, early),
        Step::Change(attempt("key", 1).owner, ended, finish),
    ];
    let shared = Arc::clone(&writer.shared);
    let ledger = writer.ledger.as_mut().unwrap();
    let written = ledger.transact(&shared.ring, |page| {
        for step in &mut steps {
            step.take(page, subject.clock.now())?;
        }
        assert!(claimed.try_recv().is_err() && finished.try_recv().is_err());
        assert!(is_execute(&claimed_early.try_recv().unwrap().unwrap()));
        Ok(())
    });
    assert!(written.unwrap());
    for step in &mut steps {
        step.settle(None);
    }
    assert!(is_execute(&claimed.try_recv().unwrap().unwrap()));
    assert!(finished.try_recv().unwrap().unwrap());
}

#[tokio::test]
async fn what_is_in_memory_alone_is_written_down_when_it_is_asked_for() {
    let subject = Embedded::new();
    assert_eq!(hit(&subject.store).await, 9);
    subject.store.flush().await.unwrap();
    assert_eq!(hit(&subject.crashed().store).await, 8);
}

#[tokio::test]
async fn steps_that_wait_together_are_one_transaction() {
    let subject = Embedded::new();
    let steps: Vec<_> = (0..100)
        .map(|number| {
            let (asker, answer) = Asker::new();
            let attempt = attempt(&format!("{number}"), number);
            (Step::Claim(attempt, asker), answer)
        })
        .collect();
    let (mut batch, answers): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
    let mut writer = writer(&subject);
    writer.write(&mut batch);
    for answer in answers {
        assert!(is_execute(&answer.await.unwrap().unwrap()));
    }
    assert_eq!(writer.shared.tally.commits.load(Ordering::Acquire), 1);
}

#[tokio::test]
async fn what_changes_nothing_is_no_transaction() {
    let subject = Embedded::new();
    let claim = attempt("key", 1);
    assert!(is_execute(&subject.store.claim(&claim).await.unwrap()));
    let before = subject.store.commits();
    for token in 2..9 {
        let decision = subject.store.claim(&attempt("key", token)).await.unwrap();
        assert!(matches!(decision, Decision::InProgress { .. }));
    }
    assert_eq!(subject.store.commits(), before);
}

#[tokio::test]
async fn a_file_in_use_is_named_and_stays_with_its_first_store() {
    let subject = Embedded::new();
    let fault = Store::open(subject.path(), subject.clock.shared()).unwrap_err();
    let path = subject.path();
    let want =
        format!("the file {path:?} is in use by another process, or by another store of this one");
    assert_eq!(fault.to_string(), want);
    assert!(is_execute(
        &subject.store.claim(&attempt("key", 1)).await.unwrap()
    ));
}

#[test]
fn what_is_no_store_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let clock = || ManualClock::at(Timestamp::EPOCH).shared();
    let text = folder.path().join("text");
    fs::write(&text, "no store at all ".repeat(1000)).unwrap();
    let missing = folder.path().join("missing").join("store");
    for path in [&text, &missing, &folder.path().to_owned()] {
        let fault = Store::open(path, clock()).unwrap_err().to_string();
        assert!(
            fault.starts_with(&format!("the file {path:?} cannot be opened as a store: ")),
            "{fault}"
        );
    }
    let newer = folder.path().join("newer");
    insert(
        &newer,
        TableDefinition::<&str, u64>::new("about"),
        "format",
        2,
    );
    let fault = Store::open(&newer, clock()).unwrap_err().to_string();
    assert!(
        fault.ends_with("is of format 2, which this version does not know"),
        "{fault}"
    );
}

#[tokio::test]
async fn a_malformed_record_is_an_error_of_its_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let table = TableDefinition::<&[u8], &[u8]>::new("records");
    insert(&path, table, b"live:family\0broken", b"\x01\x02rubbish");
    let clock = ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000));
    let store = Store::open(&path, clock.shared()).unwrap();
    let broken = attempt("broken", 1);
    let error = store.claim(&broken).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NotSent);
    assert!(
        store
            .finish(&broken.owner, &Outcome::Unknown, RETENTION)
            .await
            .is_err()
    );
    assert!(store.release(&broken.owner).await.is_err());
    assert!(is_execute(
        &store.claim(&attempt("sound", 1)).await.unwrap()
    ));
}

#[tokio::test]
async fn counters_that_are_malformed_start_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    insert(
        &path,
        TableDefinition::<u64, &[u8]>::new("counters"),
        3,
        b"\x01rubbish",
    );
    let clock = ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000));
    let store = Store::open(&path, clock.shared()).unwrap();
    assert_eq!(hit(&store).await, 9);
}

#[tokio::test]
async fn a_claim_that_nobody_waits_for_is_not_made() {
    let subject = Embedded::new();
    let (asker, answer) = Asker::new();
    drop(answer);
    let mut writer = writer(&subject);
    writer.write(&mut [Step::Claim(attempt("key", 1), asker)]);
    assert_eq!(writer.shared.tally.commits.load(Ordering::Acquire), 0);
}

#[tokio::test]
async fn a_file_that_failed_is_opened_again_and_never_replaced() {
    let subject = Embedded::new();
    let [path, aside] = ["writer", "aside"].map(|name| subject.folder.path().join(name));
    let mut writer = writer(&subject);
    assert!(is_execute(&claimed(&mut writer, 1).await.unwrap()));
    writer.ledger = None;
    fs::rename(&path, &aside).unwrap();
    let error = claimed(&mut writer, 2).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NotSent);
    assert!(!path.exists());
    fs::rename(&aside, &path).unwrap();
    let decision = claimed(&mut writer, 3).await.unwrap();
    assert!(matches!(decision, Decision::InProgress { .. }));
}

#[tokio::test]
async fn what_is_over_is_swept_out_of_the_file() {
    let subject = Embedded::new();
    for number in 0..20 {
        let claim = attempt(&format!("{number}"), number);
        assert!(is_execute(&subject.store.claim(&claim).await.unwrap()));
    }
    assert_eq!(subject.store.records_held(), 20);
    subject.clock.advance(LEASE + RETENTION);
    for left in [19, 18, 17] {
        // Each claim makes room for itself and one more.
        let claim = attempt(&format!("late {left}"), 1);
        assert!(subject.store.claim(&claim).await.is_ok());
        assert!(subject.store.records_held() <= left);
    }
}

#[tokio::test]
async fn a_callers_responses_take_no_more_than_its_share() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000));
    let options = Options::default().record_bytes(100_000);
    let store = options
        .open(folder.path().join("store"), clock.shared())
        .unwrap();
    let mut kept = 0;
    for number in 1..=8 {
        let attempt = attempt(&format!("k{number}"), number);
        assert!(is_execute(&store.claim(&attempt).await.unwrap()));
        let outcome = response(&attempt, &[0; 10_000]);
        assert!(
            store
                .finish(&attempt.owner, &outcome, RETENTION)
                .await
                .unwrap()
        );
        match store.claim(&attempt).await.unwrap() {
            Decision::Replay(_) => kept += 1,
            decision => assert!(matches!(decision, Decision::NotStored { .. })),
        }
    }
    assert_eq!(kept, 2, "a quarter of 100,000 bytes");
}

#[cfg(unix)]
#[test]
fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let subject = Embedded::new();
    let mode = fs::metadata(subject.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// A writer without a thread, over a file of its own beside the subject's.
fn writer(subject: &Embedded) -> Writer {
    Writer::open(
        subject.folder.path().join("writer"),
        Options::default().capacity,
        subject.clock.shared(),
        Arc::new(Shared::new(1)),
    )
    .unwrap()
}

/// Claims a key in a batch of its own.
async fn claimed(writer: &mut Writer, token: u128) -> Result<Decision, StoreError> {
    let (asker, answer) = Asker::new();
    writer.write(&mut [Step::Claim(attempt("key", token), asker)]);
    answer.await.unwrap()
}

/// Writes one entry into a file that is not open.
fn insert<'a, K, V>(
    path: &Path,
    table: TableDefinition<'_, K, V>,
    key: K::SelfType<'a>,
    value: V::SelfType<'a>,
) where
    K: redb::Key + 'static,
    V: redb::Value + 'static,
{
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(table)
        .unwrap()
        .insert(key, value)
        .unwrap();
    transaction.commit().unwrap();
}

async fn hit(store: &Store) -> u32 {
    let (caller, quota) = (Caller::new("live", "family"), Quota::per_minute(10));
    store.hit(&caller, &quota).await.unwrap().remaining
}

fn is_execute(decision: &Decision) -> bool {
    matches!(decision, Decision::Execute { .. })
}

fn told(outcome: &Outcome) -> Decision {
    match outcome {
        Outcome::Done(response) => Decision::Replay(Arc::clone(response)),
        other => panic!("nothing is kept of {other:?}"),
    }
}

fn response(attempt: &Attempt, body: &[u8]) -> Outcome {
    Outcome::Done(Arc::new(KeptResponse {
        status: StatusCode::OK,
        headers: Vec::new(),
        body: Bytes::copy_from_slice(body),
        original: attempt.correlation_id.clone(),
    }))
}

fn attempt(key: &str, token: u128) -> Attempt {
    Attempt {
        owner: Owner {
            caller: Caller::new("live", "family"),
            key: IdempotencyKey::parse(key.as_bytes()).unwrap(),
            token,
        },
        fingerprint: Fingerprint::from_bytes([1; 32]),
        correlation_id: CorrelationId::parse(&HeaderValue::from_static("r")).unwrap(),
        lease: LEASE,
        retention: RETENTION,
        upstream: UpstreamKind::Executes,
    }
}

const LEASE: Duration = Duration::from_secs(10);
const RETENTION: Duration = Duration::from_secs(24 * 3600);
