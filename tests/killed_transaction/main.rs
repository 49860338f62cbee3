//! The example `own_transaction`, killed after so many statements of its database.
//!
//! Arguments: address, database, and the number of the statement after which the process
//! gets SIGKILL; 0 for never. What begins or commits a transaction is no statement here, so
//! that each of those lies between two points at which it may be killed.

#[path = "../../examples/own_transaction.rs"]
#[expect(dead_code, reason = "its own main is another's")]
mod own_transaction;

use std::error::Error;
use std::io::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tracing::Event;
use tracing::Subscriber;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, file, statements] = &arguments[..] else {
        return Err("three arguments are needed: ADDRESS DATABASE STATEMENTS".into());
    };
    let statements: u64 = statements.parse()?;
    tracing_subscriber::registry().with(Killer).init();
    let database = own_transaction::open(file).await?;
    let api = own_transaction::layers(&database).await?;
    // Short, so that a claim that was left behind soon lapses.
    let api = api.lease(Duration::from_secs(1), Duration::from_millis(300));
    let listener = TcpListener::bind(address).await?;
    LEFT.store(statements, Ordering::SeqCst);
    writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
    own_transaction::serve(listener, api.build()?, database).await
}

/// Counts the statements that have run, and ends the process after the last.
struct Killer;

// === impl Killer ===

impl<S: Subscriber> Layer<S> for Killer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "sqlx::query" {
            return;
        }
        let counted = LEFT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        });
        if counted == Ok(1) {
            let process = std::process::id().to_string();
            let _ = Command::new("kill").args(["-KILL", &process]).status();
            // The signal may take a moment, in which nothing else is to happen.
            loop {
                std::thread::park();
            }
        }
    }
}

/// How many statements may still run; nothing is counted once it is zero.
static LEFT: AtomicU64 = AtomicU64::new(0);
