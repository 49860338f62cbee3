//! Claims that end in a transaction of a handler's own: both are there, or neither.

use super::*;
use crate::idempotency::{Commit, FinishError, RecordsConnection as _};

#[tokio::test]
async fn an_end_counts_with_the_transaction_that_it_is_part_of() {
    let place = Charges::new().await;
    let claimed = attempt("k", 1);
    assert!(executes(&place.store, &claimed).await);
    for commits in [false, true] {
        let mut transaction = place.store.pool().begin().await.unwrap();
        place.charge(&mut transaction).await;
        place.commit(&mut transaction, &claimed).await.unwrap();
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        let again = place.store.claim(&attempt("k", 2)).await.unwrap();
        assert_eq!(matches!(again, Decision::Replay(_)), commits, "{again:?}");
        assert_eq!(place.charged().await, i64::from(commits));
    }
    let kept = done(b"kept");
    let repeated = place.store.finish(&claimed.owner, &kept, LEASE);
    assert!(repeated.await.unwrap(), "the layers end it once more");
}

#[tokio::test]
async fn a_claim_that_is_another_s_by_now_ends_no_transaction() {
    let place = Charges::new().await;
    let first = attempt("k", 1);
    let first = Attempt {
        upstream: UpstreamKind::Deduplicates,
        ..first
    };
    assert!(executes(&place.store, &first).await);
    let lapsed = "UPDATE @.records SET lease_ends = 0".replace('@', &place.schema);
    place.server.sql(&lapsed);
    let second = Attempt {
        owner: Owner {
            token: 2,
            ..first.owner.clone()
        },
        ..first.clone()
    };
    assert!(executes(&place.store, &second).await);
    let refused = place.end(&first).await.unwrap_err();
    assert!(
        matches!(refused, FinishError::TakenOver { .. }),
        "{refused}"
    );
    place.end(&second).await.unwrap();
    let twice = place.end(&second).await.unwrap_err();
    assert!(matches!(twice, FinishError::Ended { .. }), "{twice}");
    let gone = place.end(&attempt("other", 3)).await.unwrap_err();
    assert!(matches!(gone, FinishError::Gone), "{gone}");
    assert_eq!(place.charged().await, 1);
}

#[tokio::test]
async fn a_take_over_waits_for_the_transaction_that_ends_the_claim() {
    let place = Charges::new().await;
    let first = attempt("k", 1);
    let first = Attempt {
        upstream: UpstreamKind::Deduplicates,
        ..first
    };
    assert!(executes(&place.store, &first).await);
    let lapsed = "UPDATE @.records SET lease_ends = 0".replace('@', &place.schema);
    place.server.sql(&lapsed);
    let mut transaction = place.store.pool().begin().await.unwrap();
    place.commit(&mut transaction, &first).await.unwrap();
    let store = place.store.clone();
    let second = Attempt {
        owner: Owner {
            token: 2,
            ..first.owner.clone()
        },
        ..first
    };
    let taking = tokio::spawn(async move { store.claim(&second).await });
    until(|| place.waiting()).await;
    transaction.commit().await.unwrap();
    let taken = taking.await.unwrap().unwrap();
    assert!(matches!(taken, Decision::Replay(_)), "{taken:?}");
}

/// A store, and a table of a team's own beside it.
struct Charges {
    store: Store,
    schema: String,
    server: Arc<PostgresServer>,
}

// === impl Charges ===

impl Charges {
    async fn new() -> Self {
        let (server, schema) = (PostgresServer::shared(), schema());
        let store = open(&server, &schema).await;
        server.sql(&format!("CREATE TABLE {schema}.charge (id bigserial)"));
        Self {
            store,
            schema,
            server,
        }
    }

    async fn charge(&self, connection: &mut sqlx::PgConnection) {
        let insert = format!("INSERT INTO {}.charge DEFAULT VALUES", self.schema);
        let insert = sqlx::query(sqlx::AssertSqlSafe(insert));
        insert.execute(connection).await.unwrap();
    }

    /// Charges and ends a claim in one transaction.
    async fn end(&self, claimed: &Attempt) -> Result<(), FinishError> {
        let mut transaction = self.store.pool().begin().await.unwrap();
        self.charge(&mut transaction).await;
        self.commit(&mut transaction, claimed).await?;
        transaction.commit().await.unwrap();
        Ok(())
    }

    async fn commit(
        &self,
        connection: &mut sqlx::PgConnection,
        claimed: &Attempt,
    ) -> Result<(), FinishError> {
        let commit = Commit {
            owner: claimed.owner.clone(),
            outcome: done(b"kept"),
            retention: LEASE * 100,
            now: Timestamp::EPOCH,
        };
        self.store.within(connection).commit(&commit).await
    }

    async fn charged(&self) -> i64 {
        self.count(format!("SELECT count(*) FROM {}.charge", self.schema))
            .await
    }

    /// Whether a session waits for a lock on these records.
    async fn waiting(&self) -> bool {
        let waiting = format!(
            "SELECT count(*) FROM pg_stat_activity
             WHERE wait_event_type = 'Lock' AND position('\"{}\".records' in query) > 0",
            self.schema
        );
        self.count(waiting).await > 0
    }

    async fn count(&self, statement: String) -> i64 {
        let count = sqlx::query_scalar(sqlx::AssertSqlSafe(statement));
        count.fetch_one(self.store.pool()).await.unwrap()
    }
}
