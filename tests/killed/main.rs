//! Programs that kill themselves after so many statements of their database.
//!
//! `killed transaction ADDRESS DATABASE STATEMENTS` is the example `own_transaction`, and
//! `killed messaging CONFIG STATEMENTS` the messaging service, on either engine. The first
//! statement that counts is the first of a claim; 0 is for never. What begins or commits a
//! transaction is no statement here, but in the service's file of SQLite's: it lies between
//! two of them. What the service logs counts as a statement.

#[path = "../../examples/own_transaction.rs"]
#[expect(dead_code, reason = "its own main is another's")]
mod own_transaction;

use std::error::Error;
use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use vestibule_messaging::{Config, Listener, Messaging};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(|argument| &**argument).collect();
    tracing_subscriber::registry().with(Killer).init();
    match arguments[..] {
        ["transaction", address, database, statements] => {
            transaction(address, database, statements.parse()?).await
        }
        ["messaging", config, statements] => messaging(config, statements.parse()?).await,
        _ => Err("transaction ADDRESS DATABASE STATEMENTS, or messaging CONFIG STATEMENTS".into()),
    }
}

async fn transaction(address: &str, database: &str, statements: u64) -> Result<(), Box<dyn Error>> {
    let database = own_transaction::open(database).await?;
    let api = own_transaction::layers(&database).await?;
    // Short, so that a claim that was left behind soon lapses.
    let api = api.lease(Duration::from_secs(1), Duration::from_millis(300));
    let listener = TcpListener::bind(address).await?;
    LAST.store(statements, Ordering::SeqCst);
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    own_transaction::serve(listener, api.build()?, database).await
}

async fn messaging(config: &str, statements: u64) -> Result<(), Box<dyn Error>> {
    let config = Config::read(Path::new(config))?;
    let listener = Listener::bind(&config.listen).await?;
    let address = listener.address()?;
    let messaging = Messaging::open(config).await?;
    LAST.store(statements, Ordering::SeqCst);
    writeln!(std::io::stdout(), "{address}")?;
    messaging.run(listener, None, std::future::pending()).await;
    Ok(())
}

/// Counts the statements that have run, and what the service says between them; ends the
/// process after the last.
struct Killer;

/// Whether a statement is of the records, and may be the first that counts.
struct OfTheRecords(bool);

// === impl Killer ===

impl<S: Subscriber> Layer<S> for Killer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let has_begun = COUNTED.load(Ordering::SeqCst) > 0;
        let counts = match event.metadata().target() {
            STATEMENT if LAST.load(Ordering::SeqCst) > 0 => {
                let mut statement = OfTheRecords(has_begun);
                event.record(&mut statement);
                statement.0
            }
            target => has_begun && target.starts_with(SERVICE),
        };
        if counts {
            count();
        }
    }

    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let has_begun = COUNTED.load(Ordering::SeqCst) > 0;
        if has_begun && span.metadata().target().starts_with(SERVICE) {
            count();
        }
    }
}

// === impl OfTheRecords ===

impl Visit for OfTheRecords {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Of a statement that begins with a comment, the summary is the comment.
        self.0 |= match field.name() {
            "summary" => format!("{value:?}").contains("vestibule_record"),
            "db.statement" => format!("{value:?}").contains(POSTGRES_CLAIM),
            _ => false,
        };
    }
}

/// Counts one more, and ends the process if it is the last.
fn count() {
    if COUNTED.fetch_add(1, Ordering::SeqCst) + 1 == LAST.load(Ordering::SeqCst) {
        let process = std::process::id().to_string();
        let _ = Command::new("kill").args(["-KILL", &process]).status();
        // The signal may take a moment, in which nothing else is to happen.
        loop {
            std::thread::park();
        }
    }
}

/// Where a statement that has run is told of.
const STATEMENT: &str = "sqlx::query";

/// Where the messaging service tells what it does: that an attempt was written down and that
/// one has ended are points too, between the transactions.
const SERVICE: &str = "vestibule_messaging";

/// What a claim enters in PostgreSQL.
const POSTGRES_CLAIM: &str = ".records (caller, key, fingerprint";

/// After how many statements the process ends; never where it is zero.
static LAST: AtomicU64 = AtomicU64::new(0);

/// How many have run.
static COUNTED: AtomicU64 = AtomicU64::new(0);
