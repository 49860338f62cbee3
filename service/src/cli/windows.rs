//! `messaging windows`: told to a new deployment, and looked at.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;

use super::import::{Fault, Rows, Rules};
use super::messages::number;
use super::{At, CliError, Desk, say};
use crate::message::rfc3339;
use crate::store::{Address, ImportedWindow, Ledger as _, Operator as _};
use crate::window::{ACCEPT_MARGIN, Verdict, judge};

/// What is done about windows.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum WindowsCommand {
    /// Opens windows as another system knew them.
    Import {
        /// Which database.
        #[command(flatten)]
        at: At,
        /// CSV or JSON Lines; `-` is standard input.
        #[arg(value_name = "FILE", default_value = "-")]
        file: PathBuf,
    },
    /// Shows the window between a number and a customer.
    Show {
        /// Which database.
        #[command(flatten)]
        at: At,
        /// Meta's id of the number.
        #[arg(long, value_name = "ID")]
        phone_number_id: String,
        /// The customer: a phone number, or Meta's id.
        #[arg(long)]
        user: String,
    },
}

/// Where lines come from. They are read twice: judged, then imported.
enum Source {
    File(PathBuf),
    Input(Vec<u8>),
}

// === impl WindowsCommand ===

impl WindowsCommand {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<(), CliError> {
        match self {
            Self::Import { at, file } => import(&at, &file, out).await,
            Self::Show {
                at,
                phone_number_id,
                user,
            } => show(&at, &phone_number_id, &user, out).await,
        }
    }
}

async fn import(at: &At, file: &Path, out: &mut dyn Write) -> Result<(), CliError> {
    let desk = at.open().await?;
    let source = Source::open(file)?;
    let directory = &desk.config.directory;
    let is_ours = |id: &str| directory.has_number(id);
    let rules = Rules {
        is_ours: &is_ours,
        now: desk.now(),
    };
    let faults = judge_all(&source, rules)?;
    if faults > 0 {
        let said = match faults {
            1 => "1 fault was found; nothing was imported".to_owned(),
            faults => format!("{faults} faults were found; nothing was imported"),
        };
        return Err(CliError::Refused(said));
    }
    let imported = import_all(&desk, &source, rules).await?;
    match imported {
        1 => say(out, "1 window was imported"),
        imported => say(out, &format!("{imported} windows were imported")),
    }
}

/// Names each fault on standard error, however many there are; returns how many.
fn judge_all(source: &Source, rules: Rules<'_>) -> Result<u64, CliError> {
    let mut found = 0;
    let mut rows = Rows::new(source.lines()?, rules);
    while let Some(row) = rows.next().map_err(unread)? {
        for fault in row.err().into_iter().flatten() {
            found += 1;
            writeln!(io::stderr(), "messaging: {fault}").map_err(unread)?;
        }
    }
    Ok(found)
}

async fn import_all(desk: &Desk, source: &Source, rules: Rules<'_>) -> Result<u64, CliError> {
    let mut imported = 0;
    let mut batch: Vec<ImportedWindow> = Vec::with_capacity(BATCH);
    let mut rows = Rows::new(source.lines()?, rules);
    loop {
        let row = rows.next().map_err(unread)?;
        let is_over = row.is_none();
        // They were judged before; a file that has changed since is not what was judged.
        batch.extend(
            row.transpose()
                .map_err(|faults| changed(&faults, imported))?,
        );
        if batch.len() == BATCH || (is_over && !batch.is_empty()) {
            imported += desk.store.import(std::mem::take(&mut batch)).await?;
        }
        if is_over {
            return Ok(imported);
        }
        if batch.is_empty() && matches!(desk.config.database, Address::File(_)) {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn show(
    at: &At,
    phone_number_id: &str,
    user: &str,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let desk = at.open().await?;
    // Under a number its window lies by its digits, under an id by the id.
    let name = number(user).map_or_else(|_| user.to_owned(), |number| number.digits().to_owned());
    let window = desk.store.window(phone_number_id, &name).await?;
    let knowledge = desk.store.knowledge().await?;
    let said = match judge(window, knowledge, desk.now(), ACCEPT_MARGIN) {
        Verdict::Open { until } => format!("open until {}", rfc3339(until)),
        Verdict::Closed => "closed".to_owned(),
        Verdict::Unknown => "unknown".to_owned(),
    };
    match window {
        Some(window) => say(
            out,
            &format!(
                "{said}; the customer last wrote {}",
                rfc3339(window.opened())
            ),
        ),
        None => say(out, &format!("{said}; it was never seen open")),
    }
}

fn changed(faults: &[Fault], imported: u64) -> CliError {
    let first = faults.first().map(ToString::to_string).unwrap_or_default();
    CliError::Refused(format!(
        "the file was changed while it was read, {imported} windows were imported: {first}"
    ))
}

fn unread(cause: io::Error) -> CliError {
    CliError::io("the windows cannot be read", cause)
}

// === impl Source ===

impl Source {
    fn open(file: &Path) -> Result<Self, CliError> {
        if file != Path::new("-") {
            return Ok(Self::File(file.to_owned()));
        }
        let mut text = Vec::new();
        let input = io::stdin().lock().take(INPUT_MAX + 1);
        let read = { input }.read_to_end(&mut text).map_err(unread)?;
        if read as u64 > INPUT_MAX {
            let said = "standard input is longer than 256 MB; a file may be of any length";
            return Err(CliError::Refused(said.to_owned()));
        }
        Ok(Self::Input(text))
    }

    fn lines(&self) -> Result<Box<dyn BufRead + '_>, CliError> {
        Ok(match self {
            Self::File(path) => {
                let file = File::open(path).map_err(|cause| {
                    CliError::io(format!("{} cannot be read", path.display()), cause)
                })?;
                Box::new(BufReader::new(file))
            }
            Self::Input(text) => Box::new(&text[..]),
        })
    }
}

/// A transaction of so many keeps others from writing to a file for about a tenth of a second.
const BATCH: usize = 1000;

/// Whoever waits to write to a file looks every tenth of a second whether it may. Without a
/// pause that is longer, a service would hardly ever get its turn.
const PAUSE: Duration = Duration::from_millis(120);

/// Standard input is read twice, so it is kept.
const INPUT_MAX: u64 = 256 << 20;
