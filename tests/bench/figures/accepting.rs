//! Accepted requests a second, beside bare inserts that share their commits.

use harness::proof::Engine;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Executor as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use vestibule::testing::server::PostgresServer;

use super::rig::{CLIENTS, Rig, WINDOW, drive, order};

/// Requests through the whole service; its number sends one message a second, so that
/// delivery is not what is measured.
pub(crate) async fn ours(engine: Engine, keyed: bool) -> f64 {
    let rig = Rig::start(engine, "", 1);
    drive(rig.service, CLIENTS, 202, move |n| order(n, keyed)).await
}

/// The same number of writers, one row each, on the same disk.
pub(crate) async fn floor(engine: Engine) -> f64 {
    match engine {
        Engine::Sqlite => sqlite().await,
        Engine::Postgres => postgres().await,
    }
}

async fn sqlite() -> f64 {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let mut connection = SqliteConnectOptions::new()
        .filename(folder.path().join("floor.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .connect()
        .await
        .expect("a new file is a database");
    let made = connection.execute("CREATE TABLE row (id BLOB PRIMARY KEY, body TEXT) STRICT");
    made.await.expect("the database is ours");
    let (jobs, mut queue) = mpsc::channel::<(u64, oneshot::Sender<()>)>(CLIENTS);
    let writer = async move {
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, CLIENTS).await > 0 {
            connection.execute("BEGIN IMMEDIATE").await?;
            for (n, _) in &batch {
                let id = n.to_be_bytes();
                let insert = sqlx::query("INSERT INTO row VALUES (?, ?)");
                let insert = insert.bind(id.as_slice()).bind(BODY);
                insert.execute(&mut connection).await?;
            }
            connection.execute("COMMIT").await?;
            for (_, told) in batch.drain(..) {
                let _ = told.send(());
            }
        }
        Ok::<_, sqlx::Error>(())
    };
    let writer = tokio::spawn(writer);
    let rate = spin(move |n| {
        let jobs = jobs.clone();
        async move {
            let (tell, told) = oneshot::channel();
            jobs.send((n, tell)).await.expect("the writer lives");
            told.await.expect("the writer tells");
        }
    })
    .await;
    writer.await.expect("the writer ends").expect("it writes");
    rate
}

async fn postgres() -> f64 {
    let server = PostgresServer::start();
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(24)
        .connect(&server.database())
        .await
        .expect("the server answers");
    let made = pool.execute("CREATE TABLE row (id BIGINT PRIMARY KEY, body TEXT)");
    made.await.expect("the database is ours");
    spin(move |n| {
        let pool = pool.clone();
        async move {
            let insert = sqlx::query("INSERT INTO row VALUES ($1, $2)");
            let insert = insert.bind(n.cast_signed()).bind(BODY);
            insert.execute(&pool).await.expect("a row is inserted");
        }
    })
    .await
}

/// How often a second so many do this, one after the other each.
async fn spin<F, T>(work: F) -> f64
where
    F: Fn(u64) -> T + Clone + Send + 'static,
    T: Future<Output = ()> + Send,
{
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 0..CLIENTS as u64 {
        let work = work.clone();
        workers.spawn(async move {
            let mut done = 0;
            while began.elapsed() < WINDOW {
                work(worker + CLIENTS as u64 * done).await;
                done += 1;
            }
            done
        });
    }
    drop(work);
    let done: u64 = workers.join_all().await.into_iter().sum();
    done as f64 / began.elapsed().as_secs_f64()
}

/// As long as the columns of a message together.
const BODY: &str = "acc_1 6f1c2d3e-4b5a-4978-8a6b-0c1d2e3f4a5b 106540352242922 +16505551234 template \
{\"type\":\"template\",\"name\":\"hello_world\",\"language\":\"en_US\"} req_01KB7Z8Q4W3V5X6Y7Z8A9B0C1D \
at_most_once 0 2592000000 queued 1800000000000 1800086400000 1800086400000 1800000000000";
