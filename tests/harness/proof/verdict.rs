//! What clients were told, beside what the simulator truly accepted.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::Value;

use super::crowd::{Crowd, Told, Written};
use super::{REST, Site, Summary};

/// What the simulator accepted, by message.
#[derive(Debug, Default)]
pub struct Ledger {
    accepted: HashMap<String, Vec<Row>>,
}

/// One accepted send.
#[derive(Clone, Debug)]
struct Row {
    told: Vec<String>,
    failed_with: Option<u64>,
    was_allowed: bool,
    was_answered: bool,
}

/// Where a message came to rest.
#[derive(Clone, Debug)]
pub(super) struct End {
    id: String,
    message: Option<Value>,
}

// === impl Ledger ===

impl Ledger {
    /// How often a message was accepted.
    pub fn accepted(&self, id: &str) -> usize {
        self.accepted.get(id).map_or(0, Vec::len)
    }

    /// How many free-form texts were accepted outside of their window.
    pub fn outside_window(&self) -> usize {
        let rows = self.accepted.values().flatten();
        rows.filter(|row| !row.was_allowed).count()
    }

    /// Reads it.
    ///
    /// # Panics
    ///
    /// Where the simulator does not answer.
    pub async fn read(site: &Site) -> Self {
        let answer = site.ask("ledger").await;
        let mut ledger = Self::default();
        for row in answer["rows"].as_array().expect("a ledger has rows") {
            let token = row["token"].as_str().unwrap_or_default();
            let id = token.split('.').nth(1).unwrap_or_default().to_owned();
            let told = row["told"].as_array().into_iter().flatten();
            ledger.accepted.entry(id).or_default().push(Row {
                told: told.filter_map(Value::as_str).map(Into::into).collect(),
                failed_with: row["failed_with"].as_u64(),
                was_allowed: row["type"] != "text" || row["is_window_open"] == true,
                was_answered: row["response_fate"] == "answered",
            });
        }
        ledger
    }
}

/// Waits until every message has come to an end, and everything that was told of it has
/// arrived.
pub(super) async fn settle(site: &Site, told: &[Told]) -> Vec<End> {
    let crowd = Crowd::new(site, told.len());
    let rest = tokio::time::Instant::now() + REST;
    let mut ends: Vec<End> = Vec::with_capacity(told.len());
    for one in told {
        let mut message = crowd.read(&one.id).await;
        while !has_ended(message.as_ref()) && tokio::time::Instant::now() < rest {
            site.flush().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            message = crowd.read(&one.id).await;
        }
        ends.push(End {
            id: one.id.clone(),
            message,
        });
    }
    // A message may have been sent while others were looked at; what is told of it comes
    // after. Whoever is not where the ledger says yet, is looked at until it is.
    site.calm_down().await;
    let ledger = Ledger::read(site).await;
    for end in &mut ends {
        while is_wrong(&ledger, end) && tokio::time::Instant::now() < rest {
            // What was not taken would be told again minutes later.
            site.flush().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            end.message = crowd.read(&end.id).await;
        }
    }
    ends
}

/// Compares the two; what is not as it must be is shown.
#[expect(
    clippy::print_stderr,
    reason = "whoever runs the proof looks for these"
)]
pub(super) fn judge(ledger: &Ledger, ends: &[End]) -> Summary {
    let rows = || ledger.accepted.values();
    for (id, rows) in ledger.accepted.iter().filter(|(_, rows)| rows.len() > 1) {
        eprintln!("{id} was accepted {} times: {rows:?}", rows.len());
    }
    for end in ends
        .iter()
        .filter(|end| is_wrong(ledger, end) || !has_ended(end.message.as_ref()))
    {
        eprintln!("{end:?}: {:?}", ledger.accepted.get(&end.id));
    }
    let count = |holds: &dyn Fn(&End) -> bool| ends.iter().filter(|end| holds(end)).count();
    Summary {
        engine: "",
        seed: 0,
        messages: ends.len(),
        kills: 0,
        faults: 0,
        lost: count(&|end| !has_ended(end.message.as_ref())),
        sent_twice: rows().filter(|rows| is_sent_twice(rows)).count() + strangers(ledger, ends),
        read: count(&|end| {
            let message = end.message.as_ref();
            message.is_some_and(|message| message["status"] == "read")
        }),
        wrong_state: count(&|end| is_wrong(ledger, end)),
        outside_window: ledger.outside_window(),
        moved_windows: 0,
        unadopted: count(&|end| is_told_of(ledger, end) && is_unknown(end)),
        adopted: count(&|end| is_told_of(ledger, end) && !is_unknown(end)),
        unknown: count(&|end| is_unknown(end)),
    }
}

/// P6: customers whose window is no longer the one of the only message that they wrote.
#[expect(
    clippy::print_stderr,
    reason = "whoever runs the proof looks for these"
)]
pub(super) async fn moved(crowd: &Crowd, written: &[Written]) -> usize {
    let mut moved = 0;
    for one in written {
        let until = crowd.open_until(&one.user).await;
        if until.as_ref() != Some(&one.until) {
            eprintln!("{one:?}: the window is open until {until:?}");
            moved += 1;
        }
    }
    moved
}

/// P1. One that Meta itself called failed, of a fault that passes, may be sent again (T11): it
/// has not arrived.
fn is_sent_twice(rows: &[Row]) -> bool {
    let may_be_repeated = |row: &&Row| {
        let furthest = row.told.iter().map(|word| rank(word)).max();
        furthest == Some(rank("failed")) && row.failed_with == Some(PASSING)
    };
    rows.iter().filter(|row| !may_be_repeated(row)).count() > 1
}

/// Sends of messages that no client was told of: somebody asked once, and two were sent.
fn strangers(ledger: &Ledger, ends: &[End]) -> usize {
    let known: HashSet<&str> = ends.iter().map(|end| &*end.id).collect();
    let strange = ledger.accepted.keys().filter(|id| !known.contains(&***id));
    strange.count() + (ends.len() - known.len())
}

/// Whether a message is where it cannot stay: waiting, or being confirmed.
fn has_ended(message: Option<&Value>) -> bool {
    message.is_some_and(|message| message["status"] != "queued")
}

/// P3: whatever the order, a message is as far as anybody told.
fn is_wrong(ledger: &Ledger, end: &End) -> bool {
    let Some(message) = &end.message else {
        return false;
    };
    let status = message["status"].as_str().unwrap_or_default();
    let rows = ledger.accepted.get(&end.id).map_or(&[][..], Vec::as_slice);
    let furthest = rows
        .iter()
        .flat_map(|row| &row.told)
        .map(|word| rank(word))
        .max();
    match furthest {
        Some(furthest) => rank(status) != furthest,
        // Nothing was told of it: Meta refused it, or nobody can know.
        None if rows.is_empty() => {
            let code = message["error"]["code"].as_str().unwrap_or_default();
            status != "failed" || !EXPLAINED.contains(&code)
        }
        None => !is_unknown(end) && status != "sent",
    }
}

/// P7: the answer to its send was lost, and a status was told that bears its token, which a
/// failure need not.
fn is_told_of(ledger: &Ledger, end: &End) -> bool {
    let rows = ledger.accepted.get(&end.id).into_iter().flatten();
    let mut lost = rows.filter(|row| !row.was_answered);
    lost.any(|row| row.told.iter().any(|word| word != "failed"))
}

fn is_unknown(end: &End) -> bool {
    let message = end.message.as_ref();
    message.is_some_and(|message| message["error"]["code"] == "outcome_unknown")
}

/// The lattice of 12B.3.
fn rank(word: &str) -> u8 {
    match word {
        "sent" => 1,
        "failed" => 2,
        "delivered" => 3,
        "read" | "played" => 4,
        _ => 0,
    }
}

/// Meta's code for a fault that passes, as it is ordered here.
const PASSING: u64 = 131_000;

/// Why a message that Meta never took may have failed: of the faults that are ordered, one
/// is a refusal, and some leave nobody knowing.
const EXPLAINED: [&str; 2] = ["undeliverable", "outcome_unknown"];
