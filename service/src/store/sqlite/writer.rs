//! The one connection that writes: steps queue for it and share their commits.
//!
//! A commit waits for the disk, and while it waits others arrive. Those become the next
//! transaction, so that the cost of a commit is shared by as many as come at once. A step of
//! several statements has a savepoint of its own: where it fails it takes back only itself.
//! One that has changed nothing where it fails needs none, and saves the ways to the
//! connection's thread and back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use sqlx::{Connection, Executor, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use crate::store::StoreError;
use crate::store::database::Step;

/// A handle to the writing connection.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

/// How a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statements {
    /// It has changed nothing then, as one statement has not.
    One,
    /// It may have come halfway.
    Several,
}

/// A step that waits.
struct Job {
    statements: Statements,
    run: Run,
}

type Run = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> Ran<'c> + Send>;
type Ran<'c> = Pin<Box<dyn Future<Output = Pending> + Send + 'c>>;

/// A step that ran, and whose result must not be told before the commit.
struct Pending {
    keeps: bool,
    tell: Box<dyn FnOnce(Committed) + Send>,
}

type Committed = Result<(), Arc<sqlx::Error>>;

// === impl Writer ===

impl Writer {
    /// Starts writing on this connection; it is closed when the last handle is gone.
    pub(super) fn start(connection: SqliteConnection) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(run(connection, queue));
        Self { jobs }
    }

    /// Takes a step, or refuses at once where too many wait already.
    pub(super) async fn write<T, F>(
        &self,
        step: &'static str,
        statements: Statements,
        run: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> Step<'c, T> + Send + 'static,
    {
        let (job, told) = job(step, statements, run);
        self.jobs
            .try_send(job)
            .map_err(|_| StoreError::overloaded(step))?;
        told.await.map_err(|gone| StoreError::failed(step, gone))?
    }

    /// Takes a step as soon as there is room for it: for those who have nobody to refuse.
    pub(super) async fn write_in_turn<T, F>(
        &self,
        step: &'static str,
        statements: Statements,
        run: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> Step<'c, T> + Send + 'static,
    {
        let (job, told) = job(step, statements, run);
        self.jobs
            .send(job)
            .await
            .map_err(|_| StoreError::overloaded(step))?;
        told.await.map_err(|gone| StoreError::failed(step, gone))?
    }
}

fn job<T, F>(
    step: &'static str,
    statements: Statements,
    run: F,
) -> (Job, oneshot::Receiver<Result<T, StoreError>>)
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> Step<'c, T> + Send + 'static,
{
    let (tell, told) = oneshot::channel();
    let run: Run = Box::new(move |connection| {
        Box::pin(async move {
            let result = run(connection).await;
            Pending {
                keeps: result.is_ok(),
                tell: Box::new(move |committed: Committed| {
                    let result = result
                        .map_err(|cause| StoreError::failed(step, cause))
                        .and_then(|value| match committed {
                            Ok(()) => Ok(value),
                            Err(cause) => Err(StoreError::failed(step, cause)),
                        });
                    // Whoever asked may have left; the step is taken all the same.
                    let _ = tell.send(result);
                }),
            }
        })
    });
    (Job { statements, run }, told)
}

async fn run(mut connection: SqliteConnection, mut queue: mpsc::Receiver<Job>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let mut pending = Vec::with_capacity(batch.len());
        let committed = commit(&mut connection, batch.drain(..), &mut pending)
            .await
            .map_err(Arc::new);
        if let Err(cause) = &committed {
            error!(?cause, "a transaction was rolled back");
            // Where SQLite has rolled back by itself, there is nothing left to do.
            let _ = connection.execute("ROLLBACK").await;
        }
        for step in pending {
            (step.tell)(committed.clone());
        }
    }
    let _ = connection.close().await;
}

async fn commit(
    connection: &mut SqliteConnection,
    jobs: impl Iterator<Item = Job>,
    pending: &mut Vec<Pending>,
) -> Result<(), sqlx::Error> {
    connection
        .execute("BEGIN IMMEDIATE; SAVEPOINT step")
        .await?;
    let mut is_fresh = true;
    for job in jobs {
        if job.statements == Statements::Several && !is_fresh {
            connection.execute(NEXT).await?;
        }
        let ran = (job.run)(connection).await;
        is_fresh = !ran.keeps;
        if !ran.keeps {
            let command = match job.statements {
                Statements::Several => "ROLLBACK TO step",
                // Fails where SQLite has taken back the transaction with the statement.
                Statements::One => NEXT,
            };
            connection.execute(command).await?;
        }
        pending.push(ran);
    }
    connection.execute("COMMIT").await?;
    Ok(())
}

/// Keeps what was done since the savepoint, and makes the next one.
const NEXT: &str = "RELEASE step; SAVEPOINT step";

/// Steps that wait for the disk; past this the answer is 503, quickly.
const QUEUE_MAX: usize = 1024;

/// As many steps as one transaction takes, so that none waits long for the others.
const BATCH_MAX: usize = 256;
