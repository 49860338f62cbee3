//! `messaging messages`: found, shown, sent again, taken out of the queue.

use std::io::Write;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde_json::{Value, json};
use vestibule::clock::Timestamp;

use super::table::{Table, clean};
use super::{At, CliError, say};
use crate::message::{MessageId, State, rfc3339};
use crate::recipient::PhoneNumber;
use crate::store::{Attempt, Entry, Filter, Operator, Steered};

/// What is done about messages.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum MessagesCommand {
    /// Lists the newest messages that match.
    List(List),
    /// Shows a message and its attempts.
    Show(Show),
    /// Puts a message that has failed into the queue again.
    Retry {
        /// Which database.
        #[command(flatten)]
        at: At,
        /// Its id.
        #[arg(value_parser = id)]
        id: MessageId,
        /// Even where it may have reached the customer.
        #[arg(long)]
        may_send_twice: bool,
    },
    /// Takes a message that waits out of the queue.
    Cancel {
        /// Which database.
        #[command(flatten)]
        at: At,
        /// Its id.
        #[arg(value_parser = id)]
        id: MessageId,
    },
}

/// Which messages are listed, and how.
#[derive(Debug, clap::Args)]
pub struct List {
    #[command(flatten)]
    at: At,
    /// Only those in this state.
    #[arg(long, value_parser = state())]
    state: Option<State>,
    /// Only what this request caused.
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// Only those to this number: E.164, or its digits.
    #[arg(long, value_name = "NUMBER", value_parser = number)]
    to: Option<PhoneNumber>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    #[command(flatten)]
    view: View,
}

/// Which message is shown, and how.
#[derive(Debug, clap::Args)]
pub struct Show {
    #[command(flatten)]
    at: At,
    /// The id of the message, or the correlation id of the request that caused it.
    id: String,
    #[command(flatten)]
    view: View,
}

/// How messages are shown.
#[derive(Clone, Copy, Debug, clap::Args)]
struct View {
    /// One object a line.
    #[arg(long)]
    json: bool,
    /// Shows whom they go to.
    #[arg(long)]
    show_recipient: bool,
}

// === impl MessagesCommand ===

impl MessagesCommand {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<(), CliError> {
        match self {
            Self::List(list) => list.run(out).await,
            Self::Show(show) => show.run(out).await,
            Self::Retry {
                at,
                id,
                may_send_twice,
            } => {
                let desk = at.open().await?;
                let steered = desk.store.retry(id, may_send_twice).await?;
                retried(id, steered).map_err(CliError::Refused)?;
                desk.wake().await;
                say(out, &format!("message {id} is in the queue again"))
            }
            Self::Cancel { at, id } => {
                let desk = at.open().await?;
                let steered = desk.store.cancel(id).await?;
                cancelled(id, steered).map_err(CliError::Refused)?;
                say(out, &format!("message {id} was taken out of the queue"))
            }
        }
    }
}

// === impl List ===

impl List {
    async fn run(self, out: &mut dyn Write) -> Result<(), CliError> {
        let filter = Filter {
            id: None,
            state: self.state,
            correlation_id: self.correlation_id.map(Into::into),
            to: self.to.map(|to| to.as_str().into()),
            max: self.limit,
        };
        let entries = self.at.open().await?.store.list(filter).await?;
        if self.view.json {
            return entries
                .iter()
                .try_for_each(|entry| say(out, &self.view.object(entry).to_string()));
        }
        let mut table = Table::new([
            "ID",
            "STATE",
            "TYPE",
            "TO",
            "CREATED",
            "ATTEMPTS",
            "ERROR",
            "CORRELATION ID",
        ]);
        for entry in &entries {
            let (message, failure) = (&entry.message, entry.message.failure.as_ref());
            table.push([
                message.id.to_string(),
                message.state.as_str().to_owned(),
                message.kind.as_str().to_owned(),
                self.view.recipient(entry).unwrap_or_default().to_owned(),
                rfc3339(message.created_at),
                entry.attempts.to_string(),
                failure
                    .map(|failure| failure.code.to_string())
                    .unwrap_or_default(),
                entry.correlation_id.to_string(),
            ]);
        }
        table.write(out)
    }
}

// === impl Show ===

impl Show {
    async fn run(self, out: &mut dyn Write) -> Result<(), CliError> {
        let store = self.at.open().await?.store;
        let pasted = self.id.trim();
        let entries = find(&store, pasted).await?;
        if entries.is_empty() {
            return Err(CliError::Refused(format!(
                "there is no message with the id or the correlation id {pasted:?}"
            )));
        }
        for (index, entry) in entries.iter().enumerate() {
            let attempts = store.attempts(entry.message.id).await?;
            if self.view.json {
                let mut object = self.view.object(entry);
                object["tries"] = attempts.iter().map(attempt_object).collect();
                say(out, &object.to_string())?;
                continue;
            }
            if index > 0 {
                say(out, "")?;
            }
            self.view.page(entry, &attempts, out)?;
        }
        Ok(())
    }
}

/// The message of this id, or what the request of this id has caused.
async fn find(store: &impl Operator, pasted: &str) -> Result<Vec<Entry>, CliError> {
    if let Some(id) = MessageId::parse(pasted) {
        let found = store
            .list(Filter {
                id: Some(id),
                max: 1,
                ..Filter::default()
            })
            .await?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let caused = Filter {
        correlation_id: Some(pasted.into()),
        max: CAUSED_MAX,
        ..Filter::default()
    };
    Ok(store.list(caused).await?)
}

// === impl View ===

impl View {
    fn recipient(self, entry: &Entry) -> Option<&str> {
        let to = entry.message.to.as_ref()?;
        self.show_recipient.then(|| to.as_str())
    }

    fn object(self, entry: &Entry) -> Value {
        let message = &entry.message;
        let mut object = json!({
            "id": message.id.to_string(),
            "state": message.state.as_str(),
            "type": message.kind.as_str(),
            "account": message.account,
            "agent_id": message.agent_id.to_string(),
            "phone_number_id": entry.phone_number_id,
            "correlation_id": entry.correlation_id,
            "traceparent": entry.traceparent,
            "platform_message_id": message.wamid,
            "policy": entry.policy.as_str(),
            "attempts": entry.attempts,
            "refusals": entry.refusals,
            "error": message.failure.as_ref().map(|failure| json!({
                "code": failure.code, "message": failure.message,
            })),
        });
        for (name, at) in times(entry) {
            object[name] = at.map(rfc3339).into();
        }
        if self.show_recipient {
            object["to"] = self.recipient(entry).into();
        }
        object
    }

    fn page(
        self,
        entry: &Entry,
        attempts: &[Attempt],
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let Value::Object(fields) = self.object(entry) else {
            return Ok(());
        };
        for (name, value) in &fields {
            let text = match value {
                Value::Null => continue,
                Value::String(text) => clean(text),
                Value::Object(error) => {
                    let part = |name| error.get(name).and_then(Value::as_str).unwrap_or_default();
                    clean(&format!("{}: {}", part("code"), part("message")))
                }
                other => other.to_string(),
            };
            say(out, &format!("{name:20} {text}"))?;
        }
        if attempts.is_empty() {
            return Ok(());
        }
        let mut table = Table::new([
            "ATTEMPT",
            "STARTED",
            "ENDED",
            "OUTCOME",
            "CODE",
            "STATUS",
            "FBTRACE_ID",
        ]);
        for attempt in attempts {
            table.push([
                attempt.n.to_string(),
                rfc3339(attempt.started_at),
                attempt.ended_at.map(rfc3339).unwrap_or_default(),
                attempt.outcome.as_deref().unwrap_or_default().to_owned(),
                attempt
                    .code
                    .map(|code| code.to_string())
                    .unwrap_or_default(),
                attempt
                    .http_status
                    .map(|status| status.to_string())
                    .unwrap_or_default(),
                attempt.fbtrace_id.as_deref().unwrap_or_default().to_owned(),
            ]);
        }
        table.write(out)
    }
}

fn times(entry: &Entry) -> [(&'static str, Option<Timestamp>); 8] {
    let message = &entry.message;
    [
        ("created_at", Some(message.created_at)),
        ("not_before", entry.not_before),
        ("expires_at", Some(entry.expires_at)),
        ("sent_at", message.sent_at),
        ("delivered_at", message.delivered_at),
        ("read_at", message.read_at),
        ("failed_at", message.failed_at),
        ("purged_at", entry.purged_at),
    ]
}

fn attempt_object(attempt: &Attempt) -> Value {
    json!({
        "n": attempt.n,
        "started_at": rfc3339(attempt.started_at),
        "ended_at": attempt.ended_at.map(rfc3339),
        "outcome": attempt.outcome,
        "code": attempt.code,
        "http_status": attempt.http_status,
        "fbtrace_id": attempt.fbtrace_id,
    })
}

fn retried(id: MessageId, steered: Steered) -> Result<(), String> {
    Err(match steered {
        Steered::Done => return Ok(()),
        Steered::Unknown => unknown(id),
        Steered::Purged => format!(
            "message {id} cannot be sent again: its text and its recipient were dropped after \
             their time"
        ),
        Steered::Refused(state @ (State::OutcomeUnknown | State::Expired)) => format!(
            "message {id} is {}: it may have reached the customer, and --may-send-twice sends it \
             all the same",
            state.as_str()
        ),
        Steered::Refused(state) => format!(
            "message {id} is {}: only one that has failed can be sent again",
            state.as_str()
        ),
    })
}

fn cancelled(id: MessageId, steered: Steered) -> Result<(), String> {
    Err(match steered {
        Steered::Done => return Ok(()),
        Steered::Unknown => unknown(id),
        Steered::Purged => format!("message {id} is over: its text was dropped after its time"),
        Steered::Refused(state) => format!(
            "message {id} is {}: only one that waits can be taken out of the queue",
            state.as_str()
        ),
    })
}

fn unknown(id: MessageId) -> String {
    format!("there is no message {id}")
}

fn id(text: &str) -> Result<MessageId, String> {
    MessageId::parse(text.trim()).ok_or_else(|| "the id of a message is a UUID".to_owned())
}

pub(super) fn number(text: &str) -> Result<PhoneNumber, String> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    PhoneNumber::parse(&format!("+{digits}"))
        .ok_or_else(|| "a phone number is written as +15551234567, or as its digits".to_owned())
}

fn state() -> impl clap::builder::TypedValueParser<Value = State> {
    PossibleValuesParser::new(State::ALL.map(State::as_str))
        .map(|word| State::parse(&word).expect("it is one of these words"))
}

/// One request makes one message; a client may give many requests one id.
const CAUSED_MAX: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_message_and_its_state() {
        let id = MessageId::mint(Timestamp::from_unix_seconds(1_800_000_000), 7);
        let failed = Steered::Refused(State::Failed);
        let expired = Steered::Refused(State::Expired);
        let sent = Steered::Refused(State::Sent);
        for (refused, word) in [
            (retried(id, Steered::Unknown), "no message"),
            (retried(id, Steered::Purged), "dropped"),
            (retried(id, expired), "--may-send-twice"),
            (retried(id, expired), "expired"),
            (retried(id, sent), "sent"),
            (cancelled(id, Steered::Unknown), "no message"),
            (cancelled(id, Steered::Purged), "dropped"),
            (cancelled(id, failed), "failed"),
        ] {
            let said = refused.unwrap_err();
            let names = said.contains(&id.to_string()) && said.contains(word);
            assert!(names, "{word:?}: {said}");
        }
        assert_eq!(retried(id, Steered::Done), Ok(()));
        assert_eq!(cancelled(id, Steered::Done), Ok(()));
    }

    #[test]
    fn a_number_is_written_with_or_without_its_plus() {
        for (given, want) in [
            ("+16505551234", Some("+16505551234")),
            ("16505551234", Some("+16505551234")),
            ("++16505551234", None),
            ("US.1", None),
        ] {
            let read = number(given).ok();
            assert_eq!(read.as_ref().map(PhoneNumber::as_str), want, "{given}");
        }
    }
}
