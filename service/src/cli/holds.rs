//! `messaging holds`: what keeps messages from being sent, and taking it away.

use std::io::Write;

use clap::Subcommand;
use serde_json::json;

use super::table::Table;
use super::{At, CliError, say};
use crate::cloud_api::failure;
use crate::delivery::Hold;
use crate::message::rfc3339;
use crate::store::Operator as _;

/// What is done about holds.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum HoldsCommand {
    /// Shows what is held: why, since when and until when.
    List {
        /// Which database.
        #[command(flatten)]
        at: At,
        /// One object a line.
        #[arg(long)]
        json: bool,
    },
    /// Lets messages leave again.
    Lift {
        /// Which database.
        #[command(flatten)]
        at: At,
        /// Which holds.
        #[command(flatten)]
        what: Lifted,
    },
}

/// Which holds are lifted.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Lifted {
    /// What is held, as `list` names it.
    scope: Option<String>,
    /// Everything that is held.
    #[arg(long)]
    all: bool,
}

// === impl HoldsCommand ===

impl HoldsCommand {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<(), CliError> {
        match self {
            Self::List { at, json } => list(&at, json, out).await,
            // Without a scope it is everything: one of the two is there.
            Self::Lift { at, what } => lift(&at, what.scope, out).await,
        }
    }
}

async fn list(at: &At, is_json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let holds = at.open().await?.store.holds().await?;
    if is_json {
        return holds
            .iter()
            .try_for_each(|hold| say(out, &line(hold).to_string()));
    }
    let mut table = Table::new(["SCOPE", "SINCE", "UNTIL", "STRIKES", "CODE", "WHY"]);
    for hold in &holds {
        table.push([
            hold.scope.to_string(),
            rfc3339(hold.since),
            // Nothing but an operator ends the others.
            hold.until.map_or_else(|| "lifted".to_owned(), rfc3339),
            hold.strikes.to_string(),
            hold.code.to_string(),
            failure(hold.code).message.into_owned(),
        ]);
    }
    table.write(out)
}

async fn lift(at: &At, scope: Option<String>, out: &mut dyn Write) -> Result<(), CliError> {
    let desk = at.open().await?;
    let lifted = desk.store.release(scope.as_deref().map(Box::from)).await?;
    desk.wake().await;
    match (scope, lifted) {
        (Some(scope), 0) => Err(CliError::Refused(format!("nothing holds {scope:?}"))),
        (_, 1) => say(out, "1 hold was lifted"),
        (_, lifted) => say(out, &format!("{lifted} holds were lifted")),
    }
}

fn line(hold: &Hold) -> serde_json::Value {
    let why = failure(hold.code);
    json!({
        "scope": hold.scope,
        "code": hold.code,
        "reason": why.code,
        "why": why.message,
        "since": rfc3339(hold.since),
        "struck_at": rfc3339(hold.struck_at),
        "until": hold.until.map(rfc3339),
        "strikes": hold.strikes,
    })
}
