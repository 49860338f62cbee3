//! The store over either engine: every step is written once, and runs in a transaction of
//! the engine's.

mod engine;
mod gather;
mod operator;
mod records;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;
use vestibule::clock::{SharedClock, Timestamp};
use vestibule::entropy::SharedEntropy;

pub(super) use self::engine::Step;
use self::engine::{Engine, UNKEPT_MESSAGE, UNKEPT_WEBHOOK};
use self::gather::Gather;
use super::postgres::{Bell, Postgres};
use super::sql::queue::Taker;
use super::sql::{Sql, accept, attempt, inbox, queue, reconcile, service_state, sweep};
use super::sqlite::Sqlite;
use super::{
    Applied, Insertion, Intake, Kept, Ledger, NewMessage, Once, Queue, Reconciled, Settings,
    Settled, StoreError, Told, Upkeep, Webhook,
};
use crate::delivery::{Departure, Ended};
use crate::message::{Message, MessageId};
use crate::window::{Knowledge, Window};

/// Where the service keeps things.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// A file of SQLite's, which one process owns.
    File(PathBuf),
    /// A PostgreSQL database, which replicas share: `postgres://…`.
    Postgres(Box<str>),
}

/// A handle to the store; clones share its connections.
#[derive(Clone, Debug)]
pub struct Database {
    engine: Engine,
    inserts: Gather<NewMessage>,
    appends: Gather<(Bytes, Timestamp)>,
    settings: Arc<Settings>,
    clock: SharedClock,
    entropy: SharedEntropy,
    /// Whose the attempts are that are taken through this handle.
    owner: Arc<str>,
}

// === impl Address ===

impl Address {
    /// A PostgreSQL address, or the path of a file.
    pub fn parse(text: &str) -> Self {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Self::Postgres(text.into());
        }
        Self::File(text.into())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            // A password may stand in it.
            Self::Postgres(_) => f.write_str("Postgres(…)"),
        }
    }
}

// === impl Database ===

impl Database {
    /// Opens the database for a service and brings its tables up to date. The first time is
    /// written down: what happened before it, nobody here has heard of.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be opened, or is no database of ours.
    pub async fn open(
        address: &Address,
        settings: Settings,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Result<Self, StoreError> {
        let database = Self::attach(address, settings, clock, entropy).await?;
        let now = database.clock.now();
        database
            .write("the first start could not be kept", move |mut sql| {
                Box::pin(async move {
                    service_state::begin(&mut sql, service_state::STARTED_AT, now).await
                })
            })
            .await?;
        Ok(database)
    }

    /// Opens the database for an operator, who takes in no webhooks.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be opened, or is no database of ours.
    pub async fn attach(
        address: &Address,
        settings: Settings,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Result<Self, StoreError> {
        let engine = match address {
            Address::File(path) => Engine::Sqlite(Sqlite::open(path, &clock).await?),
            Address::Postgres(address) => Engine::Postgres(Postgres::open(address).await?),
        };
        let (inserting, appending) = (engine.clone(), engine.clone());
        Ok(Self {
            inserts: Gather::start(UNKEPT_MESSAGE, move |new| inserting.clone().insert(new)),
            appends: Gather::start(UNKEPT_WEBHOOK, move |bodies| {
                appending.clone().append(bodies)
            }),
            engine,
            settings: Arc::new(settings),
            owner: format!("{:032x}", entropy.draw()).into(),
            clock,
            entropy,
        })
    }

    /// Brings the tables of a database up to date, and does nothing else; returns how many
    /// steps that took.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be opened, or is no database of ours.
    pub async fn migrate(address: &Address) -> Result<usize, StoreError> {
        match address {
            Address::File(path) => Sqlite::migrate(path).await,
            Address::Postgres(address) => Postgres::migrate(address).await,
        }
    }

    /// Tells the replicas now that there is something to send: for a process that ends
    /// before it would have told by itself. A service on a file looks by itself.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where they cannot be told; they look by themselves within seconds.
    pub async fn flush(&self) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Postgres(postgres) => postgres.flush().await,
            Engine::Sqlite(_) => Ok(()),
        }
    }

    /// Whether this process is the only one that can have the database.
    const fn is_alone(&self) -> bool {
        matches!(self.engine, Engine::Sqlite(_))
    }

    /// Passes on what other replicas ring for, until the handle is gone: `queued` for new
    /// messages, `taken_in` for new webhooks. A lost ring costs the time until the next look.
    pub async fn listen(&self, queued: Arc<Notify>, taken_in: Arc<Notify>) {
        match &self.engine {
            Engine::Postgres(postgres) => postgres.listen(&queued, &taken_in).await,
            Engine::Sqlite(_) => std::future::pending().await,
        }
    }

    async fn read<T, F>(&self, run: F) -> Result<T, StoreError>
    where
        T: Send,
        F: for<'c> FnOnce(Sql<'c>) -> Step<'c, T> + Send,
    {
        self.engine.read(run).await
    }

    /// A step that has somebody to refuse: it is refused at once where too many wait.
    async fn write<T, F>(&self, step: &'static str, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(Sql<'c>) -> Step<'c, T> + Send + 'static,
    {
        self.engine.write(step, run).await
    }

    /// A step that has nobody to refuse: it waits for its turn.
    async fn write_in_turn<T, F>(&self, step: &'static str, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(Sql<'c>) -> Step<'c, T> + Send + 'static,
    {
        self.engine.write_in_turn(step, run).await
    }
}

impl Ledger for Database {
    async fn kept(&self, caller: &str, key: &[u8]) -> Result<Option<Kept>, StoreError> {
        let (caller, key, now) = (caller.to_owned(), key.to_vec(), self.clock.now());
        self.read(move |mut sql| {
            Box::pin(async move { accept::first(&mut sql, &caller, &key, now).await })
        })
        .await
    }

    async fn insert(
        &self,
        message: NewMessage,
        once: Option<Once>,
    ) -> Result<Insertion, StoreError> {
        let insertion = match once {
            None => {
                self.inserts.ask(message).await?;
                Insertion::Inserted
            }
            Some(once) => {
                let clock = self.clock.clone();
                self.write(UNKEPT_MESSAGE, move |mut sql| {
                    Box::pin(
                        async move { accept::insert(&mut sql, &message, &once, clock.now()).await },
                    )
                })
                .await?
            }
        };
        self.engine.ring(Bell::Queued);
        Ok(insertion)
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.read(move |mut sql| Box::pin(async move { accept::find(&mut sql, id).await }))
            .await
    }

    async fn window(
        &self,
        phone_number_id: &str,
        user: &str,
    ) -> Result<Option<Window>, StoreError> {
        let (number, user) = (phone_number_id.to_owned(), user.to_owned());
        self.read(move |mut sql| {
            Box::pin(async move { accept::window_of(&mut sql, &number, &user).await })
        })
        .await
    }

    async fn knowledge(&self) -> Result<Knowledge, StoreError> {
        self.read(|mut sql| Box::pin(async move { service_state::knowledge(&mut sql).await }))
            .await
    }
}

impl Queue for Database {
    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let (settings, now) = (Arc::clone(&self.settings), self.clock.now());
        self.read(move |mut sql| {
            Box::pin(async move { queue::next_due(&mut sql, &settings, now).await })
        })
        .await
    }

    async fn take(&self, max: usize) -> Result<Vec<Departure>, StoreError> {
        let database = self.clone();
        self.write_in_turn("no attempt could be recorded", move |mut sql| {
            Box::pin(async move {
                let taker = Taker {
                    settings: &database.settings,
                    owner: &database.owner,
                    now: database.clock.now(),
                };
                queue::take(&mut sql, taker, max).await
            })
        })
        .await
    }

    async fn settle(&self, ended: Arc<[Ended]>) -> Result<Vec<Settled>, StoreError> {
        let step = "an outcome could not be kept";
        for at in 0..ended.len() {
            if !ended[at].settlement.waits_for_more_than_itself() {
                continue;
            }
            let ended = Arc::clone(&ended);
            let (now, draw) = (self.clock.now(), self.entropy.draw());
            self.write_in_turn(step, move |mut sql| {
                Box::pin(async move {
                    let one = &ended[at];
                    attempt::strike(&mut sql, &one.departure, &one.settlement, now, draw).await
                })
            })
            .await?;
        }
        let (settings, now) = (Arc::clone(&self.settings), self.clock.now());
        self.write_in_turn(step, move |mut sql| {
            Box::pin(async move { attempt::settle(&mut sql, &settings, &ended, now).await })
        })
        .await
    }
}

impl Intake for Database {
    async fn append(&self, body: Bytes) -> Result<(), StoreError> {
        let now = self.clock.now();
        if body.len() <= SHORT {
            self.appends.ask((body, now)).await?;
        } else {
            self.engine.append_long(body, now).await?;
        }
        self.engine.ring(Bell::TakenIn);
        Ok(())
    }

    fn is_pressed(&self) -> bool {
        self.appends.has_waiting()
    }

    async fn backlog(&self, max: u32) -> Result<Vec<Webhook>, StoreError> {
        self.read(move |mut sql| {
            Box::pin(async move { inbox::backlog(&mut sql, max, BACKLOG_BYTES).await })
        })
        .await
    }

    async fn apply(&self, told: Vec<Told>) -> Result<Applied, StoreError> {
        let (now, draw) = (self.clock.now(), self.entropy.draw());
        let lines = Arc::clone(&self.settings.lines);
        self.write_in_turn("a webhook could not be worked off", move |mut sql| {
            Box::pin(async move { inbox::apply(&mut sql, &told, &lines, now, draw).await })
        })
        .await
    }
}

impl Upkeep for Database {
    async fn recover(&self) -> Result<u64, StoreError> {
        let (database, is_alone) = (self.clone(), self.is_alone());
        self.write_in_turn("open attempts could not be found", move |mut sql| {
            Box::pin(async move {
                let now = database.clock.now();
                let settings = &database.settings;
                attempt::recover(&mut sql, settings, &database.owner, is_alone, now).await
            })
        })
        .await
    }

    async fn reconcile(&self) -> Result<Reconciled, StoreError> {
        let now = self.clock.now();
        self.write_in_turn("nothing could be given up", move |mut sql| {
            Box::pin(async move { reconcile::reconcile(&mut sql, now).await })
        })
        .await
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        let (settings, now) = (Arc::clone(&self.settings), self.clock.now());
        self.write_in_turn("what is over could not be dropped", move |mut sql| {
            Box::pin(async move { sweep::sweep(&mut sql, &settings, now).await })
        })
        .await
    }
}

/// A batch of bodies of this length is a statement of some megabytes; most are far shorter.
const SHORT: usize = 16 << 10;

/// How much is read of the log at once, unless one body is longer: some hundreds of updates,
/// which hold the writer for milliseconds.
const BACKLOG_BYTES: u32 = 256 << 10;
