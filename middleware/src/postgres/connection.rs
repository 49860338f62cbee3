//! The connections: lent to one step at a time, given up with it, and replaced when they break.

use std::fmt;
use std::future::Future;
use std::ops::DerefMut;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection as _, Postgres};
use tokio::time::Instant;

use crate::error::StoreError;

/// One step at the database.
///
/// It is repeated where a conflict undid it, or where the connection broke under it: it
/// must end the same whether it was taken once or twice.
pub(super) trait Step: Sync {
    /// What it finds out.
    type Answer: Send;

    fn take(
        &self,
        connection: &mut PgConnection,
    ) -> impl Future<Output = Result<Self::Answer, sqlx::Error>> + Send;
}

/// The connections of a store, and how long a step waits for one.
#[derive(Clone)]
pub(super) struct Connections {
    pool: PgPool,
    wait: Duration,
    broken: Arc<Broken>,
}

/// When a connection was last found broken: those that lay idle then may be, too.
#[derive(Debug, Default)]
struct Broken(Mutex<Option<Instant>>);

/// A connection that is closed unless its step came to its end: nobody is answered with
/// the rest of another's reply, or finds another's transaction open.
struct Lent {
    connection: Option<PoolConnection<Postgres>>,
}

/// What a failure says about the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It was undone, or has only read, and would end the same again.
    Refused,
    /// There is no room on its disk.
    Full,
    /// Another step was in its way.
    Undone,
    /// The connection broke. Nobody knows.
    Unknown,
}

// === impl Connections ===

impl Connections {
    /// A pool of at most so many, each made as a session has to be here.
    pub(super) fn open(options: PgConnectOptions, most: u32, wait: Duration) -> Self {
        let broken = Arc::new(Broken::default());
        let known = Arc::clone(&broken);
        let pool = PgPoolOptions::new()
            .max_connections(most)
            .acquire_timeout(CONNECTED)
            .test_before_acquire(false)
            .before_acquire(move |connection, meta| {
                let is_fresh = meta.idle_for < IDLE && !known.since(meta.idle_for);
                Box::pin(test(connection, is_fresh, PINGED))
            })
            // The pool asks too, but waits for the answer until the kernel gives up.
            .after_release(|connection, _| Box::pin(test(connection, false, PUT_BACK)))
            .after_connect(|connection, _| {
                Box::pin(async move { sqlx::raw_sql(SESSION).execute(connection).await.map(drop) })
            })
            .connect_lazy_with(options);
        Self { pool, wait, broken }
    }

    /// The pool that somebody else has made.
    pub(super) fn over(pool: PgPool, wait: Duration) -> Self {
        Self {
            pool,
            wait,
            broken: Arc::default(),
        }
    }

    /// The same, where a step waits so long for a connection.
    pub(super) fn waiting(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Takes a step.
    pub(super) async fn run<S: Step>(&self, step: &S) -> Result<S::Answer, StoreError> {
        let mut may_have_happened = false;
        let mut tries = 0;
        loop {
            let mut lent = match self.lend().await {
                Ok(lent) => lent,
                Err(cause) => return Err(failed(may_have_happened, cause)),
            };
            let cause = match step.take(&mut lent).await {
                Ok(answer) => {
                    lent.give_back();
                    return Ok(answer);
                }
                Err(cause) => cause,
            };
            let fate = Fate::of(&cause);
            match fate {
                Fate::Unknown => {
                    may_have_happened = true;
                    self.broken.note();
                }
                Fate::Refused | Fate::Full | Fate::Undone => lent.give_back(),
            }
            tries += 1;
            match fate {
                Fate::Full => return Err(StoreError::full().because(cause)),
                Fate::Undone | Fate::Unknown if tries < TRIES => {}
                Fate::Refused | Fate::Undone | Fate::Unknown => {
                    return Err(failed(may_have_happened, cause));
                }
            }
        }
    }

    async fn lend(&self) -> Result<Lent, Box<dyn std::error::Error + Send + Sync>> {
        let pool = self.pool.clone();
        // In a task of its own: a connection that takes longer than this step may wait is
        // there for the next one.
        let acquired = tokio::spawn(async move { pool.acquire().await });
        let connection = tokio::time::timeout(self.wait, acquired).await???;
        Ok(Lent {
            connection: Some(connection),
        })
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What the pool connects with has a password in it.
        f.debug_struct("Connections")
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

// === impl Broken ===

impl Broken {
    fn note(&self) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(Instant::now());
    }

    /// Whether a connection was found broken after this one was last used.
    fn since(&self, idle_for: Duration) -> bool {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() <= idle_for)
    }
}

// === impl Lent ===

impl Lent {
    fn give_back(mut self) {
        self.connection = None;
    }
}

impl std::ops::Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_deref().expect(LENT)
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_deref_mut().expect(LENT)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

// === impl Fate ===

impl Fate {
    fn of(cause: &sqlx::Error) -> Self {
        let said = match cause {
            sqlx::Error::Database(said) => said,
            // What was answered cannot be read, and could not be the next time.
            sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => return Self::Refused,
            _ => return Self::Unknown,
        };
        match said.code().as_deref() {
            Some(DISK_FULL) => Self::Full,
            Some(DEADLOCK | NOT_SERIALIZABLE) => Self::Undone,
            // The session ended, perhaps while it was told that it had committed.
            Some(code) if code.starts_with("57P") || code.starts_with("08") => Self::Unknown,
            _ => Self::Refused,
        }
    }
}

fn failed(
    may_have_happened: bool,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    if may_have_happened {
        StoreError::unanswered().because(cause)
    } else {
        StoreError::not_sent().because(cause)
    }
}

/// Whether a connection that lay idle still leads somewhere.
async fn test(
    connection: &mut PgConnection,
    is_fresh: bool,
    most: Duration,
) -> Result<bool, sqlx::Error> {
    if is_fresh {
        return Ok(true);
    }
    let answered = tokio::time::timeout(most, connection.ping()).await;
    Ok(matches!(answered, Ok(Ok(()))))
}

const LENT: &str = "it is given back once, by value";

/// What every step relies on, whatever the role or the database has for a default: what
/// another step has written is seen, and nothing is held past the deadlines of those who ask.
const SESSION: &str = "SET default_transaction_isolation = 'read committed';
    SET statement_timeout = '1s';
    SET idle_in_transaction_session_timeout = '10s'";

const DISK_FULL: &str = "53100";
const DEADLOCK: &str = "40P01";
const NOT_SERIALIZABLE: &str = "40001";

/// One for a connection that broke while it lay idle, one for the step, one for a conflict.
const TRIES: u32 = 3;

/// Longer than any deadline of a step, so that a slow handshake comes to its end.
const CONNECTED: Duration = Duration::from_secs(2);

/// What drops connections that say nothing waits longer than this.
const IDLE: Duration = Duration::from_secs(30);

/// A server on the same network answers in a millisecond.
const PINGED: Duration = Duration::from_millis(50);

/// Nobody waits for a connection that is put back.
const PUT_BACK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_suspect_if_another_broke_while_it_lay_idle() {
        let broken = Broken::default();
        assert!(!broken.since(Duration::from_secs(3600)), "none has");
        broken.note();
        assert!(broken.since(Duration::from_secs(3600)));
        assert!(!broken.since(Duration::ZERO));
    }

    #[test]
    fn only_what_the_database_says_it_has_undone_was_surely_not_done() {
        for (cause, want) in [
            (sqlx::Error::WorkerCrashed, Fate::Unknown),
            (
                sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()),
                Fate::Unknown,
            ),
            (sqlx::Error::Protocol("cut".into()), Fate::Unknown),
            (sqlx::Error::Decode("malformed".into()), Fate::Refused),
        ] {
            assert_eq!(Fate::of(&cause), want, "{cause}");
        }
    }
}
